/* SPDX-License-Identifier: BSD-2-Clause */
/* Do the audits see? Each corruption is planted in a VM and a machine that are sound; the audits
 * must call it by its names and report nothing else; then it is taken back, and they must be
 * silent.
 *
 * The VM has memory in three states:
 *
 *	A  a frame of its own, mapped by a writable spte
 *	B  the zero page, mapped by a read-only spte
 *	C  a frame of its own, no spte */
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/vm_test.h"
#include "vmm/mmu.h"

#define MEM_BYTES MIB(8)
#define PLACE_A   (1 * PAGE_SIZE)
#define PLACE_B   (2 * PAGE_SIZE)
#define PLACE_C   (3 * PAGE_SIZE)

static struct vm *vm;
static struct mm *mm;
static u64 *pte_a, *pte_b, *pte_c, *spte_a, *spte_b;
static struct page *frame_c, *table; /* the frame at C; the primary table of all three */
static struct page *ours;            /* a frame of the kernel's */
static struct page *hole;            /* the second frame of a free block */
static struct region *region;

/* ---- planting: @on plants, else it is taken back --------------------------------------------- */

static u64 kept;

static void put64(u64 *word, u64 value, bool on)
{
	if (on)
		kept = *word;
	*word = on ? value : kept;
}

static void put32(u32 *word, u32 value, bool on)
{
	if (on)
		kept = *word;
	*word = on ? value : (u32)kept;
}

static void count(u64 *word, bool on)
{
	*word += on ? 1 : -1ull;
}

static void rmap_lost(bool on)
{
	put64(&frame_c->rmap, 0, on);
}

/* As if a PTE had been taken away and its rmap entry forgotten. */
static void rmap_left(bool on)
{
	put64(pte_c, 0, on);
	mm->nr_anon += on ? -1ull : 1;
	mm->counter.usage += on ? -1ull : 1;
}

static void rmap_of_nobody(bool on)
{
	put64(&frame_c->rmap, frame_c->rmap | (u64)(MM_MAX - 1) << 48, on);
}

static void reference_kept(bool on)
{
	put32(&frame_c->refcount, 2, on);
}

static void reference_dropped(bool on)
{
	put32(&frame_c->refcount, 0, on);
}

static void mapping_counted_twice(bool on)
{
	frame_c->refcount = frame_c->mapcount = on ? 2 : 1;
}

static void frame_freed(bool on)
{
	put32(&frame_c->flags, 0, on);
}

static void frame_of_the_kernel(bool on)
{
	put64(pte_c, page_to_phys(ours) | (*pte_c & ~PTE_ADDR), on);
}

static void zero_page_writable(bool on)
{
	put64(pte_b, *pte_b | PTE_W, on);
}

static void zero_page_unmarked(bool on)
{
	put64(pte_b, *pte_b & ~PTE_ZERO, on);
}

static void table_counted(bool on)
{
	count(&mm->nr_tables, on);
}

static void table_unmarked(bool on)
{
	put32(&table->flags, table->flags & ~PG_TABLE, on);
}

static void page_counted(bool on)
{
	count(&mm->nr_anon, on);
}

static void zero_counted(bool on)
{
	count(&mm->nr_zero_mapped, on);
}

static void charge_kept(bool on)
{
	count(&mm->counter.usage, on);
	count(&machine_counter.usage, on);
}

static void machine_charge_lost(bool on)
{
	count(&machine_counter.usage, !on);
}

static void region_shrunk(bool on)
{
	put64(&region->end, test_hva(vm, PLACE_C), on);
}

static void region_narrowed(bool on)
{
	region->acc = on ? ACC_R : ACC_R | ACC_W;
}

static void free_frame_in_use(bool on)
{
	put32(&hole->refcount, 1, on);
}

static void free_list_cut(bool on)
{
	put32(&hole[-1].prev, page_to_pfn(hole).v, on);
}

static void frame_of_nobody(bool on)
{
	put32(&ours->flags, 0, on);
}

static void frame_in_no_cache(bool on)
{
	put32(&ours->flags, PG_CACHED, on);
}

/* The frame that this CPU gave out last is the first that its cache gives again. */
static void cached_frame_in_use(bool on)
{
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_NOWAIT);

	frame_free(p, 0);
	p->refcount = on;
}

static void spte_of_another_frame(bool on)
{
	put64(spte_a, page_to_phys(ours) | (*spte_a & ~vm->pt.fmt->addr), on);
}

static void spte_of_the_zero_page_writable(bool on)
{
	put64(spte_b, *spte_b | vm->pt.fmt->leaf_bits(ACC_R | ACC_W | ACC_X, 1), on);
}

static void pte_narrowed_under_its_spte(bool on)
{
	put64(pte_a, *pte_a & ~PTE_W, on);
}

static void spte_behind_memory(bool on)
{
	const gfn_t behind = gfn(MEM_BYTES >> PAGE_SHIFT);

	spin_lock(&vm->mmu_lock);
	vm->installer = vm->vcpus[0];
	if (!on)
		vm->mmu->zap(vm, behind.v, behind.v + 1);
	else if (vm->mmu->map(vm, behind, page_to_pfn(ours), ACC_R))
		panic("no spare table");
	spin_unlock(&vm->mmu_lock);
}

static void sptable_counted(bool on)
{
	count(&vm->nr_sptables, on);
}

static void sptable_unmarked(bool on)
{
	struct page *p = phys_to_page(virt_to_phys(spte_a));

	put32(&p->flags, p->flags & ~PG_TABLE, on);
}

static void sptable_charge_kept(bool on)
{
	count(&mm->nr_lent, on);
	charge_kept(on);
}

static const struct corruption {
	const char *what;
	const char *names; /* in the order of the audits: secondary MMU, mm, frames */
	void (*set)(bool on);
} corruptions[] = {
	{"a lost rmap", "lost_rmap mapcount", rmap_lost},
	{"an rmap without PTE", "charge extra_rmap", rmap_left},
	{"an rmap of no mm", "lost_rmap extra_rmap", rmap_of_nobody},
	{"refcount + 1", "refcount", reference_kept},
	{"refcount - 1", "freed_frame_mapped refcount", reference_dropped},
	{"mapcount + 1", "mapcount", mapping_counted_twice},
	{"a mapped frame that is free", "freed_frame_mapped charge lru_count frame_owner",
	 frame_freed},
	{"a frame of the kernel's mapped", "foreign_frame_mapped extra_rmap", frame_of_the_kernel},
	{"a writable zero page", "zero_page_writable", zero_page_writable},
	{"a zero page without its mark", "zero_page_mark", zero_page_unmarked},
	{"a table too many counted", "table_count", table_counted},
	{"a table without its mark", "table_frame", table_unmarked},
	{"a page too many counted", "anon_count", page_counted},
	{"a zero page too many counted", "zero_count", zero_counted},
	{"a charge that stays", "charge", charge_kept},
	{"a charge that the machine lost", "machine_charge", machine_charge_lost},
	{"a page outside of regions", "region_outside", region_shrunk},
	{"a writable page in a read-only region", "region_outside", region_narrowed},
	{"a free frame in use", "buddy_frame buddy_count", free_frame_in_use},
	{"a free list with a wrong link", "buddy_block buddy_count", free_list_cut},
	{"a frame that is nobody's", "frame_owner", frame_of_nobody},
	{"a frame that says it is cached", "cache_count frame_owner", frame_in_no_cache},
	{"a cached frame in use", "frame_cached", cached_frame_in_use},
	{"an spte of another frame", "spte_frame", spte_of_another_frame},
	{"a writable spte of the zero page", "spte_writable", spte_of_the_zero_page_writable},
	{"a writable spte over a read-only PTE", "spte_writable", pte_narrowed_under_its_spte},
	{"an spte behind the memory", "spte_outside_slots", spte_behind_memory},
	{"a secondary table too many counted", "sptable_count", sptable_counted},
	{"a secondary table without its mark", "sptable_frame", sptable_unmarked},
	{"a secondary table charged twice", "sptable_lent", sptable_charge_kept},
};

/* ---- the suite ------------------------------------------------------------------------------- */

static void memory_prepare(void)
{
	struct vcpu *v = vm->vcpus[0];
	u64 one = 1;

	if (hva_write(hva(test_hva(vm, PLACE_A)), &one, sizeof(one)) ||
	    hva_write(hva(test_hva(vm, PLACE_C)), &one, sizeof(one)) ||
	    mmu_fault(v, gpa(PLACE_A), ACC_W) || mmu_fault(v, gpa(PLACE_B), ACC_R))
		panic("no memory for the test of the audits");
	pte_a = test_pte(vm, PLACE_A);
	pte_b = test_pte(vm, PLACE_B);
	pte_c = test_pte(vm, PLACE_C);
	spte_a = test_spte(vm, PLACE_A);
	spte_b = test_spte(vm, PLACE_B);
	frame_c = test_page(vm, PLACE_C);
	table = phys_to_page(virt_to_phys(pte_a));
	region = list_first(&mm->regions, struct region, link);
	ours = frame_alloc(FRAME_KERNEL, FRAME_ZERO);
	for (hole = page_array; !page_test(hole, PG_BUDDY) || hole->flags >> PG_ORDER_SHIFT == 0;)
		hole++;
	hole++;
}

static void corruption_test(const struct corruption *c)
{
	c->set(true);
	const char *names = test_audits(vm);
	bool seen = strcmp(names, c->names) == 0;
	report(seen, "%s is reported as %s%s%s", c->what, c->names, seen ? "" : ", not as: ",
	       seen ? "" : names);
	if (!seen)
		test_audits_show();

	c->set(false);
	names = test_audits(vm);
	if (names[0]) {
		report(false, "the audits are clean again after %s, but: %s", c->what, names);
		test_audits_show();
	}
}

static void test_audit(void)
{
	/* One CPU's frame cache, from the first line to the last. */
	thread_set_affinity(thread_current(), 1);
	vm = test_vm_create("audited", MEM_BYTES);
	if (vm) {
		mm = vm->mm;
		memory_prepare();
		const char *names = test_audits(vm);
		report(!names[0], "a VM with memory in use is sound%s%s", names[0] ? ": " : "",
		       names);
		for (u32 i = 0; i < ARRAY_SIZE(corruptions); i++)
			corruption_test(&corruptions[i]);
		frame_free(ours, 0);
		test_vm_destroy(vm);
	}
	thread_set_affinity(thread_current(), ~0ull);
}
KERNEL_SUITE(audit_selftest, test_audit);
