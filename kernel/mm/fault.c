/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults: make the primary PTE of an hva allow an access.
 *
 *	the PTE is        read                    write
 *	none              the zero page           a zeroed frame of its own
 *	the zero page     nothing to do           a zeroed frame in its place, in a bracket
 *	a frame           nothing to do           nothing to do; if it is read-only: the right to
 *	                                          write, or a copy in its place, in a bracket
 *	a swap entry      swap.c: the page comes back
 *
 * One order for all: *prepare* without any lock (tables, a frame charged and cleared: all that may
 * sleep or takes long), then take mmap_lock and the PT lock, look again, and install or go round
 * once more. What was prepared and is not needed in the end goes back.
 *
 * Invariants
 *  I1. PTEs are decided and written under the PT lock alone (rule 2).
 *  I2. A PTE goes from none to present without bracket or flush: no TLB, no subscriber has anything
 *      of it. Any other change of frame happens in a bracket, by way of none, and is flushed before
 *      the new frame can be reached (rule 14).
 *  I3. A frame is cleared before its PTE is written, and its rmap, mapcount, refcount are set
 *      before too.
 *  I4. The accessed bit of a zero-page PTE is never cleared, and begins clear. The processor sets
 *      it before it caches the translation; so while it is clear no TLB has it, and nothing needs a
 *      flush.
 *
 * Locking: mmap_lock (read) > PT lock > rmap. No disk is waited for under either: frames are
 * fetched, and reclaimed, before (N5). */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"
#include "sched/thread.h"

/* Accessed and dirty are the processor's to set: what a secondary MMU does is not seen in the primary
 * PTE. A fresh page is dirty by its own flag (rmap_add_new). */
#define PTE_FRESH (PTE_P | PTE_W | PTE_NX)

/* ---- preparing: no lock held ----------------------------------------------------------------- */

int frame_prepare(struct mm *mm, struct page **frame, unsigned int flags)
{
	int err = res_counter_charge(&mm->counter, 1, NULL);

	if (unlikely(err)) {
		err = mm_charge_wait(mm, 1);
		if (err)
			return err;
	}
	*frame = frame_alloc(FRAME_GUEST, flags);
	if (likely(*frame))
		return 0;
	mm_uncharge_frame(mm);
	return trace(thread_killed() ? -EINTR : -ENOMEM);
}

void frame_unprepare(struct mm *mm, struct page *frame)
{
	frame_free(frame, 0);
	mm_uncharge_frame(mm);
}

/* ---- installing: mmap_lock held for read ----------------------------------------------------- */

/* tell - fill @out from what the PTE maps. => PT lock; the reference on @p is the caller's */
static inline void tell(struct mm_page *out, struct page *p, bool writable)
{
	*out = (struct mm_page){.page = p, .pfn = page_to_pfn(p), .writable = writable};
}

/* frame_map - the new frame becomes what @entry maps. => PT lock, *@entry is none */
static always_inline void frame_map(struct mm *mm, u64 *entry, u64 at, struct page **frame,
				    struct mm_page *out)
{
	struct page *p = *frame;

	*frame = NULL;
	rmap_add_new(p, mm, hva(at));
	lru_add_new(&mm->lru, p);
	if (out) {
		tell(out, p, true);
		page_get(p); /* not a store: a late mm_gup_fast may have one for a moment (I3 of frame.c) */
	}
	atomic_store(entry, page_to_phys(p) | PTE_FRESH);
	mm->nr_anon++;
	mm->faults++;
}

void fault_map_frame(struct mm *mm, u64 *entry, u64 at, struct page **frame, struct mm_page *out)
{
	frame_map(mm, entry, at, frame, out);
}

static always_inline int map_fresh(struct mm *mm, u64 *entry, u64 at, struct page **frame,
				   struct mm_page *out)
{
	int err = 0;

	race_point("fault.before_pte");
	spin_lock(&mm->pt_lock);
	if (likely(pte_none(pte_read(entry))) || mutant("none_without_lock"))
		frame_map(mm, entry, at, frame, out);
	else
		err = -EAGAIN;
	spin_unlock(&mm->pt_lock);
	return err;
}

static int map_zero(struct mm *mm, u64 *entry, struct mm_page *out)
{
	int err = 0;

	race_point("fault.before_pte");
	spin_lock(&mm->pt_lock);
	if (likely(pte_none(pte_read(entry)))) {
		if (out) {
			page_get(zero_page);
			tell(out, zero_page, false);
		}
		atomic_store(entry, page_to_phys(zero_page) | PTE_P | PTE_NX | PTE_ZERO); /* I4 */
		mm->nr_zero_mapped++;
		mm->zero_faults++;
		mm->faults++;
	} else {
		err = -EAGAIN;
	}
	spin_unlock(&mm->pt_lock);
	return err;
}

/* replace_pte - the frame comes in place of what @old maps. Between them the PTE is none, until no TLB
 * has the old one: else one CPU could write the new frame while another still reads the old. */
static int replace_pte(struct mm *mm, u64 *entry, u64 at, pte_t old, struct page **frame,
		       struct mm_page *out)
{
	struct page *was = pfn_to_page(pte_pfn(old));
	int err = 0;

	race_point("fault.cow_before_exchange");
	spin_lock(&mm->pt_lock);
	pte_t now = {atomic_xchg(entry, 0)};
	if (likely(!((now.v ^ old.v) & ~PTE_IN_TLB))) {
		if ((now.v & PTE_IN_TLB) && !mutant("cow_no_flush"))
			space_flush(&mm->space, at, at + PAGE_SIZE);
		if (!pte_is_zero(now)) {
			memcpy(page_to_virt(*frame), page_to_virt(was), PAGE_SIZE);
			rmap_remove(was, mm, hva(at));
			mm->nr_anon--;
		} else {
			mm->nr_zero_mapped--;
			was = NULL;
		}
		frame_map(mm, entry, at, frame, out);
		mm->cow_faults++;
	} else {
		atomic_store(entry, now.v);
		was = NULL;
		err = -EAGAIN;
	}
	spin_unlock(&mm->pt_lock);
	if (was)
		page_try_release(was);
	return err;
}

static noinline int replace(struct mm *mm, u64 *entry, u64 at, pte_t old, struct page **frame,
			    struct mm_page *out)
{
	struct mm_event ev = {
		.mm = mm,
		.start = at,
		.end = at + PAGE_SIZE,
		.reason = MM_EVENT_COPY,
		.may_sleep = true,
	};
	bool bracket = !mutant("cow_no_bracket");

	if (bracket) {
		int refused = notifier_range_start(&mm->notifiers, &ev);
		CHECK(refused == 0, "a bracket that may sleep was refused: error %d", refused);
	}
	int err = replace_pte(mm, entry, at, old, frame, out);
	if (bracket)
		notifier_range_end(&mm->notifiers, &ev);
	return err;
}

/* reuse - the read-only page at @at is nobody else's: it may be written from now on (rule 17). More
 * rights need no bracket. Return 0; -ENOBUFS: others have it, too; -EAGAIN. */
static int reuse(struct mm *mm, u64 *entry, pte_t old, struct mm_page *out)
{
	struct page *p = pfn_to_page(pte_pfn(old));
	int err = -EAGAIN;

	if (!page_trylock(p)) {
		thread_yield(); /* reclaim has it, for a moment */
		return -EAGAIN;
	}
	spin_lock(&mm->pt_lock);
	pte_t now = pte_read(entry);
	if (!((now.v ^ old.v) & ~(PTE_IN_TLB | PTE_D))) {
		bool others = p->mapcount != 1 || (page_test(p, PG_SWAPCACHE) &&
						   slot_read((slot_t){p->slot}).count);
		err = others ? -ENOBUFS : 0;
	}
	if (err == 0) {
		atomic_or(entry, PTE_W);
		mm_mark_dirty(page_to_pfn(p));
		if (out) {
			page_get(p);
			tell(out, p, true);
		}
		mm->faults++;
	}
	spin_unlock(&mm->pt_lock);
	page_unlock(p);
	return err;
}

/* take_present - another fault was quicker; the PTE allows the access. */
static int take_present(struct mm *mm, u64 *entry, unsigned int acc, struct mm_page *out)
{
	int err = 0;

	if (!out)
		return 0;
	spin_lock(&mm->pt_lock);
	pte_t pte = pte_read(entry);
	if (pte_allows(pte, acc)) {
		struct page *p = pfn_to_page(pte_pfn(pte));
		page_get(p);
		tell(out, p, pte_writable(pte));
	} else {
		err = -EAGAIN;
	}
	spin_unlock(&mm->pt_lock);
	return err;
}

/* install - do what the table above says for the PTE as it is now.
 * Return 0; -EFAULT; -EAGAIN if it changed under our hands. */
static always_inline int install(struct mm *mm, u64 *entry, u64 at, unsigned int acc,
				 struct page **frame, struct mm_page *out)
{
	const struct region *r = region_find(mm, at);
	pte_t pte = pte_read(entry);

	if (unlikely(!r || (acc & ~r->acc)))
		return trace(-EFAULT);
	if (likely(pte_none(pte))) {
		if (acc & ACC_W)
			return map_fresh(mm, entry, at, frame, out);
		return map_zero(mm, entry, out);
	}
	if (pte_allows(pte, acc))
		return take_present(mm, entry, acc, out);
	if (!pte_present(pte))
		return -EAGAIN; /* just now swapped */
	if (!pte_is_zero(pte)) {
		int err = reuse(mm, entry, pte, out);
		if (err != -ENOBUFS)
			return err;
	}
	return replace(mm, entry, at, pte, frame, out);
}

/* ---- the fault ------------------------------------------------------------------------------- */

int fault_in(struct mm *mm, u64 *entry, u64 at, unsigned int acc, struct mm_page *out)
{
	struct page *frame = NULL;
	int err = 0;

	for (;;) {
		if (unlikely(!entry)) {
			err = table_ensure(mm, at, acc, &entry);
			if (err)
				break;
		}
		bool swapped = pte_is_swap(pte_read(entry));
		if (!frame && (((acc & ACC_W) && !swapped) || unlikely(err == -ENOBUFS))) {
			err = frame_prepare(mm, &frame, FRAME_ZERO);
			if (unlikely(err))
				break;
		}
		if (unlikely(swapped)) {
			err = swap_in(mm, entry, at, acc, &frame, out);
			if (err != -EAGAIN && err != -ENOBUFS)
				break;
			if (thread_killed()) {
				err = trace(-EINTR);
				break;
			}
			continue;
		}
		rwsem_read_lock(&mm->mmap_lock);
		err = install(mm, entry, at, acc, &frame, out);
		rwsem_read_unlock(&mm->mmap_lock);
		if (likely(err != -EAGAIN))
			break;
		if (thread_killed()) {
			err = trace(-EINTR);
			break;
		}
	}
	if (unlikely(frame))
		frame_unprepare(mm, frame);
	return err;
}

int mm_fault(struct mm *mm, hva_t at, unsigned int acc)
{
	u64 *entry = mm_entry(mm, at.v);

	/* A TLB that was behind, or another CPU that was quicker. */
	if (entry && pte_allows(pte_read(entry), acc))
		return 0;
	return fault_in(mm, entry, page_down(at.v), acc, NULL);
}
