/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818 real-time clock of a PC: ports 70 and 71, 128 bytes, interrupt line 8. */
#pragma once

#include "cpu/cmos.h"
#include "cpu/spinlock.h"
#include "sched/timer.h"

struct vm;

struct rtc {
	struct spinlock lock; /* RANK_DEVICE_IRQ; guards what follows but for [o] */
	struct vm *vm;        /* [o] */
	struct timer timer;   /* the next event that interrupts */
	u64 base_ns;          /* the wall clock less clock_ns(), modulo 2^64 */
	u64 seen_ns;          /* of clock_ns(): what happened until then is in the registers */
	u8 index;             /* port 70, with the NMI mask */
	u8 reg[CMOS_BYTES];
};

/* rtc_attach - reset *@r and put it on @vm's bus.
 * @wall_seconds: since 1970, UTC, when clock_ns() was 0 */
void rtc_attach(struct rtc *r, struct vm *vm, u64 wall_seconds);
/* rtc_stop - the timer fires no more. => thread context; the vCPUs have left */
void rtc_stop(struct rtc *r);
