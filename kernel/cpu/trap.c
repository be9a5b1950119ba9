/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions and interrupts that hit the hypervisor's own code.
 *
 * A page fault on a lower-half address by an instruction of the exception table asks mm; that failing,
 * and for every other exception in the table, the fix-up is taken; the rest is our bug: panic. */
#include "cpu/trap.h"

#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"

enum { EXC_NMI = 2, EXC_DF = 8, EXC_PF = 14, EXC_MC = 18, FIRST_IRQ = 32 };

#define STUB_BYTES     8
#define LOWER_HALF_END 0x0000800000000000ul
#define GATE_INTERRUPT 0x8e00ull /* present, ring 0, interrupts off */

extern const u8 trap_stubs[256][STUB_BYTES];
void trap_handle(struct trap_frame *f); /* called by trap_entry.S */

static struct {
	u64 low, high;
} idt[256] aligned(16);

static void (*irq_handlers[256 - FIRST_IRQ])(void); /* [a] */
static int (*fault_handler)(u64 va, u32 pfec);

/* ---- set-up ---------------------------------------------------------------------------------- */

static void idt_init(void)
{
	for (unsigned int v = 0; v < 256; v++) {
		u64 entry = (u64)trap_stubs[v];
		u64 ist = v == EXC_NMI ? IST_NMI : v == EXC_DF || v == EXC_MC ? IST_FATAL : 0;

		idt[v].low = (entry & 0xffff) | SELECTOR_CODE << 16 | ist << 32 |
			     GATE_INTERRUPT << 32 | (entry >> 16 & 0xffff) << 48;
		idt[v].high = entry >> 32;
	}
}

void trap_init(void)
{
	struct {
		u16 limit;
		u64 base;
	} packed pointer = {sizeof(idt) - 1, (u64)idt};

	cpu_load_descriptors();
	if (!idt[0].low)
		idt_init();
	__asm__ volatile("lidt %0" ::"m"(pointer));
	if (cpuid(1, 0).edx >> 7 & 1)
		write_cr4(read_cr4() | CR4_MCE);
}

void irq_set_handler(u8 vector, void (*fn)(void))
{
	CHECK(vector >= FIRST_IRQ, "vector %u is an exception", vector);
	atomic_store(&irq_handlers[vector - FIRST_IRQ], fn);
}

int irq_alloc(void (*fn)(void))
{
	for (int v = VECTOR_DEVICE; v < VECTOR_DEVICE + 0x20; v++) {
		void (*none)(void) = NULL;

		if (atomic_cas(&irq_handlers[v - FIRST_IRQ], &none, fn))
			return v;
	}
	return trace(-ENOSPC);
}

void trap_set_fault_handler(int (*fn)(u64 va, u32 pfec))
{
	fault_handler = fn;
}

const char *trap_thread_name(void)
{
	const struct thread *t = thread_current();

	return t ? thread_name(t) : "none";
}

/* ---- faults ---------------------------------------------------------------------------------- */

static const struct ex_entry *ex_find(u64 rip)
{
	for (const struct ex_entry *e = ex_table; e < ex_table_end; e++)
		if ((u64)&e->fault + e->fault == rip)
			return e;
	return NULL;
}

static void ex_take(struct trap_frame *f, const struct ex_entry *e)
{
	f->rip = (u64)&e->fixup + e->fixup;
	f->rax = -(u64)EFAULT;
}

/* fault_in - let mm answer for @va. True if the access may be retried. */
static bool fault_in(const struct trap_frame *f, u64 va)
{
	int err;

	if (va >= LOWER_HALF_END || !fault_handler || !thread_current() ||
	    !thread_may_fault(thread_current()))
		return false;
	/* N11. */
	ASSERT(preempt_count() == 0 && (f->rflags & RFLAGS_IF),
	       "fault on hva %#lx at %#lx would sleep: preempt_count %u, rflags %#lx", va, f->rip,
	       preempt_count(), f->rflags);
	if (preempt_count() || !(f->rflags & RFLAGS_IF))
		return false;
	irq_enable();
	err = fault_handler(va, f->error);
	irq_disable();
	return err == 0;
}

static noreturn_fn void page_fault_panic(const struct trap_frame *f, u64 va)
{
	const char *how = f->error & PFEC_I ? "execution" : f->error & PFEC_W ? "write" : "read";
	const char *why = f->error & PFEC_RSVD ? "reserved bits set in its translation"
			  : f->error & PFEC_P  ? "not allowed there"
					       : "not mapped";

	if (stack_guard_hit(va))
		panic_trap(f, "stack overflow (guard page): %s at %#lx", how, va);
	if (va < PAGE_SIZE)
		panic_trap(f, "page fault: %s through a null pointer, at %#lx", how, va);
	panic_trap(f, "page fault: %s at %#lx, %s", how, va, why);
}

static void page_fault(struct trap_frame *f)
{
	u64 va = read_cr2(); /* before anything that could fault again */
	const struct ex_entry *e = ex_find(f->rip);

	if (!e)
		page_fault_panic(f, va);
	if (!fault_in(f, va))
		ex_take(f, e);
}

/* A fault whose frame could not be pushed, because the stack has run into its guard page, becomes a
 * double fault; CR2 still tells of the first. */
static noreturn_fn void double_fault(const struct trap_frame *f)
{
	u64 va = read_cr2();

	if (stack_guard_hit(va))
		panic_trap(f, "stack overflow (guard page): at %#lx", va);
	panic_trap(f, "double fault");
}

/* Our own NMIs mean that another CPU panics. Any other comes from the board. */
static void nmi(const struct trap_frame *f)
{
	u8 reason;

	panic_stop_here();
	reason = inb(0x61);
	if (reason != 0xff && (reason & 0xc0))
		panic_trap(f, "NMI: the board reports %s",
			   reason & 0x80 ? "a memory or system error" : "an I/O channel error");
}

static void exception(struct trap_frame *f)
{
	static const char *const names[] = {
		"divide error", "debug exception", "NMI", "breakpoint", "overflow", "bound range",
		"invalid opcode", "no FPU", "double fault", "coprocessor overrun", "invalid TSS",
		"segment not present", "stack fault", "general protection", "page fault", "15",
		"x87 error", "alignment check", "machine check", "SIMD error", "virtualization",
		"control protection",
	};
	const struct ex_entry *e = ex_find(f->rip);

	if (f->vector == EXC_MC)
		panic_trap(f, "machine check: the processor reports a hardware error");
	if (e)
		ex_take(f, e);
	else if (f->vector < ARRAY_SIZE(names))
		panic_trap(f, "exception %lu: %s, error code %#lx", f->vector, names[f->vector],
			   f->error);
	else
		panic_trap(f, "exception %lu, error code %#lx", f->vector, f->error);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void interrupt(u8 vector)
{
	void (*fn)(void) = atomic_load(&irq_handlers[vector - FIRST_IRQ]);
	struct cpu *cpu = this_cpu();

	/* A handler may wake threads: the switch waits until the interrupt is acknowledged. */
	preempt_disable();
	cpu->irqs++;
	if (cpu->idle_since_ns) {
		cpu->idle_ns += clock_ns() - cpu->idle_since_ns;
		cpu->idle_since_ns = 0;
	}
	if (fn)
		fn();
	if (vector != VECTOR_SPURIOUS)
		apic_eoi();
	preempt_enable_no_resched();
	if (need_resched() && preempt_count() == 0)
		preempt_schedule_irq();
}

void trap_handle(struct trap_frame *f)
{
	f->vector &= 0xff;
	if (likely(f->vector >= FIRST_IRQ))
		interrupt(f->vector);
	else if (f->vector == EXC_PF)
		page_fault(f);
	else if (f->vector == EXC_DF)
		double_fault(f);
	else if (f->vector == EXC_NMI)
		nmi(f);
	else
		exception(f);
}
