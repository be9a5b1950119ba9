/* SPDX-License-Identifier: BSD-2-Clause */
/* Two lists: pages on probation (inactive) and pages that have earned their place (active).
 *
 *	         fresh, or back after long
 *	               |                  young twice, or back soon
 *	               v                             v
 *	    head [ inactive ] tail -> out     head [ active ] tail
 *	               ^                             |
 *	               +--- while active is longer --+
 *
 * The touch that brought a page does not make it young where the secondary MMU can tell (ept.c, I3); by
 * hva, and where a TLB still had it, it may. So once counts as a second chance only, and the second
 * time as proof of use.
 *
 * A page that comes back after fewer evictions than the active list is long would have stayed in its
 * place, had it been there: it displaces the active pages, which get their chance to prove themselves
 * on the inactive list. So a working set that has moved is learnt from its refaults. */
#include "mm/lru.h"
#include "mm/page.h"

#define BALANCE_STEPS 2 /* pages moved down at most, for each that is wanted */

static void to_inactive(struct lru *l, struct page *p)
{
	page_clear(p, PG_ACTIVE);
	page_list_add(&l->inactive, p);
}

static void to_active(struct lru *l, struct page *p)
{
	page_clear(p, PG_REFERENCED);
	page_set(p, PG_ACTIVE);
	page_list_add(&l->active, p);
}

static void lru2_add(struct lru *l, struct page *p, bool refaulted, u32 distance)
{
	if (refaulted && distance <= l->active.nr)
		to_active(l, p);
	else
		to_inactive(l, p);
}

static struct page *lru2_next(struct lru *l)
{
	for (u32 i = 0; i < BALANCE_STEPS && l->active.nr > l->inactive.nr; i++) {
		struct page *p = &page_array[l->active.tail];

		page_list_take(&l->active, p);
		to_inactive(l, p);
	}
	if (l->inactive.nr == 0)
		return NULL; /* then active is empty, too */
	struct page *p = &page_array[l->inactive.tail];
	page_list_take(&l->inactive, p);
	return p;
}

static void lru2_keep(struct lru *l, struct page *p, bool young)
{
	if (young && page_test(p, PG_REFERENCED)) {
		to_active(l, p);
		return;
	}
	if (young)
		page_set(p, PG_REFERENCED);
	to_inactive(l, p);
}

const struct reclaim_policy policy_lru2 = {
	.name = "lru2",
	.add = lru2_add,
	.next = lru2_next,
	.keep = lru2_keep,
};
