/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/msr.c kernel/vmm/devices/lapic.c kernel/vmm/devices/lapic_timer.c kernel/vmm/io.c
 * tests/unit/vmm_host.c */
/* The table of model-specific registers: what exists, what may be written to it, and that nothing
 * else does. */
#include "vmm_host.h"

#include "cpu/features.h"
#include "cpu/x86.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"
#include "vmm/exit.h"

void board_interrupt_ended(unused struct vm *vm, unused u8 vector)
{
}

static struct vcpu *v;

static int setup(void **state)
{
	vmm_host_setup(state);
	for (u32 i = 0; i < VMM_HOST_CPUS; i++)
		host_vcpu(i)->lapic = lapic_create(host_vcpu(i));
	v = host_vcpu(0);
	features.nx = true;
	return 0;
}

static int teardown(void **state)
{
	for (u32 i = 0; i < VMM_HOST_CPUS; i++)
		lapic_destroy(host_vcpu(i)->lapic);
	return vmm_host_teardown(state);
}

static u64 get(u32 msr)
{
	u64 value = 0xbad;

	assert_int_equal(msr_read(v, msr, &value), 0);
	return value;
}

static void unknown_ones_fault(unused void **state)
{
	const u32 unknown[] = {0, 0x3a, 0x480, 0x808, 0xc0000103, 0xc0010000, 0xc0010117,
			       ~0u};
	u64 value;

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_int_equal(msr_read(v, unknown[i], &value), -EINVAL);
		assert_int_equal(msr_write(v, unknown[i], 0), -EINVAL);
	}
	host_vm->config.msr_ignore = true;
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_int_equal(get(unknown[i]), 0);
		assert_int_equal(msr_write(v, unknown[i], ~0ull), 0);
		assert_int_equal(get(unknown[i]), 0);
	}
}

/* Those that VMRUN and VMLOAD keep apart are not answered here: they would be the host's. */
static void not_those_of_the_processor(unused void **state)
{
	const u32 own[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR,
			   MSR_CSTAR, MSR_SFMASK, MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
			   MSR_SYSENTER_EIP};
	u64 value;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		assert_int_equal(msr_read(v, own[i], &value), -EINVAL);
}

static void ignore_is_for_unknown_ones(unused void **state)
{
	host_vm->config.msr_ignore = true;
	assert_int_equal(msr_write(v, MSR_EFER, ~0ull), -EINVAL);
	assert_int_equal(msr_write(v, MSR_PAT, 2), -EINVAL);
	assert_int_equal(msr_write(v, MSR_VM_CR, 0), -EINVAL);
}

static void efer(unused void **state)
{
	struct vcpu_sregs *s = &host_processor(v)->sregs;

	assert_int_equal(msr_write(v, MSR_EFER, EFER_SCE | EFER_NXE | EFER_LME), 0);
	assert_int_equal(get(MSR_EFER), EFER_SCE | EFER_NXE | EFER_LME);
	for (int bit = 0; bit < 64; bit++) {
		bool known = bit == 0 || bit == 8 || bit == 10 || bit == 11 || bit == 14;
		u64 value = 1ull << bit | EFER_LME;
		assert_int_equal(msr_write(v, MSR_EFER, value), known ? 0 : -EINVAL);
	}
	assert_int_equal(msr_write(v, MSR_EFER, EFER_SVME), -EINVAL); /* ours alone */

	/* LMA is the processor's. */
	s->efer = EFER_LME | EFER_LMA;
	assert_int_equal(msr_write(v, MSR_EFER, EFER_LME | EFER_SCE), 0);
	assert_int_equal(s->efer, EFER_LME | EFER_LMA | EFER_SCE);
	s->efer = EFER_LME;
	assert_int_equal(msr_write(v, MSR_EFER, EFER_LME | EFER_LMA), 0);
	assert_int_equal(s->efer, EFER_LME);

	/* LME stays while paging is on. */
	s->cr0 |= CR0_PG;
	assert_int_equal(msr_write(v, MSR_EFER, 0), -EINVAL);
	assert_int_equal(s->efer, EFER_LME);
	assert_int_equal(msr_write(v, MSR_EFER, EFER_LME | EFER_NXE), 0);
	s->efer = 0;
	assert_int_equal(msr_write(v, MSR_EFER, EFER_LME), -EINVAL);

	features.nx = false;
	assert_int_equal(msr_write(v, MSR_EFER, EFER_NXE), -EINVAL);
}

static void pat(unused void **state)
{
	host_processor(v)->pat = 0x0007040600070406;
	assert_true(get(MSR_PAT) == 0x0007040600070406);
	for (u32 type = 0; type < 0x100; type++)
		for (int i = 0; i < 8; i++) {
			int want = type <= 7 && type != 2 && type != 3 ? 0 : -EINVAL;
			assert_int_equal(msr_write(v, MSR_PAT, (u64)type << (8 * i)), want);
		}
	assert_int_equal(msr_write(v, MSR_PAT, 0x0606060606060606), 0);
	assert_true(get(MSR_PAT) == 0x0606060606060606);
}

static void tsc(unused void **state)
{
	u64 before = rdtsc(), seen = get(MSR_TSC), after = rdtsc();

	assert_true(seen >= before && seen <= after);
	assert_int_equal(msr_write(v, MSR_TSC, 1000), 0);
	assert_true(get(MSR_TSC) >= 1000);
	assert_true(get(MSR_TSC) < 1000 + (1ull << 36));
	assert_true(host_processor(v)->tsc_offset == v->tsc_offset); /* RDTSC sees the same */
	assert_int_equal(host_vcpu(1)->tsc_offset, 0);
	/* What was written shows in TSC_ADJUST, and what is written there moves the TSC. */
	assert_int_equal(get(MSR_TSC_ADJUST), v->tsc_offset);
	u64 offset = v->tsc_offset;
	assert_int_equal(msr_write(v, MSR_TSC_ADJUST, get(MSR_TSC_ADJUST) + 1000000), 0);
	assert_int_equal(v->tsc_offset, offset + 1000000);
	assert_true(host_processor(v)->tsc_offset == v->tsc_offset);
	assert_int_equal(msr_write(v, MSR_TSC_ADJUST, 0), 0);
	assert_int_equal(v->tsc_offset, 0);
	assert_int_equal(msr_write(v, MSR_TSC, get(MSR_TSC) + (1ull << 40)), 0);
	assert_in_range(get(MSR_TSC_ADJUST), (1ull << 40) - (1ull << 36), 1ull << 40);
	assert_int_equal(get(MSR_TSC_ADJUST), v->tsc_offset);
}

static void apic_base(unused void **state)
{
	assert_int_equal(get(MSR_APIC_BASE), LAPIC_BASE | 0x900);
	v = host_vcpu(1);
	assert_int_equal(get(MSR_APIC_BASE), LAPIC_BASE | 0x800);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0x400), -EINVAL);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, 0xfed00800), -EINVAL);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 1ull << 40), -EINVAL);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE), 0);
	assert_int_equal(get(MSR_APIC_BASE), LAPIC_BASE);
}

/* They exist in x2APIC mode alone; there "ignore" is not for them. */
static void x2apic(unused void **state)
{
	u64 value;

	for (u32 ignore = 0; ignore < 2; ignore++) {
		v = host_vcpu(ignore);
		host_vm->config.msr_ignore = ignore;
		for (u32 msr = 0x800; msr < 0x900; msr++)
			assert_int_equal(msr_read(v, msr, &value), ignore ? 0 : -EINVAL);
		assert_int_equal(msr_write(v, 0x80f, 0x1ff), ignore ? 0 : -EINVAL);
		assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0xc00), 0);
		assert_int_equal(get(MSR_APIC_BASE), LAPIC_BASE | 0xc00 | (ignore ? 0 : 0x100));
		assert_int_equal(get(0x802), ignore);
		assert_int_equal(get(0x80d), 1u << ignore);
		assert_int_equal(msr_write(v, 0x80f, 0x1ff), 0);
		assert_int_equal(get(0x80f), 0x1ff);
		assert_int_equal(msr_write(v, 0x830, 1ull << 32 | 0x61), 0);
		assert_int_equal(get(0x830), 1ull << 32 | 0x61);
		assert_int_equal(msr_write(v, 0x80b, 1), -EINVAL);
		assert_int_equal(msr_write(v, 0x80f, 1ull << 32), -EINVAL);
		assert_int_equal(msr_write(v, 0x802, 0), -EINVAL);
		assert_int_equal(msr_read(v, 0x80b, &value), -EINVAL);
		assert_int_equal(msr_read(v, 0x80e, &value), -EINVAL);
		assert_int_equal(msr_read(v, 0x8ff, &value), -EINVAL);
		assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0x800), -EINVAL);
		assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE), 0);
		assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0xc00), -EINVAL);
	}
	for (u32 i = 0; i < 2; i++)
		assert_int_equal(lapic_pending(host_vcpu(i)->lapic, 0), 0);
}

static void no_apic(unused void **state)
{
	lapic_destroy(v->lapic);
	host_vm->config.apic = false;
	v->lapic = lapic_create(v);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0xc00), -EINVAL);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0x800), 0); /* it cannot be switched on */
	assert_int_equal(get(MSR_APIC_BASE), LAPIC_BASE | 0x100);
	assert_int_equal(msr_write(v, MSR_APIC_BASE, LAPIC_BASE | 0xc00), -EINVAL);
	assert_int_equal(msr_write(v, 0x80b, 0), -EINVAL);
}

/* Those that guests look at and that say: nothing here. */
static void fixed_ones(unused void **state)
{
	const struct {
		u32 msr;
		u64 value;
		int write;
	} fixed[] = {
		{0x8b, 0, 0}, {0xfe, 0, -EINVAL}, {0x179, 0, -EINVAL}, {0x17a, 0, 0}, {0x1a0, 0, 0},
		{0x1d9, 0, 0}, {0x2ff, 0x806, 0}, {0xc0010010, 0, 0}, {0xc0010015, 0, 0},
		{MSR_VM_CR, 0, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		assert_int_equal(get(fixed[i].msr), fixed[i].value);
		assert_int_equal(msr_write(v, fixed[i].msr, ~0ull), fixed[i].write);
		assert_int_equal(get(fixed[i].msr), fixed[i].value);
	}
}

/* What a hostile guest does: every register of four ranges, any value. */
static void sweep(unused void **state)
{
	const u32 ranges[] = {0, 0x40000000, 0xc0000000, 0xc0010000};
	struct rng chance = rng_seeded(0x3e5);
	u64 value;

	for (size_t r = 0; r < ARRAY_SIZE(ranges); r++)
		for (u32 i = 0; i < 0x2000; i++) {
			int read = msr_read(v, ranges[r] + i, &value);
			int write = msr_write(v, ranges[r] + i, rng_next(&chance));
			assert_true(read == 0 || read == -EINVAL);
			assert_true(write == 0 || write == -EINVAL);
			if (read)
				assert_int_equal(write, -EINVAL);
		}
	assert_int_equal(host_processor(v)->sregs.efer & EFER_SVME, 0);
}

#define msr_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		msr_test(unknown_ones_fault),
		msr_test(not_those_of_the_processor),
		msr_test(ignore_is_for_unknown_ones),
		msr_test(efer),
		msr_test(pat),
		msr_test(tsc),
		msr_test(apic_base),
		msr_test(x2apic),
		msr_test(no_apic),
		msr_test(fixed_ones),
		msr_test(sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
