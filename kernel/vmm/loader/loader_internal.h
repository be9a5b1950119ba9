/* SPDX-License-Identifier: BSD-2-Clause */
/* What the loaders share: one load in progress, and its steps. A loader checks the whole image,
 * finds places for all that it adds, and only then writes. */
#pragma once

#include "vmm/loader/elf.h"
#include "vmm/loader/loader.h"
#include "vmm/loader/place.h"

#define RAM_BELOW_HOLE_MAX GIB(3) /* no board of ours has RAM from there to 4 GiB */

static inline u64 mib_up(u64 bytes)
{
	return (bytes >> 20) + ((bytes & (MIB(1) - 1)) != 0);
}

struct load {
	const struct guest_image *img;
	struct guest_ram *ram;
	struct guest_entry *entry;
	char *why;
	size_t why_size;
	struct place place; /* RAM that the guest or the board uses already */
	u64 image_end;      /* highest end of a segment below 4 GiB */
	u64 initrd_at;
};

/* load_fail - write "FILE: " and the message to the caller's line; returns @err. */
int load_fail(struct load *l, int err, const char *fmt, ...) printf_like(3, 4);

/* load_accept - check that the RAM can hold @image's segments and that one of them holds its entry
 * point, which must lie below 4 GiB; take their places and the initrd's. */
int must_check load_accept(struct load *l, const struct elf_image *image);

/* load_find - room for @bytes of a loader's own, below 640 KiB if possible, where kernels are
 * least likely to expect free memory; never in page 0. Takes it. @what: for the message. */
int must_check load_find(struct load *l, u64 bytes, u64 align, const char *what, u64 *at);

/* load_write, load_zero - the callbacks, which may refuse; then there is a line. */
int must_check load_write(struct load *l, u64 at, const void *from, u64 bytes);
int must_check load_zero(struct load *l, u64 at, u64 bytes);

/* load_copy - write the segments and the initrd. => load_accept() */
int must_check load_copy(struct load *l, const struct elf_image *image);

/* multiboot_find - look for a header with a right checksum; its offset in the file.
 * Return 0; -ENOENT; -EINVAL if there are only headers with a wrong checksum. */
int must_check multiboot_find(const struct guest_image *img, u64 *offset);
/* multiboot_load - load an image whose header multiboot_find() found at @offset. */
int must_check multiboot_load(struct load *l, u64 offset);
/* multiboot_info_place, multiboot_info_write - the information structure: first the place, then,
 * when everything has one, the contents. */
int must_check multiboot_info_place(struct load *l, u64 *at);
int must_check multiboot_info_write(struct load *l, u64 at);

/* elf64_load - load a bare 64-bit kernel. */
int must_check elf64_load(struct load *l);
/* identity_place, identity_write - page tables for ENTRY_LONG64, which map the first 4 GiB and all
 * RAM (up to 512 GiB) one to one: first the place, then the contents. */
int must_check identity_place(struct load *l, u64 *at);
int must_check identity_write(struct load *l, u64 at);

/* bzimage_load - load a Linux kernel. => recognised as one */
int must_check bzimage_load(struct load *l);
