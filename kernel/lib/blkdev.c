/* SPDX-License-Identifier: BSD-2-Clause */
/* What every request passes, whatever the disk: bounds, and the bound of all writes (N12). */
#include "lib/blkdev.h"

#include "lib/atomic.h"
#include "lib/check.h"

static struct blkdev *first_dev, **last_link = &first_dev;

/* count_sectors - of all segments; 0 if one of them is malformed. */
static u64 count_sectors(const struct blk_request *rq)
{
	u64 bytes = 0;

	for (u32 i = 0; i < rq->nr_segments; i++) {
		const struct blk_segment *s = &rq->segments[i];

		if (s->bytes == 0 || s->bytes % SECTOR_SIZE || s->at.v % SECTOR_SIZE ||
		    page_offset(s->at.v) + s->bytes > PAGE_SIZE)
			return 0;
		bytes += s->bytes;
	}
	return bytes / SECTOR_SIZE;
}

int blkdev_check(const struct blkdev *dev, const struct blk_request *rq)
{
	u64 nr;

	if (rq->op == BLK_FLUSH)
		return rq->nr_segments ? -EINVAL : blkdev_is_open(dev) ? 0 : -EPERM;
	if (rq->op != BLK_READ && rq->op != BLK_WRITE)
		return -EINVAL;
	if (rq->nr_segments == 0 || rq->nr_segments > dev->max_segments)
		return -EINVAL;
	nr = count_sectors(rq);
	if (nr == 0 || rq->sector >= dev->nr_sectors || nr > dev->nr_sectors - rq->sector)
		return -EINVAL;
	if (rq->op == BLK_READ)
		return 0;
	/* The range is inside the device: the sum does not overflow. */
	if (dev->read_only || rq->sector < atomic_load(&dev->writable_start) ||
	    rq->sector + nr > atomic_load(&dev->writable_end))
		return -EPERM;
	return 0;
}

int blkdev_submit(struct blkdev *dev, struct blk_request *rq)
{
	struct blkdev *disk = dev->disk ? dev->disk : dev;
	u64 *counter = rq->op == BLK_READ    ? &dev->reads
		       : rq->op == BLK_WRITE ? &dev->writes
					     : &dev->flushes;
	int err = blkdev_check(dev, rq);

	CHECK(err != -EPERM, "%s: operation %d at sector %lu is outside of the writable [%lu, %lu)",
	      dev->name, rq->op, rq->sector, dev->writable_start, dev->writable_end);
	if (err)
		return trace(err);
	rq->dev = dev;
	rq->disk_sector = rq->sector + dev->first_sector;
	/* Counted before: it may end, and be gone, before submit returns. */
	atomic_add(&dev->inflight, 1);
	err = disk->submit(disk, rq);
	if (err) {
		atomic_sub(&dev->inflight, 1);
		return err;
	}
	atomic_add(counter, 1);
	return 0;
}

void blkdev_finish(struct blk_request *rq, int status)
{
	struct blkdev *dev = rq->dev;

	ASSERT(status == 0 || status == -EIO, "%s: a request ends with %d", dev->name, status);
	atomic_sub(&dev->inflight, 1);
	if (status)
		atomic_add(&dev->errors, 1);
	rq->status = status;
	rq->done(rq);
}

void blkdev_open_area(struct blkdev *dev, u64 start, u64 end)
{
	CHECK(start < end && end <= dev->nr_sectors, "%s: area [%lu, %lu) of %lu sectors", dev->name,
	      start, end, dev->nr_sectors);
	CHECK(!blkdev_is_open(dev), "%s is open for writing already", dev->name);
	atomic_store(&dev->writable_start, start);
	atomic_store(&dev->writable_end, end);
}

void blkdev_close_area(struct blkdev *dev)
{
	atomic_store(&dev->writable_end, 0);
	atomic_store(&dev->writable_start, 0);
}

void blkdev_add(struct blkdev *dev)
{
	const struct blkdev *disk = dev->disk;

	CHECK(!disk || (!disk->disk && !dev->submit), "%s is no partition of a disk", dev->name);
	CHECK(!disk || (dev->first_sector < disk->nr_sectors &&
			dev->nr_sectors <= disk->nr_sectors - dev->first_sector),
	      "%s: %lu sectors from %lu leave the disk", dev->name, dev->nr_sectors,
	      dev->first_sector);
	CHECK(disk || dev->first_sector == 0, "%s: a disk begins at sector 0", dev->name);
	dev->next = NULL;
	*last_link = dev;
	last_link = &dev->next;
}

struct blkdev *blkdev_next(const struct blkdev *dev)
{
	return dev ? dev->next : first_dev;
}
