/* SPDX-License-Identifier: BSD-2-Clause */
/* Spinlocks with interrupts off, and the bookkeeping of ranks in debug builds: each CPU has a stack of
 * the ranks it holds. Interrupt handlers push on top of what they interrupted: their locks have the
 * highest ranks. */
#include "cpu/spinlock.h"

#include "cpu/x86.h"

u64 spin_lock_irqsave(struct spinlock *l)
{
	u64 flags = irq_save();

	spin_lock(l);
	return flags;
}

void spin_unlock_irqrestore(struct spinlock *l, u64 flags)
{
	spin_unlock_no_resched(l);
	if (!(flags & RFLAGS_IF))
		return;
	irq_enable();
	preempt_check();
}

/* A handler must not come between counting a rank and writing it. */
static void push_rank(struct cpu *cpu, u8 rank)
{
	u64 flags = irq_save();

	CHECK(cpu->nr_ranks < ARRAY_SIZE(cpu->ranks), "%u spinlocks held", cpu->nr_ranks);
	cpu->ranks[cpu->nr_ranks++] = rank;
	irq_restore(flags);
}

void spin_debug_take(struct spinlock *l)
{
	struct cpu *cpu = this_cpu();

	if (cpu->in_panic)
		return;
	ASSERT(l->rank != RANK_NONE, "lock %p was never initialized", (void *)l);
	ASSERT(!spin_is_held(l), "lock of rank %u taken twice", l->rank);
	for (u8 i = 0; i < cpu->nr_ranks; i++)
		ASSERT(cpu->ranks[i] < l->rank, "lock of rank %u taken under one of rank %u", l->rank,
		       cpu->ranks[i]);
	push_rank(cpu, l->rank);
}

void spin_debug_tried(struct spinlock *l)
{
	push_rank(this_cpu(), l->rank);
}

void spin_debug_drop(struct spinlock *l)
{
	struct cpu *cpu = this_cpu();
	u64 flags;
	u8 i;

	if (cpu->in_panic)
		return;
	ASSERT(spin_is_held(l), "lock of rank %u dropped, held by cpu %d", l->rank, l->holder - 1);
	flags = irq_save();
	for (i = cpu->nr_ranks; i > 0 && cpu->ranks[i - 1] != l->rank; i--)
		;
	ASSERT(i > 0, "rank %u is not among those held", l->rank);
	cpu->nr_ranks--;
	for (i--; i < cpu->nr_ranks; i++)
		cpu->ranks[i] = cpu->ranks[i + 1];
	irq_restore(flags);
}
