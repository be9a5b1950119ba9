/* SPDX-License-Identifier: BSD-2-Clause */
/* Who runs where, and when: run queues, the switch, wake-ups, stealing.
 *
 * The idea. Each CPU has a queue of threads that could run and do not, under one lock; the running
 * thread is on no queue. A thread that leaves its CPU takes its queue's lock, chooses a successor
 * and switches to it *with the lock held*; the successor, now on its own stack, drops it. So
 * whoever holds the lock sees each thread either running or with all its registers saved, never
 * between: a thread woken while it is still leaving waits, in the person of its waker, for the end
 * of the switch, and cannot run on two CPUs.
 *
 *	leaver:  lock ... choose, context_switch -.
 *	successor:              (on its own stack) '-> on_cpu = false, unlock, go on
 *
 * Order. A queue is two lists. `woken` are threads that slept and have some of their slice left:
 * they run first, and before the running thread. `ready` are the others, in turn. A thread pushed
 * off its CPU with slice left goes back to the front of `ready`; when the slice is used up it gets
 * a new one and goes to the end. A sleep as long as a slice renews it. So a thread that mostly
 * sleeps is served at once, and one that sleeps a little to be served first gets no more than its
 * share.
 *
 * Where. A wake-up goes to the CPU where the thread ran last if that is idle, to another idle one
 * that the affinity allows, else home, and the thread there looks up (need_resched, and an IPI if
 * it is remote). A CPU without work takes a thread from the longest queue before it halts;
 * it may take one that another CPU was just called for, which then wakes for nothing: the thread
 * runs the sooner.
 *
 * Invariants:
 * I1  A thread is on a list of queue t->cpu exactly if it is RUNNABLE, not on a CPU, and not
 *     claimed. A claim is what the lock gave to one CPU: who changed SLEEPING or NEW to RUNNABLE,
 *     or took the thread off a list to move it. Only the claimer puts it on a list.
 * I2  on_cpu is true from the choice of a thread until its registers are saved; both changes happen
 *     under the lock of t->cpu, which for a thread on a CPU is that CPU.
 * I3  t->cpu changes only under the lock of the queue that it names, and only of a claimed thread.
 * I4  SLEEPING is entered by the thread itself alone, without lock, before it looks whether it must
 *     sleep; it is left under the lock (by a waker, or by preemption, which counts as a wake-up
 *     with no reason: the sleeper looks again), or by the thread itself when it need not sleep
 *     after all.
 * I5  No CPU halts while a thread waits elsewhere that it may run: a CPU first sets its bit in
 *     idle_cpus and then looks at the queues' lengths; who lengthens a queue then looks at
 *     idle_cpus.
 * I6  A thread that leaves the CPU holds no spinlock (preempt_count is 0), so that the count, the
 *     ranks and what else is per CPU need no saving. RFLAGS.IF is kept on each thread's stack.
 *
 * Locking. One RANK_RUNQUEUE lock at a time, interrupts off; a thread that changes queues is
 * claimed between the two. Wake-ups come with RANK_WAIT or RANK_TIMER below.
 *
 * Address spaces. Leaving a thread for one without an mm (idle, a worker) loads the kernel's own
 * tables. Keeping the old ones would save two CR3 loads when a vCPU sleeps and wakes, but vCPUs
 * sleep on swap exactly while reclaim flushes their mm in batches, and each batch would then
 * interrupt every idle CPU; and the end of an mm would have to chase CPUs that keep it. So
 * cpu_space.active names just the CPUs where a thread of that mm is on_cpu.
 *
 * Lifetime. The dead thread's successor says that it has left its stack (on_cpu false, then
 * thread_gone); after that nobody here touches it, and thread_join, never the thread, frees the
 * stack.
 *
 * Not here: threads' beginning and end (thread.c), sleeping (wait.c), ticks (timer.c). */
#include "cpu/clock.h"
#include "cpu/smp.h"
#include "cpu/spinlock.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "sched/sched_internal.h"

struct runqueue {
	struct spinlock lock; /* RANK_RUNQUEUE, irq */
	u32 nr;               /* [q] threads on both lists; thieves look at it without the lock */
	struct list woken;    /* [q] slept, have slice left */
	struct list ready;    /* [q] the others */
	struct thread *idle;  /* [o] */
} aligned(64);

static struct runqueue runqueues[MAX_CPUS];
static u64 sched_cpus; /* [a] CPUs that take threads */
static u64 idle_cpus;  /* [a] those of them that look for work or halt */

static inline u64 cpu_bit(u32 cpu)
{
	return 1ull << cpu;
}

static inline u32 first_cpu(u64 mask)
{
	return (u32)__builtin_ctzll(mask);
}

static inline bool thread_allowed(const struct thread *t, u32 cpu)
{
	return atomic_load_relaxed(&t->affinity) & cpu_bit(cpu);
}

void runqueue_init(u32 cpu)
{
	struct runqueue *rq = &runqueues[cpu];

	spin_init(&rq->lock, RANK_RUNQUEUE);
	list_init(&rq->woken);
	list_init(&rq->ready);
}

void runqueue_join(struct thread *idle)
{
	runqueues[cpu_id()].idle = idle;
	atomic_or(&sched_cpus, cpu_bit(cpu_id()));
}

/* runqueue_lock_of - lock the queue that @t belongs to. => interrupts off */
static struct runqueue *runqueue_lock_of(struct thread *t)
{
	for (;;) {
		u32 cpu = READ_ONCE(t->cpu);
		struct runqueue *rq = &runqueues[cpu];
		spin_lock(&rq->lock);
		if (likely(t->cpu == cpu))
			return rq;
		spin_unlock_no_resched(&rq->lock);
	}
}

/* runqueue_unlock - without a look for something better to run: callers are in the middle of it. */
static inline void runqueue_unlock(struct runqueue *rq)
{
	spin_unlock_no_resched(&rq->lock);
}

/* ---- where: placing a claimed thread -------------------------------------------------------- */

static u32 runqueue_shortest(u64 mask)
{
	u32 best = first_cpu(mask);

	for (mask &= mask - 1; mask; mask &= mask - 1) {
		u32 cpu = first_cpu(mask);
		if (READ_ONCE(runqueues[cpu].nr) < READ_ONCE(runqueues[best].nr))
			best = cpu;
	}
	return best;
}

static u32 runqueue_choose_cpu(const struct thread *t)
{
	u64 allowed = atomic_load(&t->affinity) & atomic_load(&sched_cpus);
	u64 idle = allowed & atomic_load(&idle_cpus);
	u64 home = cpu_bit(t->cpu);

	CHECK(allowed, "thread %s may run nowhere: affinity %#lx", t->name, t->affinity);
	if (idle)
		return idle & home ? t->cpu : first_cpu(idle);
	return allowed & home ? t->cpu : runqueue_shortest(allowed);
}

static void runqueue_insert_locked(struct runqueue *rq, struct thread *t, bool woken)
{
	assert_held(&rq->lock);
	ASSERT(list_empty(&t->run) && t->state == THREAD_RUNNABLE && !t->on_cpu,
	       "thread %s queued in state %u, on_cpu %u (I1)", t->name, t->state, t->on_cpu);
	list_add_tail(woken && t->slice_ns > 0 ? &rq->woken : &rq->ready, &t->run);
	WRITE_ONCE(rq->nr, rq->nr + 1);
}

static void runqueue_remove_locked(struct runqueue *rq, struct thread *t)
{
	assert_held(&rq->lock);
	list_del(&t->run);
	WRITE_ONCE(rq->nr, rq->nr - 1);
}

/* idle_cpu_kick - a thread waits that may run on @mask: if one of these halts, let it look (I5).
 * => after a full barrier behind the lengthening of the queue */
static void idle_cpu_kick(u64 mask)
{
	mask &= atomic_load(&idle_cpus);
	if (mask) {
		u32 cpu = first_cpu(mask);
		atomic_and(&idle_cpus, ~cpu_bit(cpu)); /* the next wake-up kicks another */
		smp_kick(cpu);
	}
}

/* runqueue_place - put @t, claimed by us, on a queue, and make a CPU look there.
 * => @rq is the queue of t->cpu, locked; it is unlocked on return. *@t may have ended by then */
static void runqueue_place(struct runqueue *rq, struct thread *t, bool woken)
{
	u32 cpu = runqueue_choose_cpu(t);

	/* The affinity may change until the queue that it allows is locked; who changes it later
	 * finds the thread on that queue. */
	while (cpu != t->cpu || !thread_allowed(t, cpu)) {
		t->cpu = cpu;
		runqueue_unlock(rq);
		rq = &runqueues[cpu];
		spin_lock(&rq->lock);
		if (thread_allowed(t, cpu))
			break;
		cpu = runqueue_choose_cpu(t);
	}
	runqueue_insert_locked(rq, t, woken);

	u64 others = atomic_load_relaxed(&t->affinity) & ~cpu_bit(cpu);
	bool kick = atomic_xchg(&cpus[cpu]->need_resched, 1) == 0 && cpu != cpu_id();
	bool was_idle = atomic_load(&idle_cpus) & cpu_bit(cpu);
	if (was_idle)
		atomic_and(&idle_cpus, ~cpu_bit(cpu));
	runqueue_unlock(rq);

	if (kick)
		smp_kick(cpu);
	if (!was_idle)
		idle_cpu_kick(others);
}

/* ---- wake-ups ------------------------------------------------------------------------------- */

void thread_will_sleep(void)
{
	/* A full barrier: what the thread looks at next, it looks at as a declared sleeper (I4). */
	atomic_xchg(&thread_current()->state, THREAD_SLEEPING);
}

void thread_will_not_sleep(void)
{
	/* A waker may write the same at the same time. */
	WRITE_ONCE(thread_current()->state, THREAD_RUNNABLE);
}

void thread_wake(struct thread *t)
{
	u64 flags = irq_save();
	struct runqueue *rq = runqueue_lock_of(t);

	bool sleeps = t->state == THREAD_SLEEPING;

	if (sleeps)
		t->state = THREAD_RUNNABLE;
	if (sleeps && !t->on_cpu) {
		if ((s64)(clock_ns() - t->since_ns) >= (s64)SLICE_NS)
			t->slice_ns = SLICE_NS;
		runqueue_place(rq, t, true);
	} else { /* if it has not left yet, it will see that it need not */
		runqueue_unlock(rq);
	}
	irq_restore(flags);
	sched_check();
}

void thread_start(struct thread *t)
{
	u64 flags = irq_save();
	struct runqueue *rq = runqueue_lock_of(t);

	CHECK(t->state == THREAD_NEW, "thread %s started in state %u", t->name, t->state);
	t->state = THREAD_RUNNABLE;
	runqueue_place(rq, t, false);
	irq_restore(flags);
	sched_check();
}

void thread_set_affinity(struct thread *t, u64 mask)
{
	CHECK(mask & atomic_load(&sched_cpus), "thread %s: no such CPU in %#lx", t->name, mask);

	u64 flags = irq_save();
	atomic_store(&t->affinity, mask);
	struct runqueue *rq = runqueue_lock_of(t);
	u32 cpu = t->cpu;
	bool kick = false;
	if (!list_empty(&t->run)) {
		/* It finds its place anew: perhaps it may go now to a CPU that idles. */
		runqueue_remove_locked(rq, t);
		runqueue_place(rq, t, false);
	} else {
		/* A running one is moved when it leaves; one asleep or claimed, when placed. */
		if (t->on_cpu && !thread_allowed(t, cpu))
			kick = atomic_xchg(&cpus[cpu]->need_resched, 1) == 0;
		runqueue_unlock(rq);
	}
	if (kick && cpu != cpu_id())
		smp_kick(cpu);
	irq_restore(flags);
	sched_check();
}

/* ---- the switch ----------------------------------------------------------------------------- */

static void thread_account(struct thread *t, u64 now)
{
	u64 ran = now > t->since_ns ? now - t->since_ns : 0;

	t->run_ns += ran;
	t->slice_ns = t->slice_ns > ran ? t->slice_ns - ran : 0;
	t->since_ns = now;
}

/* runqueue_pick_locked - who runs next here: @prev if nobody goes before it. */
static struct thread *runqueue_pick_locked(struct runqueue *rq, struct thread *prev)
{
	bool stays = prev->state == THREAD_RUNNABLE && prev != rq->idle &&
		     thread_allowed(prev, cpu_id());
	struct list *from = &rq->woken;

	if (list_empty(from)) {
		if (stays && prev->slice_ns > 0)
			return prev;
		from = &rq->ready;
	}
	if (list_empty(from))
		return stays ? prev : rq->idle;

	struct thread *next = list_first(from, struct thread, run);
	runqueue_remove_locked(rq, next);
	return next;
}

/* runqueue_put_back_locked - @prev goes on later: in front if it has slice left. It is still
 * on_cpu; the lock hides that until it is not. */
static void runqueue_put_back_locked(struct runqueue *rq, struct thread *prev)
{
	if (prev->slice_ns > 0)
		list_add(&rq->ready, &prev->run);
	else
		list_add_tail(&rq->ready, &prev->run);
	prev->slice_ns = prev->slice_ns ?: SLICE_NS;
	WRITE_ONCE(rq->nr, rq->nr + 1);
	smp_mb();
	idle_cpu_kick(atomic_load_relaxed(&prev->affinity) & ~cpu_bit(cpu_id()));
}

static struct thread *runqueue_choose_locked(struct runqueue *rq, struct thread *prev,
					     enum leave why)
{
	struct cpu *cpu = this_cpu();
	u64 now = clock_ns();

	thread_account(prev, now);
	WRITE_ONCE(cpu->need_resched, 0);
	if (why == LEAVE_DYING)
		prev->state = THREAD_DEAD;
	else if (why == LEAVE_YIELDING)
		prev->slice_ns = 0;
	else if (why == LEAVE_PREEMPTED)
		prev->state = THREAD_RUNNABLE; /* if it was about to sleep, it is woken (I4) */

	struct thread *next = runqueue_pick_locked(rq, prev);
	if (next != prev) {
		/* If it may not stay here its successor places it, when it has left. */
		if (prev->state == THREAD_RUNNABLE && prev != rq->idle &&
		    thread_allowed(prev, cpu->id))
			runqueue_put_back_locked(rq, prev);
		next->on_cpu = true;
		next->since_ns = now;
	}
	if (next->slice_ns == 0)
		next->slice_ns = SLICE_NS;
	timer_slice(rq->nr > 0 && next != rq->idle ? now + next->slice_ns : 0);
	return next;
}

/* thread_switched_in - the end of each switch, in the thread that runs now. */
static void thread_switched_in(struct thread *t)
{
	if (t->ops && t->ops->switch_in)
		t->ops->switch_in(t);
	preempt_enable_no_resched();
}

void sched_arrive(struct thread *prev)
{
	struct runqueue *rq = &runqueues[cpu_id()];
	bool dead = prev->state == THREAD_DEAD;
	bool homeless = prev->state == THREAD_RUNNABLE && prev != rq->idle &&
			list_empty(&prev->run);

	atomic_store(&prev->on_cpu, false); /* I2; a dead thread's struct may go from here on */
	if (homeless)
		runqueue_place(rq, prev, false);
	else
		runqueue_unlock(rq);
	if (dead)
		thread_gone();
	thread_switched_in(thread_current());
}

void sched_leave(enum leave why)
{
	u64 flags = irq_save();
	struct thread *prev = thread_current();

	CHECK(preempt_count() == 0, "%s leaves its CPU with preempt_count %u (I6)", prev->name,
	      preempt_count());
	preempt_disable();
	if (prev->ops && prev->ops->switch_out)
		prev->ops->switch_out(prev);

	struct runqueue *rq = &runqueues[cpu_id()];
	spin_lock(&rq->lock);
	struct thread *next = runqueue_choose_locked(rq, prev, why);
	if (next == prev) {
		runqueue_unlock(rq);
		thread_switched_in(prev);
	} else {
		struct cpu *cpu = this_cpu();
		if (next->space != cpu->space)
			space_switch(next->space);
		cpu->current = next;
		race_point("sched.switch");
		/* Here others run; then this thread goes on, perhaps on another CPU. */
		sched_arrive(context_switch(prev, next));
	}
	irq_restore(flags);
}

void thread_yield(void)
{
	might_sleep();
	if (READ_ONCE(runqueues[cpu_id()].nr) > 0 || need_resched()) {
		sched_leave(LEAVE_YIELDING);
		sched_check();
	} else {
		cpu_relax(); /* who yields waits for something that another CPU does */
	}
}

void preempt_schedule(void)
{
	if (preempt_count() == 0 && irq_enabled())
		preempt_schedule_irq();
}

void preempt_schedule_irq(void)
{
	do {
		sched_leave(LEAVE_PREEMPTED);
	} while (need_resched());
}

/* ---- idle ----------------------------------------------------------------------------------- */

/* runqueue_longest - the CPU not in @but where most threads wait; MAX_CPUS if none waits. */
static u32 runqueue_longest(u64 but)
{
	u32 best = MAX_CPUS, most = 0;

	for (u64 mask = atomic_load(&sched_cpus) & ~but; mask; mask &= mask - 1) {
		u32 cpu = first_cpu(mask);
		u32 nr = READ_ONCE(runqueues[cpu].nr);
		if (nr > most) {
			most = nr;
			best = cpu;
		}
	}
	return best;
}

static struct thread *runqueue_first_allowed(struct list *from, u32 cpu)
{
	struct thread *t;

	list_for_each(t, from, run) {
		if (thread_allowed(t, cpu))
			return t;
	}
	return NULL;
}

/* runqueue_claim_from - take a thread that may run on @me from @victim's queue, or NULL. */
static struct thread *runqueue_claim_from(u32 victim, u32 me)
{
	struct runqueue *rq = &runqueues[victim];

	spin_lock(&rq->lock);
	struct thread *t = runqueue_first_allowed(&rq->ready, me);
	if (!t)
		t = runqueue_first_allowed(&rq->woken, me);
	if (t) {
		runqueue_remove_locked(rq, t);
		t->cpu = me;
	}
	runqueue_unlock(rq);
	return t;
}

/* runqueue_steal - bring a thread from the longest queue that has one for us; false if none. */
static bool runqueue_steal(u32 me)
{
	u64 tried = cpu_bit(me);
	u32 victim;

	while ((victim = runqueue_longest(tried)) != MAX_CPUS) {
		struct thread *t = runqueue_claim_from(victim, me);
		if (t) {
			spin_lock(&runqueues[me].lock);
			runqueue_place(&runqueues[me], t, false);
			return true;
		}
		tried |= cpu_bit(victim);
	}
	return false;
}

void runqueue_idle(void)
{
	struct cpu *cpu = this_cpu();

	/* Preemption stays off while the bit is set, lest another thread runs here meanwhile. */
	irq_disable();
	preempt_disable();
	atomic_or(&idle_cpus, cpu_bit(cpu->id));
	if (!need_resched() && !runqueue_steal(cpu->id)) {
		cpu->idle_since_ns = clock_ns();
		cpu_idle_wait();
		cpu->idle_since_ns = 0; /* unless an interrupt did so (cpu/trap.c) */
	}
	atomic_and(&idle_cpus, ~cpu_bit(cpu->id));
	preempt_enable_no_resched();
	irq_enable();
	if (need_resched())
		sched_leave(LEAVE_YIELDING);
}
