/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/lapic.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* The local APIC: registers by every width, routing of messages, priorities, INIT and SIPI. */
#include "vmm_host.h"

#include "cpu/clock.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"

enum {
	ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
	SPIV = 0xf0, ISR = 0x100, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR_HIGH = 0x310,
	LVT_TIMER = 0x320, LVT_LINT0 = 0x350, LVT_ERROR = 0x370, TIMER_INIT = 0x380,
	TIMER_NOW = 0x390, TIMER_DIVIDE = 0x3e0,
};

#define MASKED      0x10000u
#define ENABLED     0x1ffu
#define LOGICAL     (1u << 11)
#define LEVEL_ASSERT (1u << 14)
#define TRIGGER_LEVEL (1u << 15)
#define TO_SELF     (1u << 18)
#define TO_ALL      (2u << 18)
#define TO_OTHERS   (3u << 18)
#define LOWEST      (1u << 8)
#define NMI         (4u << 8)
#define INIT        (5u << 8)
#define EXTINT      (7u << 8)
#define PERIODIC    (1u << 17)
#define DEADLINE    (2u << 17)
#define SIPI        (6u << 8)

void board_level_ended(unused struct vm *vm, unused u8 vector)
{
}

static u32 get(u32 cpu, u32 reg)
{
	return io_mmio_read(host_vcpu(cpu), gpa(LAPIC_BASE + reg), 4);
}

static void set(u32 cpu, u32 reg, u32 value)
{
	io_mmio_write(host_vcpu(cpu), gpa(LAPIC_BASE + reg), 4, value);
}

static u8 pending(u32 cpu)
{
	struct vcpu *v = host_vcpu(cpu);

	return lapic_pending(v->lapic, hvm->get_tpr(v));
}

/* As the vCPU's loop does. */
static u8 take(u32 cpu)
{
	u8 vector = pending(cpu);

	if (vector)
		lapic_ack(host_vcpu(cpu)->lapic, vector);
	return vector;
}

static void send(u32 from, u32 dest, u32 icr)
{
	set(from, ICR_HIGH, dest << 24);
	set(from, ICR, icr);
	assert_int_equal(get(from, ICR) & (1u << 12), 0); /* never busy */
}

/* Who has @vector requested, as a mask; then nobody has. */
static u32 who_has(u8 vector)
{
	u32 mask = 0;

	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
		if (get(cpu, IRR + 0x10 * (vector / 32)) >> vector % 32 & 1)
			mask |= 1u << cpu;
		while (take(cpu))
			set(cpu, EOI, 0);
	}
	return mask;
}

static int setup(void **state)
{
	vmm_host_setup(state);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		host_vcpu(cpu)->lapic = lapic_create(host_vcpu(cpu));
	lapic_attach(host_vm);
	return 0;
}

static int setup_enabled(void **state)
{
	setup(state);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		set(cpu, SPIV, ENABLED);
	return 0;
}

static int teardown(void **state)
{
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		lapic_destroy(host_vcpu(cpu)->lapic);
	return vmm_host_teardown(state);
}

/* ---- registers ------------------------------------------------------------------------------- */

static void after_reset(unused void **state)
{
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
		assert_int_equal(get(cpu, ID), cpu << 24);
		assert_int_equal(get(cpu, VERSION), 0x50014);
		assert_int_equal(get(cpu, SPIV), cpu ? 0xff : 0x1ff); /* as a firmware leaves it */
		assert_int_equal(get(cpu, LDR), 0);
		assert_int_equal(get(cpu, DFR), 0xffffffff);
		for (u32 reg = LVT_TIMER; reg <= LVT_ERROR; reg += 0x10)
			assert_int_equal(get(cpu, reg), cpu || (reg != LVT_LINT0 && reg != LVT_LINT0 + 0x10) ? MASKED :
							reg == LVT_LINT0 ? EXTINT : NMI);
		for (u32 reg = ISR; reg < ESR; reg += 0x10)
			assert_int_equal(get(cpu, reg), 0);
		assert_int_equal(get(cpu, TPR) | get(cpu, PPR) | get(cpu, ESR) | get(cpu, ICR), 0);
	}
}

static void widths(unused void **state)
{
	struct vcpu *v = host_vcpu(3);

	set(3, SPIV, 0x1a5);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV), 1), 0xa5);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV + 1), 1), 0x01);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV), 2), 0x1a5);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + ID + 3), 1), 3);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + ID + 2), 2), 0x300);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV), 8), 0);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV + 2), 4), 0);
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + SPIV + 4), 4), 0);
	for (unsigned int bytes = 1; bytes <= 2; bytes++) {
		io_mmio_write(v, gpa(LAPIC_BASE + SPIV), bytes, 0);
		io_mmio_write(v, gpa(LAPIC_BASE + SPIV + 2), bytes, ~0u);
	}
	io_mmio_write(v, gpa(LAPIC_BASE + SPIV + 4), 4, 0);
	assert_int_equal(get(3, SPIV), 0x1a5);
	io_mmio_write(v, gpa(LAPIC_BASE + SPIV), 8, 0xffffffff00000122);
	assert_int_equal(get(3, SPIV), 0x122);
	/* Over the edge. */
	assert_int_equal(io_mmio_read(v, gpa(LAPIC_BASE + 0xffe), 4) >> 16, 0xffff);
}

/* Every offset and every value: nothing but what the manual lets be written changes. */
static void any_access(unused void **state)
{
	struct rng chance = rng_seeded(0xa91c);

	for (int i = 0; i < 200000; i++) {
		struct vcpu *v = host_vcpu(rng_below(&chance, VMM_HOST_CPUS));
		u64 at = LAPIC_BASE + rng_below(&chance, 0x1000);
		unsigned int bytes = 1u << rng_below(&chance, 4);
		if (rng_percent(&chance, 50))
			io_mmio_write(v, gpa(at), bytes, rng_next(&chance));
		else
			io_mmio_read(v, gpa(at), bytes);
	}
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
		assert_int_equal(get(cpu, ID), cpu << 24);
		assert_int_equal(get(cpu, VERSION), 0x50014);
		assert_int_equal(get(cpu, LDR) & 0xffffff, 0);
		assert_int_equal(get(cpu, DFR) & 0xfffffff, 0xfffffff);
		assert_int_equal(get(cpu, SPIV) & ~0x1ffu, 0);
		assert_int_equal(get(cpu, IRR) & 0xffff, 0); /* no vector below 16 */
	}
}

static void spiv_masks(unused void **state)
{
	set(0, SPIV, 0xff);
	set(0, LVT_LINT0, 0x700);
	assert_int_equal(get(0, LVT_LINT0), MASKED | 0x700); /* software-disabled: stays masked */
	set(0, SPIV, ENABLED);
	set(0, LVT_LINT0, 0x8700);
	assert_int_equal(get(0, LVT_LINT0), 0x8700);
	set(0, LVT_TIMER, 0x20030);
	assert_int_equal(get(0, LVT_TIMER), 0x20030);
	set(0, SPIV, 0xff);
	assert_int_equal(get(0, LVT_LINT0), MASKED | 0x8700);
	assert_int_equal(get(0, LVT_TIMER), MASKED | 0x20030);
	set(0, SPIV, ENABLED);
	assert_int_equal(get(0, LVT_LINT0), MASKED | 0x8700); /* enabling unmasks nothing */
}

/* ---- messages -------------------------------------------------------------------------------- */

static void by_shorthand(unused void **state)
{
	send(1, 3, TO_SELF | 0x31);
	assert_int_equal(who_has(0x31), 1u << 1);
	send(1, 3, TO_ALL | 0x32);
	assert_int_equal(who_has(0x32), 0xf);
	send(1, 3, TO_OTHERS | 0x33);
	assert_int_equal(who_has(0x33), 0xf & ~(1u << 1));
	assert_true(host_record.requested & VCPU_REQ_EVENT);
}

static void physical(unused void **state)
{
	for (u32 to = 0; to < VMM_HOST_CPUS; to++) {
		send(0, to, 0x41);
		assert_int_equal(who_has(0x41), 1u << to);
	}
	send(0, 0xff, 0x41);
	assert_int_equal(who_has(0x41), 0xf);
	send(0, VMM_HOST_CPUS, 0x41);
	assert_int_equal(who_has(0x41), 0);
	assert_int_equal(get(0, ICR), 0x41);
	assert_int_equal(get(0, ICR_HIGH), VMM_HOST_CPUS << 24);
}

static void logical_flat(unused void **state)
{
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		set(cpu, LDR, 0x00ffffff | 1u << (24 + cpu));
	assert_int_equal(get(2, LDR), 0x04000000);
	for (u32 dest = 0; dest < 0x100; dest++) {
		send(0, dest, LOGICAL | 0x51);
		assert_int_equal(who_has(0x51), dest & 0xf);
	}
}

static void logical_cluster(unused void **state)
{
	const u32 ldr[] = {0x11, 0x12, 0x21, 0x24};

	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
		set(cpu, DFR, 0);
		assert_int_equal(get(cpu, DFR), 0x0fffffff);
		set(cpu, LDR, ldr[cpu] << 24);
	}
	for (u32 dest = 0; dest < 0x100; dest++) {
		u32 want = 0;
		for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
			bool cluster = dest >> 4 == 0xf || dest >> 4 == ldr[cpu] >> 4;
			if (cluster && (dest & ldr[cpu] & 0xf))
				want |= 1u << cpu;
		}
		send(0, dest, LOGICAL | 0x51);
		assert_int_equal(who_has(0x51), want);
	}
}

/* One takes it, and one that can. */
static void lowest_priority(unused void **state)
{
	send(0, 0xff, LOWEST | 0x61);
	assert_int_equal(__builtin_popcount(who_has(0x61)), 1);
	set(0, SPIV, 0xff);
	set(1, SPIV, 0xff);
	send(0, 0xff, LOWEST | 0x61);
	u32 who = who_has(0x61);
	assert_true(who == 1u << 2 || who == 1u << 3);
}

static void who_cannot_take_it(unused void **state)
{
	set(1, SPIV, 0xff); /* software-disabled */
	assert_int_equal(lapic_set_base(host_vcpu(2)->lapic, LAPIC_BASE), 0); /* switched off */
	send(0, 0xff, 0x71);
	assert_int_equal(who_has(0x71), 1u << 0 | 1u << 3);
	for (u32 vector = 0; vector < 16; vector++) {
		send(0, 3, vector);
		assert_int_equal(pending(3), 0);
	}
	send(0, 3, 16);
	assert_int_equal(get(3, IRR), 1u << 16);
}

static void nmi(unused void **state)
{
	send(0, 1, NMI);
	assert_true(host_vcpu(1)->nmi_pending);
	assert_false(host_vcpu(2)->nmi_pending);
	assert_int_equal(host_vcpu(1)->requests, VCPU_REQ_EVENT);
	assert_int_equal(pending(1), 0);
	set(2, SPIV, 0xff); /* an NMI also reaches who is software-disabled */
	send(0, 2, NMI | 0x33);
	assert_true(host_vcpu(2)->nmi_pending);
}

/* ---- priorities ------------------------------------------------------------------------------ */

static void highest_first(unused void **state)
{
	send(0, 1, 0x31);
	send(0, 1, 0x52);
	send(0, 1, 0x51);
	assert_int_equal(get(1, IRR + 0x10), 1u << 0x11);
	assert_int_equal(get(1, IRR + 0x20), 3u << 0x11);
	assert_int_equal(take(1), 0x52);
	assert_int_equal(get(1, ISR + 0x20), 1u << 0x12);
	assert_int_equal(get(1, IRR + 0x20), 1u << 0x11);
	assert_int_equal(get(1, PPR), 0x50);
	assert_int_equal(take(1), 0); /* 0x51 is of the same class, 0x31 of a lower one */
	send(0, 1, 0x61);
	assert_int_equal(take(1), 0x61); /* nested */
	assert_int_equal(get(1, PPR), 0x60);
	host_vcpu(1)->requests = 0;
	set(1, EOI, 0);
	assert_int_equal(host_vcpu(1)->requests, VCPU_REQ_EVENT); /* others may go on */
	assert_int_equal(get(1, PPR), 0x50);
	assert_int_equal(take(1), 0);
	set(1, EOI, 0xffffffff);
	assert_int_equal(take(1), 0x51);
	set(1, EOI, 0);
	assert_int_equal(take(1), 0x31);
	set(1, EOI, 0);
	set(1, EOI, 0); /* one too many is harmless */
	assert_int_equal(get(1, PPR), 0);
	assert_int_equal(take(1), 0);
}

static void one_request_of_a_vector(unused void **state)
{
	send(0, 1, 0x31);
	send(0, 1, 0x31);
	assert_int_equal(take(1), 0x31);
	send(0, 1, 0x31); /* again, while in service */
	assert_int_equal(take(1), 0);
	set(1, EOI, 0);
	assert_int_equal(take(1), 0x31);
	set(1, EOI, 0);
	assert_int_equal(take(1), 0);
}

static void task_priority(unused void **state)
{
	send(0, 1, 0x52);
	set(1, TPR, 0x50);
	assert_true(host_vcpu(1)->requests & VCPU_REQ_EVENT);
	assert_int_equal(get(1, TPR), 0x50);
	assert_int_equal(pending(1), 0);
	set(1, TPR, 0x4f); /* the class counts */
	assert_int_equal(get(1, TPR), 0x4f);
	assert_int_equal(pending(1), 0x52);
	hvm->set_tpr(host_vcpu(1), 0x70); /* as CR8 = 7 */
	assert_int_equal(get(1, TPR), 0x70);
	assert_int_equal(get(1, PPR), 0x70);
	assert_int_equal(pending(1), 0);
	set(1, TPR, 0xff);
	send(0, 1, 0xff);
	assert_int_equal(pending(1), 0);
	set(1, TPR, 0);
	assert_int_equal(pending(1), 0xff);
}

/* ---- INIT, SIPI ------------------------------------------------------------------------------ */

static void starting_a_processor(unused void **state)
{
	struct vcpu *v = host_vcpu(1);

	send(0, 1, INIT | LEVEL_ASSERT);
	assert_int_equal(v->requests, VCPU_REQ_INIT);
	v->requests = 0; /* served */
	send(0, 1, INIT | TRIGGER_LEVEL); /* the old handshake's de-assert */
	assert_int_equal(v->requests, 0);
	send(0, 1, SIPI | 0x9a);
	assert_true(v->sipi_pending);
	assert_int_equal(v->sipi_vector, 0x9a);
	assert_false(host_vcpu(2)->sipi_pending);
	v->sipi_pending = false; /* served */
	v->activity = VCPU_RUNNING;
	send(0, 1, SIPI | 0x55); /* the second one is for nobody */
	assert_false(v->sipi_pending);
	assert_int_equal(v->sipi_vector, 0x9a);
}

/* SIPI right behind INIT, before the target has looked. */
static void sipi_behind_init(unused void **state)
{
	struct vcpu *v = host_vcpu(1);

	v->activity = VCPU_RUNNING;
	send(0, 1, INIT | LEVEL_ASSERT);
	send(0, 1, SIPI | 0x12);
	assert_true(v->sipi_pending);
	assert_int_equal(v->sipi_vector, 0x12);
	send(0, 1, INIT | LEVEL_ASSERT); /* and once more from the start */
	assert_false(v->sipi_pending);
}

static void broadcast_start(unused void **state)
{
	send(0, 0, TO_OTHERS | INIT | LEVEL_ASSERT);
	send(0, 0, TO_OTHERS | SIPI | 8);
	for (u32 cpu = 1; cpu < VMM_HOST_CPUS; cpu++) {
		assert_int_equal(host_vcpu(cpu)->requests, VCPU_REQ_INIT);
		assert_true(host_vcpu(cpu)->sipi_pending);
	}
	assert_int_equal(host_vcpu(0)->requests & VCPU_REQ_INIT, 0);
	assert_false(host_vcpu(0)->sipi_pending);
}

static void reset_keeps_the_id(unused void **state)
{
	send(0, 2, 0x41);
	set(2, LDR, 0x04000000);
	set(2, TPR, 0x20);
	take(2);
	send(0, 2, 0x55);
	lapic_reset(host_vcpu(2)->lapic);
	hvm->set_tpr(host_vcpu(2), 0); /* the processor's own reset */
	assert_int_equal(get(2, ID), 2u << 24);
	assert_int_equal(get(2, SPIV), 0xff);
	assert_int_equal(get(2, LDR) | get(2, TPR) | get(2, PPR), 0);
	assert_int_equal(pending(2), 0);
	assert_int_equal(lapic_base(host_vcpu(2)->lapic), LAPIC_BASE | 0x800);
}

static void switched_off_and_on(unused void **state)
{
	struct lapic *l = host_vcpu(1)->lapic;

	send(0, 1, 0x41);
	assert_int_equal(lapic_set_base(l, LAPIC_BASE), 0);
	assert_int_equal(pending(1), 0);
	send(0, 1, 0x42);
	send(0, 1, NMI);
	assert_int_equal(pending(1), 0);
	assert_false(host_vcpu(1)->nmi_pending);
	assert_int_equal(lapic_set_base(l, LAPIC_BASE | 0x800), 0);
	assert_int_equal(get(1, SPIV), 0xff);
	set(1, SPIV, ENABLED);
	send(0, 1, 0x43);
	assert_int_equal(pending(1), 0x43);
}

static void hidden_by_configuration(unused void **state)
{
	lapic_destroy(host_vcpu(1)->lapic);
	host_vm->config.apic = false;
	host_vcpu(1)->lapic = lapic_create(host_vcpu(1));
	assert_int_equal(lapic_base(host_vcpu(1)->lapic), LAPIC_BASE);
	assert_int_equal(lapic_set_base(host_vcpu(1)->lapic, LAPIC_BASE | 0x800), 0);
	/* It cannot be switched on. */
	assert_int_equal(lapic_base(host_vcpu(1)->lapic), LAPIC_BASE);
}

static void no_memory(unused void **state)
{
	host_fail_nth(1);
	assert_null(lapic_create(host_vcpu(0)));
	host_fail_nth(0);
}

/* ---- the 8259s' wire ---------------------------------------------------------------------------- */

static void virtual_wire(unused void **state)
{
	struct lapic *l = host_vcpu(0)->lapic;

	assert_true(lapic_passes_extint(l)); /* a guest that knows no APIC */
	set(0, LVT_LINT0, EXTINT | MASKED);
	assert_false(lapic_passes_extint(l));
	set(0, LVT_LINT0, EXTINT);
	assert_true(lapic_passes_extint(l));
	set(0, LVT_LINT0, NMI);
	assert_false(lapic_passes_extint(l));
	assert_int_equal(lapic_set_base(l, LAPIC_BASE | 0x100), 0); /* off: the pin is INTR itself */
	assert_true(lapic_passes_extint(l));
	assert_false(lapic_passes_extint(host_vcpu(1)->lapic));
}

/* ---- the timer ----------------------------------------------------------------------------------- */

static u32 fired(u32 cpu, u8 vector)
{
	u32 n = 0;

	while (take(cpu) == vector) {
		set(cpu, EOI, 0);
		n++;
	}
	return n;
}

static void one_shot(unused void **state)
{
	static const struct { u32 code, divisor; } divide[] = {
	    {0xb, 1}, {0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {0xa, 128},
	};

	set(1, LVT_TIMER, 0x60);
	for (u32 i = 0; i < ARRAY_SIZE(divide); i++) {
		set(1, TIMER_DIVIDE, divide[i].code);
		set(1, TIMER_INIT, 1000000);
		vmm_host_clock(400000ull * divide[i].divisor);
		assert_int_equal(get(1, TIMER_NOW), 600000);
		vmm_host_clock(600000ull * divide[i].divisor - 1);
		assert_int_equal(fired(1, 0x60), 0);
		vmm_host_clock(1);
		assert_int_equal(fired(1, 0x60), 1);
		assert_int_equal(get(1, TIMER_NOW), 0);
		vmm_host_clock(1000000000);
		assert_int_equal(fired(1, 0x60), 0);
	}
	assert_int_equal(get(1, TIMER_INIT), 1000000);
	set(1, TIMER_INIT, 5000);
	set(1, TIMER_INIT, 0); /* stops it */
	vmm_host_clock(1000000000);
	assert_int_equal(fired(1, 0x60), 0);
	set(1, LVT_TIMER, 0x60 | MASKED);
	set(1, TIMER_INIT, 5000);
	vmm_host_clock(1000000000);
	assert_int_equal(fired(1, 0x60), 0);
}

static void periodic(unused void **state)
{
	u32 n = 0;

	set(2, TIMER_DIVIDE, 0xb);
	set(2, LVT_TIMER, 0x61 | PERIODIC);
	set(2, TIMER_INIT, 1000003);
	for (u32 i = 0; i < 10000; i++) {
		vmm_host_clock(1000000);
		n += fired(2, 0x61);
		assert_true(get(2, TIMER_NOW) <= 1000003);
	}
	assert_int_equal(n, 10000ull * 1000000 / 1000003);
	set(2, LVT_TIMER, 0x61); /* another mode: it stops */
	vmm_host_clock(1000000000);
	assert_int_equal(fired(2, 0x61), 0);
	set(2, LVT_TIMER, 0x61 | PERIODIC);
	set(2, TIMER_INIT, 1); /* nobody is drowned */
	vmm_host_clock(1000000);
	assert_int_equal(fired(2, 0x61), 1);
	lapic_reset(host_vcpu(2)->lapic);
	set(2, SPIV, ENABLED);
	vmm_host_clock(1000000);
	assert_int_equal(fired(2, 0x61), 0);
}

static void tsc_deadline(unused void **state)
{
	struct lapic *l = host_vcpu(3)->lapic;
	u64 khz = clock_tsc_hz() / 1000;

	lapic_set_tsc_deadline(l, 5000, 0); /* not in that mode: ignored */
	assert_int_equal(lapic_tsc_deadline(l), 0);
	set(3, LVT_TIMER, 0x62 | DEADLINE);
	lapic_set_tsc_deadline(l, 1000 + 2 * khz, 1000);
	assert_int_equal(lapic_tsc_deadline(l), 1000 + 2 * khz);
	assert_int_equal(get(3, TIMER_NOW), 0);
	vmm_host_clock(1999000);
	assert_int_equal(fired(3, 0x62), 0);
	vmm_host_clock(2000);
	assert_int_equal(fired(3, 0x62), 1);
	assert_int_equal(lapic_tsc_deadline(l), 0);
	lapic_set_tsc_deadline(l, 10, 1000); /* past: at once */
	vmm_host_clock(1);
	assert_int_equal(fired(3, 0x62), 1);
	lapic_set_tsc_deadline(l, 1000 + khz, 1000);
	lapic_set_tsc_deadline(l, 0, 1000);
	vmm_host_clock(1000000000);
	assert_int_equal(fired(3, 0x62), 0);
	set(3, TIMER_INIT, 1000); /* counts nothing in this mode */
	vmm_host_clock(1000000000);
	assert_int_equal(fired(3, 0x62), 0);
}

#define reset_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define lapic_test(fn) cmocka_unit_test_setup_teardown(fn, setup_enabled, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		reset_test(after_reset),
		reset_test(widths),
		lapic_test(any_access),
		reset_test(spiv_masks),
		lapic_test(by_shorthand),
		lapic_test(physical),
		lapic_test(logical_flat),
		lapic_test(logical_cluster),
		lapic_test(lowest_priority),
		lapic_test(who_cannot_take_it),
		lapic_test(nmi),
		lapic_test(highest_first),
		lapic_test(one_request_of_a_vector),
		lapic_test(task_priority),
		lapic_test(starting_a_processor),
		lapic_test(sipi_behind_init),
		lapic_test(broadcast_start),
		lapic_test(reset_keeps_the_id),
		lapic_test(switched_off_and_on),
		reset_test(hidden_by_configuration),
		reset_test(virtual_wire),
		lapic_test(one_shot),
		lapic_test(periodic),
		lapic_test(tsc_deadline),
		reset_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
