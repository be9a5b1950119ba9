/* SPDX-License-Identifier: BSD-2-Clause */
/* Is the processor that a guest sees a sane one: CPUID leaves, MSRs that keep or refuse values, and
 * registers that no exit changes? */
#include "guest.h"
#include "trap.h"
#include "x86.h"

#define EXITS          1000
#define MAX_LEAVES     64u /* of one range: more is a broken maximum */
#define HYPERVISOR     0x40000000u
#define EXTENDED       0x80000000u
#define PAT_RESET      0x0007040600070406ull
#define CPUID1_VMX     (1u << 5)
#define CPUID1_XSAVE   (1u << 26)
#define CPUID1_AVX     (1u << 28)
#define CPUID81_SVM    (1u << 2)
#define CPUID81_RDTSCP (1u << 27)
#define XCR0_X87       1u
#define XCR0_SSE       2u
#define XCR0_AVX       4u

void xmm_over_exits(const void *in, void *out, u64 nr);
void ymm_over_exits(const void *in, void *out, u64 nr);
void x87_over_exits(const void *in, void *out, u64 nr);

static bool cpuid_equal(struct cpuid a, struct cpuid b)
{
	return a.eax == b.eax && a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

/* leaves_above - leaves past @max answer zeros, or as the highest basic leaf does. */
static unsigned int leaves_above(u32 max, u32 highest_basic)
{
	unsigned int strange = 0;

	for (u32 leaf = max + 1; leaf <= max + 8; leaf++) {
		struct cpuid c = cpuid(leaf, 0);

		strange +=
		    !cpuid_equal(c, (struct cpuid){0}) && !cpuid_equal(c, cpuid(highest_basic, 0));
	}
	return strange;
}

static void leaves(void)
{
	u32 basic = cpuid(0, 0).eax, extended = cpuid(EXTENDED, 0).eax;
	struct cpuid one = cpuid(1, 0);
	unsigned int strange;

	report(basic >= 1 && basic < MAX_LEAVES, "highest basic leaf %#x", basic);
	report(extended >= EXTENDED + 8 && extended < EXTENDED + MAX_LEAVES,
	       "highest extended leaf %#x", extended);
	report((one.edx & 0x07800171) == 0x07800171, "what 64-bit code takes for granted");
	report(!(one.ecx & CPUID1_VMX), "no VMX");
	if (guest_on_qemu())
		report_skip("no SVM: QEMU was asked for it");
	else
		report(!(cpuid(EXTENDED + 1, 0).ecx & CPUID81_SVM), "no SVM");
	strange = leaves_above(basic, basic) + leaves_above(extended, basic);
	report(!strange, "leaves beyond the highest say nothing new (%u do)", strange);
	for (u32 leaf = 0; leaf <= basic; leaf++)
		strange += !cpuid_equal(cpuid(leaf, 0), cpuid(leaf, 0));
	report(!strange, "leaves answer the same when asked again");
	if (one.ecx >> 31) {
		u32 max = cpuid(HYPERVISOR, 0).eax;

		report(max >= HYPERVISOR && max < HYPERVISOR + MAX_LEAVES,
		       "hypervisor leaves to %#x", max);
	} else {
		report_skip("hypervisor leaves: none is shown");
	}
}

/* keeps - @msr holds each of the @nr values over an exit; its old one is put back. */
static void keeps(u32 msr, const char *name, const u64 *values, unsigned int nr)
{
	u64 old, now = 0;
	bool good = rdmsr_safe(msr, &old);

	for (unsigned int i = 0; good && i < nr; i++) {
		good = wrmsr_safe(msr, values[i]);
		cpuid(0, 0);
		good = good && rdmsr_safe(msr, &now) && now == values[i];
	}
	wrmsr_safe(msr, old);
	report(good, "%s keeps its values", name);
}

static void kept_msrs(void)
{
	static const u64 addresses[] = {0, 0x123456789abc, 0xffff800012345678};
	static const u64 numbers[] = {0, 0x0033002000000000, 0xfff00ff0aaaa5555};
	static const u64 masks[] = {0, 0x47700, 0x3f7fd5};
	static const u64 low[] = {0, 0x10, 0xfff0};
	static const u64 pats[] = {0x0606060606060606, 0x0007050600070106, PAT_RESET};

	keeps(MSR_STAR, "STAR", numbers, ARRAY_SIZE(numbers));
	keeps(MSR_LSTAR, "LSTAR", addresses, ARRAY_SIZE(addresses));
	keeps(MSR_CSTAR, "CSTAR", addresses, ARRAY_SIZE(addresses));
	keeps(MSR_SFMASK, "SFMASK", masks, ARRAY_SIZE(masks));
	keeps(MSR_FS_BASE, "FS.base", addresses, ARRAY_SIZE(addresses));
	keeps(MSR_GS_BASE, "GS.base", addresses, ARRAY_SIZE(addresses));
	keeps(MSR_KERNEL_GS_BASE, "KERNEL_GS_BASE", addresses, ARRAY_SIZE(addresses));
	keeps(MSR_SYSENTER_CS, "SYSENTER_CS", low, ARRAY_SIZE(low));
	keeps(MSR_SYSENTER_ESP, "SYSENTER_ESP", low, ARRAY_SIZE(low));
	keeps(MSR_SYSENTER_EIP, "SYSENTER_EIP", low, ARRAY_SIZE(low));
	keeps(MSR_PAT, "PAT", pats, ARRAY_SIZE(pats));
}

/* A hypervisor lets the processor judge these. */
static void not_canonical(u32 msr, const char *name)
{
	u64 old = rdmsr(msr);

	if (wrmsr_safe(msr, 1ull << 55))
		report_skip("%s not canonical: accepted, as by QEMU's TCG", name);
	else
		report(true, "%s not canonical: #GP", name);
	wrmsr(msr, old);
}

static void refused_msrs(void)
{
	static const u32 unknown[] = {0x2345, 0x1fff, 0x40000fff, 0xc0001fff, 0xdeadbeef};
	u64 v, efer = rdmsr(MSR_EFER);
	unsigned int read = 0, written = 0;

	if (guest_on_qemu()) {
		report_skip("refused MSRs: QEMU's TCG refuses nothing");
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++) {
		read += rdmsr_safe(unknown[i], &v);
		written += wrmsr_safe(unknown[i], 0);
	}
	report(!read && !written, "unknown MSRs: #GP (%u read, %u written)", read, written);
	report(!wrmsr_safe(MSR_EFER, efer & ~(u64)EFER_LME), "EFER.LME off while paging: #GP");
	report(!wrmsr_safe(MSR_EFER, efer | 1ull << 40), "reserved bit of EFER: #GP");
	report(!wrmsr_safe(MSR_PAT, 2), "reserved memory type in PAT: #GP");
	not_canonical(MSR_LSTAR, "LSTAR");
	not_canonical(MSR_GS_BASE, "GS.base");
	report(rdmsr(MSR_EFER) == efer, "EFER is as before");
}

static void known_msrs(void)
{
	u64 base = rdmsr(MSR_APIC_BASE), efer = rdmsr(MSR_EFER);

	report((base & 0xfffff900) == 0xfee00900, "APIC base: FEE00000, on, boot CPU (%#lx)", base);
	report((efer & (EFER_LMA | EFER_LME | EFER_NXE)) == (EFER_LMA | EFER_LME | EFER_NXE),
	       "EFER: long mode, NX (%#lx)", efer);
	report(rdmsr(MSR_PAT) == PAT_RESET, "PAT as after reset");
	wrmsr(MSR_EFER, efer | EFER_SCE);
	report(rdmsr(MSR_EFER) == (efer | EFER_SCE), "EFER.SCE is kept");
	wrmsr(MSR_EFER, efer);
}

static void tsc(void)
{
	u64 last = rdtsc(), from = last;
	unsigned int back = 0;

	for (unsigned int i = 0; i < 10000; i++) {
		u64 now = rdtsc();

		back += now < last;
		last = now;
		if (i % 16 == 0)
			cpuid(0, 0);
	}
	report(!back && last > from, "TSC goes forward (%u times back)", back);
	if (guest_on_qemu())
		report_skip("TSC's MSR: QEMU's TCG reads it as 0");
	else
		report(rdmsr(MSR_TSC) >= last, "and its MSR agrees");
}

static void pattern_fill(u8 *at, unsigned int bytes, u64 seed)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (u8)(random_next(&seed) >> 24);
}

static void vectors(void)
{
	static u8 in[512] aligned(64), out[512] aligned(64);
	u64 registers[2] = {(u64)0x7f80 << 32 | 0x0b7f, 0x400921fb54442d18}, stored[2] = {0, 0};
	u32 lo, hi;

	pattern_fill(in, sizeof(in), 3);
	xmm_over_exits(in, out, EXITS);
	report(!memcmp(in, out, 256), "XMM registers after %d exits", EXITS);
	x87_over_exits(registers, stored, EXITS);
	report((stored[0] & 0xffffffff0000ffff) == registers[0] && stored[1] == registers[1],
	       "x87 register, control word and MXCSR after as many");

	if (!(cpuid(1, 0).ecx & CPUID1_XSAVE)) {
		report_skip("XSAVE: not shown");
		return;
	}
	write_cr4(read_cr4() | CR4_OSXSAVE);
	report(cpuid(1, 0).ecx >> 27 & 1, "CPUID shows OSXSAVE once CR4 has it");
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	report(lo & XCR0_X87, "XCR0 has x87 (%#x)", lo);
	lo = XCR0_X87 | XCR0_SSE | (cpuid(1, 0).ecx & CPUID1_AVX ? XCR0_AVX : 0);
	__asm__ volatile("xsetbv" : : "a"(lo), "d"(0), "c"(0));
	report(cpuid(13, 0).ebx >= 576, "the XSAVE area has a size");
	if (!(lo & XCR0_AVX)) {
		report_skip("YMM registers: no AVX");
		return;
	}
	ymm_over_exits(in, out, EXITS);
	report(!memcmp(in, out, 512), "YMM registers after %d exits", EXITS);
}

static void xsetbv_bad(void *value)
{
	u32 lo = (u32)(u64)value, hi = (u32)((u64)value >> 32);

	__asm__ volatile("xsetbv" : : "a"(lo), "d"(hi), "c"(0));
}

static void xcr0_refused(void)
{
	static const u64 bad[] = {0, 2, 5, 1ull << 62 | 3};
	struct trap t;

	if (!(cpuid(1, 0).ecx & CPUID1_XSAVE))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		t = try_call(xsetbv_bad, (void *)bad[i]);
		report(t.vector == VEC_GP && !t.error, "XCR0 = %#lx: #GP", bad[i]);
	}
}

static void debug_registers(void)
{
	write_dr0(0x1111);
	write_dr1(0x2222222);
	write_dr2(0xffff800000003333);
	write_dr3(0x44444444);
	write_dr7(0x400);
	for (unsigned int i = 0; i < 100; i++)
		cpuid(0, 0);
	report(read_dr0() == 0x1111 && read_dr1() == 0x2222222 &&
		   read_dr2() == 0xffff800000003333 && read_dr3() == 0x44444444,
	       "DR0 to DR3 after exits");
	write_dr6(0xffff0ff0 | 1u << 14);
	report((read_dr6() & 0xe00f) == 1u << 14, "DR6 keeps BS");
	write_dr6(0xffff0ff0);
	write_dr7(0x455); /* local enables, addresses that nothing here runs or touches */
	cpuid(0, 0);
	report((read_dr7() & 0xffff07ff) == 0x455, "DR7 keeps its enables (%#lx)", read_dr7());
	write_dr7(0x400);
}

static void swapgs(void)
{
	wrmsr(MSR_GS_BASE, 0x1000);
	wrmsr(MSR_KERNEL_GS_BASE, 0x2000);
	__asm__ volatile("swapgs" : : : "memory");
	report(rdmsr(MSR_GS_BASE) == 0x2000 && rdmsr(MSR_KERNEL_GS_BASE) == 0x1000,
	       "SWAPGS exchanges the two");
	wrmsr(MSR_GS_BASE, 0);
}

int guest_main(void)
{
	leaves();
	known_msrs();
	kept_msrs();
	refused_msrs();
	tsc();
	swapgs();
	vectors();
	xcr0_refused();
	debug_registers();
	return report_summary();
}
