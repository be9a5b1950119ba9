/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk that takes its time: requests end some time after they were submitted, in any order, by a thread
 * of the disk's own. Memory is touched at the end only, as late as a disk may. A test may hold all requests
 * in flight, and make pages of the disk fail. */
#pragma once

#include "lib/blkdev.h"
#include "sched/wait.h"

#define SLOW_DISK_INFLIGHT 16u
#define SLOW_DISK_BAD      8u

struct slow_disk {
	struct blkdev dev;
	struct thread thread;
	struct wait_queue queue;
	struct spinlock lock;
	struct blk_request *waiting[SLOW_DISK_INFLIGHT]; /* [lock] */
	u32 nr_waiting;                                  /* [lock] */
	u64 random;
	void **block;   /* [o] the contents, in blocks of contiguous frames */
	bool hold;      /* [a] requests that are in flight stay so */
	bool stop;      /* [a] */
	struct {
		u64 page;       /* of the disk; 0: none */
		enum blk_op op; /* BLK_READ or BLK_WRITE fails there */
	} bad[SLOW_DISK_BAD];   /* [a] */
};

/* slow_disk_start - a disk of @bytes, a multiple of 2 MiB, that carries a Neap swap area. Takes as many
 * frames. => thread context; @d is zeroed */
void slow_disk_start(struct slow_disk *d, const char *name, u64 bytes);
/* slow_disk_stop - => no request is under way */
void slow_disk_stop(struct slow_disk *d);

/* slow_disk_hold - true: what is in flight, or will be, does not end. */
void slow_disk_hold(struct slow_disk *d, bool hold);
/* slow_disk_wait_held - until @nr requests are in flight at least. False after five seconds. */
bool slow_disk_wait_held(struct slow_disk *d, u32 nr);
/* slow_disk_fail - each @op that touches the swap slot @slot fails from now on; @op BLK_FLUSH: none does. */
void slow_disk_fail(struct slow_disk *d, u32 slot, enum blk_op op);
