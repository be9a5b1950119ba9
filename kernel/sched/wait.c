/* SPDX-License-Identifier: BSD-2-Clause */
/* Wait queues. A sleeper declares that it sleeps and queues itself under the queue's lock, and only
 * then looks at its condition; who changes the condition takes the same lock afterwards. Whoever
 * has the lock first: either the sleeper sees the change, or the waker sees the sleeper.
 *
 * Lifetime: a struct waiter lives on its sleeper's stack. A waker touches it, and the thread, under
 * the lock alone, and wait_finish takes the lock in every case, so the stack outlives the waker's
 * look. */
#include "sched/wait.h"

#include "sched/sched_internal.h"

void wait_init(struct wait_queue *q)
{
	spin_init(&q->lock, RANK_WAIT);
	list_init(&q->waiters);
}

void wait_wake(struct wait_queue *q, unsigned int n)
{
	u64 flags = spin_lock_irqsave(&q->lock);

	/* Whoever is woken leaves the queue here and not when it runs, so that the next
	 * wait_wake(q, 1) reaches another. */
	for (; n > 0 && !list_empty(&q->waiters); n--) {
		struct waiter *w = list_first(&q->waiters, struct waiter, link);
		list_del(&w->link);
		thread_wake(w->thread);
	}
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Nobody there: no lock. The caller's change comes before this look, a sleeper's place in the queue before
 * his look at the condition, each with a full barrier between: one of the two sees the other. */
void wait_wake_all(struct wait_queue *q)
{
	smp_mb();
	if (READ_ONCE(q->waiters.next) != &q->waiters)
		wait_wake(q, ~0u);
}

void wait_prepare(struct wait_queue *q, struct waiter *w)
{
	u64 flags = spin_lock_irqsave(&q->lock);

	w->thread = thread_current();
	list_add_tail(&q->waiters, &w->link);
	thread_will_sleep();
	spin_unlock_irqrestore(&q->lock, flags);
}

void wait_sleep(void)
{
	sched_leave(LEAVE_SLEEPING);
}

void wait_finish(struct wait_queue *q, struct waiter *w)
{
	thread_will_not_sleep();

	u64 flags = spin_lock_irqsave(&q->lock);
	list_del(&w->link);
	spin_unlock_irqrestore(&q->lock, flags);
}
