/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of swap and reclaim begin and end with: the mm of mm_fixture.h, and a disk with a Neap
 * swap area, in use. Time passes by one request that ends. At the end the area can be let go of, so no
 * slot is lost (N10). Included by one file of a program. */
#pragma once

#include "mm_fixture.h"

#include "fault_blkdev.h"
#include "lib/swap_header.h"
#include "block/disk.h"
#include "mm/reclaim.h"
#include "mm/swap.h"

#define DISK_BYTES (MIB(4))
#define DISK_SLOTS (DISK_BYTES / PAGE_SIZE - 2)

static struct fault_blkdev disk, disk_b;

/* pass_time - a request ends; where none is left, the reclaim thread has its turn. */
static bool pass_time(void)
{
	if (fault_blkdev_run(&disk, 1) + fault_blkdev_run(&disk_b, 1))
		return true;
	if (mm_host_threads || !swap_has_harvest())
		return false;
	(void)swap_harvest();
	return true;
}

/* disk_make - a disk that is a swap area. => once */
static void disk_make(struct fault_blkdev *d, const char *name, u64 bytes)
{
	u8 uuid[UUID_BYTES] = {1, 2, (u8)name[4]};

	fault_blkdev_init(d, name, bytes);
	swap_header_make(d->data, uuid, bytes);
	swap_header_make(d->data + bytes - SWAP_HEADER_BYTES, uuid, bytes);
	blkdev_add(&d->dev);
}

static void disk_calm(struct fault_blkdev *d)
{
	d->at_once = d->reorder = false;
	d->early = d->busy_every = 0;
	memset(d->ranges, 0, sizeof(d->ranges));
}

static void swap_start(u64 ram)
{
	mm_host_start(ram);
	mm_host_pass_time = pass_time;
	disk_make(&disk, "disk0", DISK_BYTES);
	disk_make(&disk_b, "disk1", MIB(2));
	disk_scan();
	reclaim_init();
}

/* ---- what tests do all the time ---------------------------------------------------------------- */

/* finish - everything under way ends, and is looked at. */
static void finish(void)
{
	while (fault_blkdev_run(&disk, FAULT_INFLIGHT) + fault_blkdev_run(&disk_b, FAULT_INFLIGHT))
		;
	(void)swap_harvest();
}

static unused void evict(u32 i)
{
	assert_int_equal(mm_evict(mm, hva(at(i))), 0);
}

static unused void evict_all(u32 from, u32 to)
{
	for (u32 i = from; i < to; i++)
		evict(i);
	finish();
}

static unused bool is_out(u32 i)
{
	return pte_is_swap(pte_at(at(i)));
}

static unused slot_t slot_at(u32 i)
{
	assert_true(is_out(i));
	return pte_slot(pte_at(at(i)));
}

static unused u64 slot_sector(slot_t s)
{
	return swap_areas[slot_area(s)].first_sector + (u64)slot_index(s) * 8;
}

static unused void store(u32 i, u64 value)
{
	assert_int_equal(mm_host_store(at(i), value), 0);
}

static unused u64 load(u32 i)
{
	u64 v = ~0ull;

	assert_int_equal(mm_host_load(at(i), &v), 0);
	return v;
}

static unused struct page *page_of(u32 i)
{
	assert_true(pte_present(pte_at(at(i))));
	return pfn_to_page(pte_pfn(pte_at(at(i))));
}

static unused struct swap_stats stats(void)
{
	struct swap_stats s;

	swap_stats(&s);
	return s;
}

/* share_slot - the PTE of page @to, which is none, names the slot of page @from as well: what a clone of
 * the mm would do. */
static unused void share_slot(u32 from, u32 to)
{
	slot_t s = slot_at(from);

	spin_lock(&mm->pt_lock);
	assert_true(pte_none(pte_at(at(to))));
	slot_get(s);
	atomic_store(mm_entry(mm, at(to)), pte_of_slot(s).v);
	mm->nr_swapped++;
	spin_unlock(&mm->pt_lock);
}

/* ---- begin and end ----------------------------------------------------------------------------- */

static int swap_setup(void **state)
{
	setup(state);
	assert_int_equal(reclaim_policy_set("lru2"), 0);
	assert_int_equal(swap_add(&disk.dev, 0), 0);
	return 0;
}

static int swap_teardown(void **state)
{
	mutant_select(NULL);
	race_arm(NULL, 0, NULL, NULL);
	frame_fail_every(0);
	disk_calm(&disk);
	disk_calm(&disk_b);
	thread_current()->kill = false;
	for (u32 i = MM_HOST_CPUS; i-- > 0;) {
		mm_host_cpu(i);
		mm_host_use(NULL);
	}
	finish();
	if (mm) {
		audit_clean();
		mm_exit(mm);
		mm = NULL;
	}
	for (struct blkdev *d = blkdev_next(NULL); d; d = blkdev_next(d))
		if (blkdev_is_open(d))
			assert_int_equal(swap_off(d), 0);
	assert_int_equal(stats().used, 0);
	assert_int_equal(stats().pages, 0);
	return teardown(state);
}

#define swap_test(f) cmocka_unit_test_setup_teardown(f, swap_setup, swap_teardown)
