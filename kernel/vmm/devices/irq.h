/* SPDX-License-Identifier: BSD-2-Clause */
/* The board's interrupt lines: 0 to 15 as ISA has them. A device says what its line is; the line leads to
 * the pair of 8259s, whose output is the LINT0 of vCPU 0, and to the I/O APIC. */
#pragma once

#include "lib/types.h"

struct vm;

enum { IRQ_TIMER = 0, IRQ_CASCADE = 2, IRQ_COM1 = 4, IRQ_RTC = 8 };
enum { IRQ_PCI = 10, IRQ_NR_PCI = 2 }; /* 10 and 11: the slots' in turn, level-triggered */

/* irq_set - @line is high, or low, from now on; repeating it is harmless.
 * => any context; a lock of RANK_DEVICE or RANK_DEVICE_IRQ may be held; takes RANK_IRQ_CHIP */
void irq_set(struct vm *vm, u32 line, bool level);
