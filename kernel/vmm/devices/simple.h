/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of a register or two: the exit port, the test latch, the ways to reset, port 80. */
#pragma once

#include "lib/types.h"

struct vm;

struct test_latch {
	u32 value;  /* [a] */
	hva_t area; /* [o] */
};

/* test_device_attach - E0 to E3 read back what was written; a gpa written to E4 sends its page to swap;
 * 2000 + n drives interrupt line n; the 64 KiB at FF000000 keep what is written, by every width.
 * Return 0 or -ENOMEM. => sleeps */
int must_check test_device_attach(struct test_latch *t, struct vm *vm);
/* simple_ports_attach - those without state: F4, where a write of 1, 2 or 4 bytes ends the VM with that
 * code; resets by 92 and by the keyboard controller's pulse at 64, whose status says that nothing is
 * connected (CF9 is the PCI bus's); 80, for delays of old code: writes ignored. */
void simple_ports_attach(struct vm *vm);
