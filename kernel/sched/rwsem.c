/* SPDX-License-Identifier: BSD-2-Clause */
/* The readers-writer lock that sleeps.
 *
 *	 31       30       29                          0
 *	+--------+--------+-----------------------------+
 *	| WRITER | QUEUED |      number of readers      |
 *	+--------+--------+-----------------------------+
 *
 * While QUEUED is clear, locking and unlocking is one atomic operation on this word. Whoever cannot
 * have the lock sets QUEUED and queues; from then on nobody gets in past the queue. The lock is
 * handed over in the order of the queue, by whoever lets it go last: one writer, or all readers up
 * to the next writer. So neither kind starves, and a woken thread finds that it already holds the
 * lock.
 *
 * Invariants:
 * I1  QUEUED is set exactly while the queue is not empty, or its lock is held.
 * I2  QUEUED set: the word changes only under the queue's lock, but for the departure of holders.
 * I3  Who clears the last holder from a word with QUEUED set calls rwsem_hand_over afterwards; so
 *     does who leaves the queue without the lock. The queue's head can never wait for nobody. */
#include "lib/check.h"
#include "sched/mutex.h"
#include "sched/sched_internal.h"

#define RWSEM_WRITER  (1u << 31)
#define RWSEM_QUEUED  (1u << 30)
#define RWSEM_READERS (RWSEM_QUEUED - 1)

struct rwsem_waiter {
	struct waiter w; /* first, so that the queue's links lead here */
	bool writer;     /* [o] */
	bool granted;    /* [a] written under the queue's lock: the thread holds the rwsem */
};

void rwsem_init(struct rwsem *s)
{
	s->state = 0;
	s->writer = NULL;
	wait_init(&s->queue);
}

static inline void rwsem_set_writer(struct rwsem *s, struct thread *t)
{
	if (NEAP_DEBUG)
		atomic_store_relaxed(&s->writer, t);
}

/* rwsem_take_locked - take the lock for the head of the queue, or who would be its head.
 * => QUEUED set */
static bool rwsem_take_locked(struct rwsem *s, bool writer)
{
	u32 state = atomic_load(&s->state);

	if (state & RWSEM_WRITER || (writer && state & RWSEM_READERS))
		return false;
	/* Holders only leave now (I2), so what we saw to be free stays free. */
	atomic_add(&s->state, writer ? RWSEM_WRITER : 1);
	return true;
}

/* rwsem_hand_over_locked - give the lock to those whose turn it is; keeps I1. */
static void rwsem_hand_over_locked(struct rwsem *s)
{
	while (!list_empty(&s->queue.waiters)) {
		struct rwsem_waiter *r =
			list_first(&s->queue.waiters, struct rwsem_waiter, w.link);
		struct thread *t = r->w.thread;
		if (!rwsem_take_locked(s, r->writer))
			return;
		list_del(&r->w.link);
		atomic_store(&r->granted, true); /* *r may go once we drop the queue's lock */
		thread_wake(t);
	}
	atomic_and(&s->state, ~RWSEM_QUEUED);
}

static noinline void rwsem_hand_over(struct rwsem *s)
{
	u64 flags = spin_lock_irqsave(&s->queue.lock);

	rwsem_hand_over_locked(s);
	spin_unlock_irqrestore(&s->queue.lock, flags);
}

/* rwsem_enqueue - take the lock if nobody is before us, else queue. Return true if taken. */
static bool rwsem_enqueue(struct rwsem *s, struct rwsem_waiter *r)
{
	u64 flags = spin_lock_irqsave(&s->queue.lock);
	bool taken = false;

	atomic_or(&s->state, RWSEM_QUEUED);
	if (list_empty(&s->queue.waiters))
		taken = rwsem_take_locked(s, r->writer);
	if (!taken)
		list_add_tail(&s->queue.waiters, &r->w.link);
	else
		atomic_and(&s->state, ~RWSEM_QUEUED);
	spin_unlock_irqrestore(&s->queue.lock, flags);
	return taken;
}

/* rwsem_give_up - leave the queue. Return false if the lock was granted meanwhile. */
static bool rwsem_give_up(struct rwsem *s, struct rwsem_waiter *r)
{
	u64 flags = spin_lock_irqsave(&s->queue.lock);
	bool left = !r->granted;

	if (left) {
		list_del(&r->w.link);
		rwsem_hand_over_locked(s); /* readers behind us may go now */
	}
	spin_unlock_irqrestore(&s->queue.lock, flags);
	return left;
}

/* rwsem_wait_grant - sleep until the lock is ours; then nobody looks at *r any more. */
static int rwsem_wait_grant(struct rwsem *s, struct rwsem_waiter *r, bool killable)
{
	while (!atomic_load(&r->granted)) {
		thread_will_sleep();
		if (killable && thread_killed()) {
			thread_will_not_sleep();
			return rwsem_give_up(s, r) ? -EINTR : 0;
		}
		if (!atomic_load(&r->granted))
			sched_leave(LEAVE_SLEEPING);
		thread_will_not_sleep();
	}
	/* Who granted it may still be about to wake us: it does so under the queue's lock. */
	u64 flags = spin_lock_irqsave(&s->queue.lock);
	spin_unlock_irqrestore(&s->queue.lock, flags);
	return 0;
}

static noinline int rwsem_lock_slow(struct rwsem *s, bool writer, bool killable)
{
	struct rwsem_waiter r = {.w.thread = thread_current(), .writer = writer};

	ASSERT(atomic_load_relaxed(&s->writer) != thread_current(), "rwsem taken twice by %s",
	       thread_current()->name);
	if (rwsem_enqueue(s, &r))
		return 0;
	return rwsem_wait_grant(s, &r, killable);
}

bool rwsem_read_trylock(struct rwsem *s)
{
	u32 state = atomic_load_relaxed(&s->state);

	while (likely(!(state & (RWSEM_WRITER | RWSEM_QUEUED)))) {
		if (likely(atomic_cas(&s->state, &state, state + 1)))
			return true;
	}
	return false;
}

void rwsem_read_lock(struct rwsem *s)
{
	assert_may_sleep();
	if (unlikely(!rwsem_read_trylock(s)))
		(void)rwsem_lock_slow(s, false, false);
}

void rwsem_read_unlock(struct rwsem *s)
{
	u32 left = atomic_sub(&s->state, 1);

	ASSERT(!((left + 1) & RWSEM_WRITER) && (left + 1) & RWSEM_READERS,
	       "rwsem in state %#x unlocked by a reader, %s", left + 1, thread_current()->name);
	if (unlikely(left == RWSEM_QUEUED))
		rwsem_hand_over(s);
}

static inline bool rwsem_write_trylock(struct rwsem *s)
{
	u32 was = 0;

	return atomic_cas(&s->state, &was, RWSEM_WRITER);
}

static always_inline int write_lock(struct rwsem *s, bool killable)
{
	int err = 0;

	assert_may_sleep();
	if (unlikely(!rwsem_write_trylock(s)))
		err = rwsem_lock_slow(s, true, killable);
	if (!err)
		rwsem_set_writer(s, thread_current());
	return err;
}

void rwsem_write_lock(struct rwsem *s)
{
	(void)write_lock(s, false);
}

int rwsem_write_lock_killable(struct rwsem *s)
{
	return write_lock(s, true);
}

void rwsem_write_unlock(struct rwsem *s)
{
	ASSERT(atomic_load(&s->state) & RWSEM_WRITER && s->writer == thread_current(),
	       "rwsem in state %#x unlocked by a writer, %s", s->state, thread_current()->name);
	rwsem_set_writer(s, NULL);
	if (unlikely(atomic_sub(&s->state, RWSEM_WRITER) & RWSEM_QUEUED))
		rwsem_hand_over(s);
}

bool rwsem_is_held(const struct rwsem *s)
{
	return atomic_load(&s->state) & (RWSEM_WRITER | RWSEM_READERS);
}
