/* SPDX-License-Identifier: BSD-2-Clause */
/* What each processor has of its own. GS points to this CPU's `struct cpu` whenever C code runs
 * (the guest's GS is swapped out before the first C instruction after a VM exit). The head of the
 * struct is known to assembly and to one-instruction inlines.
 *
 * Other folders keep their per-CPU state in arrays of their own, indexed by cpu_id(). */
#pragma once

#include "lib/types.h"

#define MAX_CPUS 64

struct thread;
struct cpu_space;

struct cpu {
	struct cpu *self;       /* gs:0 */
	struct thread *current; /* gs:8 */
	u32 preempt_count;      /* gs:16  > 0: the thread here may not be switched away */
	u32 need_resched;       /* gs:20  set by ticks and wake-ups, also from other CPUs [a] */
	u32 id;                 /* gs:24  index, boot CPU 0 */
	u32 apic_id;
	bool online;            /* [a] */
	bool in_panic;
	struct cpu_space *space; /* whose page tables CR3 holds; NULL: the kernel's own */
	void *fpu_owner;         /* whose state the FPU registers hold (cpu/fpu.h) */
	void *fpu_left;          /* who saved it here last, if nobody has loaded since */
	u64 *gdt;
	void *tss;
	u8 nr_ranks;             /* debug: ranks of the spinlocks held, in order of taking */
	u8 ranks[16];
	u64 irqs;                /* interrupts taken */
	u64 ipis_sent;
	u64 tlb_flushes;         /* of primary translations */
	u64 idle_ns;             /* halted; work begins with the interrupt that ends it */
	u64 idle_since_ns;       /* 0: not halted */
};

extern struct cpu *cpus[MAX_CPUS]; /* [o] filled while CPUs come up */
extern u32 nr_cpus;                /* [o] those that are up; stable after boot */

static_assert(offsetof(struct cpu, current) == 8, "assembly knows");
static_assert(offsetof(struct cpu, preempt_count) == 16, "assembly knows");
static_assert(offsetof(struct cpu, need_resched) == 20, "assembly knows");
static_assert(offsetof(struct cpu, id) == 24, "inline below knows");

#ifdef NEAP_HOST

/* Unit tests: each thread of the host plays a processor, and says which before it runs kernel code. */
extern _Thread_local struct cpu *host_cpu;

static inline struct cpu *this_cpu(void) { return host_cpu; }
static inline struct thread *thread_current(void) { return host_cpu->current; }
static inline u32 cpu_id(void) { return host_cpu->id; }
static inline u32 preempt_count(void) { return host_cpu->preempt_count; }
static inline u32 need_resched(void) { return host_cpu->need_resched; }
static inline void preempt_disable(void) { host_cpu->preempt_count++; }
static inline void preempt_enable_no_resched(void) { host_cpu->preempt_count--; }

#else

/* One load from this CPU's struct cpu. The counts are read where they stand ("memory"); for the others
 * callers hold preemption off, or do not care that the answer may be another one by now. */
#define CPU_LOAD(type, name, offset, ...) \
	static inline type name(void) \
	{ \
		type v; \
		__asm__ volatile("mov %%gs:" #offset ", %0" : "=r"(v) : : __VA_ARGS__); \
		return v; \
	}
CPU_LOAD(struct cpu *, this_cpu, 0)
CPU_LOAD(struct thread *, thread_current, 8)
CPU_LOAD(u32, preempt_count, 16, "memory")
CPU_LOAD(u32, need_resched, 20, "memory")
CPU_LOAD(u32, cpu_id, 24)

static inline void preempt_disable(void) { __asm__ volatile("incl %%gs:16" ::: "memory"); }
static inline void preempt_enable_no_resched(void) { __asm__ volatile("decl %%gs:16" ::: "memory"); }

#endif /* NEAP_HOST */

/* Called by preempt_enable when this CPU should switch; implemented by sched. Does nothing while
 * interrupts are off: who turned them off wants to stay. */
void preempt_schedule(void);
/* The same at the end of an interrupt that found interrupts on, when need_resched() is set and
 * preempt_count() is 0. => interrupts off, EOI sent; returns with interrupts off */
void preempt_schedule_irq(void);

static inline void preempt_check(void)
{
	if (unlikely(need_resched()) && preempt_count() == 0)
		preempt_schedule();
}

static inline void preempt_enable(void)
{
	preempt_enable_no_resched();
	preempt_check();
}
