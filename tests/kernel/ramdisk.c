/* SPDX-License-Identifier: BSD-2-Clause */
/* A page is made when something is first written there. Writers of different pages do not know of each
 * other: who comes second to an empty place gives its frame back. */
#include "tests/kernel/ramdisk.h"

#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/string.h"
#include "mm/frame.h"

#define MAX_SEGMENTS 32

/* page_get - page @nr, or NULL if it was never written; with @make: if there is no memory. */
static void *page_get(struct ramdisk *r, u64 nr, bool make)
{
	struct page *p = atomic_load(&r->pages[nr]), *fresh;

	if (!p && make) {
		fresh = frame_alloc(FRAME_DMA, FRAME_ZERO | FRAME_RESERVE | FRAME_NOWAIT);
		if (fresh && !atomic_cas(&r->pages[nr], &p, fresh))
			frame_free(fresh, 0);
		else
			p = fresh;
	}
	return p ? phys_to_virt(frame_phys(p)) : NULL;
}

/* copy_segment - between memory and disk from byte @at; it may lie across two of the disk's pages. */
static int copy_segment(struct ramdisk *r, enum blk_op op, u64 at, const struct blk_segment *s)
{
	u8 *memory = phys_to_virt(s->at.v);

	for (u32 done = 0, n; done < s->bytes; done += n) {
		u64 offset = page_offset(at + done);
		u8 *page = page_get(r, (at + done) / PAGE_SIZE, op == BLK_WRITE);

		n = MIN(s->bytes - done, (u32)(PAGE_SIZE - offset));
		if (op == BLK_WRITE && !page)
			return -EIO;
		if (op == BLK_WRITE)
			memcpy(page + offset, memory + done, n);
		else if (page)
			memcpy(memory + done, page + offset, n);
		else
			memset(memory + done, 0, n);
	}
	return 0;
}

static int submit(struct blkdev *dev, struct blk_request *rq)
{
	struct ramdisk *r = container_of(dev, struct ramdisk, dev);
	u64 at = rq->disk_sector * SECTOR_SIZE, flags;
	int err = 0;

	for (u32 i = 0; i < rq->nr_segments && !err; i++) {
		err = copy_segment(r, rq->op, at, &rq->segments[i]);
		at += rq->segments[i].bytes;
	}
	flags = irq_save(); /* done expects no less */
	blkdev_finish(rq, err);
	irq_restore(flags);
	return 0;
}

void ramdisk_init(struct ramdisk *r, const char *name, u64 bytes)
{
	CHECK(bytes && bytes % PAGE_SIZE == 0 && bytes <= RAMDISK_PAGES * PAGE_SIZE, "RAM disk of %lu bytes",
	      bytes);
	memset(r, 0, sizeof(*r));
	r->dev = (struct blkdev){
		.name = name, .nr_sectors = bytes / SECTOR_SIZE, .max_segments = MAX_SEGMENTS,
		.max_inflight = 1, .submit = submit,
	};
}

void ramdisk_free(struct ramdisk *r)
{
	for (u32 i = 0; i < RAMDISK_PAGES; i++)
		if (r->pages[i])
			frame_free(r->pages[i], 0);
	memset(r->pages, 0, sizeof(r->pages));
}

void *ramdisk_page(struct ramdisk *r, u64 offset)
{
	CHECK(offset / SECTOR_SIZE < r->dev.nr_sectors, "offset %lu of RAM disk %s", offset,
	      r->dev.name);
	return page_get(r, offset / PAGE_SIZE, true);
}
