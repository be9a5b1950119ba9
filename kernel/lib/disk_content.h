/* SPDX-License-Identifier: BSD-2-Clause */
/* What is on this disk, or in this partition? Decided from its first and last bytes. Neap touches
 * only what this names DISK_SWAP, and only after it has looked once more (block/disk.c). */
#pragma once

#include "lib/swap_header.h"

enum disk_kind {
	DISK_UNREADABLE,   /* an I/O error, or too small to hold anything */
	DISK_SWAP,         /* a Neap swap area, good at both ends */
	DISK_SWAP_DAMAGED, /* it was one, or is of a later version: not used */
	DISK_GPT,          /* a partition table: its partitions are looked at each by itself */
	DISK_FOREIGN,      /* somebody else's */
	DISK_EMPTY,        /* zeros, where anything known would have its mark */
	DISK_UNKNOWN,      /* something without a mark that we know */
};

struct disk_content {
	enum disk_kind kind;
	const char *what;     /* DISK_SWAP_DAMAGED: why; DISK_FOREIGN: the name of the mark */
	u8 uuid[UUID_BYTES];  /* DISK_SWAP */
};

/* As much of the start as decides: btrfs has its mark at 64 KiB. */
#define DISK_HEAD_BYTES KIB(68)
/* The last header of a swap area and what may stand behind it, on a disk whose size is no multiple of
 * 4 KiB: the backup of a GPT. */
#define DISK_TAIL_BYTES KIB(8)

struct disk_view {
	u64 bytes;        /* size of the disk or partition */
	const u8 *head;
	size_t head_bytes; /* MIN(bytes, DISK_HEAD_BYTES) */
	const u8 *tail;    /* from swap_area_bytes(bytes) - SWAP_HEADER_BYTES to the end */
	size_t tail_bytes;
	bool partition;    /* of a GPT */
	bool neap_type;    /* and of Neap's type */
};

/* disk_identify - => bytes is at least SWAP_HEADER_BYTES; touches nothing but the view */
void disk_identify(const struct disk_view *v, struct disk_content *out);

/* disk_content_text - in words, for a line. Return @buf. */
const char *disk_content_text(const struct disk_content *c, char *buf, size_t size);
