/* SPDX-License-Identifier: BSD-2-Clause */
/* The mark that makes a piece of a disk Neap's (N12): a header of 4 KiB at each end of a swap area.
 *
 *	0        4096                                   length - 4096      length
 *	| header |  pages: the only sectors that Neap writes  |  the same header |
 *
 * A header, little endian:
 *
 *	   0  16  magic, "Neap swap area", newline, 1Ah
 *	  16   4  version, 1
 *	  20   4  bytes of a header, 4096
 *	  24  16  UUID, in the order in which it is written
 *	  40   8  length of the area in bytes, headers included: a multiple of 4096
 *	  48      zero
 *	4092   4  CRC-32 of the 4092 bytes before
 *
 * An area is Neap's only if both headers are good, are the same byte for byte, and their length is
 * the size of the disk or partition, rounded down to 4096. So a header that was copied elsewhere,
 * a disk that was grown or cut and one that somebody has begun to use otherwise are not taken.
 *
 * The kernel never writes a header; `tools/neap mkswap` does (tools/neaplib/swapdisk.py). */
#pragma once

#include "lib/types.h"

#define SWAP_HEADER_BYTES 4096
#define SWAP_VERSION      1
#define SWAP_MIN_BYTES    MIB(1)

#define UUID_BYTES      16
#define UUID_TEXT_BYTES 37 /* with the NUL */

struct swap_header {
	u8 magic[16];
	u32 version;
	u32 header_bytes;
	u8 uuid[UUID_BYTES];
	u64 length;
	u8 zero[SWAP_HEADER_BYTES - 52];
	u32 crc;
};
static_assert(sizeof(struct swap_header) == SWAP_HEADER_BYTES, "it is on disks");
static_assert(offsetof(struct swap_header, crc) == 4092, "it is on disks");

enum swap_header_state {
	SWAP_HEADER_NONE,    /* no magic */
	SWAP_HEADER_GOOD,
	SWAP_HEADER_VERSION, /* of a version that we do not know */
	SWAP_HEADER_CRC,
	SWAP_HEADER_LENGTH,  /* made for an area of another size */
};

/* swap_header_judge - look at the header at @block, of an area in @device_bytes of disk. */
enum swap_header_state swap_header_judge(const void *block, u64 device_bytes);

/* swap_headers_mismatch - NULL if both headers make the area Neap's; else why not, in words for
 * "damaged Neap swap area (...)". => at least one of them has the magic */
const char *swap_headers_mismatch(const void *first, const void *last, u64 device_bytes);

/* swap_area_bytes - the length of an area that fills a device of @device_bytes. */
static inline u64 swap_area_bytes(u64 device_bytes)
{
	return device_bytes & ~(u64)(SWAP_HEADER_BYTES - 1);
}

/* swap_header_make - fill the 4096 bytes at @block. => for tests and RAM disks */
void swap_header_make(void *block, const u8 uuid[UUID_BYTES], u64 length);

/* uuid_text - as it is usually written, xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx. */
void uuid_text(char text[UUID_TEXT_BYTES], const u8 uuid[UUID_BYTES]);
