/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/amd/svm_probe.c kernel/lib/format.c kernel/lib/string.c */
/* May this processor's SVM be used? Each refusal, firmware's lock included, with words that tell
 * the operator what to do. */
#include "host.h"

#include "vmm/amd/svm.h"

#define LOCK   (1ull << 3)
#define SVMDIS (1ull << 4)

static const struct svm_probe good = {
	.vendor_amd_like = true,
	.cpuid_svm = true,
	.vm_cr_readable = true,
	.max_ext_leaf = 0x8000001f,
	.nr_asids = 16,
	.features = SVM_FEATURE_NPT,
};

static void assert_accepted(const struct svm_probe *p)
{
	char why[128] = "untouched";

	assert_int_equal(svm_decide(p, why, sizeof(why)), 0);
}

/* Refused in one line that fits and says all of @a and @b. */
static void assert_refused(const struct svm_probe *p, const char *a, const char *b)
{
	char why[200];

	assert_int_equal(svm_decide(p, why, sizeof(why)), -ENODEV);
	if (!strstr(why, a) || !strstr(why, b))
		fail_msg("\"%s\" does not say \"%s\" and \"%s\"", why, a, b);
	assert_null(strchr(why, '\n'));
	assert_true(strlen(why) < 190);
}

static void accepted(unused void **state)
{
	struct svm_probe p = good;

	assert_accepted(&p);
	p.vendor_amd_like = false; /* the bit counts, not the name */
	assert_accepted(&p);
	p.features |= SVM_FEATURE_NRIP | SVM_FEATURE_FLUSH_ASID;
	assert_accepted(&p);
	p.nr_asids = 2;
	assert_accepted(&p);
	p.max_ext_leaf = 0x8000000a;
	assert_accepted(&p);
}

static void no_svm(unused void **state)
{
	struct svm_probe p = good;

	p.cpuid_svm = false;
	assert_refused(&p, "no SVM", "+svm");
	p = good;
	p.max_ext_leaf = 0x80000009;
	assert_refused(&p, "no SVM", "+svm");
	p = (struct svm_probe){0};
	assert_refused(&p, "no SVM", "+svm");
}

static void firmware(unused void **state)
{
	struct svm_probe p = good;

	p.vm_cr = SVMDIS;
	assert_refused(&p, "switched off by firmware", "setup");
	p.vm_cr = LOCK | SVMDIS;
	assert_refused(&p, "locked by firmware", "setup");
	p.vm_cr = LOCK; /* locked, but on */
	assert_accepted(&p);
	p.vm_cr = ~(u64)(LOCK | SVMDIS);
	assert_accepted(&p);
}

/* Where VM_CR does not exist nothing can be locked, whatever was left in the field. */
static void vm_cr_unreadable(unused void **state)
{
	struct svm_probe p = good;

	p.vm_cr_readable = false;
	p.vm_cr = LOCK | SVMDIS;
	assert_accepted(&p);
}

static void no_nested_paging(unused void **state)
{
	struct svm_probe p = good;

	p.features = ~(u32)SVM_FEATURE_NPT;
	assert_refused(&p, "nested paging", "+npt");
}

static void too_few_asids(unused void **state)
{
	struct svm_probe p = good;

	p.nr_asids = 1;
	assert_refused(&p, "1 address-space ids", "2 are needed");
	p.nr_asids = 0;
	assert_refused(&p, "0 address-space ids", "2 are needed");
}

/* The first reason is told: firmware's lock before what the processor lacks. */
static void order_of_reasons(unused void **state)
{
	struct svm_probe p = good;

	p.vm_cr = LOCK | SVMDIS;
	p.features = 0;
	p.nr_asids = 0;
	assert_refused(&p, "locked", "firmware");
	p.cpuid_svm = false;
	assert_refused(&p, "no SVM", "");
}

/* A short buffer is cut, never overrun. */
static void short_buffer(unused void **state)
{
	struct svm_probe p = good;
	char why[16];

	p.cpuid_svm = false;
	memset(why, 'x', sizeof(why));
	assert_int_equal(svm_decide(&p, why, 8), -ENODEV);
	assert_int_equal(why[7], 0);
	assert_int_equal(why[8], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(no_svm),
		cmocka_unit_test(firmware),
		cmocka_unit_test(vm_cr_unreadable),
		cmocka_unit_test(no_nested_paging),
		cmocka_unit_test(too_few_asids),
		cmocka_unit_test(order_of_reasons),
		cmocka_unit_test(short_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
