/* SPDX-License-Identifier: BSD-2-Clause */
/* The block-device interface: what a driver offers and the swap layer uses.
 *
 * A request is a run of sectors and the frames that hold its bytes; it is submitted, and some time
 * later ->done is called, once, with its result. Several requests may be in flight; they may finish
 * in any order. Who submits must not touch the request or free its frames before ->done.
 *
 * A partition is a blkdev over its disk; a disk's driver never hears of partitions.
 *
 * Invariants
 *  I1. (N12) All requests pass blkdev_submit. A write reaches a driver only if it lies in the
 *      writable area of the device it was submitted to. That area is empty until blkdev_open_area,
 *      which is for block/disk.c alone: when it has just verified that the area is Neap's, or for a
 *      guest's partition, which the operator named by its own GUID and said `rw` of.
 *  I2. No request that a driver sees leaves its disk, and none that was submitted to a partition
 *      leaves that partition.
 *
 * Locking: devices are added at boot, by one thread, and never go. [a] atomic, [o] set once. */
#pragma once

#include "lib/types.h"

#define SECTOR_SIZE 512

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH };

struct blk_segment {
	hpa_t at;  /* a multiple of 512, not crossing a page */
	u32 bytes; /* a multiple of 512 */
};

struct blkdev;

struct blk_request {
	enum blk_op op;
	u64 sector;
	u32 nr_segments; /* BLK_FLUSH: 0 */
	struct blk_segment *segments;
	int status; /* set before done(): 0 or -EIO */
	/* done - it has ended. The request is the submitter's again, and may be gone when done
	 * returns. May be called before blkdev_submit has returned.
	 * => interrupt context or interrupts off: may not sleep, may not submit */
	void (*done)(struct blk_request *rq);
	void *owner;
	/* Filled by blkdev_submit. */
	struct blkdev *dev;
	u64 disk_sector; /* as the disk counts: drivers use this, not ->sector */
};

struct disk_content;

struct blkdev {
	const char *name;
	u64 nr_sectors;   /* [o] */
	u32 max_segments; /* [o] of one request */
	u32 max_inflight; /* [o] */
	bool read_only;   /* [o] */
	/* submit - start @rq, which blkdev_submit has judged. NULL in partitions.
	 * => any thread context, interrupts on; never sleeps; ends in blkdev_finish
	 * Return 0; -EAGAIN if max_inflight are under way; -EIO if the device is gone. */
	int must_check (*submit)(struct blkdev *dev, struct blk_request *rq);

	struct blkdev *disk; /* [o] a partition's disk; NULL: it is a disk itself */
	u64 first_sector;    /* [o] a partition's, on its disk */

	u64 writable_start, writable_end; /* [a] sectors; empty unless start < end (I1) */
	const struct disk_content *content; /* [o] what the scan found; NULL before */
	u64 reads, writes, flushes, errors; /* [a] requests */
	u32 inflight;                       /* [a] requests */
	struct blkdev *next;                /* [o] */
};

/* blkdev_check - may @rq be submitted to @dev as things are now?
 * Return 0; -EINVAL if it is malformed or leaves the device; -EPERM for a write, or a flush, of what
 * is not open for writing. */
int must_check blkdev_check(const struct blkdev *dev, const struct blk_request *rq);

/* blkdev_submit - the one way to a disk. A write outside the writable area is a panic (N12): our own
 * invariant is broken, and somebody's data are next.
 * => thread context, interrupts on, no lock held that rq->done takes; never sleeps
 * Return 0: rq->done will be called, or was; -EAGAIN if max_inflight are under way, -EINVAL,
 * -EIO: it will not. */
int must_check blkdev_submit(struct blkdev *dev, struct blk_request *rq);

/* blkdev_finish - for drivers: @rq has ended with @status (0 or -EIO). => as rq->done */
void blkdev_finish(struct blk_request *rq, int status);

/* blkdev_open_area - let writes to sectors [@start, @end) of @dev pass. => one area at a time; the
 * caller knows that it is Neap's, or meant to be written (I1)
 * blkdev_close_area - let none pass any more. => the caller has no write under way */
void blkdev_open_area(struct blkdev *dev, u64 start, u64 end);
void blkdev_close_area(struct blkdev *dev);

static inline bool blkdev_is_open(const struct blkdev *dev)
{
	return READ_ONCE(dev->writable_end) != 0;
}

/* blkdev_add - make @dev known; a partition after its disk. => boot, one thread; lives for ever */
void blkdev_add(struct blkdev *dev);
/* blkdev_next - all devices in the order of adding; NULL begins and ends. */
struct blkdev *blkdev_next(const struct blkdev *dev);
