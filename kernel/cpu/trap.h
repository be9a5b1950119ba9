/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions and interrupts of the hypervisor itself. */
#pragma once

#include "lib/types.h"

struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

/* Interrupt vectors. Priority classes rise with the number. */
enum {
	VECTOR_TIMER = 0x40,
	VECTOR_DEVICE = 0x50, /* .. 0x6f, by irq_alloc */
	VECTOR_RESCHED = 0xf0, /* no handler: that it comes is all */
	VECTOR_CALL = 0xf1,
	VECTOR_SPURIOUS = 0xff,
};

/* Selectors of every CPU's GDT. No user mode: guests bring their own descriptors. */
enum { SELECTOR_CODE = 0x08, SELECTOR_DATA = 0x10, SELECTOR_TSS = 0x18 };

/* trap_init - IDT, and this CPU's GDT, TSS and stacks for NMI, #DF, #MC.
 * => once per CPU; on the boot CPU first of all, it needs nothing */
void trap_init(void);

/* irq_set_handler - call @fn for @vector, on the CPU that took it, interrupts and preemption off; EOI
 * is sent after. Then, if the interrupted code allows it and need_resched says so, the interrupt's
 * last act is preempt_schedule_irq(), still with interrupts off. */
void irq_set_handler(u8 vector, void (*fn)(void));
/* irq_alloc - a vector from VECTOR_DEVICE up for @fn. Return it; -ENOSPC if all are taken. */
int must_check irq_alloc(void (*fn)(void));

/* trap_set_fault_handler - mm's answer to a page fault on a lower-half address. @fn runs with
 * interrupts on and may sleep; returns 0 if the access may be retried.
 * It is asked only for instructions that stand in the exception table, when thread_may_fault says so;
 * else, or if it fails, the fix-up is taken. Any other page fault is a panic. */
void trap_set_fault_handler(int (*fn)(u64 va, u32 pfec));

struct thread;

/* What sched tells about threads; implemented there. May be called in a panic: no locks, no faults. */
const char *thread_name(const struct thread *t);
/* thread_may_fault - it has an mm, and page faults are not disabled. */
bool thread_may_fault(const struct thread *t);

/* Exception table: a fault at @fault continues at @fixup, with RAX = -EFAULT and all else as it was.
 * EX_TABLE goes into inline assembly, "1b" and "2f" for instance. */
#define EX_TABLE(fault, fixup) \
	".pushsection __ex_table, \"a\"\n\t" \
	".balign 4\n\t" \
	".long " fault " - .\n\t" \
	".long " fixup " - .\n\t" \
	".popsection\n\t"

struct ex_entry {
	s32 fault, fixup; /* relative to their own place */
};

/* symbol_find - the function that @addr lies in, or NULL. The text is good until the next call. */
const char *symbol_find(u64 addr, u64 *offset);

/* panic_set_exit - call @fn at the end of a panic, to end an emulator; it may return. */
void panic_set_exit(void (*fn)(void));
/* trace_errors_print - print each error that passes trace(), with its place. Debug builds. */
void trace_errors_print(bool on);
