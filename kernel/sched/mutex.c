/* SPDX-License-Identifier: BSD-2-Clause */
/* The mutex: one word, three values. Free to held and back is one atomic operation each; the third
 * value tells the holder that unlocking must also wake somebody.
 *
 * Who had to sleep takes the lock as CONTENDED, since it cannot know whether others sleep still:
 * the price is one useless wake-up after a queue has drained. The lock is not handed over: a
 * running thread may take it before the woken one comes, which then sleeps again. That keeps the
 * lock busy, and is fair enough where it is held for short. */
#include "sched/mutex.h"

#include "lib/check.h"
#include "sched/sched_internal.h"

enum { MUTEX_FREE, MUTEX_HELD, MUTEX_CONTENDED };

void mutex_init(struct mutex *m)
{
	m->state = MUTEX_FREE;
	m->holder = NULL;
	wait_init(&m->queue);
}

static inline void mutex_set_holder(struct mutex *m)
{
	if (NEAP_DEBUG)
		atomic_store_relaxed(&m->holder, thread_current());
}

bool mutex_trylock(struct mutex *m)
{
	u32 was = MUTEX_FREE;

	if (!atomic_cas(&m->state, &was, MUTEX_HELD))
		return false;
	mutex_set_holder(m);
	return true;
}

static noinline int mutex_lock_slow(struct mutex *m, bool killable)
{
	struct waiter w;
	int err = 0;

	ASSERT(atomic_load_relaxed(&m->holder) != thread_current(), "mutex taken twice by %s",
	       thread_current()->name);
	for (;;) {
		wait_prepare(&m->queue, &w);
		if (atomic_xchg(&m->state, MUTEX_CONTENDED) == MUTEX_FREE)
			break;
		err = killable && thread_killed() ? -EINTR : 0;
		if (err)
			break;
		wait_sleep();
		wait_finish(&m->queue, &w);
	}
	wait_finish(&m->queue, &w);
	/* An unlock may have woken us, and nobody else, since our last look: pass it on. */
	if (err)
		wait_wake(&m->queue, 1);
	return err;
}

static always_inline int lock(struct mutex *m, bool killable)
{
	assert_may_sleep();
	if (likely(mutex_trylock(m)))
		return 0;
	int err = mutex_lock_slow(m, killable);
	if (!err)
		mutex_set_holder(m);
	return err;
}

void mutex_lock(struct mutex *m)
{
	(void)lock(m, false);
}

int mutex_lock_killable(struct mutex *m)
{
	return lock(m, true);
}

void mutex_unlock(struct mutex *m)
{
	if (NEAP_DEBUG) {
		CHECK(atomic_load(&m->state) != MUTEX_FREE && m->holder == thread_current(),
		      "mutex in state %u unlocked by %s, held by %s", m->state,
		      thread_current()->name, m->holder ? m->holder->name : "nobody");
		atomic_store_relaxed(&m->holder, NULL);
	}
	if (unlikely(atomic_xchg(&m->state, MUTEX_FREE) == MUTEX_CONTENDED))
		wait_wake(&m->queue, 1);
}
