/* SPDX-License-Identifier: BSD-2-Clause */
/* The moments of reclaim in which a rule decides, made to happen: a reference that comes between the two
 * tests of the unmapping (rule 8), a processor that still has the translation when the page is gone (rule
 * 9), a reference by way of the swap cache before the page is frozen (rule 10). */
#include "cpu/clock.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/swap_test.h"

#define ROUNDS 5u

static struct space space;
static struct mm_page held;
static struct page *cached;

static u64 *entry_of(u32 page)
{
	return mm_entry(space.mm, space_at(&space, page, 0));
}

static int evict(u32 page)
{
	int err = mm_evict(space.mm, hva(space_at(&space, page, 0)));

	race_arm(NULL, 0, NULL, NULL);
	while (swap_wait_write())
		(void)swap_harvest();
	return err;
}

/* ---- rule 8 --------------------------------------------------------------------------------------- */

static void take_reference(unused void *ctx)
{
	if (!mm_gup_fast(space.mm, hva(space_at(&space, 0, 0)), ACC_W, &held))
		held.page = NULL;
}

static void test_second_test(void)
{
	u64 old = pte_read(entry_of(0)).v;

	race_arm("reclaim.before_exchange", 0, take_reference, NULL);
	int err = evict(0);
	CHECK(held.page, "there was no reference to be had");
	report(err == -EAGAIN && !((pte_read(entry_of(0)).v ^ old) & ~PTE_IN_TLB),
	       "a reference that comes before the exchange keeps the page where it is: %d", err);
	lane_fill(page_to_virt(held.page), 0, 0, ++space.version[0][0]);
	mm_mark_dirty(held.pfn);
	page_put(held.page);
	err = space_check(&space, 1);
	report(err == 0 && !space.nr_wrong, "and what is written behind it is read");
}

/* ---- rule 9 --------------------------------------------------------------------------------------- */

/* Reads a page that its processor has in its TLB, and faults nothing in. */
static void spinner(void *arg)
{
	struct worker *me = arg;
	hva_t at = hva(space_at(&space, 1, 0));
	u64 v;

	thread_use_space(space.mm, &space.mm->space);
	while (hva_read_nofault(&v, at, sizeof(v)) == 0)
		atomic_store(&me->ready, true);
	thread_use_space(NULL, NULL);
}

/* went_on - does a processor that reads a page not see that it has gone? */
static bool went_on(void)
{
	u64 until;

	int err = space_check(&space, 2); /* it is in memory */
	worker_start_on(0, spinner, 1ull << (nr_cpus - 1), NULL);
	while (!atomic_load(&workers[0].ready))
		thread_yield();
	CHECK(err == 0, "no page for the test: %d", err);
	until = clock_ns() + 20 * MS;
	while (evict(1) == -EAGAIN && clock_ns() < until)
		;
	busy_wait(20 * MS);
	bool on = READ_ONCE(workers[0].thread.state) != THREAD_DEAD;
	/* If so, a change of this kind makes it look again. */
	rwsem_read_lock(&space.mm->mmap_lock);
	space_flush(&space.mm->space, space_at(&space, 0, 0), space_at(&space, 2, 0));
	rwsem_read_unlock(&space.mm->mmap_lock);
	workers_join(1);
	return on;
}

static void test_flush(void)
{
	u32 bad = 0;

	if (nr_cpus < 2) {
		report_skip("a page that was taken is in no TLB", "one CPU");
		return;
	}
	for (u32 i = 0; i < ROUNDS; i++)
		bad += went_on();
	report(bad == 0, "a page that was taken is in no TLB: %u of %u times it was", bad, ROUNDS);
}

/* ---- rules 7, 11 ---------------------------------------------------------------------------------- */

/* Out, back, written again, out: the slot holds the first version, and only the dirty bit says so. */
static void test_rewritten(void)
{
	int err = evict(3);

	thread_use_space(space.mm, &space.mm->space);
	err = err ? err : lane_check(&space, 3, 0);
	err = err ? err : lane_write(&space, 3, 0);
	thread_use_space(NULL, NULL);
	err = err ? err : evict(3);
	err = err ? err : space_check(&space, 4);
	report(err == 0 && !space.nr_wrong, "a page leaves with what was written last: %d", err);
}

/* ---- rule 10 -------------------------------------------------------------------------------------- */

static void find_in_cache(unused void *ctx)
{
	pte_t pte = pte_read(entry_of(2));

	cached = pte_is_swap(pte) ? slot_page(pte_slot(pte)) : NULL;
}

static void test_freeze(void)
{
	race_arm("reclaim.before_flush", 0, find_in_cache, NULL);
	int err = evict(2);
	CHECK(cached, "the page was not in the swap cache");
	report(err == -EAGAIN && page_test(cached, PG_SWAPCACHE),
	       "a page that somebody found in the swap cache stays there: %d", err);
	page_put(cached);
	err = space_check(&space, 3);
	report(err == 0 && !space.nr_wrong, "and is right");
}

static void test_swap_race(void)
{
	watchdog_start("swap_race");
	thread_set_affinity(thread_current(), 1);
	swap_test_begin(MIB(2));
	/* The last CPU is for the spinner alone: another thread there would empty its TLB. */
	thread_set_affinity(&disk_a.thread, 1);
	thread_set_affinity(&disk_b.thread, 1);
	space_begin(&space, 0);
	int err = space_fill(&space, 4);
	CHECK(err == 0, "no memory for the test of swap: %d", err);
	test_second_test();
	test_flush();
	test_freeze();
	test_rewritten();
	space_end(&space);
	swap_test_end("races");
	thread_set_affinity(thread_current(), ~0ull);
	watchdog_stop();
}
KERNEL_SUITE(swap_race, test_swap_race);
