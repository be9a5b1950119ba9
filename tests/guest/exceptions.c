/* SPDX-License-Identifier: BSD-2-Clause */
/* Do exceptions, software interrupts and self-sent interrupts arrive as on hardware, also when
 * their very delivery touches memory that nobody has touched before? `evict` says that the test
 * device can take pages away again. */
#include "apic.h"
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define EVICT_PORT 0xe4
#define IPI_VECTOR 0x41
#define SOFT       0x90
#define DR6_B0     1u
#define DR6_BS     (1u << 14)

extern char step_nop[], step_nop_end[], step_cpuid[], step_cpuid_end[], step_out[], step_out_end[],
    into_overflow[], into_overflow_end[], compat_exits[], compat_exits_end[], int3_here[],
    int3_end[], icebp_here[], icebp_end[], int90_here[], int90_end[];
void int_on_stack(u64 rsp);
void halt_on(void);

static void ud(void *arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static void divide(void *arg)
{
	u32 by = 0;

	(void)arg;
	__asm__ volatile("divl %0" : : "r"(by), "a"(1), "d"(0));
}

static void read_address(void *at)
{
	(void)*(volatile u8 *)at;
}

static void stack_address(void *at)
{
	__asm__ volatile("push %%rbp; mov %0, %%rbp; mov (%%rbp), %%al; pop %%rbp"
			 :
			 : "r"(at)
			 : "rax", "memory");
}

static void load_selector(void *selector)
{
	__asm__ volatile("mov %0, %%es" : : "r"((u32)(u64)selector));
}

static void fpu_off(void *arg)
{
	(void)arg;
	write_cr0(read_cr0() | CR0_TS);
	__asm__ volatile("fnop");
}

static void sse_divide(void *arg)
{
	u32 mxcsr = 0x1f80 & ~(1u << 9);

	(void)arg;
	__asm__ volatile("ldmxcsr %0; pcmpeqd %%xmm0, %%xmm0; pslld $25, %%xmm0; psrld $2, %%xmm0;"
			 "xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0"
			 :
			 : "m"(mxcsr)
			 : "memory");
}

static void x87_divide(void *arg)
{
	u16 control = 0x037f & ~4;

	(void)arg;
	__asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(control));
}

static void bad_gate(void *arg)
{
	(void)arg;
	__asm__ volatile("int $0xf3");
}

static void caught(void (*fn)(void *), void *arg, u64 vector, u64 error, const char *what)
{
	struct trap t = try_call(fn, arg);

	report_trap(&t, vector, error, what);
}

/* stops_at - code at @fn traps with @vector, and RIP is at @end. */
static void stops_at(char *fn, char *end, u64 vector, const char *what)
{
	struct trap t = try_call((void (*)(void *))(u64)fn, NULL);

	report_trap(&t, vector, 0, what);
	report(t.rip == (u64)end, "%s: RIP", what);
}

/* is_idt_error - the error code names gate @vector; QEMU's TCG counts 16 bytes a gate. */
static bool is_idt_error(const struct trap *t, u64 vector)
{
	return t->error == vector * 8 + 2 || t->error == vector * 16 + 2;
}

static void faults(void)
{
	struct trap t;

	caught(ud, NULL, VEC_UD, 0, "#UD");
	caught(divide, NULL, VEC_DE, 0, "#DE");
	caught(read_address, (void *)(1ul << 60), VEC_GP, 0, "#GP: address not canonical");
	t = try_call(stack_address, (void *)(1ul << 60));
	if (t.vector == VEC_GP)
		report_skip("#SS: #GP came, as QEMU's TCG has it");
	else
		report_trap(&t, VEC_SS, 0, "#SS: stack address not canonical");
	caught(load_selector, (void *)0x7f8, VEC_GP, 0x7f8, "#GP: selector past the GDT");
	caught(fpu_off, NULL, VEC_NM, 0, "#NM");
	__asm__ volatile("clts");
	caught(x87_divide, NULL, VEC_MF, 0, "#MF");
	__asm__ volatile("fninit");
	t = try_call(sse_divide, NULL);
	if (t.vector == TRAP_NONE)
		report_skip("#XM: QEMU's TCG has none");
	else
		report_trap(&t, VEC_XM, 0, "#XM");
	guest_idt[0xf3].type &= 0x7f;
	t = try_call(bad_gate, NULL);
	report(t.vector == VEC_NP && is_idt_error(&t, 0xf3), "#NP: INT through a gate not present");
	guest_idt[0xf3].type |= 0x80;
}

static void traps(void)
{
	stops_at(int3_here, int3_end, VEC_BP, "#BP");
	stops_at(int90_here, int90_end, SOFT, "INT 0x90");
	stops_at(into_overflow, into_overflow_end, VEC_OF, "#OF by INTO, 32-bit segment");
	stops_at(compat_exits, compat_exits_end, VEC_BP, "exits in a 32-bit segment");
}

static void debug_traps(void)
{
	static volatile u32 watched;
	struct trap t;

	write_dr6(0xffff0ff0);
	stops_at(step_nop, step_nop_end, VEC_DB, "#DB: single step");
	report((read_dr6() & (DR6_BS | 0xf)) == DR6_BS, "DR6 says single step");
	stops_at(step_cpuid, step_cpuid_end, VEC_DB, "#DB: single step over CPUID");
	stops_at(step_out, step_out_end, VEC_DB, "#DB: single step over OUT");
	t = try_call((void (*)(void *))(u64)icebp_here, NULL);
	if (t.vector == VEC_UD)
		report_skip("#DB: ICEBP: QEMU's TCG does not know it");
	else
		report(t.vector == VEC_DB && t.rip == (u64)icebp_end, "#DB: ICEBP");

	write_dr6(0xffff0ff0);
	write_dr0((u64)ud);
	write_dr7(0x402); /* DR0, execution */
	t = try_call(ud, NULL);
	write_dr7(0x400);
	report(t.vector == VEC_DB && t.rip == (u64)ud, "#DB: breakpoint, before the instruction");
	report((read_dr6() & 0xf) == DR6_B0, "DR6 says breakpoint 0");

	write_dr6(0xffff0ff0);
	write_dr0((u64)&watched);
	write_dr7(0x402 | 0xd0000); /* DR0, 4 bytes written */
	t = try_call(read_address, (void *)&watched);
	report(t.vector == TRAP_NONE, "a read does not trigger a write watchpoint");
	t = try_call((void (*)(void *))(u64)ud, NULL);
	report(t.vector == VEC_UD, "nor does a #UD");
	write_dr7(0x400);
	write_dr0(0);
}

static void write_watched(void *at)
{
	*(volatile u32 *)at = 1;
}

static void watchpoint(void)
{
	static u32 watched;
	struct trap t;

	write_dr6(0xffff0ff0);
	write_dr0((u64)&watched);
	write_dr7(0x402 | 0xd0000);
	t = try_call(write_watched, &watched);
	write_dr7(0x400);
	report(t.vector == VEC_DB && watched == 1, "#DB: watchpoint, after the write");
}

static u64 soft_count, soft_rsp;

static void soft_handler(struct trap_frame *f)
{
	soft_count++;
	soft_rsp = f->rsp;
}

static void evict(u64 page)
{
	if (guest_arg("evict"))
		out32(EVICT_PORT, (u32)page);
}

/* Event delivery that itself needs memory never touched: stack pages, by INT n and by faults. */
static void fresh_stacks(void)
{
	struct trap t;
	u64 stack, good = 0;

	trap_handler_set(SOFT, soft_handler);
	for (unsigned int i = 0; i < 16; i++) {
		/* The frame ends in one page and begins in another; both are new. */
		stack = (u64)ram_alloc(4 * PAGE_SIZE, 0) + 3 * PAGE_SIZE + 16;
		soft_count = 0;
		int_on_stack(stack);
		good += soft_count == 1 && soft_rsp == stack;
	}
	report(good == 16, "INT on untouched stacks (%lu of 16)", good);

	for (good = 0, soft_count = 0; good < 16; good++) {
		guest_tss.ist[1] = (u64)ram_alloc(4 * PAGE_SIZE, 0) + 3 * PAGE_SIZE + 32;
		guest_idt[SOFT].ist = 2;
		__asm__ volatile("int $0x90");
	}
	guest_idt[SOFT].ist = 0;
	report(soft_count == 16, "INT through IST to untouched stacks (%lu of 16)", soft_count);
	trap_handler_set(SOFT, NULL);

	guest_idt[VEC_PF].ist = guest_idt[VEC_UD].ist = guest_idt[VEC_GP].ist = 2;
	for (unsigned int i = 0; i < 4; i++) {
		guest_tss.ist[1] = (u64)ram_alloc(4 * PAGE_SIZE, 0) + 3 * PAGE_SIZE + 32;
		t = try_call(read_address, (void *)TEST_VA);
		report(t.vector == VEC_PF && !t.error && t.cr2 == TEST_VA,
		       "#PF delivered to an untouched stack");
		guest_tss.ist[1] = (u64)ram_alloc(4 * PAGE_SIZE, 0) + 3 * PAGE_SIZE + 16;
		caught(ud, NULL, VEC_UD, 0, "#UD delivered to one");
		guest_tss.ist[1] = (u64)ram_alloc(4 * PAGE_SIZE, 0) + 3 * PAGE_SIZE + 16;
		caught(load_selector, (void *)0x7f8, VEC_GP, 0x7f8, "#GP delivered to one");
	}
	guest_idt[VEC_PF].ist = guest_idt[VEC_UD].ist = guest_idt[VEC_GP].ist = 0;
}

/* The upper half of the IDT, vectors 128 to 255, in a page never touched, then in one that is
 * evicted. */
static void fresh_idt(void)
{
	u8 *table = (u8 *)ram_alloc(2 * PAGE_SIZE, 0) + PAGE_SIZE / 2;
	struct idt_gate *gates = (void *)table;
	struct trap t;

	memcpy(gates, guest_idt, sizeof(guest_idt) / 2);
	idt_load(table, sizeof(guest_idt));
	t = try_call((void (*)(void *))(u64)int90_here, NULL);
	if (guest_on_qemu())
		report_skip("INT through an untouched IDT page: QEMU's firmware may have used it");
	else
		report(t.vector == VEC_GP && is_idt_error(&t, SOFT),
		       "INT through an untouched IDT page: #GP");
	memcpy(gates + 128, guest_idt + 128, sizeof(guest_idt) / 2);
	evict((u64)table & ~(PAGE_SIZE - 1));
	evict(((u64)table & ~(PAGE_SIZE - 1)) + PAGE_SIZE);
	stops_at(int90_here, int90_end, SOFT, "INT through an evicted IDT page");
	evict((u64)table & ~(PAGE_SIZE - 1));
	caught(ud, NULL, VEC_UD, 0, "#UD through an evicted IDT page");
	evict((u64)table & ~(PAGE_SIZE - 1));
	evict((u64)guest_gdt & ~(PAGE_SIZE - 1));
	evict((u64)&guest_tss & ~(PAGE_SIZE - 1));
	t = try_call(read_address, (void *)TEST_VA);
	report(t.vector == VEC_PF && t.cr2 == TEST_VA, "#PF with IDT, GDT and TSS evicted");
	idt_load(guest_idt, sizeof(guest_idt));
}

/* A #PF whose gate is bad: #GP while delivering it makes #DF, on the IST's stack. */
static void double_fault(void)
{
	u8 type = guest_idt[VEC_PF].type;
	struct trap t;

	guest_idt[VEC_PF].type = 0;
	t = try_call(read_address, (void *)TEST_VA);
	guest_idt[VEC_PF].type = type;
	report_trap(&t, VEC_DF, 0, "#DF after #PF through a bad gate");
	caught(ud, NULL, VEC_UD, 0, "and all is well afterwards");

	/* A #UD whose stack is not mapped: #PF, delivered to the same stack: #DF. */
	guest_tss.ist[1] = TEST_VA + PAGE_SIZE;
	guest_idt[VEC_UD].ist = guest_idt[VEC_PF].ist = 2;
	caught(ud, NULL, VEC_DF, 0, "#DF by a handler's stack that is not mapped");
	guest_idt[VEC_PF].ist = 0;
	caught(ud, NULL, VEC_PF, PF_W, "#PF by that stack, with a good one of its own");
	guest_idt[VEC_UD].ist = 0;
}

static volatile u32 ipis;

static void ipi_handler(struct trap_frame *f)
{
	(void)f;
	ipis++;
	apic_write(APIC_EOI, 0);
}

static void self_ipi(void)
{
	apic_send(ICR_TO_SELF | ICR_ASSERT | IPI_VECTOR);
}

static void irq_window(void)
{
	irq_on();
	for (unsigned int i = 0; i < 100; i++)
		cpu_relax();
	irq_off();
}

static void interrupts(void)
{
	trap_handler_set(IPI_VECTOR, ipi_handler);
	apic_on();
	self_ipi();
	report(!ipis, "no interrupt while IF is clear");
	halt_on();
	report(ipis == 1, "HLT wakes for a pending self-IPI");
	self_ipi();
	irq_window();
	report(ipis == 2, "STI delivers a pending self-IPI");
	self_ipi();
	self_ipi();
	irq_window();
	report(ipis == 3, "the same vector pending twice is one interrupt (%u)", ipis - 2);
	write_cr8(IPI_VECTOR >> 4);
	self_ipi();
	irq_window();
	report(ipis == 3, "CR8 of its class holds it back");
	write_cr8(0);
	irq_window();
	report(ipis == 4, "and lets it go");
	irq_on();
	self_ipi();
	for (unsigned int i = 0; i < 100000 && ipis < 5; i++)
		cpu_relax();
	irq_off();
	report(ipis == 5, "self-IPI with IF set");
}

static volatile u32 nmis;

static void nmi_handler(struct trap_frame *f)
{
	(void)f;
	nmis++;
}

static void nmi(void)
{
	trap_handler_set(VEC_NMI, nmi_handler);
	apic_write(APIC_ICR_HIGH, apic_id() << 24);
	apic_send(ICR_NMI | ICR_ASSERT); /* by its ID: self does not go with NMI */
	for (unsigned int i = 0; i < 100000 && !nmis; i++)
		cpu_relax();
	report(nmis == 1, "NMI sent to itself, IF clear");
	trap_handler_set(VEC_NMI, NULL);
}

int guest_main(void)
{
	faults();
	traps();
	debug_traps();
	watchpoint();
	fresh_stacks();
	fresh_idt();
	double_fault();
	interrupts();
	nmi();
	return report_summary();
}
