/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/ioapic.c kernel/vmm/devices/lapic.c kernel/vmm/devices/lapic_timer.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The I/O APIC and four local ones: registers, lines, messages, interrupts taken and ended, INIT and SIPI,
 * timers; as xAPIC and as x2APIC. */
#include "vm.h"

#include "cpu/clock.h"
#include "vmm/devices/board.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/lapic_timer.h"

#define MASKED 0x10000ull
#define LEVEL  0x8000ull
#define REMOTE 0x4000ull

static const struct fuzz_range windows[] = {
	{.start = LAPIC_BASE, .bytes = 0x400, .mmio = true, .step = 16},
	{.start = IOAPIC_BASE, .bytes = 0x20, .mmio = true, .step = 16},
	{.start = LAPIC_BASE + 0x400, .bytes = 0xc00, .mmio = true},
};

static struct ioapic ioapic;

void board_interrupt_ended(struct vm *vm, u8 vector)
{
	CHECK(vm == host_vm && vector >= 16, "vector %u", vector);
	ioapic_eoi(&ioapic, vector);
}

void board_timer_rerouted(struct vm *vm)
{
	CHECK(vm == host_vm, "another VM");
}

static bool is_on(struct vcpu *v)
{
	return lapic_base(v->lapic) & 0x800;
}

static u32 lapic_get(struct vcpu *v, u32 reg)
{
	u64 value = 0;

	if (!lapic_is_x2apic(v->lapic))
		return io_mmio_read(v, gpa(LAPIC_BASE + reg), 4);
	CHECK(!lapic_msr_read(v, MSR_X2APIC + reg / 16, &value), "no register %#x", reg);
	return value;
}

/* Only level inputs wait for an end; below 16 no vector is ever requested. */
static void check(void)
{
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		CHECK(!is_on(host_vcpu(cpu)) || !(lapic_get(host_vcpu(cpu), 0x200) & 0xffff), "vCPU %u has an illegal request", cpu);
	for (u32 pin = 0; pin < IOAPIC_INPUTS; pin++) {
		u64 entry = ioapic.entry[pin];

		CHECK(!(entry & REMOTE) || (entry & LEVEL), "entry %u is %#lx", pin, entry);
		CHECK(!(entry & 0x00fffffffffe1000ull), "entry %u is %#lx", pin, entry);
	}
}

/* @v takes what is pending. It is of a higher class than the priority, and in service then. */
static void take_interrupt(struct vcpu *v, u8 tpr)
{
	u8 vector = lapic_pending(v->lapic, tpr);
	u32 word = 0x10 * (vector / 32), bit = 1u << vector % 32;

	if (!vector || !is_on(v))
		return;
	CHECK(vector >= 16 && vector >> 4 > tpr >> 4, "vector %#x above priority %#x", vector, tpr);
	CHECK(lapic_get(v, 0x200 + word) & bit, "%#x was not requested", vector);
	lapic_ack(v->lapic, vector);
	CHECK(!(lapic_get(v, 0x200 + word) & bit) && (lapic_get(v, 0x100 + word) & bit),
	      "%#x is not in service", vector);
	CHECK(lapic_pending(v->lapic, vector) >> 4 == 0 ||
	      lapic_pending(v->lapic, vector) >> 4 > vector >> 4, "interrupted by its like");
}

static void end_interrupt(struct vcpu *v)
{
	if (lapic_is_x2apic(v->lapic))
		CHECK(!lapic_msr_write(v, MSR_X2APIC + 0xb, 0), "EOI refused");
	else
		io_mmio_write(v, gpa(LAPIC_BASE + 0xb0), 4, 0);
}

/* What the vCPU's loop does with INIT and SIPI. */
static void answer_requests(struct vcpu *v)
{
	u32 requests = atomic_xchg(&v->requests, 0u);

	if (requests & VCPU_REQ_INIT) {
		lapic_reset(v->lapic);
		v->activity = VCPU_WAIT_SIPI;
	}
	if (v->activity == VCPU_WAIT_SIPI && v->sipi_pending)
		v->activity = VCPU_RUNNING;
	v->sipi_pending = v->nmi_pending = false;
}

/* A redirection entry of the I/O APIC, both halves. */
static void entry_set(struct input *in)
{
	u32 reg = 0x10 + 2 * take_below(in, IOAPIC_INPUTS);

	for (u32 half = 0; half < 2; half++) {
		io_mmio_write(host_vcpu(0), gpa(IOAPIC_BASE), 4, reg + half);
		io_mmio_write(host_vcpu(0), gpa(IOAPIC_BASE + 0x10), 4, take(in, half ? 1 : 3) << (half ? 24 : 0));
	}
}

/* A register by its MSR: any number, any value. */
static void x2apic_step(struct vcpu *v, struct input *in)
{
	u32 msr = MSR_X2APIC + take(in, 1);
	u64 value = 0;

	if (!lapic_is_x2apic(v->lapic))
		(void)!lapic_set_base(v->lapic, lapic_base(v->lapic) | 0xc00);
	else if (take(in, 1) & 1)
		(void)!lapic_msr_read(v, msr, &value);
	else
		(void)!lapic_msr_write(v, msr, take(in, 6));
}

static void local_step(struct input *in)
{
	u8 how = take(in, 1);
	struct vcpu *v = host_vcpu(how >> 4 & 3);

	switch (how & 7) {
	case 0: lapic_passes_extint(v->lapic); break;
	case 1: lapic_timer_set_deadline(lapic_timer(v->lapic), take(in, 4), clock_ns()); break;
	case 2: x2apic_step(v, in); break;
	case 3: (void)!lapic_set_base(v->lapic, lapic_base(v->lapic) ^ take(in, 2)); break;
	case 4: answer_requests(v); break;
	case 5: io_mmio_write(v, gpa(LAPIC_BASE + 0xf0), 4, 0x1ff); break;
	case 6: end_interrupt(v); break;
	default: take_interrupt(v, take(in, 1)); break;
	}
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(1);
	host_vm->config.apic = take(in, 1) % 8;
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		host_vcpu(cpu)->lapic = lapic_create(host_vcpu(cpu));
	lapic_attach(host_vm);
	ioapic_attach(&ioapic, host_vm);
	while (input_left(in)) {
		u8 line;

		switch (take_below(in, 8)) {
		case 0:
			line = take(in, 1);
			ioapic_set(&ioapic, (line & 0x7f) % IOAPIC_INPUTS, line & 0x80);
			break;
		case 1: fuzz_time(in); break;
		case 2: entry_set(in); break;
		case 3:
		case 4:
		case 5: local_step(in); break;
		default: fuzz_access(in, windows, ARRAY_SIZE(windows), NULL);
		}
		fuzz_step_ended();
		check();
	}
	for (u32 cpu = 0; cpu < VMM_HOST_CPUS; cpu++)
		lapic_destroy(host_vcpu(cpu)->lapic);
	fuzz_vm_end();
}
