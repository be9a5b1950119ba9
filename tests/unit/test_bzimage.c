/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/loader.c kernel/vmm/loader/elf.c kernel/vmm/loader/elf64.c
 * kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c kernel/vmm/loader/place.c
 * kernel/lib/format.c kernel/lib/string.c kernel/lib/errno.c */
/* Linux: a bzImage finds its kernel, boot parameters, command line and initrd as the boot protocol
 * says, by either entry; and what cannot be loaded is refused with a line, before a byte is written. */
#include "host.h"

#include "guest_load.h"
#include "vmm/loader/loader.h"

#define PARAMS_BYTES (4096 + 32) /* with the GDT */

static u32 byte_at(const struct fake_ram *f, u64 at)
{
	return word_at(f, at) & 0xff;
}

static struct attempt load_good(const struct image *img, struct fake_ram *f, const char *cmdline,
				u64 initrd_size)
{
	u8 *initrd = malloc(initrd_size + 1);
	struct attempt a;

	memset(initrd, 0x5a, initrd_size);
	a = load_with(img, f, cmdline, initrd_size ? initrd : NULL, initrd_size);
	if (a.err)
		fail_msg("%d %s", a.err, a.why);
	assert_string_equal(a.why, "");
	free(initrd);
	return a;
}

static void check_filled(const struct fake_ram *f, u64 at, u64 bytes, u8 fill)
{
	for (u64 i = 0; i < bytes; i++)
		if (f->low[at + i] != fill)
			fail_msg("memory at %#lx: %#x instead of %#x", at + i, f->low[at + i], fill);
}

/* ---- entries -------------------------------------------------------------------------------- */

static void entered_in_long_mode(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	image_bzimage(&img);
	a = load_good(&img, &f, "", 0);
	assert_int_equal(a.entry.mode, ENTRY_LONG64);
	assert_int_equal(a.entry.rip, 0x200200);
	assert_int_equal(a.entry.rsp, 0);
	assert_true(a.entry.is_linux);
	assert_string_equal(a.entry.kind, "linux");
	assert_int_equal(a.entry.gdt_limit, 31);
	assert_int_equal(long_at(&f, a.entry.gdt + 0x10), 0x00af9b000000ffff);
	assert_int_equal(long_at(&f, a.entry.gdt + 0x18), 0x00cf93000000ffff);
	check_filled(&f, 0x200000, BZIMAGE_BYTES, BZIMAGE_FILL);
	check_filled(&f, 0x200000 + BZIMAGE_BYTES, MIB(2) - BZIMAGE_BYTES, 0);
	check_filled(&f, 0x9fc00, 0x200000 - 0x9fc00, 0);
	check_filled(&f, 0, PAGE_SIZE, 0);
	fake_free(&f);
}

static void entered_in_protected_mode_without_bit_0(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	image_bzimage(&img);
	put(&img, 0x236, 2, 0x7e);
	a = load_good(&img, &f, "", 0);
	assert_int_equal(a.entry.mode, ENTRY_PROT32);
	assert_int_equal(a.entry.rip, 0x200000);
	assert_true(a.entry.is_linux);
	assert_int_equal(a.entry.cr3, 0);
	assert_int_equal(a.entry.rax | a.entry.rbx | a.entry.rdi | a.entry.rsp, 0);
	assert_int_equal(a.entry.gdt_limit, 31);
	assert_int_equal(long_at(&f, a.entry.gdt + 0x10), 0x00cf9b000000ffff);
	assert_int_equal(long_at(&f, a.entry.gdt + 0x18), 0x00cf93000000ffff);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x214), 0x200000); /* code32_start has moved too */
	check_filled(&f, 0x200000, BZIMAGE_BYTES, BZIMAGE_FILL);
	fake_free(&f);

	f = fake_new(MIB(4), 0);
	put(&img, 0x214, 4, 0x100340); /* an entry that is not the first byte */
	a = load_good(&img, &f, "", 0);
	assert_int_equal(a.entry.rip, 0x200340);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x214), 0x200340);
	fake_free(&f);
}

/* The one-to-one map reaches over 4 GiB and over all RAM, up to the end of the PDPT. */
static void all_ram_is_mapped(unused void **state)
{
	static const struct {
		u64 high_bytes, directories;
	} cases[] = {
		{0, 4}, {PAGE_SIZE, 5}, {GIB(2), 6}, {GIB(2) + PAGE_SIZE, 7},
		{GIB(142), 146}, {GIB(143), 147}, /* below 640 KiB there is room for 146 */
		{GIB(600), 512},
	};
	struct image img;

	image_bzimage(&img);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_ram f = fake_new(MIB(8), 0);
		struct attempt a;
		u64 pdpt, end;

		memset(f.low + 0x9000, 0xaa, 0x80000); /* tables do not rely on zeroed memory */
		f.ram.high_bytes = cases[i].high_bytes; /* nothing is put there */
		a = load_good(&img, &f, "", 0);
		pdpt = long_at(&f, a.entry.cr3) - 3;
		end = a.entry.cr3 + (2 + cases[i].directories) * PAGE_SIZE;
		assert_true(end <= 0x9fc00 || a.entry.cr3 >= 0x100000);
		check_filled(&f, end, 64, end < 0x89000 ? 0xaa : 0);
		assert_int_equal(a.entry.cr3 & 0xfff, 0);
		assert_int_equal(long_at(&f, a.entry.cr3 + 8), 0);
		for (u64 gib = 0; gib < 512; gib++) {
			u64 directory = long_at(&f, pdpt + 8 * gib);

			assert_int_equal(directory != 0, gib < cases[i].directories);
			for (u64 n = 0; n < 512 && directory; n++)
				assert_int_equal(long_at(&f, directory - 3 + 8 * n),
						 gib << 30 | n << 21 | 0x83);
		}
		fake_free(&f);
	}
}

/* ---- boot parameters ------------------------------------------------------------------------ */

static void check_e820(const struct fake_ram *f, u64 params)
{
	struct e820_entry want[E820_MAX];
	unsigned int nr = loader_e820(&f->ram, want);

	assert_int_equal(byte_at(f, params + 0x1e8), nr);
	assert_memory_equal(f->low + params + 0x2d0, want, nr * 20);
}

/* What the kernel does not find in the header or below is zero, though the memory was not. */
static void boot_parameters_are_filled_in(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), PAGE_SIZE);
	struct image img;
	struct attempt a;
	u8 *p;

	image_bzimage(&img);
	memset(f.low + 0x1000, 0xaa, 0x9ec00);
	a = load_good(&img, &f, "console=ttyS0  quiet", 5);
	check_e820(&f, a.entry.rsi);
	assert_in_range(a.entry.rsi, 0x9000, 0x9fbff);
	assert_int_equal(a.entry.rsi & 0xfff, 0);
	assert_int_equal(a.entry.gdt, a.entry.rsi + 4096);
	assert_int_equal(long_at(&f, a.entry.gdt), 0);
	p = f.low + a.entry.rsi;
	assert_int_equal(p[6], 3);
	assert_int_equal(p[7], 80);
	assert_int_equal(p[14], 25);
	assert_int_equal(p[15], 1);
	assert_int_equal(p[16], 16);
	assert_int_equal(p[0x210], 0xff);
	assert_int_equal(p[0x211], 0x01);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x214), 0x200000);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x218), 0x3ff000);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x21c), 5);
	assert_string_equal((char *)f.low + word_at(&f, a.entry.rsi + 0x228), "console=ttyS0  quiet");
	assert_true(word_at(&f, a.entry.rsi + 0x228) >= a.entry.rsi + PARAMS_BYTES);

	/* Take all of that away; the rest is the header as it was. */
	put(&img, 0x210, 1, 0xff);
	put(&img, 0x214, 8, 0x3ff00000200000);
	put(&img, 0x21c, 4, 5);
	put(&img, 0x228, 4, word_at(&f, a.entry.rsi + 0x228));
	assert_memory_equal(p + 0x1f1, img.bytes + 0x1f1, 0x26c - 0x1f1);
	memset(p + 0x1f1, 0, 0x26c - 0x1f1);
	memset(p + 0x2d0, 0, 20 * p[0x1e8]);
	p[6] = p[7] = p[14] = p[15] = p[16] = p[0x1e8] = 0;
	check_filled(&f, a.entry.rsi, 4096, 0);
	fake_free(&f);
}

static void header_is_copied_to_its_end(unused void **state)
{
	for (u32 end = 0x264; end <= 0x281; end++) {
		struct fake_ram f = fake_new(MIB(4), 0);
		struct image img;
		struct attempt a;

		image_bzimage(&img);
		memset(img.bytes + 0x264, 0x77, 0x80);
		put(&img, 0x201, 1, end - 0x202);
		a = load_good(&img, &f, "", 0);
		check_filled(&f, a.entry.rsi + 0x264, end - 0x264, 0x77);
		check_filled(&f, a.entry.rsi + end, 0x2d0 - end, 0);
		fake_free(&f);
	}
}

static void command_line_as_long_as_the_kernel_takes(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	image_bzimage(&img);
	put(&img, 0x238, 4, 10);
	a = load_good(&img, &f, "0123456789", 0);
	assert_string_equal((char *)f.low + word_at(&f, a.entry.rsi + 0x228), "0123456789");
	f.nr_calls = 0;
	a = load_with(&img, &f, "0123456789a", NULL, 0);
	assert_int_equal(a.err, -EINVAL);
	assert_string_equal(a.why, "kernel.elf: its command line has 11 bytes, this kernel takes 10: "
				   "shorten it");
	assert_int_equal(f.nr_calls, 0);
	put(&img, 0x238, 4, 0xffffffff);
	a = load_good(&img, &f, "", 0);
	assert_string_equal((char *)f.low + word_at(&f, a.entry.rsi + 0x228), "");
	fake_free(&f);
}

/* ---- where the kernel goes ------------------------------------------------------------------ */

static void load_address(unused void **state)
{
	static const struct {
		u64 pref;
		u32 alignment;
		u8 relocatable;
		u64 load;
	} cases[] = {
		{0x200000, 0x100000, 1, 0x200000},
		{0x200000, 0x200000, 0xff, 0x200000},
		{0x200001, 0x100000, 1, 0x300000},
		{0x1ff000, 0x1000, 1, 0x1ff000},
		{0x180000, 0x200000, 1, 0x200000},
		{0x123456, 1, 1, 0x123456},
		{0, 0x200000, 1, 0x200000},
		{0, 0x1000, 1, 0x100000},
		{0x10000, 0x1000, 1, 0x100000},
		{0x200000, 0x200000, 0, 0x100000},
		{0x200000, 0, 0, 0x100000},
		{0, 3, 0, 0x100000},
	};
	struct image img;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_ram f = fake_new(MIB(6), 0);
		struct attempt a;

		image_bzimage(&img);
		put(&img, 0x258, 8, cases[i].pref);
		put(&img, 0x230, 4, cases[i].alignment);
		put(&img, 0x234, 1, cases[i].relocatable);
		a = load_good(&img, &f, "", 0);
		assert_int_equal(a.entry.rip, cases[i].load + 0x200);
		assert_int_equal(word_at(&f, a.entry.rsi + 0x214), cases[i].load);
		check_filled(&f, cases[i].load, BZIMAGE_BYTES, BZIMAGE_FILL);
		check_filled(&f, 0x100000, cases[i].load - 0x100000, 0);
		fake_free(&f);
	}
}

static void setup_sects_0_means_4(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;

	image_bzimage(&img);
	put(&img, 0x1f1, 1, 0);
	put(&img, 0x1f4, 4, 0);
	put(&img, 5 * 512, 1, 0x99);
	load_good(&img, &f, "", 0);
	assert_int_equal(byte_at(&f, 0x200000), 0x99);
	check_filled(&f, 0x200001, img.size - 5 * 512 - 1, BZIMAGE_FILL);
	fake_free(&f);
}

/* Behind the kernel there may be a signature. */
static void more_than_syssize_is_loaded(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;

	image_bzimage(&img);
	put(&img, img.size + 999, 1, 0x99);
	load_good(&img, &f, "", 0);
	assert_int_equal(byte_at(&f, 0x200000 + BZIMAGE_BYTES + 999), 0x99);
	fake_free(&f);
}

static void memory_that_does_not_suffice(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4) - MIB(1) / 2, 0);
	struct image img;

	image_bzimage(&img);
	load_good(&img, &f, "", 0); /* to its last byte */
	fake_free(&f);
	check_refused(&img, MIB(4) - MIB(1) / 2 - 1, -ENOSPC,
		      "kernel.elf: this kernel needs 4 MiB to unpack itself: give the VM mem=16M or more");
	check_refused(&img, 0, -ENOSPC, "needs 4 MiB");

	put(&img, 0x260, 4, 0); /* what the file has must fit, whatever init_size says */
	f = fake_new(0x200000 + BZIMAGE_BYTES, 0);
	load_good(&img, &f, "", 0);
	fake_free(&f);
	check_refused(&img, 0x200000 + BZIMAGE_BYTES - 1, -ENOSPC, "needs 3 MiB");
	put(&img, 0x234, 1, 0); /* and so must the place from where it moves itself */
	put(&img, 0x258, 8, 0);
	check_refused(&img, 0x100000 + BZIMAGE_BYTES - 1, -ENOSPC, "needs 2 MiB");
	put(&img, 0x258, 8, MIB(2)); /* where it will move to */
	put(&img, 0x260, 4, MIB(1));
	check_refused(&img, MIB(2), -ENOSPC, "needs 3 MiB");

	image_bzimage(&img); /* the numbers of Debian's 6.1 */
	put(&img, 0x230, 4, 0x200000);
	put(&img, 0x258, 8, 0x1000000);
	put(&img, 0x260, 4, 0x3378000);
	check_refused(&img, MIB(64), -ENOSPC, "needs 68 MiB to unpack itself: give the VM mem=80M");

	f = fake_new(MIB(4) - MIB(1) / 2, 0); /* all of its RAM above 640 KiB is taken */
	image_bzimage(&img);
	put(&img, 0x258, 8, 0x100000);
	put(&img, 0x260, 4, MIB(4) - MIB(1) / 2 - 0x100000);
	load_good(&img, &f, "", 0);
	fake_free(&f);
}

static void places_that_no_vm_has(unused void **state)
{
	static const struct {
		u64 pref;
		u32 alignment, init_size;
		const char *why;
	} cases[] = {
		{GIB(3) - MIB(1), 1, MIB(1) + 1, "wants 2 MiB from 0xbff00000 on, where no VM has memory"},
		{GIB(3) - MIB(1), GIB(2), 1, "from 0x100000000 on"},
		{GIB(4) - 1, 1, 1, "from 0xffffffff on"},
		{GIB(4), GIB(2), 0xffffffff, "wants 4096 MiB from 0x100000000 on"},
		{GIB(40), GIB(2), 0, "from 0xa00000000 on"},
		{~0ull, GIB(2), 0xffffffff, "from 0xffffffffffffffff on"},
		{0xffffffff80000000, 1, 0xffffffff, "from 0xffffffff80000000 on"},
		{0x100000, 1, 0xffffffff, "wants 4096 MiB from 0x100000 on"},
		{GIB(3) - MIB(1), 1, MIB(1), "needs 3072 MiB"},
	};
	struct image img;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool relocatable = i % 2;

		if (!relocatable && cases[i / 2].alignment != 1)
			continue;
		image_bzimage(&img);
		put(&img, 0x258, 8, cases[i / 2].pref);
		put(&img, 0x230, 4, cases[i / 2].alignment);
		put(&img, 0x234, 1, relocatable);
		put(&img, 0x260, 4, cases[i / 2].init_size);
		check_refused(&img, MIB(4), -ENOSPC, cases[i / 2].why);
	}
}

/* ---- the initrd ----------------------------------------------------------------------------- */

static void check_initrd(const struct image *img, u64 low_bytes, u64 bytes, u64 want_at)
{
	struct fake_ram f = fake_new(low_bytes, 0);
	struct attempt a = load_good(img, &f, "x", bytes);
	u64 at = word_at(&f, a.entry.rsi + 0x218);

	assert_int_equal(at, want_at);
	assert_int_equal(word_at(&f, a.entry.rsi + 0x21c), bytes);
	assert_int_equal(long_at(&f, a.entry.rsi + 0xc0), 0); /* the upper halves */
	assert_int_equal(word_at(&f, a.entry.rsi + 0xc8), 0);
	check_filled(&f, at, bytes, 0x5a);
	check_filled(&f, word_at(&f, a.entry.rsi + 0x214), BZIMAGE_BYTES, BZIMAGE_FILL);
	fake_free(&f);
}

static void initrd_is_as_high_as_allowed(unused void **state)
{
	struct image img;

	image_bzimage(&img);
	check_initrd(&img, MIB(8), MIB(1), MIB(7));
	check_initrd(&img, MIB(8), MIB(1) - 1, MIB(7));
	check_initrd(&img, MIB(8), MIB(1) + 1, MIB(7) - 0x1000);
	put(&img, 0x22c, 4, MIB(6) - 1);
	check_initrd(&img, MIB(8), MIB(1), MIB(5));
	put(&img, 0x22c, 4, MIB(6) - 2);
	check_initrd(&img, MIB(8), MIB(1), MIB(5) - 0x1000);
	put(&img, 0x22c, 4, 0xffffffff);
	check_initrd(&img, MIB(8), MIB(1), MIB(7));

	/* from the end of init_size on, to the byte; else below the kernel */
	check_initrd(&img, MIB(8), MIB(8) - 0x380000, 0x380000);
	check_initrd(&img, MIB(4), MIB(1) / 2, 0x380000);
	check_initrd(&img, MIB(4), MIB(1) / 2 + 1, 0x200000 - MIB(1) / 2 - 0x1000);
	check_initrd(&img, MIB(4), MIB(1), 0x100000);
	check_initrd(&img, MIB(4), MIB(1) - 1, 0x100000);

	/* not over the place where a kernel stands that moves itself */
	put(&img, 0x234, 1, 0);
	check_initrd(&img, MIB(4), MIB(1) - 0x3000, 0x103000);
}

static void no_room_for_the_initrd(const struct image *img, u64 low_bytes, u64 bytes,
				   const char *why)
{
	struct fake_ram f = fake_new(low_bytes, 0);
	u8 *initrd = calloc(1, MIB(2));
	struct attempt a = load_with(img, &f, "", initrd, bytes);

	assert_int_equal(a.err, -ENOSPC);
	assert_string_equal(a.why, why);
	assert_int_equal(f.nr_calls, 0);
	free(initrd);
	fake_free(&f);
}

static void initrd_that_does_not_fit(unused void **state)
{
	struct image img;

	image_bzimage(&img);
	no_room_for_the_initrd(&img, MIB(4), MIB(1) + 1,
			       "kernel.elf: no room for its initrd of 2 MiB beside the kernel, up to "
			       "4 MiB: give the VM mem=18M or more");
	check_initrd(&img, MIB(18), MIB(2), MIB(16));
	put(&img, 0x22c, 4, MIB(17) - 1);
	no_room_for_the_initrd(&img, MIB(4), MIB(2),
			       "kernel.elf: its initrd of 2 MiB does not fit between the kernel, up to "
			       "4 MiB, and the 17 MiB below which it must lie: give a smaller one");
	put(&img, 0x22c, 4, 0);
	no_room_for_the_initrd(&img, MIB(8), 5,
			       "kernel.elf: its initrd of 1 MiB does not fit between the kernel, up to "
			       "4 MiB, and the 0 MiB below which it must lie: give a smaller one");
	put(&img, 0x22c, 4, 0xffffffff);
	no_room_for_the_initrd(&img, MIB(8), ~0ull,
			       "kernel.elf: its initrd of 17592186044416 MiB does not fit between the "
			       "kernel, up to 4 MiB, and the 3072 MiB below which it must lie: "
			       "give a smaller one");
	put(&img, 0x234, 1, 0);
	no_room_for_the_initrd(&img, MIB(4), MIB(1) - 0x2fff,
			       "kernel.elf: no room for its initrd of 1 MiB beside the kernel, up to "
			       "4 MiB: give the VM mem=17M or more");
}

/* Page tables for 600 GiB go above 1 MiB, where only the initrd's place is large enough. */
static void nothing_is_put_over_the_initrd(unused void **state)
{
	struct fake_ram f = fake_new(MIB(8), 0);
	u8 *initrd = calloc(1, MIB(4));
	struct image img;
	struct attempt a;

	image_bzimage(&img);
	f.ram.high_bytes = GIB(600);
	a = load_with(&img, &f, "", initrd, MIB(4));
	assert_int_equal(a.err, -ENOSPC);
	assert_non_null(strstr(a.why, "no room for page tables beside it"));
	assert_int_equal(f.nr_calls, 0);
	free(initrd);
	fake_free(&f);
}

static void initrd_of_no_bytes_is_none(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;
	struct attempt a;

	image_bzimage(&img);
	a = load_with(&img, &f, "", initrd_bytes, 0);
	assert_int_equal(a.err, 0);
	assert_int_equal(long_at(&f, a.entry.rsi + 0x218), 0);
	a = load_with(&img, &f, "", NULL, 5);
	assert_int_equal(a.err, 0);
	assert_int_equal(long_at(&f, a.entry.rsi + 0x218), 0);
	fake_free(&f);
}

/* ---- nothing on top of another -------------------------------------------------------------- */

static void parts_lie_apart(unused void **state)
{
	struct image img;

	for (unsigned int flags = 0; flags <= 1; flags++) {
		struct fake_ram f = fake_new(MIB(6), GIB(0));
		struct attempt a;
		u64 start[5], end[5];

		image_bzimage(&img);
		put(&img, 0x236, 2, flags);
		a = load_good(&img, &f, "console=ttyS0", 12345);
		start[0] = 0x200000, end[0] = 0x380000;
		start[1] = a.entry.rsi, end[1] = a.entry.rsi + PARAMS_BYTES;
		start[2] = word_at(&f, a.entry.rsi + 0x228), end[2] = start[2] + 14;
		start[3] = word_at(&f, a.entry.rsi + 0x218), end[3] = start[3] + 12345;
		start[4] = a.entry.cr3, end[4] = a.entry.cr3 + (flags ? 0x6000 : 0);
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < i; k++)
				assert_true(end[i] <= start[k] || end[k] <= start[i]);
		for (int i = 0; i < 5; i++)
			assert_true(end[i] <= 0x9fc00 || start[i] >= 0x100000);
		fake_free(&f);
	}
}

/* ---- recognition and refusal ---------------------------------------------------------------- */

static void recognised_after_multiboot_before_elf64(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;

	image_bzimage(&img);
	memcpy(img.bytes, "\177ELF\2\1\1", 7);
	assert_string_equal(load_good(&img, &f, "", 0).entry.kind, "linux");
	put(&img, 0x900, 8, 0xe85250d6);
	put(&img, 0x908, 4, 24);
	put(&img, 0x90c, 4, -(0xe85250d6 + 24));
	assert_null(strstr(load(&img, &f).entry.kind ?: "", "linux"));

	image_raw64(&img);
	put(&img, 0x1fe, 2, 0xaa55);
	put(&img, 0x202, 4, 0x53726449); /* not quite */
	assert_string_equal(load_good(&img, &f, "", 0).entry.kind, "elf64");
	put(&img, 0x202, 4, 0x53726448);
	put(&img, 0x1fe, 2, 0xaa54);
	assert_string_equal(load_good(&img, &f, "", 0).entry.kind, "elf64");
	image_multiboot32(&img);
	put(&img, 0x1fe, 2, 0xaa55);
	put(&img, 0x202, 4, 0x53726448);
	assert_string_equal(load_good(&img, &f, "", 0).entry.kind, "multiboot");
	fake_free(&f);
}

static void bad_headers_are_refused(unused void **state)
{
	static const struct {
		u32 at, bytes, value;
		int err;
		const char *why; /* NULL: it is good */
	} cases[] = {
		{0x206, 2, 0x020b, -ENOEXEC, "kernel.elf: a Linux kernel of boot protocol 2.11: "
		 "give one of 2.12 or newer (Linux 3.8)"},
		{0x206, 2, 0, -ENOEXEC, "boot protocol 0.00"},
		{0x206, 2, 0x020c, 0, NULL},
		{0x206, 2, 0xffff, 0, NULL},
		{0x201, 1, 0x61, -EINVAL, "its setup header ends at byte 0x263, not at 0x264 to 0x281"},
		{0x201, 1, 0x80, -EINVAL, "its setup header ends at byte 0x282, not at 0x264 to 0x281"},
		{0x201, 1, 0xff, -EINVAL, "its setup header ends at byte 0x301"},
		{0x201, 1, 0, -EINVAL, "its setup header ends at byte 0x202"},
		{0x211, 1, 0xfe, -ENOEXEC, "a zImage, which is loaded below 1 MiB: give a bzImage"},
		{0x214, 4, 0xfffff, -EINVAL, "its 32-bit entry 0xfffff is not in the 9025 bytes from "
		 "0x100000"},
		{0x214, 4, 0x100000 + BZIMAGE_BYTES, -EINVAL, "its 32-bit entry 0x102341 is not in"},
		{0x214, 4, 0x100000 + BZIMAGE_BYTES - 1, 0, NULL},
		{0x214, 4, 0, -EINVAL, "its 32-bit entry 0 is not in"},
		{0x230, 4, 0, -EINVAL, "its alignment 0 is no power of two"},
		{0x230, 4, 0x180000, -EINVAL, "its alignment 0x180000 is no power of two"},
		{0x1f4, 4, 0x236, -EINVAL, "truncated: the kernel ends at byte 10592, the file has 10561"},
		{0x1f4, 4, 0x235, 0, NULL},
		{0x1f4, 4, 0xffffffff, -EINVAL, "truncated: the kernel ends at byte 68719478256"},
		{0x1f1, 1, 20, -EINVAL, "truncated: the kernel begins at byte 10752, the file has 10561"},
		{0x1f1, 1, 0xff, -EINVAL, "truncated: the kernel begins at byte 131072"},
	};
	struct image img;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake_ram f = fake_new(MIB(4), 0);

		image_bzimage(&img);
		put(&img, cases[i].at, cases[i].bytes, cases[i].value);
		if (cases[i].why)
			check_refused(&img, MIB(4), cases[i].err, cases[i].why);
		else
			load_good(&img, &f, "", 0);
		fake_free(&f);
	}
}

static void truncated_images_are_refused(unused void **state)
{
	struct fake_ram f = fake_new(MIB(4), 0);
	struct image img;

	image_bzimage(&img);
	while (img.size-- > 0) {
		struct attempt a = load(&img, &f);

		assert_int_equal(a.err, img.size < 0x206 ? -ENOEXEC : -EINVAL);
		if (img.size >= 0x206)
			assert_non_null(strstr(a.why, "truncated"));
		assert_int_equal(f.nr_calls, 0);
	}
	image_bzimage(&img);
	put(&img, 0x1f4, 4, 0);
	img.size = BZIMAGE_SETUP + 0x201; /* the 64-bit entry is there */
	load_good(&img, &f, "", 0);
	fake_free(&f);
	img.size--;
	check_refused(&img, MIB(4), -EINVAL, "truncated: the kernel begins at byte 1536");
}

/* The callbacks check that nothing goes outside of memory, the sanitizers the rest. */
static void mutated_headers_harm_nobody(unused void **state)
{
	static const u64 words[] = {0, 1, 0x7f, 0xff, MIB(1), MIB(2), MIB(4), GIB(3), ~0ull, 1ull << 63};
	struct fake_ram f = fake_new(MIB(4), PAGE_SIZE);
	struct rng rng = rng_seeded(11);
	unsigned int nr_good = 0, nr_bad = 0;
	struct image img, damaged;

	image_bzimage(&img);
	for (int round = 0; round < 20000; round++) {
		struct attempt a;

		damaged = img;
		for (u64 n = 1 + rng_below(&rng, 4); n; n--) {
			u64 value = rng_percent(&rng, 50) ? rng_next(&rng)
							  : words[rng_below(&rng, ARRAY_SIZE(words))];

			put(&damaged, 0x1f1 + rng_below(&rng, 0x90), 1u << rng_below(&rng, 4), value);
		}
		if (rng_percent(&rng, 10))
			damaged.size = rng_below(&rng, damaged.size + 1);
		f.nr_calls = 0;
		a = load_with(&damaged, &f, "quiet", initrd_bytes, sizeof(initrd_bytes));
		if (a.err) {
			nr_bad++;
			assert_true(a.why[0] != '\0');
			assert_null(strchr(a.why, '\n'));
			assert_int_equal(f.nr_calls, 0);
			continue;
		}
		nr_good++;
		assert_true(a.entry.is_linux);
		assert_in_range(a.entry.rip, 0x100000, MIB(4) - 1);
		assert_in_range(a.entry.rsi, 0x1000, 0x9fbff);
		assert_in_range(word_at(&f, a.entry.rsi + 0x218), 0x100000, MIB(4) - 5);
	}
	assert_in_range(nr_good, 1000, 19000); /* else it tried nothing */
	assert_in_range(nr_bad, 1000, 19000);
	fake_free(&f);
}

static void failing_memory_is_reported(unused void **state)
{
	struct image img;
	bool reached = true;

	image_bzimage(&img);
	for (unsigned int k = 1; reached; k++) {
		struct fake_ram f = fake_new(MIB(4), 0);
		struct attempt a;

		f.fail_at = k;
		a = load_with(&img, &f, "a", initrd_bytes, sizeof(initrd_bytes));
		reached = f.nr_calls >= k;
		assert_int_equal(a.err, reached ? -ENOMEM : 0);
		if (reached) {
			assert_int_equal(f.nr_calls, k);
			assert_non_null(strstr(a.why, "kernel.elf: its VM's memory at 0x"));
		} else {
			assert_true(k > 9);
		}
		fake_free(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(entered_in_long_mode),
		cmocka_unit_test(entered_in_protected_mode_without_bit_0),
		cmocka_unit_test(all_ram_is_mapped),
		cmocka_unit_test(boot_parameters_are_filled_in),
		cmocka_unit_test(header_is_copied_to_its_end),
		cmocka_unit_test(command_line_as_long_as_the_kernel_takes),
		cmocka_unit_test(load_address),
		cmocka_unit_test(setup_sects_0_means_4),
		cmocka_unit_test(more_than_syssize_is_loaded),
		cmocka_unit_test(memory_that_does_not_suffice),
		cmocka_unit_test(places_that_no_vm_has),
		cmocka_unit_test(initrd_is_as_high_as_allowed),
		cmocka_unit_test(initrd_that_does_not_fit),
		cmocka_unit_test(nothing_is_put_over_the_initrd),
		cmocka_unit_test(initrd_of_no_bytes_is_none),
		cmocka_unit_test(parts_lie_apart),
		cmocka_unit_test(recognised_after_multiboot_before_elf64),
		cmocka_unit_test(bad_headers_are_refused),
		cmocka_unit_test(truncated_images_are_refused),
		cmocka_unit_test(mutated_headers_harm_nobody),
		cmocka_unit_test(failing_memory_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
