/* SPDX-License-Identifier: BSD-2-Clause */
/* Data move when a request ends, not when it is submitted: whoever touches them meanwhile, or frees
 * them, is found out. */
#include "fault_blkdev.h"

static u64 bytes_of(const struct blk_request *rq)
{
	u64 bytes = 0;

	for (u32 i = 0; i < rq->nr_segments; i++)
		bytes += rq->segments[i].bytes;
	return bytes;
}

static bool must_fail(struct fault_blkdev *f, const struct blk_request *rq)
{
	u64 end = rq->disk_sector + bytes_of(rq) / SECTOR_SIZE;

	for (u32 i = 0; i < FAULT_RANGES; i++) {
		struct fault_range *r = &f->ranges[i];

		if (!r->times || end <= r->start || r->end <= rq->disk_sector)
			continue;
		if (rq->op == BLK_FLUSH || !(rq->op == BLK_READ ? r->reads : r->writes))
			continue;
		r->times--;
		return true;
	}
	return false;
}

static void move_data(struct fault_blkdev *f, const struct blk_request *rq)
{
	u8 *at = f->data + rq->disk_sector * SECTOR_SIZE;

	for (u32 i = 0; i < rq->nr_segments; i++) {
		void *memory = host_virt(rq->segments[i].at.v);

		if (rq->op == BLK_READ)
			memcpy(memory, at, rq->segments[i].bytes);
		else
			memcpy(at, memory, rq->segments[i].bytes);
		at += rq->segments[i].bytes;
	}
}

static void end(struct fault_blkdev *f, struct blk_request *rq)
{
	int status = must_fail(f, rq) ? -EIO : 0;

	if (status == 0)
		move_data(f, rq);
	f->nr_ended++;
	if (rq->op == BLK_FLUSH)
		f->unflushed = 0;
	else
		f->unflushed += rq->op == BLK_WRITE;
	blkdev_finish(rq, status);
}

static int submit(struct blkdev *dev, struct blk_request *rq)
{
	struct fault_blkdev *f = container_of(dev, struct fault_blkdev, dev);

	f->nr_submits++;
	if (f->nr_pending == dev->max_inflight ||
	    (f->busy_every && f->nr_submits % f->busy_every == 0))
		return -EAGAIN;
	if (f->at_once)
		end(f, rq);
	else
		f->pending[f->nr_pending++] = rq;
	return 0;
}

void fault_blkdev_init(struct fault_blkdev *f, const char *name, u64 bytes)
{
	*f = (struct fault_blkdev){
		.dev = {.name = name, .nr_sectors = bytes / SECTOR_SIZE, .max_segments = 32,
			.max_inflight = FAULT_INFLIGHT, .submit = submit},
		.data = calloc(1, bytes), .rng = rng_seeded(1),
	};
	assert_non_null(f->data);
}

void fault_blkdev_free(struct fault_blkdev *f)
{
	assert_int_equal(f->nr_pending, 0);
	free(f->data);
}

void fault_blkdev_fail(struct fault_blkdev *f, u64 start, u64 end_sector, bool reads, bool writes,
		       u32 times)
{
	for (u32 i = 0; i < FAULT_RANGES; i++) {
		if (f->ranges[i].times)
			continue;
		f->ranges[i] = (struct fault_range){start, end_sector, reads, writes, times};
		return;
	}
	fail_msg("more than %u ranges that fail", FAULT_RANGES);
}

u32 fault_blkdev_run(struct fault_blkdev *f, u32 n)
{
	u32 ended = 0;

	for (; ended < n && f->nr_pending; ended++) {
		u32 i = f->reorder ? rng_below(&f->rng, f->nr_pending) : 0;
		struct blk_request *rq = f->pending[i];

		f->nr_pending--;
		memmove(&f->pending[i], &f->pending[i + 1],
			(f->nr_pending - i) * sizeof(f->pending[0]));
		end(f, rq);
	}
	return ended;
}
