/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap, one question at a time: limits, eviction by name, what happens when all is full, areas that go,
 * ends of mms and threads while requests are held in flight, errors of the disk. */
#include "cpu/clock.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/swap_test.h"

#define BOUND_NS (10 * 1000 * MS) /* "in bounded time", on a busy host */

static struct space space;

static pte_t pte_of_page(u32 page)
{
	const u64 *entry = mm_entry(space.mm, space_at(&space, page, 0));

	return entry ? pte_read(entry) : (pte_t){0};
}

static struct swap_stats stats(void)
{
	struct swap_stats s;

	swap_stats(&s);
	return s;
}

/* settle - until the writes that are under way have ended, and their pages have gone. */
static void settle(void)
{
	while (swap_wait_write())
		(void)swap_harvest();
}

/* ---- limits --------------------------------------------------------------------------------------- */

static void test_limits(void)
{
	space_begin(&space, 0);
	int err = space_fill(&space, 600);
	err = err ? err : mm_set_limit(space.mm, 100);
	report(err == 0 && space.mm->counter.usage <= 100, "a limit that is lowered is kept at once: %lu pages",
	       space.mm->counter.usage);
	err = space_check(&space, 600);
	report(err == 0 && !space.nr_wrong && res_counter_max(&space.mm->counter) >= 600 &&
		       space.mm->counter.usage <= 100,
	       "what left for it comes back right: %u wrong", space.nr_wrong);
	u64 began = clock_ns();
	err = mm_set_limit(space.mm, 2);
	report(err == -ENOMEM && clock_ns() - began < BOUND_NS,
	       "a limit below what cannot leave says so (%d), in bounded time", err);
	err = mm_set_limit(space.mm, RES_UNLIMITED);
	report(err == 0 && space_check(&space, 600) == 0 && !space.nr_wrong, "and nothing was lost");
	space_end(&space);
}

/* ---- by name -------------------------------------------------------------------------------------- */

static int evict(u32 page)
{
	int err = mm_evict(space.mm, hva(space_at(&space, page, 0)));

	settle();
	return err;
}

static void test_evict(void)
{
	struct mm_page got;

	space_begin(&space, 0);
	int err = space_fill(&space, 4);
	report(err == 0 && evict(0) == 0 && pte_is_swap(pte_of_page(0)), "a page is evicted by name");
	u64 out = stats().pages_out;
	err = space_check(&space, 4);
	report(err == 0 && !space.nr_wrong && evict(0) == 0 && stats().pages_out == out,
	       "it comes back, and leaves again without a write, being clean");
	thread_use_space(space.mm, &space.mm->space);
	err = lane_check(&space, 0, 0) + lane_write(&space, 0, 0);
	thread_use_space(NULL, NULL);
	report(err == 0 && evict(0) == 0 && stats().pages_out == out + 1,
	       "written meanwhile, it is written out again");
	err = space_check(&space, 4);
	report(err == 0 && !space.nr_wrong, "and is what was written last");

	hva_t zeros = hva(space_at(&space, 10, 0));
	thread_use_space(space.mm, &space.mm->space);
	err = hva_zero(zeros, PAGE_SIZE);
	thread_use_space(NULL, NULL);
	out = stats().pages_out;
	u64 same = stats().same_out;
	report(err == 0 && evict(10) == 0 && stats().same_out == same + 1 && stats().pages_out == out,
	       "a same-filled page leaves without a write");
	report(evict(11) == -ENOENT && mm_fault(space.mm, hva(space_at(&space, 11, 0)), ACC_R) == 0 &&
		       evict(11) == -ENOENT,
	       "where nothing or the zero page is, there is nothing to evict");
	err = mm_gup(space.mm, hva(space_at(&space, 1, 0)), ACC_W, &got);
	CHECK(err == 0, "no reference for the test: %d", err);
	report(evict(1) == -EAGAIN && pte_present(pte_of_page(1)), "a page that is held stays");
	page_put(got.page);
	report(evict(1) == 0, "until it is let go");
	space_end(&space);
}

/* ---- full (N13) ----------------------------------------------------------------------------------- */

/* fill_until_full - how many pages could be written. */
static u32 fill_until_full(void)
{
	u32 page = 0;

	thread_use_space(space.mm, &space.mm->space);
	while (page < SPACE_PAGES && lane_write(&space, page, 0) == 0)
		page++;
	thread_use_space(NULL, NULL);
	if (page < SPACE_PAGES) /* it was never written */
		space.version[page][0] = 0;
	space.torn[page % SPACE_PAGES][0] = false;
	return page;
}

static void test_full(void)
{
	u32 slots = stats().pages / 2;

	space_begin(&space, 64);
	int off = swap_off(&disk_b.dev);
	u32 nr = fill_until_full();
	report(off == 0 && nr > slots && nr < slots + 64, "%u slots and 64 frames hold %u pages", slots, nr);
	u64 began = clock_ns();
	int err = mm_fault(space.mm, hva(space_at(&space, nr, 0)), ACC_W);
	report(err == -ENOMEM && clock_ns() - began < BOUND_NS,
	       "then a fault returns %d, in %lu ms", err, (u64)((clock_ns() - began) / MS));
	report(mm_audit(printk) == 0, "the audit is clean while all is full");
	space.mm->counter.limit = 96;
	err = space_check(&space, nr);
	report(err == 0 && !space.nr_wrong, "with a higher limit nothing was lost: %u wrong", space.nr_wrong);
	swap_test_add(&disk_b);
	err = mm_set_limit(space.mm, 48);
	report(err == 0 && space_fill(&space, SPACE_PAGES) == 0 && space_check(&space, SPACE_PAGES) == 0 &&
		       !space.nr_wrong,
	       "with another area it goes on: %d", err);
	space_end(&space);
}

static bool no_frames; /* [a] */

/* Without a frame and without a slot, a thread that is killed must end. */
static void fault_until_killed(void *arg)
{
	struct worker *me = arg;

	while (!atomic_load(&no_frames))
		(void)thread_sleep_ns(MS);
	while (!thread_killed())
		me->result = mm_fault(space.mm, hva(space_at(&space, SPACE_PAGES - 1, 0)), ACC_W);
	me->result = mm_fault(space.mm, hva(space_at(&space, SPACE_PAGES - 1, 0)), ACC_W);
}

static void test_no_frames(void)
{
	struct page *hog = NULL, *p;
	u32 nr;

	space_begin(&space, 0);
	int off = swap_off(&disk_a.dev);
	CHECK(off == 0, "an empty area cannot be taken off: %d", off);
	worker_start_on(0, fault_until_killed, 0, NULL); /* there will be no stack later */
	int err = space_fill(&space, 100);
	while (!frame_missing() && (p = frame_alloc(FRAME_DMA, FRAME_NOWAIT))) {
		*(struct page **)page_to_virt(p) = hog;
		hog = p;
	}
	nr = fill_until_full();
	/* The last writes may have ended since. */
	u64 began = clock_ns();
	u32 last = nr;
	while (last < SPACE_PAGES - 1 && !err)
		err = mm_fault(space.mm, hva(space_at(&space, last++, 0)), ACC_W);
	report(last > 100 && err == -ENOMEM && clock_ns() - began < BOUND_NS,
	       "without frames and slots a fault returns %d in %lu ms; %u pages there are", err,
	       (u64)((clock_ns() - began) / MS), last);
	atomic_store(&no_frames, true);
	(void)thread_sleep_ns(20 * MS);
	thread_kill(&workers[0].thread);
	workers_join(1);
	report(true, "a thread that is killed there ends: %d", workers[0].result); /* else the watchdog barks */
	for (; hog; hog = p) {
		p = *(struct page **)page_to_virt(hog);
		frame_free(hog, 0);
	}
	report(space_check(&space, nr) == 0 && !space.nr_wrong, "nothing was lost: %u wrong", space.nr_wrong);
	swap_test_add(&disk_a);
	space_end(&space);
}

/* ---- areas go ------------------------------------------------------------------------------------- */

static void test_off(void)
{
	space_begin(&space, 100);
	int err = space_fill(&space, 500);
	u64 used = stats().used;
	CHECK(err == 0 && used >= 390, "the space was not filled: %d, %lu slots", err, used);
	report(swap_off(&disk_a.dev) == 0 && space.mm->counter.usage <= 100,
	       "an area goes, and what was there goes to the other");
	report(space_check(&space, 500) == 0 && !space.nr_wrong, "and is right");
	err = swap_off(&disk_b.dev);
	report(err == -ENOMEM && space_check(&space, 500) == 0 && !space.nr_wrong,
	       "the last area stays if there is no room in memory (%d), and nothing is lost", err);
	err = mm_set_limit(space.mm, RES_UNLIMITED);
	report(err == 0 && swap_off(&disk_b.dev) == 0 && stats().pages == 0 && stats().used == 0,
	       "with room it goes");
	report(space_check(&space, 500) == 0 && !space.nr_wrong, "and all is in memory");
	space_end(&space);
	swap_test_add(&disk_a);
	swap_test_add(&disk_b);
}

static void take_off(void *arg)
{
	struct worker *me = arg;

	atomic_store(&me->ready, true);
	me->result = swap_off(&disk_a.dev);
}

/* The area goes while the mm whose pages are on it ends. */
static void test_off_and_exit(void)
{
	u64 chance = 1;
	int bad = 0;

	for (u32 i = 0; i < 30 && !bad; i++) {
		space_begin(&space, 60);
		bad = space_fill(&space, 200);
		worker_start_on(0, take_off, 0, NULL);
		while (!atomic_load(&workers[0].ready))
			thread_yield();
		(void)thread_sleep_ns(random_below(&chance, 4 * MS));
		space_end(&space);
		workers_join(1);
		bad = bad ? bad : workers[0].result;
		if (!workers[0].result)
			swap_test_add(&disk_a);
	}
	report(bad == 0, "an area goes while its mm ends, 30 times: %d", bad);
}

/* ---- in flight ------------------------------------------------------------------------------------ */

static void hold(bool on)
{
	slow_disk_hold(&disk_a, on);
	slow_disk_hold(&disk_b, on);
}

static void end_space(void *arg)
{
	struct worker *me = arg;

	mm_exit(space.mm);
	atomic_store(&me->ready, true);
}

/* end_in_flight - the mm ends while requests for its pages are held. Rule 12: until they have ended neither
 * slot nor frame is anybody else's. */
static void end_in_flight(const char *what, u32 nr_pages)
{
	u64 used;

	worker_start_on(0, end_space, 0, NULL);
	(void)thread_sleep_ns(30 * MS);
	used = stats().used;
	report(!atomic_load(&workers[0].ready) && used >= nr_pages,
	       "an mm ends no sooner than the %s of its pages: %lu slots held of %u", what, used, nr_pages);
	hold(false);
	workers_join(1);
	settle();
	report(stats().used == 0, "and then every slot is free: %lu are not", stats().used);
}

static void test_writes_in_flight(void)
{
	u32 gone = 0;

	space_begin(&space, 0);
	int err = space_fill(&space, 16);
	hold(true);
	for (u32 page = 0; page < 16; page++)
		gone += mm_evict(space.mm, hva(space_at(&space, page, 0))) == 0;
	report(err == 0 && gone == 16 && slow_disk_wait_held(&disk_a, 1), "writes are held in flight");
	err = space_check(&space, 8);
	report(err == 0 && !space.nr_wrong, "a page comes back while it is being written");
	end_in_flight("writes", 16);
}

/* ahead_is_next - is @page one that was read ahead, and touching it reads the next window? */
static bool ahead_is_next(u32 page)
{
	bool is = false;

	rwsem_read_lock(&space.mm->mmap_lock);
	pte_t pte = pte_of_page(page);
	struct page *p = pte_is_swap(pte) ? slot_page(pte_slot(pte)) : NULL;
	rwsem_read_unlock(&space.mm->mmap_lock);
	if (p) {
		is = page_test(p, PG_READAHEAD) && page_test(p, PG_UPTODATE);
		page_put(p);
	}
	return is;
}

static void test_reads_in_flight(void)
{
	u32 page = 0;
	int err;

	space_begin(&space, 0);
	err = space_fill(&space, 400);
	if (err || mm_set_limit(space.mm, 20) || mm_set_limit(space.mm, RES_UNLIMITED))
		panic("no memory for the test of swap");
	thread_use_space(space.mm, &space.mm->space);
	for (; page < 350 && !err && !ahead_is_next(page); page++)
		err = lane_check(&space, page, 0);
	hold(true);
	err = err ? err : lane_check(&space, page, 0);
	thread_use_space(NULL, NULL);
	report(err == 0 && !space.nr_wrong &&
		       (slow_disk_wait_held(&disk_a, 1) || slow_disk_wait_held(&disk_b, 1)),
	       "page %u reads those behind it, and waits for none of them", page);
	end_in_flight("reads", 1);
}

static void read_page(void *arg)
{
	struct worker *me = arg;

	thread_use_space(space.mm, &space.mm->space);
	me->result = lane_check(&space, 0, 0);
	thread_use_space(NULL, NULL);
}

static void test_kill_in_swap_in(void)
{
	space_begin(&space, 0);
	int err = space_fill(&space, 8);
	report(err == 0 && evict(0) == 0, "a page is on the disk");
	hold(true);
	worker_start_on(0, read_page, 0, NULL);
	bool held = slow_disk_wait_held(&disk_a, 1);
	thread_kill(&workers[0].thread);
	(void)thread_sleep_ns(10 * MS);
	hold(false);
	workers_join(1);
	report(held && mm_audit_quiet(printk) == 0, "who is killed while it waits for a page ends: %d",
	       workers[0].result);
	report(space_check(&space, 8) == 0 && !space.nr_wrong, "and the page is there");
	space_end(&space);
}

/* ---- errors of the disk --------------------------------------------------------------------------- */

static void test_read_error(void)
{
	space_begin(&space, 0);
	int err = space_fill(&space, 40);
	u32 gone = space_evict(&space, 40);
	settle();
	slot_t slot = pte_slot(pte_of_page(20));
	CHECK(err == 0 && gone == 40, "the pages of the test are still there: %d, %u", err, gone);
	slow_disk_fail(&disk_a, slot_index(slot), BLK_READ);
	err = mm_fault(space.mm, hva(space_at(&space, 20, 0)), ACC_R);
	report(err == -EIO && pte_is_swap(pte_of_page(20)), "a page that cannot be read is not mapped: %d", err);
	err = space_check(&space, 20);
	for (u32 page = 21; page < 40 && !err; page++)
		err = mm_fault(space.mm, hva(space_at(&space, page, 0)), ACC_R);
	report(err == 0 && !space.nr_wrong, "its neighbours are: %d", err);
	slow_disk_fail(&disk_a, 0, BLK_FLUSH);
	report(space_check(&space, 40) == 0 && !space.nr_wrong, "when the disk reads it again, it is right");
	space_end(&space);
}

static void test_write_error(void)
{
	u64 bad = stats().bad;

	for (u32 i = 0; i < SLOW_DISK_BAD; i++)
		slow_disk_fail(&disk_a, i * 70, BLK_WRITE);
	space_begin(&space, 50);
	int err = space_fill(&space, 500);
	report(err == 0 && space_check(&space, 500) == 0 && !space.nr_wrong && stats().bad > bad,
	       "slots that cannot be written are left, nothing is lost: %d, %lu slots, %u wrong", err,
	       stats().bad - bad, space.nr_wrong);
	slow_disk_fail(&disk_a, 0, BLK_FLUSH);
	space_end(&space);
}

static void test_swap_one(void)
{
	static void (*const tests[])(void) = {
		test_limits, test_evict, test_off, test_off_and_exit, test_writes_in_flight,
		test_reads_in_flight, test_kill_in_swap_in, test_read_error, test_full, test_no_frames,
		test_write_error,
	};

	space_begin(&space, 0); /* what is allocated once is allocated now */
	space_end(&space);
	swap_test_begin(MIB(2));
	for (u32 i = 0; i < ARRAY_SIZE(tests); i++) {
		watchdog_start("swap_one");
		tests[i]();
	}
	swap_test_end("one by one");
	watchdog_stop();
}
KERNEL_SUITE(swap_one, test_swap_one);
