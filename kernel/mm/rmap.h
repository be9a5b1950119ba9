/* SPDX-License-Identifier: BSD-2-Clause */
/* The reverse map: from a frame to every (mm, hva) whose primary PTE maps it.
 *
 * A frame with one mapping, the common case, keeps it in page->rmap itself:
 *
 *	63      48 47                   12 11      0
 *	[ mm id  ][ hva >> 12           ][ 1        ]
 *
 * Frames mapped more than once (merged, cloned) keep a chain of nodes, PG_RMAP_CHAIN set.
 *
 * Locking: entries change under the PT lock of the mm concerned *and*, for chains, under a hashed
 * RANK_RMAP lock. Who follows an entry holds the hashed lock, or takes the mm by get-unless-zero on
 * its id under the mm table's lock, and finds the PTE again under the PT lock: an rmap entry is a
 * hint where to look, the PTE is the truth (rule 23). */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct mm;
struct page;

void rmap_init(void);
/* rmap_add - @mm maps @p at @at; raises mapcount. => PT lock, page lock
 * Return 0; -ENOMEM only if @p was mapped already and no chain node is to be had. */
int must_check rmap_add(struct page *p, const struct mm *mm, hva_t at);
/* rmap_add_new - the first mapping of a frame that nobody else has seen yet: takes no lock. */
void rmap_add_new(struct page *p, const struct mm *mm, hva_t at);
/* rmap_remove - the opposite. => PT lock; the entry exists (CHECK) */
void rmap_remove(struct page *p, const struct mm *mm, hva_t at);

/* rmap_set_hint - @p has no mapping, but belongs at @at: kept while it is in the swap cache.
 * rmap_become_hint - its only mapping goes, and stays as a hint. => page lock, PT lock
 * rmap_drop_hint - no longer: it leaves the cache, and has no mapping.
 * rmap_hint - that, of a page without mapping, or the mapping of a page that has one; false: neither. */
void rmap_set_hint(struct page *p, const struct mm *mm, hva_t at);
void rmap_become_hint(struct page *p, const struct mm *mm, hva_t at);
void rmap_drop_hint(struct page *p);
bool rmap_hint(const struct page *p, const struct mm *mm, hva_t *at);

/* rmap_for_each - call @fn for each mapping, with the mm held. Mappings may come and go meanwhile:
 * one that stays is visited, now and then twice; one that has just gone may still be; @fn looks at
 * the PTE. Nonzero from @fn ends the walk and is returned.
 * => page locked or otherwise kept from being freed; no PT lock held */
int rmap_for_each(struct page *p, int (*fn)(struct mm *mm, hva_t at, void *ctx), void *ctx);
/* rmap_has - for audits. */
bool rmap_has(const struct page *p, const struct mm *mm, hva_t at);
unsigned int rmap_count(const struct page *p);
