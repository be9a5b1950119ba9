/* SPDX-License-Identifier: BSD-2-Clause */
/* Traps: gates for all vectors, handlers, and code that is expected to fault. */
#pragma once

#include "types.h"

#define SEL_CODE64    0x08
#define SEL_DATA      0x10
#define SEL_CODE32    0x18
#define SEL_USER_DATA 0x23
#define SEL_USER_CODE 0x2b
#define SEL_TSS       0x30

/* What vectors.S leaves on the stack; a handler may change it. */
struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error; /* error is 0 where the processor pushes none */
	u64 rip, cs, rflags, rsp, ss;
};

struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_mid;
	u32 offset_high, reserved;
} __attribute__((packed));

#define GATE_INTERRUPT 0x8e
#define GATE_USER      0xee

struct tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, io_map;
} __attribute__((packed));

extern struct idt_gate guest_idt[256];
extern struct tss guest_tss; /* the boot CPU's; IST 1 is the double fault's stack */
extern u64 guest_gdt[];

void trap_init(void);
/* idt_load - use @table with @bytes bytes, here. */
void idt_load(const void *table, u16 bytes);

/* trap_handler_set - @handler answers @vector from now on, on every CPU; NULL: nobody. */
typedef void (*trap_handler)(struct trap_frame *f);
void trap_handler_set(unsigned int vector, trap_handler handler);

/* idt_entry_set - the processor goes to @entry for @vector, past all of this; NULL: back again. */
void idt_entry_set(unsigned int vector, const void *entry);

#define TRAP_NONE (~0ull)

/* What ended a try: the trap that came, or TRAP_NONE. */
struct trap {
	u64 vector, error, cr2, rip, rflags, cs, rsp;
};

/* try_call - run fn(arg); a trap without handler ends it and is returned.
 * => boot CPU only, not nested; locks and changed registers are the caller's to clean up */
struct trap try_call(void (*fn)(void *arg), void *arg);

/* try_user - run the code at @rip in ring 3, with @rdi and @rsi and stack @rsp, until it traps. */
struct trap try_user(u64 rip, u64 rsp, u64 rdi, u64 rsi);

/* report_trap - report() that @t is @vector with @error (and @vector == TRAP_NONE: no trap). */
bool report_trap(const struct trap *t, u64 vector, u64 error, const char *what);

bool rdmsr_safe(u32 msr, u64 *value);
bool wrmsr_safe(u32 msr, u64 value);
