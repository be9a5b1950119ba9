/* SPDX-License-Identifier: BSD-2-Clause */
/* Linux/x86's setup header as it stands in a bzImage from byte 0x1f1 on, and the boot parameters (the
 * "zero page") that hold a copy of it at the same offset.
 * Source: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"; zero-page.rst. */
#pragma once

#include "vmm/loader/loader.h"

#define SETUP_HEADER_AT  0x1f1u
#define SETUP_HEADER_END 0x281u /* as far as the jump over it, of a signed byte, can reach */

struct setup_header {
	u8 setup_sects; /* 0 means 4 */
	u16 root_flags;
	u32 syssize; /* of what follows the setup, in 16 bytes */
	u16 ram_size, vid_mode, root_dev, boot_flag;
	u8 jump_opcode;
	u8 jump_bytes; /* over the rest of the header: tells its end, from magic on */
	u32 magic;
	u16 version; /* 2.15 is 0x020f */
	u32 realmode_swtch;
	u16 start_sys_seg, kernel_version;
	u8 type_of_loader, loadflags;
	u16 setup_move_size;
	u32 code32_start;
	u32 ramdisk_image, ramdisk_size;
	u32 bootsect_kludge;
	u16 heap_end_ptr;
	u8 ext_loader_ver, ext_loader_type;
	u32 cmd_line_ptr;
	u32 initrd_addr_max; /* the last byte that it may occupy */
	u32 kernel_alignment;
	u8 relocatable_kernel, min_alignment;
	u16 xloadflags;
	u32 cmdline_size; /* without the NUL */
	u32 hardware_subarch;
	u64 hardware_subarch_data;
	u32 payload_offset, payload_length;
	u64 setup_data;
	u64 pref_address;
	u32 init_size;
	u8 later[SETUP_HEADER_END - 0x264];
} packed;
static_assert(offsetof(struct setup_header, magic) == 0x202 - SETUP_HEADER_AT, "setup header");
static_assert(offsetof(struct setup_header, initrd_addr_max) == 0x22c - SETUP_HEADER_AT,
	      "setup header");
static_assert(sizeof(struct setup_header) == SETUP_HEADER_END - SETUP_HEADER_AT, "setup header");

/* The part of the page that is not all zero. What we leave 0 in it: the upper halves of the
 * addresses in the header (nothing of ours lies above 4 GiB), and the RSDP, which Linux finds. */
struct boot_params {
	u8 reserved0[6];
	u8 orig_video_mode, orig_video_cols;
	u8 reserved8[6];
	u8 orig_video_lines, orig_video_is_vga;
	u16 orig_video_points; /* height of a letter */
	u8 reserved12[0x1e8 - 0x12];
	u8 e820_entries;
	u8 reserved1e9[SETUP_HEADER_AT - 0x1e9];
	struct setup_header hdr;
	u8 reserved281[0x2d0 - SETUP_HEADER_END];
	struct e820_entry e820_table[E820_MAX];
} packed;
static_assert(offsetof(struct boot_params, orig_video_points) == 0x10, "boot parameters");
static_assert(offsetof(struct boot_params, hdr) == SETUP_HEADER_AT, "boot parameters");
static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "boot parameters");
