/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking mappings away for good.
 *
 * The TLBs are flushed before the PT lock is dropped: a fault that finds the PTE empty may map
 * another frame there at once, and while one CPU reaches that and another, through a stale entry,
 * the old one, a write of the first is not seen by the second. (Reclaim may flush later: a refault
 * finds the same frame.) Frames go back after that, without the lock (N3). */
#include "lib/check.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"

#define ZAP_BATCH 64      /* frames taken per hold of the PT lock */
#define ZAP_SWAPPED 512   /* swap entries, the same */
#define ZAP_SPAN  MIB(32) /* hva looked at per hold of the PT lock */

struct zap {
	struct mm *mm;
	u64 next;                   /* how far it came */
	u64 flush_start, flush_end; /* what must be flushed */
	u32 nr, nr_swapped;
	struct page *page[ZAP_BATCH];
};

void mm_mark_dirty(pfn_t f)
{
	struct page *p = pfn_to_page(f);

	if (!page_test(p, PG_DIRTY))
		page_set(p, PG_DIRTY);
}

static void flush_add(struct zap *z, u64 va)
{
	if (z->flush_start == z->flush_end)
		z->flush_start = va;
	z->flush_end = va + PAGE_SIZE;
}

/* zap_swap - one PTE less names the slot; a page that nobody needs any more leaves the cache. The batch
 * that unmapped it may not have been flushed yet. */
static int zap_swap(struct zap *z, u64 va, slot_t s)
{
	struct page *p = slot_page(s);

	z->mm->nr_swapped--;
	(void)slot_put(s);
	if (p) {
		flush_add(z, va);
		z->page[z->nr++] = p;
	}
	return z->nr == ZAP_BATCH || ++z->nr_swapped == ZAP_SWAPPED;
}

/* zap_one - => PT lock */
static int zap_one(void *ctx, u64 va, int level, u64 *entry)
{
	struct zap *z = ctx;
	pte_t old = {atomic_xchg(entry, 0)};

	CHECK(level == 1, "mm %u: a leaf of level %d at %#lx", z->mm->id, level, va);
	z->next = va + PAGE_SIZE;
	if (pte_is_swap(old))
		return zap_swap(z, va, pte_slot(old));
	if (pte_is_zero(old)) {
		z->mm->nr_zero_mapped--;
		if (old.v & PTE_IN_TLB) /* else no TLB has it: I4 of fault.c */
			flush_add(z, va);
		return 0;
	}

	struct page *p = pfn_to_page(pte_pfn(old));
	if (old.v & PTE_IN_TLB)
		flush_add(z, va);
	if (old.v & PTE_D)
		mm_mark_dirty(pte_pfn(old));
	rmap_remove(p, z->mm, hva(va));
	if (!page_test(p, PG_SWAPCACHE) && page_mm_id(p) == z->mm->id)
		lru_del(&z->mm->lru, p);
	z->mm->nr_anon--;
	z->page[z->nr++] = p;
	return z->nr == ZAP_BATCH;
}

/* zap_some - from @at on, until the batch is full or @end. Returns where to go on. */
static u64 zap_some(struct mm *mm, u64 at, u64 end)
{
	struct zap z = {.mm = mm};

	spin_lock(&mm->pt_lock);
	bool full = pt_for_each(&mm->pt, at, end, zap_one, &z);
	if (z.flush_start != z.flush_end)
		space_flush(&mm->space, z.flush_start, z.flush_end);
	spin_unlock(&mm->pt_lock);

	for (u32 i = 0; i < z.nr; i++)
		page_try_release(z.page[i]);
	return full ? z.next : end;
}

void mm_zap_range(struct mm *mm, u64 start, u64 end)
{
	struct mm_event ev = {
		.mm = mm,
		.start = start,
		.end = end,
		.reason = MM_EVENT_UNMAP,
		.may_sleep = true,
	};

	ASSERT(rwsem_is_held(&mm->mmap_lock), "mm %u: zap without mmap_lock", mm->id);
	CHECK(start < end && end <= MM_HVA_END && !page_offset(start | end), "zap of [%#lx, %#lx)",
	      start, end);
	int err = notifier_range_start(&mm->notifiers, &ev);
	CHECK(err == 0, "a bracket that may sleep was refused: error %d", err);
	for (u64 at = start; at < end;)
		at = zap_some(mm, at, MIN(end, at + ZAP_SPAN));
	notifier_range_end(&mm->notifiers, &ev);
}

void mm_forget_swapped(struct mm *mm, hva_t at)
{
	u64 *entry = mm_entry(mm, at.v);

	if (!entry || !pte_is_swap(pte_read(entry)))
		return;
	/* A page in the swap cache may still be in a TLB, until its batch is flushed: it is left, and
	 * need not be fetched. Any other is mapped nowhere, so nobody need be told. */
	rwsem_read_lock(&mm->mmap_lock);
	spin_lock(&mm->pt_lock);
	pte_t pte = pte_read(entry);
	if (pte_is_swap(pte) && !(slot_read(pte_slot(pte)).flags & SLOT_CACHED)) {
		atomic_store(entry, 0);
		mm->nr_swapped--;
		(void)slot_put(pte_slot(pte));
	}
	spin_unlock(&mm->pt_lock);
	rwsem_read_unlock(&mm->mmap_lock);
}
