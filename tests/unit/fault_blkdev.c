/* SPDX-License-Identifier: BSD-2-Clause */
/* Data move when a request ends, not when it is submitted: whoever touches them meanwhile, or frees
 * them, is found out. A disk may as well take the data of a write at once: `early` of a hundred do. */
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

/* take_early - the data of a write as they are now. */
static u8 *take_early(const struct blk_request *rq)
{
	u8 *copy = malloc(bytes_of(rq)), *at = copy;

	assert_non_null(copy);
	for (u32 i = 0; i < rq->nr_segments; i++) {
		memcpy(at, host_virt(rq->segments[i].at.v), rq->segments[i].bytes);
		at += rq->segments[i].bytes;
	}
	return copy;
}

/* end - do what @rq asks; its status. => f->lock */
static int end(struct fault_blkdev *f, struct blk_request *rq, u8 *early)
{
	int status = must_fail(f, rq) ? -EIO : 0;

	if (status == 0 && early)
		memcpy(f->data + rq->disk_sector * SECTOR_SIZE, early, bytes_of(rq));
	else if (status == 0)
		move_data(f, rq);
	free(early);
	f->nr_ended++;
	if (rq->op == BLK_FLUSH)
		f->unflushed = 0;
	else
		f->unflushed += rq->op == BLK_WRITE;
	return status;
}

static int submit(struct blkdev *dev, struct blk_request *rq)
{
	struct fault_blkdev *f = container_of(dev, struct fault_blkdev, dev);
	int err = 0, status = 0;
	bool ended = false;

	pthread_mutex_lock(&f->lock);
	f->nr_submits++;
	if (f->nr_pending == dev->max_inflight ||
	    (f->busy_every && f->nr_submits % f->busy_every == 0)) {
		err = -EAGAIN;
	} else if (f->at_once) {
		status = end(f, rq, NULL);
		ended = true;
	} else {
		bool early = rq->op == BLK_WRITE && rng_percent(&f->rng, f->early);
		f->early_data[f->nr_pending] = early ? take_early(rq) : NULL;
		f->pending[f->nr_pending++] = rq;
	}
	pthread_mutex_unlock(&f->lock);
	if (ended)
		blkdev_finish(rq, status);
	return err;
}

void fault_blkdev_init(struct fault_blkdev *f, const char *name, u64 bytes)
{
	*f = (struct fault_blkdev){
		.dev = {.name = name, .nr_sectors = bytes / SECTOR_SIZE, .max_segments = 32,
			.max_inflight = FAULT_INFLIGHT, .submit = submit},
		.data = calloc(1, bytes), .rng = rng_seeded(1), .lock = PTHREAD_MUTEX_INITIALIZER,
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

	for (; ended < n; ended++) {
		pthread_mutex_lock(&f->lock);
		if (f->nr_pending == 0) {
			pthread_mutex_unlock(&f->lock);
			break;
		}
		u32 i = f->reorder ? rng_below(&f->rng, f->nr_pending) : 0;
		struct blk_request *rq = f->pending[i];
		int status = end(f, rq, f->early_data[i]);
		u32 behind = --f->nr_pending - i;

		memmove(&f->pending[i], &f->pending[i + 1], behind * sizeof(f->pending[0]));
		memmove(&f->early_data[i], &f->early_data[i + 1], behind * sizeof(f->early_data[0]));
		pthread_mutex_unlock(&f->lock);
		blkdev_finish(rq, status);
	}
	return ended;
}
