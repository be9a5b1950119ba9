/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions and interrupts of the hypervisor itself. */
#pragma once

#include "lib/compiler.h"
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
	VECTOR_RESCHED = 0xf0,
	VECTOR_CALL = 0xf1,
	VECTOR_SPURIOUS = 0xff,
};

/* trap_init - IDT, and this CPU's GDT, TSS and stacks for NMI, #DF, #MC. => once per CPU */
void trap_init(void);

/* irq_set_handler - call @fn for @vector, on the CPU that took it, interrupts off; EOI is sent after. */
void irq_set_handler(u8 vector, void (*fn)(void));

/* trap_set_fault_handler - mm's answer to a page fault on a lower-half address in a thread that
 * allows it. @fn runs with interrupts on and may sleep; returns 0 if the access may be retried. */
void trap_set_fault_handler(int (*fn)(u64 va, u32 pfec));

/* Exception table: a fault at @fault continues at @fixup. EX_TABLE goes into inline assembly. */
#define EX_TABLE(fault, fixup) \
	".pushsection __ex_table, \"a\"\n\t" \
	".balign 4\n\t" \
	".long " fault " - .\n\t" \
	".long " fixup " - .\n\t" \
	".popsection\n\t"

/* After a fix-up RAX holds -EFAULT; see the users. */
struct ex_entry {
	s32 fault, fixup; /* relative to their own place */
};

/* backtrace_print - symbolised, from @rbp; never faults. */
void backtrace_print(u64 rip, u64 rbp);
/* symbol_find - the function that @addr lies in, or NULL. */
const char *symbol_find(u64 addr, u64 *offset);
