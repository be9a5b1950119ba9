/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/lapic.c kernel/vmm/devices/lapic_timer.c kernel/vmm/io.c
 * tests/unit/vmm_host.c */
/* The local APIC: registers by every width and as MSRs, modes, routing of messages, priorities, errors,
 * INIT and SIPI, the timer. */
#include "vmm_host.h"

#include "cpu/clock.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/lapic_timer.h"

enum {
	ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
	SPIV = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR_HIGH = 0x310,
	LVT_TIMER = 0x320, LVT_LINT0 = 0x350, LVT_ERROR = 0x370, TIMER_INIT = 0x380,
	TIMER_NOW = 0x390, TIMER_DIVIDE = 0x3e0, SELF_IPI = 0x3f0,
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

#define ON          (LAPIC_BASE | 0x800)
#define X2          (LAPIC_BASE | 0xc00)

static u32 nr_ends; /* that the board heard of */
static u8 last_end;

void board_interrupt_ended(struct vm *vm, u8 vector)
{
	assert_ptr_equal(vm, host_vm);
	nr_ends++;
	last_end = vector;
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

static u64 msr_get(u32 cpu, u32 reg)
{
	u64 value = 0xbad;

	assert_int_equal(lapic_msr_read(host_vcpu(cpu), MSR_X2APIC + reg / 16, &value), 0);
	return value;
}

static int msr_set(u32 cpu, u32 reg, u64 value)
{
	return lapic_msr_write(host_vcpu(cpu), MSR_X2APIC + reg / 16, value);
}

static bool is_x2(u32 cpu)
{
	return lapic_is_x2apic(host_vcpu(cpu)->lapic);
}

static bool is_on(u32 cpu)
{
	return lapic_base(host_vcpu(cpu)->lapic) & 0x800;
}

/* By the mode that @cpu is in. */
static u32 get_any(u32 cpu, u32 reg)
{
	return is_x2(cpu) ? (u32)msr_get(cpu, reg) : get(cpu, reg);
}

static void end_any(u32 cpu)
{
	if (is_x2(cpu))
		assert_int_equal(msr_set(cpu, EOI, 0), 0);
	else
		set(cpu, EOI, 0);
}

static int set_base(u32 cpu, u64 value)
{
	return lapic_set_base(host_vcpu(cpu)->lapic, value | (cpu == 0 ? 0x100 : 0));
}

/* Who has @vector requested, as a mask; then nobody has. */
static u32 who_has(u8 vector)
{
	u32 mask = 0;

	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++) {
		if (!is_on(cpu)) {
			assert_int_equal(pending(cpu), 0);
			continue;
		}
		if (get_any(cpu, IRR + 0x10 * (vector / 32)) >> vector % 32 & 1)
			mask |= 1u << cpu;
		while (take(cpu))
			end_any(cpu);
	}
	return mask;
}

static int setup(void **state)
{
	vmm_host_setup(state);
	nr_ends = 0;
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
		assert_int_equal(get(cpu, SPIV) & ~0x3ffu, 0);
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

/* ---- errors ------------------------------------------------------------------------------------- */

static void illegal_vectors(unused void **state)
{
	set(0, LVT_ERROR, 0xe0);
	set(3, LVT_ERROR, 0xe3);
	for (u32 vector = 0; vector < 16; vector++) { /* not sent: only the sender knows */
		send(0, 3, vector);
		assert_int_equal(take(0), vector ? 0 : 0xe0); /* once until ESR is written */
		set(0, EOI, 0);
		send(0, 3, LOWEST | vector);
		assert_int_equal(pending(0) | pending(3), 0);
	}
	assert_int_equal(get(0, ESR), 0); /* shown by a write alone */
	set(0, ESR, 0);
	assert_int_equal(get(0, ESR), 0x20);
	set(0, ESR, 0xffffffff);
	assert_int_equal(get(0, ESR), 0);
	send(0, 3, 15);
	assert_int_equal(take(0), 0xe0); /* and armed anew */
	send(0, 3, NMI | 3); /* the vector means nothing */
	set(3, ESR, 0);
	assert_int_equal(get(3, ESR), 0);

	lapic_message(host_vm, 3, 15); /* an I/O APIC does not look */
	assert_int_equal(take(3), 0xe3);
	set(3, ESR, 0);
	assert_int_equal(get(3, ESR), 0x40);
	set(3, EOI, 0);
	set(3, LVT_TIMER, 0x05);
	set(3, TIMER_INIT, 1000);
	vmm_host_clock(1000000);
	assert_int_equal(take(3), 0xe3);
	set(3, EOI, 0);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		assert_int_equal(get(cpu, IRR) & 0xffff, 0);

	set(2, LVT_ERROR, 7); /* an error that would tell of itself by an error */
	send(2, 3, 15);
	set(2, ESR, 0);
	assert_int_equal(get(2, ESR), 0x20);
	lapic_message(host_vm, 2, 15);
	set(1, LVT_ERROR, MASKED | 0xe1);
	lapic_message(host_vm, 1, 15);
	assert_int_equal(pending(1) | pending(2), 0);
	set(1, ESR, 0);
	assert_int_equal(get(1, ESR), 0x40);
	lapic_reset(host_vcpu(1)->lapic);
	assert_int_equal(get(1, ESR), 0);
}

/* Level-triggered and asked-for ends reach the board, others do not; the last message of a vector counts. */
static void ends_that_the_board_hears(unused void **state)
{
	static const struct { u32 flags, ends; bool level; } message[] = {
		{0, 0, false}, {TRIGGER_LEVEL, 1, true}, {0, 0, false}, {LAPIC_TELLS_END, 1, false},
		{TRIGGER_LEVEL, 1, true}, {LAPIC_TELLS_END, 1, false}, {0, 0, false},
	};

	for (u32 i = 0; i < ARRAY_SIZE(message); i++) {
		nr_ends = 0;
		lapic_message(host_vm, 2, message[i].flags | 0x45);
		lapic_message(host_vm, 2, 0x56);
		assert_int_equal(get(2, TMR + 0x20) >> 5 & 1, message[i].level);
		assert_int_equal(take(2), 0x56);
		set(2, EOI, 0);
		assert_int_equal(take(2), 0x45);
		assert_int_equal(nr_ends, 0);
		set(2, EOI, 0);
		assert_int_equal(nr_ends, message[i].ends);
		assert_true(!nr_ends || last_end == 0x45);
	}
}

/* ---- x2APIC --------------------------------------------------------------------------------------- */

static void modes(unused void **state)
{
	static const u64 mode[] = {LAPIC_BASE, ON, X2, LAPIC_BASE | 0x400};
	static const bool legal[3][4] = {{1, 1, 0, 0}, {1, 1, 1, 0}, {1, 0, 1, 0}};

	for (u32 from = 0; from < 3; from++)
		for (u32 to = 0; to < 4; to++) {
			assert_int_equal(set_base(1, LAPIC_BASE), 0);
			assert_int_equal(from >= 1 ? set_base(1, ON) : 0, 0);
			assert_int_equal(from == 2 ? set_base(1, X2) : 0, 0);
			assert_int_equal(set_base(1, mode[to]), legal[from][to] ? 0 : -EINVAL);
			assert_int_equal(lapic_base(host_vcpu(1)->lapic), mode[legal[from][to] ? to : from]);
		}
	assert_int_equal(set_base(2, X2 | 1ull << 40), -EINVAL);
	assert_int_equal(set_base(2, 0xfed00c00), -EINVAL);
	assert_int_equal(set_base(2, X2 | 0x200), -EINVAL);

	/* What xAPIC mode set goes on, but LDR, DFR and the upper half of ICR. */
	set(3, LDR, 0x80000000);
	set(3, ICR_HIGH, 0x02000000);
	set(3, LVT_ERROR, 0xe3);
	send(0, 3, 0x41);
	assert_int_equal(set_base(3, X2), 0);
	assert_int_equal(msr_get(3, LDR), 8);
	assert_int_equal(msr_get(3, ICR), 0);
	assert_int_equal(msr_get(3, LVT_ERROR), 0xe3);
	assert_int_equal(msr_set(3, ICR, 0x0000000200000044), 0);
	assert_int_equal(set_base(3, X2), 0); /* no change: all stays */
	assert_int_equal(msr_get(3, ICR), 0x0000000200000044);
	assert_int_equal(take(3), 0x41);
	/* INIT keeps the mode; off and on loses all but the id. */
	lapic_reset(host_vcpu(3)->lapic);
	assert_true(is_x2(3));
	assert_int_equal(msr_get(3, ID), 3);
	assert_int_equal(msr_get(3, LDR), 8);
	assert_int_equal(msr_get(3, ICR) | msr_get(3, ISR + 0x20), 0);
	assert_int_equal(msr_get(3, LVT_ERROR), MASKED);
	assert_int_equal(set_base(3, LAPIC_BASE), 0);
	assert_int_equal(set_base(3, ON), 0);
	assert_int_equal(get(3, ID), 3u << 24);
	assert_int_equal(get(3, LDR), 0);
}

static void memory_of_xapic_alone(unused void **state)
{
	static const u64 gone[] = {X2, LAPIC_BASE};

	for (u32 i = 0; i < ARRAY_SIZE(gone); i++) {
		assert_int_equal(set_base(1, gone[i]), 0);
		for (u32 at = 0; at < PAGE_SIZE; at++) {
			assert_int_equal(io_mmio_read(host_vcpu(1), gpa(LAPIC_BASE + at), 1), 0xff);
			io_mmio_write(host_vcpu(1), gpa(LAPIC_BASE + at), 4, 0x5a5a5a5a);
		}
		assert_int_equal(get(1, SPIV), 0xffffffff);
		assert_int_equal(get(2, SPIV), 0x1ff); /* each sees its own */
	}
	assert_int_equal(set_base(1, ON), 0);
	assert_int_equal(get(1, SPIV), 0xff);
	set(1, SPIV, ENABLED);
	set(1, SELF_IPI, 0x41); /* no register of xAPIC mode */
	assert_int_equal(pending(1), 0);
	assert_int_equal(get(1, SELF_IPI), 0);
}

/* The manual's table "Local APIC Register Address Map Supported by x2APIC", written down once more. */
static const struct { u8 from, to; char access; u64 writable; } msr_map[] = {
	{0x02, 0x03, 'r', 0}, {0x08, 0x08, 'b', 0xff}, {0x0a, 0x0a, 'r', 0}, {0x0b, 0x0b, 'w', 0},
	{0x0d, 0x0d, 'r', 0}, {0x0f, 0x0f, 'b', 0x3ff}, {0x10, 0x27, 'r', 0}, {0x28, 0x28, 'b', 0},
	{0x30, 0x30, 'b', 0xffffffff000ccfff}, {0x32, 0x32, 'b', 0x710ff}, {0x33, 0x34, 'b', 0x117ff},
	{0x35, 0x36, 'b', 0x1f7ff}, {0x37, 0x37, 'b', 0x110ff}, {0x38, 0x38, 'b', 0xffffffff},
	{0x39, 0x39, 'r', 0}, {0x3e, 0x3e, 'b', 0xb}, {0x3f, 0x3f, 'w', 0xff},
};

static void registers_as_msrs(unused void **state)
{
	assert_int_equal(set_base(1, X2), 0);
	for (u32 n = 0; n < 0x100; n++) {
		char access = 0;
		u64 writable = 0, value;
		for (u32 i = 0; i < ARRAY_SIZE(msr_map); i++)
			if (n >= msr_map[i].from && n <= msr_map[i].to) {
				access = msr_map[i].access;
				writable = msr_map[i].writable;
			}
		int read = access == 'r' || access == 'b' ? 0 : -EINVAL;
		int write = access == 'w' || access == 'b' ? 0 : -EINVAL;
		assert_int_equal(lapic_msr_read(host_vcpu(1), MSR_X2APIC + n, &value), read);
		assert_int_equal(msr_set(1, n * 16, 0), write);
		for (u32 bit = 0; bit < 64; bit++)
			assert_int_equal(msr_set(1, n * 16, 1ull << bit), writable >> bit & 1 ? write : -EINVAL);
	}
	assert_int_equal(msr_get(1, ID), 1);
	assert_int_equal(msr_get(1, VERSION), 0x50014);
}

/* The same registers by the other way. */
static void msrs_work(unused void **state)
{
	assert_int_equal(set_base(1, X2), 0);
	assert_int_equal(msr_set(1, SPIV, 0x1a5), 0);
	assert_int_equal(msr_get(1, SPIV), 0x1a5);
	assert_int_equal(msr_set(1, LVT_TIMER, 0x1000 | DEADLINE | 0x62), 0); /* bit 12 is read-only */
	assert_int_equal(msr_get(1, LVT_TIMER), DEADLINE | 0x62);
	assert_int_equal(msr_set(1, LVT_TIMER, 0x60), 0);
	assert_int_equal(msr_set(1, TIMER_DIVIDE, 0xb), 0);
	assert_int_equal(msr_set(1, TIMER_INIT, 0xffffffff), 0);
	vmm_host_clock(0x7fffffff);
	assert_int_equal(msr_get(1, TIMER_NOW), 0x80000000);
	assert_int_equal(msr_set(1, TIMER_INIT, 0), 0);
	assert_int_equal(msr_set(1, TPR, 0x4f), 0);
	assert_int_equal(msr_get(1, PPR), 0x40);
	assert_int_equal(msr_set(1, SELF_IPI, 0x52), 0);
	assert_int_equal(msr_get(1, IRR + 0x20), 1u << 0x12);
	assert_int_equal(take(1), 0x52);
	assert_int_equal(msr_get(1, ISR + 0x20), 1u << 0x12);
	assert_int_equal(msr_set(1, EOI, 1), -EINVAL);
	assert_int_equal(msr_get(1, ISR + 0x20), 1u << 0x12);
	assert_int_equal(msr_set(1, EOI, 0), 0);
	assert_int_equal(msr_get(1, ISR + 0x20), 0);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		assert_int_equal(pending(cpu), 0); /* to itself alone */
	assert_int_equal(msr_set(1, SELF_IPI, 9), 0);
	assert_int_equal(msr_set(1, ESR, 1), -EINVAL);
	assert_int_equal(msr_set(1, ESR, 0), 0);
	assert_int_equal(msr_get(1, ESR), 0x20);
}

/* Every destination near a border, from each kind of sender to each kind of receiver. */
static void mixed_modes(unused void **state)
{
	static const u32 dests[] = {0, 1, 2, 3, 4, 8, 9, 0xf, 0xfe, 0xff, 0x100, 0x101, 0x10f, 0x10002,
				    0x1000f, 0xff000000, 0xff000001, 0xffff000f, 0xfffffffe, 0xffffffff};

	set(0, LDR, 0x10000000); /* another bit than x2APIC would give it; vCPU 3 has none */
	assert_int_equal(set_base(1, X2), 0);
	assert_int_equal(set_base(2, X2), 0);
	for (u32 i = 0; i < ARRAY_SIZE(dests); i++) {
		u32 d = dests[i], all = 0xf;
		u32 physical = d == ~0u ? all : d < VMM_HOST_CPUS ? 1u << d : 0;
		u32 x2 = d >> 16 ? 0 : d & 6, x = d >> 8 ? 0 : d >> 4 & 1;

		assert_int_equal(msr_set(1, ICR, (u64)d << 32 | 0x41), 0);
		assert_int_equal(who_has(0x41), physical);
		assert_int_equal(msr_get(1, ICR), (u64)d << 32 | 0x41);
		assert_int_equal(msr_set(1, ICR, (u64)d << 32 | LOGICAL | 0x42), 0);
		assert_int_equal(who_has(0x42), d == ~0u ? all : x | x2);
		if (d > 0xff)
			continue;
		send(0, d, 0x43);
		assert_int_equal(who_has(0x43), d == 0xff ? all : physical);
		lapic_message(host_vm, d, 0x44);
		assert_int_equal(who_has(0x44), d == 0xff ? all : physical);
		send(0, d, LOGICAL | 0x45);
		assert_int_equal(who_has(0x45), x | x2);
		lapic_message(host_vm, d, LOGICAL | 0x46);
		assert_int_equal(who_has(0x46), x | x2);
	}
	assert_int_equal(msr_set(2, ICR, TO_OTHERS | 0x47), 0);
	assert_int_equal(who_has(0x47), 0xb);
	assert_int_equal(msr_set(2, ICR, 3ull << 32 | NMI), 0);
	assert_true(host_vcpu(3)->nmi_pending);
}

/* ---- anything ------------------------------------------------------------------------------------- */

/* What holds of every local APIC at any time. */
static void invariants(u32 cpu)
{
	int requested = -1, service = -1;

	if (!is_on(cpu)) {
		assert_int_equal(pending(cpu), 0);
		return;
	}
	for (u32 i = 0; i < 8; i++) {
		u32 irr = get_any(cpu, IRR + i * 16), isr = get_any(cpu, ISR + i * 16);
		if (i == 0)
			assert_int_equal((irr | isr | get_any(cpu, TMR)) & 0xffff, 0);
		requested = irr ? (int)i * 32 + 31 - __builtin_clz(irr) : requested;
		service = isr ? (int)i * 32 + 31 - __builtin_clz(isr) : service;
	}
	u32 ppr = get_any(cpu, PPR), tpr = get_any(cpu, TPR);
	assert_int_equal(ppr >> 4, MAX((int)tpr >> 4, service >= 0 ? service >> 4 : 0));
	assert_int_equal(pending(cpu), requested >= 0 && requested >> 4 > (int)ppr >> 4 ? requested : 0);
	assert_int_equal(get_any(cpu, SPIV) & ~0x3ffu, 0);
	assert_int_equal(get_any(cpu, ESR) & ~0x60u, 0);
	if (!(get_any(cpu, SPIV) & 0x100))
		for (u32 reg = LVT_TIMER; reg <= LVT_ERROR; reg += 0x10)
			assert_true(get_any(cpu, reg) & MASKED);
}

static void random_write(struct rng *r, u32 cpu)
{
	static const u32 regs[] = {TPR, EOI, LDR, DFR, SPIV, ESR, ICR, ICR_HIGH, LVT_TIMER, LVT_LINT0,
				   LVT_ERROR, TIMER_INIT, TIMER_DIVIDE, SELF_IPI};
	u32 reg = rng_percent(r, 80) ? regs[rng_below(r, ARRAY_SIZE(regs))] : rng_below(r, 0x100) * 16;
	u64 value = rng_next(r) >> rng_below(r, 64);

	if (reg == SPIV && rng_percent(r, 80))
		value |= 0x100;
	if (reg == TPR && rng_percent(r, 80))
		value = 0;
	if (is_x2(cpu) && reg == ICR && rng_percent(r, 90))
		value &= 0x00000003000ccfff;
	if (is_x2(cpu) && rng_percent(r, 90))
		(void)!msr_set(cpu, reg, value);
	else
		set(cpu, reg, (u32)value);
}

static void anything(unused void **state)
{
	struct rng r = rng_seeded(0x2a91c);
	u32 taken = 0, x2 = 0, xapic = 0, errors = 0;

	for (int step = 0; step < 100000; step++) {
		u32 cpu = rng_below(&r, VMM_HOST_CPUS), other = rng_below(&r, VMM_HOST_CPUS);
		switch (rng_below(&r, 8)) {
		case 0: lapic_message(host_vm, rng_below(&r, 256), rng_next(&r) & 0x1ffff); break;
		case 1: taken += take(cpu) != 0; break;
		case 2:
			if (is_on(cpu))
				end_any(cpu);
			break;
		case 3: vmm_host_clock(rng_below(&r, 100000)); break;
		case 4: /* the mode, or INIT; most are soon enabled again */
			if (rng_percent(&r, 10))
				(void)!set_base(cpu, LAPIC_BASE | rng_below(&r, 4) << 10);
			else if (rng_percent(&r, 2))
				lapic_reset(host_vcpu(cpu)->lapic);
			else if (!is_on(cpu))
				(void)!set_base(cpu, ON);
			break;
		case 5:
			if (is_x2(cpu))
				assert_int_equal(msr_set(cpu, SPIV, ENABLED), 0);
			else
				set(cpu, SPIV, ENABLED);
			break;
		default:
			random_write(&r, cpu);
		}
		invariants(cpu);
		invariants(other);
		x2 += is_x2(cpu);
		xapic += is_on(cpu) && !is_x2(cpu);
		errors += is_on(cpu) && get_any(cpu, ESR);
	}
	assert_in_range(taken, 500, ~0u); /* it went everywhere */
	assert_in_range(x2, 5000, ~0u);
	assert_in_range(xapic, 5000, ~0u);
	assert_in_range(errors, 500, ~0u);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		lapic_timer_stop(lapic_timer(host_vcpu(cpu)->lapic));
}

/* ---- the timer ----------------------------------------------------------------------------------- */

static void set_deadline(struct lapic *l, u64 tsc, u64 now)
{
	lapic_timer_set_deadline(lapic_timer(l), tsc, now);
}

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
	/* The host came late: what was missed is gone, the rest comes at its time. */
	struct lapic_timer *t = lapic_timer(host_vcpu(2)->lapic);
	set(2, TIMER_INIT, 1000000);
	timer_cancel(&t->timer);
	vmm_host_clock(3700000);
	assert_int_equal(get(2, TIMER_NOW), 300000);
	t->timer.fn(&t->timer);
	assert_int_equal(fired(2, 0x61), 1);
	assert_int_equal(get(2, TIMER_NOW), 300000);
	vmm_host_clock(299999);
	assert_int_equal(fired(2, 0x61), 0);
	vmm_host_clock(1);
	assert_int_equal(fired(2, 0x61), 1);
	vmm_host_clock(400000);
	set(2, LVT_TIMER, 0x61); /* this period is the last */
	assert_int_equal(get(2, TIMER_NOW), 600000);
	vmm_host_clock(599999);
	assert_int_equal(fired(2, 0x61), 0);
	vmm_host_clock(1000000000);
	assert_int_equal(fired(2, 0x61), 1);
	set(2, TIMER_INIT, 1000000);
	vmm_host_clock(400000);
	set(2, LVT_TIMER, 0x61 | PERIODIC); /* and from here on more follow */
	vmm_host_clock(599999);
	assert_int_equal(fired(2, 0x61), 0);
	vmm_host_clock(1);
	assert_int_equal(fired(2, 0x61), 1);
	vmm_host_clock(1000000);
	assert_int_equal(fired(2, 0x61), 1);
	set(2, LVT_TIMER, 0x61 | DEADLINE); /* disarmed */
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

/* What is left goes on at the new pace; a period is of the initial count. */
static void divide_changes(unused void **state)
{
	set(1, TIMER_DIVIDE, 0xb);
	set(1, LVT_TIMER, 0x60);
	set(1, TIMER_INIT, 1000000);
	vmm_host_clock(600000);
	set(1, TIMER_DIVIDE, 1); /* by 4 */
	assert_int_equal(get(1, TIMER_NOW), 400000);
	vmm_host_clock(4 * 400000 - 1);
	assert_int_equal(get(1, TIMER_NOW), 0);
	assert_int_equal(fired(1, 0x60), 0);
	vmm_host_clock(1);
	assert_int_equal(fired(1, 0x60), 1);
	set(1, TIMER_DIVIDE, 0xb); /* it stands: nothing begins */
	vmm_host_clock(1000000000);
	assert_int_equal(fired(1, 0x60), 0);

	set(1, LVT_TIMER, 0x61 | PERIODIC);
	set(1, TIMER_INIT, 1000000);
	vmm_host_clock(250000);
	set(1, TIMER_DIVIDE, 0); /* by 2 */
	vmm_host_clock(2 * 750000 - 1);
	assert_int_equal(fired(1, 0x61), 0);
	vmm_host_clock(1);
	assert_int_equal(fired(1, 0x61), 1);
	vmm_host_clock(2 * 1000000 - 1);
	assert_int_equal(fired(1, 0x61), 0);
	vmm_host_clock(1);
	assert_int_equal(fired(1, 0x61), 1);
	set(1, TIMER_INIT, 0);
}

static void tsc_deadline(unused void **state)
{
	struct lapic *l = host_vcpu(3)->lapic;
	u64 khz = clock_tsc_hz() / 1000;

	set_deadline(l, 5000, 0); /* not in that mode: ignored */
	assert_int_equal(lapic_timer(l)->tsc_deadline, 0);
	set(3, LVT_TIMER, 0x62 | DEADLINE);
	set_deadline(l, 1000 + 2 * khz, 1000);
	assert_int_equal(lapic_timer(l)->tsc_deadline, 1000 + 2 * khz);
	assert_int_equal(get(3, TIMER_NOW), 0);
	vmm_host_clock(1999000);
	assert_int_equal(fired(3, 0x62), 0);
	set(3, TIMER_INIT, 5); /* ignored in this mode */
	assert_int_equal(get(3, TIMER_INIT), 0);
	vmm_host_clock(2000);
	assert_int_equal(fired(3, 0x62), 1);
	assert_int_equal(lapic_timer(l)->tsc_deadline, 0);
	set_deadline(l, 10, 1000); /* past: at once */
	vmm_host_clock(1);
	assert_int_equal(fired(3, 0x62), 1);
	set_deadline(l, 1000 + khz, 1000);
	set_deadline(l, 0, 1000);
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
		lapic_test(divide_changes),
		lapic_test(tsc_deadline),
		lapic_test(illegal_vectors),
		lapic_test(ends_that_the_board_hears),
		lapic_test(modes),
		lapic_test(memory_of_xapic_alone),
		lapic_test(registers_as_msrs),
		lapic_test(msrs_work),
		lapic_test(mixed_modes),
		lapic_test(anything),
		reset_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
