/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* Disks that fail, and areas that come and go: N5, N6, N7. A read error stops only who needs the page, a
 * write error nobody; nothing is lost; no slot that failed is used again. */
#include "swap_fixture.h"

#include "lib/atomic.h"

#define FOR_EVER 1000000

static void reads_fail(slot_t s, u32 times)
{
	fault_blkdev_fail(&disk, slot_sector(s), slot_sector(s) + 1, true, false, times);
}

/* The next writes of @times requests fail, wherever they go. */
static void writes_fail(u32 times)
{
	fault_blkdev_fail(&disk, 0, disk.dev.nr_sectors, false, true, times);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static void a_read_error_stops_only_who_needs_the_page(void **state)
{
	u64 v;

	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 16; i++)
		store(i, i + 1);
	evict_all(0, 16);
	reads_fail(slot_at(5), FOR_EVER);
	for (u32 round = 0; round < 2; round++) {
		for (u32 i = 0; i < 16; i++) {
			if (i == 5)
				continue;
			assert_int_equal(mm_host_load(at(i), &v), 0); /* readahead may fail, this not */
			assert_int_equal(v, i + 1);
		}
		assert_int_equal(mm_fault(mm, hva(at(5)), ACC_R), -EIO);
		assert_int_equal(mm_fault(mm, hva(at(5)), ACC_W), -EIO);
		assert_int_equal(secondary_fault(&sec, at(5), ACC_R), -EIO);
		assert_true(is_out(5));
		assert_null(slot_page(slot_at(5)));
		secondary_check(&sec);
		audit_clean();
		mm_host_check_tlbs(mm);
		evict_all(0, 5);
		evict_all(6, 16);
	}
	disk_calm(&disk); /* the disk is well again, and nothing was lost */
	assert_int_equal(load(5), 6);
}

static void one_error_is_tried_again(void **state)
{
	(void)state;
	store(0, 1);
	evict_all(0, 1);
	u64 errors = stats().read_errors;
	reads_fail(slot_at(0), 1);
	assert_int_equal(load(0), 1);
	assert_int_equal(stats().read_errors, errors + 1);
}

/* Pages that were read ahead in vain go without a trace, and do not count as written. */
static void pages_of_failed_readahead_are_dropped(void **state)
{
	(void)state;
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	evict_all(0, 32);
	slot_t last = slot_at(7);
	reads_fail(last, 1);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(load(i), i + 1);
	finish();
	audit_clean();
	u64 writes = stats().writes;
	assert_int_equal(mm_set_limit(mm, mm->nr_tables), 0);
	assert_int_equal(stats().writes, writes);
	audit_clean();
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(load(i), i + 1);
}

/* Two wait for one read that fails: each gets the error, or a read of its own. */
static int other_err;

static void fault_as_cpu_1(void *ctx)
{
	u32 was = mm_host_cpu(1);

	other_err = mm_fault(mm, hva((u64)ctx), ACC_R);
	mm_host_cpu(was);
}

static void who_waits_with_another_is_not_stopped_by_its_error(void **state)
{
	(void)state;
	store(0, 1);
	evict_all(0, 1);
	reads_fail(slot_at(0), 2);
	/* Both tries of CPU 1 fail while CPU 0 is on its way to look. */
	race_arm("swap.before_submit", 0, NULL, NULL);
	fault_as_cpu_1((void *)at(0));
	assert_int_equal(other_err, -EIO);
	assert_int_equal(load(0), 1);
}

/* ---- writing ------------------------------------------------------------------------------------- */

static void write_errors_lose_nothing_and_retire_slots(void **state)
{
	(void)state;
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	writes_fail(6);
	u64 errors = stats().write_errors;
	for (u32 i = 0; i < 6; i++)
		evict(i);
	finish();
	assert_int_equal(stats().write_errors, errors + 6);
	assert_int_equal(stats().bad, 6);
	assert_true(host_log_contains("a write to disk0 failed"));
	audit_clean();
	for (u32 i = 0; i < 6; i++) {
		assert_true(slot_read(slot_at(i)).flags & SLOT_BAD);
		assert_non_null(slot_page(slot_at(i))); /* the page is kept */
		page_put(slot_page(slot_at(i)));
		page_put(pfn_to_page(pfn(slot_read(slot_at(i)).value)));
	}
	assert_int_equal(mm_set_limit(mm, mm->nr_tables), 0);
	for (u32 i = 0; i < 32; i++)
		assert_false(slot_read(slot_at(i)).flags & SLOT_BAD);
	audit_clean();
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(load(i), i + 1);
	assert_int_equal(stats().bad, 6);
}

/* Between the end of a write that failed and reclaim's look at it, the page gives up its slot, and another
 * page gets one: it must not be the bad one. */
static void a_slot_is_retired_before_it_can_be_given_up(void **state)
{
	(void)state;
	store(0, 1);
	store(1, 2);
	writes_fail(1);
	evict(0);
	slot_t s = slot_at(0);
	(void)fault_blkdev_run(&disk, 1); /* ended, not harvested */
	store(0, 3);
	assert_int_equal(slot_read(s).flags, SLOT_BAD);
	swap_areas[0].next = slot_index(s);
	evict(1);
	assert_int_not_equal(slot_at(1).v, s.v);
	finish();
	assert_int_equal(load(0), 3);
	assert_int_equal(load(1), 2);
	assert_int_equal(stats().bad, 1);
}

/* A page on a bad slot becomes same-filled: then the slot holds it well. */
static void a_bad_slot_may_note_a_same_filled_page(void **state)
{
	(void)state;
	store(0, 1);
	writes_fail(1);
	evict_all(0, 1);
	assert_int_equal(load(0), 1);
	assert_true(page_test(page_of(0), PG_SWAPCACHE));
	store(0, 0);
	evict_all(0, 1);
	assert_int_equal(slot_read(slot_at(0)).flags, SLOT_BAD | SLOT_SAME);
	assert_int_equal(load(0), 0);
	store(0, 5);
	evict_all(0, 1);
	assert_int_equal(load(0), 5);
	audit_clean();
}

/* All slots are taken, and one page can't leave its bad slot: reclaim gives up in the end. */
static void full_swap_with_a_bad_slot_is_given_up(void **state)
{
	hva_t more;

	(void)state;
	assert_int_equal(mm_region_add(mm, DISK_BYTES, ACC_R | ACC_W, &more), 0);
	store(0, 1);
	writes_fail(1);
	evict_all(0, 1);
	for (u64 i = 0; i < DISK_SLOTS - 1; i++) {
		assert_int_equal(mm_host_store(more.v + i * PAGE_SIZE, i + 1), 0);
		assert_int_equal(mm_evict(mm, hva(more.v + i * PAGE_SIZE)), 0);
		if (i % 16 == 0)
			finish();
	}
	finish();
	assert_int_equal(stats().used, DISK_SLOTS);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables), -ENOMEM);
	assert_int_equal(mm_fault(mm, hva(at(1)), ACC_W), -ENOMEM);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	assert_int_equal(load(0), 1);
	assert_int_equal(load(1), 0);
}

static void a_busy_disk_is_asked_again(void **state)
{
	(void)state;
	disk.busy_every = 2;
	disk.reorder = true;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	evict_all(0, 64);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

/* N5: with every request taken by writes that don't end, reads go on. */
static void reads_do_not_stand_behind_all_writes(void **state)
{
	u32 writes = 0;

	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	evict_all(60, 61);
	for (u32 i = 0; i < 46; i += 2, writes++)
		evict(i);
	assert_int_equal(disk.nr_pending, writes);
	assert_true(writes < FAULT_INFLIGHT);
	assert_int_equal(load(60), 61);
	for (u32 i = 1; i < 46; i += 2)
		evict(i); /* has to wait, and harvests itself */
	finish();
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

/* ---- areas --------------------------------------------------------------------------------------- */

static void areas_fill_by_priority(void **state)
{
	struct swap_area_stats s;

	(void)state;
	assert_int_equal(swap_add(&disk.dev, 1), -EBUSY);
	assert_int_equal(swap_add(&disk_b.dev, 5), 0);
	assert_int_equal(stats().pages, DISK_SLOTS + MIB(2) / PAGE_SIZE - 2);
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	evict_all(0, 32);
	assert_true(swap_area_stats(0, &s));
	assert_ptr_equal(s.dev, &disk.dev);
	assert_int_equal(s.used, 0);
	assert_true(swap_area_stats(1, &s));
	assert_ptr_equal(s.dev, &disk_b.dev);
	assert_int_equal(s.used, 32);
	assert_int_equal(s.priority, 5);
	assert_false(s.going);
	assert_false(swap_area_stats(2, &s));
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(load(i), i + 1);
}

static void swap_off_brings_everything_back(void **state)
{
	(void)state;
	assert_int_equal(swap_off(&disk_b.dev), -ENOENT);
	for (u32 i = 0; i < 40; i++)
		store(i, i + 1);
	evict_all(0, 32);
	for (u32 i = 32; i < 40; i++)
		evict(i); /* under way */
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(load(i), i + 1); /* in memory, with a slot */
	assert_int_equal(swap_off(&disk.dev), 0);
	assert_int_equal(mm->nr_swapped, 0);
	assert_int_equal(stats().pages, 0);
	audit_clean();
	assert_int_equal(mm_evict(mm, hva(at(0))), -EAGAIN);
	for (u32 i = 0; i < 40; i++)
		assert_int_equal(load(i), i + 1);
}

static void swap_off_moves_what_does_not_fit_to_another_area(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables + 12), 0);
	finish();
	assert_int_equal(swap_add(&disk_b.dev, -1), 0);
	u64 reads = stats().reads;
	assert_int_equal(swap_off(&disk.dev), 0);
	assert_true(stats().reads - reads < 100);
	finish();
	assert_true(mm->nr_swapped >= 52);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
	audit_clean();
}

static void swap_off_without_room_leaves_the_area_in_use(void **state)
{
	struct swap_area_stats s;

	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables + 12), 0);
	finish();
	assert_int_equal(swap_off(&disk.dev), -ENOMEM);
	assert_true(swap_area_stats(0, &s) && !s.going);
	audit_clean();
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
	thread_current()->kill = true;
	assert_int_equal(swap_off(&disk.dev), -EINTR);
	thread_current()->kill = false;
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
}

static void swap_off_leaves_what_cannot_be_read(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		store(i, i + 1);
	evict_all(0, 8);
	reads_fail(slot_at(3), FOR_EVER);
	assert_int_equal(swap_off(&disk.dev), -EIO);
	assert_true(is_out(3));
	for (u32 i = 0; i < 8; i++)
		if (i != 3)
			assert_int_equal(load(i), i + 1);
	zap_locked(3, 4);
	assert_int_equal(swap_off(&disk.dev), 0);
}

/* A page still lives on a bad slot: the area is not empty. */
static void swap_off_empties_bad_slots(void **state)
{
	(void)state;
	store(0, 1);
	writes_fail(1);
	evict_all(0, 1);
	assert_true(slot_read(slot_at(0)).flags & SLOT_BAD);
	assert_int_equal(swap_off(&disk.dev), 0);
	assert_int_equal(load(0), 1);
	assert_int_equal(swap_add(&disk.dev, 0), 0);
	assert_int_equal(stats().bad, 0);
	evict_all(0, 1);
	assert_int_equal(load(0), 1);
}

static u64 last_done, last_of;

static void progress(u64 done, u64 of)
{
	assert_true(done > last_done && done <= of);
	last_done = done;
	last_of = of;
}

static void wiping_leaves_zeros_and_headers(void **state)
{
	u8 head[SWAP_HEADER_BYTES];

	(void)state;
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	evict_all(0, 32);
	assert_int_equal(swap_wipe(&disk.dev, NULL), -EBUSY);
	assert_int_equal(swap_off(&disk.dev), 0);
	memcpy(head, disk.data, sizeof(head));
	last_done = 0;
	assert_int_equal(swap_wipe(&disk.dev, progress), 0);
	assert_int_equal(last_done, DISK_SLOTS);
	assert_int_equal(last_of, DISK_SLOTS);
	assert_memory_equal(disk.data, head, sizeof(head));
	assert_memory_equal(disk.data + DISK_BYTES - sizeof(head), head, sizeof(head));
	for (u64 i = sizeof(head); i < DISK_BYTES - sizeof(head); i++)
		if (disk.data[i])
			fail_msg("byte %#lx is %#x", i, disk.data[i]);
	writes_fail(1);
	assert_int_equal(swap_wipe(&disk.dev, NULL), -EIO);
	assert_false(blkdev_is_open(&disk.dev));
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(load(i), i + 1);
}

static void foreign_disks_are_not_used(void **state)
{
	(void)state;
	disk_b.data[100] ^= 1;
	assert_int_equal(swap_add(&disk_b.dev, 0), -EINVAL);
	assert_int_equal(swap_wipe(&disk_b.dev, NULL), -EINVAL);
	disk_b.data[100] ^= 1;
	disk_b.dev.read_only = true;
	assert_int_equal(swap_add(&disk_b.dev, 0), -EINVAL);
	disk_b.dev.read_only = false;
	frame_fail_every(1);
	assert_int_equal(swap_add(&disk_b.dev, 0), -ENOMEM);
	frame_fail_every(0);
	fault_blkdev_fail(&disk_b, 0, 1, true, false, 1);
	assert_int_equal(swap_add(&disk_b.dev, 0), -EIO);
	assert_false(blkdev_is_open(&disk_b.dev));
}

/* ---- the end of an mm ---------------------------------------------------------------------------- */

static void an_mm_ends_with_requests_under_way(void **state)
{
	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	evict_all(0, 16);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(load(i), i + 1);
	for (u32 i = 16; i < 32; i++)
		evict(i);
	writes_fail(2);
	disk.reorder = true;
	assert_true(disk.nr_pending > 8);
	mm_host_use(NULL);
	mm_exit(mm);
	mm = NULL;
	assert_int_equal(sec.released, 1);
	assert_int_equal(stats().used - 2, 0);
	assert_int_equal(stats().bad, 2);
	assert_int_equal(swap_off(&disk.dev), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(a_read_error_stops_only_who_needs_the_page),
		swap_test(one_error_is_tried_again),
		swap_test(pages_of_failed_readahead_are_dropped),
		swap_test(who_waits_with_another_is_not_stopped_by_its_error),
		swap_test(write_errors_lose_nothing_and_retire_slots),
		swap_test(a_slot_is_retired_before_it_can_be_given_up),
		swap_test(a_bad_slot_may_note_a_same_filled_page),
		swap_test(full_swap_with_a_bad_slot_is_given_up),
		swap_test(a_busy_disk_is_asked_again),
		swap_test(reads_do_not_stand_behind_all_writes),
		swap_test(areas_fill_by_priority),
		swap_test(swap_off_brings_everything_back),
		swap_test(swap_off_moves_what_does_not_fit_to_another_area),
		swap_test(swap_off_without_room_leaves_the_area_in_use),
		swap_test(swap_off_leaves_what_cannot_be_read),
		swap_test(swap_off_empties_bad_slots),
		swap_test(wiping_leaves_zeros_and_headers),
		swap_test(foreign_disks_are_not_used),
		swap_test(an_mm_ends_with_requests_under_way),
	};

	swap_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
