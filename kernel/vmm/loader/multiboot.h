/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 as it stands in files and in memory.
 * Source: Multiboot Specification version 0.6.96, "The layout of Multiboot header", "Boot
 * information format". */
#pragma once

#include "lib/types.h"

#define MULTIBOOT_HEADER_MAGIC 0x1badb002u
#define MULTIBOOT_EAX          0x2badb002u
#define MULTIBOOT_SEARCH_BYTES 8192u /* the header lies wholly in these */

enum {
	/* Aligned modules, memory, video. A video mode is asked for, but never given: as QEMU does,
	 * which guests live with. */
	MULTIBOOT_UNDERSTOOD = 1 << 0 | 1 << 1 | 1 << 2,
	MULTIBOOT_REQUIRED = 0xffff, /* who does not know one of these bits must not load */
	MULTIBOOT_HAS_ADDRESSES = 1 << 16,
};

struct multiboot_header {
	u32 magic, flags, checksum;
	/* Only with MULTIBOOT_HAS_ADDRESSES: */
	u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

#define MULTIBOOT_HEADER_MIN offsetof(struct multiboot_header, header_addr)

/* Which fields mean something: memory, boot device, command line, modules, mmap, loader's name. */
#define MULTIBOOT_INFO_GIVEN (1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9)

struct multiboot_info {
	u32 flags;
	u32 mem_lower, mem_upper; /* KiB */
	u32 boot_device;
	u32 cmdline;
	u32 mods_count, mods_addr;
	u32 symbols[4];
	u32 mmap_length, mmap_addr;
	u32 drives_length, drives_addr;
	u32 config_table;
	u32 boot_loader_name;
	u32 apm_table;
	u32 vbe[4];
};
static_assert(sizeof(struct multiboot_info) == 88, "multiboot information");

struct multiboot_module {
	u32 start, end; /* end is the first byte behind it */
	u32 string;
	u32 reserved;
};

struct multiboot_mmap {
	u32 size; /* of what follows: 20 */
	u64 base, bytes;
	u32 type; /* as in e820 */
} packed;
static_assert(sizeof(struct multiboot_mmap) == 24, "multiboot memory map entry");
