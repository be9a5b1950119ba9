/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* Which page goes next: the order that each policy keeps, refault distance, switching while pages are on
 * the lists, and a working set in a model of memory that is too small. */
#include "mm_host.h"

#include "mm/mm_internal.h"

#define PAGES 64

static struct page *pages[PAGES];
static struct lru lru;
static struct rng rng;

static int setup(void **state)
{
	(void)state;
	lru_init(&lru);
	for (u32 i = 0; i < PAGES; i++)
		pages[i] = frame_alloc(FRAME_KERNEL, 0);
	assert_int_equal(reclaim_policy_set("lru2"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (u32 i = 0; i < PAGES; i++) {
		lru_del(&lru, pages[i]);
		lru_del(&lru, pages[i]); /* harmless */
		frame_free(pages[i], 0);
	}
	assert_int_equal(lru_pages(&lru), 0);
	assert_int_equal(lru.active.head, PAGE_NONE);
	assert_int_equal(lru.inactive.tail, PAGE_NONE);
	return 0;
}

/* lists_are_whole - links, counts and flags agree. */
static void list_is_whole(const struct page_list *l, bool active)
{
	u32 prev = PAGE_NONE;
	u64 nr = 0;

	for (u32 at = l->head; at != PAGE_NONE; prev = at, at = page_array[at].next, nr++) {
		assert_int_equal(page_array[at].prev, prev);
		assert_true(page_test(&page_array[at], PG_LRU));
		assert_int_equal(page_test(&page_array[at], PG_ACTIVE), active);
		assert_true(nr < PAGES);
	}
	assert_int_equal(l->tail, prev);
	assert_int_equal(l->nr, nr);
}

static void lists_are_whole(void)
{
	list_is_whole(&lru.active, true);
	list_is_whole(&lru.inactive, false);
}

static u32 index_of(const struct page *p)
{
	for (u32 i = 0; i < PAGES; i++)
		if (pages[i] == p)
			return i;
	fail_msg("a page that is none of ours");
	return 0;
}

static u32 next(void)
{
	struct page *p = reclaim_policy()->next(&lru);

	assert_non_null(p);
	assert_false(page_test(p, PG_LRU));
	lists_are_whole();
	return index_of(p);
}

static void keep(u32 i, bool young)
{
	reclaim_policy()->keep(&lru, pages[i], young);
	lists_are_whole();
}

/* ---- orders ------------------------------------------------------------------------------------ */

static void policies_have_names(void **state)
{
	u32 nr = 0;

	(void)state;
	for (; reclaim_policy_name(nr); nr++) {
		assert_int_equal(reclaim_policy_set(reclaim_policy_name(nr)), 0);
		assert_string_equal(reclaim_policy()->name, reclaim_policy_name(nr));
		assert_null(reclaim_policy()->next(&lru));
	}
	assert_int_equal(nr, 3);
	assert_int_equal(reclaim_policy_set("fifo"), -ENOENT);
	assert_string_equal(reclaim_policy()->name, "random");
	assert_true(reclaim_policy()->blind);
}

static void the_clock_goes_round(void **state)
{
	(void)state;
	assert_int_equal(reclaim_policy_set("clock"), 0);
	for (u32 i = 0; i < 8; i++)
		lru_add_new(&lru, pages[i]);
	lists_are_whole();
	for (u32 i = 0; i < 8; i++) {
		assert_int_equal(next(), i);
		if (i % 2)
			keep(i, true);
	}
	for (u32 i = 1; i < 8; i += 2)
		assert_int_equal(next(), i);
	assert_null(reclaim_policy()->next(&lru));
	/* From the middle, the ends, and alone. */
	for (u32 i = 0; i < 4; i++)
		lru_add(&lru, pages[i], true, 0);
	lru_del(&lru, pages[2]);
	lists_are_whole();
	lru_del(&lru, pages[0]);
	lru_del(&lru, pages[3]);
	lists_are_whole();
	assert_int_equal(next(), 1);
}

static void a_page_must_be_young_twice_to_be_active(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		lru_add_new(&lru, pages[i]);
	assert_int_equal(next(), 0);
	keep(0, true);
	assert_true(page_test(pages[0], PG_REFERENCED));
	assert_int_equal(lru.active.nr, 0);
	for (u32 i = 1; i < 8; i++) {
		assert_int_equal(next(), i);
		keep(i, false);
	}
	assert_int_equal(next(), 0);
	keep(0, true);
	assert_int_equal(lru.active.nr, 1);
	assert_false(page_test(pages[0], PG_REFERENCED));
	for (u32 i = 1; i < 8; i++)
		assert_int_equal(next(), i); /* never the active one */
}

/* Busy is not young: it earns nothing. */
static void busy_pages_come_round_again(void **state)
{
	(void)state;
	lru_add_new(&lru, pages[0]);
	for (u32 i = 0; i < 5; i++) {
		assert_int_equal(next(), 0);
		keep(0, false);
	}
	assert_int_equal(lru.active.nr, 0);
	assert_false(page_test(pages[0], PG_REFERENCED));
}

static void the_longer_active_list_gives_to_the_inactive_one(void **state)
{
	(void)state;
	for (u32 i = 0; i < 10; i++)
		lru_add(&lru, pages[i], true, 0);
	assert_int_equal(lru.active.nr, 10);
	/* The oldest of the active ones go first. */
	for (u32 i = 0; i < 10; i++)
		assert_int_equal(next(), i);
	assert_null(reclaim_policy()->next(&lru));
}

static void who_comes_back_soon_is_active(void **state)
{
	(void)state;
	for (u32 i = 0; i < 4; i++) {
		lru_add(&lru, pages[i], true, i); /* at most as far as the active list is long */
		assert_int_equal(lru.active.nr, i + 1);
	}
	lru_add(&lru, pages[4], true, 5);
	lru_add(&lru, pages[5], true, ~0u);
	lru_add(&lru, pages[6], false, 0); /* same-filled: nobody knows when it left */
	assert_int_equal(lru.active.nr, 4);
	assert_int_equal(lru.inactive.nr, 3);
	lists_are_whole();
}

/* ---- switching --------------------------------------------------------------------------------- */

static void policies_are_switched_while_pages_are_on_lists(void **state)
{
	bool out[PAGES] = {0};

	(void)state;
	for (u32 i = 0; i < PAGES; i++)
		lru_add_new(&lru, pages[i]);
	for (u32 n = 0; n < 20000; n++) {
		u32 i = rng_below(&rng, PAGES);

		switch (rng_below(&rng, 8)) {
		case 0:
			assert_int_equal(reclaim_policy_set(reclaim_policy_name(rng_below(&rng, 3))), 0);
			break;
		case 1 ... 4: {
			struct page *p = reclaim_policy()->next(&lru);
			if (!p)
				break;
			i = index_of(p);
			if (rng_percent(&rng, 70))
				keep(i, rng_percent(&rng, 50));
			else
				out[i] = true;
			break;
		}
		case 5:
			lru_del(&lru, pages[i]);
			out[i] = true;
			break;
		default:
			if (out[i])
				lru_add(&lru, pages[i], rng_percent(&rng, 50), rng_below(&rng, 100));
			out[i] = false;
		}
		lists_are_whole();
		u32 nr = 0;
		for (i = 0; i < PAGES; i++) {
			assert_int_equal(!!page_test(pages[i], PG_LRU), !out[i]);
			nr += !out[i];
		}
		assert_int_equal(lru_pages(&lru), nr);
	}
}

/* ---- a working set ----------------------------------------------------------------------------- */

#define FRAMES 40
#define HOT    16

/* hot_share - of the refaults, how many per cent hit the hot pages, which get 90 % of the touches. */
static u32 hot_share(const char *policy)
{
	u32 stamp[PAGES] = {0}, refaults = 0, hot = 0, nr_in = 0;
	bool in[PAGES] = {0}, was_in[PAGES] = {0}, young[PAGES] = {0};

	assert_int_equal(reclaim_policy_set(policy), 0);
	for (u32 n = 0; n < 60000; n++) {
		u32 i = rng_percent(&rng, 90) ? rng_below(&rng, HOT) : HOT + rng_below(&rng, PAGES - HOT);

		young[i] = true;
		if (in[i])
			continue;
		while (nr_in == FRAMES) {
			u32 v = index_of(reclaim_policy()->next(&lru));

			if (young[v] && !reclaim_policy()->blind) {
				young[v] = false;
				reclaim_policy()->keep(&lru, pages[v], true);
				continue;
			}
			in[v] = false;
			stamp[v] = ++lru.evictions;
			nr_in--;
		}
		if (n > 10000 && was_in[i]) {
			refaults++;
			hot += i < HOT;
		}
		lru_add(&lru, pages[i], was_in[i], lru.evictions - stamp[i]);
		in[i] = was_in[i] = true;
		nr_in++;
	}
	assert_true(refaults > 1000);
	printf("%s: %u refaults, %u %% of them hot\n", policy, refaults, hot * 100 / refaults);
	return hot * 100 / refaults;
}

static void lru2_keeps_the_hot_pages(void **state)
{
	(void)state;
	assert_true(hot_share("lru2") <= 5);
}

static void the_clock_keeps_the_hot_pages(void **state)
{
	(void)state;
	assert_true(hot_share("clock") <= 5);
}

static void chance_does_not(void **state)
{
	(void)state;
	assert_true(hot_share("random") > 25);
}

#define lru_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		lru_test(policies_have_names),
		lru_test(the_clock_goes_round),
		lru_test(a_page_must_be_young_twice_to_be_active),
		lru_test(busy_pages_come_round_again),
		lru_test(the_longer_active_list_gives_to_the_inactive_one),
		lru_test(who_comes_back_soon_is_active),
		lru_test(policies_are_switched_while_pages_are_on_lists),
		lru_test(lru2_keeps_the_hot_pages),
		lru_test(the_clock_keeps_the_hot_pages),
		lru_test(chance_does_not),
	};

	rng = rng_seeded(1);
	mm_host_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
