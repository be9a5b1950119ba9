/* SPDX-License-Identifier: BSD-2-Clause */
/* Traps in C: tables, dispatch, and the tries. See trap.h. */
#include "trap.h"

#include "guest.h"
#include "x86.h"

struct table_pointer {
	u16 limit;
	u64 base;
} __attribute__((packed));

struct idt_gate guest_idt[256] aligned(4096);
struct tss guest_tss;

static trap_handler handlers[256];
static u8 ring0_stack[8192] aligned(16);
static u8 double_fault_stack[8192] aligned(16);

/* The try under way. */
u64 try_rsp;
static bool try_armed;
static struct trap try_result;

extern char vector_entries[], try_resume[];
void try_enter(void (*fn)(void *arg), void *arg);
void user_enter(void *args);
void trap_dispatch(struct trap_frame *f);
void guest_init(unsigned long info);

void idt_load(const void *table, u16 bytes)
{
	struct table_pointer p = {(u16)(bytes - 1), (u64)table};

	__asm__ volatile("lidt %0" : : "m"(p));
}

static void gate_set(struct idt_gate *g, u64 entry, u8 type)
{
	*g = (struct idt_gate){
	    .offset_low = (u16)entry,
	    .selector = SEL_CODE64,
	    .type = type,
	    .offset_mid = (u16)(entry >> 16),
	    .offset_high = (u32)(entry >> 32),
	};
}

static void tss_init(void)
{
	u64 base = (u64)&guest_tss;

	guest_tss.rsp[0] = (u64)(ring0_stack + sizeof(ring0_stack));
	guest_tss.ist[0] = (u64)(double_fault_stack + sizeof(double_fault_stack));
	guest_tss.io_map = sizeof(guest_tss);
	guest_gdt[SEL_TSS / 8] = (sizeof(guest_tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
				 (base >> 24 & 0xff) << 56;
	guest_gdt[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void idt_entry_set(unsigned int v, const void *entry)
{
	bool user = v == VEC_BP || v == VEC_OF || v == 0x80;

	gate_set(&guest_idt[v], entry ? (u64)entry : (u64)vector_entries + v * 16,
		 user ? GATE_USER : GATE_INTERRUPT);
}

void trap_init(void)
{
	for (unsigned int v = 0; v < 256; v++)
		idt_entry_set(v, NULL);
	guest_idt[VEC_DF].ist = 1;
	tss_init();
	idt_load(guest_idt, sizeof(guest_idt));
}

void trap_handler_set(unsigned int vector, trap_handler handler)
{
	handlers[vector] = handler;
}

void trap_dispatch(struct trap_frame *f)
{
	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (try_armed) {
		try_armed = false;
		try_result = (struct trap){f->vector, f->error, read_cr2(), f->rip,
					   f->rflags, f->cs,    f->rsp};
		f->rip = (u64)try_resume;
		f->cs = SEL_CODE64;
		f->rsp = try_rsp;
		f->ss = SEL_DATA;
		f->rflags = 0x2;
		return;
	}
	print("TRAP %lu error=%#lx rip=%#lx cs=%#lx rflags=%#lx rsp=%#lx cr2=%#lx\n", f->vector,
	      f->error, f->rip, f->cs, f->rflags, f->rsp, read_cr2());
	guest_exit(EXIT_TRAP + (int)(f->vector & 63));
}

struct trap try_call(void (*fn)(void *arg), void *arg)
{
	try_result = (struct trap){.vector = TRAP_NONE};
	try_armed = true;
	try_enter(fn, arg);
	try_armed = false;
	/* A trap from ring 3 leaves null or user selectors in these. */
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(SEL_DATA));
	return try_result;
}

struct trap try_user(u64 rip, u64 rsp, u64 rdi, u64 rsi)
{
	u64 args[4] = {rip, rsp, rdi, rsi};

	return try_call(user_enter, args);
}

bool report_trap(const struct trap *t, u64 vector, u64 error, const char *what)
{
	if (report(t->vector == vector && (vector == TRAP_NONE || t->error == error), "%s", what))
		return true;
	print("      came vector %ld error %#lx rip %#lx cr2 %#lx, wanted vector %ld error %#lx\n",
	      (long)t->vector, t->error, t->rip, t->cr2, (long)vector, error);
	return false;
}

struct msr_access {
	u32 msr;
	u64 value;
};

static void rdmsr_try(void *arg)
{
	struct msr_access *a = arg;

	a->value = rdmsr(a->msr);
}

static void wrmsr_try(void *arg)
{
	struct msr_access *a = arg;

	wrmsr(a->msr, a->value);
}

bool rdmsr_safe(u32 msr, u64 *value)
{
	struct msr_access a = {.msr = msr};

	if (try_call(rdmsr_try, &a).vector != TRAP_NONE)
		return false;
	*value = a.value;
	return true;
}

bool wrmsr_safe(u32 msr, u64 value)
{
	struct msr_access a = {msr, value};

	return try_call(wrmsr_try, &a).vector == TRAP_NONE;
}

/* guest_init - the first C of a 64-bit guest. */
void guest_init(unsigned long info)
{
	boot_parse(info);
	console_init();
	trap_init();
	guest_exit(guest_main());
}
