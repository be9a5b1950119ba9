/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock: one circle of pages. The hand takes the oldest; if it was used since the hand last came
 * by, it goes round once more.
 *
 * What another policy left on the active list comes after the inactive one is empty. */
#include "mm/lru.h"
#include "mm/page.h"

static void clock_add(struct lru *l, struct page *p, unused bool refaulted, unused u32 distance)
{
	page_clear(p, PG_ACTIVE);
	page_list_add(&l->inactive, p);
}

static struct page *clock_next(struct lru *l)
{
	struct page_list *list = l->inactive.nr ? &l->inactive : &l->active;

	if (list->nr == 0)
		return NULL;
	struct page *p = &page_array[list->tail];
	page_list_take(list, p);
	return p;
}

static void clock_keep(struct lru *l, struct page *p, unused bool young)
{
	clock_add(l, p, false, 0);
}

const struct reclaim_policy policy_clock = {
	.name = "clock",
	.add = clock_add,
	.next = clock_next,
	.keep = clock_keep,
};
