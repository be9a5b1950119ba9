/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest images made by tests, byte for byte: ELF files of both classes, multiboot headers, bzImages.
 * Written from the manuals, not from the loader's structures, so that the two are compared. */
#pragma once

#include "host.h"

#define IMAGE_MAX 65536

struct image {
	u8 bytes[IMAGE_MAX];
	size_t size;
};

static inline void put(struct image *img, size_t at, unsigned int bytes, u64 value)
{
	unsigned int i;

	assert_true(at + bytes <= IMAGE_MAX);
	for (i = 0; i < bytes; i++)
		img->bytes[at + i] = (u8)(value >> (8 * i));
	if (at + bytes > img->size)
		img->size = at + bytes;
}

struct image_segment {
	u32 type, flags; /* 1: to be loaded; 1: executable */
	u64 vaddr, paddr;
	u64 filesz, memsz;
	u8 fill; /* what its bytes in the file are */
};

#define IMAGE_DATA 0x400 /* where the first segment's bytes begin in the file */

/* Where the fields of the @i-th program header are in the file, by class. */
static inline size_t ph_at(bool wide, unsigned int i, size_t at32, size_t at64)
{
	return wide ? 64 + 56 * i + at64 : 52 + 32 * i + at32;
}

/* An executable with @nr segments, whose bytes follow one another from IMAGE_DATA on. */
static inline void image_elf(struct image *img, bool wide, u64 entry,
			     const struct image_segment *segments, unsigned int nr)
{
	unsigned int word = wide ? 8 : 4;
	size_t data = IMAGE_DATA;
	unsigned int i;

	memset(img, 0, sizeof(*img));
	put(img, 0, 4, 0x464c457f);
	put(img, 4, 1, wide ? 2 : 1);
	put(img, 5, 1, 1);
	put(img, 6, 1, 1);
	put(img, 16, 2, 2);             /* e_type: executable */
	put(img, 18, 2, wide ? 62 : 3); /* e_machine */
	put(img, 20, 4, 1);
	put(img, 24, word, entry);
	put(img, wide ? 32 : 28, word, wide ? 64 : 52); /* e_phoff */
	put(img, wide ? 52 : 40, 2, wide ? 64 : 52);    /* e_ehsize */
	put(img, wide ? 54 : 42, 2, wide ? 56 : 32);    /* e_phentsize */
	put(img, wide ? 56 : 44, 2, nr);                /* e_phnum */
	for (i = 0; i < nr; i++) {
		const struct image_segment *s = &segments[i];

		put(img, ph_at(wide, i, 0, 0), 4, s->type);
		put(img, ph_at(wide, i, 24, 4), 4, s->flags);
		put(img, ph_at(wide, i, 4, 8), word, data);
		put(img, ph_at(wide, i, 8, 16), word, s->vaddr);
		put(img, ph_at(wide, i, 12, 24), word, s->paddr);
		put(img, ph_at(wide, i, 16, 32), word, s->filesz);
		put(img, ph_at(wide, i, 20, 40), word, s->memsz);
		memset(img->bytes + data, s->fill, s->filesz);
		data += s->filesz;
	}
	if (data > IMAGE_DATA)
		img->size = data;
}

/* A multiboot header at byte @at, over what is there. */
static inline void image_multiboot(struct image *img, size_t at, u32 flags)
{
	put(img, at, 4, 0x1badb002);
	put(img, at + 4, 4, flags);
	put(img, at + 8, 4, -(0x1badb002 + flags));
}

/* The same with address fields. */
static inline void image_multiboot_addresses(struct image *img, size_t at, u32 header, u32 load,
					     u32 load_end, u32 bss_end, u32 entry)
{
	image_multiboot(img, at, 1u << 16);
	put(img, at + 12, 4, header);
	put(img, at + 16, 4, load);
	put(img, at + 20, 4, load_end);
	put(img, at + 24, 4, bss_end);
	put(img, at + 28, 4, entry);
}

#define BZIMAGE_SETUP 0x600 /* two sectors of setup behind the boot sector */
#define BZIMAGE_BYTES 0x2341u
#define BZIMAGE_FILL  0x33

/* A relocatable kernel with a 64-bit entry that wants 1.5 MiB from 2 MiB on. */
static inline void image_bzimage(struct image *img)
{
	memset(img, 0, sizeof(*img));
	put(img, 0x1f1, 1, BZIMAGE_SETUP / 512 - 1);
	put(img, 0x1f4, 4, (BZIMAGE_BYTES + 15) / 16); /* syssize */
	put(img, 0x1fa, 2, 0xffff);                    /* vid_mode */
	put(img, 0x1fe, 2, 0xaa55);
	put(img, 0x200, 1, 0xeb);
	put(img, 0x201, 1, 0x26c - 0x202); /* the header ends with kernel_info_offset */
	put(img, 0x202, 4, 0x53726448);
	put(img, 0x206, 2, 0x20f);
	put(img, 0x211, 1, 0x01);       /* loadflags: high */
	put(img, 0x214, 4, 0x100000);   /* code32_start */
	put(img, 0x22c, 4, 0x7fffffff); /* initrd_addr_max */
	put(img, 0x230, 4, 0x100000);   /* kernel_alignment */
	put(img, 0x234, 1, 1);          /* relocatable_kernel */
	put(img, 0x236, 2, 0x7f);       /* xloadflags */
	put(img, 0x238, 4, 2047);       /* cmdline_size */
	put(img, 0x258, 8, 0x200000);   /* pref_address */
	put(img, 0x260, 4, 0x180000);   /* init_size */
	put(img, 0x268, 4, 0x12345678); /* kernel_info_offset */
	memset(img->bytes + BZIMAGE_SETUP, BZIMAGE_FILL, BZIMAGE_BYTES);
	img->size = BZIMAGE_SETUP + BZIMAGE_BYTES;
}
