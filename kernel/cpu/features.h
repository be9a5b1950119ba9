/* SPDX-License-Identifier: BSD-2-Clause */
/* What this processor can do, read once from CPUID on the boot CPU. */
#pragma once

#include "lib/types.h"

enum cpu_vendor { VENDOR_OTHER, VENDOR_INTEL, VENDOR_AMD };

struct cpu_features {
	enum cpu_vendor vendor;
	u32 max_leaf, max_ext_leaf;
	u8 phys_bits;
	bool nx, page1g, x2apic, xsave, xsaveopt, erms, tsc_deadline, pat, pge, svm, vmx, hypervisor, tcg;
	bool smep, smap;
};

extern struct cpu_features features;

void features_init(void);
