/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/ioapic.c kernel/vmm/devices/lapic.c kernel/vmm/devices/lapic_timer.c
 * kernel/vmm/devices/pit.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* The I/O APIC: registers, edges and levels, masks, remote IRR, routing by the local APICs; the ticks of the
 * 8254 that come through it. */
#include "vmm_host.h"

#include "vmm/devices/board.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/pit.h"

#define MASKED  (1ull << 16)
#define LEVEL   (1ull << 15)
#define REMOTE  (1ull << 14)
#define LOGICAL (1ull << 11)
#define TO(cpu) ((u64)(cpu) << 56)

static struct ioapic chip;
static struct pit pit;
static u32 nr_ends;

/* The board: only the timer has a line. */
void irq_set(unused struct vm *vm, u32 line, bool level)
{
	assert_int_equal(line, IRQ_TIMER);
	ioapic_set(&chip, IOAPIC_TIMER_INPUT, level);
}

void board_interrupt_ended(unused struct vm *vm, u8 vector)
{
	nr_ends++;
	if (ioapic_eoi(&chip, vector))
		pit_irq_taken(&pit);
}

void board_timer_rerouted(unused struct vm *vm)
{
	pit_forget(&pit);
}

static u32 reg_get(u32 reg)
{
	io_mmio_write(host_vcpu(0), gpa(IOAPIC_BASE), 4, reg);
	return io_mmio_read(host_vcpu(0), gpa(IOAPIC_BASE + 0x10), 4);
}

static void reg_set(u32 reg, u32 value)
{
	io_mmio_write(host_vcpu(0), gpa(IOAPIC_BASE), 4, reg);
	io_mmio_write(host_vcpu(0), gpa(IOAPIC_BASE + 0x10), 4, value);
}

static void entry_set(u32 pin, u64 entry)
{
	reg_set(0x11 + 2 * pin, entry >> 32);
	reg_set(0x10 + 2 * pin, (u32)entry);
}

static u64 entry_get(u32 pin)
{
	return (u64)reg_get(0x11 + 2 * pin) << 32 | reg_get(0x10 + 2 * pin);
}

/* taken - the vector that @cpu gets now, 0 if none; it is in service then. */
static u8 taken(u32 cpu)
{
	u8 vector = lapic_pending(host_vcpu(cpu)->lapic, 0);

	if (vector)
		lapic_ack(host_vcpu(cpu)->lapic, vector);
	return vector;
}

static void ended(u32 cpu)
{
	io_mmio_write(host_vcpu(cpu), gpa(LAPIC_BASE + 0xb0), 4, 0);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		host_vcpu(cpu)->lapic = lapic_create(host_vcpu(cpu));
	lapic_attach(host_vm);
	ioapic_attach(&chip, host_vm);
	pit_attach(&pit, host_vm);
	nr_ends = 0;
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		io_mmio_write(host_vcpu(cpu), gpa(LAPIC_BASE + 0xf0), 4, 0x1ff);
	return 0;
}

static int teardown(void **state)
{
	pit_stop(&pit);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		lapic_destroy(host_vcpu(cpu)->lapic);
	return vmm_host_teardown(state);
}

static void registers(unused void **state)
{
	assert_int_equal(reg_get(1), 0x170011);
	assert_int_equal(reg_get(0), VMM_HOST_CPUS << 24); /* behind the local ones */
	reg_set(0, 0xff000000);
	assert_int_equal(reg_get(0), 0x0f000000);
	assert_int_equal(reg_get(2), 0x0f000000);
	reg_set(1, ~0u);
	assert_int_equal(reg_get(1), 0x170011);
	for (u32 pin = 0; pin < IOAPIC_INPUTS; pin++)
		assert_int_equal(entry_get(pin), MASKED);
	entry_set(3, ~0ull);
	assert_int_equal(entry_get(3), 0xff0000000001afffull);
	entry_set(3, MASKED);
	assert_int_equal(reg_get(0x10 + 2 * IOAPIC_INPUTS), 0);
	reg_set(0x10 + 2 * IOAPIC_INPUTS, ~0u);
	reg_set(0xff, ~0u);
	assert_int_equal(io_mmio_read(host_vcpu(0), gpa(IOAPIC_BASE), 4), 0xff);
	assert_int_equal(io_mmio_read(host_vcpu(0), gpa(IOAPIC_BASE + 0x20), 4), 0);
}

static void edges(unused void **state)
{
	entry_set(4, TO(2) | 0x44);
	ioapic_set(&chip, 4, true);
	ioapic_set(&chip, 4, true); /* no second edge */
	assert_int_equal(taken(2), 0x44);
	assert_int_equal(taken(2), 0);
	ended(2);
	assert_int_equal(taken(2), 0);
	ioapic_set(&chip, 4, false);
	ioapic_set(&chip, 4, true);
	assert_int_equal(taken(2), 0x44);
	ended(2);
	/* Masked, an edge is lost. */
	ioapic_set(&chip, 4, false);
	entry_set(4, TO(2) | MASKED | 0x44);
	ioapic_set(&chip, 4, true);
	entry_set(4, TO(2) | 0x44);
	assert_int_equal(taken(2), 0);
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		assert_int_equal(taken(cpu), 0);
}

static void levels(unused void **state)
{
	entry_set(11, TO(1) | LEVEL | 0x51);
	ioapic_set(&chip, 11, true);
	assert_int_equal(entry_get(11) & REMOTE, REMOTE);
	assert_int_equal(taken(1), 0x51);
	ioapic_set(&chip, 11, true);
	assert_int_equal(taken(1), 0); /* not before its end */
	ended(1);
	assert_int_equal(taken(1), 0x51); /* it is still high */
	ioapic_set(&chip, 11, false);
	ended(1);
	assert_int_equal(taken(1), 0);
	assert_int_equal(entry_get(11) & REMOTE, 0);
	/* Masked while it is high: sent when it is let through. */
	entry_set(11, TO(1) | LEVEL | MASKED | 0x51);
	ioapic_set(&chip, 11, true);
	assert_int_equal(taken(1), 0);
	entry_set(11, TO(1) | LEVEL | 0x51);
	assert_int_equal(taken(1), 0x51);
	entry_set(11, TO(1) | 0x51); /* as an edge its remote IRR is nothing */
	assert_int_equal(entry_get(11) & REMOTE, 0);
	ioapic_set(&chip, 11, false);
	ended(1);
	assert_int_equal(taken(1), 0);
}

/* What no local APIC takes is not waited for: the input can be sent again. */
static void nobody_takes_it(unused void **state)
{
	entry_set(11, TO(9) | LEVEL | 0x51);
	ioapic_set(&chip, 11, true);
	assert_int_equal(entry_get(11) & REMOTE, 0);
	io_mmio_write(host_vcpu(1), gpa(LAPIC_BASE + 0xf0), 4, 0xff); /* disabled by software */
	entry_set(11, TO(1) | LEVEL | 0x51);
	assert_int_equal(entry_get(11) & REMOTE, 0);
	io_mmio_write(host_vcpu(1), gpa(LAPIC_BASE + 0xf0), 4, 0x1ff);
	ioapic_set(&chip, 11, true);
	assert_int_equal(entry_get(11) & REMOTE, REMOTE);
	assert_int_equal(taken(1), 0x51);
}

/* Two inputs share a vector; the end of it is for both. */
static void shared_vector(unused void **state)
{
	entry_set(10, TO(3) | LEVEL | 0x61);
	entry_set(12, TO(3) | LEVEL | 0x61);
	ioapic_set(&chip, 10, true);
	ioapic_set(&chip, 12, true);
	assert_int_equal(taken(3), 0x61);
	ioapic_set(&chip, 10, false);
	ended(3);
	assert_int_equal(taken(3), 0x61);
	ioapic_set(&chip, 12, false);
	ended(3);
	assert_int_equal(taken(3), 0);
}

static void logical_and_nmi(unused void **state)
{
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		io_mmio_write(host_vcpu(cpu), gpa(LAPIC_BASE + 0xd0), 4, 1u << (24 + cpu));
	entry_set(5, (u64)0xa << 56 | LOGICAL | 0x71);
	ioapic_set(&chip, 5, true);
	assert_true(taken(1) == 0x71 && taken(3) == 0x71 && !taken(0) && !taken(2));
	ended(1);
	ended(3);
	entry_set(6, (u64)0xe << 56 | LOGICAL | 1 << 8 | 0x72); /* lowest priority: one of them */
	ioapic_set(&chip, 6, true);
	assert_int_equal((taken(1) == 0x72) + (taken(2) == 0x72) + (taken(3) == 0x72), 1);
	entry_set(7, TO(2) | 4 << 8);
	ioapic_set(&chip, 7, true);
	assert_true(host_vcpu(2)->nmi_pending && !host_vcpu(1)->nmi_pending);
}

/* ---- the timer's ticks ------------------------------------------------------------------------------ */

#define TIMER   IOAPIC_TIMER_INPUT
#define TICK_NS 10000000u /* nearly; and a little more, so that each is over */

/* As Linux does: channel 0 in mode 2, 100 Hz. */
static void ticks_start(void)
{
	io_port_write(host_vcpu(0), 0x43, 1, 0x34);
	io_port_write(host_vcpu(0), 0x40, 1, 11932 & 0xff);
	io_port_write(host_vcpu(0), 0x40, 1, 11932 >> 8);
	vmm_host_clock(100000);
}

/* How many ticks @cpu gets with the time standing still, each ended before the next comes. */
static u32 ticks_taken(u32 cpu, u8 vector)
{
	u32 nr = 0;

	while (taken(cpu) == vector) {
		assert_int_equal(taken(cpu), 0); /* one at a time: nothing before the end */
		ended(cpu);
		nr++;
	}
	return nr;
}

static void ticks_slept_through(unused void **state)
{
	entry_set(TIMER, TO(1) | 0x30);
	ticks_start();
	for (u32 round = 0; round < 3; round++) {
		for (u32 i = 0; i < 5; i++) { /* who listens gets each once */
			vmm_host_clock(TICK_NS);
			assert_int_equal(ticks_taken(1, 0x30), 1);
		}
		vmm_host_clock(7 * TICK_NS);
		assert_int_equal(ticks_taken(1, 0x30), 7);
	}
	/* Asleep in its handler: that tick is taken, the others follow its end. */
	vmm_host_clock(TICK_NS);
	assert_int_equal(taken(1), 0x30);
	vmm_host_clock(4 * TICK_NS);
	ended(1);
	assert_int_equal(ticks_taken(1, 0x30), 4);
	/* For ever asleep: two seconds' worth and no more. */
	vmm_host_clock(1000ull * TICK_NS);
	assert_in_range(ticks_taken(1, 0x30), 199, 202);
}

static void masked_owes_nothing(unused void **state)
{
	entry_set(TIMER, TO(1) | 0x30);
	ticks_start();
	vmm_host_clock(TICK_NS);
	assert_int_equal(ticks_taken(1, 0x30), 1);
	entry_set(TIMER, TO(1) | MASKED | 0x30);
	vmm_host_clock(50 * TICK_NS);
	assert_int_equal(ticks_taken(1, 0x30), 0);
	entry_set(TIMER, TO(1) | 0x30);
	assert_int_equal(ticks_taken(1, 0x30), 0);
	vmm_host_clock(TICK_NS);
	assert_int_equal(ticks_taken(1, 0x30), 1); /* that one alone */
	/* What was owed when it was masked is void, too; what was requested is not. */
	vmm_host_clock(5 * TICK_NS);
	entry_set(TIMER, TO(1) | MASKED | 0x30);
	assert_int_equal(ticks_taken(1, 0x30), 1);
	/* Another vCPU, another vector: it begins anew. */
	entry_set(TIMER, TO(3) | 0x31);
	vmm_host_clock(TICK_NS);
	assert_int_equal(ticks_taken(3, 0x31), 1);
	vmm_host_clock(3 * TICK_NS);
	assert_int_equal(ticks_taken(3, 0x31), 3);
	assert_int_equal(ticks_taken(1, 0x30), 0);
	/* A write to another input's entry is none to this. */
	vmm_host_clock(3 * TICK_NS);
	entry_set(TIMER - 1, TO(3) | MASKED | 0x32);
	entry_set(TIMER + 1, TO(3) | MASKED | 0x32);
	assert_int_equal(ticks_taken(3, 0x31), 3);
	/* The guest stops the 8254: nothing is left. */
	vmm_host_clock(3 * TICK_NS);
	io_port_write(host_vcpu(0), 0x43, 1, 0x30);
	assert_int_equal(ticks_taken(3, 0x31), 1);
	vmm_host_clock(3 * TICK_NS);
	assert_int_equal(ticks_taken(3, 0x31), 0);
}

/* Only the timer's ends and those of levels are told. */
static void other_edges_cost_nothing(unused void **state)
{
	entry_set(TIMER, TO(0) | 0x30);
	entry_set(4, TO(0) | 0x44);
	ticks_start();
	for (u32 i = 0; i < 10; i++) {
		ioapic_set(&chip, 4, true);
		ioapic_set(&chip, 4, false);
		assert_int_equal(taken(0), 0x44);
		ended(0);
		assert_int_equal(nr_ends, 0);
	}
	vmm_host_clock(TICK_NS);
	assert_int_equal(ticks_taken(0, 0x30), 1);
	assert_int_equal(nr_ends, 1);
	/* Nor is the end of a level a tick's. */
	entry_set(11, TO(2) | LEVEL | 0x51);
	vmm_host_clock(5 * TICK_NS);
	for (u32 i = 0; i < 3; i++) {
		ioapic_set(&chip, 11, true);
		assert_int_equal(taken(2), 0x51);
		ioapic_set(&chip, 11, false);
		ended(2);
	}
	assert_int_equal(ticks_taken(0, 0x30), 5);
	/* A device that shares the timer's vector is not taken for a tick, and does no harm. */
	vmm_host_clock(3 * TICK_NS);
	lapic_message(host_vm, 0, 0x30);
	assert_in_range(ticks_taken(0, 0x30), 1, 3);
	vmm_host_clock(TICK_NS);
	assert_in_range(ticks_taken(0, 0x30), 1, 4);
}

static void garbage(unused void **state)
{
	struct rng r = rng_seeded(7);

	ticks_start();
	for (u32 i = 0; i < 200000; i++) {
		switch (rng_below(&r, 5)) {
		case 4: vmm_host_clock(rng_below(&r, TICK_NS)); break;
		case 0: ioapic_set(&chip, rng_below(&r, IOAPIC_INPUTS), rng_below(&r, 2)); break;
		case 1: reg_set(rng_below(&r, 256), rng_next(&r)); break;
		case 2: (void)reg_get(rng_below(&r, 256)); break;
		default:
			if (taken(rng_below(&r, VMM_HOST_CPUS)))
				ended(rng_below(&r, VMM_HOST_CPUS));
		}
	}
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(registers), test(edges), test(levels), test(nobody_takes_it),
		test(shared_vector),
		test(logical_and_nmi), test(ticks_slept_through), test(masked_owes_nothing),
		test(other_edges_cost_nothing), test(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
