/* SPDX-License-Identifier: BSD-2-Clause */
/* One-shot timers. Each CPU has a list sorted by deadline (a handful of timers: sleepers, and one
 * or two per vCPU), and one local APIC timer, armed for the earlier of the list's head and the end
 * of the running thread's slice.
 *
 * The hardware is programmed only to fire *earlier*. A deadline that goes away leaves it armed;
 * when it fires for nothing, the handler arms it for what is due next, or not at all. So switching
 * to and fro between threads costs no APIC accesses, and a CPU with one thread and no timer sees at
 * most one more tick, then none.
 *
 * Invariants:
 * I1  An armed timer is on the list of queue t->cpu. t->cpu changes under that queue's lock only,
 *     of a timer that is on no list and whose fn does not run.
 * I2  A timer whose fn runs stays on that CPU: if it is armed again meanwhile, from anywhere, it
 *     goes to that queue, whose handler looks at the list once more. So timer_cancel knows where to
 *     look.
 * I3  hw_ns is 0, or the hardware fires on this CPU at hw_ns or earlier.
 *
 * Locking. One RANK_TIMER lock at a time, interrupts off; it is not held while fn runs. */
#include "sched/timer.h"

#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/spinlock.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "sched/sched_internal.h"

struct timer_queue {
	struct spinlock lock;  /* RANK_TIMER, irq */
	struct list timers;    /* under lock: by deadline, earliest first */
	struct timer *running; /* under lock: whose fn runs on this CPU */
	u64 slice_end_ns;      /* this CPU alone, interrupts off; 0: none */
	u64 hw_ns;             /* this CPU alone, interrupts off; 0: the hardware is stopped */
} aligned(64);

static struct timer_queue queues[MAX_CPUS];

/* timer_hw_set - fire here at @deadline_ns at the latest (I3). => interrupts off */
static void timer_hw_set(struct timer_queue *q, u64 deadline_ns)
{
	if (q->hw_ns && q->hw_ns <= deadline_ns)
		return;
	u64 now = clock_ns();
	q->hw_ns = deadline_ns;
	apic_timer_set(deadline_ns > now ? deadline_ns - now : 1);
}

void timer_slice(u64 end_ns)
{
	struct timer_queue *q = &queues[cpu_id()];

	q->slice_end_ns = end_ns;
	if (end_ns)
		timer_hw_set(q, end_ns);
}

void timer_setup(struct timer *t, void (*fn)(struct timer *t))
{
	*t = (struct timer){.fn = fn};
	list_init(&t->link);
}

/* timer_queue_lock - lock the queue that @t belongs to. => interrupts off */
static struct timer_queue *timer_queue_lock(struct timer *t)
{
	for (;;) {
		u32 cpu = READ_ONCE(t->cpu);
		struct timer_queue *q = &queues[cpu];
		spin_lock(&q->lock);
		if (likely(t->cpu == cpu))
			return q;
		spin_unlock_no_resched(&q->lock);
	}
}

static void timer_remove_locked(struct timer *t)
{
	list_del(&t->link);
	t->armed = false;
}

static void timer_insert_locked(struct timer_queue *q, struct timer *t)
{
	struct timer *after;

	/* Behind those that are due earlier or at the same time. */
	list_for_each(after, &q->timers, link) {
		if (after->deadline_ns > t->deadline_ns)
			break;
	}
	list_add_tail(&after->link, &t->link);
	t->armed = true;
}

void timer_arm(struct timer *t, u64 deadline_ns)
{
	u64 flags = irq_save();
	u32 here = cpu_id();
	struct timer_queue *q;

	for (;;) {
		q = timer_queue_lock(t);
		timer_remove_locked(t);
		if (t->cpu == here || q->running == t)
			break;
		t->cpu = here; /* I1; somebody else may move it on before we have our own lock */
		spin_unlock_no_resched(&q->lock);
	}
	t->deadline_ns = deadline_ns;
	timer_insert_locked(q, t);
	/* Elsewhere it is the handler that runs there which sets the hardware (I2). */
	if (t->cpu == here && list_first(&q->timers, struct timer, link) == t)
		timer_hw_set(q, deadline_ns);
	spin_unlock_no_resched(&q->lock);
	irq_restore(flags);
	sched_check();
}

void timer_cancel(struct timer *t)
{
	for (bool running = true; running;) {
		u64 flags = irq_save();
		struct timer_queue *q = timer_queue_lock(t);
		timer_remove_locked(t);
		running = q->running == t;
		ASSERT(!running || t->cpu != cpu_id(), "timer cancelled from its own fn %p",
		       (void *)t->fn);
		spin_unlock_no_resched(&q->lock);
		irq_restore(flags);
		if (running)
			cpu_relax();
	}
	sched_check();
}

/* timer_run_due - call what is due, in order of the deadlines; then arm for the next. */
static void timer_run_due(struct timer_queue *q)
{
	spin_lock(&q->lock);
	while (!list_empty(&q->timers)) {
		struct timer *t = list_first(&q->timers, struct timer, link);
		if (t->deadline_ns > clock_ns()) {
			timer_hw_set(q, t->deadline_ns);
			break;
		}
		timer_remove_locked(t);
		q->running = t;
		spin_unlock_no_resched(&q->lock);
		t->fn(t);
		spin_lock(&q->lock);
		q->running = NULL; /* *t may go once it is not running */
	}
	spin_unlock_no_resched(&q->lock);
}

static void timer_interrupt(void)
{
	struct timer_queue *q = &queues[cpu_id()];

	q->hw_ns = 0; /* it has fired and is stopped */
	timer_run_due(q);
	if (!q->slice_end_ns)
		return;
	if (clock_ns() >= q->slice_end_ns) {
		q->slice_end_ns = 0;
		atomic_store(&this_cpu()->need_resched, 1);
	} else {
		timer_hw_set(q, q->slice_end_ns);
	}
}

void timer_init(void)
{
	for (u32 i = 0; i < MAX_CPUS; i++) {
		spin_init(&queues[i].lock, RANK_TIMER);
		list_init(&queues[i].timers);
	}
	irq_set_handler(VECTOR_TIMER, timer_interrupt);
}
