/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit: everything that mm counts, derived once more from the page tables and compared.
 *
 * Two passes, and no memory. Over the page tables: each PTE is sound and has its rmap entry. Over
 * the frames: each rmap entry has its PTE, and there are as many as mapcount says. Together: rmaps
 * are exactly the PTEs.
 *
 * Names of differences: region_outside, zero_page_mark, zero_page_writable, freed_frame_mapped,
 * foreign_frame_mapped, lost_rmap, extra_rmap, mapcount, refcount, table_count, table_frame,
 * charge, anon_count, zero_count, machine_charge. frame_audit has those of the allocator. */
#include "lib/check.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"

struct audit {
	void (*report)(const char *fmt, ...);
	bool quiet; /* nobody holds a reference beside the mappings */
	int wrong;
	u64 charged; /* sum over all mms */
	struct mm *mm;
	u64 nr_tables, nr_anon, nr_zero; /* of that mm */
};

#define differs(a, ...) \
	do { \
		(a)->report("audit: " __VA_ARGS__); \
		(a)->wrong++; \
	} while (0)

/* ---- over the page tables -------------------------------------------------------------------- */

static void zero_pte_audit(struct audit *a, u64 va, pte_t pte)
{
	a->nr_zero++;
	if (pte_writable(pte))
		differs(a, "zero_page_writable: mm %u hva %#lx pte %#lx\n", a->mm->id, va, pte.v);
}

static void frame_pte_audit(struct audit *a, u64 va, pte_t pte)
{
	const struct page *p = pfn_to_page(pte_pfn(pte));

	a->nr_anon++;
	if (pte_pfn(pte).v >= page_array_nr || (p->flags & PG_RESERVED))
		differs(a, "foreign_frame_mapped: mm %u hva %#lx pte %#lx\n", a->mm->id, va, pte.v);
	else if (frame_owner(p) == FRAME_FREE || p->refcount == 0)
		differs(a, "freed_frame_mapped: mm %u hva %#lx pte %#lx flags %#x\n", a->mm->id, va,
			pte.v, p->flags);
	else if (frame_owner(p) != FRAME_GUEST)
		differs(a, "foreign_frame_mapped: mm %u hva %#lx pte %#lx owner %d\n", a->mm->id,
			va, pte.v, frame_owner(p));
	else if (!rmap_has(p, a->mm, hva(va)))
		differs(a, "lost_rmap: mm %u hva %#lx pte %#lx rmap %#lx\n", a->mm->id, va, pte.v,
			p->rmap);
}

static int pte_audit(void *ctx, u64 va, int level, u64 *entry)
{
	struct audit *a = ctx;
	pte_t pte = pte_read(entry);
	const struct region *r = region_find(a->mm, va);
	bool on_zero_page = pte_pfn(pte).v == page_to_pfn(zero_page).v;

	if (level != 1 || !r || (pte_writable(pte) && !(r->acc & ACC_W)))
		differs(a, "region_outside: mm %u hva %#lx level %d pte %#lx\n", a->mm->id, va,
			level, pte.v);
	if (on_zero_page != pte_is_zero(pte))
		differs(a, "zero_page_mark: mm %u hva %#lx pte %#lx\n", a->mm->id, va, pte.v);
	if (on_zero_page || pte_is_zero(pte))
		zero_pte_audit(a, va, pte);
	else
		frame_pte_audit(a, va, pte);
	return 0;
}

/* table_audit - the table at @phys and those below it. Recurses four deep at most. */
static void table_audit(struct audit *a, u64 phys, int level)
{
	const struct page *p = phys_to_page(phys);
	const u64 *entry = pt_table(&a->mm->pt, phys);
	u32 nr = level == 4 ? PT_ENTRIES / 2 : PT_ENTRIES;

	a->nr_tables++;
	if (frame_owner(p) != FRAME_TABLE || !page_test(p, PG_TABLE) || p->refcount != 1)
		differs(a, "table_frame: mm %u frame %#lx flags %#x refcount %u\n", a->mm->id,
			page_to_pfn(p).v, p->flags, p->refcount);
	for (u32 i = 0; level > 1 && i < nr; i++) {
		if (entry[i] & PTE_P)
			table_audit(a, entry[i] & PTE_ADDR, level - 1);
	}
}

static void mm_audit_one(struct audit *a, struct mm *mm)
{
	a->mm = mm;
	a->nr_tables = a->nr_anon = a->nr_zero = 0;
	table_audit(a, mm->pt.root, 4);
	pt_for_each(&mm->pt, 0, MM_HVA_END, pte_audit, a);

	if (a->nr_tables != mm->nr_tables)
		differs(a, "table_count: mm %u has %lu tables, %lu counted\n", mm->id, a->nr_tables,
			mm->nr_tables);
	if (a->nr_anon != mm->nr_anon)
		differs(a, "anon_count: mm %u has %lu pages, %lu counted\n", mm->id, a->nr_anon,
			mm->nr_anon);
	if (a->nr_zero != mm->nr_zero_mapped)
		differs(a, "zero_count: mm %u maps %lu zero pages, %lu counted\n", mm->id,
			a->nr_zero, mm->nr_zero_mapped);
	if (a->nr_anon + a->nr_tables + mm->nr_lent != mm->counter.usage)
		differs(a, "charge: mm %u has %lu pages, %lu tables, %lu lent, %lu charged\n",
			mm->id, a->nr_anon, a->nr_tables, mm->nr_lent, mm->counter.usage);
	a->charged += mm->counter.usage;
}

/* ---- over the frames ------------------------------------------------------------------------- */

struct entry_check {
	struct audit *a;
	const struct page *page;
	u32 seen;
};

static int entry_audit(struct mm *mm, hva_t at, void *ctx)
{
	struct entry_check *c = ctx;
	const u64 *entry = mm_entry(mm, at.v);
	pte_t pte = {entry ? atomic_load(entry) : 0};

	c->seen++;
	if (!pte_present(pte) || pte_is_zero(pte) || pfn_to_page(pte_pfn(pte)) != c->page)
		differs(c->a, "extra_rmap: frame %#lx mm %u hva %#lx pte %#lx\n",
			page_to_pfn(c->page).v, mm->id, at.v, pte.v);
	return 0;
}

static void frame_rmap_audit(struct audit *a, struct page *p)
{
	struct entry_check c = {.a = a, .page = p};
	u32 nr = rmap_count(p);

	if (nr != p->mapcount)
		differs(a, "mapcount: frame %#lx has %u rmap entries, mapcount %u\n",
			page_to_pfn(p).v, nr, p->mapcount);
	if (p->refcount < p->mapcount || (a->quiet && p->refcount > p->mapcount))
		differs(a, "refcount: frame %#lx refcount %u, mapcount %u\n", page_to_pfn(p).v,
			p->refcount, p->mapcount);
	if (nr != p->mapcount)
		return;
	rmap_for_each(p, entry_audit, &c);
	if (c.seen < nr)
		differs(a, "extra_rmap: frame %#lx: %u of %u entries name no mm\n",
			page_to_pfn(p).v, nr - c.seen, nr);
}

static int audit_all(bool quiet, void (*report)(const char *fmt, ...))
{
	struct audit a = {.report = report, .quiet = quiet};

	for (u32 id = 1; id < MM_MAX; id++) {
		struct mm *mm = mm_get_by_id(id);
		if (!mm)
			continue;
		mm_audit_one(&a, mm);
		mm_put(mm);
	}
	for (u64 i = 0; i < page_array_nr; i++) {
		struct page *p = &page_array[i];
		if (!(p->flags & (PG_RESERVED | PG_BUDDY | PG_CACHED)) && page_test(p, PG_ANON))
			frame_rmap_audit(&a, p);
	}
	if (machine_counter.usage < a.charged)
		differs(&a, "machine_charge: %lu charged to mms, %lu to the machine\n", a.charged,
			machine_counter.usage);
	return a.wrong;
}

int mm_audit(void (*report)(const char *fmt, ...))
{
	return audit_all(false, report);
}

int mm_audit_quiet(void (*report)(const char *fmt, ...))
{
	return audit_all(true, report);
}
