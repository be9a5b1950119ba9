/* SPDX-License-Identifier: BSD-2-Clause */
/* A reader for ELF executables of x86, 32 and 64 bit, which trusts no byte of them. */
#pragma once

#include "lib/types.h"

#define ELF_SEGMENTS_MAX 32

enum elf_class { ELF_NONE, ELF_32, ELF_64 };

/* What is to be in memory before the first instruction: the first file_bytes of the segment come
 * from the file, the rest of mem_bytes is zero. */
struct elf_segment {
	u64 paddr;
	u64 mem_bytes; /* never 0; paddr + mem_bytes does not wrap, nor pass 4 GiB in ELF_32 */
	u64 offset;
	u64 file_bytes; /* at most mem_bytes; within the file */
	unsigned int index; /* in the table of program headers, as readelf counts: for messages */
};

struct elf_image {
	enum elf_class class;
	u64 entry; /* physical */
	unsigned int nr;
	struct elf_segment segment[ELF_SEGMENTS_MAX]; /* no two overlap in memory */
};

/* elf_class_of - ELF_32 or ELF_64 by the first bytes, ELF_NONE if this is no ELF file. */
enum elf_class elf_class_of(const void *data, u64 size);

struct load;

/* elf_read - the loadable segments of @l's image, and the entry point. Where a kernel is linked to
 * run at other addresses than it is loaded at, the entry is translated by the segment around it.
 * Return 0; -ENOEXEC if it is an ELF file for something else; -EINVAL if it is damaged; then load_fail
 * has said so. Source: System V ABI, "Object files", "Program loading". */
int must_check elf_read(struct load *l, struct elf_image *out);
