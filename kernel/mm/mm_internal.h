/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of mm share with each other and with nobody else. */
#pragma once

#include "lib/atomic.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"

/* ---- buddy.c: the free frames, under the frame lock ----------------------------------------- */

struct buddy {
	u32 head[FRAME_MAX_ORDER + 1]; /* frame number of the first free block, or PAGE_NONE */
	u64 nr_free;
};

void buddy_init(struct buddy *b);
/* buddy_give - 2^order frames from @pfn are free; merges. => their flags are 0 or PG_RESERVED */
void buddy_give(struct buddy *b, u64 pfn, unsigned int order);
/* buddy_take - a block, flags 0, or NULL if no block is large enough. */
struct page *buddy_take(struct buddy *b, unsigned int order);
/* buddy_audit - as frame_audit, for the lists alone. */
int buddy_audit(const struct buddy *b, void (*report)(const char *fmt, ...));

/* ---- frame_debug.c: the oracle's part, called in debug builds only --------------------------- */

void frame_debug_init(void);
void frame_debug_alloc(struct page *p, unsigned int order);
void frame_debug_free(struct page *p, unsigned int order);
bool frame_debug_should_fail(void);

/* ---- the primary table ----------------------------------------------------------------------- */

/* pte_read - a PTE may change under our eyes: one load, before what depends on it. */
static inline pte_t pte_read(const u64 *entry)
{
	return (pte_t){atomic_load(entry)};
}

static inline bool pte_allows(pte_t pte, unsigned int acc)
{
	u64 need = acc & ACC_W ? PTE_P | PTE_W : PTE_P;

	return (pte.v & need) == need;
}

/* mm_entry - the PTE of @at, or NULL while it has no table. => mm is held; no lock: tables stay */
static inline u64 *mm_entry(const struct mm *mm, u64 at)
{
	/* The upper half of the root belongs to the kernel. */
	return likely(at < MM_HVA_END) ? pt_lookup_leaf(&mm->pt, at) : NULL;
}

/* table.c. table_create - the root. Return 0 or -ENOMEM.
 * table_ensure - build the tables down to the PTE of @at, if a region allows @acc there; *@entry is
 * the PTE. => no lock held, sleeps. Errors as mm_fault
 * table_destroy - every table page goes back. => nobody walks it, no CPU holds it */
int must_check table_create(struct mm *mm);
int must_check table_ensure(struct mm *mm, u64 at, unsigned int acc, u64 **entry);
void table_destroy(struct mm *mm);

/* region.c. region_find - the region that @at lies in, or NULL. => mmap_lock, for read at least */
struct region *region_find(struct mm *mm, u64 at);
void region_init(void);
void regions_free(struct mm *mm);

/* fault.c. fault_in - what mm_fault and mm_gup do when the PTE does not allow the access.
 * @entry: the PTE of @at, NULL if it has no table yet; @at: page-aligned
 * @out: NULL, or filled with a reference under the same hold of the PT lock */
int must_check fault_in(struct mm *mm, u64 *entry, u64 at, unsigned int acc, struct mm_page *out);

/* uaccess.c: what trap_set_fault_handler gets. */
int hva_fault_handler(u64 va, u32 pfec);

#define MM_MAX 1024 /* ids 1 .. MM_MAX - 1 */
