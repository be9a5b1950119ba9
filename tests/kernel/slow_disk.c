/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/kernel/slow_disk.h"

#include "cpu/clock.h"
#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "lib/swap_header.h"
#include "mm/frame.h"
#include "mm/page.h"
#include "sched/thread.h"

#define BLOCK_ORDER 9
#define BLOCK_BYTES (PAGE_SIZE << BLOCK_ORDER)
#define PAUSE_NS    (100 * 1000ull) /* now and then, before a request ends; the longest one */
#define PATIENCE_NS (5 * 1000 * 1000 * 1000ull)

/* ---- the platter --------------------------------------------------------------------------------- */

static u8 *place(struct slow_disk *d, u64 at)
{
	return (u8 *)d->block[at / BLOCK_BYTES] + at % BLOCK_BYTES;
}

/* is_bad - does a bad page lie in @rq? */
static bool is_bad(struct slow_disk *d, const struct blk_request *rq)
{
	u64 at = rq->disk_sector * SECTOR_SIZE, end = at;

	for (u32 i = 0; i < rq->nr_segments; i++)
		end += rq->segments[i].bytes;
	for (u32 i = 0; i < SLOW_DISK_BAD; i++) {
		u64 bad = atomic_load(&d->bad[i].page) * PAGE_SIZE;

		if (bad && d->bad[i].op == rq->op && bad < end && bad + PAGE_SIZE > at)
			return true;
	}
	return false;
}

/* Segments do not cross pages of memory, and blocks are larger than any. */
static void transfer(struct slow_disk *d, struct blk_request *rq)
{
	u64 at = rq->disk_sector * SECTOR_SIZE;

	for (u32 i = 0; i < rq->nr_segments; i++) {
		const struct blk_segment *s = &rq->segments[i];

		for (u32 done = 0; done < s->bytes; done += SECTOR_SIZE) {
			u8 *memory = (u8 *)phys_to_virt(s->at.v) + done;
			u8 *disk = place(d, at + done);

			memcpy(rq->op == BLK_WRITE ? disk : memory,
			       rq->op == BLK_WRITE ? memory : disk, SECTOR_SIZE);
		}
		at += s->bytes;
	}
}

/* ---- requests ------------------------------------------------------------------------------------ */

static int submit(struct blkdev *dev, struct blk_request *rq)
{
	struct slow_disk *d = container_of(dev, struct slow_disk, dev);
	u64 flags = spin_lock_irqsave(&d->lock);
	bool room = d->nr_waiting < SLOW_DISK_INFLIGHT;

	if (room)
		d->waiting[d->nr_waiting++] = rq;
	spin_unlock_irqrestore(&d->lock, flags);
	if (!room)
		return -EAGAIN; /* nothing is wrong: no trace */
	wait_wake_all(&d->queue);
	return 0;
}

static u32 chance(struct slow_disk *d, u32 n)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return (u32)(d->random >> 20) % n;
}

/* take - any of those that wait. */
static struct blk_request *take(struct slow_disk *d)
{
	struct blk_request *rq = NULL;

	u64 flags = spin_lock_irqsave(&d->lock);
	if (d->nr_waiting) {
		u32 i = chance(d, d->nr_waiting);

		rq = d->waiting[i];
		d->waiting[i] = d->waiting[--d->nr_waiting];
	}
	spin_unlock_irqrestore(&d->lock, flags);
	return rq;
}

static void serve(struct slow_disk *d, struct blk_request *rq)
{
	int err = is_bad(d, rq) ? -EIO : 0;

	if (!err)
		transfer(d, rq);
	u64 flags = irq_save(); /* done expects no less */
	blkdev_finish(rq, err);
	irq_restore(flags);
}

static bool may_serve(struct slow_disk *d)
{
	return atomic_load(&d->nr_waiting) && !atomic_load(&d->hold);
}

static void disk_loop(void *arg)
{
	struct slow_disk *d = arg;

	for (;;) {
		wait_event(&d->queue, may_serve(d) || atomic_load(&d->stop));
		if (!may_serve(d))
			return;
		if (chance(d, 32) == 0)
			(void)thread_sleep_ns(1 + chance(d, PAUSE_NS));
		struct blk_request *rq = may_serve(d) ? take(d) : NULL;
		if (rq)
			serve(d, rq);
	}
}

/* ---- for tests ----------------------------------------------------------------------------------- */

void slow_disk_start(struct slow_disk *d, const char *name, u64 bytes)
{
	struct page *table = frame_alloc(FRAME_DMA, FRAME_ZERO);
	u32 nr = bytes / BLOCK_BYTES;

	CHECK(table && nr && bytes % BLOCK_BYTES == 0 && nr <= PAGE_SIZE / sizeof(void *),
	      "a slow disk of %lu bytes", bytes);
	d->block = page_to_virt(table);
	for (u32 i = 0; i < nr; i++) {
		struct page *p = frame_alloc_order(FRAME_DMA, BLOCK_ORDER, FRAME_ZERO);

		CHECK(p, "no memory for a slow disk");
		d->block[i] = page_to_virt(p);
	}
	u8 uuid[UUID_BYTES] = {0};
	(void)str_copy((char *)uuid, name, sizeof(uuid));
	swap_header_make(place(d, 0), uuid, bytes);
	swap_header_make(place(d, bytes - PAGE_SIZE), uuid, bytes);
	d->dev = (struct blkdev){.name = name, .nr_sectors = bytes / SECTOR_SIZE, .max_segments = 32,
				 .max_inflight = SLOW_DISK_INFLIGHT, .submit = submit};
	d->random = 0x9e3779b97f4a7c15ull;
	spin_init(&d->lock, RANK_DISK);
	wait_init(&d->queue);
	CHECK(thread_create(&d->thread, name, disk_loop, d, NULL) == 0, "no stack for a slow disk");
	thread_start(&d->thread);
}

void slow_disk_stop(struct slow_disk *d)
{
	u32 nr = d->dev.nr_sectors * SECTOR_SIZE / BLOCK_BYTES;

	atomic_store(&d->stop, true);
	wait_wake_all(&d->queue);
	thread_join(&d->thread);
	for (u32 i = 0; i < nr; i++)
		frame_free(phys_to_page(virt_to_phys(d->block[i])), BLOCK_ORDER);
	frame_free(phys_to_page(virt_to_phys(d->block)), 0);
	memset(d, 0, sizeof(*d));
}

void slow_disk_hold(struct slow_disk *d, bool hold)
{
	atomic_store(&d->hold, hold);
	wait_wake_all(&d->queue);
}

bool slow_disk_wait_held(struct slow_disk *d, u32 nr)
{
	u64 end = clock_ns() + PATIENCE_NS;

	while (atomic_load(&d->nr_waiting) < nr && clock_ns() < end)
		thread_yield();
	return atomic_load(&d->nr_waiting) >= nr;
}

void slow_disk_fail(struct slow_disk *d, u32 slot, enum blk_op op)
{
	for (u32 i = 0; i < SLOW_DISK_BAD; i++) {
		if (op == BLK_FLUSH)
			atomic_store(&d->bad[i].page, 0);
		else if (!d->bad[i].page) {
			d->bad[i].op = op;
			atomic_store(&d->bad[i].page, slot + 1ull); /* behind the header */
			return;
		}
	}
}
