/* SPDX-License-Identifier: BSD-2-Clause */
/* Four bits at a time: a table of 64 bytes is quick enough for headers. */
#include "lib/crc32.h"

/* The remainders of 0..15 for the reflected polynomial EDB88320h. */
static const u32 remainders[16] = {
	0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
	0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

u32 crc32(u32 crc, const void *data, size_t bytes)
{
	const u8 *at = data;

	crc = ~crc;
	for (size_t i = 0; i < bytes; i++) {
		crc ^= at[i];
		crc = crc >> 4 ^ remainders[crc & 15];
		crc = crc >> 4 ^ remainders[crc & 15];
	}
	return ~crc;
}
