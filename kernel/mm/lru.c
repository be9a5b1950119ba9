/* SPDX-License-Identifier: BSD-2-Clause */
/* The two lists of an mm, and which policy orders them; lru.h tells the rest. */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/mm_internal.h"

static const struct reclaim_policy *const policies[] = {
	&policy_lru2, &policy_clock, &policy_random,
};
static const struct reclaim_policy *current_policy = &policy_lru2; /* [a] */

const struct reclaim_policy *reclaim_policy(void)
{
	return atomic_load_relaxed(&current_policy);
}

const char *reclaim_policy_name(u32 i)
{
	return i < ARRAY_SIZE(policies) ? policies[i]->name : NULL;
}

int reclaim_policy_set(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(policies); i++) {
		if (strcmp(policies[i]->name, name) == 0) {
			atomic_store(&current_policy, policies[i]);
			return 0;
		}
	}
	return trace(-ENOENT);
}

void lru_init(struct lru *l)
{
	*l = (struct lru){
		.active = {.head = PAGE_NONE, .tail = PAGE_NONE},
		.inactive = {.head = PAGE_NONE, .tail = PAGE_NONE},
	};
}

void page_list_take(struct page_list *l, struct page *p)
{
	*(p->prev == PAGE_NONE ? &l->head : &page_array[p->prev].next) = p->next;
	*(p->next == PAGE_NONE ? &l->tail : &page_array[p->next].prev) = p->prev;
	l->nr--;
	page_clear(p, PG_LRU);
}

void lru_add(struct lru *l, struct page *p, bool refaulted, u32 distance)
{
	reclaim_policy()->add(l, p, refaulted, distance);
}

void lru_del(struct lru *l, struct page *p)
{
	if (page_test(p, PG_LRU))
		page_list_take(page_test(p, PG_ACTIVE) ? &l->active : &l->inactive, p);
}
