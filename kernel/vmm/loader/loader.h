/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest images: recognise one, check it, put it into a VM's memory, and say how its first
 * instruction is reached. Pure code: an image is bytes from anywhere (never trusted: every offset is
 * checked against overflow and the image's end), the VM's memory is two callbacks; so all of it is
 * tested on the host.
 *
 * Order of recognition (the virtual board's table): multiboot 1 magic in the first 8 KiB, multiboot
 * 2 magic in the first 32 KiB, Linux bzImage, raw ELF64. What is recognised but not loadable is
 * refused by name. A multiboot 1 header with address fields is obeyed whatever the file is; without
 * them the file must be ELF32 or ELF64, and is entered in 32-bit mode in both cases. */
#pragma once

#include "lib/types.h"

struct guest_image {
	const void *data;
	u64 size;
	const char *name;    /* the file's name: argv[0] of the guest's command line */
	const char *cmdline; /* what stood behind " -- ", "" if nothing */
	/* The initrd: multiboot 1 hands it over as the only module. data NULL if there is none. */
	const void *initrd;
	u64 initrd_size;
	const char *initrd_name;
};

/* Where an image goes. */
struct guest_ram {
	/* Usable RAM is [0, low_bytes) and, if high_bytes != 0, [4 GiB, 4 GiB + high_bytes). */
	u64 low_bytes;
	u64 high_bytes;
	/* write, zero - return 0 or a negative errno (-ENOMEM), handed on by loaders. Never called
	 * with a range outside of the RAM above. */
	int must_check (*write)(struct guest_ram *ram, gpa_t at, const void *from, u64 bytes);
	int must_check (*zero)(struct guest_ram *ram, gpa_t at, u64 bytes);
};

enum guest_entry_mode {
	ENTRY_PROT32, /* flat 32-bit protected mode, paging off */
	ENTRY_LONG64, /* long mode, paging on with cr3 */
};

struct guest_entry {
	enum guest_entry_mode mode;
	u64 rip, rax, rbx, rsi, rdi, rsp; /* rsp is 0: no loader gives a stack */
	u64 cr3;         /* ENTRY_LONG64 */
	u64 gdt;         /* is_linux: GDTR; it holds the selectors below */
	u16 gdt_limit;
	const char *kind; /* "multiboot", "elf64", ...: for the operator */
	bool is_linux;
};

/* What Linux calls __BOOT_CS and __BOOT_DS. */
enum { LINUX_CODE_SELECTOR = 0x10, LINUX_DATA_SELECTOR = 0x18 };

/* loader_load - recognise and load @img.
 * => thread context, may sleep (in the ram callbacks); 3 KiB of stack
 * => the RAM reads as zero: a bss is not written, so that it costs no frame
 * => nothing is written before the whole image has been found good
 * Return 0 with *@entry filled; -ENOEXEC if it is no image we can load, -EINVAL if it is damaged,
 * -ENOSPC if it does not fit, or what the callbacks returned; then @why holds one clear line for the
 * operator that says what to do, without the VM's name in front. */
int must_check loader_load(const struct guest_image *img, struct guest_ram *ram,
			   struct guest_entry *entry, char *why, size_t why_size);

/* e820 types, shared by every loader. */
enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3 };

struct e820_entry {
	u64 base, bytes;
	u32 type;
} packed;

#define E820_MAX 8
/* loader_e820 - the map that every guest of this board sees. Returns the number of entries. */
unsigned int loader_e820(const struct guest_ram *ram, struct e820_entry map[E820_MAX]);
