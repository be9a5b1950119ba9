/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/sched/mutex.c kernel/sched/rwsem.c kernel/sched/wait.c */
/* The sleeping locks and wait queues, with threads of the host in place of the scheduler: each is a
 * kernel thread on a processor of its own, and sleeps on a condition variable. UNIT_SAN=thread has
 * every access checked. */
#include <sched.h>
#include <unistd.h>

#include "host.h"

#include "cpu/spinlock.h"
#include "sched/mutex.h"
#include "sched/sched_internal.h"
#include "sched/wait.h"

#define NR_ACTORS 5
#define TIMEOUT_S 100

weak _Thread_local struct cpu *host_cpu;

/* ---- the scheduler's part ------------------------------------------------------------------- */

struct actor {
	struct thread thread;
	struct cpu cpu;
	pthread_t pthread;
	pthread_mutex_t lock; /* state */
	pthread_cond_t woken;
	void (*play)(struct actor *me);
	unsigned int index, sleeps;
	struct rng rng;
};

static struct actor actors[NR_ACTORS], main_actor;

static struct actor *actor_of(struct thread *t)
{
	return container_of(t, struct actor, thread);
}

static void set_state(struct actor *a, enum thread_state state)
{
	pthread_mutex_lock(&a->lock);
	a->thread.state = state;
	pthread_cond_broadcast(&a->woken);
	pthread_mutex_unlock(&a->lock);
}

void thread_will_sleep(void)
{
	set_state(actor_of(thread_current()), THREAD_SLEEPING);
}

/* Called once by actor 0, between its last look and wait_finish. */
static void (*finish_hook)(void);

void thread_will_not_sleep(void)
{
	if (finish_hook && thread_current() == &actors[0].thread) {
		void (*hook)(void) = finish_hook;
		finish_hook = NULL;
		hook();
	}
	set_state(actor_of(thread_current()), THREAD_RUNNABLE);
}

void thread_wake(struct thread *t)
{
	set_state(actor_of(t), THREAD_RUNNABLE);
}

/* Now and then a sleep ends at once, as preemption in the kernel makes it. */
void sched_leave(enum leave why)
{
	struct actor *a = actor_of(thread_current());

	assert_int_equal(why, LEAVE_SLEEPING);
	assert_int_equal(preempt_count(), 0);
	if (rng_percent(&a->rng, 10))
		return;
	pthread_mutex_lock(&a->lock);
	a->sleeps++;
	while (a->thread.state == THREAD_SLEEPING)
		pthread_cond_wait(&a->woken, &a->lock);
	pthread_mutex_unlock(&a->lock);
}

void preempt_schedule(void)
{
}

void might_sleep(void)
{
	assert_int_equal(preempt_count(), 0);
}

void spin_debug_take(struct spinlock *l)
{
	(void)l;
}

void spin_debug_tried(struct spinlock *l)
{
	(void)l;
}

void spin_debug_drop(struct spinlock *l)
{
	(void)l;
}

/* Processors of the host's scheduler lose their processor: to spin for one that has none is no use.
 */
u64 spin_lock_irqsave(struct spinlock *l)
{
	while (!spin_trylock(l))
		sched_yield();
	return 0;
}

void spin_unlock_irqrestore(struct spinlock *l, u64 flags)
{
	(void)flags;
	spin_unlock(l);
}

/* ---- actors --------------------------------------------------------------------------------- */

static void actor_init(struct actor *a, unsigned int index)
{
	memset(a, 0, sizeof(*a));
	a->index = index;
	a->cpu.id = index;
	a->cpu.current = &a->thread;
	a->thread.state = THREAD_RUNNABLE;
	a->rng = (struct rng){index * 77777 + 1};
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->woken, NULL);
	snprintf(a->thread.name, sizeof(a->thread.name), "actor/%u", index);
}

static void *actor_main(void *arg)
{
	struct actor *a = arg;

	host_cpu = &a->cpu;
	a->play(a);
	return NULL;
}

static void actors_start(unsigned int nr, void (*play)(struct actor *me))
{
	for (unsigned int i = 0; i < nr; i++) {
		actor_init(&actors[i], i);
		actors[i].play = play;
	}
	for (unsigned int i = 0; i < nr; i++)
		pthread_create(&actors[i].pthread, NULL, actor_main, &actors[i]);
}

static void actors_join(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(actors[i].pthread, NULL);
}

static int setup(void **state)
{
	(void)state;
	actor_init(&main_actor, NR_ACTORS);
	host_cpu = &main_actor.cpu;
	alarm(TIMEOUT_S); /* a lost wake-up ends the program */
	return 0;
}

static void kill_actor(struct actor *a)
{
	atomic_store(&a->thread.kill, true);
	thread_wake(&a->thread);
}

static bool actor_sleeps(struct actor *a)
{
	pthread_mutex_lock(&a->lock);
	bool sleeps = a->thread.state == THREAD_SLEEPING && a->sleeps > 0;
	pthread_mutex_unlock(&a->lock);
	return sleeps;
}

/* ---- mutex ---------------------------------------------------------------------------------- */

static struct mutex mutex;
static u64 counter; /* under mutex, or rwsem for writing; not atomic on purpose */

static void mutex_one_word(void **state)
{
	(void)state;
	mutex_init(&mutex);
	mutex_lock(&mutex);
	assert_int_equal(mutex.state, 1);
	assert_false(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
	assert_int_equal(mutex.state, 0);
	assert_int_equal(mutex_lock_killable(&mutex), 0);
	mutex_unlock(&mutex);
	assert_true(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
}

static void unlock_it(void *ctx)
{
	mutex_unlock(ctx);
}

static void lock_it(void *ctx)
{
	mutex_lock(ctx);
}

static void mutex_knows_its_holder(void **state)
{
	struct actor other;

	(void)state;
	mutex_init(&mutex);
	expect_panic("unlocked by", unlock_it, &mutex);
	mutex_lock(&mutex);
	expect_panic("taken twice", lock_it, &mutex);
	actor_init(&other, 1);
	host_cpu = &other.cpu;
	expect_panic("unlocked by", unlock_it, &mutex);
	host_cpu = &main_actor.cpu;
	mutex_unlock(&mutex);
}

static void mutex_user(struct actor *me)
{
	for (int i = 0; i < 10000; i++) {
		mutex_lock(&mutex);
		counter++;
		if (rng_percent(&me->rng, 2))
			sched_yield();
		mutex_unlock(&mutex);
	}
}

static void mutex_excludes(void **state)
{
	(void)state;
	mutex_init(&mutex);
	counter = 0;
	actors_start(4, mutex_user);
	actors_join(4);
	assert_int_equal(counter, 40000);
	assert_int_equal(mutex.state, 0);
	assert_true(list_empty(&mutex.queue.waiters));
}

static u32 nr_done, nr_eintr;

static void mutex_stubborn(struct actor *me)
{
	for (int i = 0; i < 3000;) {
		if (mutex_lock_killable(&mutex)) {
			atomic_add(&nr_eintr, 1);
			atomic_store(&me->thread.kill, false);
			continue;
		}
		counter++;
		if (rng_percent(&me->rng, 5))
			sched_yield();
		mutex_unlock(&mutex);
		i++;
	}
	atomic_add(&nr_done, 1);
}

static void killed_waiter_passes_the_wakeup_on(void **state)
{
	(void)state;
	mutex_init(&mutex);
	counter = nr_done = nr_eintr = 0;
	actors_start(4, mutex_stubborn);
	for (unsigned int i = 0; atomic_load(&nr_done) < 4; i++) {
		kill_actor(&actors[i % 4]);
		sched_yield();
	}
	actors_join(4);
	assert_int_equal(counter, 12000);
	assert_true(nr_eintr > 0);
}

static void mutex_locker(struct actor *me)
{
	if (me->index == 0) {
		assert_int_equal(mutex_lock_killable(&mutex), -EINTR);
		return;
	}
	mutex_lock(&mutex);
	counter++;
	mutex_unlock(&mutex);
}

/* Actor 0, killed, has seen the lock held and gives up. Actor 1 queues behind it; then the holder
 * unlocks, which wakes actor 0 only. */
static void second_waiter_and_unlock(void)
{
	actors[1].play = mutex_locker;
	pthread_create(&actors[1].pthread, NULL, actor_main, &actors[1]);
	while (!actor_sleeps(&actors[1]))
		sched_yield();
	host_cpu = &main_actor.cpu;
	mutex_unlock(&mutex);
	host_cpu = &actors[0].cpu;
}

static void wakeup_is_not_spent_on_who_gives_up(void **state)
{
	(void)state;
	mutex_init(&mutex);
	counter = 0;
	mutex_lock(&mutex);
	actor_init(&actors[1], 1);
	finish_hook = second_waiter_and_unlock;
	actor_init(&actors[0], 0);
	actors[0].play = mutex_locker;
	actors[0].thread.kill = true;
	pthread_create(&actors[0].pthread, NULL, actor_main, &actors[0]);
	actors_join(2);
	assert_int_equal(counter, 1);
	assert_null(finish_hook);
}

/* ---- rwsem ---------------------------------------------------------------------------------- */

static struct rwsem rwsem;
static u32 nr_readers, most_readers;

static void rwsem_one_word(void **state)
{
	(void)state;
	rwsem_init(&rwsem);
	assert_false(rwsem_is_held(&rwsem));
	rwsem_read_lock(&rwsem);
	assert_true(rwsem_read_trylock(&rwsem));
	assert_int_equal(rwsem.state, 2);
	rwsem_read_unlock(&rwsem);
	assert_true(rwsem_is_held(&rwsem));
	rwsem_read_unlock(&rwsem);
	rwsem_write_lock(&rwsem);
	assert_false(rwsem_read_trylock(&rwsem));
	assert_true(rwsem_is_held(&rwsem));
	rwsem_write_unlock(&rwsem);
	assert_int_equal(rwsem_write_lock_killable(&rwsem), 0);
	rwsem_write_unlock(&rwsem);
	assert_int_equal(rwsem.state, 0);
}

static void rwsem_user(struct actor *me)
{
	for (int i = 0; i < 6000; i++) {
		if (rng_percent(&me->rng, 20)) {
			if (rwsem_write_lock_killable(&rwsem)) {
				atomic_store(&me->thread.kill, false);
				continue;
			}
			assert_int_equal(atomic_load(&nr_readers), 0);
			counter++;
			rwsem_write_unlock(&rwsem);
			continue;
		}
		rwsem_read_lock(&rwsem);
		u32 n = atomic_add(&nr_readers, 1);
		if (n > atomic_load(&most_readers))
			atomic_store(&most_readers, n);
		u64 before = counter;
		if (rng_percent(&me->rng, 10))
			sched_yield();
		if (before != counter)
			abort();
		atomic_sub(&nr_readers, 1);
		rwsem_read_unlock(&rwsem);
	}
	atomic_add(&nr_done, 1);
}

static void rwsem_many_readers_or_one_writer(void **state)
{
	(void)state;
	rwsem_init(&rwsem);
	nr_readers = most_readers = nr_done = 0;
	actors_start(NR_ACTORS, rwsem_user);
	for (unsigned int i = 0; atomic_load(&nr_done) < NR_ACTORS; i++) {
		if (i % 8 == 0)
			kill_actor(&actors[i / 8 % NR_ACTORS]);
		sched_yield();
	}
	actors_join(NR_ACTORS);
	assert_int_equal(rwsem.state, 0);
	assert_true(list_empty(&rwsem.queue.waiters));
	assert_true(most_readers > 1);
}

static int write_result;

static void one_writer(struct actor *me)
{
	(void)me;
	write_result = rwsem_write_lock_killable(&rwsem);
	if (!write_result)
		rwsem_write_unlock(&rwsem);
}

static void waiting_writer_stops_new_readers(void **state)
{
	(void)state;
	for (int kill = 0; kill < 2; kill++) {
		rwsem_init(&rwsem);
		rwsem_read_lock(&rwsem);
		actors_start(1, one_writer);
		while (!actor_sleeps(&actors[0]))
			sched_yield();
		assert_false(rwsem_read_trylock(&rwsem));
		if (kill)
			kill_actor(&actors[0]);
		else
			rwsem_read_unlock(&rwsem);
		actors_join(1);
		assert_int_equal(write_result, kill ? -EINTR : 0);
		assert_true(rwsem_read_trylock(&rwsem));
		assert_int_equal(rwsem.state, kill ? 2 : 1);
	}
}

/* ---- wait queues ---------------------------------------------------------------------------- */

static struct wait_queue queue;
static u32 token;

static void token_player(struct actor *me)
{
	for (;;) {
		wait_event(&queue,
			   atomic_load(&token) % 4 == me->index || atomic_load(&token) >= 20000);
		if (atomic_load(&token) >= 20000)
			break;
		atomic_add(&token, 1);
		wait_wake_all(&queue);
	}
}

static void no_wakeup_is_lost(void **state)
{
	(void)state;
	wait_init(&queue);
	token = 0;
	actors_start(4, token_player);
	actors_join(4);
	assert_int_equal(token, 20000);
	assert_true(list_empty(&queue.waiters));
}

static void wake_n_in_order(void **state)
{
	struct waiter w[3];

	(void)state;
	wait_init(&queue);
	for (unsigned int i = 0; i < 3; i++) {
		actor_init(&actors[i], i);
		host_cpu = &actors[i].cpu;
		wait_prepare(&queue, &w[i]);
		assert_int_equal(actors[i].thread.state, THREAD_SLEEPING);
	}
	host_cpu = &main_actor.cpu;
	wait_wake(&queue, 2);
	assert_int_equal(actors[0].thread.state, THREAD_RUNNABLE);
	assert_int_equal(actors[1].thread.state, THREAD_RUNNABLE);
	assert_int_equal(actors[2].thread.state, THREAD_SLEEPING);
	for (unsigned int i = 0; i < 3; i++) {
		host_cpu = &actors[i].cpu;
		wait_finish(&queue, &w[i]);
		assert_int_equal(actors[i].thread.state, THREAD_RUNNABLE);
	}
	host_cpu = &main_actor.cpu;
	assert_true(list_empty(&queue.waiters));
}

static int wait_result;

static void wait_for_token(struct actor *me)
{
	(void)me;
	wait_result = wait_event_killable(&queue, atomic_load(&token) == 1);
}

static void killed_waiter_returns_eintr(void **state)
{
	(void)state;
	for (u32 comes_true = 0; comes_true < 2; comes_true++) {
		wait_init(&queue);
		atomic_store(&token, 0);
		actors_start(1, wait_for_token);
		while (!actor_sleeps(&actors[0]))
			sched_yield();
		atomic_store(&token, comes_true);
		kill_actor(&actors[0]);
		actors_join(1);
		assert_int_equal(wait_result, comes_true ? 0 : -EINTR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(mutex_one_word, setup),
		cmocka_unit_test_setup(mutex_knows_its_holder, setup),
		cmocka_unit_test_setup(mutex_excludes, setup),
		cmocka_unit_test_setup(killed_waiter_passes_the_wakeup_on, setup),
		cmocka_unit_test_setup(wakeup_is_not_spent_on_who_gives_up, setup),
		cmocka_unit_test_setup(rwsem_one_word, setup),
		cmocka_unit_test_setup(rwsem_many_readers_or_one_writer, setup),
		cmocka_unit_test_setup(waiting_writer_stops_new_readers, setup),
		cmocka_unit_test_setup(no_wakeup_is_lost, setup),
		cmocka_unit_test_setup(wake_n_in_order, setup),
		cmocka_unit_test_setup(killed_waiter_returns_eintr, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
