/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of a register or two: the exit port, the test latch, the ways to reset, port 80. */
#pragma once

#include "lib/types.h"

struct vm;

struct test_latch {
	u32 value; /* [a] */
};

/* exit_port_attach - F4: a write of 1, 2 or 4 bytes ends the VM with that code. */
void exit_port_attach(struct vm *vm);
/* test_latch_attach - E0 to E3 read back what was written. */
void test_latch_attach(struct test_latch *t, struct vm *vm);
/* reset_ports_attach - CF9, 92, and the keyboard controller's pulse at 64, whose status says that
 * nothing is connected. port80_attach - delays of old code: writes ignored. */
void reset_ports_attach(struct vm *vm);
void port80_attach(struct vm *vm);
