/* SPDX-License-Identifier: BSD-2-Clause */
/* struct page: 32 bytes for each frame of RAM, in one flat array.
 *
 * Invariants
 *  I1. refcount counts who may read or write the frame: each primary PTE that maps it, each get. It
 *      is 0 exactly for free frames and for frozen ones.
 *  I2. mapcount counts the primary PTEs; the rmap tells where each is. refcount >= mapcount.
 *  I3. The page lock (PG_LOCKED) is held by who moves the page between its states (reclaim, swap,
 *      merge). Faults that map a fresh frame need none.
 *
 * Links are frame numbers, not pointers: half the size, and meaningless outside of the array. */
#pragma once

#include "cpu/memory.h"
#include "lib/atomic.h"
#include "lib/compiler.h"
#include "lib/types.h"

#define PAGE_NONE 0xffffffffu /* no frame: ends lists of page links */

enum page_flag {
	PG_LOCKED = 1u << 0,
	PG_BUDDY = 1u << 1,      /* heads a free block of the buddy; order in the top byte */
	PG_RESERVED = 1u << 2,   /* never was ours to give: hole, firmware, kernel image */
	PG_ANON = 1u << 3,       /* holds an mm's memory; rmap is valid */
	PG_RMAP_CHAIN = 1u << 4, /* rmap points to a chain */
	PG_TABLE = 1u << 5,      /* a page table page, primary or secondary */
	PG_CACHED = 1u << 6,     /* free, in a CPU's cache */
	PG_LRU = 1u << 7,
	PG_DIRTY = 1u << 8,
	PG_WRITEBACK = 1u << 9,
	PG_SWAPCACHE = 1u << 10, /* is the swap cache's page of ->slot, which it holds */
	PG_UPTODATE = 1u << 11,  /* a swap-cache page whose read has succeeded, or that was never read */
	PG_ACTIVE = 1u << 12,    /* policy: on the active list, or to go there */
	PG_REFERENCED = 1u << 13, /* policy: was young once */
	PG_WAITERS = 1u << 14,   /* somebody sleeps until PG_LOCKED falls */
	PG_READAHEAD = 1u << 15, /* reaching it starts the next window */
};
#define PG_OWNER_SHIFT 16 /* enum frame_owner, 4 bits; FRAME_FREE in the buddy */
#define PG_MM_SHIFT    20 /* FRAME_GUEST: the mm that it is charged to, and whose lists it is on */
#define PG_MM_MASK     0x3ffu
#define PG_ORDER_SHIFT 24 /* PG_BUDDY: order of the free block */

struct page {
	u32 refcount; /* [a] */
	u32 mapcount; /* [a] */
	u32 flags;    /* [a] enum page_flag | owner << PG_OWNER_SHIFT | order << PG_ORDER_SHIFT */
	u32 slot;     /* swap slot while PG_SWAPCACHE; changes under the page lock */
	u32 next, prev; /* buddy list under RANK_FRAMES; LRU under its mm's PT lock */
	u64 rmap;     /* mm/rmap.h */
};
static_assert(sizeof(struct page) == 32, "memory kept from guests is a measured figure");

extern struct page *page_array; /* [o] indexed by frame number */
extern u64 page_array_nr;       /* [o] */

static inline struct page *pfn_to_page(pfn_t f)
{
	return &page_array[f.v];
}

static inline pfn_t page_to_pfn(const struct page *p)
{
	return pfn((u64)(p - page_array));
}

static inline u64 page_to_phys(const struct page *p)
{
	return page_to_pfn(p).v << PAGE_SHIFT;
}

static inline void *page_to_virt(const struct page *p)
{
	return phys_to_virt(page_to_phys(p));
}

static inline struct page *phys_to_page(u64 phys)
{
	return &page_array[phys >> PAGE_SHIFT];
}

/* page_get - one more reference. => the caller knows that there is one already */
static inline void page_get(struct page *p)
{
	atomic_add(&p->refcount, 1);
}

/* page_get_unless_zero - false if the page is free or frozen: look up again, never take it for a
 * miss (rule 10). */
static inline bool page_get_unless_zero(struct page *p)
{
	u32 n = atomic_load(&p->refcount);
	while (n != 0)
		if (atomic_cas(&p->refcount, &n, n + 1))
			return true;
	return false;
}

/* page_put - drop a reference; the last one frees the frame, and a guest's frame leaves its mm's
 * account. => thread context */
void page_put(struct page *p);

static inline bool page_test(const struct page *p, u32 flag)
{
	return READ_ONCE(p->flags) & flag;
}
static inline void page_set(struct page *p, u32 flag)
{
	atomic_or(&p->flags, flag);
}
static inline void page_clear(struct page *p, u32 flag)
{
	atomic_and(&p->flags, ~flag);
}

/* page_mm_id - whose account a guest's frame is on (mm.h: mm_by_id). */
static inline u16 page_mm_id(const struct page *p)
{
	return READ_ONCE(p->flags) >> PG_MM_SHIFT & PG_MM_MASK;
}

/* page_trylock, page_lock, page_unlock - PG_LOCKED (I3). The lock is the page's own: it alone may be
 * held across disk I/O (N5), and by a request on the disk rather than a thread.
 * page_lock => sleeps; a reference is held. page_unlock => any context that may wake a thread */
static inline bool must_check page_trylock(struct page *p)
{
	return !(__atomic_fetch_or(&p->flags, PG_LOCKED, __ATOMIC_ACQUIRE) & PG_LOCKED);
}
void page_lock(struct page *p);
void page_unlock(struct page *p);

/* page_freeze - refcount from @own, all that the caller knows of, to 0: nobody else holds it, and
 * nobody will until page_thaw (rule 10). => page lock, mapcount == 0 */
static inline bool must_check page_freeze(struct page *p, u32 own)
{
	return atomic_cas(&p->refcount, &own, 0);
}
/* page_free_frozen - or the frame goes. */
void page_free_frozen(struct page *p);
static inline void page_thaw(struct page *p, u32 own)
{
	atomic_store(&p->refcount, own);
}
