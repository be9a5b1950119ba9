/* SPDX-License-Identifier: BSD-2-Clause */
/* Two-dimensional paging: one table per VM from gfn to frame, in Intel's EPT or AMD's nested format.
 * What differs between the two is a struct pt_format; the walker is lib/pt_walk.c.
 *
 * Invariants
 *  I1. An spte that is present maps what the primary PTE of that gfn's hva maps, with no more rights,
 *      outside of brackets (N1, N2). A second install of the same gfn may only add rights: another
 *      frame there without a bracket between is our bug.
 *  I2. An spte is taken away by one exchange; dirty is what came out (rule 7). Where the processor
 *      keeps no dirty bits (fmt->dirty is 0), whoever could write is taken to have written (N4).
 *  I3. The access that a fault was for does not make its page young: when the vCPU faults again, the
 *      accessed bit of what it installed last is cleared. What uses the page after that sets it
 *      again, at the latest after the next flush. So reclaim need not look at every page twice.
 *      (The pointer may have become another page's: that one is taken for old once too often.)
 *
 * Locking: mmu_lock for every writer. The processor sets accessed and dirty meanwhile. */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

static const struct pt_format *tdp_format(void)
{
	return hvm->tdp_name[0] == 'e' ? &pt_format_ept : &pt_format_npt;
}

static u64 entry_address(const struct pt *pt, u64 entry)
{
	return entry & pt->fmt->addr;
}

static int ept_create(struct vm *vm)
{
	int err = mm_charge(vm->mm, 1);
	if (err)
		return err;
	struct page *root = frame_alloc(FRAME_SPTABLE, FRAME_ZERO);
	if (!root) {
		mm_uncharge(vm->mm, 1);
		return trace(-ENOMEM);
	}
	page_set(root, PG_TABLE);
	vm->nr_sptables = 1;
	vm->pt = (struct pt){
		.fmt = tdp_format(),
		.root = page_to_phys(root),
		.virt_offset = DIRECT_MAP,
		.pages = &vm->pt_pages,
	};
	return 0;
}

static void ept_destroy(struct vm *vm)
{
	pt_destroy(&vm->pt, 0, PT_ENTRIES);
}

static int ept_map(struct vm *vm, gfn_t f, pfn_t p, unsigned int acc)
{
	struct pt *pt = &vm->pt;
	u64 *entry;

	assert_held(&vm->mmu_lock);
	int err = pt_ensure(pt, gfn_to_gpa(f).v, 1, &entry);
	if (unlikely(err))
		return err;
	u64 old = READ_ONCE(*entry);
	u64 bits = pt->fmt->leaf_bits(acc, 1);
	if (likely(!pt_is_present(pt->fmt, old))) {
		u64 **fresh = &vm->installer->fresh;

		if (likely(*fresh)) /* I3 */
			atomic_and(*fresh, ~pt->fmt->accessed);
		*fresh = entry;
		atomic_store(entry, pfn_to_hpa(p).v | bits | pt->fmt->accessed);
		return 0;
	}
	CHECK(entry_address(pt, old) == pfn_to_hpa(p).v,
	      "N1: gfn %#lx maps %#lx while the primary PTE maps frame %#lx", f.v, old, p.v);
	atomic_or(entry, bits);
	return 0;
}

struct visit {
	struct vm *vm;
	bool found;
	bool clear;
	void (*fn)(void *ctx, gfn_t f, pfn_t p, unsigned int acc);
	void *ctx;
};

/* hand_over_dirty - @old came out of a table by exchange: its page may have been written. */
static void hand_over_dirty(const struct pt *pt, u64 old)
{
	bool dirty = pt->fmt->dirty ? old & pt->fmt->dirty : pt->fmt->rights(old) & ACC_W;

	if (dirty && !mutant("zap_drops_dirty"))
		mm_mark_dirty(hpa_to_pfn(hpa(entry_address(pt, old))));
}

static int zap_one(void *ctx, unused u64 va, unused int level, u64 *entry)
{
	struct visit *visit = ctx;

	hand_over_dirty(&visit->vm->pt, atomic_xchg(entry, 0));
	visit->found = true;
	return 0;
}

static bool ept_zap(struct vm *vm, u64 start, u64 end)
{
	struct visit visit = {.vm = vm};

	assert_held(&vm->mmu_lock);
	u64 *entry = end - start == 1 ? pt_lookup_leaf(&vm->pt, start << PAGE_SHIFT) : NULL;
	if (!entry) /* else it is one page, as reclaim mostly asks */
		pt_for_each(&vm->pt, start << PAGE_SHIFT, end << PAGE_SHIFT, zap_one, &visit);
	else if (pt_is_present(vm->pt.fmt, READ_ONCE(*entry)))
		(void)zap_one(&visit, 0, 1, entry);
	return visit.found;
}

static int young_one(void *ctx, unused u64 va, unused int level, u64 *entry)
{
	struct visit *visit = ctx;
	u64 accessed = visit->vm->pt.fmt->accessed;

	if (!(READ_ONCE(*entry) & accessed))
		return 0;
	visit->found = true;
	if (visit->clear)
		atomic_and(entry, ~accessed);
	return 0;
}

static bool ept_young(struct vm *vm, u64 start, u64 end, bool clear)
{
	struct visit visit = {.vm = vm, .clear = clear};

	assert_held(&vm->mmu_lock);
	pt_for_each(&vm->pt, start << PAGE_SHIFT, end << PAGE_SHIFT, young_one, &visit);
	return visit.found;
}

static bool ept_clear_young(struct vm *vm, gfn_t f)
{
	const u64 accessed = vm->pt.fmt->accessed;
	u64 *entry = pt_lookup_leaf(&vm->pt, gfn_to_gpa(f).v);

	assert_held(&vm->mmu_lock);
	if (!entry || !(READ_ONCE(*entry) & accessed))
		return false;
	atomic_and(entry, ~accessed);
	return true;
}

/* The exchange takes the entry out whole, so that a dirty bit that the processor sets at this moment
 * is either in what came out or raises a fault; then the narrowed entry goes in. */
static int protect_one(void *ctx, unused u64 va, int level, u64 *entry)
{
	struct visit *visit = ctx;
	const struct pt *pt = &visit->vm->pt;
	unsigned int rights = pt->fmt->rights(READ_ONCE(*entry));

	if (!(rights & ACC_W))
		return 0;
	u64 old = atomic_xchg(entry, 0);
	hand_over_dirty(pt, old);
	atomic_store(entry, entry_address(pt, old) | pt->fmt->leaf_bits(rights & ~ACC_W, level) |
				    (old & pt->fmt->accessed));
	visit->found = true;
	return 0;
}

static bool ept_protect(struct vm *vm, u64 start, u64 end)
{
	struct visit visit = {.vm = vm};

	assert_held(&vm->mmu_lock);
	pt_for_each(&vm->pt, start << PAGE_SHIFT, end << PAGE_SHIFT, protect_one, &visit);
	return visit.found;
}

static int show_one(void *ctx, u64 va, unused int level, u64 *entry)
{
	struct visit *visit = ctx;
	const struct pt *pt = &visit->vm->pt;
	u64 e = READ_ONCE(*entry);

	visit->fn(visit->ctx, gpa_to_gfn(gpa(va)), hpa_to_pfn(hpa(entry_address(pt, e))),
		  pt->fmt->rights(e));
	return 0;
}

static void ept_for_each(struct vm *vm, void (*fn)(void *ctx, gfn_t f, pfn_t p, unsigned int acc),
			 void *ctx)
{
	struct visit visit = {.vm = vm, .fn = fn, .ctx = ctx};

	assert_held(&vm->mmu_lock);
	pt_for_each(&vm->pt, 0, 1ull << 48, show_one, &visit);
}

const struct mmu_ops ept_ops = {
	.name = "tdp",
	.create = ept_create,
	.destroy = ept_destroy,
	.map = ept_map,
	.zap = ept_zap,
	.young = ept_young,
	.clear_young = ept_clear_young,
	.protect = ept_protect,
	.for_each = ept_for_each,
};
