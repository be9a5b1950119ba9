/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/lib/disk_content.c kernel/lib/gpt.c kernel/lib/swap_header.c */
/* sources: kernel/lib/crc32.c kernel/lib/format.c kernel/lib/string.c */
/* What is on a disk: a good swap area, a good partition table, or zeros, spoiled in places that the input
 * names, with checksums made right again, so that what stands behind them is reached. Only a disk whose two
 * headers are whole and alike is Neap's (N12); partitions lie on the disk and apart from each other. */
#include "fuzz.h"

#include "lib/crc32.h"
#include "lib/disk_content.h"
#include "lib/gpt.h"

#define DISK_BYTES (SWAP_MIN_BYTES + KIB(256))
#define GPT        512
#define ENTRIES    1024

static u8 disk[DISK_BYTES];
static u64 bytes; /* of it that there are */

static const u8 neap_type[16] = {
	0x3e, 0x5c, 0x9d, 0x0a, 0x51, 0x7e, 0x6f, 0x4b, 0x9a, 0x37, 'N', 'e', 'a', 'p', 'S', 'W',
};

static u64 tail_at(void)
{
	return swap_area_bytes(bytes) - SWAP_HEADER_BYTES;
}

static void put(u64 at, u64 value, u32 nr)
{
	memcpy(disk + at, &value, nr);
}

static void make_swap(void)
{
	static const u8 uuid[UUID_BYTES] = {1, 2, 3};

	swap_header_make(disk, uuid, swap_area_bytes(bytes));
	swap_header_make(disk + tail_at(), uuid, swap_area_bytes(bytes));
}

static void make_gpt(struct input *in)
{
	u64 sectors = bytes / 512;

	memcpy(disk + GPT, "EFI PART", 8);
	put(GPT + 8, 0x10000, 4);
	put(GPT + 12, 92, 4);
	put(GPT + 24, 1, 8);
	put(GPT + 32, sectors - 1, 8);
	put(GPT + 40, 34, 8);
	put(GPT + 48, sectors - 34, 8);
	put(GPT + 72, 2, 8);
	put(GPT + 80, 128, 4);
	put(GPT + 84, 128, 4);
	for (u64 i = 0, at = 34; i < take_below(in, 4) + 1; i++) {
		u64 end = at + take(in, 1);

		memcpy(disk + ENTRIES + i * 128, neap_type, 16);
		put(ENTRIES + i * 128 + 32, at, 8);
		put(ENTRIES + i * 128 + 40, end, 8);
		put(ENTRIES + i * 128 + 56, take(in, 4), 4);
		at = end + 1;
	}
}

static void crc_gpt(void)
{
	u64 nr = 0, each = 0, table = 0;

	memcpy(&table, disk + GPT + 72, 8);
	memcpy(&nr, disk + GPT + 80, 4);
	memcpy(&each, disk + GPT + 84, 4);
	if (table < bytes / 512 && nr * each <= bytes - table * 512)
		put(GPT + 88, crc32(0, disk + table * 512, nr * each), 4);
	put(GPT + 16, 0, 4);
	put(GPT + 16, crc32(0, disk + GPT, 92), 4);
}

static void crc_swap(u64 at)
{
	put(at + 4092, crc32(0, disk + at, 4092), 4);
}

static void spoil(struct input *in)
{
	static const struct {
		u32 at;
		const char *mark;
	} marks[] = {{0, "XFSB"}, {3, "NTFS    "}, {1080, "\x53\xef"}, {510, "\x55\xaa"}, {4086, "SWAPSPACE2"},
		     {32769, "CD001"}, {65600, "_BHRfS_M"}, {512, "LABELONE"}, {450, "\xee"}, {450, "\x83"}};
	u32 which = take_below(in, 8), nr = 1u << take_below(in, 4), at;

	switch (which) {
	case 0: crc_gpt(); break;
	case 1: crc_swap(0); break;
	case 2: crc_swap(tail_at()); break;
	case 3: put(GPT + take_below(in, 92), take(in, nr), nr); break;
	case 4: put(ENTRIES + take_below(in, 512), take(in, nr), nr); break;
	case 5: put((take(in, 1) & 1 ? tail_at() : 0) + take_below(in, 56), take(in, nr), nr); break;
	case 6:
		at = take_below(in, ARRAY_SIZE(marks));
		memcpy(disk + marks[at].at, marks[at].mark, strlen(marks[at].mark));
		break;
	default: put(take(in, 3) % (bytes - 8), take(in, nr), nr);
	}
}

static void check_gpt(const u8 *head, size_t head_bytes)
{
	struct gpt_partition p, q;
	struct gpt g;

	if (gpt_open(head, head_bytes, bytes / 512, &g))
		return;
	CHECK(g.entries >= head && (u64)g.nr_entries * g.entry_bytes <= (u64)(head + head_bytes - g.entries),
	      "entries outside");
	for (u32 i = 0; i < g.nr_entries + 2; i++) {
		if (!gpt_partition(&g, i, &p))
			continue;
		CHECK(i < g.nr_entries && p.start < p.end && p.end <= bytes / 512, "partition %u is %lu to %lu",
		      i, p.start, p.end);
		CHECK(memchr(p.name, 0, sizeof(p.name)), "a name without an end");
		for (u32 j = 0; j < MIN(i, 8u); j++)
			CHECK(!gpt_partition(&g, j, &q) || q.end <= p.start || p.end <= q.start,
			      "%u and %u overlap", i, j);
	}
}

/* Neap's: by the words of swap_header.h. */
static void check_swap(void)
{
	struct swap_header first, last;

	memcpy(&first, disk, sizeof(first));
	memcpy(&last, disk + tail_at(), sizeof(last));
	CHECK(!memcmp(&first, &last, sizeof(first)), "the headers differ");
	CHECK(!memcmp(first.magic, "Neap swap area\n\x1a", 16) && first.version == 1, "not the mark");
	CHECK(first.crc == crc32(0, &first, 4092) && first.length == swap_area_bytes(bytes), "crc or length");
}

static void identify(bool partition, bool neap_type_of)
{
	struct disk_view v = {.bytes = bytes, .partition = partition, .neap_type = neap_type_of};
	struct disk_content c = {0};
	char text[128];

	v.head_bytes = MIN(bytes, DISK_HEAD_BYTES);
	v.tail_bytes = bytes - tail_at();
	u8 *head = malloc(v.head_bytes), *tail = malloc(v.tail_bytes);
	memcpy(head, disk, v.head_bytes);
	memcpy(tail, disk + tail_at(), v.tail_bytes);
	v.head = head;
	v.tail = tail;
	disk_identify(&v, &c);
	if (c.kind == DISK_SWAP)
		check_swap();
	CHECK(disk_content_text(&c, text, sizeof(text)) == text && memchr(text, 0, sizeof(text)), "no text");
	check_gpt(head, v.head_bytes);
	free(head);
	free(tail);
}

void fuzz_one(struct input *in)
{
	static const u64 sizes[] = {DISK_BYTES, SWAP_MIN_BYTES, KIB(200), KIB(72), SWAP_MIN_BYTES + 512};
	u8 how = take(in, 1);

	bytes = sizes[take_below(in, ARRAY_SIZE(sizes))];
	memset(disk, 0, sizeof(disk));
	if (how & 1)
		make_swap();
	if (how & 2)
		make_gpt(in);
	if (how & 4)
		crc_gpt();
	while (input_left(in))
		spoil(in);
	identify(how & 8, how & 16);
}
