/* SPDX-License-Identifier: BSD-2-Clause */
/* The buddy system: free blocks of 2^order frames, each aligned to its size.
 *
 * A block and its *buddy* (the frame number with bit `order` flipped) together make the block of
 * the next order; when both are free they are one. The first frame of a free block carries PG_BUDDY
 * and the order; the others have no flags at all, so that a glance at a neighbour tells whether to
 * merge.
 *
 * Invariants
 *  I1. No two free blocks are buddies of each other: they would have merged.
 *  I2. Flags of a free block's frames: PG_BUDDY | order << PG_ORDER_SHIFT in the first, 0 in the
 *      rest.
 *
 * Locking: the caller's (frame.c).  Not here: caches, watermarks, owners (frame.c). */
#include "lib/check.h"
#include "mm/mm_internal.h"

static void block_link(struct buddy *b, u32 pfn, unsigned int order)
{
	struct page *p = &page_array[pfn];

	atomic_store_relaxed(&p->flags, PG_BUDDY | order << PG_ORDER_SHIFT);
	p->prev = PAGE_NONE;
	p->next = b->head[order];
	if (p->next != PAGE_NONE)
		page_array[p->next].prev = pfn;
	b->head[order] = pfn;
}

static void block_unlink(struct buddy *b, struct page *p, unsigned int order)
{
	if (p->prev != PAGE_NONE)
		page_array[p->prev].next = p->next;
	else
		b->head[order] = p->next;
	if (p->next != PAGE_NONE)
		page_array[p->next].prev = p->prev;
	atomic_store_relaxed(&p->flags, 0);
}

/* free_buddy - is the block of @order at @pfn free, as one block? */
static bool free_buddy(u64 pfn, unsigned int order)
{
	if (pfn >= page_array_nr)
		return false;
	return atomic_load_relaxed(&page_array[pfn].flags) == (PG_BUDDY | order << PG_ORDER_SHIFT);
}

void buddy_init(struct buddy *b)
{
	b->nr_free = 0;
	for (unsigned int order = 0; order <= FRAME_MAX_ORDER; order++)
		b->head[order] = PAGE_NONE;
}

void buddy_give(struct buddy *b, u64 pfn, unsigned int order)
{
	b->nr_free += 1ul << order;
	for (; order < FRAME_MAX_ORDER; order++) {
		u64 other = pfn ^ 1ul << order;

		if (!free_buddy(other, order))
			break;
		block_unlink(b, &page_array[other], order);
		atomic_store_relaxed(&page_array[pfn].flags, 0);
		pfn &= ~(1ul << order);
	}
	block_link(b, pfn, order);
}

struct page *buddy_take(struct buddy *b, unsigned int order)
{
	unsigned int from = order;

	while (from <= FRAME_MAX_ORDER && b->head[from] == PAGE_NONE)
		from++;
	if (from > FRAME_MAX_ORDER)
		return NULL;

	u32 pfn = b->head[from];
	block_unlink(b, &page_array[pfn], from);
	/* Keep the lower half, give the upper halves back. */
	while (from > order) {
		from--;
		block_link(b, pfn + (1u << from), from);
	}
	b->nr_free -= 1ul << order;
	return &page_array[pfn];
}

/* block_audit - one free block's frames. */
static int block_audit(u32 pfn, unsigned int order, u32 prev, void (*report)(const char *fmt, ...))
{
	const struct page *p = &page_array[pfn];
	int wrong = 0;

	if (!free_buddy(pfn, order) || p->prev != prev || pfn & ((1u << order) - 1)) {
		report("audit: buddy_block: frame %#x order %u flags %#x prev %#x\n", pfn, order,
		       p->flags, p->prev);
		return 1;
	}
	for (u32 i = 0; i < 1u << order; i++) {
		if (p[i].refcount || p[i].mapcount || (i && p[i].flags)) {
			report("audit: buddy_frame: frame %#x flags %#x refcount %u mapcount %u\n",
			       pfn + i, p[i].flags, p[i].refcount, p[i].mapcount);
			wrong++;
		}
	}
	return wrong;
}

int buddy_audit(const struct buddy *b, void (*report)(const char *fmt, ...))
{
	u64 found = 0;
	int wrong = 0;

	for (unsigned int order = 0; order <= FRAME_MAX_ORDER; order++) {
		u32 prev = PAGE_NONE;

		for (u32 pfn = b->head[order]; pfn != PAGE_NONE; pfn = page_array[pfn].next) {
			int bad = pfn < page_array_nr ? block_audit(pfn, order, prev, report) : 1;
			wrong += bad;
			if (bad)
				break; /* the links may lead anywhere */
			if (order < FRAME_MAX_ORDER && free_buddy(pfn ^ 1u << order, order)) {
				report("audit: buddy_unmerged: frame %#x order %u\n", pfn, order);
				wrong++;
			}
			found += 1ul << order;
			prev = pfn;
		}
	}
	if (found != b->nr_free) {
		report("audit: buddy_count: %lu found, %lu counted\n", found, b->nr_free);
		wrong++;
	}
	return wrong;
}
