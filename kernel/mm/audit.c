/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit: everything that mm counts, derived once more from the page tables and compared.
 *
 * Two passes, and no memory. Over the page tables: each PTE is sound and has its rmap entry. Over
 * the frames: each rmap entry has its PTE, and there are as many as mapcount says. Together: rmaps
 * are exactly the PTEs.
 *
 * Names of differences: region_outside, zero_page_mark, zero_page_writable, freed_frame_mapped,
 * foreign_frame_mapped, lost_rmap, extra_rmap, mapcount, refcount, table_count, table_frame,
 * charge, anon_count, zero_count, machine_charge; swapped_count, free_slot_named, slot_count, slot_used,
 * slot_cache, lru_count. frame_audit has those of the allocator. */
#include "lib/check.h"
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"

struct audit {
	void (*report)(const char *fmt, ...);
	bool quiet; /* nobody holds a reference beside the mappings */
	int wrong;
	u64 charged; /* sum over all mms */
	struct mm *mm;
	u64 nr_tables, nr_anon, nr_zero, nr_swapped; /* of that mm */
	u64 swap_entries; /* of all */
};

/* Frames on the account of each mm, and of them those on its lists. */
static u32 frames_of[MM_MAX], listed_of[MM_MAX];

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
	bool on_zero_page = pte_present(pte) && pte_pfn(pte).v == page_to_pfn(zero_page).v;

	if (level != 1 || !r || (pte_writable(pte) && !(r->acc & ACC_W)))
		differs(a, "region_outside: mm %u hva %#lx level %d pte %#lx\n", a->mm->id, va,
			level, pte.v);
	if (pte_is_swap(pte)) {
		struct slot_state slot = slot_read(pte_slot(pte));

		a->nr_swapped++;
		if (slot.count == 0)
			differs(a, "free_slot_named: mm %u hva %#lx slot %#x flags %#x\n", a->mm->id, va,
				pte_slot(pte).v, slot.flags);
		return 0;
	}
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
	a->nr_tables = a->nr_anon = a->nr_zero = a->nr_swapped = 0;
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
	if (a->nr_swapped != mm->nr_swapped)
		differs(a, "swapped_count: mm %u has %lu pages on swap, %lu counted\n", mm->id,
			a->nr_swapped, mm->nr_swapped);
	if (frames_of[mm->id] + a->nr_tables + mm->nr_lent != mm->counter.usage)
		differs(a, "charge: mm %u has %u pages, %lu tables, %lu lent, %lu charged\n",
			mm->id, frames_of[mm->id], a->nr_tables, mm->nr_lent, mm->counter.usage);
	if (listed_of[mm->id] != lru_pages(&mm->lru))
		differs(a, "lru_count: mm %u has %u pages marked, %lu on its lists\n", mm->id,
			listed_of[mm->id], lru_pages(&mm->lru));
	a->swap_entries += a->nr_swapped;
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
	u32 nr = rmap_count(p), own = page_test(p, PG_SWAPCACHE) ? 1 : 0;

	if (nr != p->mapcount)
		differs(a, "mapcount: frame %#lx has %u rmap entries, mapcount %u\n",
			page_to_pfn(p).v, nr, p->mapcount);
	if (p->refcount < p->mapcount + own || (a->quiet && p->refcount > p->mapcount + own))
		differs(a, "refcount: frame %#lx refcount %u, mapcount %u\n", page_to_pfn(p).v,
			p->refcount, p->mapcount);
	if (nr != p->mapcount)
		return;
	rmap_for_each(p, entry_audit, &c);
	if (c.seen < nr)
		differs(a, "extra_rmap: frame %#lx: %u of %u entries name no mm\n",
			page_to_pfn(p).v, nr - c.seen, nr);
}

/* frame_swap_audit - what a guest's frame says of itself, for the counts of its mm. */
static void frame_swap_audit(struct audit *a, const struct page *p)
{
	u16 id = page_mm_id(p);

	frames_of[id]++;
	listed_of[id] += page_test(p, PG_LRU) ? 1 : 0;
	if (!page_test(p, PG_SWAPCACHE))
		return;
	struct slot_state slot = slot_read((slot_t){p->slot});
	if (!(slot.flags & SLOT_CACHED) || slot.value != page_to_pfn(p).v)
		differs(a, "slot_cache: frame %#lx says slot %#x, which has flags %#x value %#x\n",
			page_to_pfn(p).v, p->slot, slot.flags, slot.value);
}

/* area_audit - the slots of one area. Returns how many PTEs they say that they have. */
static u64 area_audit(struct audit *a, const struct swap_area *area)
{
	u64 count = 0, nr_used = 0;

	for (u32 i = 0; i < area->nr_slots; i++) {
		slot_t s = {(u32)(area - swap_areas) << SLOT_INDEX_BITS | i};
		if (!area->clusters[i / CLUSTER_SLOTS].words)
			continue;
		struct slot_state slot = slot_read(s);
		const struct page *p = pfn_to_page(pfn(slot.value));

		count += slot.count;
		nr_used += slot.count || slot.flags;
		if ((slot.flags & SLOT_CACHED) && (!page_test(p, PG_SWAPCACHE) || p->slot != s.v))
			differs(a, "slot_cache: slot %#x has frame %#x, flags %#x, of slot %#x\n", s.v,
				slot.value, p->flags, p->slot);
	}
	if (nr_used != area->used)
		differs(a, "slot_used: %lu slots of %s in use, %u counted\n", nr_used, area->dev->name,
			area->used);
	return count;
}

static int audit_all(bool quiet, void (*report)(const char *fmt, ...))
{
	struct audit a = {.report = report, .quiet = quiet};
	u64 named = 0;

	memset(frames_of, 0, sizeof(frames_of));
	memset(listed_of, 0, sizeof(listed_of));
	for (u64 i = 0; i < page_array_nr; i++) {
		const struct page *p = &page_array[i];
		if (!(p->flags & (PG_RESERVED | PG_BUDDY | PG_CACHED)) && frame_owner(p) == FRAME_GUEST)
			frame_swap_audit(&a, p);
	}
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
	for (u32 i = 0; i < SWAP_AREAS; i++)
		if (swap_areas[i].state != AREA_OFF)
			named += area_audit(&a, &swap_areas[i]);
	if (named != a.swap_entries)
		differs(&a, "slot_count: slots say that %lu PTEs name them, %lu do\n", named,
			a.swap_entries);
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
