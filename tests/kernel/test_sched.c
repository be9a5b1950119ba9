/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads on the real processors: does everybody run, where and when they should, and only once? */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/format.h"
#include "lib/string.h"
#include "sched/thread.h"
#include "sched/timer.h"
#include "sched/wait.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"

struct worker workers[NR_WORKERS];

/* ---- watchdog and workers ------------------------------------------------------------------- */

static struct timer watchdog;
static const char *watched;
static u64 test_ends;

static void print_thread(struct thread *t, void *ctx)
{
	(void)ctx;
	printk("  %-16s state %u on_cpu %u cpu %u queued %u affinity %#lx run %lu us\n", t->name,
	       t->state, t->on_cpu, t->cpu, !list_empty(&t->run), t->affinity, t->run_ns / 1000);
}

static void watchdog_barks(struct timer *t)
{
	(void)t;
	printk("stuck: %s\n", watched);
	sched_for_each(print_thread, NULL);
	panic("a test thread was not woken, or not run: %s", watched);
}

void watchdog_start(const char *what)
{
	if (!watched)
		timer_setup(&watchdog, watchdog_barks);
	watched = what;
	test_ends = clock_ns() + 5000 * MS;
	timer_arm(&watchdog, clock_ns() + 120000 * MS);
}

void watchdog_stop(void)
{
	timer_cancel(&watchdog);
}

bool test_goes_on(void)
{
	return clock_ns() < test_ends;
}

void worker_start_on(u32 i, void (*fn)(void *arg), u64 affinity, const struct thread_ops *ops)
{
	char name[16];
	struct worker *w = &workers[i];

	memset(w, 0, sizeof(*w));
	w->index = i;
	(void)text_format(name, sizeof(name), "worker/%u", i);
	CHECK(thread_create(&w->thread, name, fn, w, ops) == 0, "no stack for %s", name);
	if (affinity)
		thread_set_affinity(&w->thread, affinity);
	thread_start(&w->thread);
}

void workers_start(u32 nr, void (*fn)(void *arg))
{
	for (u32 i = 0; i < nr; i++)
		worker_start_on(i, fn, 0, NULL);
}

void workers_join(u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		thread_join(&workers[i].thread);
}

void busy_wait(u64 ns)
{
	u64 end = clock_ns() + ns;

	while (clock_ns() < end)
		cpu_relax();
}

/* ---- wake-ups ------------------------------------------------------------------------------- */

#define NR_PASSES 100000u
#define NR_RING   4u

static struct wait_queue ring[NR_RING];
static u32 token; /* whose turn it is, modulo NR_RING */

static bool ring_ended(void)
{
	return atomic_load(&token) >= NR_PASSES || !test_goes_on();
}

static void ring_member(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		wait_event(&ring[w->index],
			   atomic_load(&token) % NR_RING == w->index || ring_ended());
		if (ring_ended())
			break;
		u32 next = atomic_add(&token, 1);
		wait_wake_all(&ring[next % NR_RING]);
	}
	for (u32 i = 0; i < NR_RING; i++)
		wait_wake_all(&ring[i]);
}

static void test_ping_pong(void)
{
	watchdog_start("ping-pong");
	token = 0;
	for (u32 i = 0; i < NR_RING; i++)
		wait_init(&ring[i]);
	u64 start = clock_ns();
	workers_start(NR_RING, ring_member);
	workers_join(NR_RING);
	/* After a lost wake-up nobody looks at the clock: that is the watchdog's case. */
	report(token > 0, "%u threads pass a token %u times, no wake-up is lost (%lu ns each)",
	       NR_RING, token, (clock_ns() - start) / token);
	watchdog_stop();
}

static struct wait_queue crowd;
static u32 tickets, served;

static void crowd_member(void *arg)
{
	(void)arg;
	for (;;) {
		u32 seen;
		wait_event(&crowd, atomic_load(&tickets) > 0);
		seen = atomic_load(&tickets);
		if (seen == ~0u)
			return;
		if (seen > 0 && atomic_cas(&tickets, &seen, seen - 1))
			atomic_add(&served, 1);
	}
}

/* Each ticket wakes one sleeper only: were that wake-up spent on nobody, the ticket would stay. */
static void test_wake_one(void)
{
	watchdog_start("wake one");
	wait_init(&crowd);
	tickets = served = 0;
	workers_start(6, crowd_member);
	u32 given = 0;
	for (; given < 5000 && test_goes_on(); given++) {
		atomic_add(&tickets, 1);
		wait_wake(&crowd, 1);
		if (given % 8 == 0)
			(void)thread_sleep_ns(20000);
	}
	while (atomic_load(&tickets))
		(void)thread_sleep_ns(100000);
	atomic_store(&tickets, ~0u);
	wait_wake_all(&crowd);
	workers_join(6);
	report(served == given, "6 sleepers woken one at a time serve all tickets: %u of %u",
	       served, given);
	watchdog_stop();
}

/* ---- time ----------------------------------------------------------------------------------- */

static void test_sleep(void)
{
	static const u64 times[] = {50000, MS, 5 * MS, 30 * MS};

	watchdog_start("sleep");
	for (u32 i = 0; i < ARRAY_SIZE(times); i++) {
		u64 start = clock_ns();
		int err = thread_sleep_ns(times[i]);
		u64 took = clock_ns() - start;
		report(err == 0 && took >= times[i] && took < times[i] + 200 * MS,
		       "sleep of %lu us takes %lu us", times[i] / 1000, took / 1000);
	}
	watchdog_stop();
}

static bool stop_spinning; /* [a] */

static void spinner(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop_spinning)) {
		WRITE_ONCE(w->count, w->count + 1);
		cpu_relax();
	}
}

/* Two threads that never give up one CPU, and a third there that sleeps. */
static void test_preemption(void)
{
	u64 last = 1ull << (nr_cpus - 1);

	watchdog_start("preemption");
	atomic_store(&stop_spinning, false);
	worker_start_on(0, spinner, last, NULL);
	worker_start_on(1, spinner, last, NULL);
	thread_set_affinity(thread_current(), last);
	u32 prompt = 0;
	for (int i = 0; i < 20; i++) {
		u64 start = clock_ns();
		(void)thread_sleep_ns(10 * MS);
		prompt += clock_ns() - start < 14 * MS;
	}
	atomic_store(&stop_spinning, true);
	workers_join(2);
	thread_set_affinity(thread_current(), ~0ull);

	u64 a = workers[0].thread.run_ns, b = workers[1].thread.run_ns;
	report(workers[0].count && workers[1].count && a < 8 * b && b < 8 * a,
	       "spinning threads share a CPU by slices: %lu us, %lu us", a / 1000, b / 1000);
	report(prompt >= 5, "a sleeper goes before them when it wakes: %u of 20 times at once",
	       prompt);
	watchdog_stop();
}

static void test_no_tick_alone(void)
{
	watchdog_start("no tick");
	watchdog_stop();
	busy_wait(30 * MS); /* a tick armed earlier may come yet */
	u64 irqs = this_cpu()->irqs;
	u32 cpu = cpu_id();
	busy_wait(100 * MS);
	irqs = this_cpu()->irqs - irqs;
	report(cpu == cpu_id() && irqs == 0,
	       "a thread alone on its CPU sees no interrupt in 100 ms: %lu", irqs);
}

/* ---- places --------------------------------------------------------------------------------- */

static u32 nr_wrong_cpu;

static void wanderer(void *arg)
{
	struct worker *w = arg;

	for (u32 i = 0; i < 500; i++) {
		u32 cpu = (i * 7 + w->index) % nr_cpus;
		thread_set_affinity(thread_current(), 1ull << cpu);
		if (cpu_id() != cpu)
			atomic_add(&nr_wrong_cpu, 1);
		if (i % 16 == 0)
			(void)thread_sleep_ns(10000);
		else if (i % 4 == 0)
			thread_yield();
		if (cpu_id() != cpu)
			atomic_add(&nr_wrong_cpu, 1);
	}
}

static void test_affinity(void)
{
	watchdog_start("affinity");
	nr_wrong_cpu = 0;
	workers_start(6, wanderer);
	workers_join(6);
	report(nr_wrong_cpu == 0,
	       "6 threads change their CPU 500 times and are there: %u times not", nr_wrong_cpu);

	u64 late = 0;
	atomic_store(&stop_spinning, false);
	worker_start_on(0, spinner, 0, NULL);
	for (u32 i = 0; i < 100; i++) {
		u32 cpu = i % nr_cpus;
		thread_set_affinity(&workers[0].thread, 1ull << cpu);
		for (u64 start = clock_ns();; thread_yield()) {
			if (READ_ONCE(workers[0].thread.cpu) == cpu)
				break;
			late = MAX(late, clock_ns() - start);
		}
	}
	atomic_store(&stop_spinning, true);
	workers_join(1);
	report(late < 200 * MS,
	       "a running thread is sent to another CPU 100 times, in %lu us at most", late / 1000);
	watchdog_stop();
}

/* More spinners than CPUs, all started here: the others must fetch them. */
static void test_stealing(void)
{
	u64 idle[MAX_CPUS], most = 0;

	watchdog_start("stealing");
	atomic_store(&stop_spinning, false);
	workers_start(2 * nr_cpus < NR_WORKERS ? 2 * nr_cpus : NR_WORKERS, spinner);
	(void)thread_sleep_ns(20 * MS);
	for (u32 i = 0; i < nr_cpus; i++)
		idle[i] = cpus[i]->idle_ns;
	(void)thread_sleep_ns(100 * MS);
	for (u32 i = 0; i < nr_cpus; i++)
		most = MAX(most, cpus[i]->idle_ns - idle[i]);
	atomic_store(&stop_spinning, true);
	workers_join(2 * nr_cpus < NR_WORKERS ? 2 * nr_cpus : NR_WORKERS);
	report(most < 30 * MS, "with two threads for each of %u CPUs none idles: %lu us of 100 ms",
	       nr_cpus, most / 1000);
	watchdog_stop();
}

/* Two threads spin on the last CPU, others halt: one of these must be called when one of the two is
 * free to leave, be it the one that waits (@pushed false) or the one that is pushed off when its
 * slice ends. */
static void idle_cpu_is_called(bool pushed)
{
	u64 last = 1ull << (nr_cpus - 1);

	atomic_store(&stop_spinning, false);
	worker_start_on(0, spinner, last, NULL);
	(void)thread_sleep_ns(5 * MS);
	worker_start_on(1, spinner, last, NULL);
	thread_set_affinity(&workers[pushed ? 0 : 1].thread, ~0ull);
	/* This CPU would look at the queues before it halts; only if it is the only other one, it
	 * may. */
	if (nr_cpus > 2)
		busy_wait(100 * MS);
	else
		(void)thread_sleep_ns(100 * MS);
	atomic_store(&stop_spinning, true);
	workers_join(2);
	u64 ran = workers[0].thread.run_ns + workers[1].thread.run_ns;
	report(ran > 150 * MS, "a thread %s goes to a CPU that halts: %lu us of work in 100 ms",
	       pushed ? "pushed off its CPU" : "set free", ran / 1000);
}

static void test_idle_cpu_is_called(void)
{
	if (nr_cpus < 2) {
		report_skip("a CPU that halts is called to help", "one CPU");
		return;
	}
	watchdog_start("idle CPU");
	thread_set_affinity(thread_current(), 1);
	idle_cpu_is_called(false);
	idle_cpu_is_called(true);
	thread_set_affinity(thread_current(), ~0ull);
	watchdog_stop();
}

static void test_sched(void)
{
	test_no_tick_alone();
	test_ping_pong();
	test_wake_one();
	test_sleep();
	test_preemption();
	test_affinity();
	test_stealing();
	test_idle_cpu_is_called();
	test_no_tick_alone();
}
KERNEL_SUITE(sched, test_sched);
