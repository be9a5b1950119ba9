/* SPDX-License-Identifier: BSD-2-Clause */
/* It counts nanoseconds, divided as the guest asks; a struct timer is armed for its end, and what it shows
 * is computed from the clock. The vCPU's thread stops it before it changes anything that its function
 * reads, so the two need no lock. */
#include "vmm/devices/lapic_timer.h"

#include "cpu/clock.h"
#include "lib/atomic.h"

enum timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };
#define TIMER_PERIOD_MIN_NS 20000ull /* what is quicker is served at this pace */

static u32 divisor_log2(const struct lapic_timer *t)
{
	u32 code = (t->divide & 3) | (t->divide >> 1 & 4);

	return (code + 1) & 7;
}

static enum timer_mode timer_mode(const struct lapic_timer *t)
{
	return (atomic_load(t->lvt) & LVT_TIMER_MODE) >> 17;
}

/* timer_fires - periods that nobody could be told of, because the CPU came late, are let go: the guest
 * reads the clock. */
static void timer_fires(struct timer *timer)
{
	struct lapic_timer *t = container_of(timer, struct lapic_timer, timer);
	u32 lvt = atomic_load(t->lvt);

	if (!(lvt & LVT_MASKED))
		t->fired(t, (u8)lvt);
	if (!t->period_ns) {
		t->end_ns = 0;
		t->tsc_deadline = 0;
		return;
	}
	u64 late = MAX(clock_ns(), t->end_ns) - t->end_ns;
	t->end_ns += (late / t->period_ns + 1) * t->period_ns;
	timer_arm(&t->timer, t->end_ns);
}

void lapic_timer_setup(struct lapic_timer *t, const u32 *lvt,
		       void (*fired)(struct lapic_timer *t, u8 vector))
{
	*t = (struct lapic_timer){.lvt = lvt, .fired = fired};
	timer_setup(&t->timer, timer_fires);
}

void lapic_timer_reset(struct lapic_timer *t)
{
	lapic_timer_stop(t);
	t->init = t->divide = 0;
}

void lapic_timer_stop(struct lapic_timer *t)
{
	timer_cancel(&t->timer);
	t->end_ns = t->period_ns = 0;
	t->tsc_deadline = 0;
}

/* Count @left now, and if it is periodic the initial count from then on. */
static void count_down(struct lapic_timer *t, u32 left)
{
	u64 ns = (u64)left << divisor_log2(t), period = (u64)t->init << divisor_log2(t);

	lapic_timer_stop(t);
	if (!left || timer_mode(t) == TIMER_DEADLINE)
		return;
	if (timer_mode(t) == TIMER_PERIODIC) {
		t->period_ns = MAX(period, TIMER_PERIOD_MIN_NS);
		ns = MAX(ns, TIMER_PERIOD_MIN_NS);
	}
	t->end_ns = clock_ns() + ns;
	timer_arm(&t->timer, t->end_ns);
}

void lapic_timer_start(struct lapic_timer *t, u32 count)
{
	if (timer_mode(t) == TIMER_DEADLINE)
		return; /* Intel SDM, "TSC-Deadline Mode": such writes are ignored */
	t->init = count;
	count_down(t, count);
}

/* Intel SDM, "TSC-Deadline Mode": a change to or from it disarms. Between the others the count goes on. */
void lapic_timer_set_mode(struct lapic_timer *t, u32 left)
{
	if (left && timer_mode(t) != TIMER_DEADLINE)
		count_down(t, left);
	else
		lapic_timer_stop(t);
}

void lapic_timer_set_divide(struct lapic_timer *t, u32 code)
{
	u32 left = lapic_timer_count(t);

	t->divide = code;
	if (left)
		count_down(t, left);
}

u32 lapic_timer_count(const struct lapic_timer *t)
{
	u64 end = atomic_load(&t->end_ns), now = clock_ns(), period = t->period_ns;

	if (!end || timer_mode(t) == TIMER_DEADLINE)
		return 0;
	if (end <= now && period) /* its function is late; the count is not */
		end += ((now - end) / period + 1) * period;
	return end > now ? (end - now) >> divisor_log2(t) : 0;
}

void lapic_timer_set_deadline(struct lapic_timer *t, u64 tsc, u64 now)
{
	if (timer_mode(t) != TIMER_DEADLINE)
		return;
	lapic_timer_stop(t);
	if (!tsc)
		return;
	t->tsc_deadline = tsc;
	t->end_ns = clock_ns() + (tsc > now ? clock_tsc_to_ns(tsc - now) : 0);
	timer_arm(&t->timer, t->end_ns);
}
