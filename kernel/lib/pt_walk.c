/* SPDX-License-Identifier: BSD-2-Clause */
/* The page-table walker.
 *
 * The three functions of the fault path (pt_lookup, pt_lookup_leaf, pt_ensure) know that our own
 * trees have four levels of nine bits, so that every shift is a constant; they read the format's
 * fields once, each entry once, and call nothing. All else is generic. */
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/pt_walk.h"

/* ---- trees of ours ------------------------------------------------------------------------ */

static always_inline u64 *lookup(const struct pt *pt, u64 va, int level, int *at)
{
	struct pt_descent d = pt_descent_begin(pt, va, pt->fmt->present, pt->fmt->leaf, pt->fmt->addr);
	int stop = 1;

	ASSERT(pt->fmt->levels == 4, "%s tables have %u levels", pt->fmt->name, pt->fmt->levels);
	if (level == 4 || !pt_descent_step(&d, va, 4))
		stop = 4;
	else if (level == 3 || !pt_descent_step(&d, va, 3))
		stop = 3;
	else if (level == 2 || !pt_descent_step(&d, va, 2))
		stop = 2;
	*at = stop;
	return d.entry;
}

u64 *pt_lookup(const struct pt *pt, u64 va, int level, int *at)
{
	return lookup(pt, va, level, at);
}

/* make_tables - the rest of pt_ensure: @entry stands at level @at, above @level. */
static noinline int make_tables(struct pt *pt, u64 va, int at, int level, u64 **entry)
{
	for (; at > level; at--) {
		if (pt_is_present(pt->fmt, **entry))
			return trace(-EEXIST);

		u64 table = pt->pages->get(pt->pages);
		if (!table)
			return trace(-ENOMEM); /* tables made so far stay: I1 */

		/* Release: who follows the link without a lock sees the zeroes behind it. */
		atomic_store(*entry, table | pt->fmt->table_bits);
		*entry = pt_table(pt, table) + pt_index(va, at - 1);
	}
	return 0;
}

int pt_ensure(struct pt *pt, u64 va, int level, u64 **entry)
{
	int at;

	*entry = lookup(pt, va, level, &at);
	if (likely(at == level))
		return 0;
	return make_tables(pt, va, at, level, entry);
}

int pt_for_each(const struct pt *pt, u64 start, u64 end, pt_visit_fn fn, void *ctx)
{
	u64 va = start;

	if (start >= end)
		return 0;
	for (;;) {
		int level;
		u64 *entry = lookup(pt, va, 1, &level);

		/* Go along this table until an entry leads down, or the table ends. */
		do {
			u64 seen = READ_ONCE(*entry);
			u64 first = va & ~(pt_level_size(level) - 1);

			bool present = pt_is_present(pt->fmt, seen);

			if (present && !pt_is_leaf(pt->fmt, seen, level))
				break;
			if (present || (seen && level == 1)) {
				int err = fn(ctx, first, level, entry);
				if (err)
					return err;
			}
			va = first + pt_level_size(level);
			if (va >= end || va == 0)
				return 0;
			entry++;
		} while (pt_index(va, level));
	}
}

/* free_tables - the table @phys at @level, and those below its entries [@from, @to). Recurses at
 * most OUR_LEVELS deep. */
static void free_tables(struct pt *pt, u64 phys, int level, unsigned int from, unsigned int to)
{
	const u64 *table = pt_table(pt, phys);

	for (unsigned int i = from; level > 1 && i < to; i++) {
		u64 entry = table[i];
		if (pt_is_present(pt->fmt, entry) && !pt_is_leaf(pt->fmt, entry, level))
			free_tables(pt, entry & pt->fmt->addr, level - 1, 0, PT_ENTRIES);
	}
	pt->pages->put(pt->pages, phys);
}

void pt_destroy(struct pt *pt, unsigned int from, unsigned int to)
{
	CHECK(to <= PT_ENTRIES, "root indices [%u, %u)", from, to);
	free_tables(pt, pt->root, pt->fmt->levels, from, to);
	pt->root = 0;
}

/* ---- trees of a guest ---------------------------------------------------------------------- */

/* The three kinds are told apart by their number of levels. */
enum { GUEST32_LEVELS = 2, PAE_LEVELS = 3, LONG_LEVELS = 4 };

/* The one bit that forbids. With it inverted, and-ing a walk's entries intersects their rights. */
#define GUEST_NX (1ull << 63)

/* rights_suffice - may this access use a translation whose every level allows @rights?
 * Source: Intel SDM vol. 3A, "Determination of Access Rights". */
static bool rights_suffice(const struct pt_guest *g, unsigned int rights, unsigned int access)
{
	bool user_page = rights & ACC_U;

	if (access & ACC_U) {
		if (!user_page || ((access & ACC_W) && !(rights & ACC_W)))
			return false;
	} else {
		/* SMAP keeps the kernel's data accesses, SMEP its fetches, off user pages. */
		if (user_page && (access & (ACC_R | ACC_W)) && g->smap)
			return false;
		if (user_page && (access & ACC_X) && g->smep)
			return false;
		if ((access & ACC_W) && !(rights & ACC_W) && g->wp)
			return false;
	}
	return !(access & ACC_X) || (rights & ACC_X);
}

/* guest_fault - the error code for the guest's #PF: @why (0, P or P | RSVD) and what the access
 * itself tells. Fetches are only told apart where something could forbid them. */
static int guest_fault(const struct pt_guest *g, unsigned int access, u32 why,
		       struct pt_guest_result *res)
{
	bool has_nx = g->nx && g->fmt->levels != GUEST32_LEVELS;

	res->pfec = why | (access & ACC_W ? PFEC_W : 0) | (access & ACC_U ? PFEC_U : 0) |
		    ((access & ACC_X) && (has_nx || g->smep) ? PFEC_I : 0);
	return -EFAULT;
}

/* leaf_gpa - where the leaf @entry, whose index begins at bit @shift, sends @va.
 * A 4 MiB leaf has bits 39:32 of the address in bits 20:13 ("PSE-36"). */
static always_inline gpa_t leaf_gpa(u64 entry, u64 addr, u64 va, unsigned int shift, bool pse36)
{
	u64 offset_mask = (1ull << shift) - 1;
	u64 base = entry & addr & ~offset_mask;

	if (pse36)
		base |= (entry >> 13 & 0xff) << 32;
	return gpa(base | (va & offset_mask));
}

/* walk - pt_walk_guest for a format of @levels levels, a constant at each call: the geometry folds
 * away. */
static always_inline int walk(const struct pt_guest *g, u64 va, unsigned int access,
			      struct pt_guest_result *res, const int levels)
{
	const struct pt_format *fmt = g->fmt;
	const unsigned int entry_bytes = levels == GUEST32_LEVELS ? 4 : 8;
	const unsigned int bits = levels == GUEST32_LEVELS ? 10 : 9;
	const u64 addr = fmt->addr;
	/* Without CR4.PSE a 32-bit PDE is a table whatever its bit 7 says. (In entries that can be
	 * no leaf that bit is reserved, so the test below needs no look at the level.) */
	const u64 leaf = levels == GUEST32_LEVELS && !g->pse ? 0 : fmt->leaf;
	/* But for the PDPT of PAE, only entries with one of these bits can have a reserved one. */
	const u64 unusual = leaf | ~0ull << g->phys_bits;
	/* That PDPT is aligned to 32 bytes only, and its entries carry no rights. */
	u64 table = g->root & (levels == PAE_LEVELS ? 0xffffffe0 : addr);
	u64 allowed = ~0ull;
	unsigned int shift = PAGE_SHIFT + bits * (levels - 1);

	for (int level = levels;; level--, shift -= bits) {
		bool pdpt = levels == PAE_LEVELS && level == PAE_LEVELS;
		u64 index = va >> shift & ((1u << bits) - 1) & (pdpt ? 3 : ~0ull);
		u64 entry = 0;

		res->level = level;
		res->entry_at = gpa(table + index * entry_bytes);
		int err = g->read(g->ctx, res->entry_at, &entry, entry_bytes);
		if (unlikely(err))
			return err == -EFAULT ? -EAGAIN : err;
		res->entry = entry;

		if (!(entry & fmt->present))
			return guest_fault(g, access, 0, res);
		if (((entry & unusual) || pdpt) &&
		    fmt->reserved(entry, level, g->phys_bits, g->nx))
			return guest_fault(g, access, PFEC_P | PFEC_RSVD, res);
		if (!pdpt)
			allowed &= entry ^ GUEST_NX;
		if (level == 1 || (entry & leaf))
			break;
		table = entry & addr;
	}

	res->rights = fmt->rights(allowed ^ GUEST_NX);
	res->gpa = leaf_gpa(res->entry, addr, va, shift,
			    levels == GUEST32_LEVELS && res->level == 2);
	if (!rights_suffice(g, res->rights, access))
		return guest_fault(g, access, PFEC_P, res);
	return 0;
}

int pt_walk_guest(const struct pt_guest *g, u64 va, unsigned int access,
		  struct pt_guest_result *res)
{
	*res = (struct pt_guest_result){0};
	switch (g->fmt->levels) {
	case GUEST32_LEVELS: return walk(g, va, access, res, GUEST32_LEVELS);
	case PAE_LEVELS: return walk(g, va, access, res, PAE_LEVELS);
	default: return walk(g, va, access, res, LONG_LEVELS);
	}
}
