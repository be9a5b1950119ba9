/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap slots: 4 KiB each on a swap area, and what is known of every one.
 *
 * A slot is one word, changed by compare-and-swap alone:
 *
 *	63   48 47   32 31                                   0
 *	[flags ][ count ][ value                              ]
 *
 *	free           the whole word is 0
 *	in the cache   SLOT_CACHED; value is the frame. The cache holds the slot until the page leaves
 *	on the disk    no flag; value is the stamp of its eviction (lru.h), count > 0
 *	same-filled    SLOT_SAME; value is what every 32-bit word of the page was. Nothing on the disk
 *	bad            SLOT_BAD beside the others: a write to it failed; it is never given out again
 *
 * count is how many primary PTEs name the slot. So the swap cache needs no index of its own: a
 * swap entry in a PTE leads to its slot, and the slot to the frame.
 *
 *	slot_t:  [ area 5 bits ][ index 27 bits ]        512 GiB an area
 *
 * Slots are given out in runs along a cluster of 512, because pages that leave together come back
 * together; a cluster that is wholly free is preferred, then the one with most room.
 *
 * Invariants
 *  I1. A slot that is not free is given to nobody (rule 12): a request in flight on it keeps it
 *      CACHED, because its page stays in the cache until the request has ended.
 *  I2. Who goes from a slot to the frame takes a reference by get-unless-zero and reads the slot
 *      again; a get that failed means look again, never a miss (rule 10).
 *
 * Locking: the words are atomic; an area's lock (RANK_SWAP) guards where the next run is looked for.
 *
 * Not here: what is done with pages (swap.h), the disk (swap_io.c), areas coming and going
 * (swap_area.c). */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct page;

typedef struct { u32 v; } slot_t;

#define SLOT_INDEX_BITS  27
#define SWAP_AREAS       16
#define CLUSTER_SLOTS    512
#define SLOT_CACHED      1u
#define SLOT_SAME        2u
#define SLOT_BAD         4u

struct slot_state {
	u32 value;
	u16 count;
	u16 flags;
};

union slot_word {
	u64 v;
	struct slot_state s;
};
static_assert(sizeof(union slot_word) == 8, "a slot is one word");

static inline u32 slot_area(slot_t s)
{
	return s.v >> SLOT_INDEX_BITS;
}
static inline u32 slot_index(slot_t s)
{
	return s.v & ((1u << SLOT_INDEX_BITS) - 1);
}

/* slots_alloc - up to @want free slots that follow one another, from the area of highest priority;
 * each becomes CACHED with its @pages[i], count 0; the page is locked, and gets PG_SWAPCACHE, ->slot
 * and the cache's reference.
 * Return how many, at least 1; 0: the swap is full, or there is none. */
u32 slots_alloc(struct page **pages, u32 want);

/* slot_page - the cache's page of @s with a reference, or NULL if it has none now. */
struct page *slot_page(slot_t s);

/* slot_insert - @p, locked, becomes the cache's page of @s, if that is not free and has none
 * (rule 13: get-unless-free). Sets PG_SWAPCACHE, ->slot, takes the cache's reference.
 * Return true with *@was: its state before. */
bool must_check slot_insert(slot_t s, struct page *p, struct slot_state *was);

/* slot_remove - the page leaves the cache: PG_SWAPCACHE falls. The slot is free if no PTE names it; else
 * it becomes @value with @flags (0 or SLOT_SAME). The cache's reference is the caller's.
 * => page locked, no request on it in flight (rule 12) */
void slot_remove(struct page *p, u16 flags, u32 value);

/* slot_get, slot_put - one PTE more or less names @s. => slot_get: it is not free; PT lock
 * slot_put returns true if none does any more and a page is in the cache: somebody must take it out. */
void slot_get(slot_t s);
bool slot_put(slot_t s);

/* slot_retire - a write to it failed: it is not given out any more. */
void slot_retire(slot_t s);
