/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages of one mm in the order in which they may go, and the policies that keep that order.
 *
 * Each mm has two lists of its own. Isolating, ageing, unmapping, writing and freeing are mechanism
 * (reclaim.c); *which page next* is a policy: one small file each, switched while the machine runs.
 * All policies use the same two lists, so that switching costs nothing:
 *
 *	clock     one circle: a young page goes round once more
 *	lru2      a page earns its place on the active list by being young twice, or by coming back
 *	          sooner than the active list is long (refault distance)
 *	random    any page: for comparison only
 *
 * Refault distance: `evictions` counts pages that left; its value is written into the slot of each
 * (the stamp). When the page comes back, evictions - stamp tells how many left in between: with so
 * many frames more it would have stayed.
 *
 * Locking: the lists and the policy's calls are under the mm's PT lock, which who maps a page holds
 * anyway. PG_LRU says that a page is on a list of the mm that page_mm_id names. */
#pragma once

#include "lib/check.h"
#include "lib/types.h"
#include "mm/page.h"

struct page_list {
	u32 head, tail; /* frame numbers, PAGE_NONE: empty; next leads from head to tail */
	u64 nr;
};

struct lru {
	struct page_list active, inactive;
	u32 evictions; /* wraps */
};

struct reclaim_policy {
	const char *name;
	bool blind; /* asks nobody whether a candidate was young */
	/* add - @p came back, or goes from list to list. @refaulted: it left @distance evictions ago. */
	void (*add)(struct lru *l, struct page *p, bool refaulted, u32 distance);
	/* next - take the best candidate off its list; NULL if there is none. */
	struct page *(*next)(struct lru *l);
	/* keep - put a candidate back: @young, it was used since the last look; else it could not go now
	 * (locked, in use, under writeback). */
	void (*keep)(struct lru *l, struct page *p, bool young);
};

extern const struct reclaim_policy policy_clock, policy_lru2, policy_random;

void lru_init(struct lru *l);
/* lru_add - as the policy of the moment wants it. lru_del - harmless if @p is on no list. */
void lru_add(struct lru *l, struct page *p, bool refaulted, u32 distance);
void lru_del(struct lru *l, struct page *p);
static inline u64 lru_pages(const struct lru *l)
{
	return l->active.nr + l->inactive.nr;
}

/* For policies. page_list_take - unlink any; page_list_add - at the head. */
static inline void page_list_add(struct page_list *l, struct page *p)
{
	u32 at = page_to_pfn(p).v;

	ASSERT(!page_test(p, PG_LRU), "frame %#x is on a list already", at);
	p->prev = PAGE_NONE;
	p->next = l->head;
	*(l->head == PAGE_NONE ? &l->tail : &page_array[l->head].prev) = at;
	l->head = at;
	l->nr++;
	page_set(p, PG_LRU);
}
void page_list_take(struct page_list *l, struct page *p);

/* lru_add_new - a page that never was elsewhere: every policy puts it on the inactive list. */
static inline void lru_add_new(struct lru *l, struct page *p)
{
	page_list_add(&l->inactive, p);
}

/* reclaim_policy_set - by name, from now on. Return 0; -ENOENT. */
int must_check reclaim_policy_set(const char *name);
const struct reclaim_policy *reclaim_policy(void);
/* reclaim_policy_name - the @i-th, NULL after the last. */
const char *reclaim_policy_name(u32 i);
