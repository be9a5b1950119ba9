/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of one mm begin and end with: an mm with a region of 64 pages, in use by CPU 0; at
 * the end everything must have come back (N10). Included by one file of a program. */
#pragma once

#include "mm_host.h"

#include "lib/mutant.h"
#include "mm/mm_internal.h"

static struct mm *mm;
static u64 base; /* of a region of 64 pages */
static u64 frames_before;
static unused struct secondary sec;

static u64 at(u32 i)
{
	return base + i * PAGE_SIZE;
}

static pte_t pte_at(u64 va)
{
	const u64 *entry = mm_entry(mm, va);

	return (pte_t){entry ? *entry : 0};
}

static void zap_locked(u32 from, u32 to)
{
	rwsem_read_lock(&mm->mmap_lock);
	mm_zap_range(mm, at(from), at(to));
	rwsem_read_unlock(&mm->mmap_lock);
}

/* For race_arm: another CPU takes all pages away. */
static unused void zap_as_cpu_1(void *ctx)
{
	u32 was = mm_host_cpu(1);

	(void)ctx;
	zap_locked(0, 64);
	mm_host_cpu(was);
}

static void audit_clean(void)
{
	assert_int_equal(mm_host_audit(), 0);
}

static int setup(void **state)
{
	hva_t start;

	(void)state;
	mutant_select(NULL);
	race_arm(NULL, 0, NULL, NULL);
	mm_host_cpu(0);
	frames_before = mm_host_free_frames();
	mm = mm_create(&machine_counter);
	assert_non_null(mm);
	assert_int_equal(mm_region_add(mm, 64 * PAGE_SIZE, ACC_R | ACC_W, &start), 0);
	base = start.v;
	mm_host_use(mm);
	return 0;
}

/* N10, and nothing was noticed that the test did not take. */
static int teardown(void **state)
{
	(void)state;
	mutant_select(NULL);
	frame_fail_every(0);
	for (u32 i = MM_HOST_CPUS; i-- > 0;) {
		mm_host_cpu(i);
		mm_host_use(NULL);
	}
	if (mm) {
		audit_clean();
		mm_exit(mm);
	}
	mm = NULL;
	assert_int_equal(mm_host_audit(), 0);
	assert_int_equal(machine_counter.usage, 0);
	assert_int_equal(mm_host_free_frames(), frames_before);
	assert_int_equal(mm_host_take(), 0);
	return 0;
}

#define mm_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
