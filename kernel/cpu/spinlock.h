/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranked spinlocks: ticket locks, so that CPUs are served in order. Holding one forbids preemption.
 *
 * Every lock has a rank; a CPU takes them in rising rank only. Debug builds keep the ranks held per
 * CPU and panic at the first violation, so that an order that could deadlock is found by running it
 * once. The order is told in docs/locking.md; this enum is the truth. Two locks of one rank are
 * never held together.
 *
 * A lock that an interrupt handler takes is taken with spin_lock_irqsave everywhere. */
#pragma once

#include "cpu/percpu.h"
#include "lib/atomic.h"
#include "lib/check.h"

enum lock_rank {
	RANK_NONE,
	RANK_VM_LIST,    /* vmm: the list of VMs */
	RANK_VM,         /* vmm: a VM's small state */
	RANK_DEVICE,     /* vmm: one device model */
	RANK_MMU,        /* vmm: mmu_lock, the secondary page tables of a VM */
	RANK_MM_TABLE,   /* mm: id -> struct mm */
	RANK_PT,         /* mm: the primary page table of an mm */
	RANK_RMAP,       /* mm: chains of shared frames */
	RANK_SWAP,       /* mm: where the next slots of a swap area are looked for */
	RANK_CACHE,      /* mm: object caches */
	RANK_HOST_PT,    /* cpu: the kernel's own page tables and stacks; takes frames */
	RANK_FRAMES,     /* mm: the buddy */
	RANK_THREADS,    /* sched: the list of all threads */
	RANK_DISK,       /* drivers: one disk's ring; PCI configuration space [irq] */
	RANK_SWAP_IO,    /* mm: requests to swap areas, free and finished [irq] */
	RANK_DEVICE_IRQ, /* vmm: a device model whose timer's function takes the lock, too [irq] */
	RANK_IRQ_CHIP,   /* vmm: an interrupt controller of a board [irq] */
	RANK_WAIT,       /* sched: wait queues and sleeping locks [irq] */
	RANK_TIMER,      /* sched: timer queues [irq] */
	RANK_RUNQUEUE,   /* sched: run queues [irq] */
	RANK_GUEST_CONSOLE, /* vmm: a guest's unfinished line [irq] */
	RANK_CONSOLE,    /* lib: the console [irq] */
};

struct spinlock {
	u16 owner; /* [a] the ticket being served */
	u16 next;  /* [a] the next ticket */
	u8 rank;   /* [o] */
	u8 holder; /* cpu id + 1; for assert_held and panics */
};

#define SPINLOCK_INIT(r) {.rank = (r)}

static inline void spin_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock){.rank = rank};
}

/* Debug bookkeeping: spin_debug_take panics on a rank that does not rise. A lock that was only tried
 * cannot deadlock: it may be taken against the order, and only those that follow must rise above. */
void spin_debug_take(struct spinlock *l);
void spin_debug_tried(struct spinlock *l);
void spin_debug_drop(struct spinlock *l);

static inline void spin_lock(struct spinlock *l)
{
	preempt_disable();
	if (NEAP_DEBUG)
		spin_debug_take(l);
	u16 ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_ACQUIRE);
	while (unlikely(atomic_load(&l->owner) != ticket))
		cpu_relax();
	if (NEAP_DEBUG)
		l->holder = cpu_id() + 1;
}

static inline bool spin_trylock(struct spinlock *l)
{
	preempt_disable();
	u16 ticket = atomic_load(&l->owner);
	u16 was = ticket;
	if (!atomic_cas(&l->next, &was, (u16)(ticket + 1))) {
		preempt_enable();
		return false;
	}
	if (NEAP_DEBUG) {
		spin_debug_tried(l);
		l->holder = cpu_id() + 1;
	}
	return true;
}

static inline void spin_unlock_no_resched(struct spinlock *l)
{
	if (NEAP_DEBUG) {
		spin_debug_drop(l);
		l->holder = 0;
	}
	atomic_store(&l->owner, (u16)(l->owner + 1));
	preempt_enable_no_resched();
}

static inline void spin_unlock(struct spinlock *l)
{
	spin_unlock_no_resched(l);
	preempt_check();
}

/* spin_lock_irqsave - take @l with interrupts off. Return what spin_unlock_irqrestore wants. */
u64 spin_lock_irqsave(struct spinlock *l);
void spin_unlock_irqrestore(struct spinlock *l, u64 flags);

static inline bool spin_is_held(const struct spinlock *l)
{
	return l->holder == cpu_id() + 1;
}

#define assert_held(l) \
	ASSERT(spin_is_held(l), "lock of rank %u is held by cpu %d", (l)->rank, (l)->holder - 1)
