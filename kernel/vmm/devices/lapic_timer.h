/* SPDX-License-Identifier: BSD-2-Clause */
/* The timer of a local APIC: counts down from its initial count, once or again and again, or waits for the
 * TSC to reach a deadline. Intel SDM vol. 3A, "APIC Timer". */
#pragma once

#include "sched/timer.h"

#define LVT_MASKED (1u << 16)
#define LVT_TIMER_MODE (3u << 17)

struct lapic_timer {
	struct timer timer;
	void (*fired)(struct lapic_timer *t, u8 vector); /* [o] not while it is masked; any context */
	const u32 *lvt;    /* [o] its entry of the local vector table: [a] */
	u32 init, divide;  /* [t] registers as they were written */
	u64 end_ns;        /* [t] while it is stopped, else its function's; 0: stopped */
	u64 period_ns;     /* [t] 0: once */
	u64 tsc_deadline;  /* [t] while it is stopped, else [a]: as written, 0 when it has passed */
};

void lapic_timer_setup(struct lapic_timer *t, const u32 *lvt,
		       void (*fired)(struct lapic_timer *t, u8 vector));

/* lapic_timer_stop - it fires no more until it is set anew. => thread context: v's, or v has left */
void lapic_timer_stop(struct lapic_timer *t);
/* The rest: => v's thread.
 * lapic_timer_reset - stopped, and its registers are 0. */
void lapic_timer_reset(struct lapic_timer *t);
/* lapic_timer_start - the initial count was written: count from there. */
void lapic_timer_start(struct lapic_timer *t, u32 count);
/* lapic_timer_set_mode - LVT has another mode now: @left is what was left of the count. */
void lapic_timer_set_mode(struct lapic_timer *t, u32 left);
/* lapic_timer_set_divide - what is left of the count goes on at the new pace. */
void lapic_timer_set_divide(struct lapic_timer *t, u32 code);
u32 lapic_timer_count(const struct lapic_timer *t);

/* lapic_timer_set_deadline - IA32_TSC_DEADLINE was written; @now: the guest's TSC. */
void lapic_timer_set_deadline(struct lapic_timer *t, u64 tsc, u64 now);
