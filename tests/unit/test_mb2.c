/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/mb2.c kernel/lib/string.c */
/* The boot information comes out as GRUB put it in; damaged, it is refused, and no byte outside of
 * it is read. */
#include "host.h"

#include "lib/mb2.h"

/* A structure under construction. */
struct build {
	u64 words[1024]; /* 8-aligned */
	u32 len;
};

static u8 *bytes_of(struct build *b)
{
	return (u8 *)b->words;
}

static void put(struct build *b, const void *from, u32 n)
{
	assert_true(b->len + n <= sizeof(b->words));
	if (n)
		memcpy(bytes_of(b) + b->len, from, n);
	b->len += n;
}

static void put_u32(struct build *b, u32 v)
{
	put(b, &v, 4);
}

static void put_u64(struct build *b, u64 v)
{
	put(b, &v, 8);
}

static void begin(struct build *b)
{
	memset(b, 0, sizeof(*b));
	b->len = 8;
}

/* tag - a tag of @type around @n bytes, with padding behind it. */
static void tag(struct build *b, u32 type, const void *body, u32 n)
{
	put_u32(b, type);
	put_u32(b, 8 + n);
	put(b, body, n);
	b->len = (b->len + 7) & ~7u;
}

static void tag_module(struct build *b, u32 start, u32 end, const char *string)
{
	put_u32(b, 3);
	put_u32(b, 16 + (u32)strlen(string) + 1);
	put_u32(b, start);
	put_u32(b, end);
	put(b, string, (u32)strlen(string) + 1);
	b->len = (b->len + 7) & ~7u;
}

static void tag_memory(struct build *b, u32 entry_bytes, const struct boot_memory *entries, u32 nr)
{
	put_u32(b, 6);
	put_u32(b, 16 + nr * entry_bytes);
	put_u32(b, entry_bytes);
	put_u32(b, 0);
	for (u32 i = 0; i < nr; i++) {
		put_u64(b, entries[i].base);
		put_u64(b, entries[i].bytes);
		put_u32(b, entries[i].type);
		b->len += entry_bytes - 20;
	}
}

static void tag_framebuffer(struct build *b, u8 type)
{
	static const u8 rgb[] = {16, 8, 8, 7, 0, 6};
	u8 tail[] = {32, type, 0, 0};

	put_u32(b, 8);
	put_u32(b, type == BOOT_FB_RGB ? 38 : 32);
	put_u64(b, 0xfd000000);
	put_u32(b, 4096);
	put_u32(b, 1024);
	put_u32(b, 768);
	put(b, tail, 4);
	if (type == BOOT_FB_RGB)
		put(b, rgb, sizeof(rgb));
	b->len = (b->len + 7) & ~7u;
}

static void end(struct build *b)
{
	tag(b, 0, NULL, 0);
	memcpy(bytes_of(b), &b->len, 4);
}

/* parse - of a copy on the heap of exactly its size, so that the address sanitizer sees every byte
 * too many. The copy lives until the next call. */
static int parse(const struct build *b, size_t max, struct boot_info *out)
{
	static void *copy;

	free(copy);
	copy = malloc(max);
	memcpy(copy, b->words, max);
	return mb2_parse(copy, max, out);
}

static const struct boot_memory some_memory[] = {
	{0, 0x9f000, 1},
	{0x9f000, 0x1000, 2},
	{0x100000, 0xfef0000, 1},
	{0xfff0000, 0x10000, 3},
};

/* whole - everything that GRUB hands over on a UEFI machine. */
static void whole(struct build *b)
{
	u8 rsdp[36] = "RSD PTR ";

	begin(b);
	tag(b, 1, "ram=64M debug", 14);
	tag(b, 2, "GRUB 2.06", 10);
	tag_module(b, 0x200000, 0x300000, "vm=a mem=32M -- console=ttyS0");
	tag_module(b, 0x300000, 0x300000, "");
	tag(b, 4, "12345678", 8); /* basic memory: of no use to us */
	tag_memory(b, 24, some_memory, ARRAY_SIZE(some_memory));
	tag_framebuffer(b, BOOT_FB_RGB);
	tag(b, 14, rsdp, 20);
	tag(b, 15, rsdp, 36);
	tag(b, 4711, "future", 6);
	end(b);
}

static void everything_comes_out(void **state)
{
	struct build b;
	struct boot_info info;

	(void)state;
	whole(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_string_equal(info.cmdline, "ram=64M debug");
	assert_int_equal(info.nr_modules, 2);
	assert_int_equal(info.modules[0].start, 0x200000);
	assert_int_equal(info.modules[0].end, 0x300000);
	assert_string_equal(info.modules[0].string, "vm=a mem=32M -- console=ttyS0");
	assert_int_equal(info.modules[1].start, info.modules[1].end);
	assert_string_equal(info.modules[1].string, "");
	assert_int_equal(info.nr_memory, 4);
	for (size_t i = 0; i < ARRAY_SIZE(some_memory); i++) {
		assert_int_equal(info.memory[i].base, some_memory[i].base);
		assert_int_equal(info.memory[i].bytes, some_memory[i].bytes);
		assert_int_equal(info.memory[i].type, some_memory[i].type);
	}
	assert_int_equal(info.fb.type, BOOT_FB_RGB);
	assert_int_equal(info.fb.addr, 0xfd000000);
	assert_int_equal(info.fb.pitch, 4096);
	assert_int_equal(info.fb.width, 1024);
	assert_int_equal(info.fb.height, 768);
	assert_int_equal(info.fb.bpp, 32);
	assert_int_equal(info.fb.red.shift, 16);
	assert_int_equal(info.fb.green.bits, 7);
	assert_int_equal(info.fb.blue.bits, 6);
	assert_memory_equal(info.rsdp_old, "RSD PTR ", 8);
	assert_memory_equal(info.rsdp_new, "RSD PTR ", 8);
	assert_int_equal(info.rsdp_new_bytes, 36);
	assert_int_equal(info.nr_dropped, 0);
}

static void nothing_but_the_end(void **state)
{
	struct build b;
	struct boot_info info;

	(void)state;
	begin(&b);
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_string_equal(info.cmdline, "");
	assert_int_equal(info.nr_memory + info.nr_modules, 0);
	assert_int_equal(info.fb.type, BOOT_FB_NONE);
	assert_null(info.rsdp_old);
	assert_null(info.rsdp_new);
}

static void too_many_are_counted(void **state)
{
	struct build b;
	struct boot_info info;
	struct boot_memory memory[MB2_MAX_MAP + 3];

	(void)state;
	begin(&b);
	for (u32 i = 0; i < MB2_MAX_MODULES + 5; i++)
		tag_module(&b, i * 0x1000, i * 0x1000 + 1, "m");
	for (u32 i = 0; i < ARRAY_SIZE(memory); i++)
		memory[i] = (struct boot_memory){i * 0x2000ull, 0x1000, 1};
	tag_memory(&b, 24, memory, ARRAY_SIZE(memory));
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_int_equal(info.nr_modules, MB2_MAX_MODULES);
	assert_int_equal(info.modules[MB2_MAX_MODULES - 1].start, (MB2_MAX_MODULES - 1) * 0x1000);
	assert_int_equal(info.nr_memory, MB2_MAX_MAP);
	assert_int_equal(info.nr_dropped, 5 + 3);
}

static void memory_neighbours_join(void **state)
{
	static const struct boot_memory memory[] = {
		{0, 0x1000, 1},	     {0x1000, 0x2000, 1}, {0x3000, 0, 7},
		{0x3000, 0x1000, 1}, {0x4000, 0x1000, 2}, {0x6000, 0x1000, 2},
	};
	struct build b;
	struct boot_info info;

	(void)state;
	begin(&b);
	tag_memory(&b, 40, memory, ARRAY_SIZE(memory)); /* entries may be longer than we know */
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_int_equal(info.nr_memory, 3);
	assert_int_equal(info.memory[0].bytes, 0x4000);
	assert_int_equal(info.memory[1].base, 0x4000);
	assert_int_equal(info.memory[1].bytes, 0x1000);
	assert_int_equal(info.memory[2].base, 0x6000);
}

/* The tag's last bytes are too few for an entry: they are none, and what follows is not read. */
static void part_of_an_entry_is_none(void **state)
{
	static const u64 body[] = {24, 0x1000, 0x1000, 1, 0x4000};
	struct build b;
	struct boot_info info;

	(void)state;
	begin(&b);
	tag(&b, 6, body, sizeof(body));
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_int_equal(info.nr_memory, 1);
	assert_int_equal(info.memory[0].base, 0x1000);
}

static void text_screen_and_unknown_screen(void **state)
{
	struct build b;
	struct boot_info info;

	(void)state;
	begin(&b);
	tag_framebuffer(&b, BOOT_FB_TEXT);
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_int_equal(info.fb.type, BOOT_FB_TEXT);
	begin(&b);
	tag_framebuffer(&b, 9);
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), 0);
	assert_int_equal(info.fb.type, BOOT_FB_NONE);
}

static void one_bad_tag(u32 type, const void *body, u32 n)
{
	struct build b;
	struct boot_info info;

	begin(&b);
	tag(&b, type, body, n);
	end(&b);
	assert_int_equal(parse(&b, b.len, &info), -EINVAL);
}

static void damage_is_refused(void **state)
{
	static const u32 backwards[] = {0x2000, 0x1000, 0};
	static const u32 small_entries[] = {16, 0, 0, 0, 0, 0};
	static const u32 odd_entries[] = {28, 0, 0, 0, 0, 0, 0, 0, 0};
	static const u64 wrapping[] = {24, 0xffffffffffff0000, 0x10000, 1};

	(void)state;
	one_bad_tag(1, "no end", 6);
	one_bad_tag(1, "", 0);
	one_bad_tag(3, "1234567", 7);
	one_bad_tag(3, "12345678", 8); /* no string at all */
	one_bad_tag(3, "\0\0\0\0\0\0\0\0abc", 11);
	one_bad_tag(3, backwards, 12);
	one_bad_tag(6, "1234567", 7);
	one_bad_tag(6, small_entries, 24);
	one_bad_tag(6, odd_entries, 36);
	one_bad_tag(6, wrapping, 32);
	one_bad_tag(8, "too short for a framebuffer", 23);
	one_bad_tag(8, "12345678123456781234\40\1\0\0rgb", 27);
	one_bad_tag(14, "RSD PTR 12345678901", 19);
	one_bad_tag(15, "RSD PTR 123456789012345678901234567", 35);
}

/* Cut at any byte, with the size in the header left or cut as well. */
static void truncation_is_refused(void **state)
{
	struct build b;
	struct boot_info info;

	(void)state;
	whole(&b);
	for (u32 len = 0; len < b.len; len++) {
		struct build cut = b;
		assert_int_equal(parse(&cut, len, &info), -EINVAL);
		memcpy(bytes_of(&cut), &len, 4);
		assert_int_equal(parse(&cut, MAX(len, 4u), &info), -EINVAL);
		assert_int_equal(parse(&cut, b.len, &info), -EINVAL);
	}
	/* A size that lies, upwards. */
	for (u32 shift = 0; shift < 32; shift++) {
		u32 size = b.len + (1u << shift);
		memcpy(bytes_of(&b), &size, 4);
		assert_int_equal(parse(&b, b.len, &info), -EINVAL);
	}
}

/* Every string is inside and ends inside; counts are in bounds. */
static void check_sane(const struct boot_info *info)
{
	assert_true(strlen(info->cmdline) < sizeof(struct build));
	assert_true(info->nr_modules <= MB2_MAX_MODULES && info->nr_memory <= MB2_MAX_MAP);
	for (u32 i = 0; i < info->nr_modules; i++) {
		assert_true(info->modules[i].start <= info->modules[i].end);
		assert_true(strlen(info->modules[i].string) < sizeof(struct build));
	}
	for (u32 i = 0; i < info->nr_memory; i++) {
		assert_true(info->memory[i].bytes != 0);
		assert_true(info->memory[i].base + info->memory[i].bytes > info->memory[i].base);
	}
	if (info->rsdp_old)
		memcpy((u8[20]){0}, info->rsdp_old, 20);
	for (u32 i = 0; info->rsdp_new && i < info->rsdp_new_bytes; i++)
		(void)((const volatile u8 *)info->rsdp_new)[i];
}

static void random_damage_stays_inside(void **state)
{
	struct rng rng = rng_seeded(1);
	struct build good;
	struct boot_info info;
	unsigned int accepted = 0, refused = 0;

	(void)state;
	whole(&good);
	for (int round = 0; round < 100000; round++) {
		struct build b = good;
		for (u64 n = 1 + rng_below(&rng, 6); n; n--) {
			u8 *at = bytes_of(&b) + rng_below(&rng, b.len);
			switch (rng_below(&rng, 3)) {
			case 0: *at = (u8)rng_next(&rng); break;
			case 1: *at ^= (u8)(1 << rng_below(&rng, 8)); break;
			default: *at = rng_percent(&rng, 50) ? 0xff : (u8)rng_below(&rng, 40);
			}
		}
		if (parse(&b, b.len, &info) == 0) {
			check_sane(&info);
			accepted++;
		} else {
			refused++;
		}
	}
	printf("accepted %u refused %u\n", accepted, refused);
	assert_true(accepted > 1000 && refused > 1000);
}

static void random_bytes_stay_inside(void **state)
{
	struct rng rng = rng_seeded(2);
	struct boot_info info;
	struct build b;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		b.len = 8 + (u32)rng_below(&rng, 300);
		for (u32 i = 0; i < b.len; i++)
			bytes_of(&b)[i] = rng_percent(&rng, 60) ? 0 : (u8)rng_below(&rng, 30);
		memcpy(bytes_of(&b), &b.len, 4);
		if (parse(&b, b.len, &info) == 0)
			check_sane(&info);
	}
}

static void unescaped(const char *from, const char *to)
{
	char text[64];

	snprintf(text, sizeof(text), "%s", from);
	mb2_unescape(text);
	assert_string_equal(text, to);
}

static void escapes_go(void **state)
{
	(void)state;
	mb2_unescape((char *)(uintptr_t) ""); /* a constant: nothing is written */
	unescaped("vm=a mem=1M -- x", "vm=a mem=1M -- x");
	unescaped("a\\\\b\\'c\\\"d", "a\\b'c\"d");
	unescaped("\"two words\" one", "two words one");
	unescaped("ends in \\", "ends in \\");
	unescaped("a\\nb", "a\\nb");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_out),
		cmocka_unit_test(nothing_but_the_end),
		cmocka_unit_test(too_many_are_counted),
		cmocka_unit_test(memory_neighbours_join),
		cmocka_unit_test(part_of_an_entry_is_none),
		cmocka_unit_test(text_screen_and_unknown_screen),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(truncation_is_refused),
		cmocka_unit_test(random_damage_stays_inside),
		cmocka_unit_test(random_bytes_stay_inside),
		cmocka_unit_test(escapes_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
