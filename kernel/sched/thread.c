/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a thread: create, start, run, end, join. What happens between start and end, to which
 * CPU it goes and when, is runqueue.c's.
 *
 *	thread_create --> NEW --thread_start--> RUNNABLE <--> SLEEPING
 *	                                           | fn returns
 *	                                         DEAD --thread_join--> the owner's memory again
 *
 * A thread cannot free the stack it stands on. It ends by leaving the CPU for the last time; the
 * thread that comes after it there clears on_cpu and wakes all who join; they free. */
#include "sched/thread.h"

#include "cpu/clock.h"
#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/format.h"
#include "lib/string.h"
#include "sched/sched_internal.h"
#include "sched/wait.h"

static struct spinlock threads_lock = SPINLOCK_INIT(RANK_THREADS);
static struct list threads = LIST_INIT(threads); /* under threads_lock: all not yet joined */
static struct wait_queue exits = {
	.lock = SPINLOCK_INIT(RANK_WAIT),
	.waiters = LIST_INIT(exits.waiters),
};

static struct thread boot_thread;
static struct thread idle_threads[MAX_CPUS];

/* ---- beginning ------------------------------------------------------------------------------ */

/* thread_add - what is left to do for a new *@t: its name and places. */
static void thread_add(struct thread *t, const char *name)
{
	list_init(&t->run);
	(void)str_copy(t->name, name, sizeof(t->name));
	spin_lock(&threads_lock);
	list_add_tail(&threads, &t->all);
	spin_unlock(&threads_lock);
}

noreturn_fn static void thread_exit(void)
{
	thread_use_space(NULL, NULL);
	sched_leave(LEAVE_DYING);
	panic("dead thread %s runs", thread_current()->name);
}

/* thread_main - where every thread begins, reached by context_switch's `ret`. */
noreturn_fn static void thread_main(struct thread *prev)
{
	struct thread *t = thread_current();

	sched_arrive(prev);
	irq_enable();
	sched_check();
	t->fn(t->arg);
	thread_exit();
}

/* thread_stack_prepare - what context_switch pops: six registers (RBP 0 ends backtraces) and
 * thread_main as the return address; above them no caller, and RSP as after a call. */
static u64 thread_stack_prepare(void *stack_top)
{
	u64 *sp = stack_top;

	*--sp = 0;
	*--sp = (u64)thread_main;
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	return (u64)sp;
}

int thread_create(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
		  const struct thread_ops *ops)
{
	void *stack_top = stack_alloc();
	if (!stack_top)
		return trace(-ENOMEM);

	*t = (struct thread){
		.rsp = thread_stack_prepare(stack_top), .stack_top = stack_top,
		.state = THREAD_NEW, .cpu = cpu_id(), .affinity = ~0ull, .slice_ns = SLICE_NS,
		.ops = ops, .fn = fn, .arg = arg,
	};
	thread_add(t, name);
	return 0;
}

/* thread_adopt - the code that runs here becomes thread @t. */
static void thread_adopt(struct thread *t, const char *name)
{
	*t = (struct thread){
		.state = THREAD_RUNNABLE, .on_cpu = true, .cpu = cpu_id(), .affinity = ~0ull,
		.since_ns = clock_ns(), .slice_ns = SLICE_NS,
	};
	this_cpu()->current = t;
	thread_add(t, name);
}

/* ---- end ------------------------------------------------------------------------------------ */

void thread_gone(void)
{
	wait_wake_all(&exits);
}

static bool thread_has_left(struct thread *t)
{
	/* In this order: one alive may be off its CPU now and die later; a dead one stays off. */
	return (enum thread_state)atomic_load(&t->state) == THREAD_DEAD && !atomic_load(&t->on_cpu);
}

void thread_join(struct thread *t)
{
	CHECK(t != thread_current() && t->state != THREAD_NEW, "%s joins %s, in state %u",
	      thread_current()->name, t->name, t->state);
	wait_event(&exits, thread_has_left(t));
	ASSERT(!atomic_load(&t->on_cpu), "%s joined while it stands on its stack", t->name);
	spin_lock(&threads_lock);
	list_del(&t->all);
	spin_unlock(&threads_lock);
	stack_free(t->stack_top);
	t->stack_top = NULL;
}

void thread_kill(struct thread *t)
{
	atomic_store(&t->kill, true);
	thread_wake(t); /* its lock is the barrier between the store and the look at the state */
}

/* ---- while it runs -------------------------------------------------------------------------- */

struct sleeper {
	struct timer timer;
	struct thread *thread;
};

static void sleep_is_over(struct timer *t)
{
	thread_wake(container_of(t, struct sleeper, timer)->thread);
}

int thread_sleep_ns(u64 ns)
{
	struct sleeper s = {.thread = thread_current()};
	u64 end = clock_ns() + ns;

	might_sleep();
	timer_setup(&s.timer, sleep_is_over);
	timer_arm(&s.timer, end);
	while (clock_ns() < end && !thread_killed()) {
		thread_will_sleep();
		if (clock_ns() < end && !thread_killed())
			sched_leave(LEAVE_SLEEPING);
		thread_will_not_sleep();
	}
	timer_cancel(&s.timer);
	return clock_ns() < end ? -EINTR : 0;
}

void thread_use_space(struct mm *mm, struct cpu_space *space)
{
	struct thread *t = thread_current();

	preempt_disable();
	t->mm = mm;
	t->space = space;
	if (this_cpu()->space != space)
		space_switch(space);
	preempt_enable();
}

void might_sleep(void)
{
	struct thread *t = thread_current();

	if (!NEAP_DEBUG || !t) /* before sched_init nobody can be waited for */
		return;
	CHECK(preempt_count() == 0 && irq_enabled() && t != &idle_threads[cpu_id()],
	      "%s may not sleep here: preempt_count %u, interrupts %s", t->name, preempt_count(),
	      irq_enabled() ? "on" : "off");
}

void sched_for_each(void (*fn)(struct thread *t, void *ctx), void *ctx)
{
	struct thread *t;

	spin_lock(&threads_lock);
	list_for_each(t, &threads, all)
		fn(t, ctx);
	spin_unlock(&threads_lock);
}

/* ---- what traps ask of threads -------------------------------------------------------------- */

const char *thread_name(const struct thread *t)
{
	return t->name;
}

bool thread_may_fault(const struct thread *t)
{
	return t->mm && t->pagefault_disabled == 0;
}

/* ---- boot and idle -------------------------------------------------------------------------- */

noreturn_fn static void idle_main(unused void *arg)
{
	for (;;)
		runqueue_idle();
}

static void idle_name(char *name, size_t size)
{
	(void)text_format(name, size, "idle/%u", cpu_id());
}

void sched_init(void)
{
	struct thread *idle = &idle_threads[cpu_id()];
	char name[16];

	for (u32 i = 0; i < MAX_CPUS; i++)
		runqueue_init(i);
	timer_init();
	thread_adopt(&boot_thread, "boot");

	/* The boot CPU's idle thread begins when thread "boot" first sleeps; it is never queued. */
	idle_name(name, sizeof(name));
	int err = thread_create(idle, name, idle_main, NULL, NULL);
	CHECK(err == 0, "no stack for the first idle thread: %d", err);
	idle->state = THREAD_RUNNABLE;
	runqueue_join(idle);
}

noreturn_fn void sched_idle(void)
{
	struct thread *idle = &idle_threads[cpu_id()];
	char name[16];

	if (idle->fn)
		thread_exit(); /* the boot CPU's idle thread takes over */
	idle_name(name, sizeof(name));
	thread_adopt(idle, name);
	runqueue_join(idle);
	irq_enable();
	idle_main(NULL);
}
