/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder know of each other. */
#pragma once

#include "sched/thread.h"
#include "sched/timer.h"

/* Why the running thread leaves its CPU. */
enum leave {
	LEAVE_PREEMPTED, /* it would go on; goes on if nobody goes before it */
	LEAVE_YIELDING,  /* it lets the others of this CPU go first */
	LEAVE_SLEEPING,  /* until thread_wake, unless that came meanwhile */
	LEAVE_DYING,     /* for good */
};

/* ---- runqueue.c ----------------------------------------------------------------------------- */

/* sched_leave - run another thread, or this one again.
 * => preempt_count 0; interrupts in any state: it is put back when the thread runs again */
void sched_leave(enum leave why);
/* sched_arrive - what each thread does first when it gets the CPU, @prev having just left it.
 * => interrupts off; the run queue's lock is handed over */
void sched_arrive(struct thread *prev);

/* sched_check - let a thread go first that was just made runnable here. => any context */
static inline void sched_check(void)
{
	if (unlikely(need_resched()))
		preempt_schedule();
}

/* thread_will_sleep - the current thread sleeps at its next LEAVE_SLEEPING, unless woken before. */
void thread_will_sleep(void);
/* thread_will_not_sleep - takes that back. */
void thread_will_not_sleep(void);
/* thread_wake - end @t's sleep, or its intention to sleep; nothing if it has none. It may find a
 * reason to sleep again: every sleeper looks.
 * => any context; no lock of RANK_RUNQUEUE held; @t does not end meanwhile */
void thread_wake(struct thread *t);

void runqueue_init(u32 cpu);
/* runqueue_join - from now on this CPU, running @idle now or (boot CPU) later, takes threads. */
void runqueue_join(struct thread *idle);
/* runqueue_idle - one round of the idle thread: find work or halt.
 * => preempt_count 0, interrupts on */
void runqueue_idle(void);

/* ---- timer.c -------------------------------------------------------------------------------- */

void timer_init(void);
/* timer_slice - set need_resched here at @end_ns; 0: no slice ends. => interrupts off */
void timer_slice(u64 end_ns);

/* ---- mutex.c, rwsem.c ----------------------------------------------------------------------- */

/* assert_may_sleep - might_sleep, without a call in release builds: for paths that are counted. */
static inline void assert_may_sleep(void)
{
	if (NEAP_DEBUG)
		might_sleep();
}

/* ---- thread.c ------------------------------------------------------------------------------- */

/* thread_gone - a thread has left its stack for good; tell who joins.
 * => interrupts off, no lock held */
void thread_gone(void);

/* ---- switch.S ------------------------------------------------------------------------------- */

/* context_switch - save @prev's registers, go on with @next's.
 * Return who ran before, to the thread that now runs. A new thread finds it in RDI. */
struct thread *context_switch(struct thread *prev, struct thread *next);
