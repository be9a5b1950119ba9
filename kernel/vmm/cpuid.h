/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest's CPUID says: one table in one file (cpuid.c), computed when the VM is made.
 *
 * A guest sees what its virtual processor has: nothing whose state we do not save, no VMX, no SVM. The
 * policy is pure: the host's CPUID comes in through a function, so that it is tested on the host. */
#pragma once

#include "lib/types.h"

struct cpuid_leaf {
	u32 eax, ebx, ecx, edx;
};

#define CPUID_BASIC   0x20 /* leaves 0 .. 0x1f */
#define CPUID_EXT     0x20 /* 80000000 .. 8000001f */
#define CPUID_XSAVE   3    /* leaf 0xd: subleaves 0, 1, 2 */
#define CPUID_TOPOLOGY 3   /* leaf 0xb: threads, cores, and the end of the levels */
#define CPUID_HV_BASE 0x40000000u

struct cpuid_table {
	struct cpuid_leaf basic[CPUID_BASIC];
	struct cpuid_leaf ext[CPUID_EXT];
	struct cpuid_leaf xsave[CPUID_XSAVE];
	struct cpuid_leaf topology[CPUID_TOPOLOGY]; /* all 0: no such leaf */
	u32 max_basic, max_ext; /* highest leaf each */
	u64 tsc_khz;
};

struct cpuid_policy {
	struct cpuid_leaf (*host)(u32 leaf, u32 subleaf);
	u64 xcr0_allowed; /* state components that the FPU code saves; 0: no XSAVE */
	u32 nr_vcpus;
	bool apic;
	u64 tsc_khz;
};

void cpuid_build(struct cpuid_table *t, const struct cpuid_policy *p);

/* What changes with a vCPU's state. */
struct cpuid_vcpu {
	u32 apic_id;
	bool osxsave;
	u64 xcr0;
};
struct cpuid_leaf cpuid_answer(const struct cpuid_table *t, const struct cpuid_vcpu *v, u32 leaf,
			       u32 subleaf);
