/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* Pages go to swap and come back, one at a time: what is written and what is not, readahead, shared
 * slots, taps on the way, failing allocations. Errors of the disk: test_swap_errors.c. */
#include "swap_fixture.h"

#include "lib/atomic.h"
#include "mm/uaccess.h"

static void contents_come_back(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, 100 + i);
	u64 usage = mm->counter.usage;
	evict_all(0, 64);
	assert_int_equal(mm->nr_anon, 0);
	assert_int_equal(mm->nr_swapped, 64);
	assert_int_equal(mm->swapouts, 64);
	assert_int_equal(mm->counter.usage, usage - 64);
	assert_int_equal(stats().used, 64);
	assert_int_equal(stats().pages, DISK_SLOTS);
	assert_int_equal(swap_pages_in_flight(), 0);
	audit_clean();
	for (u32 i = 0; i < 64; i++) {
		mm_host_cpu(i % 3);
		mm_host_use(mm);
		assert_int_equal(load(i), 100 + i);
		mm_host_check_tlbs(mm);
	}
	assert_int_equal(mm->swapins, 64);
	assert_int_equal(mm->nr_swapped, 0);
}

static void same_filled_pages_need_no_disk(void **state)
{
	static const u32 fill[] = {0, 1, 0xffffffff, 0xa5a5a5a5};
	u64 writes = stats().writes, reads = stats().reads, same = stats().same_out;

	(void)state;
	for (u32 i = 0; i < 4; i++)
		for (u32 k = 0; k < 512; k++)
			assert_int_equal(mm_host_store(at(i) + k * 8, fill[i] * 0x100000001ull), 0);
	evict_all(0, 4);
	assert_int_equal(stats().writes, writes);
	assert_int_equal(stats().same_out, same + 4);
	for (u32 i = 0; i < 4; i++) {
		assert_int_equal(slot_read(slot_at(i)).flags, SLOT_SAME);
		assert_int_equal(slot_read(slot_at(i)).value, fill[i]);
	}
	for (u32 i = 0; i < 4; i++) {
		assert_int_equal(load(i), fill[i] * 0x100000001ull);
		u64 v;
		assert_int_equal(mm_host_load(at(i) + 4088, &v), 0);
		assert_int_equal(v, fill[i] * 0x100000001ull);
	}
	assert_int_equal(stats().reads, reads);
	/* One bit makes a page that must be written. */
	assert_int_equal(mm_host_store(at(0) + 4088, 1ull << 63), 0);
	evict_all(0, 1);
	assert_int_equal(stats().writes, writes + 1);
	assert_int_equal(load(0), 0);
}

static void clean_pages_leave_without_a_write(void **state)
{
	(void)state;
	store(0, 7);
	evict_all(0, 1);
	u64 writes = stats().writes, drops = stats().clean_drops;
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(load(0), 7);
		assert_true(page_test(page_of(0), PG_SWAPCACHE));
		evict_all(0, 1);
	}
	assert_int_equal(stats().writes, writes);
	assert_int_equal(stats().clean_drops, drops + 3);
	/* Written through a PTE that was made for a read. */
	assert_int_equal(load(0), 7);
	store(0, 8);
	assert_false(page_test(page_of(0), PG_DIRTY));
	evict_all(0, 1);
	assert_int_equal(stats().writes, writes + 1);
	assert_int_equal(load(0), 8);
}

static void a_write_fault_gives_up_the_slot(void **state)
{
	(void)state;
	store(0, 1);
	evict_all(0, 1);
	store(0, 2);
	assert_int_equal(stats().used, 0);
	assert_false(page_test(page_of(0), PG_SWAPCACHE));
	assert_int_equal(page_of(0)->refcount, 1);
	evict_all(0, 1);
	assert_int_equal(load(0), 2);
}

/* swap_is_tight: whoever comes back gives up its slot. */
static void scarce_slots_are_given_up_at_once(void **state)
{
	hva_t more;

	(void)state;
	u64 nr = DISK_SLOTS / 2 + 20;
	assert_int_equal(mm_region_add(mm, nr * PAGE_SIZE, ACC_R | ACC_W, &more), 0);
	for (u64 i = 0; i < nr; i++)
		assert_int_equal(mm_host_store(more.v + i * PAGE_SIZE, i + 1), 0);
	store(0, 9);
	evict_all(0, 1);
	assert_int_equal(load(0), 9);
	assert_true(page_test(page_of(0), PG_SWAPCACHE));
	for (u64 i = 0; i < nr; i++)
		assert_int_equal(mm_evict(mm, hva(more.v + i * PAGE_SIZE)), 0);
	finish();
	assert_true(swap_is_tight());
	evict_all(0, 1);
	assert_int_equal(load(0), 9);
	assert_false(page_test(page_of(0), PG_SWAPCACHE));
	u64 v;
	assert_int_equal(mm_host_load(more.v + 5 * PAGE_SIZE, &v), 0);
	assert_int_equal(v, 6);
}

static void a_page_in_flight_is_found(void **state)
{
	(void)state;
	store(0, 5);
	struct page *p = page_of(0);
	evict(0);
	assert_true(page_test(p, PG_WRITEBACK));
	assert_int_equal(disk.nr_pending, 1);
	assert_int_equal(load(0), 5); /* the disk is not waited for */
	assert_int_equal(disk.nr_pending, 1);
	assert_ptr_equal(page_of(0), p);
	store(0, 6);
	finish();
	assert_true(page_test(p, PG_LRU));
	assert_int_equal(load(0), 6);
	audit_clean();
	evict_all(0, 1);
	assert_int_equal(load(0), 6);
}

static void a_zap_in_flight_waits_for_the_disk(void **state)
{
	(void)state;
	store(0, 5);
	u64 usage = mm->counter.usage;
	evict(0);
	slot_t s = slot_at(0);
	zap_locked(0, 1);
	assert_int_equal(stats().used, 1);
	assert_int_equal(slot_read(s).flags, SLOT_CACHED);
	assert_int_equal(mm->counter.usage, usage);
	finish();
	assert_int_equal(stats().used, 0);
	assert_int_equal(mm->counter.usage, usage - 1);
	assert_int_equal(load(0), 0);
}

static void swapped_and_cached_pages_are_zapped(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		store(i, i + 1);
	evict_all(0, 4);
	assert_int_equal(load(2), 3); /* and, by readahead, perhaps 3 */
	evict(4);
	zap_locked(0, 64);
	finish();
	assert_int_equal(mm->nr_swapped, 0);
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(load(i), 0);
	assert_int_equal(stats().used, 0);
}

/* A page that is being read when its PTE goes leaves the cache with the fault that waited for it. */
static void a_zap_while_it_is_read(void **state)
{
	(void)state;
	store(0, 5);
	evict_all(0, 1);
	race_arm("swap.before_submit", 0, zap_as_cpu_1, NULL);
	assert_int_equal(load(0), 0);
	audit_clean();
	assert_int_equal(stats().used, 0);
}

static void a_zap_before_it_is_mapped(void **state)
{
	(void)state;
	store(0, 5);
	evict_all(0, 1);
	race_arm("fault.before_pte", 0, zap_as_cpu_1, NULL);
	assert_int_equal(load(0), 0);
	assert_int_equal(stats().used, 0); /* the fault had the page lock, and looked once more */
	audit_clean();
}

/* ---- pages that are to be written whole ---------------------------------------------------------- */

static void write_whole(u32 i, u8 value)
{
	u8 page[PAGE_SIZE];

	memset(page, value, sizeof(page));
	assert_int_equal(hva_write(hva(at(i)), page, sizeof(page)), 0);
}

static void a_forgotten_page_is_not_fetched(void **state)
{
	(void)state;
	for (u32 i = 0; i < 16; i += 2) { /* with gaps: no readahead */
		store(i, i + 1);
		evict_all(i, i + 1);
	}
	u64 reads = stats().reads, in = mm->swapins, usage = mm->counter.usage;
	mm_forget_swapped(mm, hva(at(4) + 123));
	assert_true(pte_none(pte_at(at(4))));
	assert_int_equal(mm->nr_swapped, 7);
	assert_int_equal(stats().used, 7);
	write_whole(4, 0xa5);
	assert_int_equal(stats().reads, reads);
	assert_int_equal(mm->swapins, in);
	assert_int_equal(mm->counter.usage, usage + 1);
	assert_int_equal(load(4), 0xa5a5a5a5a5a5a5a5);
	audit_clean();
	write_whole(8, 0x5a); /* and so it would have been without */
	assert_int_equal(stats().reads, reads + 1);
	assert_int_equal(mm->swapins, in + 1);
	for (u32 i = 0; i < 16; i += 2)
		if (i != 4 && i != 8)
			assert_int_equal(load(i), i + 1);
}

/* What is not swapped is left alone: no bracket, no flush, the same frame. */
static void a_page_that_is_there_is_not_forgotten(void **state)
{
	(void)state;
	secondary_init(&sec, mm, base);
	store(0, 7);
	assert_int_equal(secondary_fault(&sec, at(0), ACC_W), 0);
	assert_int_equal(load(1), 0);
	struct page *p = page_of(0);
	unsigned int starts = sec.starts;
	for (u32 i = 0; i < 3; i++) /* a frame, the zero page, nothing */
		mm_forget_swapped(mm, hva(at(i)));
	mm_forget_swapped(mm, hva(at(0) + GIB(1))); /* no table */
	mm_forget_swapped(mm, hva(MM_HVA_END));
	mm_forget_swapped(mm, hva(~0ul));
	assert_int_equal(sec.starts, starts);
	assert_ptr_equal(page_of(0), p);
	assert_int_equal(load(0), 7);
	assert_true(pte_is_zero(pte_at(at(1))));
	secondary_check(&sec);
	mm_host_check_tlbs(mm);
}

static void forget_before_the_flush(unused void *ctx)
{
	u32 was = mm_host_cpu(1);

	mm_forget_swapped(mm, hva(at(0)));
	assert_true(pte_is_swap(pte_at(at(0))));
	mm_host_cpu(was);
}

/* Between unmapping and flush a TLB may hold the page: who forgot it then, and had another frame mapped,
 * would leave a reader with the old one. */
static void a_page_that_is_not_flushed_is_not_forgotten(void **state)
{
	(void)state;
	secondary_init(&sec, mm, base);
	store(0, 5);
	assert_int_equal(secondary_fault(&sec, at(0), ACC_W), 0);
	race_arm("reclaim.before_flush", 0, forget_before_the_flush, NULL);
	evict(0);
	race_arm(NULL, 0, NULL, NULL);
	mm_host_check_tlbs(mm);
	finish();
	assert_int_equal(load(0), 5);
	secondary_check(&sec);
	audit_clean();
}

static void a_page_in_flight_is_written_over(void **state)
{
	(void)state;
	store(0, 5);
	evict(0);
	u64 reads = stats().reads;
	mm_forget_swapped(mm, hva(at(0)));
	write_whole(0, 0xc3);
	assert_int_equal(stats().reads, reads);
	finish();
	audit_clean();
	assert_int_equal(load(0), 0xc3c3c3c3c3c3c3c3);
	evict_all(0, 1);
	assert_int_equal(load(0), 0xc3c3c3c3c3c3c3c3);
}

/* ---- readahead ---------------------------------------------------------------------------------- */

static void runs_are_read_ahead(void **state)
{
	(void)state;
	for (u32 dir = 0; dir < 2; dir++) {
		for (u32 i = 0; i < 64; i++)
			store(i, i + 1);
		evict_all(0, 64);
		u64 reads = stats().reads, ahead = stats().readahead;
		for (u32 n = 0; n < 64; n++) {
			u32 i = dir ? 63 - n : n;
			assert_int_equal(load(i), i + 1);
		}
		assert_true(stats().reads - reads <= 20);
		assert_true(stats().readahead - ahead >= 40);
		audit_clean();
	}
}

/* gup_alone - as a secondary MMU's fault on page @i: what mm says of it, the reference dropped. */
static struct mm_page gup_alone(u32 i)
{
	struct mm_page p;

	assert_int_equal(mm_gup(mm, hva(at(i)), ACC_R, &p), 0);
	page_put(p.page);
	return p;
}

/* along - what a fault on @i, which is in the cache, maps before and behind it: 16 * before + after. */
static u32 along(u32 i)
{
	finish();
	struct mm_page p = gup_alone(i);
	return 16 * p.before + p.after;
}

static void runs_are_mapped_along(void **state)
{
	hva_t more;

	(void)state;
	assert_int_equal(mm_region_add(mm, 4 * MIB(1), ACC_R | ACC_W, &more), 0);
	/* Pages on both sides of the end of a table, which ends a run that is mapped. */
	u32 table = (u32)((more.v + MIB(3)) / MIB(2) * MIB(2) - at(0)) / PAGE_SIZE;

	for (u32 dir = 0; dir < 2; dir++) {
		u32 unit = dir ? 16 : 1, last = dir ? 5 : 6;
		s32 step = dir ? -1 : 1, from = dir ? (s32)table + 18 : (s32)table - 20;

		for (u32 i = table - 40; i < table + 40; i++)
			store(i, i + 1);
		evict_all(table - 40, table + 40);
		assert_int_equal(along(from), 0);
		assert_int_equal(along(from + step), 1 * unit);      /* of 4 the third is marked */
		assert_true(is_out(from + 3 * step));
		assert_int_equal(along(from + 3 * step), 1 * unit);  /* the next 8 are being read */
		assert_int_equal(along(from + 5 * step), 3 * unit);  /* up to their mark */
		assert_int_equal(along(from + 9 * step), 3 * unit);
		assert_int_equal(along(from + 13 * step), last * unit); /* to the table's end */
		audit_clean();
		for (u32 i = table - 40; i < table + 40; i++)
			assert_int_equal(load(i), i + 1);
	}
}

/* What stops a run: a page that is another fault's, or on its way out. */
static void only_waiting_pages_are_mapped_along(void **state)
{
	(void)state;
	for (u32 i = 0; i < 16; i++)
		store(i, i + 1);
	evict_all(0, 16);
	assert_int_equal(along(0), 0);
	assert_int_equal(along(1), 1);
	struct page *p = slot_page(slot_at(4));
	assert_true(page_trylock(p));
	assert_int_equal(along(3), 0);
	page_unlock(p);
	page_put(p);
	assert_int_equal(load(4), 5);

	for (u32 i = 0; i < 16; i++)
		store(i, i + 2);
	evict_all(0, 2);
	evict(2);
	p = slot_page(slot_at(2));
	assert_true(page_test(p, PG_WRITEBACK));
	page_put(p);
	assert_int_equal(load(0), 2);
	struct mm_page one = gup_alone(1);
	assert_int_equal(one.before + one.after, 0);
	assert_true(is_out(2));
	finish();
	assert_int_equal(load(2), 4);
}

static void single_faults_read_one_page(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	evict_all(0, 64);
	u64 in = stats().pages_in;
	for (u32 i = 0; i < 60; i += 7)
		assert_int_equal(load(i), i + 1);
	assert_int_equal(stats().pages_in - in, 9);
}

static void neighbours_are_written_together(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	u64 writes = stats().writes;
	for (u32 i = 0; i < 4 && mm->nr_anon; i++)
		assert_true(mm_set_limit(mm, mm->nr_tables) <= 0);
	finish();
	assert_int_equal(mm->nr_anon, 0);
	assert_true(stats().writes - writes <= 6);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

/* ---- slots that two PTEs name ------------------------------------------------------------------- */

static void shared_slots_are_copied_on_write(void **state)
{
	(void)state;
	store(0, 50);
	evict_all(0, 1);
	share_slot(0, 1);
	assert_int_equal(load(0), 50);
	assert_false(pte_writable(pte_at(at(0))));
	store(0, 51); /* a copy: the other still needs the page */
	assert_int_equal(mm->cow_faults, 1);
	assert_int_equal(load(1), 50);
	store(1, 52);
	assert_int_equal(load(0), 51);
	assert_int_equal(load(1), 52);
	audit_clean();

	/* A write to a page that is only in the cache. */
	evict_all(0, 1);
	share_slot(0, 2);
	store(0, 53);
	assert_int_equal(load(2), 51);
	store(2, 54);
	assert_int_equal(load(0), 53);
	assert_int_equal(load(2), 54);

	/* Both map the page; then one goes, and the other has it alone. */
	evict_all(0, 1);
	share_slot(0, 3);
	assert_int_equal(load(0), 53);
	assert_int_equal(load(3), 53);
	assert_ptr_equal(page_of(0), page_of(3));
	audit_clean();
	struct page *p = page_of(3);
	zap_locked(0, 1);
	store(3, 55);
	assert_ptr_equal(page_of(3), p);
	assert_int_equal(load(3), 55);
}

/* ---- youth -------------------------------------------------------------------------------------- */

static void mm_evict_tells_what_it_cannot(void **state)
{
	struct mm_page page;

	(void)state;
	assert_int_equal(mm_evict(mm, hva(at(0))), -ENOENT);
	assert_int_equal(load(0), 0);
	assert_int_equal(mm_evict(mm, hva(at(0))), -ENOENT); /* the zero page */
	assert_int_equal(mm_gup(mm, hva(at(1)), ACC_W, &page), 0);
	assert_int_equal(mm_evict(mm, hva(at(1))), -EAGAIN);
	assert_true(pte_present(pte_at(at(1))));
	page_put(page.page);
	evict_all(1, 2);
	assert_int_equal(mm_evict(mm, hva(at(1))), -ENOENT);
}

/* ---- memory that is short ----------------------------------------------------------------------- */

static void every_failed_allocation_of_a_swap_in_leaves_nothing(void **state)
{
	u32 failed = 0;

	(void)state;
	for (u32 i = 0; i < 16; i++)
		store(i, i + 1);
	evict_all(0, 16);
	for (u32 i = 0; i < 16; i++) {
		frame_fail_every(1);
		int err = mm_fault(mm, hva(at(i)), i % 2 ? ACC_W : ACC_R);
		frame_fail_every(0);
		failed += err != 0;
		assert_true(err == 0 || err == -ENOMEM);
		audit_clean();
		assert_int_equal(load(i), i + 1);
	}
	assert_true(failed > 0);
	/* Without memory for a cluster no slot is given out, and the page stays. */
	assert_int_equal(swap_add(&disk_b.dev, 1), 0);
	store(20, 21);
	frame_fail_every(1);
	assert_int_equal(mm_evict(mm, hva(at(20))), 0); /* of the other area */
	frame_fail_every(0);
	finish();
	assert_int_equal(load(20), 21);
}

static void killed_threads_stop_waiting(void **state)
{
	(void)state;
	store(0, 1);
	store(1, 1);
	evict_all(0, 1);
	assert_int_equal(mm_set_limit(mm, mm->counter.usage), 0);
	struct mm_page page;
	assert_int_equal(mm_gup(mm, hva(at(1)), ACC_W, &page), 0); /* nothing can go */
	thread_current()->kill = true;
	assert_int_equal(mm_fault(mm, hva(at(0)), ACC_R), -EINTR);
	thread_current()->kill = false;
	assert_int_equal(mm_fault(mm, hva(at(0)), ACC_R), -ENOMEM);
	page_put(page.page);
	assert_int_equal(load(0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(contents_come_back),
		swap_test(same_filled_pages_need_no_disk),
		swap_test(clean_pages_leave_without_a_write),
		swap_test(a_write_fault_gives_up_the_slot),
		swap_test(scarce_slots_are_given_up_at_once),
		swap_test(a_page_in_flight_is_found),
		swap_test(a_zap_in_flight_waits_for_the_disk),
		swap_test(swapped_and_cached_pages_are_zapped),
		swap_test(a_zap_while_it_is_read),
		swap_test(a_zap_before_it_is_mapped),
		swap_test(a_forgotten_page_is_not_fetched),
		swap_test(a_page_that_is_there_is_not_forgotten),
		swap_test(a_page_that_is_not_flushed_is_not_forgotten),
		swap_test(a_page_in_flight_is_written_over),
		swap_test(runs_are_read_ahead),
		swap_test(runs_are_mapped_along),
		swap_test(only_waiting_pages_are_mapped_along),
		swap_test(single_faults_read_one_page),
		swap_test(neighbours_are_written_together),
		swap_test(shared_slots_are_copied_on_write),
		swap_test(mm_evict_tells_what_it_cannot),
		swap_test(every_failed_allocation_of_a_swap_in_leaves_nothing),
		swap_test(killed_threads_stop_waiting),
	};

	swap_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
