/* SPDX-License-Identifier: BSD-2-Clause */
/* A 16550A serial port, enough for drivers that poll: registers, FIFO bits, loopback. */
#pragma once

#include "vmm/devices/guest_console.h"

struct vm;

struct uart {
	struct guest_console console;
	struct spinlock lock;
	u8 ier, fcr, lcr, mcr, scratch;
	u16 divisor;
	bool has_rx;  /* by loopback */
	u8 rx;
};

/* uart_attach - reset *@u and put it on @vm's bus. */
void uart_attach(struct uart *u, struct vm *vm, u16 port);
