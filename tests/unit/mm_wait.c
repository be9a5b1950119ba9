/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting on the host: there is nobody behind a wait queue. Who would sleep lets time pass instead
 * (mm_host_pass_time: disks answer) and looks again. Where time passes and nothing can come of it, one
 * thread alone would wait for ever: that is a failure. With real threads it yields to the others. */
#include <sched.h>
#include <time.h>

#include "mm_host.h"

#include "cpu/clock.h"
#include "sched/mutex.h"
#include "sched/wait.h"

bool (*mm_host_pass_time)(void);
u32 mm_host_sleeps[MM_HOST_CPUS];
struct mm_host_daemon mm_host_daemon;

#define MANY_YIELDS 100000u
static _Thread_local u32 yields; /* since this thread last slept */

static void let_time_pass(const char *what)
{
	bool passed = mm_host_pass_time && mm_host_pass_time();

	if (!passed && !mm_host_threads)
		panic("%s: would wait for ever", what);
	if (!passed)
		atomic_add(&mm_host_sleeps[cpu_id()], 1);
	if (!passed)
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* ---- wait queues ------------------------------------------------------------------------------- */

void wait_init(struct wait_queue *q)
{
	spin_init(&q->lock, RANK_WAIT);
	list_init(&q->waiters);
}

void wait_prepare(unused struct wait_queue *q, unused struct waiter *w)
{
}

void wait_sleep(void)
{
	yields = 0;
	if (mm_host_daemon.thread == thread_current() && atomic_load(&mm_host_daemon.stop))
		longjmp(mm_host_daemon.end, 1);
	let_time_pass("wait_sleep");
}

void wait_finish(unused struct wait_queue *q, unused struct waiter *w)
{
}

/* Sleepers look by themselves; but the ranks are looked at. */
void wait_wake(struct wait_queue *q, unused unsigned int n)
{
	spin_lock(&q->lock);
	spin_unlock(&q->lock);
}

void wait_wake_all(struct wait_queue *q)
{
	wait_wake(q, ~0u);
}

/* ---- threads ----------------------------------------------------------------------------------- */

weak void thread_yield(void)
{
	might_sleep();
	if (mm_host_threads)
		sched_yield(); /* and time does not pass by it: who needs a disk must wait for it */
	else if (++yields > MANY_YIELDS)
		panic("thread_yield: %u times, and nothing changed", yields);
}

int thread_sleep_ns(unused u64 ns)
{
	might_sleep();
	if (mm_host_pass_time)
		(void)mm_host_pass_time();
	return thread_killed() ? -EINTR : 0;
}

/* The reclaim thread is the only one. */
int thread_create(struct thread *t, unused const char *name, void (*fn)(void *arg), void *arg,
		  const struct thread_ops *ops)
{
	*t = (struct thread){.fn = fn, .arg = arg, .ops = ops};
	return 0;
}

void thread_start(struct thread *t)
{
	mm_host_daemon.fn = t->fn;
}

static void *daemon_run(void *cpu)
{
	mm_host_cpu((u64)cpu);
	mm_host_daemon.thread = thread_current();
	if (setjmp(mm_host_daemon.end) == 0)
		mm_host_daemon.fn(NULL);
	mm_host_daemon.thread = NULL;
	return NULL;
}

void mm_host_daemon_start(u64 cpu)
{
	assert_true(mm_host_threads);
	assert_non_null(mm_host_daemon.fn);
	mm_host_daemon.stop = false;
	assert_int_equal(pthread_create(&mm_host_daemon.pthread, NULL, daemon_run, (void *)cpu), 0);
}

void mm_host_daemon_stop(void)
{
	atomic_store(&mm_host_daemon.stop, true);
	pthread_join(mm_host_daemon.pthread, NULL);
}

/* ---- sleeping locks ---------------------------------------------------------------------------- */

void mutex_init(struct mutex *m)
{
	m->state = 0;
}

void mutex_lock(struct mutex *m)
{
	u32 none = 0;

	might_sleep();
	while (!atomic_cas(&m->state, &none, 1u)) {
		none = 0;
		let_time_pass("mutex_lock");
	}
}

void mutex_unlock(struct mutex *m)
{
	if (atomic_xchg(&m->state, 0u) != 1)
		panic("mutex_unlock: nobody has it");
}

/* ---- locks that interrupts take ------------------------------------------------------------------ */

weak u64 spin_lock_irqsave(struct spinlock *l)
{
	spin_lock(l);
	return 0;
}

weak void spin_unlock_irqrestore(struct spinlock *l, unused u64 flags)
{
	spin_unlock(l);
}
