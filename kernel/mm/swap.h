/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap as the rest of the kernel sees it: areas that come and go, and figures. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct blkdev;

/* swap_add - use the Neap swap area on @dev (N12: whatever else @dev holds is refused). @priority:
 * areas of a higher one fill first. What an earlier run left there is never read.
 * => thread context, sleeps. Return 0; errors of disk_open_swap; -ENOSPC: SWAP_AREAS are in use. */
int must_check swap_add(struct blkdev *dev, int priority);
/* swap_add_all - at boot: every device with a Neap swap area, one line each. */
void swap_add_all(void);

/* swap_off - bring everything on @dev back into memory, or to other areas, and let go of it.
 * => sleeps, long. Return 0; -ENOENT: not in use; -ENOMEM: no room, it stays in use; -EIO: pages that
 * cannot be read are left there, it stays in use; -EINTR. */
int must_check swap_off(struct blkdev *dev);
/* swap_wipe - write zeros over the area on @dev, which is not in use. @progress (may be NULL) is told
 * now and then. => sleeps, long. Return 0; -EBUSY: in use; errors of disk_open_swap; -EIO. */
int must_check swap_wipe(struct blkdev *dev, void (*progress)(u64 done_pages, u64 of));

struct swap_area_stats {
	const struct blkdev *dev;
	int priority;
	u64 pages, used, bad;
	bool going; /* swap_off is under way */
};
/* swap_area_stats - of the @i-th area in use; false after the last. */
bool swap_area_stats(u32 i, struct swap_area_stats *s);

struct swap_stats {
	u64 pages, used, used_max, bad; /* slots */
	u64 reads, writes;              /* requests */
	u64 pages_in, pages_out;        /* of them, in 4 KiB pages; readahead counts */
	u64 same_out, same_in;          /* same-filled pages: no request at all */
	u64 clean_drops;                /* pages that went without a write */
	u64 readahead, readahead_hits;
	u64 read_errors, write_errors;  /* requests */
	u32 in_flight;
};
void swap_stats(struct swap_stats *s);
