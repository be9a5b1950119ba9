/* SPDX-License-Identifier: BSD-2-Clause */
/* What the boot loader tells: the Multiboot2 information structure, taken apart.
 *
 * The parser is pure and trusts nothing: it reads only inside the structure, checks every size, and
 * copies all but strings and the RSDP, to which it points. Bytes of the structure are foreign; so
 * who keeps a string must keep the structure, or copy.
 *
 * About GRUB 2: the kernel's command line and a module's string hold the words *behind* the file's
 * name, joined by single spaces. A word that holds a space comes in double quotes, and quotes and
 * backslashes inside any word have a backslash before them. No words: the empty string.
 *
 * Source: Multiboot2 Specification, "Boot information format". */
#pragma once

#include "lib/types.h"

#define MB2_BOOT_MAGIC  0x36d76289u /* what EAX holds at entry */
#define MB2_MAX_MAP     64
#define MB2_MAX_MODULES 32

enum { MB2_MEMORY_USABLE = 1 }; /* whatever else an entry may be is reserved */

/* [base, base + bytes) does not wrap and is not empty. Entries are in the loader's order;
 * neighbours of one type that touch are joined. */
struct boot_memory {
	u64 base, bytes;
	u32 type;
};

struct boot_module {
	u64 start, end; /* physical, [start, end); may be empty */
	const char *string;
};

enum boot_fb_type {
	BOOT_FB_NONE = -1, /* no framebuffer tag */
	BOOT_FB_INDEXED = 0,
	BOOT_FB_RGB = 1,
	BOOT_FB_TEXT = 2, /* VGA text: width and height in characters */
};

struct boot_colour {
	u8 shift, bits;
};

struct boot_framebuffer {
	enum boot_fb_type type;
	u64 addr; /* physical */
	u32 pitch, width, height;
	u8 bpp;
	struct boot_colour red, green, blue; /* BOOT_FB_RGB */
};

struct boot_info {
	const char *cmdline; /* "" if there is none */
	u32 nr_memory, nr_modules;
	u32 nr_dropped; /* modules and memory entries for which there was no room */
	struct boot_memory memory[MB2_MAX_MAP];
	struct boot_module modules[MB2_MAX_MODULES];
	struct boot_framebuffer fb;
	/* Copies of the RSDP: ACPI 1.0 (20 bytes) and 2.0 (36 or more); NULL if absent.
	 * Their checksums are not looked at. */
	const void *rsdp_old, *rsdp_new;
	u32 rsdp_new_bytes;
};

/* mb2_parse - fill @out from the structure at @info, of which at most @max_bytes can be read.
 * => @info is 8-aligned; it must live as long as @out's strings are used
 * Return 0; -EINVAL if the structure is damaged or longer than @max_bytes: then *@out is not to be
 * used. Tags of unknown type are skipped; of single tags that come twice the later counts. */
int must_check mb2_parse(const void *info, size_t max_bytes, struct boot_info *out);

/* mb2_unescape - undo in place what GRUB did to the words of a command line: one backslash before
 * each of \ ' " goes, and so do the double quotes around words that hold a space. => once a string */
void mb2_unescape(char *string);
