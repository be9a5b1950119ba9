/* SPDX-License-Identifier: BSD-2-Clause */
/* The block-device interface: what a driver offers and the swap layer uses.
 *
 * A request is a run of sectors and the frames that hold its bytes; it is submitted, and some time
 * later ->done is called, once, with its result. Several requests may be in flight; they may finish
 * in any order. Who submits must not touch the request or free its frames before ->done. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define SECTOR_SIZE 512

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH };

struct blk_segment {
	hpa_t at;  /* a multiple of 512, not crossing a page */
	u32 bytes; /* a multiple of 512 */
};

struct blk_request {
	enum blk_op op;
	u64 sector;
	u32 nr_segments;
	struct blk_segment *segments;
	int status; /* set before done(): 0 or -EIO */
	/* done - => interrupt context: may not sleep, may not submit */
	void (*done)(struct blk_request *rq);
	void *owner;
};

struct blkdev {
	const char *name;
	u64 nr_sectors;
	u32 max_segments; /* of one request */
	u32 max_inflight;
	bool read_only;
	/* submit - start @rq. => any thread context, never sleeps
	 * Return 0; -EAGAIN if max_inflight are under way; -EINVAL past the end or read-only. */
	int must_check (*submit)(struct blkdev *dev, struct blk_request *rq);
};
