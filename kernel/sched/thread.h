/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernel threads. A vCPU is one; so are the monitor and the reaper.
 *
 * One run queue per CPU; a thread that wakes goes to the CPU where it last ran, or to an idle one
 * that its affinity allows; an idle CPU takes work from the longest queue. Round robin with slices
 * of SLICE_NS. Preemption happens at timer ticks and wake-ups, when preempt_count is 0; a vCPU's
 * loop offers it after each exit (`if (need_resched()) preempt_schedule();`). runqueue.c has the
 * rules.
 *
 * Lifetime: the struct belongs to who calls thread_create (it is embedded in a struct vcpu, or
 * static); thread_join waits until the thread has left its stack for good, then the memory may go.
 *
 * Locking: [q] the run queue's lock of thread->cpu; [s] this thread itself; [o] set once. */
#pragma once

#include "cpu/percpu.h"
#include "cpu/smp.h"
#include "lib/atomic.h"
#include "lib/list.h"

#define SLICE_NS (10 * 1000 * 1000ull)

enum thread_state { THREAD_NEW, THREAD_RUNNABLE, THREAD_SLEEPING, THREAD_DEAD };

struct thread;

/* What the owner of a thread wants to know. Both are called in the thread itself, on the CPU where
 * it happens, preemption off, interrupts off; they may not sleep nor take locks of rank RANK_WAIT
 * or above. They come in pairs; now and then a pair comes without another thread between. switch_in
 * is called before the thread's first instruction, switch_out also when it has ended. */
struct thread_ops {
	void (*switch_in)(struct thread *t);
	void (*switch_out)(struct thread *t);
};

struct thread {
	u64 rsp;                      /* saved while it does not run; offset 0: assembly knows */
	void *stack_top;              /* [o] */
	enum thread_state state;      /* [q] */
	bool on_cpu;                  /* [a] false only when its registers are saved for good */
	bool kill;                    /* [a] killable sleeps end with -EINTR */
	u32 cpu;                      /* [q] where it runs, or ran last */
	u64 affinity;                 /* [a] mask of CPUs where it may run */
	struct list run;              /* [q] */
	struct cpu_space *space;      /* [s] the mm whose hva it can reach; NULL: none */
	struct mm *mm;                /* [s] the same, for mm's fault handler */
	u32 pagefault_disabled;       /* [s] > 0: hva accesses do not fault in, they fail */
	const struct thread_ops *ops; /* [o] may be NULL */
	void (*fn)(void *arg);        /* [o] */
	void *arg;                    /* [o] */
	u64 run_ns;                   /* [q] accounted at each switch */
	u64 since_ns;                 /* [q] when it was last put on its CPU, or left it */
	u64 slice_ns;                 /* [q] what is left of its slice */
	char name[32];                /* [o] */
	struct list all;              /* under the thread list's lock */
};

/* sched_init - boot CPU: run queues; the running code becomes thread "boot".
 * => after apic_init and clock_calibrate, before smp_boot; interrupts off or on */
void sched_init(void);
/* sched_idle - called by each CPU when it is ready to run threads; becomes its idle loop. On the
 * boot CPU, which has one already, it ends thread "boot". => no lock held */
noreturn_fn void sched_idle(void);

/* thread_create - make @t ready to run @fn(@arg); thread_start lets it go. It may run on every CPU
 * until thread_set_affinity says otherwise. => thread context; @ops may be NULL
 * Return 0 or -ENOMEM (stack). */
int must_check thread_create(struct thread *t, const char *name, void (*fn)(void *arg), void *arg,
			     const struct thread_ops *ops);
void thread_start(struct thread *t);
/* thread_set_affinity - @t runs on the CPUs of @mask only, at once if it is the caller, else soon.
 * => any context; @mask has a CPU that is up; @t is not joined meanwhile */
void thread_set_affinity(struct thread *t, u64 mask);
/* thread_kill - end killable sleeps of @t now and in future; it ends itself.
 * => any context; @t is not joined meanwhile */
void thread_kill(struct thread *t);
static inline bool thread_killed(void)
{
	return atomic_load(&thread_current()->kill);
}
/* thread_join - wait for @t's end and free its stack; *@t may go then.
 * => thread context, sleeps; @t was started, is not the caller, and is joined once */
void thread_join(struct thread *t);

/* thread_yield - let the others of this CPU go first. => thread context, no spinlock held */
void thread_yield(void);
/* thread_sleep_ns - Return 0, or -EINTR if killed meanwhile. => sleeps */
int thread_sleep_ns(u64 ns);

/* thread_use_space - the current thread reaches @mm's hva from now on (NULL: none).
 * => thread context; @space stays until the thread has ended or given it up */
void thread_use_space(struct mm *mm, struct cpu_space *space);

/* might_sleep - in debug builds, panic if sleeping is not allowed here. */
void might_sleep(void);

/* sched_for_each - visit all threads, for the monitor. => @fn under the list's lock */
void sched_for_each(void (*fn)(struct thread *t, void *ctx), void *ctx);
