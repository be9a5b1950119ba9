/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap on the real processors, everything at once: threads write and compare memory of which a fraction
 * may be resident, while others change the limit and the policy, evict pages by name, hold references
 * and write through them, zap, take a swap area off and add it again, and make and end mms whose pages
 * are in flight. No word may be wrong, nothing lost. test_swap_one.c asks one question at a time. */
#include "cpu/clock.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/swap_test.h"

#define TOUCHERS    (LANES - 1) /* the last lane is the looker's */
#define NR_OPS      6000u       /* of each toucher */
#define MAX_NS      (20 * 1000 * MS)
#define LIMIT       160u        /* pages, tables included */
#define OTHER_PAGES 200u

static struct space space, other;
static u32 nr_active; /* [a] touchers still at work */
static u32 ends, offs, evicted, references;

static bool goes_on(void)
{
	return atomic_load(&nr_active);
}

/* ---- who touches ---------------------------------------------------------------------------------- */

/* next_page - often a neighbour, up or down, so that there is something to read ahead. */
static u32 next_page(u64 *chance, u32 page)
{
	u32 what = random_below(chance, 16);

	if (what == 0)
		return random_below(chance, SPACE_PAGES);
	return (what & 1 ? page + 1 : page + SPACE_PAGES - 1) % SPACE_PAGES;
}

static void toucher(void *arg)
{
	struct worker *me = arg;
	u64 chance = me->index + 1, end = clock_ns() + MAX_NS;
	u32 page = 0;

	thread_use_space(space.mm, &space.mm->space);
	for (u32 n = 0; n < NR_OPS && clock_ns() < end; n++) {
		int err = lane_check(&space, page, me->index);

		if (!err && random_below(&chance, 2))
			err = lane_write(&space, page, me->index);
		if (err)
			space_wrong(&space, "an access failed", page, err);
		me->count++;
		/* The same direction for a while. */
		page = random_below(&chance, 32) ? (page + (n / 256 % 2 ? 1 : SPACE_PAGES - 1)) % SPACE_PAGES
						 : next_page(&chance, page);
	}
	thread_use_space(NULL, NULL);
	atomic_sub(&nr_active, 1);
}

/* ---- who disturbs --------------------------------------------------------------------------------- */

static void squeezer(unused void *arg)
{
	u64 chance = 77;

	while (goes_on()) {
		int err = mm_set_limit(space.mm, LIMIT / 2 + random_below(&chance, 2 * LIMIT));

		if (err)
			space_wrong(&space, "a limit cannot be set", 0, err);
		if (reclaim_policy_set(reclaim_policy_name(random_below(&chance, 3))))
			space_wrong(&space, "a policy cannot be set", 0, 0);
		(void)thread_sleep_ns(random_below(&chance, 3 * MS));
	}
}

static void evictor(unused void *arg)
{
	u64 chance = 5;

	while (goes_on()) {
		u32 page = random_below(&chance, SPACE_PAGES);
		int err = mm_evict(space.mm, hva(space_at(&space, page, 0)));

		if (err != 0 && err != -EAGAIN && err != -ENOENT)
			space_wrong(&space, "mm_evict", page, err);
		evicted += err == 0;
		thread_yield();
	}
}

/* Behind a reference the page stays: what is written there must be there when it is looked at again. */
static void looker(unused void *arg)
{
	const u32 lane = LANES - 1;
	u64 chance = 9;

	while (goes_on()) {
		u32 page = random_below(&chance, SPACE_PAGES);
		hva_t at = hva(space_at(&space, page, 0));
		struct mm_page got;

		if (!mm_gup_fast(space.mm, at, ACC_W, &got)) {
			int err = mm_gup(space.mm, at, ACC_W, &got);
			if (err) {
				space_wrong(&space, "a reference cannot be had", page, err);
				continue;
			}
		}
		u64 *words = (u64 *)page_to_virt(got.page) + lane * LANE_WORDS;
		if (!space.zaps) /* else the page may be another one by now */
			lane_compare(&space, words, page, lane);
		lane_fill(words, page, lane, ++space.version[page][lane]);
		thread_yield();
		lane_compare(&space, words, page, lane);
		mm_mark_dirty(got.pfn);
		page_put(got.page);
		references++;
	}
}

static void swapper(unused void *arg)
{
	u64 chance = 21;

	while (goes_on()) {
		struct slow_disk *d = random_below(&chance, 2) ? &disk_a : &disk_b;
		int err = swap_off(&d->dev);

		offs += err == 0;
		if (err)
			space_wrong(&space, "swap_off", 0, err);
		else
			swap_test_add(d);
		(void)thread_sleep_ns(20 * MS + random_below(&chance, 30 * MS));
	}
}

static void ender(unused void *arg)
{
	while (goes_on()) {
		space_begin(&other, OTHER_PAGES / 4);
		if (space_fill(&other, OTHER_PAGES) || space_check(&other, OTHER_PAGES / 2) || other.nr_wrong)
			space_wrong(&space, "the other mm", 0, other.nr_wrong);
		space_end(&other);
		ends++;
	}
}

static void zapper(unused void *arg)
{
	u64 chance = 3;

	while (goes_on()) {
		u32 from = random_below(&chance, SPACE_PAGES);
		u32 to = MIN(from + 1 + random_below(&chance, 20), SPACE_PAGES);

		rwsem_read_lock(&space.mm->mmap_lock);
		mm_zap_range(space.mm, space_at(&space, from, 0), space_at(&space, to, 0));
		rwsem_read_unlock(&space.mm->mmap_lock);
		(void)thread_sleep_ns(random_below(&chance, 2 * MS));
	}
}

/* ---- together ------------------------------------------------------------------------------------- */

static void check_all(void)
{
	thread_use_space(space.mm, &space.mm->space);
	for (u32 page = 0; page < SPACE_PAGES; page++)
		for (u32 lane = 0; lane < LANES; lane++)
			if (lane_check(&space, page, lane))
				space_wrong(&space, "the last look failed", page, lane);
	thread_use_space(NULL, NULL);
}

static void storm(const char *what, bool zaps, void (*const *actors)(void *arg), u32 nr)
{
	u64 ops = 0;

	watchdog_start(what);
	swap_test_begin(MIB(8));
	space_begin(&space, LIMIT);
	space.zaps = zaps;
	ends = offs = evicted = references = 0;
	nr_active = TOUCHERS;
	for (u32 i = 0; i < TOUCHERS; i++)
		worker_start_on(i, toucher, 0, NULL);
	for (u32 i = 0; i < nr; i++)
		worker_start_on(TOUCHERS + i, actors[i], 0, NULL);
	workers_join(TOUCHERS + nr);
	for (u32 i = 0; i < TOUCHERS; i++)
		ops += workers[i].count;
	check_all();
	printk("%s: %lu looks, %lu swap-ins, %lu swap-outs, %u evicted, %u references, %u mms, %u times "
	       "off\n", what, ops, space.mm->swapins, space.mm->swapouts, evicted, references, ends, offs);
	report(space.nr_wrong == 0, "%s: every word is right: %u wrong", what, space.nr_wrong);
	report(space.mm->swapins > 100 && space.mm->swapouts > 100, "%s: there were %lu swap-ins", what,
	       space.mm->swapins);
	report(mm_audit(printk) == 0, "%s: the audit is clean while pages are on swap", what);
	space_end(&space);
	swap_test_end(what);
	watchdog_stop();
}

static void test_swap(void)
{
	static void (*const all[])(void *arg) = {squeezer, evictor, looker, swapper, ender};
	static void (*const with_zaps[])(void *arg) = {squeezer, evictor, looker, zapper, ender};

	/* What is allocated once is allocated now. */
	space_begin(&space, 0);
	space_begin(&other, 0);
	space_end(&other);
	space_end(&space);
	storm("all at once", false, all, ARRAY_SIZE(all));
	storm("and zaps", true, with_zaps, ARRAY_SIZE(with_zaps));
	if (reclaim_policy_set("lru2"))
		report(false, "lru2 is no policy any more");
}
KERNEL_SUITE(swap, test_swap);
