/* SPDX-License-Identifier: BSD-2-Clause */
/* Reclaim: taking frames back from the guests. The story is told in reclaim.c. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct mm;

/* reclaim_init - the reclaim thread; from now on frame_alloc reclaims. => after sched_init */
void reclaim_init(void);

/* mm_set_limit - at most @pages from now on (RES_UNLIMITED: none); brings usage below it now.
 * => sleeps. Return 0; -ENOMEM: the limit is set, but not all could be taken back. */
int must_check mm_set_limit(struct mm *mm, u64 pages);

/* mm_evict - take the page at @hva out of memory now, if possible. => sleeps. 0, -EAGAIN, -ENOENT */
int must_check mm_evict(struct mm *mm, hva_t at);

struct reclaim_stats {
	u64 scanned, reclaimed; /* pages */
	u64 young, busy;        /* candidates that were kept, and why */
	u64 batches;            /* each with one flush */
	u64 direct;             /* times that a thread reclaimed for itself */
};
void reclaim_stats(struct reclaim_stats *s);
