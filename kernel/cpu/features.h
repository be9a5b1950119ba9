/* SPDX-License-Identifier: BSD-2-Clause */
/* What this processor can do, read once from CPUID on the boot CPU. */
#pragma once

#include "lib/types.h"

enum cpu_vendor { VENDOR_OTHER, VENDOR_INTEL, VENDOR_AMD };

struct cpu_features {
	enum cpu_vendor vendor;
	char vendor_name[13];
	char brand[49];
	u32 max_leaf, max_ext_leaf;
	u8 phys_bits;
	bool nx, page1g, x2apic, xsave, xsaveopt, erms, tsc_deadline, invariant_tsc, pat, svm, vmx, hypervisor;
	bool smep, smap, rdtscp, pge;
};

extern struct cpu_features features;

void features_init(void);
