/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of swap share: an address space whose contents are known in every byte.
 *
 * Each page is cut into lanes, each of which one thread writes and compares: so several threads fault on
 * one page, and none needs a lock to know what must be there. A lane begins with a word that tells page,
 * lane and version; the others follow from it and differ, so no page is same-filled. */
#pragma once

#include "mm/mm_internal.h"
#include "tests/kernel/slow_disk.h"

#define SPACE_PAGES 1024u
#define LANES       4u
#define LANE_WORDS  (PAGE_SIZE / LANES / sizeof(u64))

struct space {
	struct mm *mm;
	u64 base;
	bool zaps;     /* somebody zaps: a word may be zero at any time */
	u32 version[SPACE_PAGES][LANES]; /* 0: never written; each lane its writer's */
	bool torn[SPACE_PAGES][LANES];   /* a write of the version failed half-way */
	u32 nr_wrong;  /* [a] */
};

/* space_begin - a new empty one, with @limit pages at most (0: any). => thread context
 * space_end - it goes, wherever its pages are. */
void space_begin(struct space *s, u64 limit);
void space_end(struct space *s);
u64 space_at(const struct space *s, u32 page, u32 lane);

/* lane_write, lane_check - by hva. => the thread uses the space
 * Return 0; an error of hva_write or hva_read. What does not compare is counted and shown. */
int lane_write(struct space *s, u32 page, u32 lane);
int lane_check(struct space *s, u32 page, u32 lane);
/* lane_fill, lane_compare - a copy in memory: @words, LANE_WORDS of them. */
void lane_fill(u64 *words, u32 page, u32 lane, u32 version);
void lane_compare(struct space *s, const u64 *words, u32 page, u32 lane);
/* space_wrong - count it, and show the first few. */
void space_wrong(struct space *s, const char *what, u32 page, s64 value);

/* space_fill, space_check - lane 0 of pages [0, @nr), with the calling thread in the space meanwhile.
 * Return 0, or the first error. */
int space_fill(struct space *s, u32 nr);
int space_check(struct space *s, u32 nr);
/* space_evict - mm_evict of pages [0, @nr), until none is present or nothing helps. Return how many are
 * not present. */
u32 space_evict(struct space *s, u32 nr);

/* The disks of the tests. swap_test_begin - both, of @bytes, are in use, A before B; what was used before
 * is noted. swap_test_end - both are taken off; everything must be as before. */
extern struct slow_disk disk_a, disk_b;
void swap_test_begin(u64 bytes);
void swap_test_end(const char *what);
/* swap_test_add - by name, with its priority; a panic if it cannot be. */
void swap_test_add(struct slow_disk *d);

u32 random_below(u64 *state, u32 n);
