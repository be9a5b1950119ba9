/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/swap_header.c kernel/lib/disk_content.c kernel/lib/gpt.c kernel/lib/crc32.c
 * kernel/lib/format.c kernel/lib/string.c */
/* What is on a disk: Neap's own mark is taken only when all of it is right, and everybody else's has a
 * name. */
#include "host.h"

#include "lib/crc32.h"
#include "lib/disk_content.h"

#define DISK_BYTES MIB(2)

static const u8 uuid[UUID_BYTES] = {0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* A disk of up to DISK_BYTES; its ends are copied to buffers of their exact size, for the sanitizer. */
static u8 *disk;
static u64 disk_bytes;

static int setup(void **state)
{
	host_reset(state);
	free(disk);
	disk_bytes = DISK_BYTES;
	disk = calloc(1, DISK_BYTES);
	return disk ? 0 : -1;
}

static struct swap_header *first(void)
{
	return (struct swap_header *)disk;
}

static struct swap_header *last(void)
{
	return (struct swap_header *)(disk + swap_area_bytes(disk_bytes) - SWAP_HEADER_BYTES);
}

static void mark(void)
{
	swap_header_make(first(), uuid, swap_area_bytes(disk_bytes));
	swap_header_make(last(), uuid, swap_area_bytes(disk_bytes));
}

static void crc_again(struct swap_header *h)
{
	h->crc = crc32(0, h, offsetof(struct swap_header, crc));
}

static struct disk_content identify_as(bool partition, bool neap_type)
{
	u64 tail = swap_area_bytes(disk_bytes) - SWAP_HEADER_BYTES;
	struct disk_view v = {.bytes = disk_bytes, .partition = partition, .neap_type = neap_type};
	struct disk_content c = {0};
	u8 *head, *end;

	v.head_bytes = MIN(disk_bytes, DISK_HEAD_BYTES);
	v.tail_bytes = disk_bytes - tail;
	v.head = head = malloc(v.head_bytes);
	v.tail = end = malloc(v.tail_bytes);
	memcpy(head, disk, v.head_bytes);
	memcpy(end, disk + tail, v.tail_bytes);
	disk_identify(&v, &c);
	free(head);
	free(end);
	return c;
}

static struct disk_content identify(void)
{
	return identify_as(false, false);
}

static void expect_foreign(const char *what)
{
	struct disk_content c = identify();

	assert_int_equal(c.kind, DISK_FOREIGN);
	assert_string_equal(c.what, what);
}

static void expect_damaged(const char *why)
{
	struct disk_content c = identify();

	assert_int_equal(c.kind, DISK_SWAP_DAMAGED);
	assert_string_equal(c.what, why);
}

static void marked_disk_is_swap(void **state)
{
	char text[128];
	struct disk_content c;

	(void)state;
	mark();
	c = identify();
	assert_int_equal(c.kind, DISK_SWAP);
	assert_memory_equal(c.uuid, uuid, UUID_BYTES);
	assert_string_equal(disk_content_text(&c, text, sizeof(text)),
			    "Neap swap area deadbeef-0102-0304-0506-0708090a0b0c");
}

static void size_need_not_be_whole_pages(void **state)
{
	(void)state;
	for (disk_bytes = DISK_BYTES - 4096 + 512; disk_bytes < DISK_BYTES; disk_bytes += 512) {
		memset(disk, 0, DISK_BYTES);
		mark();
		assert_int_equal(identify().kind, DISK_SWAP);
	}
}

/* What a guest has written to its pages must not make the next boot doubt whose area it is. */
static void pages_of_guests_do_not_unmark_it(void **state)
{
	(void)state;
	mark();
	memcpy(disk + 65600, "_BHRfS_M", 8);
	memcpy(disk + 8182, "SWAPSPACE2", 10);
	assert_int_equal(identify().kind, DISK_SWAP);
}

static void partition_must_be_of_neaps_type(void **state)
{
	struct disk_content c;

	(void)state;
	mark();
	assert_int_equal(identify_as(true, true).kind, DISK_SWAP);
	c = identify_as(true, false);
	assert_int_equal(c.kind, DISK_SWAP_DAMAGED);
	assert_string_equal(c.what, "in a partition that is not of Neap's type");
}

static void each_flipped_bit_is_seen(void **state)
{
	u32 step = 13;

	(void)state;
	mark();
	for (u32 bit = 0; bit < SWAP_HEADER_BYTES * 8; bit += step)
		for (int end = 0; end < 2; end++) {
			u8 *h = (u8 *)(end ? last() : first());

			h[bit / 8] ^= 1 << bit % 8;
			assert_int_not_equal(identify().kind, DISK_SWAP);
			h[bit / 8] ^= 1 << bit % 8;
		}
	assert_int_equal(identify().kind, DISK_SWAP);
}

static void damage_is_named(void **state)
{
	(void)state;
	mark();
	memset(first(), 0, SWAP_HEADER_BYTES);
	expect_damaged("no header at its start");
	mark();
	memset(last(), 0, SWAP_HEADER_BYTES);
	expect_damaged("no header at its end");
	mark();
	first()->zero[7] = 1;
	expect_damaged("wrong CRC in its first header");
	mark();
	last()->zero[7] = 1;
	expect_damaged("wrong CRC in its last header");
	mark();
	first()->version = last()->version = 2;
	crc_again(first());
	crc_again(last());
	expect_damaged("version unknown");
	mark();
	last()->uuid[0] ^= 1;
	crc_again(last());
	expect_damaged("its headers differ");
	mark();
	first()->header_bytes = last()->header_bytes = 512;
	crc_again(first());
	crc_again(last());
	expect_damaged("wrong CRC in its first header");
}

static void grown_or_cut_disk_is_not_taken(void **state)
{
	(void)state;
	disk_bytes = MIB(1) + 8192;
	mark();
	disk_bytes = DISK_BYTES;
	expect_damaged("made for another size");
	disk_bytes = MIB(1) + 4096;
	expect_damaged("made for another size");
	disk_bytes = 4096;
	expect_damaged("made for another size");
	disk_bytes = MIB(1) / 2; /* too small for any */
	mark();
	expect_damaged("made for another size");
}

static void foreign_marks_have_names(void **state)
{
	static const struct {
		u32 at;
		const char *mark;
		const char *name;
	} marks[] = {
		{0, "XFSB", "XFS"}, {3, "NTFS    ", "NTFS"}, {512, "LABELONE", "LVM"},
		{4086, "SWAPSPACE2", "Linux swap"}, {65526, "SWAPSPACE2", "Linux swap"},
		{65600, "_BHRfS_M", "btrfs"}, {0, "LUKS\xba\xbe", "LUKS"}, {82, "FAT32", "FAT"},
		{32769, "CD001", "ISO 9660"}, {4096, "\xfc\x4e\x2b\xa9", "Linux RAID"},
		{DISK_BYTES - 512, "EFI PART", "GPT without its first header"},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(marks); i++) {
		memset(disk, 0, DISK_BYTES);
		memcpy(disk + marks[i].at, marks[i].mark, strlen(marks[i].mark));
		expect_foreign(marks[i].name);
	}
}

static void ext_by_features(void **state)
{
	(void)state;
	memcpy(disk + 1080, "\x53\xef", 2);
	expect_foreign("ext2");
	disk[1024 + 92] = 4; /* has_journal */
	expect_foreign("ext3");
	disk[1024 + 96] = 0x42; /* filetype, extents */
	expect_foreign("ext4");
}

static void boot_sectors(void **state)
{
	(void)state;
	memcpy(disk + 510, "\x55\xaa", 2);
	expect_foreign("boot sector");
	disk[446] = 0x80;
	disk[450] = 0x83;
	expect_foreign("MBR");
	disk[450] = 0xee;
	expect_foreign("protective MBR without a GPT");
	memcpy(disk + 512, "EFI PART", 8);
	expect_foreign("damaged GPT");
}

/* Somebody made a file system where our first header was: that is what the operator must hear. */
static void reused_area_is_named_after_its_user(void **state)
{
	(void)state;
	mark();
	memset(first(), 0, SWAP_HEADER_BYTES);
	memcpy(disk + 1080, "\x53\xef", 2);
	expect_foreign("ext2");
}

static void empty_and_unknown(void **state)
{
	(void)state;
	assert_int_equal(identify().kind, DISK_EMPTY);
	disk[DISK_BYTES - 1] = 1;
	assert_int_equal(identify().kind, DISK_UNKNOWN);
	disk[DISK_BYTES - 1] = 0;
	disk[5000] = 1;
	assert_int_equal(identify().kind, DISK_UNKNOWN);
}

/* Any size, any bytes: nothing is read beyond the view, and nothing random is Neap's. */
static void random_disks(void **state)
{
	struct rng rng = rng_seeded(3);

	(void)state;
	for (u32 n = 0; n < 300; n++) {
		disk_bytes = 4096 + rng_below(&rng, 300) * 512;
		memset(disk, 0, DISK_BYTES);
		if (rng_percent(&rng, 50))
			mark();
		for (u32 i = 0; i < 50; i++)
			disk[rng_below(&rng, disk_bytes)] = rng_next(&rng);
		assert_int_not_equal(identify().kind, DISK_SWAP);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(marked_disk_is_swap, setup),
		cmocka_unit_test_setup(size_need_not_be_whole_pages, setup),
		cmocka_unit_test_setup(pages_of_guests_do_not_unmark_it, setup),
		cmocka_unit_test_setup(partition_must_be_of_neaps_type, setup),
		cmocka_unit_test_setup(each_flipped_bit_is_seen, setup),
		cmocka_unit_test_setup(damage_is_named, setup),
		cmocka_unit_test_setup(grown_or_cut_disk_is_not_taken, setup),
		cmocka_unit_test_setup(foreign_marks_have_names, setup),
		cmocka_unit_test_setup(ext_by_features, setup),
		cmocka_unit_test_setup(boot_sectors, setup),
		cmocka_unit_test_setup(reused_area_is_named_after_its_user, setup),
		cmocka_unit_test_setup(empty_and_unknown, setup),
		cmocka_unit_test_setup(random_disks, setup),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(disk);
	return failed;
}
