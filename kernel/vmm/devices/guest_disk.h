/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest's disk is backed by: a copy of a module in memory, or a partition.
 *
 * The copy is a region of the VM's own mm that no memslot shows: anonymous memory, charged to the VM,
 * reclaimed and swapped like its RAM, gone with it. Pages of zeros are not copied, and cost nothing
 * until they are written. So the module's frames are free again, and its file is never changed.
 *
 * A partition is named by its own GUID, and is the guest's alone as long as the VM lives
 * (disk_open_guest). Only if the operator said `rw` does a write get there.
 *
 * All data pass through one buffer of contiguous frames, allocated at the beginning, so that I/O never
 * fails for want of memory. Its owner serves one request at a time.
 *
 * Not here: requests, and the guest's memory (virtio_disk.c). */
#pragma once

#include "lib/types.h"

#define GUEST_DISK_BUFFER KIB(32)

struct blkdev;
struct mm;
struct page;
struct vm_part;

/* [o] all, between opening and closing */
struct guest_disk {
	u64 nr_sectors;
	bool read_only;
	struct blkdev *dev;  /* a partition; NULL: a region */
	u64 region;          /* hva */
	struct page *frames; /* of the buffer */
	u8 *buffer;
};

/* guest_disk_open_copy - a disk that begins as the @bytes at @file. => thread context, sleeps
 * Return 0; -ENOMEM, -EIO; then only what mm_exit takes away is left behind. */
int must_check guest_disk_open_copy(struct guest_disk *d, struct mm *mm, const void *file, u64 bytes);
/* guest_disk_open_part - the partition that @part names. => as disk_open_guest
 * Return 0, or an error with one line in @why. */
int must_check guest_disk_open_part(struct guest_disk *d, const struct vm_part *part, char *why,
				    size_t why_size);
/* guest_disk_close - => it is open, and no request is under way */
void guest_disk_close(struct guest_disk *d);

/* guest_disk_read, guest_disk_write - @bytes, up to GUEST_DISK_BUFFER, from @sector into the buffer, or
 * from it; whole sectors of the disk. guest_disk_flush - what was written will last.
 * => a thread with the VM's mm, sleeps
 * Return 0; -EIO; -ENOMEM, -EINTR as mm_fault: part of it may have been done. */
int must_check guest_disk_read(struct guest_disk *d, u64 sector, u32 bytes);
int must_check guest_disk_write(struct guest_disk *d, u64 sector, u32 bytes);
int must_check guest_disk_flush(struct guest_disk *d);
