/* SPDX-License-Identifier: BSD-2-Clause */
/* The secondary MMU of a VM: the fault path, and what the notifier asks.
 *
 *	guest touches gpa ---exit---> mmu_fault
 *	   1. sample sequence and slot generation           (rule 1)
 *	   2. gfn -> memslot -> hva
 *	   3. mm_gup: the primary PTE first, a reference    (rules 2, 3)
 *	   4. lock mmu_lock; retry? -> 1                    (rule 4)
 *	   5. ops->map: write the spte, never more rights than the primary PTE
 *	   6. unlock, drop the reference: nothing is pinned
 *
 *	mm takes a page back ---range_start---> mmu_zap: ops->zap, dirty to mm, flush
 *
 * `struct mmu_ops` is how a kind of table does it: ept.c for EPT and NPT, shadow.c later.
 *
 * Locking: mmu_lock guards the tables and is taken inside notifier callbacks; the mm's locks are never
 * taken under it, nothing is allocated under it. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vm;
struct vcpu;

struct mmu_ops {
	const char *name; /* "npt", "ept", "shadow" */
	int (*create)(struct vm *vm);  /* 0 or -ENOMEM */
	void (*destroy)(struct vm *vm);
	/* map - let @f reach @p with @acc. => mmu_lock
	 * Return 0; -ENOMEM if the installer's spare tables are used up (top up and start again). */
	int (*map)(struct vm *vm, gfn_t f, pfn_t p, unsigned int acc);
	/* zap - take away every translation of [@start, @end); dirty goes to mm. => mmu_lock
	 * Return true if there was one, and so a flush is owed (rule 7). */
	bool (*zap)(struct vm *vm, u64 start, u64 end);
	/* young - accessed since last cleared? @clear: clear it. => mmu_lock */
	bool (*young)(struct vm *vm, u64 start, u64 end, bool clear);
	/* clear_young - the same of the one page @f, and clear it: reclaim asks for many. => mmu_lock */
	bool (*clear_young)(struct vm *vm, gfn_t f);
	/* protect - take the right to write away. Return true if a flush is owed. => mmu_lock */
	bool (*protect)(struct vm *vm, u64 start, u64 end);
	/* for_each - visit each leaf, for audits. => mmu_lock */
	void (*for_each)(struct vm *vm, void (*fn)(void *ctx, gfn_t f, pfn_t p, unsigned int acc), void *ctx);
};

extern const struct mmu_ops ept_ops; /* EPT and NPT */

/* mmu_create - choose the engine and subscribe to the VM's mm. 0, -ENOMEM, -EINTR. */
int must_check mmu_create(struct vm *vm);
/* mmu_destroy - unsubscribe, drop all tables. => no vCPU runs */
void mmu_destroy(struct vm *vm);

/* mmu_fault - @v's guest touched @at with @acc and the secondary MMU said no.
 * => v's thread, may sleep
 * Return 0: try again; -ENOENT: not memory (MMIO); -ENOMEM; -EINTR; -EFAULT against the slot's rights. */
int must_check mmu_fault(struct vcpu *v, gpa_t at, unsigned int acc);

/* mmu_drop_spares - give back the tables that @v keeps for its next faults. => @v does not run */
void mmu_drop_spares(struct vcpu *v);

/* mmu_flush - everything taken away so far is in no TLB any more, or will not be before the TLB is used
 * for this VM again (rule 18): kick who is in guest mode and wait until they left.
 * => thread context, interrupts on */
void mmu_flush(struct vm *vm);

/* mmu_audit - compare every spte with the primary PTE (N1, N2) and the counts. Returns the number of
 * differences, each reported. => the VM is paused or gone */
int mmu_audit(struct vm *vm, void (*report)(const char *fmt, ...));
