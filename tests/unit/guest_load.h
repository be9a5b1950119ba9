/* SPDX-License-Identifier: BSD-2-Clause */
/* What the loaders' tests share: a guest's memory, which is bounds-checked and can fail, one
 * attempt to load, and three good images. */
#pragma once

#include "guest_image.h"
#include "vmm/loader/loader.h"

/* ---- a guest's memory ----------------------------------------------------------------------- */

struct fake_ram {
	struct guest_ram ram;
	u8 *low, *high;
	unsigned int nr_calls;
	unsigned int fail_at; /* this call returns -ENOMEM; 0 none */
};

static inline u8 *fake_at(struct fake_ram *f, u64 at, u64 bytes)
{
	if (at <= f->ram.low_bytes && bytes <= f->ram.low_bytes - at)
		return f->low + at;
	assert_true(at >= GIB(4));
	at -= GIB(4);
	assert_true(at <= f->ram.high_bytes && bytes <= f->ram.high_bytes - at);
	return f->high + at;
}

static inline int fake_write(struct guest_ram *ram, gpa_t at, const void *from, u64 bytes)
{
	struct fake_ram *f = container_of(ram, struct fake_ram, ram);
	u8 *to = fake_at(f, at.v, bytes);

	if (++f->nr_calls == f->fail_at)
		return -ENOMEM;
	memcpy(to, from, bytes);
	return 0;
}

static inline int fake_zero(struct guest_ram *ram, gpa_t at, u64 bytes)
{
	struct fake_ram *f = container_of(ram, struct fake_ram, ram);
	u8 *to = fake_at(f, at.v, bytes);

	if (++f->nr_calls == f->fail_at)
		return -ENOMEM;
	memset(to, 0, bytes);
	return 0;
}

static inline struct fake_ram fake_new(u64 low_bytes, u64 high_bytes)
{
	return (struct fake_ram){
		.ram = {low_bytes, high_bytes, fake_write, fake_zero},
		.low = calloc(1, low_bytes + 1),
		.high = calloc(1, high_bytes + 1),
	};
}

static inline void fake_free(struct fake_ram *f)
{
	free(f->low);
	free(f->high);
}

static inline u32 word_at(const struct fake_ram *f, u64 at)
{
	u32 value;

	assert_true(at + sizeof(value) <= f->ram.low_bytes);
	memcpy(&value, f->low + at, sizeof(value));
	return value;
}

static inline u64 long_at(const struct fake_ram *f, u64 at)
{
	return word_at(f, at) | (u64)word_at(f, at + 4) << 32;
}

/* ---- one load ------------------------------------------------------------------------------- */

static const u8 initrd_bytes[] = {0xca, 0xfe, 0xba, 0xbe, 0x01};

struct attempt {
	struct guest_entry entry;
	char why[200];
	int err;
};

static inline struct attempt load_with(const struct image *img, struct fake_ram *f,
				       const char *cmdline, const void *initrd, u64 initrd_size)
{
	/* A copy of exactly its size, so that the sanitizer sees a read behind its end. */
	u8 *copy = malloc(img->size ? img->size : 1);
	struct guest_image guest = {
		.data = copy,
		.size = img->size,
		.name = "kernel.elf",
		.cmdline = cmdline,
		.initrd = initrd,
		.initrd_size = initrd_size,
		.initrd_name = "initrd.img",
	};
	struct attempt a = {0};

	memcpy(copy, img->bytes, img->size);
	a.err = loader_load(&guest, &f->ram, &a.entry, a.why, sizeof(a.why));
	free(copy);
	return a;
}

static inline struct attempt load(const struct image *img, struct fake_ram *f)
{
	return load_with(img, f, "", NULL, 0);
}

static inline void check_refused(const struct image *img, u64 low_bytes, int err, const char *why)
{
	struct fake_ram f = fake_new(low_bytes, 0);
	struct attempt a = load(img, &f);

	if (a.err != err || !strstr(a.why, why))
		fail_msg("%d \"%s\" instead of %d \"%s\"", a.err, a.why, err, why);
	assert_non_null(strstr(a.why, "kernel.elf"));
	assert_null(strchr(a.why, '\n'));
	assert_int_equal(f.nr_calls, 0);
	fake_free(&f);
}

/* ---- the images ----------------------------------------------------------------------------- */

static const struct image_segment plain_segments[] = {
	{1, 1, 0x100000, 0x100000, 0x1234, 0x1234, 0x11},
	{1, 0, 0x103000, 0x103000, 0x100, 0x2001, 0x22},
};

static inline void image_multiboot32(struct image *img)
{
	image_elf(img, false, 0x10000c, plain_segments, 2);
	image_multiboot(img, IMAGE_DATA + 0x40, 3);
}

/* An ELF64 file whose first segment is loaded by the address fields, header and all. */
static inline void image_kludge64(struct image *img)
{
	image_elf(img, true, 0xffffffff80100000, plain_segments, 2);
	image_multiboot_addresses(img, 0x300, 0x100300, 0x100000, 0x101000, 0x104000, 0x100400);
}

static inline void image_raw64(struct image *img)
{
	image_elf(img, true, 0x100010, plain_segments, 2);
}
