/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/elf.c kernel/vmm/loader/elf64.c kernel/vmm/loader/loader.c
 *	kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c kernel/vmm/loader/place.c
 *	kernel/lib/errno.c kernel/lib/format.c kernel/lib/string.c */
/* The ELF reader gives what stands in good files, and refuses each bad one by its fault. */
#include "host.h"

#include "guest_image.h"
#include "vmm/loader/loader_internal.h"

static const struct image_segment two_segments[] = {
	{1, 1, 0x100000, 0x100000, 0x300, 0x300, 0x11},
	{4, 0, 0, 0, 0x20, 0x20, 0x99}, /* a note, in no memory */
	{1, 0, 0x200000, 0x180000, 0x100, 0x5000, 0x22},
};

static int read_image(const struct image *img, struct elf_image *out, char why[160])
{
	/* A copy of exactly its size, so that the sanitizer sees a read behind its end. */
	u8 *copy = malloc(img->size ? img->size : 1);
	struct guest_image guest = {.data = copy, .size = img->size, .name = "file"};
	struct load l = {.img = &guest, .why = why, .why_size = 160};
	int err;

	memcpy(copy, img->bytes, img->size);
	memset(why, 0, 160);
	err = elf_read(&l, out);
	free(copy);
	return err;
}

static void good_files_are_read(void **state)
{
	struct elf_image out;
	struct image img;
	char why[160];
	int wide;

	(void)state;
	for (wide = 0; wide <= 1; wide++) {
		image_elf(&img, wide, 0x100010, two_segments, 3);
		assert_int_equal(elf_class_of(img.bytes, img.size), wide ? ELF_64 : ELF_32);
		assert_int_equal(read_image(&img, &out, why), 0);
		assert_int_equal(out.class, wide ? ELF_64 : ELF_32);
		assert_int_equal(out.entry, 0x100010);
		assert_int_equal(out.nr, 2);
		assert_int_equal(out.segment[0].paddr, 0x100000);
		assert_int_equal(out.segment[0].offset, IMAGE_DATA);
		assert_int_equal(out.segment[0].file_bytes, 0x300);
		assert_int_equal(out.segment[0].mem_bytes, 0x300);
		assert_int_equal(out.segment[1].paddr, 0x180000);
		assert_int_equal(out.segment[1].offset, IMAGE_DATA + 0x320);
		assert_int_equal(out.segment[1].file_bytes, 0x100);
		assert_int_equal(out.segment[1].mem_bytes, 0x5000);
		assert_int_equal(out.segment[1].index, 2);
	}
}

static u64 entry_of(u64 entry, const struct image_segment *segments, unsigned int nr)
{
	struct elf_image out;
	struct image img;
	char why[160];

	image_elf(&img, true, entry, segments, nr);
	assert_int_equal(read_image(&img, &out, why), 0);
	return out.entry;
}

static void entry_is_physical(void **state)
{
	const u64 high = 0xffffffff80000000;
	struct image_segment segments[] = {
		{1, 1, 0x100000, 0x100000, 0x100, 0x100, 0},
		{1, 1, high + 0x200000, 0x200000, 0x100, 0x1000, 0},
		{1, 0, high + 0x300000, 0x300000, 0x100, 0x1000, 0},
	};

	(void)state;
	assert_int_equal(entry_of(high + 0x200004, segments, 3), 0x200004);
	assert_int_equal(entry_of(0x200004, segments, 3), 0x200004);
	assert_int_equal(entry_of(0x100004, segments, 3), 0x100004);
	assert_int_equal(entry_of(high + 0x201000, segments, 3), high + 0x201000); /* just behind */
	assert_int_equal(entry_of(high + 0x300004, segments, 3), high + 0x300004); /* data */
}

static void empty_segments_do_not_count(void **state)
{
	struct image_segment segments[] = {
		{1, 1, 0x100000, 0x100000, 0x100, 0x100, 0},
		{1, 1, 0x100010, 0x100010, 0, 0, 0},
	};
	struct elf_image out;
	struct image img;
	char why[160];

	(void)state;
	image_elf(&img, false, 0x100000, segments, 2);
	assert_int_equal(read_image(&img, &out, why), 0);
	assert_int_equal(out.nr, 1);
}

/* One field changed in a good file; offsets of both classes. */
static const struct {
	const char *what;
	u16 at32, at64;
	u8 bytes32, bytes64;
	u64 value;
	int err;
	const char *why; /* part of the line */
} faults[] = {
	{"magic", 0, 0, 1, 1, 'X', -ENOEXEC, "no ELF file"},
	{"class", 4, 4, 1, 1, 3, -ENOEXEC, "no ELF file"},
	{"big endian", 5, 5, 1, 1, 2, -ENOEXEC, "another processor"},
	{"ident version", 6, 6, 1, 1, 2, -EINVAL, "version"},
	{"relocatable", 16, 16, 2, 2, 1, -ENOEXEC, "no executable (type 1)"},
	{"core dump", 16, 16, 2, 2, 4, -ENOEXEC, "no executable (type 4)"},
	{"machine", 18, 18, 2, 2, 183, -ENOEXEC, "another processor (machine 183)"},
	{"version", 20, 20, 4, 4, 0, -EINVAL, "version 0"},
	{"phoff at the end", 28, 32, 4, 8, 0x820, -EINVAL, "truncated: program headers"},
	{"phoff far off", 28, 32, 4, 8, 0xfffffff0, -EINVAL, "truncated: program headers"},
	{"phentsize", 42, 54, 2, 2, 33, -EINVAL, "program headers of 33 bytes"},
	{"phentsize 0", 42, 54, 2, 2, 0, -EINVAL, "program headers of 0 bytes"},
	{"phnum 0", 44, 56, 2, 2, 0, -EINVAL, "no program headers"},
	{"phnum large", 44, 56, 2, 2, 0xffff, -EINVAL, "truncated: program headers"},
	{"interpreter", 52, 64, 4, 4, 3, -ENOEXEC, "a program for an operating system"},
	{"offset", 52 + 4, 64 + 8, 4, 8, 0x521, -EINVAL,
	 "truncated: segment 0 ends at byte 2081, the file has 2080"},
	{"offset wraps", 52 + 4, 64 + 8, 4, 8, ~0ull, -EINVAL, "segment 0 "},
	{"filesz", 52 + 16, 64 + 32, 4, 8, 0x301, -EINVAL,
	 "segment 0 has 769 bytes in the file, but 768 in memory"},
	{"memsz", 52 + 20, 64 + 40, 4, 8, 0x2ff, -EINVAL,
	 "segment 0 has 768 bytes in the file, but 767 in memory"},
	{"paddr wraps", 52 + 12, 64 + 24, 4, 8, ~0xfeull, -EINVAL, "segment 0 wraps around"},
	{"overlap", 52 + 20, 64 + 40, 4, 8, 0x80001, -EINVAL,
	 "segments 0 and 2 overlap in memory at 0x180000"},
	{"overlap below", 52 + 12, 64 + 24, 4, 8, 0x184fff, -EINVAL,
	 "segments 0 and 2 overlap in memory at 0x184fff"},
};

static void each_fault_is_named(void **state)
{
	struct elf_image out;
	struct image img;
	char why[160];
	size_t i;
	int wide;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		for (wide = 0; wide <= 1; wide++) {
			image_elf(&img, wide, 0x100010, two_segments, 3);
			put(&img, wide ? faults[i].at64 : faults[i].at32,
			    wide ? faults[i].bytes64 : faults[i].bytes32, faults[i].value);
			if (read_image(&img, &out, why) != faults[i].err ||
			    !strstr(why, faults[i].why))
				fail_msg("%s, class %d: %s", faults[i].what, wide, why);
		}
	}
}

/* The neighbours of the refused values are good. */
static void limits_are_exact(void **state)
{
	struct elf_image out;
	struct image img;
	char why[160];

	(void)state;
	image_elf(&img, true, 0x100010, two_segments, 3);
	put(&img, 64 + 8, 8, 0x520); /* offset: ends with the file */
	assert_int_equal(read_image(&img, &out, why), 0);
	put(&img, 64 + 40, 8, 0x80000); /* memsz: up to the other */
	assert_int_equal(read_image(&img, &out, why), 0);
	put(&img, 64 + 40, 8, 0x300);
	put(&img, 64 + 24, 8, 0x185000); /* paddr: behind the other */
	assert_int_equal(read_image(&img, &out, why), 0);
	put(&img, 16, 2, 3);
	assert_int_equal(read_image(&img, &out, why), 0);
}

/* An ELF32 file may hold 64-bit code and say so. */
static void machines_by_class(void **state)
{
	struct elf_image out;
	struct image img;
	char why[160];

	(void)state;
	image_elf(&img, false, 0x100010, two_segments, 3);
	put(&img, 18, 2, 62);
	assert_int_equal(read_image(&img, &out, why), 0);
	image_elf(&img, true, 0x100010, two_segments, 3);
	put(&img, 18, 2, 3);
	assert_int_equal(read_image(&img, &out, why), -ENOEXEC);
}

static void no_segment_and_too_many(void **state)
{
	struct image_segment many[ELF_SEGMENTS_MAX + 1];
	struct elf_image out;
	struct image img;
	char why[160];
	unsigned int i;

	(void)state;
	image_elf(&img, true, 0, &two_segments[1], 1);
	assert_int_equal(read_image(&img, &out, why), -EINVAL);
	assert_non_null(strstr(why, "no segment to load"));

	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct image_segment){1, 1, 0x1000 * i, 0x1000 * i, 0, 0x1000, 0};
	image_elf(&img, false, 0, many, ELF_SEGMENTS_MAX);
	img.size = IMAGE_DATA + 0x100;
	assert_int_equal(read_image(&img, &out, why), 0);
	image_elf(&img, false, 0, many, ELF_SEGMENTS_MAX + 1);
	img.size = IMAGE_DATA + 0x100;
	assert_int_equal(read_image(&img, &out, why), -EINVAL);
	assert_non_null(strstr(why, "more than 32 segments"));
}

static void every_truncation_is_refused(void **state)
{
	struct elf_image out;
	struct image img;
	char why[160];
	size_t whole;
	int wide;

	(void)state;
	for (wide = 0; wide <= 1; wide++) {
		image_elf(&img, wide, 0x100010, two_segments, 3);
		whole = img.size;
		while (img.size-- > 0) {
			int err = read_image(&img, &out, why);

			if (img.size < 16)
				assert_int_equal(err, -ENOEXEC);
			else if (err != -EINVAL || !strstr(why, "truncated"))
				fail_msg("%zu of %zu bytes: %d %s", img.size, whole, err, why);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_files_are_read),
		cmocka_unit_test(entry_is_physical),
		cmocka_unit_test(empty_segments_do_not_count),
		cmocka_unit_test(each_fault_is_named),
		cmocka_unit_test(limits_are_exact),
		cmocka_unit_test(machines_by_class),
		cmocka_unit_test(no_segment_and_too_many),
		cmocka_unit_test(every_truncation_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
