/* SPDX-License-Identifier: BSD-2-Clause */
/* Compare every spte of a VM with the primary PTE of its hva: N1 (the same frame) and N2 (no
 * more rights), and count the tables again. The VM is paused or its vCPUs are gone, so nothing
 * moves.
 *
 * Names of differences: spte_outside_slots, spte_frame, spte_writable, sptable_frame,
 * sptable_count, sptable_lent. */
#include "lib/check.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

struct audit {
	struct vm *vm;
	void (*report)(const char *fmt, ...);
	int nr;
};

static void audit_spte(void *ctx, gfn_t f, pfn_t p, unsigned int acc)
{
	struct audit *a = ctx;
	const struct memslot *slot = memslot_find(&a->vm->slots, f);
	const char *name = a->vm->config.name;

	if (!slot) {
		a->report("audit: spte_outside_slots: vm %s gfn %#lx frame %#lx\n", name, f.v, p.v);
		a->nr++;
		return;
	}
	u64 *entry = pt_lookup_leaf(&a->vm->mm->pt, memslot_hva(slot, f));
	pte_t pte = {entry ? READ_ONCE(*entry) : 0};
	if (!pte_present(pte) || pte_pfn(pte).v != p.v) {
		a->report("audit: spte_frame: N1: vm %s gfn %#lx spte frame %#lx, PTE %#lx\n",
			  name, f.v, p.v, pte.v);
		a->nr++;
	} else if ((acc & ACC_W) && !pte_writable(pte)) {
		a->report("audit: spte_writable: N2: vm %s gfn %#lx is writable over PTE %#lx\n",
			  name, f.v, pte.v);
		a->nr++;
	}
}

/* audit_tables - the table at @phys and those below it. Returns how many. */
static u64 audit_tables(struct audit *a, u64 phys, int level)
{
	const struct pt *pt = &a->vm->pt;
	const u64 *entries = pt_table(pt, phys);
	const struct page *p = phys_to_page(phys);
	u64 nr = 1;

	if (frame_owner(p) != FRAME_SPTABLE || !page_test(p, PG_TABLE) || p->refcount != 1) {
		a->report("audit: sptable_frame: vm %s frame %#lx flags %#x refcount %u\n",
			  a->vm->config.name, page_to_pfn(p).v, p->flags, p->refcount);
		a->nr++;
	}
	for (int i = 0; level > 1 && i < PT_ENTRIES; i++)
		if (pt_is_present(pt->fmt, entries[i]) && !pt_is_leaf(pt->fmt, entries[i], level))
			nr += audit_tables(a, entries[i] & pt->fmt->addr, level - 1);
	return nr;
}

/* The tables that stand, those that vCPUs keep for their next faults, and what the mm is
 * charged. */
static void audit_counts(struct audit *a)
{
	struct vm *vm = a->vm;
	u64 tables = audit_tables(a, vm->pt.root, vm->pt.fmt->levels);
	u64 spares = 0;

	for (u32 i = 0; i < vm->nr_vcpus; i++)
		spares += vm->vcpus[i]->nr_spare_tables;
	if (tables != vm->nr_sptables) {
		a->report("audit: sptable_count: vm %s has %lu tables, %lu counted\n",
			  vm->config.name, tables, vm->nr_sptables);
		a->nr++;
	}
	if (tables + spares != vm->mm->nr_lent) {
		a->report("audit: sptable_lent: vm %s has %lu tables, %lu spare, %lu charged\n",
			  vm->config.name, tables, spares, vm->mm->nr_lent);
		a->nr++;
	}
}

int mmu_audit(struct vm *vm, void (*report)(const char *fmt, ...))
{
	struct audit a = {.vm = vm, .report = report};

	spin_lock(&vm->mmu_lock);
	vm->mmu->for_each(vm, audit_spte, &a);
	audit_counts(&a);
	spin_unlock(&vm->mmu_lock);
	return a.nr;
}
