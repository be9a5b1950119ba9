/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual processor's CPUID: one table. Of the host's answer to each leaf, these bits come
 * through; what a guest could not use safely stays out (another hypervisor's MSRs, power management,
 * performance counters, anything with state that is not saved).
 * Sources: Intel SDM vol. 2, "CPUID"; AMD APM vol. 3, appendix E. */
#include "vmm/cpuid.h"

#include "lib/string.h"

#define BIT(n) (1u << (n))

/* Leaf 1. FPU VME DE PSE TSC MSR PAE MCE CX8 - SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 */
#define LEAF1_EDX \
	(BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | \
	 BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | \
	 BIT(25) | BIT(26))
/* SSE3 PCLMUL SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND */
#define LEAF1_ECX \
	(BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | \
	 BIT(30))
/* with XSAVE: XSAVE, and what needs it: FMA AVX F16C */
#define LEAF1_ECX_XSAVE BIT(26)
#define LEAF1_ECX_AVX   (BIT(12) | BIT(28) | BIT(29))
#define LEAF1_EDX_APIC  BIT(9)
#define LEAF1_EDX_HTT   BIT(28)
#define LEAF1_ECX_HV    BIT(31)
#define LEAF1_ECX_X2APIC BIT(21)
#define LEAF1_ECX_DEADLINE BIT(24)
#define LEAF1_ECX_OSXSAVE BIT(27)
/* Leaf 7. FSGSBASE BMI1 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA; AVX2 with AVX */
#define LEAF7_EBX \
	(BIT(0) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(18) | BIT(19) | BIT(20) | BIT(23) | BIT(24) | \
	 BIT(29))
#define LEAF7_EBX_AVX BIT(5)
#define LEAF7_EBX_TSC_ADJUST BIT(1) /* ours: msr.c */
/* 80000001. LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH */
#define EXT1_ECX (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8))
/* The copies of leaf 1, SYSCALL NX MMXEXT FFXSR GB-pages LM. RDTSCP stays out: TSC_AUX is not saved. */
#define EXT1_EDX \
	((LEAF1_EDX & 0x0183f3ffu & ~BIT(11)) | BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(29))

enum { LEVEL_THREADS = 1, LEVEL_CORES }; /* leaf 0xb */

#define XCR0_AVX 4u

static void build_basic(struct cpuid_table *t, const struct cpuid_policy *p)
{
	struct cpuid_leaf l = p->host(0, 0);
	bool avx = p->xcr0_allowed & XCR0_AVX;
	u32 max = l.eax;

	t->max_basic = MIN(max, p->xcr0_allowed ? 0xdu : 7u);
	if (p->apic)
		t->max_basic = MAX(t->max_basic, 0xbu);
	t->basic[0] = l;
	t->basic[0].eax = t->max_basic;

	l = p->host(1, 0);
	l.ecx &= LEAF1_ECX | (p->xcr0_allowed ? LEAF1_ECX_XSAVE : 0) | (avx ? LEAF1_ECX_AVX : 0);
	l.ecx |= LEAF1_ECX_HV | (p->apic ? LEAF1_ECX_X2APIC | LEAF1_ECX_DEADLINE : 0);
	l.edx = (l.edx & LEAF1_EDX) | (p->apic ? LEAF1_EDX_APIC : 0) |
		(p->nr_vcpus > 1 ? LEAF1_EDX_HTT : 0);
	l.ebx = (l.ebx & 0x0000ff00) | p->nr_vcpus << 16; /* CLFLUSH size; the APIC id comes later */
	t->basic[1] = l;
	if (max >= 2)
		t->basic[2] = p->host(2, 0);
	if (max >= 7)
		t->basic[7].ebx = p->host(7, 0).ebx & (LEAF7_EBX | (avx ? LEAF7_EBX_AVX : 0));
	if (t->max_basic >= 7)
		t->basic[7].ebx |= LEAF7_EBX_TSC_ADJUST;
	if (p->apic) { /* a core has one thread, the package all cores; so many bits of the id tell them apart */
		u32 bits = p->nr_vcpus > 1 ? 32 - __builtin_clz(p->nr_vcpus - 1) : 0;
		t->topology[0] = (struct cpuid_leaf){0, 1, LEVEL_THREADS << 8, 0};
		t->topology[1] = (struct cpuid_leaf){bits, p->nr_vcpus, LEVEL_CORES << 8, 0};
	}
	if (t->max_basic >= 0xd) {
		t->xsave[0] = p->host(0xd, 0);
		t->xsave[0].eax = (u32)p->xcr0_allowed;
		t->xsave[0].edx = p->xcr0_allowed >> 32;
		t->xsave[0].ecx = 512 + 64;
		if (avx) {
			t->xsave[2] = p->host(0xd, 2);
			t->xsave[0].ecx = t->xsave[2].eax + t->xsave[2].ebx;
		}
		t->xsave[1].eax = p->host(0xd, 1).eax & BIT(0); /* XSAVEOPT */
	}
}

static void build_ext(struct cpuid_table *t, const struct cpuid_policy *p)
{
	struct cpuid_leaf l = p->host(0x80000000, 0);
	u32 max = l.eax >= 0x80000000 ? l.eax - 0x80000000 : 0;

	t->max_ext = MIN(max, 8u);
	t->ext[0] = l;
	t->ext[0].eax = 0x80000000 + t->max_ext;
	if (t->max_ext >= 1) {
		l = p->host(0x80000001, 0);
		l.ecx = (l.ecx & EXT1_ECX) | (p->nr_vcpus > 1 ? BIT(1) : 0); /* CMPLEGACY */
		l.edx = (l.edx & EXT1_EDX) | (p->apic ? BIT(9) & l.edx : 0);
		t->ext[1] = l;
	}
	for (u32 i = 2; i <= MIN(t->max_ext, 6u); i++)
		t->ext[i] = p->host(0x80000000 + i, 0); /* brand string, cache sizes */
	if (t->max_ext >= 7)
		t->ext[7].edx = BIT(8); /* invariant TSC: all of Neap's own time comes from it, on all CPUs */
	if (t->max_ext >= 8) {
		t->ext[8].eax = p->host(0x80000008, 0).eax & 0xffff; /* address sizes */
		t->ext[8].ecx = p->nr_vcpus - 1;
	}
}

void cpuid_build(struct cpuid_table *t, const struct cpuid_policy *p)
{
	memset(t, 0, sizeof(*t));
	build_basic(t, p);
	build_ext(t, p);
	t->tsc_khz = p->tsc_khz;
}

/* The hypervisor's own leaves: the highest one and a name of twelve letters; the TSC's frequency
 * where others that offer it have it (40000010). */
static struct cpuid_leaf hypervisor_leaf(const struct cpuid_table *t, u32 leaf)
{
	switch (leaf) {
	case CPUID_HV_BASE:
		return (struct cpuid_leaf){CPUID_HV_BASE + 0x10, 0x7061654e, 0x7061654e, 0x7061654e};
	case CPUID_HV_BASE + 0x10:
		return (struct cpuid_leaf){.eax = (u32)t->tsc_khz};
	default:
		return (struct cpuid_leaf){0};
	}
}

static struct cpuid_leaf xsave_leaf(const struct cpuid_table *t, const struct cpuid_vcpu *v, u32 subleaf)
{
	struct cpuid_leaf l = {0};

	if (subleaf < CPUID_XSAVE)
		l = t->xsave[subleaf];
	if (subleaf == 0) /* the size for what XCR0 enables now */
		l.ebx = v->xcr0 & XCR0_AVX ? t->xsave[2].eax + t->xsave[2].ebx : 512 + 64;
	return l;
}

struct cpuid_leaf cpuid_answer(const struct cpuid_table *t, const struct cpuid_vcpu *v, u32 leaf,
			       u32 subleaf)
{
	struct cpuid_leaf l;

	if (leaf >= 0x80000000) {
		u32 n = leaf - 0x80000000;
		return n <= t->max_ext ? t->ext[n] : (struct cpuid_leaf){0};
	}
	if (leaf >= CPUID_HV_BASE && leaf < CPUID_HV_BASE + 0x100)
		return hypervisor_leaf(t, leaf);
	if (leaf > t->max_basic)
		return (struct cpuid_leaf){0};
	switch (leaf) {
	case 1:
		l = t->basic[1];
		l.ebx |= v->apic_id << 24;
		if (v->osxsave)
			l.ecx |= LEAF1_ECX_OSXSAVE;
		return l;
	case 7:
		return subleaf == 0 ? t->basic[7] : (struct cpuid_leaf){0};
	case 0xb:
		l = t->topology[MIN(subleaf, CPUID_TOPOLOGY - 1u)];
		l.ecx |= subleaf & 0xff;
		l.edx = v->apic_id;
		return t->topology[0].ebx ? l : (struct cpuid_leaf){0};
	case 0xd:
		return xsave_leaf(t, v, subleaf);
	default:
		return t->basic[leaf];
	}
}
