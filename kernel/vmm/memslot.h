/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory slots: which guest-physical ranges are memory, and at which hva of the VM's mm each lies.
 *
 * Slots are read on every fault, without a lock; they are added while the VM is being made and stay. The
 * generation rises with each change and is sampled before the lookup (rule 1, 22). */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "sched/mutex.h"

struct memslot {
	u64 gfn, nr_pages;
	u64 hva;
};

#define MAX_MEMSLOTS 8

struct memslots {
	u32 generation;  /* [a] */
	u32 nr;          /* [a] */
	struct memslot slot[MAX_MEMSLOTS]; /* sorted by gfn; written before nr rises */
	struct mutex lock; /* changes */
};

struct vm;

void memslots_init(struct memslots *s);

/* memslot_add - @bytes of guest memory at @at, backed by a new region of the VM's mm.
 * Return 0; -EEXIST if it overlaps a slot; -ENOSPC if there are MAX_MEMSLOTS; -ENOMEM. => sleeps */
int must_check memslot_add(struct vm *vm, gpa_t at, u64 bytes);

/* memslot_find - the slot of @f or NULL. */
static inline const struct memslot *memslot_find(const struct memslots *s, gfn_t f)
{
	u32 nr = __atomic_load_n(&s->nr, __ATOMIC_ACQUIRE);
	for (u32 i = 0; i < nr; i++)
		if (f.v - s->slot[i].gfn < s->slot[i].nr_pages)
			return &s->slot[i];
	return NULL;
}

static inline u64 memslot_hva(const struct memslot *s, gfn_t f)
{
	return s->hva + ((f.v - s->gfn) << PAGE_SHIFT);
}

/* memslot_gfn - which gfn has its memory at @hva? Regions are each in one slot. False: none. */
static inline bool memslot_gfn(const struct memslots *s, u64 hva, gfn_t *f)
{
	u32 nr = __atomic_load_n(&s->nr, __ATOMIC_ACQUIRE);
	for (u32 i = 0; i < nr; i++) {
		u64 page = (hva - s->slot[i].hva) >> PAGE_SHIFT;

		if (page < s->slot[i].nr_pages) {
			*f = gfn(s->slot[i].gfn + page);
			return true;
		}
	}
	return false;
}

/* memslots_overlap - call @fn with each gfn range that [@start, @end) of hva falls on. */
void memslots_overlap(const struct memslots *s, u64 start, u64 end,
		      void (*fn)(void *ctx, u64 gfn_start, u64 gfn_end), void *ctx);
