/* SPDX-License-Identifier: BSD-2-Clause */
/* The six kinds of page table, as data for the walker.
 *
 * Sources: Intel SDM vol. 3A, "Paging" (tables "Format of ... Entry", one per kind of entry);
 * vol. 3C, "EPT Translation Mechanism"; AMD APM vol. 2, "Long-Mode Page Translation", "Legacy-Mode
 * Page Translation", "Nested Paging". */
#include "lib/pt_walk.h"

enum {
	X86_P = 1 << 0, X86_RW = 1 << 1, X86_US = 1 << 2, X86_A = 1 << 5, X86_D = 1 << 6,
	X86_PS = 1 << 7,
};
#define X86_NX (1ull << 63)

enum {
	EPT_R = 1 << 0, EPT_W = 1 << 1, EPT_X = 1 << 2, EPT_WB = 6 << 3, EPT_LARGE = 1 << 7,
	EPT_A = 1 << 8, EPT_D = 1 << 9,
};
static_assert((int)EPT_R == ACC_R && (int)EPT_W == ACC_W && (int)EPT_X == ACC_X, "taken as they are");

#define ADDR64 0x000ffffffffff000ull
#define ADDR32 0x00000000fffff000ull

/* Bits [lo, hi], both included; none if hi < lo. */
static inline u64 bits(unsigned int lo, unsigned int hi)
{
	return hi < lo ? 0 : (~0ull >> (63 - hi)) & (~0ull << lo);
}

/* ---- rights and bits ------------------------------------------------------------------------ */

static u64 x86_leaf_bits(unsigned int acc, int level)
{
	return (acc & (ACC_R | ACC_W | ACC_X) ? X86_P : 0) | (acc & ACC_W ? X86_RW : 0) |
	       (acc & ACC_U ? X86_US : 0) | (acc & ACC_X ? 0 : X86_NX) | (level > 1 ? X86_PS : 0);
}

static unsigned int x86_rights(u64 entry)
{
	if (!(entry & X86_P))
		return 0;
	return ACC_R | (entry & X86_RW ? ACC_W : 0) | (entry & X86_US ? ACC_U : 0) |
	       (entry & X86_NX ? 0 : ACC_X);
}

/* Nested walks are user accesses, whatever the guest does: every entry has the user bit. */
static u64 npt_leaf_bits(unsigned int acc, int level)
{
	return x86_leaf_bits(acc | ACC_U, level);
}

/* Bit 63 of a 32-bit entry is no bit of it. */
static u64 guest32_leaf_bits(unsigned int acc, int level)
{
	return (u32)x86_leaf_bits(acc, level);
}

/* Writable without readable is a misconfiguration. */
static u64 ept_leaf_bits(unsigned int acc, int level)
{
	return (acc & (ACC_R | ACC_W | ACC_X)) | (acc & ACC_W ? EPT_R : 0) | EPT_WB |
	       (level > 1 ? EPT_LARGE : 0);
}

static unsigned int ept_rights(u64 entry)
{
	unsigned int acc = entry & (EPT_R | EPT_W | EPT_X);

	return acc ? acc | ACC_U : 0;
}

/* ---- reserved bits of a guest's entries ------------------------------------------------------ */

/* A 4 MiB leaf holds the bits from 32 up of its address, 40 at most, in bits 20:13; those that the
 * processor lacks, and bit 21, are reserved. Nothing else is. */
static u64 guest32_reserved(u64 entry, int level, unsigned int phys_bits, unused bool nx)
{
	unsigned int width = MAX(phys_bits, 32u);

	return level == 2 && (entry & X86_PS) ? entry & bits(MIN(width, 40u) - 19, 21) : 0;
}

/* Entries of the PDPT have no rights, A, D or PS, and no NX; those below ignore nothing above the
 * address. */
static u64 pae_reserved(u64 entry, int level, unsigned int phys_bits, bool nx)
{
	u64 mask = bits(phys_bits, nx ? 62 : 63);

	if (level == 3)
		return entry & (bits(phys_bits, 63) | bits(1, 2) | bits(5, 8));
	if (level == 2 && (entry & X86_PS))
		mask |= bits(13, 20);
	return entry & mask;
}

/* Bit 12 of a large leaf is PAT. Bits 62:52 are ignored everywhere. */
static u64 guest64_reserved(u64 entry, int level, unsigned int phys_bits, bool nx)
{
	u64 mask = bits(phys_bits, 51) | (nx ? 0 : X86_NX);

	if (level == 4)
		mask |= X86_PS;
	else if (level == 3 && (entry & X86_PS))
		mask |= bits(13, 29);
	else if (level == 2 && (entry & X86_PS))
		mask |= bits(13, 20);
	return entry & mask;
}

/* ---- the formats ---------------------------------------------------------------------------- */

/* Table entries allow everything, so that the leaf decides, and are born accessed, which saves the
 * processor a locked write at first use. */
#define X86_TABLE (X86_P | X86_RW | X86_US | X86_A)
#define EPT_TABLE (EPT_R | EPT_W | EPT_X | EPT_A)

/* What formats have in common: a geometry each, and one set of bits but for EPT. */
#define FOUR_LEVELS .levels = 4, .entry_bytes = 8, .addr = ADDR64
#define X86_BITS \
	.present = X86_P, .leaf = X86_PS, .accessed = X86_A, .dirty = X86_D, .table_bits = X86_TABLE, \
	.rights = x86_rights

const struct pt_format pt_format_host = {
	.name = "host", FOUR_LEVELS, X86_BITS, .leaf_bits = x86_leaf_bits,
};

const struct pt_format pt_format_npt = {
	.name = "npt", FOUR_LEVELS, X86_BITS, .leaf_bits = npt_leaf_bits,
};

/* The A and D bits count only where the EPT pointer switches them on. */
const struct pt_format pt_format_ept = {
	.name = "ept", FOUR_LEVELS,
	.present = EPT_R | EPT_W | EPT_X, .leaf = EPT_LARGE, .accessed = EPT_A, .dirty = EPT_D,
	.table_bits = EPT_TABLE, .leaf_bits = ept_leaf_bits, .rights = ept_rights,
};

const struct pt_format pt_format_guest32 = {
	.name = "32-bit", .levels = 2, .entry_bytes = 4, .addr = ADDR32, X86_BITS,
	.leaf_bits = guest32_leaf_bits, .reserved = guest32_reserved,
};

const struct pt_format pt_format_guest_pae = {
	.name = "PAE", .levels = 3, .entry_bytes = 8, .addr = ADDR64, X86_BITS,
	.leaf_bits = x86_leaf_bits, .reserved = pae_reserved,
};

const struct pt_format pt_format_guest64 = {
	.name = "4-level", FOUR_LEVELS, X86_BITS,
	.leaf_bits = x86_leaf_bits, .reserved = guest64_reserved,
};
