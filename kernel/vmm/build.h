/* SPDX-License-Identifier: BSD-2-Clause */
/* From what the boot loader brought to running guests. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct boot_info;

#define BUILD_KEEP_BYTES MIB(1)

struct build_options {
	int default_mmu; /* enum vm_mmu for guests that name none */
	u64 mem_max;     /* bytes: most that one guest's mem= may be */
	bool keep;       /* guests' files of up to BUILD_KEEP_BYTES, for build_start */
};

/* build_guests - make, load and start a VM for each module that is a guest; who cannot be made is
 * refused with one line and the others go on. Then the frames of modules that are not kept are given
 * back. => thread context, sleeps; once; @info lives for ever */
void build_guests(const struct boot_info *info, const struct build_options *options);

/* An image: a module's file, by the vm= of its line. */
struct build_image {
	const char *name;
	u64 bytes;
	bool kept;
};
/* build_image - the @i-th image; false past the last. */
bool build_image(u32 i, struct build_image *out);

/* build_start - one more VM from the file of @image, which may also be a guest that said image=;
 * @line is a module line. => the thread that called build_guests
 * Return 0; else @why holds one line: -ENOENT: there is no such image, or it was not kept; -EINVAL:
 * the line; errors of vm_create and of the loader. */
int must_check build_start(const char *image, const char *line, char *why, size_t why_size);
