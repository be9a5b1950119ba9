/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault path and the notifier callbacks; mmu.h tells the story. */
#include "vmm/mmu.h"

#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/tlb_oracle.h"
#include "vmm/vm.h"

/* ---- spare tables: allocated before mmu_lock is taken, used under it --------------------------- */

static int tables_top_up(struct vcpu *v)
{
	while (v->nr_spare_tables < SPARE_TABLES) {
		int err = mm_charge(v->vm->mm, 1);
		if (err)
			return err;
		struct page *p = frame_alloc(FRAME_SPTABLE, FRAME_ZERO);
		if (!p) {
			mm_uncharge(v->vm->mm, 1);
			return trace(-ENOMEM);
		}
		page_set(p, PG_TABLE);
		v->spare_tables[v->nr_spare_tables++] = page_to_phys(p);
	}
	return 0;
}

static void table_free(struct vm *vm, u64 phys)
{
	page_clear(phys_to_page(phys), PG_TABLE);
	frame_free(phys_to_page(phys), 0);
	mm_uncharge(vm->mm, 1);
}

void mmu_drop_spares(struct vcpu *v)
{
	while (v->nr_spare_tables)
		table_free(v->vm, v->spare_tables[--v->nr_spare_tables]);
}

static u64 spare_get(struct pt_pages *pages)
{
	struct vm *vm = container_of(pages, struct vm, pt_pages);
	struct vcpu *v = vm->installer;

	if (v->nr_spare_tables == 0)
		return 0;
	vm->nr_sptables++;
	return v->spare_tables[--v->nr_spare_tables];
}

static void spare_put(struct pt_pages *pages, u64 phys)
{
	struct vm *vm = container_of(pages, struct vm, pt_pages);

	vm->nr_sptables--;
	table_free(vm, phys);
}

/* ---- the fault path ------------------------------------------------------------------------------ */

static int install(struct vcpu *v, gfn_t f, const struct mm_page *p, struct notifier_sample sample,
		   u32 generation)
{
	struct vm *vm = v->vm;
	int err = -EAGAIN;

	race_point("mmu.before_install");
	spin_lock(&vm->mmu_lock);
	bool stale = notifier_retry(&vm->mm->notifiers, sample) && !mutant("install_no_retry");
	if (likely(!stale && generation == atomic_load(&vm->slots.generation))) {
		unsigned int rights = ACC_R | ACC_X;
		if (p->writable || mutant("install_writable"))
			rights |= ACC_W;
		vm->installer = v;
		err = vm->mmu->map(vm, f, p->pfn, rights);
	}
	spin_unlock(&vm->mmu_lock);
	return err;
}

/* note_refault - for `watch`. Counts of vCPUs that race may be lost: it is a statistic. */
static noinline void note_refault(struct vm *vm, gfn_t f)
{
	struct vm_watch *w = &vm->watch;

	w->all_refaults++;
	if (w->stride && f.v >= w->start && f.v < w->end && (f.v - w->start) % w->stride == 0)
		w->refaults++;
}

/* install_along - what mm mapped beside the page, as @p says, is the guest's as well. It is the same bucket
 * and the same region, so @sample and @slot hold for all. A page that could not be had comes with a fault of
 * its own. */
static noinline void install_along(struct vcpu *v, const struct memslot *slot, gfn_t f,
				   const struct mm_page *p, struct notifier_sample sample, u32 generation)
{
	for (gfn_t g = gfn(f.v - p->before); g.v <= f.v + p->after; g.v++) {
		struct mm_page q;

		if (g.v == f.v || !mm_gup_fast(v->vm->mm, hva(memslot_hva(slot, g)), ACC_R, &q))
			continue;
		if (install(v, g, &q, sample, generation) == 0)
			note_refault(v->vm, g);
		page_put(q.page);
	}
}

int mmu_fault(struct vcpu *v, gpa_t at, unsigned int acc)
{
	struct vm *vm = v->vm;
	gfn_t f = gpa_to_gfn(at);
	unsigned int want = acc & ACC_W ? ACC_W : ACC_R;

	for (;;) {
		/* Rule 1. The bucket of the sequence is known only after the lookup; a slot that
		 * changes meanwhile is caught by its generation, which was sampled before. */
		u32 generation = atomic_load(&vm->slots.generation);
		const struct memslot *slot = memslot_find(&vm->slots, f);
		if (!slot)
			return -ENOENT;
		hva_t hva_at = hva(memslot_hva(slot, f));
		struct notifier_sample sample = notifier_sample(&vm->mm->notifiers, hva_at.v);
		struct mm_page p;
		int err;

		if (unlikely(v->nr_spare_tables < SPARE_TABLES)) {
			err = tables_top_up(v);
			if (err)
				return err;
		}
		err = mm_gup(vm->mm, hva_at, want, &p);
		if (unlikely(err))
			return err;
		if (unlikely(p.refault)) {
			note_refault(vm, f);
			if (p.before + p.after)
				install_along(v, slot, f, &p, sample, generation);
		}
		err = install(v, f, &p, sample, generation);
		page_put(p.page);
		if (likely(err == 0))
			return 0;
		/* -EAGAIN: something changed meanwhile. -ENOMEM: others emptied what the walk needed;
		 * topped up above. Both: start again, unless the VM ends. */
		if (thread_killed())
			return -EINTR;
		/* Our own bracket (a page that was copied) is closed already; who holds one that is open may
		 * wait for this CPU. */
		if (notifier_is_open(&vm->mm->notifiers, sample))
			thread_yield();
	}
}

/* ---- flushes -------------------------------------------------------------------------------------- */

static void kicked(unused void *arg)
{
	/* That the handler runs is the proof: this CPU has left guest mode, and the next entry compares
	 * tlb_gen. */
}

/* tlb_gen was raised (with a full barrier) when the translations were taken away; here is the other
 * half of rule 18: who is in guest mode now is made to leave. */
void mmu_flush(struct vm *vm)
{
	u64 mask = 0;

	smp_mb();
	u64 gen = NEAP_DEBUG ? atomic_load(&vm->tlb_gen) : 0;
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = vm->vcpus[i];
		if (v && atomic_load(&v->mode) == VCPU_IN_GUEST)
			mask |= 1ull << atomic_load_relaxed(&v->cpu);
	}
	if (mask && !mutant("flush_no_kick"))
		smp_call(mask, kicked, NULL);
	if (NEAP_DEBUG)
		tlb_oracle_flushed(vm, gen);
}

static void owe_flush(struct vm *vm)
{
	assert_held(&vm->mmu_lock);
	atomic_add(&vm->tlb_gen, 1);
}

/* ---- notifier callbacks ------------------------------------------------------------------------------ */

struct sweep {
	struct vm *vm;
	bool found;
	bool clear;
};

static void zap_gfns(void *ctx, u64 start, u64 end)
{
	struct sweep *s = ctx;

	s->found |= s->vm->mmu->zap(s->vm, start, end);
}

static void young_gfns(void *ctx, u64 start, u64 end)
{
	struct sweep *s = ctx;

	s->found |= s->vm->mmu->young(s->vm, start, end, s->clear);
}

static struct vm *vm_of(struct mm_notifier *n)
{
	return container_of(n, struct vm, notifier);
}

static bool zap_hva(struct vm *vm, u64 start, u64 end)
{
	struct sweep s = {.vm = vm};

	spin_lock(&vm->mmu_lock);
	memslots_overlap(&vm->slots, start, end, zap_gfns, &s);
	if (s.found)
		owe_flush(vm);
	spin_unlock(&vm->mmu_lock);
	return s.found;
}

static int mmu_range_start(struct mm_notifier *n, const struct mm_event *ev)
{
	struct vm *vm = vm_of(n);

	if (mutant("zap_forgotten"))
		return 0;
	if (zap_hva(vm, ev->start, ev->end) && !ev->flush_later)
		mmu_flush(vm);
	return 0;
}

static int mmu_young(struct mm_notifier *n, u64 start, u64 end, bool clear)
{
	struct vm *vm = vm_of(n);
	struct sweep s = {.vm = vm, .clear = clear};

	spin_lock(&vm->mmu_lock);
	memslots_overlap(&vm->slots, start, end, young_gfns, &s);
	if (s.found && clear)
		owe_flush(vm);
	spin_unlock(&vm->mmu_lock);
	if (s.found && clear)
		mmu_flush(vm);
	return s.found;
}

static int mmu_test_young(struct mm_notifier *n, unused struct mm *mm, u64 start, u64 end)
{
	return mmu_young(n, start, end, false);
}

static u32 mmu_clear_young(struct mm_notifier *n, unused struct mm *mm, const u64 *at, u32 nr)
{
	struct vm *vm = vm_of(n);
	u32 young = 0;
	gfn_t f;

	spin_lock(&vm->mmu_lock);
	for (u32 i = 0; i < nr; i++)
		if (memslot_gfn(&vm->slots, at[i], &f) && vm->mmu->clear_young(vm, f))
			young |= 1u << i;
	spin_unlock(&vm->mmu_lock);
	return young;
}

static int mmu_clear_flush_young(struct mm_notifier *n, unused struct mm *mm, u64 start, u64 end)
{
	return mmu_young(n, start, end, true);
}

static void mmu_notifier_flush(struct mm_notifier *n, unused struct mm *mm)
{
	mmu_flush(vm_of(n));
}

static void mmu_release(struct mm_notifier *n, unused struct mm *mm)
{
	struct vm *vm = vm_of(n);

	if (zap_hva(vm, 0, ~0ull))
		mmu_flush(vm);
}

static const struct mm_notifier_ops mmu_notifier_ops = {
	.name = "vm",
	.pinning = false,
	.release = mmu_release,
	.clear_flush_young = mmu_clear_flush_young,
	.clear_young = mmu_clear_young,
	.test_young = mmu_test_young,
	.invalidate_range_start = mmu_range_start,
	.flush = mmu_notifier_flush,
};

/* ---- life ----------------------------------------------------------------------------------------------- */

int mmu_create(struct vm *vm)
{
	spin_init(&vm->mmu_lock, RANK_MMU);
	vm->pt_pages = (struct pt_pages){.get = spare_get, .put = spare_put};
	vm->tlb_gen = 1;
	vm->mmu = &ept_ops;
	int err = vm->mmu->create(vm);
	if (err)
		return err;
	vm->notifier.ops = &mmu_notifier_ops;
	err = mm_notifier_register(vm->mm, &vm->notifier);
	if (err)
		vm->mmu->destroy(vm);
	return err;
}

void mmu_destroy(struct vm *vm)
{
	mm_notifier_unregister(vm->mm, &vm->notifier);
	spin_lock(&vm->mmu_lock);
	vm->mmu->zap(vm, 0, 1ull << (48 - PAGE_SHIFT));
	spin_unlock(&vm->mmu_lock);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i])
			mmu_drop_spares(vm->vcpus[i]);
	vm->mmu->destroy(vm);
	CHECK(vm->nr_sptables == 0, "%lu secondary tables left", vm->nr_sptables);
}
