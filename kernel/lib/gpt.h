/* SPDX-License-Identifier: BSD-2-Clause */
/* GUID partition tables, read only. Neap swaps to partitions of its own type alone, and lends guests those
 * that the operator names; a table with anything wrong in it is not used at all.
 * Source: UEFI specification, "GUID Partition Table (GPT) Disk Layout". */
#pragma once

#include "lib/types.h"

/* The type of a partition that is a Neap swap area. In sgdisk's words:
 *
 *	sgdisk --new=1:0:+512M --typecode=1:0a9d5c3e-7e51-4b6f-9a37-4e6561705357 DISK */
#define GPT_NEAP_TYPE "0a9d5c3e-7e51-4b6f-9a37-4e6561705357"

#define GPT_NAME_BYTES 37
#define GUID_BYTES     16

struct gpt {
	const u8 *entries; /* in the caller's buffer */
	u32 nr_entries;
	u32 entry_bytes;
	u64 usable_start, usable_end; /* sectors */
};

struct gpt_partition {
	u64 start, end; /* sectors of the disk, half-open */
	bool neap;      /* of Neap's type */
	u8 guid[GUID_BYTES]; /* its own, as on the disk */
	char name[GPT_NAME_BYTES]; /* printable ASCII, '?' for the rest */
};

/* gpt_open - find and check the table at the start of a disk of @nr_sectors sectors of 512 bytes, of
 * which @head holds the first @head_bytes.
 * => @out points into @head
 * Return 0; -ENOENT: there is none; -EINVAL: there is one, and it is damaged, has partitions that
 * overlap or leave the disk, or is larger than @head. */
int must_check gpt_open(const u8 *head, size_t head_bytes, u64 nr_sectors, struct gpt *out);

/* gpt_partition - entry @index. Return false if it is not in use, or past the last. */
bool gpt_partition(const struct gpt *g, u32 index, struct gpt_partition *out);

/* guid_parse - the @nr characters at @text, xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in either case, as a
 * GUID on a disk. Return 0; -EINVAL. */
int must_check guid_parse(const char *text, size_t nr, u8 guid[GUID_BYTES]);
