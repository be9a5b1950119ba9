/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping locks, killing and timers on the real processors. */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/errno.h"
#include "sched/mutex.h"
#include "sched/timer.h"
#include "sched/wait.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"

/* ---- mutual exclusion ----------------------------------------------------------------------- */

#define NR_ROUNDS 20000u

static struct mutex mutex;
static struct rwsem rwsem;
static volatile u64 counter; /* under mutex; not atomic on purpose */

static u64 workers_count(u32 nr)
{
	u64 sum = 0;

	for (u32 i = 0; i < nr; i++)
		sum += workers[i].count;
	return sum;
}

static void mutex_user(void *arg)
{
	struct worker *w = arg;

	for (u32 i = 0; i < NR_ROUNDS && test_goes_on(); i++) {
		mutex_lock(&mutex);
		u64 seen = counter;
		if (i % 64 == 0)
			thread_yield();
		counter = seen + 1;
		mutex_unlock(&mutex);
		w->count++;
	}
}

static void test_mutex(void)
{
	watchdog_start("mutex");
	mutex_init(&mutex);
	counter = 0;
	workers_start(4, mutex_user);
	workers_join(4);
	u64 increments = workers_count(4);
	report(counter == increments, "a mutex keeps 4 threads apart: %lu of %lu increments",
	       counter, increments);
	report(mutex_trylock(&mutex), "and is free afterwards");
	mutex_unlock(&mutex);
	watchdog_stop();
}

static volatile u64 pair[2]; /* under rwsem: always equal to a reader */
static u32 nr_torn, nr_readers, most_readers;

static void rwsem_writer(void *arg)
{
	struct worker *w = arg;

	for (u32 i = 0; i < NR_ROUNDS / 10 && test_goes_on(); i++) {
		rwsem_write_lock(&rwsem);
		pair[0]++;
		if (i % 16 == 0)
			thread_yield();
		pair[1]++;
		if (atomic_load(&nr_readers))
			atomic_add(&nr_torn, 1);
		rwsem_write_unlock(&rwsem);
		w->count++;
	}
}

static void rwsem_reader(void *arg)
{
	(void)arg;
	for (u32 i = 0; i < NR_ROUNDS / 4 && test_goes_on(); i++) {
		rwsem_read_lock(&rwsem);
		u32 n = atomic_add(&nr_readers, 1);
		if (n > most_readers)
			most_readers = n;
		u64 first = pair[0];
		if (i % 16 == 0)
			thread_yield();
		if (i % 256 == 0)
			(void)thread_sleep_ns(100000);
		if (first != pair[1])
			atomic_add(&nr_torn, 1);
		atomic_sub(&nr_readers, 1);
		rwsem_read_unlock(&rwsem);
	}
}

static void test_rwsem(void)
{
	watchdog_start("rwsem");
	rwsem_init(&rwsem);
	nr_torn = nr_readers = most_readers = 0;
	pair[0] = pair[1] = 0;
	for (u32 i = 0; i < 6; i++)
		worker_start_on(i, i < 2 ? rwsem_writer : rwsem_reader, 0, NULL);
	workers_join(6);
	report(nr_torn == 0 && pair[0] == workers_count(2),
	       "no reader of an rwsem sees a writer at work: %u times, %lu writes", nr_torn,
	       pair[0]);
	report(most_readers > 1, "readers read together: up to %u", most_readers);
	report(!rwsem_is_held(&rwsem), "and it is free afterwards: state %#x", rwsem.state);
	watchdog_stop();
}

static bool stop_reading;

static void rwsem_hog(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop_reading)) {
		rwsem_read_lock(&rwsem);
		w->count++;
		busy_wait(MS);
		rwsem_read_unlock(&rwsem);
	}
}

/* Enough readers that, left to themselves, one always holds it. */
static void test_writer_not_starved(void)
{
	u64 longest = 0;

	watchdog_start("a waiting writer");
	atomic_store(&stop_reading, false);
	workers_start(6, rwsem_hog);
	for (u32 i = 0; i < 10; i++) {
		(void)thread_sleep_ns(5 * MS);
		u64 start = clock_ns();
		rwsem_write_lock(&rwsem);
		longest = MAX(longest, clock_ns() - start);
		rwsem_write_unlock(&rwsem);
	}
	atomic_store(&stop_reading, true);
	workers_join(6);
	report(longest < 500 * MS, "a writer gets in between 6 readers after %lu us at most",
	       longest / 1000);
	watchdog_stop();
}

/* ---- killing -------------------------------------------------------------------------------- */

static struct wait_queue never;

static void killed_in_wait(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->ready, true);
	w->result = wait_event_killable(&never, false);
}

static void killed_in_mutex(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->ready, true);
	w->result = mutex_lock_killable(&mutex);
}

static void killed_in_rwsem(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->ready, true);
	w->result = rwsem_write_lock_killable(&rwsem);
}

static void killed_in_sleep(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->ready, true);
	w->result = thread_sleep_ns(1000000 * MS);
}

static void test_killed_in(const char *what, void (*fn)(void *arg))
{
	bool all = true;

	watchdog_start(what);
	/* Now before it sleeps, now while, now when it is asleep. */
	for (u32 i = 0; i < 60; i++) {
		worker_start_on(0, fn, 0, NULL);
		while (i % 3 && !atomic_load(&workers[0].ready))
			thread_yield();
		if (i % 3 == 2)
			(void)thread_sleep_ns(MS);
		thread_kill(&workers[0].thread);
		workers_join(1);
		all = all && workers[0].result == -EINTR;
	}
	report(all, "a thread killed in %s returns from it with -EINTR", what);
	watchdog_stop();
}

static void test_kill(void)
{
	wait_init(&never);
	mutex_lock(&mutex);
	rwsem_read_lock(&rwsem);
	test_killed_in("wait_event_killable", killed_in_wait);
	test_killed_in("mutex_lock_killable", killed_in_mutex);
	test_killed_in("rwsem_write_lock_killable", killed_in_rwsem);
	test_killed_in("thread_sleep_ns", killed_in_sleep);

	/* The killed writer must not keep readers out. */
	report(rwsem_read_trylock(&rwsem), "readers get in after the killed writer has gone");
	rwsem_read_unlock(&rwsem);
	rwsem_read_unlock(&rwsem);
	mutex_unlock(&mutex);
}

static u32 nr_locked;

static void mutex_stubborn(void *arg)
{
	struct worker *w = arg;

	while (w->count < 2000 && test_goes_on()) {
		if (mutex_lock_killable(&mutex)) {
			WRITE_ONCE(thread_current()->kill, false);
			continue;
		}
		counter = counter + 1;
		if (w->count % 8 == 0)
			thread_yield();
		mutex_unlock(&mutex);
		w->count++;
	}
	atomic_add(&nr_locked, 1);
}

/* A waiter that is woken and killed at once must not take the wake-up with it. */
static void test_kill_storm(void)
{
	watchdog_start("kill storm");
	counter = nr_locked = 0;
	workers_start(4, mutex_stubborn);
	for (u32 i = 0; atomic_load(&nr_locked) < 4; i++) {
		thread_kill(&workers[i % 4].thread);
		if (i % 16 == 0)
			(void)thread_sleep_ns(20000);
	}
	workers_join(4);
	report(counter == workers_count(4), "no wake-up is lost with killed waiters: %lu of %lu",
	       counter, workers_count(4));
	watchdog_stop();
}

/* ---- timers --------------------------------------------------------------------------------- */

struct test_timer {
	struct timer timer;
	bool inside;    /* [a] in fn */
	bool allowed;   /* [a] not cancelled */
	u32 fired, bad; /* [a] */
	u32 again;      /* how often fn arms it again */
};

static void test_timer_fn(struct timer *t)
{
	struct test_timer *tt = container_of(t, struct test_timer, timer);

	atomic_store(&tt->inside, true);
	if (!atomic_load(&tt->allowed))
		atomic_add(&tt->bad, 1);
	atomic_add(&tt->fired, 1);
	if (irq_enabled())
		atomic_add(&tt->bad, 1);
	for (u32 i = 0; i < 200; i++)
		cpu_relax();
	if (tt->again > 0) {
		tt->again--;
		timer_arm(t, clock_ns() + 20000);
	}
	atomic_store(&tt->inside, false);
}

static struct test_timer timers[4];

/* Armed on one CPU, cancelled from another, about when it fires. */
static void timer_racer(void *arg)
{
	struct worker *w = arg;
	struct test_timer *tt = &timers[w->index];

	for (u32 i = 0; i < 2000; i++) {
		tt->again = i % 3;
		atomic_store(&tt->allowed, true);
		timer_arm(&tt->timer, clock_ns() + i % 64 * 500);
		if (i % 4 == 0)
			thread_set_affinity(thread_current(), 1ull << i / 4 % nr_cpus);
		for (u32 k = 0; k < i % 50 * 8; k++)
			cpu_relax();
		if (i % 5 == 0)
			timer_arm(&tt->timer, clock_ns() + 10000);
		timer_cancel(&tt->timer);
		if (atomic_load(&tt->inside) || tt->timer.armed)
			atomic_add(&tt->bad, 1);
		atomic_store(&tt->allowed, false);
	}
}

static void test_timer_races(void)
{
	u32 bad = 0, fired = 0;

	watchdog_start("timers");
	for (u32 i = 0; i < 4; i++) {
		timers[i] = (struct test_timer){.again = 0};
		timer_setup(&timers[i].timer, test_timer_fn);
	}
	workers_start(4, timer_racer);
	workers_join(4);
	for (u32 i = 0; i < 4; i++) {
		bad += timers[i].bad;
		fired += timers[i].fired;
	}
	report(bad == 0, "after timer_cancel fn neither runs nor comes: %u times it did", bad);
	report(fired > 100 && fired < 3 * 4 * 2000 + 4 * 2000,
	       "of 8000 timers some fire and some are cancelled before: %u calls", fired);
	watchdog_stop();
}

static u32 order[4], nr_order, nr_early; /* written in interrupts of one CPU */

static void order_fn(struct timer *t)
{
	if (clock_ns() < t->deadline_ns)
		nr_early++;
	order[nr_order++ % 4] = (u32)(container_of(t, struct test_timer, timer) - timers);
}

static void test_timer_order(void)
{
	static const u32 delays_ms[4] = {30, 10, 40, 20};

	watchdog_start("timer order");
	nr_order = nr_early = 0;
	preempt_disable(); /* one CPU, so that the order means something */
	u64 now = clock_ns();
	for (u32 i = 0; i < 4; i++) {
		timer_setup(&timers[i].timer, order_fn);
		timer_arm(&timers[i].timer, now + delays_ms[i] * MS);
	}
	preempt_enable();
	(void)thread_sleep_ns(100 * MS);
	report(nr_order == 4 && order[0] == 1 && order[1] == 3 && order[2] == 0 && order[3] == 2,
	       "timers fire by deadline: %u %u %u %u", order[0], order[1], order[2], order[3]);
	report(nr_early == 0, "and none before it: %u", nr_early);
	for (u32 i = 0; i < 4; i++)
		timer_cancel(&timers[i].timer);
	watchdog_stop();
}

/* ---- everything at once --------------------------------------------------------------------- */

static u64 storm_end; /* [a] 0 until all have been created: each names the others */

static void storm(void *arg)
{
	struct worker *w = arg;
	u64 x = w->index * 2654435761u + 1;

	while (!atomic_load(&storm_end))
		thread_yield();
	while (clock_ns() < storm_end) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		u32 dice = x >> 40 & 15;
		if (dice < 4) {
			thread_yield();
		} else if (dice < 6) {
			(void)thread_sleep_ns(x >> 48 & 0xffff);
		} else if (dice < 7) {
			thread_set_affinity(thread_current(), ~0ull << (x >> 48) % nr_cpus);
		} else if (dice < 10) {
			mutex_lock(&mutex);
			counter = counter + 1;
			mutex_unlock(&mutex);
			atomic_add(&nr_locked, 1);
		} else if (dice < 12) {
			rwsem_write_lock(&rwsem);
			pair[0] = pair[0] + 1;
			rwsem_write_unlock(&rwsem);
			w->count++;
		} else if (dice < 14) {
			rwsem_read_lock(&rwsem);
			if (x >> 50 & 1)
				thread_yield();
			rwsem_read_unlock(&rwsem);
		} else {
			struct worker *other = &workers[(x >> 50) % 12];
			thread_set_affinity(&other->thread, 1ull << (x >> 44) % nr_cpus);
		}
	}
}

static void test_storm(void)
{
	watchdog_start("storm");
	counter = nr_locked = 0;
	pair[0] = 0;
	storm_end = 0;
	workers_start(12, storm);
	atomic_store(&storm_end, clock_ns() + 2000 * MS);
	workers_join(12);
	u64 writes = workers_count(12);
	report(counter == nr_locked && pair[0] == writes,
	       "12 threads in a storm of locks, sleeps and moves: %lu of %u, %lu of %lu", counter,
	       nr_locked, pair[0], writes);
	watchdog_stop();
}

static void test_locks(void)
{
	test_mutex();
	test_rwsem();
	test_writer_not_starved();
	test_kill();
	test_kill_storm();
	test_timer_order();
	test_timer_races();
	test_storm();
}
KERNEL_SUITE(locks, test_locks);
