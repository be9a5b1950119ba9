/* SPDX-License-Identifier: BSD-2-Clause */
/* Every field is foreign: it is compared before it is used. */
#include "lib/gpt.h"

#include "lib/blkdev.h"
#include "lib/check.h"
#include "lib/crc32.h"
#include "lib/string.h"

#define REVISION_1   0x00010000u
#define HEADER_BYTES 92 /* that are defined; a header may be longer */
#define ENTRY_BYTES  128
#define MAX_ENTRIES  256

struct header {
	char signature[8];
	u32 revision, bytes, crc, zero;
	u64 own_sector, other_sector, first_usable, last_usable;
	u8 disk_guid[16];
	u64 entries_sector;
	u32 nr_entries, entry_bytes, entries_crc;
} packed;
static_assert(sizeof(struct header) == HEADER_BYTES, "it is on disks");

struct entry {
	u8 type[16], guid[GUID_BYTES];
	u64 first, last;
	u64 attributes;
	u16 name[36]; /* UTF-16 */
};
static_assert(sizeof(struct entry) == ENTRY_BYTES, "it is on disks");

/* GPT_NEAP_TYPE as it is on disks: the first three fields are little endian. */
static const u8 neap_type[16] = {
	0x3e, 0x5c, 0x9d, 0x0a, 0x51, 0x7e, 0x6f, 0x4b, 0x9a, 0x37, 'N', 'e', 'a', 'p', 'S', 'W',
};
static const u8 no_type[16];

static bool header_is_good(const u8 *sector, const struct header *h)
{
	static const u8 zero[4];
	u32 crc;

	if (h->revision != REVISION_1 || h->bytes < HEADER_BYTES || h->bytes > SECTOR_SIZE ||
	    h->own_sector != 1)
		return false;
	/* The CRC is made with its own field as zero. */
	crc = crc32(0, sector, offsetof(struct header, crc));
	crc = crc32(crc, zero, sizeof(zero));
	return h->crc == crc32(crc, sector + offsetof(struct header, zero),
			       h->bytes - offsetof(struct header, zero));
}

static void entry_read(const struct gpt *g, u32 index, struct entry *out)
{
	memcpy(out, g->entries + (size_t)index * g->entry_bytes, sizeof(*out));
}

static bool entry_is_used(const struct entry *e)
{
	return memcmp(e->type, no_type, sizeof(no_type)) != 0;
}

/* partitions_are_good - each inside what is usable, none over another. */
static bool partitions_are_good(const struct gpt *g)
{
	struct entry a, b;

	for (u32 i = 0; i < g->nr_entries; i++) {
		entry_read(g, i, &a);
		if (!entry_is_used(&a))
			continue;
		if (a.first < g->usable_start || a.last < a.first || a.last >= g->usable_end)
			return false;
		for (u32 j = 0; j < i; j++) {
			entry_read(g, j, &b);
			if (entry_is_used(&b) && a.first <= b.last && b.first <= a.last)
				return false;
		}
	}
	return true;
}

int gpt_open(const u8 *head, size_t head_bytes, u64 nr_sectors, struct gpt *out)
{
	struct header h;
	u64 at, bytes;

	if (head_bytes < 2 * SECTOR_SIZE)
		return -ENOENT;
	memcpy(&h, head + SECTOR_SIZE, sizeof(h));
	if (memcmp(h.signature, "EFI PART", sizeof(h.signature)))
		return -ENOENT;
	if (!header_is_good(head + SECTOR_SIZE, &h))
		return trace(-EINVAL);
	if (h.nr_entries > MAX_ENTRIES || h.entry_bytes < ENTRY_BYTES || h.entry_bytes > SECTOR_SIZE ||
	    h.entry_bytes % ENTRY_BYTES)
		return trace(-EINVAL);
	bytes = (u64)h.nr_entries * h.entry_bytes;
	if (h.entries_sector < 2 || h.entries_sector > head_bytes / SECTOR_SIZE)
		return trace(-EINVAL);
	at = h.entries_sector * SECTOR_SIZE;
	if (bytes > head_bytes - at || crc32(0, head + at, bytes) != h.entries_crc)
		return trace(-EINVAL);
	/* The table itself is not usable space. */
	if (h.first_usable < (at + bytes + SECTOR_SIZE - 1) / SECTOR_SIZE ||
	    h.last_usable < h.first_usable || h.last_usable >= nr_sectors)
		return trace(-EINVAL);
	*out = (struct gpt){
		.entries = head + at, .nr_entries = h.nr_entries, .entry_bytes = h.entry_bytes,
		.usable_start = h.first_usable, .usable_end = h.last_usable + 1,
	};
	return partitions_are_good(out) ? 0 : trace(-EINVAL);
}

bool gpt_partition(const struct gpt *g, u32 index, struct gpt_partition *out)
{
	struct entry e;

	if (index >= g->nr_entries)
		return false;
	entry_read(g, index, &e);
	if (!entry_is_used(&e))
		return false;
	*out = (struct gpt_partition){
		.start = e.first, .end = e.last + 1,
		.neap = !memcmp(e.type, neap_type, sizeof(neap_type)),
	};
	memcpy(out->guid, e.guid, GUID_BYTES);
	for (u32 i = 0; i < ARRAY_SIZE(e.name) && e.name[i]; i++)
		out->name[i] = e.name[i] >= 0x20 && e.name[i] < 0x7f ? (char)e.name[i] : '?';
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20; /* lower case */
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int guid_parse(const char *text, size_t nr, u8 guid[GUID_BYTES])
{
	static const u8 place[GUID_BYTES] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

	if (nr != 2 * GUID_BYTES + 4)
		return trace(-EINVAL);
	for (u32 i = 0; i < GUID_BYTES; i++, text += 2) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return trace(-EINVAL);
		int high = hex_digit(text[0]), low = hex_digit(text[1]);
		if (high < 0 || low < 0)
			return trace(-EINVAL);
		guid[place[i]] = (u8)(high << 4 | low);
	}
	return 0;
}
