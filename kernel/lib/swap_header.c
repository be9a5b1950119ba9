/* SPDX-License-Identifier: BSD-2-Clause */
/* Judging swap headers. Pure: the bytes are foreign until they have passed. */
#include "lib/swap_header.h"

#include "lib/crc32.h"
#include "lib/string.h"

static const u8 magic[16] = "Neap swap area\n\x1a";

#define CRC_BYTES offsetof(struct swap_header, crc)

enum swap_header_state swap_header_judge(const void *block, u64 device_bytes)
{
	struct swap_header h; /* @block may be unaligned */

	memcpy(&h, block, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)))
		return SWAP_HEADER_NONE;
	if (h.version != SWAP_VERSION)
		return SWAP_HEADER_VERSION;
	if (crc32(0, &h, CRC_BYTES) != h.crc || h.header_bytes != SWAP_HEADER_BYTES)
		return SWAP_HEADER_CRC;
	if (h.length < SWAP_MIN_BYTES || h.length != swap_area_bytes(device_bytes))
		return SWAP_HEADER_LENGTH;
	return SWAP_HEADER_GOOD;
}

const char *swap_headers_mismatch(const void *first, const void *last, u64 device_bytes)
{
	static const char *const bad[][2] = {
		[SWAP_HEADER_NONE] = {"no header at its start", "no header at its end"},
		[SWAP_HEADER_VERSION] = {"version unknown", "version unknown"},
		[SWAP_HEADER_CRC] = {"wrong CRC in its first header", "wrong CRC in its last header"},
		[SWAP_HEADER_LENGTH] = {"made for another size", "made for another size"},
	};
	enum swap_header_state a = swap_header_judge(first, device_bytes);
	enum swap_header_state b = swap_header_judge(last, device_bytes);

	/* A disk that was grown or cut has no header at its end: its size is the better word. */
	if (a != SWAP_HEADER_GOOD && (a != SWAP_HEADER_NONE || b == SWAP_HEADER_GOOD))
		return bad[a][0];
	if (b != SWAP_HEADER_GOOD)
		return bad[b][1];
	return memcmp(first, last, SWAP_HEADER_BYTES) ? "its headers differ" : NULL;
}

void swap_header_make(void *block, const u8 uuid[UUID_BYTES], u64 length)
{
	struct swap_header *h = block;

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, magic, sizeof(magic));
	h->version = SWAP_VERSION;
	h->header_bytes = SWAP_HEADER_BYTES;
	memcpy(h->uuid, uuid, UUID_BYTES);
	h->length = length;
	h->crc = crc32(0, h, CRC_BYTES);
}

void uuid_text(char text[UUID_TEXT_BYTES], const u8 uuid[UUID_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (u32 i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[uuid[i] >> 4];
		*text++ = digits[uuid[i] & 15];
	}
	*text = 0;
}
