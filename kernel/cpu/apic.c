/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC. x2APIC mode is kept where firmware chose it (it must, for IDs above 254), xAPIC
 * else. Registers have the same numbers in both: offset in the page, or MSR 800h + offset / 16.
 * Sources: Intel SDM vol. 3A, "Advanced Programmable Interrupt Controller (APIC)"; Intel 8259A data
 * sheet. */
#include "cpu/apic.h"

#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/memory.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"

enum {
	APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0,
	APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330,
	APIC_LVT_PERF = 0x340, APIC_LVT_LINT0 = 0x350, APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380, APIC_TIMER_NOW = 0x390, APIC_TIMER_DIVIDE = 0x3e0,
};

#define BASE_X2APIC      (1u << 10)
#define BASE_ENABLED     (1u << 11)
#define BASE_ADDR        0x0000000ffffff000ul
#define SPURIOUS_ENABLED (1u << 8)
#define LVT_MASKED       (1u << 16)
#define LVT_TSC_DEADLINE (2u << 17)
#define DIVIDE_BY_1      0xb
#define ICR_PENDING      (1u << 12)

static volatile u8 *regs; /* [o] NULL in x2APIC mode */
static bool x2apic;       /* [o] */
static u64 timer_mult;    /* [o] ticks per ns, times 2^32; 0 until calibrated */

static u32 reg_read(u32 reg)
{
	if (x2apic)
		return rdmsr(MSR_X2APIC + reg / 16);
	return *(volatile u32 *)(regs + reg);
}

static void reg_write(u32 reg, u32 value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		*(volatile u32 *)(regs + reg) = value;
}

/* The 8259s: moved off the exceptions' vectors, for spurious interrupts come even when all is masked. */
static void mask_8259(void)
{
	static const struct {
		u8 port, value;
	} words[] = {
		{0x20, 0x11}, {0xa0, 0x11}, /* initialize, cascade, four words */
		{0x21, 0x20}, {0xa1, 0x28}, /* vectors 20h and 28h */
		{0x21, 0x04}, {0xa1, 0x02}, /* slave at input 2 */
		{0x21, 0x01}, {0xa1, 0x01}, /* 8086 mode */
		{0x21, 0xff}, {0xa1, 0xff}, /* all masked */
	};

	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		outb(words[i].port, words[i].value);
}

static void enable(void)
{
	u64 base = rdmsr(MSR_APIC_BASE);

	if (!regs && !x2apic) { /* boot CPU */
		x2apic = base & BASE_X2APIC;
		if (!x2apic)
			regs = memory_map_device(base & BASE_ADDR, PAGE_SIZE, MAP_UNCACHED);
		CHECK(x2apic || regs, "no memory for the APIC at %#lx", base & BASE_ADDR);
	}
	if (!(base & BASE_ENABLED))
		wrmsr(MSR_APIC_BASE, base | BASE_ENABLED);
	if (x2apic && !(base & BASE_X2APIC))
		wrmsr(MSR_APIC_BASE, base | BASE_ENABLED | BASE_X2APIC);
}

static void timer_mode_set(void)
{
	reg_write(APIC_LVT_TIMER, VECTOR_TIMER | (features.tsc_deadline ? LVT_TSC_DEADLINE : 0));
	/* The mode must be seen before the first write to the deadline register. */
	smp_mb();
}

void apic_init(void)
{
	CHECK(cpuid(1, 0).edx >> 9 & 1, "this processor has no local APIC");
	if (!regs && !x2apic)
		mask_8259();
	enable();
	reg_write(APIC_SPURIOUS, SPURIOUS_ENABLED | VECTOR_SPURIOUS);
	reg_write(APIC_TPR, 0);
	/* What firmware may have left: the 8259's line, errors, counters, heat. LINT1 stays: NMI. */
	reg_write(APIC_LVT_LINT0, LVT_MASKED);
	reg_write(APIC_LVT_ERROR, LVT_MASKED | VECTOR_SPURIOUS);
	if ((reg_read(APIC_VERSION) >> 16 & 0xff) >= 4)
		reg_write(APIC_LVT_PERF, LVT_MASKED);
	if ((reg_read(APIC_VERSION) >> 16 & 0xff) >= 5)
		reg_write(APIC_LVT_THERMAL, LVT_MASKED);
	reg_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	timer_mode_set();
}

u32 apic_id(void)
{
	u32 id = reg_read(APIC_ID);

	return x2apic ? id : id >> 24;
}

void apic_eoi(void)
{
	reg_write(APIC_EOI, 0);
}

/* ---- to other processors --------------------------------------------------------------------- */

void apic_send(u32 to, u32 command)
{
	u64 flags;

	if (x2apic) {
		smp_mb(); /* an MSR write does not wait for earlier stores */
		wrmsr(MSR_X2APIC + APIC_ICR / 16, (u64)to << 32 | command);
		return;
	}
	flags = irq_save(); /* a handler's own ICR writes must not come between the two */
	for (u32 i = 0; i < 100000 && (reg_read(APIC_ICR) & ICR_PENDING); i++)
		cpu_relax();
	reg_write(APIC_ICR_HIGH, to << 24);
	reg_write(APIC_ICR, command);
	irq_restore(flags);
}

/* ---- the timer --------------------------------------------------------------------------------- */

/* What is further away than some minutes is armed anew then: sums do not overflow. */
#define TIMER_FAR_NS (1ull << 40)

void apic_timer_set(u64 ns)
{
	unsigned __int128 ticks;

	ns = MIN(ns, TIMER_FAR_NS);
	if (features.tsc_deadline) {
		wrmsr(MSR_TSC_DEADLINE, ns ? rdtsc() + clock_ns_to_tsc(ns) : 0);
		return;
	}
	ticks = ((unsigned __int128)ns * timer_mult + 0xffffffff) >> 32;
	reg_write(APIC_TIMER_INITIAL, ticks > 0xffffffff ? 0xffffffff : (u32)ticks);
}

void apic_timer_start_raw(void)
{
	reg_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	reg_write(APIC_TIMER_INITIAL, 0xffffffff);
}

u32 apic_timer_read_raw(void)
{
	return reg_read(APIC_TIMER_NOW);
}

void apic_timer_calibrated(u64 hz)
{
	timer_mult = (hz << 32) / 1000000000;
	reg_write(APIC_TIMER_INITIAL, 0);
	timer_mode_set();
}
