/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk in memory: for tests, and where a board has none. A request ends before blkdev_submit
 * returns. What was never written reads as zeros and takes no memory. */
#pragma once

#include "lib/blkdev.h"

struct page;

#define RAMDISK_PAGES 4096 /* at most */

struct ramdisk {
	struct blkdev dev;
	struct page *pages[RAMDISK_PAGES]; /* [a] NULL: zeros */
};

/* ramdisk_init - of @bytes, a multiple of 4096, at most RAMDISK_PAGES pages. The caller may make it
 * known by blkdev_add; then it lives for ever. */
void ramdisk_init(struct ramdisk *r, const char *name, u64 bytes);
/* ramdisk_free - give its memory back. => no request under way, not known by blkdev_add */
void ramdisk_free(struct ramdisk *r);

/* ramdisk_page - the 4096 bytes at @offset, to be filled or looked at past blkdev; NULL: no memory.
 * => thread context; takes frames */
void *ramdisk_page(struct ramdisk *r, u64 offset);
