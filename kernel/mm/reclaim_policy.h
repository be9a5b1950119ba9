/* SPDX-License-Identifier: BSD-2-Clause */
/* Which page goes next. Isolating, ageing, unmapping, writing and freeing are mechanism (reclaim);
 * the choice is a policy: one small file each, switched while the machine runs.
 *
 * A policy sees pages come (a first mapping, a swap-in), pages go, and, when frames are wanted, scans
 * its own lists and offers candidates. It never looks at page tables: mechanism tells it whether a
 * candidate was young. */
#pragma once

#include "lib/types.h"

struct page;

enum reclaim_verdict {
	RECLAIM_TAKEN,  /* the page leaves the policy's lists: it is being unmapped */
	RECLAIM_YOUNG,  /* it was used since the last look: the policy keeps it */
	RECLAIM_BUSY,   /* locked, pinned or refused: try another, keep it */
};

struct reclaim_policy {
	const char *name;
	/* add - @p holds guest memory now. @refault_distance: evictions since it was last evicted, or 0
	 * if it never was. => RANK_LRU lock */
	void (*add)(struct page *p, u64 refault_distance);
	/* del - @p is being freed, or another policy takes over. => RANK_LRU lock */
	void (*del)(struct page *p);
	/* next - the best candidate now, or NULL if it has none. => RANK_LRU lock */
	struct page *(*next)(void);
	/* verdict - what became of the candidate. => RANK_LRU lock */
	void (*verdict)(struct page *p, enum reclaim_verdict v);
	/* drain - hand every page to @fn, in the order in which the next policy should see them. */
	void (*drain)(void (*fn)(struct page *p));
};
