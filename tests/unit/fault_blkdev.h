/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk for host tests that does what real ones do now and then: it answers late, in another order,
 * and with errors, sector by sector. Requests end when the test says so, by fault_blkdev_run. */
#pragma once

#include "host.h"

#include "lib/blkdev.h"

#define FAULT_INFLIGHT 32
#define FAULT_RANGES   8

struct fault_range {
	u64 start, end; /* sectors */
	bool reads, writes;
	u32 times;      /* errors left; 0: the range is free */
};

struct fault_blkdev {
	struct blkdev dev;
	u8 *data;
	struct blk_request *pending[FAULT_INFLIGHT]; /* in the order of submitting */
	u8 *early_data[FAULT_INFLIGHT]; /* of each: NULL, or what a write is to write */
	u32 nr_pending;
	struct fault_range ranges[FAULT_RANGES];
	bool at_once;  /* requests end before submit returns */
	bool reorder;  /* ends are drawn by chance */
	u32 early;     /* per cent of the writes whose data are taken when they are submitted */
	u32 busy_every; /* each @k-th submit is -EAGAIN; 0: none but when full */
	u32 nr_submits;
	u64 unflushed; /* writes that have ended since the last flush did */
	u64 nr_ended;
	struct rng rng;
	pthread_mutex_t lock; /* of all above: several threads may submit and run */
};

/* fault_blkdev_init - of @bytes, all zeros; may not be written before blkdev_open_area. */
void fault_blkdev_init(struct fault_blkdev *f, const char *name, u64 bytes);
void fault_blkdev_free(struct fault_blkdev *f);

/* fault_blkdev_fail - the next @times requests that touch sectors [@start, @end) fail; a write that
 * fails changes nothing. */
void fault_blkdev_fail(struct fault_blkdev *f, u64 start, u64 end, bool reads, bool writes, u32 times);

/* fault_blkdev_run - end up to @n pending requests; returns how many. => no lock that their ends take */
u32 fault_blkdev_run(struct fault_blkdev *f, u32 n);
