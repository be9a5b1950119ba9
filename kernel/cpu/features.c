/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID, read once. Sources: Intel SDM vol. 2A, "CPUID"; AMD APM vol. 3, appendix E. */
#include "cpu/features.h"

#include "cpu/x86.h"
#include "lib/string.h"

struct cpu_features features;

static void read_vendor(void)
{
	struct cpuid_regs r = cpuid(0, 0);
	u32 name[3] = {r.ebx, r.edx, r.ecx};

	features.max_leaf = r.eax;
	/* Hygon's processors are AMD's in all that we use. */
	if (!memcmp(name, "GenuineIntel", 12))
		features.vendor = VENDOR_INTEL;
	else if (!memcmp(name, "AuthenticAMD", 12) || !memcmp(name, "HygonGenuine", 12))
		features.vendor = VENDOR_AMD;
}

static void read_basic_leaves(void)
{
	struct cpuid_regs r = cpuid(1, 0);

	features.vmx = r.ecx >> 5 & 1;
	features.x2apic = r.ecx >> 21 & 1;
	features.tsc_deadline = r.ecx >> 24 & 1;
	features.xsave = r.ecx >> 26 & 1;
	features.hypervisor = r.ecx >> 31;
	features.tcg = features.hypervisor && cpuid(0x40000000, 0).ebx == 0x54474354; /* "TCGT" */
	features.pge = r.edx >> 13 & 1;
	features.pat = r.edx >> 16 & 1;
	if (features.max_leaf >= 7) {
		r = cpuid(7, 0);
		features.smep = r.ebx >> 7 & 1;
		features.erms = r.ebx >> 9 & 1;
		features.smap = r.ebx >> 20 & 1;
	}
	if (features.xsave && features.max_leaf >= 0xd)
		features.xsaveopt = cpuid(0xd, 1).eax & 1;
}

static void read_extended_leaves(void)
{
	struct cpuid_regs r = cpuid(0x80000001, 0);

	features.svm = r.ecx >> 2 & 1;
	features.nx = r.edx >> 20 & 1;
	features.page1g = r.edx >> 26 & 1;
	features.phys_bits = 36;
	if (features.max_ext_leaf >= 0x80000008)
		features.phys_bits = cpuid(0x80000008, 0).eax & 0xff;
}

void features_init(void)
{
	read_vendor();
	read_basic_leaves();
	features.max_ext_leaf = cpuid(0x80000000, 0).eax; /* long mode: at least ...01 exists */
	read_extended_leaves();
}
