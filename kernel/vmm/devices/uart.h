/* SPDX-License-Identifier: BSD-2-Clause */
/* A 16550A serial port: registers, FIFOs, interrupts, loopback. What the guest sends goes to the
 * operator's console at once; what the operator types waits here until the guest reads it. */
#pragma once

#include "vmm/devices/guest_console.h"

struct vm;

#define UART_FIFO_BYTES    16
#define UART_WAITING_BYTES 256

struct uart {
	struct guest_console console;
	struct spinlock lock; /* RANK_DEVICE; guards what follows but for [o] */
	struct vm *vm;        /* [o] */
	u32 irq;              /* [o] the board's line */
	bool level;           /* of that line, as last told */
	u8 ier, fcr, lcr, mcr, scratch;
	u8 modem_delta;       /* MSR bits 0 to 3 */
	bool thre;            /* "transmitter empty" has not been reported yet */
	bool overrun;         /* LSR has not been read yet */
	u32 nr_overruns;      /* bytes lost */
	u16 divisor;
	u32 rx_in, rx_out;           /* free-running */
	u32 waiting_in, waiting_out; /* free-running */
	u8 rx[UART_FIFO_BYTES];            /* the receiver's FIFO */
	u8 waiting[UART_WAITING_BYTES];    /* input that finds no room there */
};

/* uart_attach - reset *@u and put it on @vm's bus at @port; its interrupt is the board's line
 * @irq. */
void uart_attach(struct uart *u, struct vm *vm, u16 port, u32 irq);
/* uart_input - the operator typed @bytes. What does not even find room to wait is lost, and the
 * guest is told of an overrun. => no lock of RANK_DEVICE or above held; not in an interrupt */
void uart_input(struct uart *u, const u8 *bytes, u32 nr);
