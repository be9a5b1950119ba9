/* SPDX-License-Identifier: BSD-2-Clause */
/* Is the local APIC in x2APIC mode what the manual says: the ways into and out of the mode,
 * registers as MSRs, destinations of 32 bits, the timer's three modes, other vCPUs started and
 * reset? And do the MP table and the MADT tell of the same processors? Each destination is proved
 * twice: those who are meant count the message, and a fence of lower priority, sent to all behind
 * it, proves that nobody else did. Intel SDM vol. 3A, "Extended XAPIC (x2APIC)". */
#include "apic.h"
#include "guest.h"
#include "trap.h"
#include "x86.h"

#define BASE_BSP     (1u << 8)
#define BASE_X2APIC  (1u << 10)
#define BASE_ENABLED (1u << 11)
#define SPIV_ON      0x1ffu
#define DEADLINE_MSR 0x6e0
#define FENCE        0x61 /* of lower priority than what it follows */
#define MESSAGE      0xa1
#define TIMER        0xb1
#define SPINS        20000000u
#define CPUS_MAX     8
#define ALL          (~0ull << 32)
#define AP_PAGE      7u /* where ap_start() has left its trampoline */

static u32 cpus;
static volatile u32 messages[CPUS_MAX], fences[CPUS_MAX], nmis[CPUS_MAX], ready[CPUS_MAX];
static volatile u32 timers;
static volatile u64 timer_tsc;
static volatile u32 in_service, priority_then;

/* What each vCPU saw of itself when it came up. */
static struct seen {
	u64 base_before, base_after, id, ldr, spiv;
	u32 cpuid_id, topology_id;
	u32 starts;
} seen[CPUS_MAX];

static u32 msr_of(u32 reg)
{
	return 0x800 + (reg >> 4);
}

static u64 x2_read(u32 reg)
{
	return rdmsr(msr_of(reg));
}

static void x2_write(u32 reg, u64 value)
{
	wrmsr(msr_of(reg), value);
}

static u32 my_id(void)
{
	return (u32)x2_read(APIC_ID) % CPUS_MAX;
}

static bool wait_for(const volatile u32 *count, u32 wanted)
{
	for (u32 i = 0; i < SPINS && *count < wanted; i++)
		cpu_relax();
	return *count == wanted;
}

/* ---- handlers ------------------------------------------------------------------------------- */

static void message_handler(struct trap_frame *f)
{
	u32 id = my_id();

	(void)f;
	if (id == 0) {
		in_service = (u32)x2_read(APIC_ISR + 16 * (MESSAGE / 32)) >> MESSAGE % 32 & 1;
		priority_then = (u32)x2_read(APIC_PPR);
	}
	messages[id]++;
	x2_write(APIC_EOI, 0);
}

static void fence_handler(struct trap_frame *f)
{
	(void)f;
	fences[my_id()]++;
	x2_write(APIC_EOI, 0);
}

static void nmi_handler(struct trap_frame *f)
{
	(void)f;
	nmis[my_id()]++;
}

static void timer_handler(struct trap_frame *f)
{
	(void)f;
	timer_tsc = rdtsc();
	timers++;
	x2_write(APIC_EOI, 0);
}

/* ---- other vCPUs ---------------------------------------------------------------------------- */

static void see_yourself(void)
{
	u32 id = cpuid(0xb, 0).edx;
	struct seen *s = &seen[id % CPUS_MAX];

	s->topology_id = id;
	s->cpuid_id = cpuid(1, 0).ebx >> 24;
	s->base_before = rdmsr(MSR_APIC_BASE);
	wrmsr(MSR_APIC_BASE, s->base_before | BASE_X2APIC);
	s->base_after = rdmsr(MSR_APIC_BASE);
	s->id = x2_read(APIC_ID);
	s->ldr = x2_read(APIC_LDR);
	s->spiv = x2_read(APIC_SPIV);
	s->starts++;
	x2_write(APIC_SPIV, SPIV_ON);
}

static void ap_main(unsigned int index)
{
	(void)index;
	see_yourself();
	irq_on();
	ready[my_id()]++;
	for (;;)
		__asm__ volatile("hlt");
}

/* ---- the mode ------------------------------------------------------------------------------- */

static void base_refuses(u64 value, const char *what)
{
	u64 had = rdmsr(MSR_APIC_BASE);

	report(!wrmsr_safe(MSR_APIC_BASE, value) && rdmsr(MSR_APIC_BASE) == had, "#GP: %s", what);
}

static void base_takes(u64 value, const char *what)
{
	report(wrmsr_safe(MSR_APIC_BASE, value) && rdmsr(MSR_APIC_BASE) == value, "%s", what);
}

#define OFF    (APIC_BASE | BASE_BSP)
#define XAPIC  (OFF | BASE_ENABLED)
#define X2APIC (XAPIC | BASE_X2APIC)

static void reserved_bits_of_base(void)
{
	u32 refused = 0, nr = 0, width = cpuid(0x80000008, 0).eax & 0xff;
	u64 had = rdmsr(MSR_APIC_BASE);

	for (u32 bit = 0; bit < 64; bit++) {
		if ((bit >= 8 && bit != 9 && bit < width))
			continue;
		nr++;
		refused += !wrmsr_safe(MSR_APIC_BASE, had | 1ull << bit);
	}
	report(refused == nr && rdmsr(MSR_APIC_BASE) == had,
	       "#GP: %u of %u reserved bits of APIC_BASE", refused, nr);
}

static bool memory_is_gone(void)
{
	bool gone = true;

	for (u32 reg = 0; reg < 0x400; reg += 0x10)
		gone &= apic_read(reg) == ~0u;
	return gone;
}

static void ways_between_modes(void)
{
	u64 v;

	report(rdmsr(MSR_APIC_BASE) == XAPIC, "the boot CPU begins in xAPIC mode");
	report(!rdmsr_safe(msr_of(APIC_ID), &v) && !rdmsr_safe(msr_of(APIC_ICR_LOW), &v) &&
		   !wrmsr_safe(msr_of(APIC_EOI), 0),
	       "#GP: x2APIC registers in xAPIC mode");
	reserved_bits_of_base();
	base_refuses(OFF | BASE_X2APIC, "xAPIC to EXTD without EN");
	apic_write(APIC_TPR, 0x50);
	apic_write(APIC_LVT_ERROR, 0x44);
	base_takes(OFF, "xAPIC to off");
	report(memory_is_gone(), "off: the page reads all ones");
	base_refuses(X2APIC, "off to x2APIC");
	base_refuses(OFF | BASE_X2APIC, "off to EXTD without EN");
	base_takes(XAPIC, "off to xAPIC");
	report(apic_read(APIC_SPIV) == 0xff && apic_read(APIC_LVT_ERROR) == LVT_MASKED,
	       "which has reset the registers");
	report(!apic_read(APIC_TPR) && !read_cr8(), "and the task priority (%#x)",
	       apic_read(APIC_TPR));
}

static void ways_out(void)
{
	base_refuses(XAPIC, "x2APIC to xAPIC");
	base_refuses(OFF | BASE_X2APIC, "x2APIC to EXTD without EN");
	reserved_bits_of_base();
	base_takes(X2APIC, "x2APIC to itself");
	base_takes(OFF, "x2APIC to off");
	report(!wrmsr_safe(msr_of(APIC_TPR), 0), "off: no register as MSR");
	base_refuses(X2APIC, "off to x2APIC");
	base_takes(XAPIC, "off to xAPIC");
	report(apic_id() == 0 && apic_read(APIC_SPIV) == 0xff, "which is in memory again");
}

/* ---- registers ------------------------------------------------------------------------------ */

enum { R = 1, W = 2 };

/* Registers that are MSRs, as which accesses they allow and which bits they have. */
static const struct {
	u16 reg;
	u8 access;
	u64 bits;
} registers[] = {
    {APIC_ID, R, 0},
    {APIC_VERSION, R, 0},
    {APIC_TPR, R | W, 0xff},
    {APIC_PPR, R, 0},
    {APIC_EOI, W, 0},
    {APIC_LDR, R, 0},
    {APIC_SPIV, R | W, 0x3ff},
    {APIC_ESR, R | W, 0},
    {APIC_ICR_LOW, R | W, 0xffffffff000ccfff},
    {APIC_LVT_TIMER, R | W, 0x710ff},
    {APIC_LVT_THERMAL, R | W, 0x117ff},
    {APIC_LVT_COUNTERS, R | W, 0x117ff},
    {APIC_LVT_LINT0, R | W, 0x1f7ff},
    {APIC_LVT_LINT1, R | W, 0x1f7ff},
    {APIC_LVT_ERROR, R | W, 0x110ff},
    {APIC_TIMER_INIT, R | W, 0xffffffff},
    {APIC_TIMER_NOW, R, 0},
    {APIC_TIMER_DIVIDE, R | W, 0xb},
    {APIC_SELF_IPI, W, 0xff},
};

static u32 access_of(u32 reg)
{
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].reg == reg)
			return registers[i].access;
	return reg >= APIC_ISR && reg < APIC_ESR ? R : 0;
}

/* What survives the way into the mode. */
static const u16 kept[] = {APIC_VERSION,   APIC_TPR,         APIC_PPR,         APIC_SPIV,
			   APIC_ESR,       APIC_LVT_TIMER,   APIC_LVT_THERMAL, APIC_LVT_COUNTERS,
			   APIC_LVT_LINT0, APIC_LVT_LINT1,   APIC_LVT_ERROR,   APIC_TIMER_INIT,
			   APIC_TIMER_NOW, APIC_TIMER_DIVIDE};

static void into_x2apic(void)
{
	u32 before[ARRAY_SIZE(kept)], wrong = 0, irr = APIC_IRR + 16 * (MESSAGE / 32);

	apic_on();
	for (u32 i = 0; i < 6; i++)
		apic_write(APIC_LVT_TIMER + 16 * i, LVT_MASKED | (0x31 + i));
	apic_write(APIC_TIMER_DIVIDE, 0xa);
	apic_write(APIC_TPR, 0xf5); /* the message waits */
	apic_send(ICR_TO_SELF | ICR_ASSERT | MESSAGE);
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++)
		before[i] = apic_read(kept[i]);
	u32 waiting = apic_read(irr);
	base_takes(X2APIC, "xAPIC to x2APIC");
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++) {
		u64 now = x2_read(kept[i]);

		wrong += now != before[i];
		if (now != before[i])
			print("      register %#x: %#lx instead of %#x\n", kept[i], now, before[i]);
	}
	report(!wrong && waiting && x2_read(irr) == waiting,
	       "%u registers and IRR as MSRs, as they were", (u32)ARRAY_SIZE(kept));
	report(x2_read(APIC_ID) == 0 && x2_read(APIC_LDR) == 1, "ID and LDR of the boot CPU");
	report(memory_is_gone(), "the page reads all ones");
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SPIV, 0);
	report(x2_read(APIC_TPR) == 0xf5 && x2_read(APIC_SPIV) == SPIV_ON,
	       "and writes to it do nothing");
	x2_write(APIC_TPR, 0);
	irq_on();
	wait_for(&messages[0], 1);
	irq_off();
	report(messages[0] == 1, "the message that waited comes by the MSR of TPR");
	messages[0] = 0;
}

static void accesses(void)
{
	u32 wrong = 0;

	for (u32 reg = 0; reg < 0x1000; reg += 0x10) {
		u32 access = access_of(reg);
		u64 v;
		bool reads = rdmsr_safe(msr_of(reg), &v);
		/* What reads back keeps its value; ESR and the others take 0 alone. */
		bool writes = access & W
				  ? wrmsr_safe(msr_of(reg), access & R && reg != APIC_ESR ? v : 0)
				  : wrmsr_safe(msr_of(reg), 0);

		if (reg == APIC_ICR_LOW || reg == APIC_SELF_IPI) /* these would send */
			writes = true;
		if (reads == !!(access & R) && writes == !!(access & W))
			continue;
		wrong++;
		print("      MSR %#x: read %u, write %u\n", msr_of(reg), reads, writes);
	}
	report(!wrong, "256 MSRs can be read and written, or not, as they are registers");
}

static void reserved_bits(void)
{
	u32 wrong = 0, nr = 0;

	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		u32 msr = msr_of(registers[i].reg);
		u64 had = 0;

		if (!(registers[i].access & W))
			continue;
		if (registers[i].access & R)
			had = rdmsr(msr);
		for (u32 bit = 0; bit < 64; bit++) {
			if (registers[i].bits >> bit & 1)
				continue;
			nr++;
			wrong += wrmsr_safe(msr, had | 1ull << bit);
		}
		if ((registers[i].access & R) && registers[i].reg != APIC_ESR)
			wrong += rdmsr(msr) != had;
	}
	report(!wrong && nr > 500, "#GP: %u reserved bits of registers (%u wrong)", nr, wrong);
}

static void task_priority(void)
{
	x2_write(APIC_TPR, 0x70);
	bool good = read_cr8() == 7;
	write_cr8(4);
	good &= x2_read(APIC_TPR) == 0x40 && x2_read(APIC_PPR) == 0x40;
	write_cr8(0);
	report(good && x2_read(APIC_TPR) == 0, "TPR is CR8");
}

/* ---- messages ------------------------------------------------------------------------------- */

/* Let all that was sent arrive: the fence comes behind it everywhere. */
static bool fence_all(void)
{
	static u32 wanted;
	bool good = true;

	x2_write(APIC_ICR_LOW, ALL | ICR_ASSERT | FENCE);
	irq_on();
	wanted++;
	for (u32 i = 0; i < cpus; i++)
		good &= wait_for(&fences[i], wanted);
	irq_off();
	return good;
}

/* Send @icr; who of the vCPUs in the mask @who has it, and nobody else? */
static void sent_to(u64 icr, u32 who, const char *what)
{
	u32 had = 0, once = 0;

	for (u32 i = 0; i < cpus; i++)
		messages[i] = 0;
	x2_write(APIC_ICR_LOW, icr | ICR_ASSERT | MESSAGE);
	bool fenced = fence_all();
	for (u32 i = 0; i < cpus; i++) {
		had |= messages[i] ? 1u << i : 0;
		once |= messages[i] == 1 ? 1u << i : 0;
	}
	report(fenced && had == who && once == who, "%s: to %#x (came to %#x)", what, who, had);
}

static void self(void)
{
	messages[0] = in_service = 0;
	x2_write(APIC_SELF_IPI, MESSAGE);
	report(!messages[0] && x2_read(APIC_IRR + 16 * (MESSAGE / 32)) == 1u << MESSAGE % 32,
	       "SELF IPI waits in IRR while IF is clear");
	irq_on();
	wait_for(&messages[0], 1);
	irq_off();
	report(messages[0] == 1 && in_service && priority_then == (MESSAGE & 0xf0),
	       "it comes, in service then, and PPR is its class (%#x)", priority_then);
	report(!x2_read(APIC_ISR + 16 * (MESSAGE / 32)) && !x2_read(APIC_PPR),
	       "EOI by MSR ends it");
	report(rdmsr(msr_of(APIC_ICR_LOW)) >> 32 == ALL >> 32, "it leaves ICR as it was");
}

static void error_register(void)
{
	x2_write(APIC_ESR, 0);
	x2_write(APIC_SELF_IPI, 5);
	x2_write(APIC_ESR, 0);
	u64 error = x2_read(APIC_ESR);
	x2_write(APIC_ESR, 0);
	report(error == 1 << 5 && !x2_read(APIC_ESR), "ESR: an illegal vector was sent (%#lx)",
	       error);
}

static void destinations(void)
{
	u32 all = (1u << cpus) - 1;
	u64 icr = 1ull << 32 | ICR_ASSERT | MESSAGE;

	x2_write(APIC_ICR_LOW, icr);
	report(x2_read(APIC_ICR_LOW) == icr && !rdmsr_safe(msr_of(APIC_ICR_HIGH), &icr),
	       "ICR is one MSR");
	fence_all();
	for (u32 i = 0; i < cpus; i++) {
		sent_to((u64)i << 32, 1u << i, "physical");
		sent_to(1ull << (32 + i) | ICR_LOGICAL, 1u << i, "logical");
	}
	sent_to(ALL, all, "physical, broadcast");
	sent_to(ALL | ICR_LOGICAL, all, "logical, broadcast");
	sent_to(0xffffull << 32 | ICR_LOGICAL, all, "logical, the whole cluster");
	sent_to(2ull << 32 | ICR_LOGICAL | (1u << 8), 2, "logical, lowest priority");
	sent_to(3ull << 32 | ICR_LOGICAL, 3, "logical, two of the cluster");
	sent_to(0x10001ull << 32 | ICR_LOGICAL, 0, "logical, the next cluster");
	sent_to(0xffull << 32, 0, "physical FF, which is no broadcast here");
	sent_to(0x100ull << 32, 0, "physical 100, which is not 0");
	sent_to((u64)cpus << 32, 0, "physical, nobody");
	sent_to(ICR_TO_SELF, 1, "shorthand: self");
	sent_to(2u << 18, all, "shorthand: all");
	sent_to(ICR_TO_OTHERS, all & ~1u, "shorthand: all others");
}

static void nmi(void)
{
	bool good = true;

	for (u32 i = 0; i < cpus; i++) {
		x2_write(APIC_ICR_LOW, (u64)i << 32 | ICR_NMI | ICR_ASSERT);
		good &= wait_for(&nmis[i], 1);
	}
	for (u32 i = 0; i < cpus; i++)
		good &= nmis[i] == 1;
	report(good, "an NMI to each");
	x2_write(APIC_ICR_LOW, ICR_TO_OTHERS | ICR_NMI | ICR_ASSERT);
	for (u32 i = 1; i < cpus; i++)
		good &= wait_for(&nmis[i], 2);
	report(good && nmis[0] == 1, "an NMI to all others");
}

/* ---- the timer ------------------------------------------------------------------------------ */

static void settle(void)
{
	irq_on();
	for (u32 i = 0; i < 20000; i++)
		cpu_relax();
	irq_off();
}

#define FAR_AWAY 0xf0000000u /* seconds, however busy the machine is */

static void timer_counts(void)
{
	x2_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	x2_write(APIC_LVT_TIMER, TIMER);
	x2_write(APIC_TIMER_INIT, FAR_AWAY);
	u64 first = x2_read(APIC_TIMER_NOW), second = x2_read(APIC_TIMER_NOW);
	report(first && first <= FAR_AWAY && second < first && x2_read(APIC_TIMER_INIT) == FAR_AWAY,
	       "timer: it counts down");
	x2_write(APIC_TIMER_INIT, 3000000);
	irq_on();
	bool good = wait_for(&timers, 1);
	irq_off();
	settle();
	report(good && timers == 1 && !x2_read(APIC_TIMER_NOW), "timer: one-shot comes once");
	timers = 0;
	x2_write(APIC_LVT_TIMER, LVT_PERIODIC | TIMER);
	x2_write(APIC_TIMER_INIT, 1000000);
	irq_on();
	for (u32 i = 0; i < SPINS && timers < 5; i++)
		cpu_relax();
	irq_off();
	report(timers >= 5 && x2_read(APIC_TIMER_NOW), "timer: periodic comes and comes");
	x2_write(APIC_TIMER_INIT, 0);
	settle();
	timers = 0;
	settle();
	report(!timers && !x2_read(APIC_TIMER_NOW), "timer: a count of 0 stops it");
}

static void timer_deadline(void)
{
	if (!(cpuid(1, 0).ecx & (1u << 24))) {
		report_skip("TSC deadline: CPUID says there is none");
		return;
	}
	timers = 0;
	wrmsr(DEADLINE_MSR, rdtsc() + 1000);
	settle();
	report(!timers && !rdmsr(DEADLINE_MSR), "timer: no deadline in another mode");
	x2_write(APIC_LVT_TIMER, LVT_DEADLINE | TIMER);
	x2_write(APIC_TIMER_INIT, 1000);
	settle();
	report(!timers && !x2_read(APIC_TIMER_NOW), "timer: and no count in this one");
	u64 deadline = rdtsc() + (1ull << 40);
	wrmsr(DEADLINE_MSR, deadline);
	report(rdmsr(DEADLINE_MSR) == deadline, "timer: the deadline reads back");
	deadline = rdtsc() + 5000000;
	wrmsr(DEADLINE_MSR, deadline);
	irq_on();
	bool good = wait_for(&timers, 1);
	irq_off();
	report(good && timer_tsc >= deadline && !rdmsr(DEADLINE_MSR),
	       "timer: it comes, not before, and is gone then");
	wrmsr(DEADLINE_MSR, 1);
	irq_on();
	good = wait_for(&timers, 2);
	irq_off();
	report(good && timers == 2 && !rdmsr(DEADLINE_MSR), "timer: a deadline that is over comes at once");
	wrmsr(DEADLINE_MSR, rdtsc() + (1ull << 40));
	wrmsr(DEADLINE_MSR, 0);
	report(!rdmsr(DEADLINE_MSR), "timer: 0 disarms it");
	wrmsr(DEADLINE_MSR, rdtsc() + (1ull << 40));
	x2_write(APIC_LVT_TIMER, TIMER);
	report(!rdmsr(DEADLINE_MSR), "timer: and so does another mode");
	x2_write(APIC_LVT_TIMER, LVT_MASKED);
	settle();
	report(timers == 2, "timer: none was one too many");
}

/* ---- INIT and SIPI -------------------------------------------------------------------------- */

static void start_again(void)
{
	u64 to = (u64)(cpus - 1) << 32;
	u32 who = cpus - 1, before = messages[who];

	x2_write(APIC_ICR_LOW, to | ICR_INIT | ICR_ASSERT);
	for (u32 i = 0; i < 100000; i++)
		cpu_relax();
	x2_write(APIC_ICR_LOW, to | ICR_ASSERT | MESSAGE);
	for (u32 i = 0; i < 100000; i++)
		cpu_relax();
	report(messages[who] == before && ready[who] == 1, "INIT: vCPU %u takes nothing any more",
	       who);
	x2_write(APIC_ICR_LOW, to | ICR_STARTUP | AP_PAGE);
	bool good = wait_for(&ready[who], 2);
	report(good && seen[who].starts == 2, "SIPI: it runs again");
	report((seen[who].base_before & BASE_X2APIC) && seen[who].id == who &&
		   seen[who].spiv == 0xff,
	       "in x2APIC mode still, its registers reset (SPIV %#lx)", seen[who].spiv);
	for (u32 i = 0; i < cpus; i++)
		good &= i == who || i == 0 || ready[i] == 1;
	report(good, "and no other one has noticed");
	x2_write(APIC_ICR_LOW, to | ICR_STARTUP | AP_PAGE);
	sent_to(to, 1u << who, "physical, after a SIPI that it did not wait for");
	report(ready[who] == 2, "which it ignored");
}

/* ---- CPUID ---------------------------------------------------------------------------------- */

static void identities(void)
{
	struct cpuid threads = cpuid(0xb, 0), cores = cpuid(0xb, 1), end = cpuid(0xb, 2);
	u32 wrong = 0;

	for (u32 i = 0; i < cpus; i++) {
		const struct seen *s = &seen[i];
		u64 base = APIC_BASE | BASE_ENABLED | (i ? 0 : BASE_BSP);
		bool good = s->starts == 1 && s->id == i && s->cpuid_id == i &&
			    s->topology_id == i &&
			    s->ldr == ((u64)(i >> 4) << 16 | 1u << (i & 15)) &&
			    s->base_before == base && s->base_after == (base | BASE_X2APIC);
		wrong += !good;
		if (!good)
			print("      vCPU %u: id %#lx cpuid %#x %#x ldr %#lx base %#lx %#lx\n", i,
			      s->id, s->cpuid_id, s->topology_id, s->ldr, s->base_before,
			      s->base_after);
	}
	report(!wrong, "%u vCPUs: ID, LDR, APIC_BASE, CPUID 1 and B agree", cpus);
	report((threads.ecx >> 8 & 0xff) == 1 && threads.ebx == 1 && (threads.ecx & 0xff) == 0,
	       "CPUID B.0: one thread in a core");
	report((cores.ecx >> 8 & 0xff) == 2 && cores.ebx == cpus && (cores.ecx & 0xff) == 1 &&
		   1u << cores.eax >= cpus,
	       "CPUID B.1: %u cores, %u bits of the id", cores.ebx, cores.eax);
	report(!(end.ecx >> 8 & 0xff) && !end.ebx, "CPUID B.2: no more levels");
}

/* ---- tables of the firmware ----------------------------------------------------------------- */

#define IDS_MAX 256

static bool sums_to_zero(const u8 *at, u32 nr)
{
	u8 sum = 0;

	for (u32 i = 0; i < nr; i++)
		sum += at[i];
	return !sum;
}

static const u8 *find(u64 from, u64 to, const char *signature)
{
	for (u64 at = from; at < to; at += 16)
		if (!memcmp((const void *)at, signature, strlen(signature)))
			return (const u8 *)at;
	return NULL;
}

static u32 word(const u8 *at)
{
	return *(const u32 *)at;
}

/* What both tables tell. */
struct told {
	u32 processors, boot, ioapics, ioapic_id, ioapic_at, lapic_at;
	bool ids[IDS_MAX];
};

static bool mp_read(struct told *t)
{
	const u8 *pointer = find(0xf0000, 0x100000, "_MP_");

	if (!report(pointer && pointer[8] == 1 && sums_to_zero(pointer, 16),
		    "MP: the pointer and its checksum"))
		return false;
	const u8 *table = (const u8 *)(u64)word(pointer + 4);
	u32 bytes = *(const u16 *)(table + 4), nr = *(const u16 *)(table + 34), at = 44;

	if (!report(!memcmp(table, "PCMP", 4) && sums_to_zero(table, bytes),
		    "MP: the table and its checksum"))
		return false;
	t->lapic_at = word(table + 36);
	for (u32 i = 0; i < nr && at < bytes; i++) {
		const u8 *e = table + at;

		at += e[0] == 0 ? 20 : 8;
		if (e[0] == 0 && (e[3] & 1)) {
			t->processors++;
			t->boot += e[3] >> 1 & 1;
			t->ids[e[1]] = true;
		} else if (e[0] == 2 && (e[3] & 1)) {
			t->ioapics++;
			t->ioapic_id = e[1];
			t->ioapic_at = word(e + 4);
		}
	}
	return report(at == bytes && t->boot == 1, "MP: %u entries fill it, one boot processor",
		      nr);
}

static const u8 *madt(void)
{
	const u8 *rsdp = find(0xe0000, 0x100000, "RSD PTR ");

	if (!rsdp || !sums_to_zero(rsdp, 20) || !sums_to_zero(rsdp, 36))
		return NULL;
	const u8 *xsdt = (const u8 *)*(const u64 *)(rsdp + 24);

	for (u32 at = 36; at < word(xsdt + 4); at += 8) {
		const u8 *table = (const u8 *)*(const u64 *)(xsdt + at);

		if (!memcmp(table, "APIC", 4) && sums_to_zero(table, word(table + 4)))
			return table;
	}
	return NULL;
}

static bool madt_read(struct told *t)
{
	const u8 *table = madt();

	if (!report(table, "ACPI: a MADT, and the checksums"))
		return false;
	t->lapic_at = word(table + 36);
	for (u32 at = 44; at < word(table + 4) && table[at + 1]; at += table[at + 1]) {
		const u8 *e = table + at;

		if (e[0] == 0 && (word(e + 4) & 1)) {
			t->processors++;
			t->ids[e[3]] = true;
		} else if (e[0] == 1) {
			t->ioapics++;
			t->ioapic_id = e[2];
			t->ioapic_at = word(e + 4);
		}
	}
	return true;
}

static void tables(void)
{
	static struct told mp, acpi;

	if (!mp_read(&mp) || !madt_read(&acpi))
		return;
	report(mp.processors == cpus && acpi.processors == cpus &&
		   !memcmp(mp.ids, acpi.ids, IDS_MAX),
	       "MP and ACPI tell of the same %u processors", mp.processors);
	report(mp.lapic_at == APIC_BASE && acpi.lapic_at == APIC_BASE &&
		   mp.ioapics == acpi.ioapics && mp.ioapic_id == acpi.ioapic_id &&
		   mp.ioapic_at == acpi.ioapic_at,
	       "and of the same APICs");
}

int guest_main(void)
{
	cpus = (u32)fw_cfg_read(FW_CFG_CPUS, 2);
	if (!report(cpus >= 2 && cpus <= CPUS_MAX, "%u vCPUs", cpus))
		return EXIT_USAGE;
	if (guest_on_qemu() || !(cpuid(1, 0).ecx & (1u << 21))) {
		report_skip("no x2APIC, as QEMU's TCG has it");
		return report_summary();
	}
	trap_handler_set(MESSAGE, message_handler);
	trap_handler_set(FENCE, fence_handler);
	trap_handler_set(TIMER, timer_handler);
	trap_handler_set(VEC_NMI, nmi_handler);
	tables();
	ways_between_modes();
	if (!report(ap_start(ap_main, cpus - 1) == cpus - 1, "%u other vCPUs started", cpus - 1))
		return report_summary();
	for (u32 i = 1; i < cpus; i++)
		wait_for(&ready[i], 1);
	into_x2apic();
	accesses();
	wrmsr(MSR_APIC_BASE, OFF);
	wrmsr(MSR_APIC_BASE, XAPIC);
	see_yourself();
	identities();
	reserved_bits();
	task_priority();
	destinations();
	self();
	error_register();
	nmi();
	timer_counts();
	timer_deadline();
	start_again();
	ways_out();
	return report_summary();
}
