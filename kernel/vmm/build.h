/* SPDX-License-Identifier: BSD-2-Clause */
/* From what the boot loader brought to running guests. */
#pragma once

#include "lib/types.h"

struct boot_info;

struct build_options {
	int default_mmu; /* enum vm_mmu for guests that name none */
	u64 mem_max;     /* bytes: most that one guest's mem= may be */
};

/* build_guests - make, load and start a VM for each module that is a guest; who cannot be made is
 * refused with one line and the others go on. Then the modules' frames are given back.
 * => thread context, sleeps; once */
void build_guests(const struct boot_info *info, const struct build_options *options);
