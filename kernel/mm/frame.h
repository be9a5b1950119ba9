/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames: who has RAM to give.
 *
 * A buddy system, orders 0 to FRAME_MAX_ORDER, under one lock; before it a small cache of single
 * frames per CPU, so that a fault takes one without a lock. Watermarks: below `low` the reclaimer
 * is woken, below `min` only who must not fail (FRAME_RESERVE: the swap-out path itself) gets a
 * frame; others reclaim directly or get -ENOMEM.
 *
 * Each frame's owner stands in its flags, so that release builds can tell who holds what. Debug
 * builds also give every frame an epoch (raised at each free and alloc) in a second array, fill
 * freed frames with junk and look at the junk when a frame is given out again (N7). */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct page;

#define FRAME_MAX_ORDER 10

enum frame_owner {
	FRAME_FREE,
	FRAME_KERNEL,  /* stacks, objects, buffers */
	FRAME_TABLE,   /* primary page tables */
	FRAME_SPTABLE, /* secondary page tables */
	FRAME_GUEST,   /* an mm's memory */
	FRAME_MODULE,  /* what GRUB loaded, until it was consumed */
	FRAME_DMA,     /* rings and buffers of drivers */
	FRAME_OWNERS,
};

enum {
	FRAME_ZERO = 1,    /* cleared */
	FRAME_RESERVE = 2, /* may use the reserve */
	FRAME_NOWAIT = 4,  /* no direct reclaim: the caller may not sleep */
};

/* frame_init - take over what boot left. => boot CPU, once; before any other call here */
void frame_init(void);
/* frame_add - hand [@start, @end) of physical memory to the allocator: boot leftovers, modules. */
void frame_add(u64 start, u64 end);
/* frame_reserve_range - note that [@start, @end) belongs to @owner until frame_add. */
void frame_reserve_range(u64 start, u64 end, enum frame_owner owner);

/* frame_order - the order of the smallest block that holds @bytes. */
static inline unsigned int frame_order(u64 bytes)
{
	unsigned int order = 0;

	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

/* frame_alloc - one frame with refcount 1 for @owner, or NULL.
 * => thread context; sleeps only without FRAME_NOWAIT when a reclaimer is registered */
struct page *frame_alloc(enum frame_owner owner, unsigned int flags);
/* frame_alloc_order - 2^order contiguous frames; refcount 1 on the first. */
struct page *frame_alloc_order(enum frame_owner owner, unsigned int order, unsigned int flags);
/* frame_free - give it back. What mm_gup_fast may have seen in a PTE goes by page_put instead.
 * => refcount is 1 and the caller's, or 0 (frozen); not in interrupts */
void frame_free(struct page *p, unsigned int order);

/* frame_drain - give this CPU's cache back to the buddy: for audits and figures. */
void frame_drain(void);

struct frame_stats {
	u64 total;      /* frames under the cap that are RAM: kernel, modules and all */
	u64 free;       /* in the buddy and the CPUs' caches */
	u64 by_owner[FRAME_OWNERS];
	u64 low_water;  /* the smallest `free` there has been */
	u64 min, low, high; /* watermarks */
};
void frame_stats(struct frame_stats *s);

/* frame_missing - how many frames are free less than the high watermark asks for, roughly. */
u64 frame_missing(void);

/* A reclaimer registers here; mm/frame.c knows no more of it. */
struct frame_reclaimer {
	void (*wake)(void);            /* free fell below low. => any context */
	/* direct - free some frames now; returns how many. => thread context, sleeps */
	u64 (*direct)(void);
};
void frame_set_reclaimer(const struct frame_reclaimer *r);

/* frame_audit - re-derive lists and counts; reports each difference. Returns how many.
 * => nothing else allocates */
int frame_audit(void (*report)(const char *fmt, ...));

enum frame_owner frame_owner(const struct page *p);
/* frame_phys - where @p is: for drivers, which do not know struct page. */
u64 frame_phys(const struct page *p);

/* The oracle's view (debug builds). frame_epoch - odd while the frame is given out; 0 in release
 * builds. frame_fail_every - every @k-th allocation fails, 0: none. => tests only */
u32 frame_epoch(const struct page *p);
void frame_fail_every(unsigned int k);
