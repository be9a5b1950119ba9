/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of threads: stacks, hooks, address spaces, joins. */
#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "sched/thread.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"

static u32 nr_short_lives;

static void short_life(void *arg)
{
	(void)arg;
	atomic_add(&nr_short_lives, 1);
}

static void test_create_join(void)
{
	u64 low = ~0ull, high = 0;

	watchdog_start("create, join");
	nr_short_lives = 0;
	for (u32 i = 0; i < 1000 / 4; i++) {
		workers_start(4, short_life);
		for (u32 k = 0; k < 4; k++) {
			low = MIN(low, (u64)workers[k].thread.stack_top);
			high = MAX(high, (u64)workers[k].thread.stack_top);
		}
		workers_join(4);
	}
	report(nr_short_lives == 1000, "1000 threads live: %u", nr_short_lives);
	report(high - low < 64 * STACK_BYTES,
	       "and leave their stacks to the next: they span %lu KiB", (high - low) / 1024);
	watchdog_stop();
}

static bool last_switch; /* [a] worker 0 is about to leave its stack */

static void hold_last_switch(void *ctx)
{
	(void)ctx;
	atomic_store(&last_switch, true);
	busy_wait(20 * MS);
}

static void dies_slowly(void *arg)
{
	(void)arg;
	race_arm("sched.switch", 0, hold_last_switch, NULL);
}

/* The dead thread is held on its stack, by a CPU that we do not need. */
static void test_join_waits(void)
{
	if (nr_cpus < 2) {
		report_skip("thread_join waits until the stack is left", "one CPU");
		return;
	}
	watchdog_start("join waits");
	thread_set_affinity(thread_current(), 1);
	last_switch = false;
	worker_start_on(0, dies_slowly, 2, NULL);
	while (!atomic_load(&last_switch))
		cpu_relax();
	while (READ_ONCE(workers[0].thread.state) != THREAD_DEAD)
		cpu_relax();
	workers_join(1);
	report(!workers[0].thread.on_cpu, "thread_join waits until the stack is left");
	thread_set_affinity(thread_current(), ~0ull);
	watchdog_stop();
}

static void hook_in(struct thread *t)
{
	struct worker *w = container_of(t, struct worker, thread);

	CHECK(!irq_enabled() && thread_current() == t && !w->inside, "switch_in out of place");
	w->inside = true;
}

static void hook_out(struct thread *t)
{
	struct worker *w = container_of(t, struct worker, thread);

	CHECK(!irq_enabled() && thread_current() == t && w->inside, "switch_out out of place");
	w->inside = false;
	w->count++;
}

static const struct thread_ops hooks = {.switch_in = hook_in, .switch_out = hook_out};
static u32 nr_outside;

static void hooked(void *arg)
{
	struct worker *w = arg;

	for (u32 i = 0; i < 200; i++) {
		if (!READ_ONCE(w->inside))
			atomic_add(&nr_outside, 1);
		if (i % 3 == 0)
			(void)thread_sleep_ns(1000 * 1000); /* not over before it begins, on a busy host */
		else
			thread_yield();
	}
}

static void test_hooks(void)
{
	watchdog_start("hooks");
	nr_outside = 0;
	for (u32 i = 0; i < 4; i++)
		worker_start_on(i, hooked, 0, &hooks);
	workers_join(4);
	report(nr_outside == 0 && !workers[0].inside && workers[0].count > 10,
	       "switch_in and switch_out alternate: %lu pairs", workers[0].count);
	watchdog_stop();
}

static struct cpu_space spaces[2]; /* two names for the kernel's own tables */
static u32 nr_wrong_space;

static void space_user(void *arg)
{
	struct worker *w = arg;
	struct cpu_space *s = &spaces[w->index % 2];

	thread_use_space(NULL, s);
	for (u32 i = 0; i < 500; i++) {
		preempt_disable();
		if (this_cpu()->space != s || !(atomic_load(&s->active) & 1ull << cpu_id()))
			atomic_add(&nr_wrong_space, 1);
		preempt_enable();
		if (i % 8 == 0)
			(void)thread_sleep_ns(20000);
		else
			thread_yield();
	}
}

static void test_spaces(void)
{
	watchdog_start("spaces");
	for (u32 i = 0; i < 2; i++)
		spaces[i] = (struct cpu_space){.cr3 = read_cr3()};
	workers_start(4, space_user);
	workers_join(4);
	report(nr_wrong_space == 0,
	       "a thread finds its own address space after every switch: %u times not",
	       nr_wrong_space);
	report(!spaces[0].active && !spaces[1].active,
	       "no CPU keeps that of a dead thread: %#lx %#lx", spaces[0].active, spaces[1].active);
	watchdog_stop();
}

static void test_threads(void)
{
	test_create_join();
	test_join_waits();
	test_hooks();
	test_spaces();
}
KERNEL_SUITE(threads, test_threads);
