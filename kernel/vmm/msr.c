/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual processor's model-specific registers: one table. Those that VMLOAD/VMSAVE and the VMCB
 * (or a VMCS's load and store) keep apart do not exit at all and are not here. What is not in the
 * table does not exist: #GP, or for stubborn guests (msr=ignore) reads 0 and ignores writes. */
#include "cpu/features.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/lapic_timer.h"
#include "vmm/exit.h"
#include "vmm/vm.h"

struct msr_entry {
	u32 msr;
	int (*read)(struct vcpu *v, u32 msr, u64 *value); /* NULL: gives ->constant */
	int (*write)(struct vcpu *v, u32 msr, u64 value); /* NULL: #GP */
	u64 constant;
};

static int write_ignored(unused struct vcpu *v, unused u32 msr, unused u64 value)
{
	return 0;
}

static int tsc_read(struct vcpu *v, unused u32 msr, u64 *value)
{
	*value = rdtsc() + v->tsc_offset;
	return 0;
}

static int tsc_adjust_read(struct vcpu *v, unused u32 msr, u64 *value)
{
	*value = v->tsc_adjust;
	return 0;
}

/* Intel SDM vol. 3B, "IA32_TSC_ADJUST Register Support": a write to either shows in the other. */
static int tsc_adjust_write(struct vcpu *v, unused u32 msr, u64 value)
{
	v->tsc_offset += value - v->tsc_adjust;
	v->tsc_adjust = value;
	hvm->set_tsc_offset(v, v->tsc_offset);
	return 0;
}

static int tsc_write(struct vcpu *v, u32 msr, u64 value)
{
	return tsc_adjust_write(v, msr, v->tsc_adjust + value - (rdtsc() + v->tsc_offset));
}

static int efer_read(struct vcpu *v, unused u32 msr, u64 *value)
{
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	*value = s.efer;
	return 0;
}

/* AMD APM vol. 2, "Extended Feature Enable Register": LMA is the processor's, LME changes only while
 * paging is off, reserved bits fault. */
static int efer_write(struct vcpu *v, unused u32 msr, u64 value)
{
	const u64 known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR;
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	if ((value & ~known) || (((value ^ s.efer) & EFER_LME) && (s.cr0 & CR0_PG)) ||
	    ((value & EFER_NXE) && !features.nx))
		return -EINVAL;
	s.efer = (value & ~(u64)EFER_LMA) | (s.efer & EFER_LMA);
	hvm->set_sregs(v, &s);
	return 0;
}

static int hvm_read(struct vcpu *v, u32 msr, u64 *value)
{
	return hvm->msr_read(v, msr, value);
}

static int pat_write(struct vcpu *v, u32 msr, u64 value)
{
	for (int i = 0; i < 8; i++) {
		u8 type = value >> (8 * i);
		if (type > 7 || type == 2 || type == 3)
			return -EINVAL;
	}
	return hvm->msr_write(v, msr, value);
}

static int apic_base_read(struct vcpu *v, unused u32 msr, u64 *value)
{
	*value = lapic_base(v->lapic);
	return 0;
}

static int apic_base_write(struct vcpu *v, unused u32 msr, u64 value)
{
	return lapic_set_base(v->lapic, value);
}

static int deadline_read(struct vcpu *v, unused u32 msr, u64 *value)
{
	*value = atomic_load(&lapic_timer(v->lapic)->tsc_deadline);
	return 0;
}

static int deadline_write(struct vcpu *v, unused u32 msr, u64 value)
{
	lapic_timer_set_deadline(lapic_timer(v->lapic), value, rdtsc() + v->tsc_offset);
	return 0;
}

static const struct msr_entry table[] = {
	{MSR_TSC, tsc_read, tsc_write, 0},
	{MSR_TSC_ADJUST, tsc_adjust_read, tsc_adjust_write, 0},
	{MSR_APIC_BASE, apic_base_read, apic_base_write, 0},
	{MSR_TSC_DEADLINE, deadline_read, deadline_write, 0},
	{0x8b, NULL, write_ignored, 0},       /* microcode revision */
	{0xfe, NULL, NULL, 0},                /* MTRRCAP: no MTRR at all, fixed or variable */
	{0x179, NULL, NULL, 0},               /* MCG_CAP: no bank */
	{0x17a, NULL, write_ignored, 0},      /* MCG_STATUS */
	{0x1a0, NULL, write_ignored, 0},      /* MISC_ENABLE */
	{0x1d9, NULL, write_ignored, 0},      /* DEBUGCTL */
	{MSR_PAT, hvm_read, pat_write, 0},
	{0x2ff, NULL, write_ignored, 0x806},  /* MTRR default: enabled, write-back */
	{MSR_EFER, efer_read, efer_write, 0},
	{0xc0010010, NULL, write_ignored, 0}, /* SYSCFG */
	{0xc0010015, NULL, write_ignored, 0}, /* HWCR */
	{0xc001001f, NULL, write_ignored, 0}, /* NB_CFG */
	{0xc0010055, NULL, NULL, 0},          /* interrupt pending message: C1E is not there */
	{0xc0010114, NULL, NULL, 0},          /* VM_CR: this processor has no SVM */
	{0xc0011029, NULL, write_ignored, 0}, /* DE_CFG */
};

static const struct msr_entry x2apic = {MSR_X2APIC, lapic_msr_read, lapic_msr_write, 0}; /* and 255 more */

static const struct msr_entry *msr_find(struct vcpu *v, u32 msr)
{
	if (msr >> 8 == MSR_X2APIC >> 8 && lapic_is_x2apic(v->lapic))
		return &x2apic;
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].msr == msr)
			return &table[i];
	return NULL;
}

int msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	const struct msr_entry *e = msr_find(v, msr);

	if (e && e->read)
		return e->read(v, msr, value);
	*value = e ? e->constant : 0;
	return e || v->vm->config.msr_ignore ? 0 : -EINVAL;
}

int msr_write(struct vcpu *v, u32 msr, u64 value)
{
	const struct msr_entry *e = msr_find(v, msr);

	if (e)
		return e->write ? e->write(v, msr, value) : -EINVAL;
	return v->vm->config.msr_ignore ? 0 : -EINVAL;
}
