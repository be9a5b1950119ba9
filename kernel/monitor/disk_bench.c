/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast a disk is by itself, which is what swapping on it can be measured against: sequential
 * reads of 128 KiB, one at a time, then several in flight. It writes nothing. */
#include "cpu/clock.h"
#include "lib/blkdev.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "monitor/monitor.h"
#include "sched/wait.h"

#define READ_PAGES 32
#define DEPTH_MAX  8
#define MOST_BYTES MIB(512)

struct reader {
	struct blk_request rq;
	struct blk_segment segments[READ_PAGES];
	struct page *memory; /* whole, for one request */
	u32 busy;            /* [a] the disk has the request */
};

static struct reader readers[DEPTH_MAX];
static struct wait_queue waiters = {.lock = SPINLOCK_INIT(RANK_WAIT),
				    .waiters = LIST_INIT(waiters.waiters)};

static void reader_done(struct blk_request *rq)
{
	struct reader *r = rq->owner;

	atomic_store(&r->busy, 0);
	wait_wake_all(&waiters);
}

static int reader_start(struct reader *r, struct blkdev *dev, u64 sector)
{
	r->rq = (struct blk_request){
		.op = BLK_READ, .sector = sector, .segments = r->segments, .done = reader_done,
		.owner = r, .nr_segments = MIN(dev->max_segments, (u32)READ_PAGES),
	};
	for (u32 i = 0; i < r->rq.nr_segments; i++)
		r->segments[i] = (struct blk_segment){hpa(frame_phys(r->memory) + i * PAGE_SIZE),
						      PAGE_SIZE};
	atomic_store(&r->busy, 1);
	int err = blkdev_submit(dev, &r->rq);
	if (err)
		atomic_store(&r->busy, 0);
	return err;
}

/* disk_pass - read @dev from its begin with @depth requests in flight, and print how fast it was. */
static int disk_pass(struct blkdev *dev, u32 depth)
{
	u64 bytes = MIN(dev->max_segments, (u32)READ_PAGES) * PAGE_SIZE;
	u64 nr = MIN(dev->nr_sectors * SECTOR_SIZE, MOST_BYTES) / bytes;
	u64 start = clock_ns();
	int err = 0;

	for (u64 i = 0; i < nr + depth; i++) {
		struct reader *r = &readers[i % depth];
		wait_event(&waiters, !atomic_load(&r->busy));
		if (i >= depth && !err)
			err = r->rq.status;
		if (i < nr && !err)
			err = reader_start(r, dev, i * (bytes / SECTOR_SIZE));
	}
	if (err)
		return err;
	u64 us = (clock_ns() - start) / 1000 + 1;
	printk("BENCH key=raw disk=%s depth=%u request_kib=%lu mib=%lu us=%lu kib_s=%lu tsc_khz=%lu\n",
	       dev->name, depth, bytes >> 10, nr * bytes >> 20, us,
	       (nr * bytes >> 10) * 1000000 / us, clock_tsc_hz() / 1000);
	return 0;
}

int monitor_disk_bench(int argc, char **argv)
{
	struct blkdev *dev = blkdev_next(NULL);
	u32 nr = 0;

	if (argc != 2)
		return -EINVAL;
	while (dev && strcmp(dev->name, argv[1]))
		dev = blkdev_next(dev);
	int err = dev ? 0 : -ENOENT;
	for (; !err && nr < DEPTH_MAX; nr++) {
		readers[nr].memory = frame_alloc_order(FRAME_DMA, frame_order(READ_PAGES * PAGE_SIZE), 0);
		if (!readers[nr].memory) {
			err = -ENOMEM;
			break;
		}
	}
	if (!err)
		err = disk_pass(dev, 1);
	if (!err)
		err = disk_pass(dev, DEPTH_MAX);
	while (nr > 0)
		frame_free(readers[--nr].memory, frame_order(READ_PAGES * PAGE_SIZE));
	return err;
}
