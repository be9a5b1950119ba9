/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of a register or two: the exit port, the test latch, the ways to reset, port 80. */
#pragma once

#include "lib/types.h"

struct vm;

struct test_latch {
	u32 value; /* [a] */
};

/* test_device_attach - E0 to E3 read back what was written; a gpa written to E4 sends its page to swap;
 * 2000 + n drives interrupt line n. */
void test_device_attach(struct test_latch *t, struct vm *vm);
/* simple_ports_attach - those without state: F4, where a write of 1, 2 or 4 bytes ends the VM with that
 * code; CF9, 92, and the keyboard controller's pulse at 64, whose status says that nothing is connected;
 * 80, for delays of old code: writes ignored. */
void simple_ports_attach(struct vm *vm);
