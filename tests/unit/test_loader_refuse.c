/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/loader.c kernel/vmm/loader/elf.c kernel/vmm/loader/elf64.c
 * kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c kernel/vmm/loader/place.c
 * kernel/lib/format.c kernel/lib/string.c kernel/lib/errno.c */
/* Bad images are refused with a line, before a byte is written, whatever is wrong with them; and
 * memory that fails ends a load at any of its steps. */
#include "host.h"

#include "guest_load.h"
#include "vmm/loader/loader.h"

/* ---- recognition and refusal ---------------------------------------------------------------- */

static void what_is_no_image_is_refused_by_name(void **state)
{
	struct image img;

	(void)state;
	memset(&img, 0, sizeof(img));
	check_refused(&img, MIB(4), -ENOEXEC, "kernel.elf is no guest image (the file is empty)");
	img.size = 40000;
	check_refused(&img, MIB(4), -ENOEXEC, "no guest image (no multiboot header, no ELF64)");
	memset(img.bytes, 'x', img.size);
	check_refused(&img, MIB(4), -ENOEXEC, "no guest image (no multiboot header, no ELF64)");

	image_elf(&img, false, 0x100000, plain_segments, 2);
	check_refused(&img, MIB(4), -ENOEXEC, "(an ELF32 file without a multiboot header)");

	image_multiboot32(&img);
	put(&img, IMAGE_DATA + 0x48, 1, 1);
	check_refused(&img, MIB(4), -ENOEXEC, "(its multiboot header has a wrong checksum)");

	image_raw64(&img);
	put(&img, 32760, 8, 0xe85250d6);
	put(&img, 32768, 8, 24); /* only half of the header is where it must be */
	put(&img, 32772, 4, -(0xe85250d6 + 24));
	struct fake_ram f = fake_new(MIB(4), 0);
	assert_int_equal(load(&img, &f).err, 0);
	fake_free(&f);
	put(&img, 32752, 8, 0xe85250d6);
	put(&img, 32760, 4, 24);
	put(&img, 32764, 4, -(0xe85250d6 + 24));
	check_refused(&img, MIB(4), -ENOEXEC, "multiboot 2 images come with Neap 0.3");

	image_raw64(&img);
	put(&img, 18, 2, 183);
	check_refused(&img, MIB(4), -ENOEXEC, "an ELF file for another processor (machine 183)");
}

static void header_is_searched_where_it_may_be(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image_segment segment = {1, 1, 0x100000, 0x100000, 0x4000, 0x4000, 0};
	struct image img;

	(void)state;
	image_elf(&img, false, 0x100000, &segment, 1);
	image_multiboot(&img, 8192 - 12, 0);
	assert_int_equal(load(&img, &f).err, 0);
	fake_free(&f);

	image_elf(&img, false, 0x100000, &segment, 1);
	image_multiboot(&img, 8192 - 8, 0);
	check_refused(&img, MIB(4), -ENOEXEC, "without a multiboot header");
	image_elf(&img, false, 0x100000, &segment, 1);
	image_multiboot(&img, 4098, 0);
	check_refused(&img, MIB(4), -ENOEXEC, "without a multiboot header");

	f = fake_new(MIB(4), 0);
	image_multiboot32(&img); /* the magic as a constant in code before the header */
	put(&img, IMAGE_DATA, 4, 0x1badb002);
	assert_int_equal(load(&img, &f).err, 0);
	fake_free(&f);
}

static void header_flags_are_obeyed(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	unsigned int bit;

	(void)state;
	for (bit = 0; bit < 32; bit++) {
		image_multiboot32(&img);
		image_multiboot(&img, IMAGE_DATA + 0x40, 1u << bit);
		if (bit >= 3 && bit <= 15)
			check_refused(&img, MIB(4), -ENOEXEC, "requires feature bits");
		else if (bit != 16)
			assert_int_equal(load(&img, &f).err, 0);
	}
	image_multiboot(&img, IMAGE_DATA + 0x40, 0x8024);
	check_refused(&img, MIB(4), -ENOEXEC, "requires feature bits 0x8020");
	fake_free(&f);
}

static void bad_address_fields_are_refused(void **state)
{
	static const struct {
		u32 header, load, load_end, bss_end, entry;
		int err;
		const char *why;
	} cases[] = {
		{0x0ff000, 0x100000, 0, 0, 0x100000, -EINVAL, "but stands at byte 768"},
		{0x100304, 0x100000, 0, 0, 0x100000, -EINVAL, "but stands at byte 768"},
		{0xffffffff, 0, 0, 0, 0, -EINVAL, "but stands at byte 768"},
		{0x100300, 0x100000, 0xfffff, 0, 0x100000, -EINVAL,
		 "ends the image at 0xfffff before its start"},
		{0x100300, 0x100000, 0x101735, 0, 0x100000, -EINVAL,
		 "truncated: the image ends at byte 5941, the file has 5940"},
		{0x100300, 0x100000, 0xffffffff, 0, 0x100000, -EINVAL, "truncated: the image ends"},
		{0x100300, 0x100000, 0, 0x101733, 0x100000, -EINVAL, "ends the bss at 0x101733"},
		{0x100300, 0x100000, 0x101000, 0x101000, 0x101000, -EINVAL,
		 "the entry point 0x101000 lies in no segment"},
		{0x100300, 0x100000, 0x100000, 0, 0x100000, -EINVAL, "lies in no segment"},
		{0x100300, 0x100000, 0, 0xffffffff, 0x100000, -ENOSPC, "where this VM has no memory"},
		{0xffffff00, 0xfffffc00, 0, 0, 0xffffff80, -ENOSPC, "where this VM has no memory"},
		{0x100300, 0x100000, 0x101734, 0x101734, 0x101733, 0, ""},
	};
	struct image img;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_ram f = fake_new(MIB(4), 0);
		struct attempt a;

		image_kludge64(&img);
		image_multiboot_addresses(&img, 0x300, cases[i].header, cases[i].load,
					  cases[i].load_end, cases[i].bss_end, cases[i].entry);
		a = load(&img, &f);
		if (a.err != cases[i].err || !strstr(a.why, cases[i].why))
			fail_msg("case %zu: %d %s", i, a.err, a.why);
		if (a.err)
			assert_int_equal(f.nr_calls, 0);
		fake_free(&f);
	}
	memset(&img, 0, sizeof(img));
	image_multiboot(&img, 0, 0);
	check_refused(&img, MIB(4), -ENOEXEC, "without address fields, but no ELF file");
	image_multiboot(&img, 0, 1u << 16);
	img.size = 31;
	check_refused(&img, MIB(4), -EINVAL, "truncated: the multiboot header ends at byte 32");
}

static void entry_outside_is_refused(void **state)
{
	struct image img;

	(void)state;
	image_raw64(&img);
	put(&img, 24, 8, 0x101234); /* between the segments */
	check_refused(&img, MIB(4), -EINVAL, "the entry point 0x101234 lies in no segment");
	put(&img, 24, 8, 0xffffffff80100000);
	check_refused(&img, MIB(4), -EINVAL, "the entry point 0xffffffff80100000 lies in no");
}

/* ---- every image, damaged in every way ------------------------------------------------------ */

static void (*const makers[])(struct image *) = {image_multiboot32, image_kludge64, image_raw64};

static void truncated_images_are_refused(void **state)
{
	struct image img;
	size_t m, nr_good;

	(void)state;
	for (m = 0; m < ARRAY_SIZE(makers); m++) {
		struct fake_ram f = fake_new(MIB(2), 0);

		makers[m](&img);
		nr_good = 0;
		while (img.size-- > 0) {
			struct attempt a = load(&img, &f);

			if (a.err == 0) {
				nr_good++; /* the kludge loads less than the file has */
				f.nr_calls = 0;
				continue;
			}
			assert_non_null(strstr(a.why, "kernel.elf"));
			assert_true(a.err == -EINVAL || a.err == -ENOEXEC);
			if (img.size >= IMAGE_DATA + 0x50)
				assert_non_null(strstr(a.why, "truncated"));
			assert_int_equal(f.nr_calls, 0);
		}
		assert_int_equal(nr_good, makers[m] == image_kludge64 ? 0x1734 - 0x1000 : 0);
		fake_free(&f);
	}
}

/* The callbacks check that nothing goes outside of memory, the sanitizer that nothing is read
 * outside of the image. */
static void mutated_images_harm_nobody(void **state)
{
	struct fake_ram f = fake_new(MIB(2), 0x3000);
	struct rng rng = rng_seeded(5);
	unsigned int round, nr_good = 0;
	struct image *img = malloc(sizeof(*img)), *damaged = malloc(sizeof(*img));
	size_t m;

	(void)state;
	for (m = 0; m < ARRAY_SIZE(makers); m++) {
		makers[m](img);
		memcpy(damaged, img, sizeof(*img));
		for (round = 0; round < 40000; round++) {
			/* mostly where the headers are */
			size_t at = rng_below(&rng, rng_percent(&rng, 90) ? 0x180 : img->size);
			struct attempt a;

			if (m == 1 && rng_percent(&rng, 50))
				at = 0x300 + rng_below(&rng, 32);
			else if (m == 0 && rng_percent(&rng, 20))
				at = IMAGE_DATA + 0x40 + rng_below(&rng, 12);
			damaged->bytes[at] = (u8)rng_next(&rng);
			f.nr_calls = 0;
			a = load_with(damaged, &f, "a", initrd_bytes, sizeof(initrd_bytes));
			if (a.err == 0) {
				nr_good++;
				assert_true(a.entry.rip < f.ram.low_bytes);
			} else {
				assert_true(a.why[0] != '\0');
				assert_int_equal(f.nr_calls, 0);
			}
			damaged->bytes[at] = img->bytes[at];
		}
	}
	assert_in_range(nr_good, 1000, 119000); /* else it tried nothing */
	free(img);
	free(damaged);
	fake_free(&f);
}

static void failing_memory_is_reported(void **state)
{
	struct image img;
	unsigned int k;
	size_t m;

	(void)state;
	for (m = 0; m < ARRAY_SIZE(makers); m++) {
		makers[m](&img);
		for (k = 1;; k++) {
			struct fake_ram f = fake_new(MIB(2), 0);
			struct attempt a;
			bool reached;

			f.fail_at = k;
			a = load_with(&img, &f, "a", initrd_bytes, sizeof(initrd_bytes));
			reached = f.nr_calls >= k;
			assert_int_equal(f.nr_calls, reached ? k : k - 1);
			fake_free(&f);
			if (!reached) {
				assert_int_equal(a.err, 0);
				break;
			}
			assert_int_equal(a.err, -ENOMEM);
			assert_non_null(strstr(a.why, "kernel.elf: its VM's memory at 0x"));
			assert_non_null(strstr(a.why, "ENOMEM"));
		}
		assert_true(k > 8);
	}
}

static void lines_are_cut_to_their_buffer(void **state)
{
	struct guest_image img = {.data = "", .name = "a-kernel-with-a-name.elf", .cmdline = ""};
	struct fake_ram f = fake_new(MIB(2), 0);
	struct guest_entry entry;
	struct image linux_image = {0};
	char why[12];

	(void)state;
	assert_int_equal(loader_load(&img, &f.ram, &entry, why, sizeof(why)), -ENOEXEC);
	assert_string_equal(why, "a-kernel-wi");
	put(&linux_image, 0x1fe, 2, 0xaa55);
	put(&linux_image, 0x202, 4, 0x53726448);
	img.data = linux_image.bytes;
	img.size = linux_image.size;
	assert_int_equal(loader_load(&img, &f.ram, &entry, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, "a-kernel-wi");
	fake_free(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_image_is_refused_by_name),
		cmocka_unit_test(header_is_searched_where_it_may_be),
		cmocka_unit_test(header_flags_are_obeyed),
		cmocka_unit_test(bad_address_fields_are_refused),
		cmocka_unit_test(entry_outside_is_refused),
		cmocka_unit_test(truncated_images_are_refused),
		cmocka_unit_test(mutated_images_harm_nobody),
		cmocka_unit_test(failing_memory_is_reported),
		cmocka_unit_test(lines_are_cut_to_their_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
