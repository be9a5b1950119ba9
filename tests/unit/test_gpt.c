/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/gpt.c kernel/lib/crc32.c */
/* Partition tables: a good one gives its partitions, one with anything wrong gives none. */
#include "host.h"

#include "lib/crc32.h"
#include "lib/gpt.h"

#define HEAD_BYTES KIB(68)
#define NR_SECTORS 16384

static const u8 neap_type[16] = {
	0x3e, 0x5c, 0x9d, 0x0a, 0x51, 0x7e, 0x6f, 0x4b, 0x9a, 0x37, 'N', 'e', 'a', 'p', 'S', 'W',
};
static const u8 linux_type[16] = {
	0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
};

static u8 *head;
static struct gpt gpt;

static void put(u64 at, u64 value, u32 bytes)
{
	memcpy(head + at, &value, bytes);
}

static void seal(void)
{
	u32 nr, bytes;

	memcpy(&nr, head + 512 + 80, 4);
	memcpy(&bytes, head + 512 + 84, 4);
	put(512 + 88, crc32(0, head + 1024, MIN((u64)nr * bytes, HEAD_BYTES - 1024)), 4);
	put(512 + 16, 0, 4);
	put(512 + 16, crc32(0, head + 512, 92), 4);
}

static void entry(u32 index, const u8 *type, u64 first, u64 last)
{
	u64 at = 1024 + index * 128;

	memcpy(head + at, type, 16);
	put(at + 32, first, 8);
	put(at + 40, last, 8);
	for (u32 i = 0; i < 16; i++)
		head[at + 16 + i] = (u8)(16 * index + i);
	put(at + 56, 'a', 2);
	put(at + 58, 0x20ac, 2);
}

static int setup(void **state)
{
	host_reset(state);
	if (!head)
		head = malloc(HEAD_BYTES);
	memset(head, 0, HEAD_BYTES);
	memcpy(head + 512, "EFI PART", 8);
	put(512 + 8, 0x10000, 4);
	put(512 + 12, 92, 4);
	put(512 + 24, 1, 8);
	put(512 + 32, NR_SECTORS - 1, 8);
	put(512 + 40, 34, 8);
	put(512 + 48, NR_SECTORS - 34, 8);
	put(512 + 72, 2, 8);
	put(512 + 80, 128, 4);
	put(512 + 84, 128, 4);
	entry(0, linux_type, 2048, 4095);
	entry(2, neap_type, 4096, NR_SECTORS - 34);
	seal();
	return 0;
}

static int open_now(void)
{
	return gpt_open(head, HEAD_BYTES, NR_SECTORS, &gpt);
}

static void partitions_are_found(void **state)
{
	struct gpt_partition p;

	(void)state;
	assert_int_equal(open_now(), 0);
	assert_true(gpt_partition(&gpt, 0, &p));
	assert_false(p.neap);
	assert_int_equal(p.start, 2048);
	assert_int_equal(p.end, 4096);
	assert_string_equal(p.name, "a?");
	for (u32 i = 0; i < 16; i++)
		assert_int_equal(p.guid[i], i);
	assert_false(gpt_partition(&gpt, 1, &p));
	assert_true(gpt_partition(&gpt, 2, &p));
	assert_true(p.neap);
	assert_int_equal(p.guid[15], 0x2f);
	assert_int_equal(p.end, NR_SECTORS - 33);
	assert_false(gpt_partition(&gpt, 128, &p));
	assert_false(gpt_partition(&gpt, ~0u, &p));
}

static void no_table(void **state)
{
	(void)state;
	head[512] = 'e';
	assert_int_equal(open_now(), -ENOENT);
	assert_int_equal(gpt_open(head, 512, NR_SECTORS, &gpt), -ENOENT);
}

static void crcs_are_compared(void **state)
{
	(void)state;
	head[512 + 60] ^= 1; /* the disk's GUID */
	assert_int_equal(open_now(), -EINVAL);
	head[512 + 60] ^= 1;
	head[1024 + 60] ^= 1;
	assert_int_equal(open_now(), -EINVAL);
}

/* Fields that would lead out of the buffer or the disk, under good CRCs. */
static void wild_fields(void **state)
{
	static const struct {
		u32 at, bytes;
		u64 value;
	} wild[] = {
		{8, 4, 0x20000}, {12, 4, 91}, {12, 4, 513}, {12, 4, ~0u}, {24, 8, 2}, {40, 8, 3},
		{40, 8, ~0ull}, {48, 8, NR_SECTORS}, {48, 8, ~0ull}, {48, 8, 33}, {72, 8, 1},
		{72, 8, ~0ull}, {72, 8, 1ull << 55}, {72, 8, 136}, {80, 4, 257}, {80, 4, ~0u},
		{84, 4, 0}, {84, 4, 127}, {84, 4, 192}, {84, 4, ~0u}, {84, 4, 1024},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(wild); i++) {
		setup(NULL);
		put(512 + wild[i].at, wild[i].value, wild[i].bytes);
		seal();
		if (open_now() != -EINVAL)
			fail_msg("field %u = %#lx is taken", wild[i].at, wild[i].value);
	}
}

static void bad_partitions(void **state)
{
	(void)state;
	entry(1, linux_type, 4000, 4100); /* over two others */
	seal();
	assert_int_equal(open_now(), -EINVAL);
	entry(1, linux_type, 1024, 1023);
	seal();
	assert_int_equal(open_now(), -EINVAL);
	entry(1, linux_type, 33, 40);
	seal();
	assert_int_equal(open_now(), -EINVAL);
	setup(NULL);
	entry(2, neap_type, 4096, NR_SECTORS);
	seal();
	assert_int_equal(open_now(), -EINVAL);
	entry(2, neap_type, 4096, ~0ull);
	seal();
	assert_int_equal(open_now(), -EINVAL);
}

static int parse(const char *text, u8 guid[16])
{
	memset(guid, 0xaa, 16);
	return guid_parse(text, strlen(text), guid);
}

static void guids_are_read(void **state)
{
	static const u8 nibbles[16] = {0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd,
				       0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
	u8 guid[16];

	(void)state;
	assert_int_equal(parse(GPT_NEAP_TYPE, guid), 0);
	assert_memory_equal(guid, neap_type, 16);
	assert_int_equal(parse("0FC63DAF-8483-4772-8e79-3D69D8477DE4", guid), 0);
	assert_memory_equal(guid, linux_type, 16);
	assert_int_equal(parse("01234567-89ab-CDEF-0123-456789abcdef", guid), 0);
	assert_memory_equal(guid, nibbles, 16);
}

/* Each character by each other: what is read is 0-9, a-f, A-F, and dashes in their places. */
static void all_else_is_no_guid(void **state)
{
	static const char good[] = "01234567-89ab-CDEF-0123-456789abcdef";
	u8 guid[16];

	(void)state;
	for (u32 at = 0; at < 36; at++) {
		for (u32 c = 1; c < 256; c++) {
			char *text = strdup(good);
			text[at] = (char)c;
			bool want = good[at] == '-' ? c == '-' :
				    strchr("0123456789abcdefABCDEF", (int)c) != NULL;
			if ((parse(text, guid) == 0) != want)
				fail_msg("%s", text);
			free(text);
		}
		char *cut = malloc(at + 1); /* no NUL: nothing behind is looked at */
		memcpy(cut, good, at + 1);
		assert_int_equal(guid_parse(cut, at + 1, guid), at == 35 ? 0 : -EINVAL);
		free(cut);
	}
	assert_int_equal(parse("", guid), -EINVAL);
	assert_int_equal(parse("01234567-89ab-CDEF-0123-456789abcdef0", guid), -EINVAL);
	assert_int_equal(parse("0123456789abCDEF0123456789abcdef", guid), -EINVAL);
}

static void random_bytes(void **state)
{
	struct rng rng = rng_seeded(5);
	struct gpt_partition p;

	(void)state;
	for (u32 n = 0; n < 2000; n++) {
		setup(NULL);
		for (u32 i = 0; i < 1 + n % 4; i++)
			head[512 + rng_below(&rng, 1024)] = rng_next(&rng);
		seal();
		if (open_now())
			continue;
		for (u32 i = 0; i < gpt.nr_entries; i++)
			if (gpt_partition(&gpt, i, &p))
				assert_true(p.start >= 34 && p.start < p.end && p.end <= NR_SECTORS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(partitions_are_found, setup),
		cmocka_unit_test_setup(no_table, setup),
		cmocka_unit_test_setup(crcs_are_compared, setup),
		cmocka_unit_test_setup(wild_fields, setup),
		cmocka_unit_test_setup(bad_partitions, setup),
		cmocka_unit_test_setup(guids_are_read, setup),
		cmocka_unit_test_setup(all_else_is_no_guid, setup),
		cmocka_unit_test_setup(random_bytes, setup),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(head);
	return failed;
}
