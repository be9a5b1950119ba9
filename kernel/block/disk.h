/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks as swap and guests see them: what is on each, waiting for a request, and the one door to writing (N12). */
#pragma once

#include "lib/blkdev.h"
#include "lib/compiler.h"
#include "lib/disk_content.h"
#include "lib/gpt.h"
#include "lib/types.h"

/* disk_scan - look at each disk that the drivers have found, set ->content, make the partitions of
 * GPTs known as devices vda1 and so on, and print one line each. Writes nothing.
 * => thread context, sleeps; once, at boot, after the drivers */
void disk_scan(void);

/* disk_io - submit @rq (all but ->done and ->owner filled) and wait for its end.
 * => thread context, sleeps. Return 0; -EIO; -EINVAL. */
int must_check disk_io(struct blkdev *dev, struct blk_request *rq);

/* disk_read, disk_write - the @bytes from @sector into, or from, contiguous memory at @phys, both
 * multiples of 512, in requests as large as the device takes; the memory begins at a page.
 * => thread context, sleeps. Return 0; -EIO; -EINVAL past the end. */
int must_check disk_read(struct blkdev *dev, u64 sector, u64 phys, u64 bytes);
int must_check disk_write(struct blkdev *dev, u64 sector, u64 phys, u64 bytes);

/* The pages of a swap area, between its headers; sectors of its device. */
struct disk_area {
	u64 start, end;
	u8 uuid[UUID_BYTES];
};

/* disk_open_swap - read both headers of @dev now, and if the area is Neap's, open exactly the sectors
 * between them for writing. => thread context, sleeps; one caller at a time
 * Return 0 with @area filled; -EINVAL: it is no Neap swap area, no more, or read-only; -EBUSY: it is
 * open, or another of its UUID is: one disk that is attached twice, or a copy; -EIO; -ENOMEM. */
int must_check disk_open_swap(struct blkdev *dev, struct disk_area *area);
/* disk_close_swap - no write passes any more. => none is under way */
void disk_close_swap(struct blkdev *dev);

/* disk_find_partition - the one whose own GUID is @guid. Return 0; -ENOENT; -EEXIST: two have it. */
int must_check disk_find_partition(const u8 guid[GUID_BYTES], struct blkdev **out);
/* disk_open_guest - the partition @dev is a guest's from now on, and if @rw all of it may be written.
 * disk_close_guest - no longer. => none of its requests is under way
 * => one caller at a time opens, for swap or a guest: the thread that makes VMs and serves the monitor
 * Return 0; -EINVAL: it is Neap's own, by its type or by what it holds; -EBUSY: swap or another guest
 * has it, or sectors of it; -EPERM: its disk is read-only. */
int must_check disk_open_guest(struct blkdev *dev, bool rw);
void disk_close_guest(struct blkdev *dev);
