/* SPDX-License-Identifier: BSD-2-Clause */
/* The other processors: bringing them up, calling functions on them, and TLB shoot-down of primary
 * translations. */
#pragma once

#include "lib/types.h"

/* smp_boot - start the CPUs with these APIC ids (the boot CPU's own is skipped); each runs @entry on
 * its idle stack, interrupts off. A CPU that does not answer within a second is left out with one
 * line.
 * => boot CPU, once, also with @nr == 0; after apic_init and clock_calibrate */
void smp_boot(const u32 *apic_ids, u32 nr, noreturn_fn void (*entry)(void));

/* smp_call - run @fn(@arg) on each CPU of @mask, interrupts off there, and wait until all have.
 * The calling CPU may be in the mask. Calls that cross serve each other.
 * => interrupts on, unless no other CPU is in the mask; not in an interrupt handler; never sleeps
 * => @fn takes no lock that a caller of smp_call may hold */
void smp_call(u64 mask, void (*fn)(void *arg), void *arg);

/* smp_kick - make @cpu leave guest mode or idle and look at its flags. => any context */
void smp_kick(u32 cpu);

/* smp_stop_others - for panic: NMI to all others; they halt. */
void smp_stop_others(void);

u64 cpu_online_mask(void);

/* A set of page tables that CR3 may hold, and the CPUs that hold it. mm embeds one per struct mm.
 * space_switch sets this CPU's bit before loading CR3 and clears the old one's after. */
struct cpu_space {
	u64 cr3;
	u64 active; /* [a] mask of CPUs */
};

/* space_switch - load @s (NULL: the kernel's own). => preemption off */
void space_switch(struct cpu_space *s);

/* space_flush - every CPU that holds @s forgets [@start, @end); whole TLB if the range is large.
 * => no spinlock of a rank that an IRQ takes; interrupts on; returns when all have */
void space_flush(struct cpu_space *s, u64 start, u64 end);
