/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/loader.c kernel/vmm/loader/elf.c kernel/vmm/loader/elf64.c
 * kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c kernel/vmm/loader/place.c
 * kernel/lib/format.c kernel/lib/string.c kernel/lib/errno.c */
/* Good images get into memory byte for byte and are entered as their protocol says; what the loader
 * adds lies beside them. */
#include "host.h"

#include "guest_load.h"
#include "vmm/loader/loader.h"
#include "vmm/loader/place.h"

/* ---- what the guest sees -------------------------------------------------------------------- */

/* Compares the multiboot information with what the board must say, and wipes it, so that what
 * remains of the memory is the image alone. */
static void check_and_wipe_info(struct fake_ram *f, u64 info, const char *cmdline, u64 initrd_at)
{
	bool has_initrd = initrd_at != 0;
	u64 mods = word_at(f, info + 24), mmap = word_at(f, info + 48);
	u64 strings = word_at(f, info + 16);
	u32 i;

	assert_int_equal(word_at(f, info), 0x24f);
	assert_int_equal(word_at(f, info + 4), 639);
	assert_int_equal(word_at(f, info + 8), (f->ram.low_bytes - MIB(1)) / 1024);
	assert_int_equal(word_at(f, info + 12), 0x8000ffff);
	assert_string_equal((char *)f->low + strings, cmdline);
	assert_int_equal(word_at(f, info + 20), has_initrd);
	if (has_initrd) {
		assert_int_equal(word_at(f, mods), initrd_at);
		assert_int_equal(word_at(f, mods + 4), initrd_at + sizeof(initrd_bytes));
		assert_string_equal((char *)f->low + word_at(f, mods + 8), "initrd.img");
		assert_int_equal(word_at(f, mods + 12), 0);
		memset(f->low + word_at(f, mods + 8), 0, sizeof("initrd.img"));
		memset(f->low + mods, 0, 16);
	}
	for (i = 28; i < 44; i += 4)
		assert_int_equal(word_at(f, info + i), 0);
	assert_int_equal(word_at(f, info + 44), 24 * (f->ram.high_bytes ? 5 : 4));
	for (i = 0; i < word_at(f, info + 44); i += 24)
		assert_int_equal(word_at(f, mmap + i), 20);
	assert_int_equal(long_at(f, mmap + 4), 0);
	assert_int_equal(long_at(f, mmap + 12), 0x9fc00);
	assert_int_equal(word_at(f, mmap + 20), E820_RAM);
	assert_int_equal(long_at(f, mmap + 72 + 4), 0x100000);
	assert_int_equal(long_at(f, mmap + 72 + 12), f->ram.low_bytes - MIB(1));
	assert_int_equal(word_at(f, mmap + 72 + 20), E820_RAM);
	assert_string_equal((char *)f->low + word_at(f, info + 64), "Neap");

	memset(f->low + strings, 0, strlen(cmdline));
	memset(f->low + word_at(f, info + 64), 0, 4);
	memset(f->low + mmap, 0, word_at(f, info + 44));
	memset(f->low + info, 0, 88);
}

/* Memory holds the segments, and zeros. */
static void check_memory(const struct fake_ram *f, const struct image_segment *segments,
			 unsigned int nr, u64 initrd_at)
{
	u8 *want = calloc(1, f->ram.low_bytes);
	unsigned int i;

	for (i = 0; i < nr; i++)
		memset(want + segments[i].paddr, segments[i].fill, segments[i].filesz);
	if (initrd_at)
		memcpy(want + initrd_at, initrd_bytes, sizeof(initrd_bytes));
	for (i = 0; i < f->ram.low_bytes; i++)
		if (f->low[i] != want[i])
			fail_msg("memory at %#x: %#x instead of %#x", i, f->low[i], want[i]);
	free(want);
}

static void multiboot_image_is_loaded(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	(void)state;
	image_multiboot32(&img);
	a = load_with(&img, &f, "a=1 b", initrd_bytes, sizeof(initrd_bytes));
	assert_int_equal(a.err, 0);
	assert_string_equal(a.why, "");
	assert_int_equal(a.entry.mode, ENTRY_PROT32);
	assert_int_equal(a.entry.rip, 0x10000c);
	assert_int_equal(a.entry.rax, 0x2badb002);
	assert_int_equal(a.entry.rsp, 0);
	assert_string_equal(a.entry.kind, "multiboot");
	assert_false(a.entry.is_linux);
	assert_in_range(a.entry.rbx, 0x9000, 0x9fbff);

	check_and_wipe_info(&f, a.entry.rbx, "kernel.elf a=1 b", 0x106000);
	image_multiboot(&img, IMAGE_DATA + 0x40, 3);
	assert_memory_equal(f.low + 0x100040, img.bytes + IMAGE_DATA + 0x40, 12);
	memset(f.low + 0x100040, 0x11, 12);
	check_memory(&f, plain_segments, 2, 0x106000);
	fake_free(&f);
}

static void command_line_begins_with_the_file(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	(void)state;
	image_multiboot32(&img);
	a = load(&img, &f);
	assert_int_equal(a.err, 0);
	check_and_wipe_info(&f, a.entry.rbx, "kernel.elf ", 0);
	fake_free(&f);
}

static void kludge_in_an_elf64_file_is_loaded(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	(void)state;
	image_kludge64(&img);
	a = load_with(&img, &f, "", initrd_bytes, sizeof(initrd_bytes));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.entry.mode, ENTRY_PROT32);
	assert_int_equal(a.entry.rip, 0x100400);
	assert_int_equal(a.entry.rax, 0x2badb002);
	check_and_wipe_info(&f, a.entry.rbx, "kernel.elf ", 0x104000);
	assert_memory_equal(f.low + 0x100000, img.bytes, 0x1000);
	memset(f.low + 0x100000, 0, 0x1000);
	check_memory(&f, NULL, 0, 0x104000);
	fake_free(&f);
}

/* Without load_end the file is loaded to its end, without bss_end nothing follows; the file need
 * be no ELF file, and what stands before the header's part is skipped. */
static void kludge_defaults(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img = {.size = 0x5001};
	struct attempt a;

	(void)state;
	memset(img.bytes, 0x77, img.size);
	image_multiboot_addresses(&img, 0x1fe0, 0x200fe0, 0x200000, 0, 0, 0x200000);
	a = load(&img, &f);
	assert_int_equal(a.err, 0);
	check_and_wipe_info(&f, a.entry.rbx, "kernel.elf ", 0);
	assert_memory_equal(f.low + 0x200000, img.bytes + 0x1000, 0x4001);
	memset(f.low + 0x200000, 0, 0x4001);
	check_memory(&f, NULL, 0, 0);
	fake_free(&f);
}

static void walk(const struct fake_ram *f, u64 cr3, u64 address)
{
	u64 entry = long_at(f, cr3 + 8 * (address >> 39 & 511));

	assert_int_equal(entry & 0xfff, 3);
	entry = long_at(f, (entry & ~0xfffull) + 8 * (address >> 30 & 511));
	assert_int_equal(entry & 0xfff, 3);
	entry = long_at(f, (entry & ~0xfffull) + 8 * (address >> 21 & 511));
	assert_int_equal(entry, (address & ~(MIB(2) - 1)) | 0x83);
}

static void raw_elf64_is_loaded_in_long_mode(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;
	u64 address;

	(void)state;
	image_raw64(&img);
	memset(f.low + 0x9000, 0xaa, 0x10000); /* tables do not rely on zeroed memory */
	a = load_with(&img, &f, "x", initrd_bytes, sizeof(initrd_bytes));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.entry.mode, ENTRY_LONG64);
	assert_int_equal(a.entry.rip, 0x100010);
	assert_int_equal(a.entry.rsp, 0);
	assert_string_equal(a.entry.kind, "elf64");
	assert_int_equal(a.entry.cr3 & 0xfff, 0);
	for (address = 0; address < GIB(4); address += MIB(2))
		walk(&f, a.entry.cr3, address);
	assert_int_equal(long_at(&f, a.entry.cr3 + 8), 0);
	assert_int_equal(long_at(&f, (long_at(&f, a.entry.cr3) & ~0xfffull) + 32), 0);

	check_and_wipe_info(&f, a.entry.rdi, "kernel.elf x", 0x106000);
	memset(f.low + 0x9000, 0, 0x10000);
	check_memory(&f, plain_segments, 2, 0x106000);
	fake_free(&f);
}

static void elf64_segments_may_lie_above_4_gib(void **state)
{
	static const struct image_segment segments[] = {
		{1, 1, 0x100000, 0x100000, 0x100, 0x100, 0x11},
		{1, 0, GIB(4) + 0x1000, GIB(4) + 0x1000, 0x100, 0x1000, 0x22},
	};
	struct fake_ram f = fake_new(MIB(4), 0x2000);
	struct image img;
	struct attempt a;

	(void)state;
	image_elf(&img, true, 0x100000, segments, 2);
	a = load(&img, &f);
	assert_int_equal(a.err, 0);
	assert_int_equal(f.high[0xfff], 0);
	assert_int_equal(f.high[0x1000], 0x22);
	assert_int_equal(f.high[0x10ff], 0x22);
	assert_int_equal(f.high[0x1100], 0);
	check_and_wipe_info(&f, a.entry.rdi, "kernel.elf ", 0);

	put(&img, ph_at(true, 1, 20, 40), 8, 0x1001); /* a byte past the end */
	f.nr_calls = 0;
	a = load(&img, &f);
	assert_int_equal(a.err, -ENOSPC);
	assert_non_null(strstr(a.why, "segment 1 lies at 0x100001000, where this VM has no memory"));
	assert_int_equal(f.nr_calls, 0);
	fake_free(&f);
}

/* A multiboot header makes an ELF64 file a 32-bit start, also without address fields. */
static void multiboot_header_decides_for_elf64(void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	(void)state;
	image_raw64(&img);
	image_multiboot(&img, IMAGE_DATA, 0);
	a = load(&img, &f);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.entry.mode, ENTRY_PROT32);
	assert_int_equal(a.entry.rip, 0x100010);
	fake_free(&f);
}

/* ---- where things are put ------------------------------------------------------------------- */

static bool apart(u64 a, u64 a_bytes, u64 b, u64 b_bytes)
{
	return a + a_bytes <= b || b + b_bytes <= a;
}

/* Loads an image of one segment at [paddr, paddr + memsz) and checks that what we add lies beside
 * it, outside of page 0 and the board's memory. */
static void check_beside(bool wide, u64 paddr, u64 memsz, u64 low_bytes)
{
	struct image_segment segment = {1, 1, paddr, paddr, 0x100, memsz, 0x11};
	struct fake_ram f = fake_new(low_bytes, 0);
	struct image img;
	struct attempt a;
	u64 info, mods;

	image_elf(&img, wide, paddr, &segment, 1);
	if (!wide)
		image_multiboot(&img, IMAGE_DATA, 0);
	a = load_with(&img, &f, "x", initrd_bytes, sizeof(initrd_bytes));
	if (a.err)
		fail_msg("%#llx: %s", (unsigned long long)paddr, a.why);
	info = wide ? a.entry.rdi : a.entry.rbx;
	mods = word_at(&f, info + 24);
	assert_in_range(info, PAGE_SIZE, low_bytes - 400);
	assert_true(apart(info, 400, paddr, memsz));
	assert_true(apart(info, 400, 0x9fc00, 0x60400));
	assert_true(apart(word_at(&f, mods), sizeof(initrd_bytes), paddr, memsz));
	assert_true(apart(word_at(&f, mods), sizeof(initrd_bytes), info, 400));
	assert_true(apart(word_at(&f, mods), sizeof(initrd_bytes), 0x9fc00, 0x60400));
	assert_int_equal(word_at(&f, mods) & 0xfff, 0);
	if (wide) {
		assert_in_range(a.entry.cr3, PAGE_SIZE, low_bytes - 0x6000);
		assert_true(apart(a.entry.cr3, 0x6000, paddr, memsz));
		assert_true(apart(a.entry.cr3, 0x6000, info, 400));
		assert_true(apart(a.entry.cr3, 0x6000, 0x9fc00, 0x60400));
		assert_true(apart(a.entry.cr3, 0x6000, word_at(&f, mods), sizeof(initrd_bytes)));
	}
	check_and_wipe_info(&f, info, "kernel.elf x", word_at(&f, mods));
	fake_free(&f);
}

static void additions_lie_beside_the_image(void **state)
{
	int wide;

	(void)state;
	for (wide = 0; wide <= 1; wide++) {
		check_beside(wide, 0x100000, 0x10000, MIB(4));
		check_beside(wide, 0x8000, 0x10000, MIB(4));
		check_beside(wide, 0, 0x20000, MIB(4));
		check_beside(wide, 0x1000, 0x9e000, MIB(4));  /* all conventional memory */
		check_beside(wide, 0x1000, 0x200000, MIB(4)); /* a bss through the legacy area */
		check_beside(wide, 0x9000, MIB(4) - 0x9000, MIB(4)); /* up to the end */
		check_beside(wide, 0x100000, MIB(3), MIB(4));
	}
}

static void memory_that_does_not_suffice(void **state)
{
	struct image_segment segment = {1, 1, 0x100000, 0x100000, 0x100, MIB(3), 0x11};
	struct fake_ram f = fake_new(MIB(4), 0);
	u8 *initrd = calloc(1, MIB(1));
	struct image img;
	struct attempt a;

	(void)state;
	image_elf(&img, false, 0x100000, &segment, 1);
	image_multiboot(&img, IMAGE_DATA, 0);
	check_refused(&img, MIB(4) - 1, -ENOSPC,
		      "kernel.elf: segment 0 needs memory up to 4 MiB: give the VM mem=5M or more");
	check_refused(&img, MIB(1), -ENOSPC, "up to 4 MiB");
	check_refused(&img, 0, -ENOSPC, "up to 4 MiB");

	a = load_with(&img, &f, "", initrd, MIB(1));
	assert_int_equal(a.err, -ENOSPC);
	assert_string_equal(a.why, "kernel.elf: no room for its initrd of 1 MiB: "
				   "give the VM mem=6M or more");
	assert_int_equal(f.nr_calls, 0);
	a = load_with(&img, &f, "", initrd, ~0ull);
	assert_int_equal(a.err, -ENOSPC);
	free(initrd);
	fake_free(&f);

	put(&img, ph_at(false, 0, 12, 24), 4, 0); /* from 0 to the end: no room for the info */
	put(&img, ph_at(false, 0, 16, 32), 4, 0);
	put(&img, ph_at(false, 0, 20, 40), 4, MIB(4));
	put(&img, 24, 4, 0);
	check_refused(&img, MIB(4), -ENOSPC, "no room for the multiboot information beside it: "
		      "give the VM mem=5M or more");
	put(&img, ph_at(false, 0, 12, 24), 4, 0xf0000000);
	check_refused(&img, MIB(4), -ENOSPC, "lies at 0xf0000000, where this VM has no memory");
	put(&img, ph_at(false, 0, 12, 24), 4, 0x9fff0);
	put(&img, ph_at(false, 0, 16, 32), 4, 0x11);
	check_refused(&img, MIB(8), -ENOSPC, "would overwrite the board's memory at 0xa0000");
}

static void places_are_the_lowest_free_ones(void **state)
{
	struct place p = {0};
	u64 at;

	(void)state;
	place_take(&p, 0x3000, 0x5000);
	place_take(&p, 0x1000, 0x2000);
	place_take(&p, 0x4800, 0x6001);
	assert_int_equal(place_find(&p, 0x1000, 0x1000, 0, 0x10000, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(place_find(&p, 0x1000, 0x1000, 1, 0x10000, &at), 0);
	assert_int_equal(at, 0x2000);
	assert_int_equal(place_find(&p, 0x1001, 0x10, 1, 0x10000, &at), 0);
	assert_int_equal(at, 0x6010);
	assert_int_equal(place_find(&p, 0x1000, 0x1000, 0x3000, 0x8000, &at), 0);
	assert_int_equal(at, 0x7000);
	assert_int_equal(place_find(&p, 0x1001, 0x1000, 0x3000, 0x8000, &at), -ENOSPC);
	assert_int_equal(place_find(&p, 0, 0x1000, 0x3000, 0x3000, &at), 0);
	assert_int_equal(place_find(&p, ~0ull, 1, 0, ~0ull, &at), -ENOSPC);
	place_take(&p, 0x7000, ~0ull);
	assert_int_equal(place_find(&p, 0x1000, 0x1000, 0x6000, ~0ull, &at), -ENOSPC);
	assert_int_equal(place_find(&p, 1, 1, 0x6000, ~0ull, &at), 0);
	assert_int_equal(at, 0x6001);
}

static void memory_map_of_each_size(void **state)
{
	struct guest_ram ram = {.low_bytes = GIB(3), .high_bytes = GIB(1)};
	struct e820_entry map[E820_MAX];

	(void)state;
	assert_int_equal(loader_e820(&ram, map), 5);
	assert_true(map[0].base == 0 && map[0].bytes == 0x9fc00 && map[0].type == E820_RAM);
	assert_true(map[1].base == 0x9fc00 && map[1].bytes == 0x400 &&
		    map[1].type == E820_RESERVED);
	assert_true(map[2].base == 0xe0000 && map[2].bytes == 0x20000 &&
		    map[2].type == E820_RESERVED);
	assert_true(map[3].base == MIB(1) && map[3].bytes == GIB(3) - MIB(1) &&
		    map[3].type == E820_RAM);
	assert_true(map[4].base == GIB(4) && map[4].bytes == GIB(1) && map[4].type == E820_RAM);

	ram = (struct guest_ram){.low_bytes = MIB(1)};
	assert_int_equal(loader_e820(&ram, map), 3);
	ram = (struct guest_ram){.low_bytes = KIB(512)};
	assert_int_equal(loader_e820(&ram, map), 3);
	assert_true(map[0].bytes == KIB(512));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(multiboot_image_is_loaded),
		cmocka_unit_test(command_line_begins_with_the_file),
		cmocka_unit_test(kludge_in_an_elf64_file_is_loaded),
		cmocka_unit_test(kludge_defaults),
		cmocka_unit_test(raw_elf64_is_loaded_in_long_mode),
		cmocka_unit_test(elf64_segments_may_lie_above_4_gib),
		cmocka_unit_test(multiboot_header_decides_for_elf64),
		cmocka_unit_test(additions_lie_beside_the_image),
		cmocka_unit_test(memory_that_does_not_suffice),
		cmocka_unit_test(places_are_the_lowest_free_ones),
		cmocka_unit_test(memory_map_of_each_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
