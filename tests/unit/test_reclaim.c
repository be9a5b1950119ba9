/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* Who pays for memory, and who does not: limits, direct reclaim, the reclaim thread, shares; pages that
 * may not go; the end of memory (N13); the end of an mm. */
#include "swap_fixture.h"

#include <time.h>

#include "lib/atomic.h"

#define RAM MIB(6)

static struct mm *other;
static hva_t big; /* a region of BIG pages in mm, or in other */
#define BIG 2100

static void region_in(struct mm *m, u64 pages)
{
	assert_int_equal(mm_region_add(m, pages * PAGE_SIZE, ACC_R | ACC_W, &big), 0);
}

static int write_big(u64 i)
{
	return mm_host_store(big.v + i * PAGE_SIZE, i + 1);
}

static u64 read_big(u64 i)
{
	u64 v = 0;

	assert_int_equal(mm_host_load(big.v + i * PAGE_SIZE, &v), 0);
	return v;
}

static struct reclaim_stats reclaimed(void)
{
	struct reclaim_stats s;

	reclaim_stats(&s);
	return s;
}

/* ---- limits ------------------------------------------------------------------------------------ */

static void usage_never_exceeds_the_limit(void **state)
{
	(void)state;
	for (u32 p = 0; reclaim_policy_name(p); p++) {
		assert_int_equal(reclaim_policy_set(reclaim_policy_name(p)), 0);
		assert_int_equal(mm_set_limit(mm, 4 + 12), 0);
		for (u32 round = 0; round < 3; round++) {
			for (u32 i = 0; i < 64; i++) {
				store(i, p * 1000 + i + 1);
				assert_true(mm->counter.usage <= 16);
			}
			for (u32 i = 0; i < 64; i++)
				assert_int_equal(load((i * 7) % 64), p * 1000 + (i * 7) % 64 + 1);
		}
		audit_clean();
		finish();
	}
	assert_true(res_counter_max(&mm->counter) <= 16);
	assert_true(mm->counter.failcnt > 0);
}

static void limits_change_live(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables + 8), 0);
	assert_true(mm->counter.usage <= mm->nr_tables + 8);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
	/* Tables can't go. */
	assert_int_equal(mm_set_limit(mm, mm->nr_tables - 1), -ENOMEM);
	finish();
	assert_int_equal(mm->nr_anon, 0);
	assert_int_equal(mm_fault(mm, hva(at(0)), ACC_R), -ENOMEM);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

static void without_swap_the_limit_refuses(void **state)
{
	(void)state;
	assert_int_equal(swap_off(&disk.dev), 0);
	assert_int_equal(mm_set_limit(mm, 4 + 2), 0);
	store(0, 1);
	store(1, 2);
	assert_int_equal(mm_fault(mm, hva(at(2)), ACC_W), -ENOMEM);
	assert_int_equal(load(0), 1);
}

/* ---- who may stay ------------------------------------------------------------------------------ */

static void pages_with_references_stay(void **state)
{
	struct mm_page page[4];

	(void)state;
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(mm_gup(mm, hva(at(i * 5)), ACC_R, &page[i]), 0);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables + 2), -ENOMEM);
	for (u32 i = 0; i < 4; i++) {
		assert_ptr_equal(page_of(i * 5), page[i].page);
		page_put(page[i].page);
	}
	assert_int_equal(mm_set_limit(mm, mm->nr_tables + 2), 0);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
}

/* At the limit, and all that could go is still being read: that is no end of memory. */
static void reads_under_way_are_waited_for(void **state)
{
	struct page *held[64], *p;
	struct mm_page page;
	u32 nr = 0;

	(void)state;
	for (u32 i = 0; i < 32; i++)
		store(i, i + 1);
	evict_all(0, 32);
	for (u32 i = 0; disk.nr_pending == 0; i++)
		assert_int_equal(load(i), i + 1);
	for (u32 i = 0; i < 32; i++) {
		if (pte_present(pte_at(at(i)))) {
			assert_int_equal(mm_gup(mm, hva(at(i)), ACC_R, &page), 0);
			held[nr++] = page.page;
		} else if ((p = slot_page(slot_at(i)))) {
			if (page_test(p, PG_LOCKED))
				page_put(p);
			else
				held[nr++] = p; /* read ahead, and there */
		}
	}
	assert_true(disk.nr_pending > 0);
	mm->counter.limit = mm->counter.usage;
	assert_int_equal(mm_fault(mm, hva(at(50)), ACC_W), 0);
	while (nr)
		page_put(held[--nr]);
	mm->counter.limit = RES_UNLIMITED;
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(load(i), i + 1);
}

/* Rule 6: who was used through the secondary costs no zap. */
static void young_pages_cost_no_zap(void **state)
{
	u64 v;

	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 32; i++)
		assert_int_equal(secondary_store(&sec, at(i), i + 1), 0);
	u64 young = reclaimed().young;
	/* All 32 are young: one pass clears that, the next takes four. */
	assert_int_equal(mm_set_limit(mm, mm->counter.usage - 4), 0);
	assert_true(reclaimed().young - young >= 28);
	assert_true(sec.starts >= 1 && sec.starts <= 4);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 32; i++) {
		assert_int_equal(secondary_load(&sec, at(i), &v), 0);
		assert_int_equal(v, i + 1);
	}
	secondary_check(&sec);
}

/* Rule 20: who refuses is unchanged, who had started gets an end, and nothing is lost. */
static void a_subscriber_may_refuse(void **state)
{
	static struct secondary second;

	(void)state;
	secondary_init(&sec, mm, base);
	secondary_init(&second, mm, base);
	second.refuse = true;
	for (u32 i = 0; i < 8; i++) {
		assert_int_equal(secondary_store(&sec, at(i), i + 1), 0);
		assert_int_equal(secondary_store(&second, at(i) + 8, i + 1), 0);
	}
	assert_int_equal(mm_evict(mm, hva(at(0))), -EAGAIN);
	assert_int_equal(sec.starts, 1);
	assert_int_equal(sec.ends, 1);
	assert_int_equal(second.starts + second.ends, 0);
	assert_true(second.spte[0].present);
	assert_int_equal(mm_set_limit(mm, mm->nr_tables), -ENOMEM);
	assert_int_equal(mm->nr_swapped, 0);
	secondary_check(&sec);
	secondary_check(&second);
	second.refuse = false;
	assert_int_equal(mm_set_limit(mm, mm->nr_tables), 0);
	assert_int_equal(mm->nr_swapped, 8);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(load(i), i + 1);
}

/* Reclaim only tries: with mmap_lock held by a writer it takes nothing, and breaks nothing. */
static void a_writer_of_mmap_lock_is_left_alone(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		store(i, i + 1);
	rwsem_write_lock(&mm->mmap_lock);
	assert_int_equal(mm_evict(mm, hva(at(0))), -EAGAIN);
	rwsem_write_unlock(&mm->mmap_lock);
	audit_clean();
	evict_all(0, 8);
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(load(i), i + 1);
}

/* ---- the machine ------------------------------------------------------------------------------- */

static void more_than_ram_by_direct_reclaim(void **state)
{
	u64 direct = reclaimed().direct;

	(void)state;
	region_in(mm, BIG);
	assert_true(BIG > mm_host_free_frames() + 100);
	for (u64 i = 0; i < BIG; i++)
		assert_int_equal(write_big(i), 0);
	assert_true(reclaimed().direct > direct);
	assert_true(mm->nr_swapped > 100);
	for (u64 i = 0; i < BIG; i += 3)
		assert_int_equal(read_big(i), i + 1);
	audit_clean();
}

/* N13: RAM and swap are full. The fault ends with -ENOMEM, and goes well once there is room. */
static void the_end_of_memory_is_an_error(void **state)
{
	u64 i = 0, more = BIG * 2, refused = 0;

	(void)state;
	region_in(mm, more);
	/* What the first refusal has tried in vain may just have become possible. */
	while (i < more && refused < 3) {
		if (write_big(i) == 0) {
			refused = 0;
			i++;
		} else {
			refused++;
			assert_int_equal(host_last_error(), -ENOMEM);
		}
	}
	assert_int_equal(refused, 3);
	assert_int_equal(stats().used, DISK_SLOTS);
	audit_clean();
	assert_int_equal(swap_add(&disk_b.dev, 0), 0); /* the operator helps */
	assert_int_equal(write_big(i), 0);
	for (u64 n = 0; n <= i; n += 5)
		assert_int_equal(read_big(n), n + 1);
}

/* Who holds most pays first: a small mm keeps nearly all it has beside one that wants everything. */
static void the_largest_pays_first(void **state)
{
	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	other = mm_create(&machine_counter);
	assert_non_null(other);
	region_in(other, BIG);
	mm_host_cpu(1);
	mm_host_use(other);
	for (u64 i = 0; i < BIG; i++)
		assert_int_equal(write_big(i), 0);
	assert_true(other->nr_swapped > 100);
	assert_int_equal(mm->nr_swapped, 0);
	/* Where the largest has nothing that can go, others are asked. */
	mm_host_use(NULL);
	mm_host_cpu(0);
	mm_exit(other);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

static void the_next_is_asked_where_nothing_can_go(void **state)
{
	static struct mm_page held[BIG];
	u64 nr = 0;

	(void)state;
	for (u32 i = 0; i < 64; i++)
		store(i, i + 1);
	other = mm_create(&machine_counter);
	assert_non_null(other);
	region_in(other, BIG);
	mm_host_cpu(1);
	mm_host_use(other);
	/* A device holds all that the largest has. */
	while (mm->nr_swapped == 0 && nr < BIG) {
		assert_int_equal(mm_gup(other, hva(big.v + nr * PAGE_SIZE), ACC_W, &held[nr]), 0);
		nr++;
	}
	assert_true(nr < BIG);
	assert_int_equal(other->nr_swapped, 0);
	while (nr)
		page_put(held[--nr].page);
	mm_host_use(NULL);
	mm_host_cpu(0);
	mm_exit(other);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(load(i), i + 1);
}

static void the_reclaim_thread_keeps_frames_free(void **state)
{
	struct frame_stats f;

	(void)state;
	mm_host_threads = true;
	mm_host_daemon_start(4);
	region_in(mm, BIG);
	for (u64 i = 0; i < BIG; i++)
		assert_int_equal(write_big(i), 0);
	for (u32 ms = 0; ms < 3000; ms++) {
		(void)pass_time();
		frame_stats(&f);
		if (f.free >= f.low)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_true(f.free >= f.low);
	for (u64 i = 0; i < BIG; i += 7)
		assert_int_equal(read_big(i), i + 1);
	mm_host_daemon_stop();
	mm_host_threads = false;
	mm_host_cpu(4);
	frame_drain();
	mm_host_cpu(0);
}

/* ---- the end of an mm -------------------------------------------------------------------------- */

static struct mm_page last;

static void *put_soon(void *arg)
{
	(void)arg;
	mm_host_cpu(3);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	page_put(last.page);
	return NULL;
}

/* Somebody has a page of an mm that ends: the end waits, and nobody touches the mm after it. */
static void an_ending_mm_waits_for_its_last_page(void **state)
{
	(void)state;
	for (u32 cached = 0; cached < 2; cached++) {
		pthread_t t;
		hva_t start;

		other = mm_create(&machine_counter);
		assert_non_null(other);
		assert_int_equal(mm_region_add(other, PAGE_SIZE, ACC_R | ACC_W, &start), 0);
		assert_int_equal(mm_gup(other, start, ACC_W, &last), 0);
		if (cached)
			assert_int_equal(mm_evict(other, start), -EAGAIN);
		mm_host_threads = true;
		assert_int_equal(pthread_create(&t, NULL, put_soon, NULL), 0);
		mm_exit(other);
		pthread_join(t, NULL);
		mm_host_threads = false;
		assert_int_equal(stats().used, 0);
	}
	mm_host_cpu(3);
	frame_drain();
	mm_host_cpu(0);
}

/* Many mms end while another thread harvests their pages. */
static bool stop_harvest; /* [a] */

static void *harvest(void *arg)
{
	(void)arg;
	mm_host_cpu(3);
	while (!atomic_load(&stop_harvest)) {
		(void)pass_time();
		(void)swap_harvest();
	}
	return NULL;
}

static void mms_end_while_others_free_their_pages(void **state)
{
	pthread_t t;

	(void)state;
	mm_host_threads = true;
	stop_harvest = false;
	assert_int_equal(pthread_create(&t, NULL, harvest, NULL), 0);
	for (u32 n = 0; n < 150; n++) {
		hva_t start;

		other = mm_create(&machine_counter);
		assert_non_null(other);
		assert_int_equal(mm_region_add(other, 8 * PAGE_SIZE, ACC_R | ACC_W, &start), 0);
		mm_host_use(other);
		for (u32 i = 0; i < 8; i++)
			assert_int_equal(mm_host_store(start.v + i * PAGE_SIZE, i + 1), 0);
		for (u32 i = 0; i < 8; i++)
			assert_true(mm_evict(other, hva(start.v + i * PAGE_SIZE)) <= 0);
		mm_host_use(NULL);
		mm_exit(other);
	}
	atomic_store(&stop_harvest, true);
	pthread_join(t, NULL);
	mm_host_threads = false;
	mm_host_use(mm);
	assert_int_equal(stats().used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(usage_never_exceeds_the_limit),
		swap_test(limits_change_live),
		swap_test(without_swap_the_limit_refuses),
		swap_test(pages_with_references_stay),
		swap_test(reads_under_way_are_waited_for),
		swap_test(young_pages_cost_no_zap),
		swap_test(a_subscriber_may_refuse),
		swap_test(a_writer_of_mmap_lock_is_left_alone),
		swap_test(more_than_ram_by_direct_reclaim),
		swap_test(the_end_of_memory_is_an_error),
		swap_test(the_largest_pays_first),
		swap_test(the_next_is_asked_where_nothing_can_go),
		swap_test(the_reclaim_thread_keeps_frames_free),
		swap_test(an_ending_mm_waits_for_its_last_page),
		swap_test(mms_end_while_others_free_their_pages),
	};

	swap_start(RAM);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
