/* SPDX-License-Identifier: BSD-2-Clause */
/* One-shot timers, per CPU. The local APIC's timer is armed for the earliest of this CPU's timers
 * and the running thread's slice; with one runnable thread and no timer there is no tick. */
#pragma once

#include "lib/list.h"

/* [t] the timer queue's lock of ->cpu */
struct timer {
	u64 deadline_ns; /* [t] */
	/* fn - => interrupt context, on the CPU that armed it; may arm it again */
	void (*fn)(struct timer *t);
	struct list link; /* [t] */
	u32 cpu;          /* [t] */
	bool armed;       /* [t] */
};

void timer_setup(struct timer *t, void (*fn)(struct timer *t));
/* timer_arm - (re)arm for @deadline_ns (clock_ns() scale). => any context; no lock of RANK_TIMER or
 * above held */
void timer_arm(struct timer *t, u64 deadline_ns);
/* timer_cancel - after it returns ->fn does not run and will not, unless somebody arms it again.
 * => not from ->fn, nor holding a lock that ->fn takes; spins */
void timer_cancel(struct timer *t);
