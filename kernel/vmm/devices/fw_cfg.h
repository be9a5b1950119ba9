/* SPDX-License-Identifier: BSD-2-Clause */
/* The firmware configuration port of QEMU's machines, for guests written for them: memory size and
 * number of CPUs. QEMU, docs/specs/fw_cfg: selector at 510 (16 bits), data at 511 (bytes). */
#pragma once

#include "cpu/spinlock.h"

struct vm;

struct fw_cfg {
	struct spinlock lock;
	u16 key;
	u32 offset;
	u8 item[8];   /* the selected item's bytes, little endian */
	u32 item_bytes;
};

/* fw_cfg_attach - reset *@f and put it on @vm's bus. */
void fw_cfg_attach(struct fw_cfg *f, struct vm *vm);
