/* SPDX-License-Identifier: BSD-2-Clause */
/* Compare every spte of a VM with the primary PTE of its hva: N1 (the same frame) and N2 (no more
 * rights), and count the tables again. The VM is paused or its vCPUs are gone, so nothing moves. */
#include "lib/check.h"
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
		a->report("audit: spte_frame: N1: vm %s gfn %#lx spte frame %#lx, primary PTE %#lx\n",
			  name, f.v, p.v, pte.v);
		a->nr++;
	} else if ((acc & ACC_W) && !pte_writable(pte)) {
		a->report("audit: spte_writable: N2: vm %s gfn %#lx is writable over PTE %#lx\n", name,
			  f.v, pte.v);
		a->nr++;
	}
}

static u64 count_tables(const struct pt *pt, u64 table, int level)
{
	u64 nr = 1;
	const u64 *entries = pt_table(pt, table);

	for (int i = 0; level > 1 && i < PT_ENTRIES; i++)
		if (pt_is_present(pt->fmt, entries[i]) && !pt_is_leaf(pt->fmt, entries[i], level))
			nr += count_tables(pt, entries[i] & pt->fmt->addr, level - 1);
	return nr;
}

int mmu_audit(struct vm *vm, void (*report)(const char *fmt, ...))
{
	struct audit a = {.vm = vm, .report = report};

	spin_lock(&vm->mmu_lock);
	vm->mmu->for_each(vm, audit_spte, &a);
	u64 tables = count_tables(&vm->pt, vm->pt.root, vm->pt.fmt->levels);
	if (tables != vm->nr_sptables) {
		report("audit: sptable_count: vm %s has %lu tables, %lu counted\n", vm->config.name,
		       tables, vm->nr_sptables);
		a.nr++;
	}
	spin_unlock(&vm->mmu_lock);
	return a.nr;
}
