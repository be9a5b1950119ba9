/* SPDX-License-Identifier: BSD-2-Clause */
/* Wait queues: sleep until a condition holds. Who makes it true calls wait_wake; no wake-up is lost
 * because a sleeper queues itself before it looks at the condition. */
#pragma once

#include "cpu/spinlock.h"
#include "lib/errno.h"
#include "lib/list.h"
#include "sched/thread.h"

struct wait_queue {
	struct spinlock lock; /* RANK_WAIT, irq */
	struct list waiters;
};

struct waiter {
	struct thread *thread;
	struct list link;
};

void wait_init(struct wait_queue *q);
/* wait_wake - make all (or @n, in the order they came) sleepers look again.
 * => any context; no lock of RANK_WAIT or above held */
void wait_wake_all(struct wait_queue *q);
void wait_wake(struct wait_queue *q, unsigned int n);

/* The pieces of wait_event. wait_prepare queues @w and marks the thread as going to sleep;
 * wait_sleep sleeps unless it was woken meanwhile, and may return early for no reason; wait_finish
 * takes @w off. Between prepare and sleep the thread may do all but sleep. */
void wait_prepare(struct wait_queue *q, struct waiter *w);
void wait_sleep(void);
void wait_finish(struct wait_queue *q, struct waiter *w);

/* wait_event - => thread context, no spinlock held */
#define wait_event(q, cond) \
	do { \
		struct waiter w_; \
		might_sleep(); \
		while (!(cond)) { \
			wait_prepare(q, &w_); \
			if (!(cond)) \
				wait_sleep(); \
			wait_finish(q, &w_); \
		} \
	} while (0)

/* wait_event_killable - 0, or -EINTR if the thread is being killed and @cond does not hold. */
#define wait_event_killable(q, cond) \
	({ \
		struct waiter w_; \
		int err_ = 0; \
		might_sleep(); \
		while (!(cond) && err_ == 0) { \
			wait_prepare(q, &w_); \
			if (!(cond) && !thread_killed()) \
				wait_sleep(); \
			wait_finish(q, &w_); \
			if (thread_killed() && !(cond)) \
				err_ = -EINTR; \
		} \
		err_; \
	})
