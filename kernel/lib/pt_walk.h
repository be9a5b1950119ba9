/* SPDX-License-Identifier: BSD-2-Clause */
/* One page-table walker for every kind of table that meets in a hypervisor.
 *
 * A page table is a tree whose nodes are pages of entries. What differs between a host's table, an
 * EPT, a nested page table and the three kinds that a guest may use is geometry (how many levels,
 * how many index bits each) and the names of bits. `struct pt_format` is that difference, as data;
 * the walker is the rest. Level 1 holds the leaves of 4 KiB; fmt->levels is the root's level.
 *
 *	     va:  | index[levels] | ... | index[2] | index[1] | offset 12 |
 *	root ---> [entry] -> [entry] -> ... [entry] -> frame
 *
 * Two ways to use it:
 *  - Trees of ours (host, EPT, NPT: 8-byte entries, 512 a table). Tables are reached at
 *    physical + pt->virt_offset. The walker reads entries with one load each and never locks; who
 *    may write an entry is the owner's business (mm: the PT lock; vmm: mmu_lock).
 *  - Trees of a guest (32-bit, PAE, 4-level), read only, through a callback, because the guest's
 *    memory may be swapped out and changes under our eyes.
 *
 * Invariants
 *  I1. A table that was linked stays linked, and its page lives, until pt_destroy: a lockless reader
 *      never follows a pointer to a freed table.
 *  I2. An entry is changed only by one atomic store or exchange of the whole entry.
 *
 * Not here: what a leaf means (mm/pte.h for the primary table, vmm/ept.c for EPT and NPT). */
#pragma once

#include "lib/types.h"

/* Rights, one set of names for all formats. ACC_U: user mode may (formats without it: always). */
enum { ACC_R = 1, ACC_W = 2, ACC_X = 4, ACC_U = 8 };

#define PT_MAX_LEVELS 5
#define PT_ENTRIES    512

struct pt_format {
	const char *name;
	u8 levels;                   /* 2, 3 or 4 */
	u8 entry_bytes;              /* 8, or 4 for 32-bit guests; the walker knows the indices' widths */
	u64 present;                 /* an entry with none of these bits is not present */
	u64 leaf;                    /* at level > 1: this bit says leaf */
	u64 addr;                    /* the physical address in an entry that names a table or 4 KiB leaf */
	u64 accessed, dirty;         /* 0 where the format has none */
	u64 table_bits;              /* what an entry that names a table carries beside the address */

	/* leaf_bits - rights as entry bits, for a leaf at @level. Without accessed and dirty. */
	u64 (*leaf_bits)(unsigned int acc, int level);
	/* rights - what one entry allows; a walk's rights are the intersection over its levels. */
	unsigned int (*rights)(u64 entry);
	/* reserved - bits that must be zero in @entry at @level, with @phys_bits of physical address
	 * and NX enabled or not. NULL for formats that only we write. */
	u64 (*reserved)(u64 entry, int level, unsigned int phys_bits, bool nx);
};

extern const struct pt_format pt_format_host;  /* 4 levels, what CR3 of the hypervisor points to */
extern const struct pt_format pt_format_npt;   /* as host, every entry user-accessible (AMD APM 15.25) */
extern const struct pt_format pt_format_ept;   /* Intel SDM vol. 3C, EPT; 4 levels, accessed and dirty bits 8, 9 */
extern const struct pt_format pt_format_guest32;
extern const struct pt_format pt_format_guest_pae;
extern const struct pt_format pt_format_guest64;

/* Where the pages of a tree come from. */
struct pt_pages {
	/* get - a zeroed page's physical address, or 0 if there is none. */
	u64 (*get)(struct pt_pages *p);
	void (*put)(struct pt_pages *p, u64 phys);
};

struct pt {
	const struct pt_format *fmt;
	u64 root;        /* physical address of the top table */
	u64 virt_offset; /* a table at physical p is read at p + virt_offset */
	struct pt_pages *pages;
};

/* ---- trees of ours ------------------------------------------------------------------------ */

static inline unsigned int pt_index(u64 va, int level)
{
	return (va >> (PAGE_SHIFT + 9 * (level - 1))) & (PT_ENTRIES - 1);
}

static inline u64 *pt_table(const struct pt *pt, u64 phys)
{
	return (u64 *)(phys + pt->virt_offset);
}

static inline u64 pt_level_size(int level)
{
	return PAGE_SIZE << (9 * (level - 1));
}

static inline bool pt_is_present(const struct pt_format *fmt, u64 entry)
{
	return entry & fmt->present;
}

static inline bool pt_is_leaf(const struct pt_format *fmt, u64 entry, int level)
{
	return level == 1 || (entry & fmt->leaf);
}

/* A descent: what it needs of the tree, and where it stands. Lives in registers; with constants for the
 * bits it is a few instructions a level. */
struct pt_descent {
	u64 present, leaf, addr, virt_offset;
	u64 *entry;
};

static always_inline struct pt_descent pt_descent_begin(const struct pt *pt, u64 va, u64 present,
							u64 leaf, u64 addr)
{
	return (struct pt_descent){
		.present = present, .leaf = leaf, .addr = addr, .virt_offset = pt->virt_offset,
		.entry = pt_table(pt, pt->root) + pt_index(va, 4),
	};
}

/* pt_descent_step - from the entry of @va at @level to the one below; false if it names no table. */
static always_inline bool pt_descent_step(struct pt_descent *d, u64 va, int level)
{
	u64 entry = READ_ONCE(*d->entry);

	if (!(entry & d->present) || (entry & d->leaf))
		return false;
	d->entry = (u64 *)((entry & d->addr) + d->virt_offset) + pt_index(va, level - 1);
	return true;
}

/* pt_lookup - the deepest entry that translates @va, going down to @level at most.
 * => reads without a lock; the entry may have changed when the caller looks: load it once
 * Return its address and, in *@at, its level: == @level if every table above exists, higher where a
 * leaf or a missing table ended the walk. Never NULL. */
u64 *pt_lookup(const struct pt *pt, u64 va, int level, int *at);

/* pt_lookup_leaf - the level-1 entry of @va, or NULL if a table is missing or a large leaf covers it. */
static always_inline u64 *pt_lookup_leaf_of(const struct pt *pt, u64 va, u64 present, u64 leaf, u64 addr)
{
	struct pt_descent d = pt_descent_begin(pt, va, present, leaf, addr);

	if (!pt_descent_step(&d, va, 4) || !pt_descent_step(&d, va, 3) || !pt_descent_step(&d, va, 2))
		return NULL;
	return d.entry;
}

static inline u64 *pt_lookup_leaf(const struct pt *pt, u64 va)
{
	return pt_lookup_leaf_of(pt, va, pt->fmt->present, pt->fmt->leaf, pt->fmt->addr);
}

/* pt_ensure - as pt_lookup, making the tables that are missing.
 * => caller is the tree's only writer (its lock is held)
 * Return 0 with *@entry at exactly @level; -ENOMEM if pt->pages has none; -EEXIST if a larger leaf is
 * in the way. */
int must_check pt_ensure(struct pt *pt, u64 va, int level, u64 **entry);

/* pt_for_each - call @fn for each present leaf of any level that overlaps [@start, @end), and for each
 * entry of level 1 that is not present but not empty either (a swap entry), in order.
 * Missing tables are skipped in one step. @fn returns 0 to go on; another value ends the walk and is
 * returned. @va is the leaf's first address; @fn may change the entry. An @end of 0 does not mean the
 * top of the address space: the range is empty. */
typedef int (*pt_visit_fn)(void *ctx, u64 va, int level, u64 *entry);
int pt_for_each(const struct pt *pt, u64 start, u64 end, pt_visit_fn fn, void *ctx);

/* pt_destroy - give back every table page, the root included; leaves are not looked at.
 * @from, @to: root indices [@from, @to) whose subtrees are ours (a CR3 shares its upper half). */
void pt_destroy(struct pt *pt, unsigned int from, unsigned int to);

/* ---- trees of a guest ---------------------------------------------------------------------- */

/* Bits of a page-fault error code: Intel SDM vol. 3A, "Page-Fault Exceptions"; AMD APM 8.4.2. */
enum { PFEC_P = 1, PFEC_W = 2, PFEC_U = 4, PFEC_RSVD = 8, PFEC_I = 16 };

struct pt_guest {
	const struct pt_format *fmt;
	u64 root;              /* guest-physical address of the top table (PAE: of the 32-byte PDPT) */
	unsigned int phys_bits;
	bool nx;               /* EFER.NXE */
	bool wp, smep, smap;   /* CR0.WP, CR4.SMEP, CR4.SMAP (the latter already combined with AC) */
	bool pse;              /* CR4.PSE: 4 MiB leaves in 32-bit tables */
	/* read - @bytes (4 or 8) of guest-physical memory at @at, which may lie anywhere. Where a guest has
	 * no memory a real bus reads all ones. Return 0 or an errno. */
	int (*read)(void *ctx, gpa_t at, void *to, unsigned int bytes);
	void *ctx;
};

struct pt_guest_result {
	gpa_t gpa;
	unsigned int rights;   /* intersection over the levels; 0 if no leaf was reached */
	int level;             /* of the leaf, or where the walk ended */
	u32 pfec;              /* on -EFAULT: the error code for the guest's #PF */
	u64 entry;             /* the leaf entry */
	gpa_t entry_at;        /* where it stands */
};

/* pt_walk_guest - translate @va for an access of kind @access (ACC_*; ACC_U set for user mode). The
 * caller has made sure that @va is canonical, or fits 32 bits; accessed and dirty bits are not set.
 * Return 0; -EFAULT: the guest would get #PF with res->pfec; -EAGAIN: ->read said -EFAULT for
 * res->entry_at: fault that page in and start again; another errno from ->read as it came.
 * Source: Intel SDM vol. 3A, "Paging", "Access Rights"; PDPTEs of PAE are read with the walk, as AMD
 * processors do, and may cause #PF. */
int must_check pt_walk_guest(const struct pt_guest *g, u64 va, unsigned int access,
			     struct pt_guest_result *res);
