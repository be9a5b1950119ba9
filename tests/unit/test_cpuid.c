/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/cpuid.c */
/* The guest's CPUID, from hosts that have everything, nothing, and anything: what is not on the
 * list never comes through. */
#include "host.h"

#include "vmm/cpuid.h"

#define BIT(n) (1u << (n))
#define AVX    7ull
#define SSE    3ull

/* What may come through at most, written down once more and apart from the policy. */
enum {
	MAY_1_EDX = 0x178bfbff & ~BIT(18) & ~BIT(28),
	MAY_1_ECX = BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) |
		    BIT(25) | BIT(30),
	MAY_1_ECX_XSAVE = BIT(26),
	MAY_1_ECX_AVX = BIT(12) | BIT(28) | BIT(29),
	MAY_7_EBX = BIT(0) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(18) | BIT(19) | BIT(20) |
		    BIT(23) | BIT(24) | BIT(29),
	MAY_7_EBX_AVX = BIT(5),
	TSC_ADJUST = BIT(1), /* ours */
	MAY_EXT_EDX = 0x0183fbff | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(29),
	MAY_EXT_ECX = BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8),
	APIC = BIT(9),
	HTT = BIT(28),
	CMP_LEGACY = BIT(1),
	OSXSAVE = BIT(27),
	HYPERVISOR = 1u << 31,
	DEADLINE = BIT(24) | BIT(21), /* and x2APIC: ours, where there is a local APIC */
};

static struct cpuid_leaf host_all(u32 leaf, unused u32 subleaf)
{
	if (leaf == 0xd && subleaf == 2)
		return (struct cpuid_leaf){256, 576, ~0u, ~0u};
	return (struct cpuid_leaf){~0u, ~0u, ~0u, ~0u};
}

/* An old one: leaf 1 is its last, no extended leaves. */
static struct cpuid_leaf host_old(u32 leaf, unused u32 subleaf)
{
	if (leaf == 0)
		return (struct cpuid_leaf){1, 0x68747541, 0x444d4163, 0x69746e65};
	if (leaf == 1)
		return (struct cpuid_leaf){0x600, 0, 0, BIT(0) | BIT(4) | BIT(9) | BIT(18)};
	return (struct cpuid_leaf){0x12345678, 0x9abcdef0, 0x55555555, 0xaaaaaaaa};
}

static struct rng chance;
static struct cpuid_leaf host_any_leaf[0x60];

static struct cpuid_leaf host_any(u32 leaf, u32 subleaf)
{
	u32 kind = (leaf >> 31) * 0x20 + (subleaf != 0) * 0x10;
	struct cpuid_leaf l = host_any_leaf[(leaf & 0x1f) + kind];

	if (leaf == 0)
		l.eax &= 0x3f;
	if (leaf == 0x80000000)
		l.eax = 0x80000000 | (l.eax & 0x3f);
	return l;
}

static struct cpuid_table table;

static struct cpuid_policy policy(struct cpuid_leaf (*host)(u32, u32))
{
	return (struct cpuid_policy){
		.host = host, .xcr0_allowed = AVX, .nr_vcpus = 1, .apic = true, .tsc_khz = 2500000,
	};
}

static struct cpuid_leaf ask(u32 leaf, u32 subleaf)
{
	const struct cpuid_vcpu v = {.xcr0 = 1};

	return cpuid_answer(&table, &v, leaf, subleaf);
}

static void assert_empty(u32 leaf, u32 subleaf)
{
	struct cpuid_leaf l = ask(leaf, subleaf);

	if (l.eax | l.ebx | l.ecx | l.edx)
		fail_msg("leaf %#x.%u: %x %x %x %x", leaf, subleaf, l.eax, l.ebx, l.ecx, l.edx);
}

/* Exactly the list, from a host that has all. */
static void list_and_no_more(unused void **state)
{
	struct cpuid_policy p = policy(host_all);

	cpuid_build(&table, &p);
	struct cpuid_leaf l = ask(1, 0);
	assert_int_equal(l.edx, MAY_1_EDX);
	assert_int_equal(l.ecx, MAY_1_ECX | MAY_1_ECX_XSAVE | MAY_1_ECX_AVX | HYPERVISOR | DEADLINE);
	assert_int_equal(l.ebx, 0x0001ff00);
	l = ask(7, 0);
	assert_int_equal(l.ebx, MAY_7_EBX | MAY_7_EBX_AVX | TSC_ADJUST);
	assert_int_equal(l.eax | l.ecx | l.edx, 0);
	l = ask(0x80000001, 0);
	assert_int_equal(l.edx, MAY_EXT_EDX);
	assert_int_equal(l.ecx, MAY_EXT_ECX);
	l = ask(0x80000007, 0);
	assert_int_equal(l.edx, BIT(8));
	assert_int_equal(l.eax | l.ebx | l.ecx, 0);
	l = ask(0x80000008, 0);
	assert_int_equal(l.eax, 0xffff);
	assert_int_equal(l.ebx | l.ecx | l.edx, 0);
	assert_int_equal(ask(0, 0).eax, 0xd);
	assert_int_equal(ask(0x80000000, 0).eax, 0x80000008);
}

/* By name, those that would break something. */
static void nothing_that_breaks(unused void **state)
{
	struct cpuid_policy p = policy(host_all);

	cpuid_build(&table, &p);
	struct cpuid_leaf l = ask(1, 0);
	const u32 vmx = BIT(5), smx = BIT(6), monitor = BIT(3), pdcm = BIT(15), pcid = BIT(17);
	assert_int_equal(l.ecx & (vmx | smx | monitor | pdcm | pcid), 0);
	assert_int_equal(l.ecx & OSXSAVE, 0);
	const u32 ds = BIT(21), acpi = BIT(22), tm = BIT(29), pbe = BIT(31);
	assert_int_equal(l.edx & (ds | acpi | tm | pbe), 0);
	l = ask(0x80000001, 0);
	const u32 svm = BIT(2), ibs = BIT(10), skinit = BIT(12), topology = BIT(22),
		  perf = BIT(23) | BIT(24);
	assert_int_equal(l.ecx & (svm | ibs | skinit | topology | perf), 0);
	assert_int_equal(l.edx & BIT(27), 0); /* RDTSCP: TSC_AUX is not saved */
	l = ask(7, 0);
	const u32 rtm = BIT(11), mpx = BIT(14), avx512 = BIT(16), pt = BIT(25), sgx = BIT(2);
	assert_int_equal(l.ebx & (rtm | mpx | avx512 | pt | sgx), 0);
	for (u32 leaf = 3; leaf < 0xd; leaf++)
		if (leaf != 7 && leaf != 0xb)
			assert_empty(leaf, 0); /* monitor, power, performance counters, the host's caches */
	assert_empty(7, 1);
	for (u32 leaf = 0xe; leaf < 0x40; leaf++)
		assert_empty(leaf, 0);
	for (u32 leaf = 0x80000009; leaf < 0x80000040; leaf++)
		assert_empty(leaf, 0); /* SVM's own at 8000000a */
	assert_empty(0xffffffff, 0);
	assert_empty(0x7fffffff, 0);
}

static void without_xsave(unused void **state)
{
	struct cpuid_policy p = policy(host_all);

	p.xcr0_allowed = 0;
	cpuid_build(&table, &p);
	assert_int_equal(ask(0, 0).eax, 0xb);
	assert_int_equal(ask(1, 0).ecx, MAY_1_ECX | HYPERVISOR | DEADLINE);
	assert_int_equal(ask(7, 0).ebx, MAY_7_EBX | TSC_ADJUST);
	assert_empty(0xd, 0);
	assert_empty(0xd, 2);
}

static void xsave_without_avx(unused void **state)
{
	struct cpuid_policy p = policy(host_all);
	struct cpuid_vcpu v = {.xcr0 = SSE, .osxsave = true};

	p.xcr0_allowed = SSE;
	cpuid_build(&table, &p);
	assert_int_equal(cpuid_answer(&table, &v, 1, 0).ecx,
			 MAY_1_ECX | MAY_1_ECX_XSAVE | OSXSAVE | HYPERVISOR | DEADLINE);
	assert_int_equal(ask(7, 0).ebx, MAY_7_EBX | TSC_ADJUST);
	struct cpuid_leaf l = cpuid_answer(&table, &v, 0xd, 0);
	assert_int_equal(l.eax, SSE);
	assert_int_equal(l.ebx, 576);
	assert_int_equal(l.ecx, 576);
	assert_int_equal(l.edx, 0);
	assert_empty(0xd, 2);
}

static void xsave_size_follows_xcr0(unused void **state)
{
	struct cpuid_policy p = policy(host_all);
	struct cpuid_vcpu v = {.xcr0 = SSE};

	cpuid_build(&table, &p);
	assert_int_equal(cpuid_answer(&table, &v, 0xd, 0).ebx, 576);
	v.xcr0 = AVX;
	struct cpuid_leaf l = cpuid_answer(&table, &v, 0xd, 0);
	assert_int_equal(l.eax, AVX);
	assert_int_equal(l.ebx, 576 + 256);
	assert_int_equal(l.ecx, 576 + 256);
	assert_int_equal(ask(0xd, 1).eax, 1); /* XSAVEOPT; XSAVES and XSAVEC stay out */
	assert_int_equal(ask(0xd, 1).ebx | ask(0xd, 1).ecx | ask(0xd, 1).edx, 0);
	assert_int_equal(ask(0xd, 2).eax, 256);
	assert_int_equal(ask(0xd, 2).ebx, 576);
	assert_empty(0xd, 3);
	assert_empty(0xd, 63);
	assert_empty(0xd, 0xffffffff);
}

static void several_vcpus(unused void **state)
{
	struct cpuid_policy p = policy(host_all);
	struct cpuid_vcpu v = {.apic_id = 3, .xcr0 = 1};

	p.nr_vcpus = 4;
	cpuid_build(&table, &p);
	struct cpuid_leaf l = cpuid_answer(&table, &v, 1, 0);
	assert_int_equal(l.ebx, 0x0304ff00);
	assert_int_equal(l.edx, MAY_1_EDX | HTT);
	assert_int_equal(ask(1, 0).ebx, 0x0004ff00);
	assert_int_equal(ask(0x80000001, 0).ecx, MAY_EXT_ECX | CMP_LEGACY);
	assert_int_equal(ask(0x80000008, 0).ecx, 3);
}

static void apic_is_hidden(unused void **state)
{
	struct cpuid_policy p = policy(host_all);

	p.apic = false;
	cpuid_build(&table, &p);
	assert_int_equal(ask(1, 0).ecx & DEADLINE, 0);
	for (u32 level = 0; level < 4; level++)
		assert_empty(0xb, level);
	assert_int_equal(ask(1, 0).edx, MAY_1_EDX & ~APIC);
	assert_int_equal(ask(0x80000001, 0).edx, MAY_EXT_EDX & ~APIC);
}

/* As Linux walks it: until a level of type 0; each shift must tell the levels below apart. */
static void topology(unused void **state)
{
	static const u32 bits[] = {0, 0, 1, 2, 2, 3, 3, 3, 3};
	struct cpuid_policy p = policy(host_all);

	for (u32 nr = 1; nr <= 8; nr++) {
		p.nr_vcpus = nr;
		cpuid_build(&table, &p);
		for (u32 id = 0; id < nr; id++) {
			const struct cpuid_vcpu v = {.apic_id = id, .xcr0 = 1};
			const struct cpuid_leaf want[] = {
				{0, 1, 0x100, id}, {bits[nr], nr, 0x201, id}, {0, 0, 2, id}, {0, 0, 3, id},
			};
			for (u32 level = 0; level < 4; level++) {
				struct cpuid_leaf l = cpuid_answer(&table, &v, 0xb, level);
				assert_memory_equal(&l, &want[level], sizeof(l));
			}
			struct cpuid_leaf l = cpuid_answer(&table, &v, 0xb, 0xffffffff);
			assert_true(l.eax == 0 && l.ebx == 0 && l.ecx == 0xff && l.edx == id);
			assert_int_equal(cpuid_answer(&table, &v, 1, 0).ebx >> 16, nr | id << 8);
		}
	}
}

static void hypervisor_leaves(unused void **state)
{
	struct cpuid_policy p = policy(host_all);

	cpuid_build(&table, &p);
	struct cpuid_leaf l = ask(CPUID_HV_BASE, 0);
	assert_int_equal(l.eax, CPUID_HV_BASE + 0x10);
	assert_memory_equal(&l.ebx, "NeapNeapNeap", 12);
	assert_int_equal(ask(CPUID_HV_BASE + 0x10, 0).eax, 2500000);
	for (u32 leaf = CPUID_HV_BASE + 1; leaf < CPUID_HV_BASE + 0x200; leaf++)
		if (leaf != CPUID_HV_BASE + 0x10)
			assert_empty(leaf, 0);
}

/* Leaves that the host lacks are not asked: an old one answers them with nonsense. */
static void old_host(unused void **state)
{
	struct cpuid_policy p = policy(host_old);

	p.xcr0_allowed = 0;
	cpuid_build(&table, &p);
	assert_int_equal(ask(0, 0).eax, 0xb);
	struct cpuid_leaf l = ask(1, 0);
	assert_int_equal(l.eax, 0x600);
	assert_int_equal(l.edx, BIT(0) | BIT(4) | APIC);
	assert_int_equal(l.ecx & ~DEADLINE, HYPERVISOR);
	for (u32 leaf = 2; leaf < 0x20; leaf++)
		if (leaf != 7 && leaf != 0xb)
			assert_empty(leaf, 0);
	assert_int_equal(ask(7, 0).ebx, TSC_ADJUST);
	p.apic = false;
	cpuid_build(&table, &p);
	assert_int_equal(ask(0, 0).eax, 1);
	assert_int_equal(ask(0x80000000, 0).eax, 0x80000000);
	for (u32 leaf = 0x80000001; leaf < 0x80000020; leaf++)
		assert_empty(leaf, 0);
}

static void any_host(unused void **state)
{
	for (int round = 0; round < 2000; round++) {
		struct cpuid_policy p = policy(host_any);
		const u64 xcr0s[] = {0, SSE, AVX};

		for (size_t i = 0; i < ARRAY_SIZE(host_any_leaf); i++) {
			u64 a = rng_next(&chance), b = rng_next(&chance);
			host_any_leaf[i] = (struct cpuid_leaf){a, a >> 32, b, b >> 32};
		}
		p.xcr0_allowed = xcr0s[round % 3];
		p.apic = round & 4;
		cpuid_build(&table, &p);
		u32 avx = p.xcr0_allowed == AVX;
		u32 ecx = MAY_1_ECX | (p.xcr0_allowed ? MAY_1_ECX_XSAVE : 0) | avx * MAY_1_ECX_AVX;
		struct cpuid_leaf host = host_any(1, 0), l = ask(1, 0);
		if (ask(0, 0).eax >= 1) {
			assert_int_equal(l.ecx,
					 (host.ecx & ecx) | HYPERVISOR | (p.apic ? DEADLINE : 0));
			assert_int_equal(l.edx & ~APIC, host.edx & MAY_1_EDX & ~APIC);
			assert_int_equal(l.edx & APIC, p.apic ? APIC : 0);
		}
		assert_int_equal(ask(7, 0).ebx & ~(MAY_7_EBX | TSC_ADJUST | avx * MAY_7_EBX_AVX), 0);
		assert_int_equal(ask(0x80000001, 0).ecx & ~MAY_EXT_ECX, 0);
		assert_int_equal(ask(0x80000001, 0).edx & ~MAY_EXT_EDX, 0);
		assert_true(ask(0, 0).eax <= 0xd && ask(0x80000000, 0).eax <= 0x80000008);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_and_no_more),
		cmocka_unit_test(nothing_that_breaks),
		cmocka_unit_test(without_xsave),
		cmocka_unit_test(xsave_without_avx),
		cmocka_unit_test(xsave_size_follows_xcr0),
		cmocka_unit_test(several_vcpus),
		cmocka_unit_test(apic_is_hidden),
		cmocka_unit_test(topology),
		cmocka_unit_test(hypervisor_leaves),
		cmocka_unit_test(old_host),
		cmocka_unit_test(any_host),
	};

	chance = rng_seeded(0xc01d);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
