/* SPDX-License-Identifier: BSD-2-Clause */
/* One-shot timers, per CPU. The local APIC's timer is armed for the earliest of this CPU's timers and
 * the running thread's slice; with one runnable thread and no timer there is no tick. */
#pragma once

#include "lib/list.h"
#include "lib/types.h"

struct timer {
	u64 deadline_ns;
	/* fn - => interrupt context, on the CPU that armed it */
	void (*fn)(struct timer *t);
	struct list link;
	u32 cpu;
	bool armed; /* under the queue's lock of ->cpu */
};

void timer_setup(struct timer *t, void (*fn)(struct timer *t));
/* timer_arm - (re)arm for @deadline_ns (clock_ns() scale). => any context */
void timer_arm(struct timer *t, u64 deadline_ns);
/* timer_cancel - after it returns ->fn does not run and will not. => not from ->fn; spins */
void timer_cancel(struct timer *t);
