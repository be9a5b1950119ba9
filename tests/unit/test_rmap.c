/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* The reverse map: one entry in the page, more in a chain; walks that miss nothing. */
#include "mm_host.h"

#include "mm/mm_internal.h"
#include "mm/objcache.h"
#include "mm/rmap.h"

#define ENTRIES 60

static struct mm *mm[2];

static hva_t place(u32 i)
{
	return hva(MM_HVA_START + i * 0x7000ul);
}

static void count_chain(struct objcache *c, void *ctx)
{
	if (!strcmp(c->name, "rmap_node"))
		*(u64 *)ctx = c->nr_used;
}

static u64 nodes(void)
{
	u64 nr = 0;

	objcache_for_each(count_chain, &nr);
	return nr;
}

static void one_mapping_costs_nothing(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);

	(void)state;
	rmap_add_new(p, mm[0], place(1));
	assert_int_equal(nodes(), 0);
	assert_int_equal(p->mapcount, 1);
	assert_true(rmap_has(p, mm[0], place(1)));
	assert_false(rmap_has(p, mm[1], place(1)));
	assert_false(rmap_has(p, mm[0], place(2)));
	rmap_remove(p, mm[0], place(1));
	assert_int_equal(rmap_count(p), 0);
	assert_int_equal(rmap_add(p, mm[1], place(3)), 0);
	assert_true(rmap_has(p, mm[1], place(3)));
	rmap_remove(p, mm[1], place(3));
	frame_free(p, 0);
}

static void random_chains_hold_exactly_what_is_mapped(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);
	struct rng r = rng_seeded(3);
	bool in[2][ENTRIES] = {0};
	u32 nr = 0;

	(void)state;
	for (u32 step = 0; step < 20000; step++) {
		u32 m = rng_below(&r, 2), i = rng_below(&r, ENTRIES);
		if (in[m][i]) {
			rmap_remove(p, mm[m], place(i));
			in[m][i] = false;
			nr--;
		} else if (rmap_add(p, mm[m], place(i)) == 0) {
			in[m][i] = true;
			nr++;
		}
		frame_fail_every(rng_percent(&r, 10) ? 1 : 0);
		if (step % 5000 > 2500) { /* now and then nearly empty */
			for (u32 k = 0; k < ENTRIES && nr > 2; k++)
				if (in[m][k]) {
					rmap_remove(p, mm[m], place(k));
					in[m][k] = false;
					nr--;
				}
		}
		assert_int_equal(p->mapcount, nr);
		assert_int_equal(rmap_count(p), nr);
		assert_int_equal(nodes(), nr > 1 ? (nr + 6) / 7 : 0);
		i = rng_below(&r, ENTRIES);
		assert_int_equal(rmap_has(p, mm[m], place(i)), in[m][i]);
	}
	frame_fail_every(0);
	for (u32 i = 0; i < 2 * ENTRIES; i++)
		if (in[i % 2][i / 2])
			rmap_remove(p, mm[i % 2], place(i / 2));
	assert_int_equal(nodes(), 0);
	frame_free(p, 0);
}

struct walk {
	struct page *p;
	struct rng *r;
	u32 seen[ENTRIES];
	bool in[ENTRIES];
	u32 stop_at, nr;
};

/* visit - and add or remove others meanwhile, never those that are to stay (the even ones). */
static int visit(struct mm *m, hva_t at, void *ctx)
{
	struct walk *w = ctx;
	u32 odd = rng_below(w->r, ENTRIES / 2) * 2 + 1;

	assert_ptr_equal(m, mm[0]);
	w->seen[(at.v - MM_HVA_START) / 0x7000]++;
	if (w->in[odd])
		rmap_remove(w->p, mm[0], place(odd));
	else
		assert_int_equal(rmap_add(w->p, mm[0], place(odd)), 0);
	w->in[odd] = !w->in[odd];
	return ++w->nr == w->stop_at ? 7 : 0;
}

static void walks_miss_nothing_that_stays(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);
	struct rng r = rng_seeded(4);

	(void)state;
	for (u32 round = 0; round < 500; round++) {
		struct walk w = {.p = p, .r = &r};

		for (u32 i = 0; i < ENTRIES; i++) {
			w.in[i] = i % 2 == 0 || rng_percent(&r, 50);
			if (w.in[i])
				assert_int_equal(rmap_add(p, mm[0], place(i)), 0);
		}
		assert_int_equal(rmap_for_each(p, visit, &w), 0);
		for (u32 i = 0; i < ENTRIES; i += 2)
			assert_true(w.seen[i] > 0);
		w.nr = 0;
		w.stop_at = 5;
		assert_int_equal(rmap_for_each(p, visit, &w), 7);
		assert_int_equal(w.nr, 5);
		for (u32 i = 0; i < ENTRIES; i++)
			if (w.in[i])
				rmap_remove(p, mm[0], place(i));
	}
	assert_int_equal(p->mapcount, 0);
	frame_free(p, 0);
}

struct cut {
	struct page *p;
	u32 visits;
};

/* cut_visit - at the first visit all but the lowest five go. */
static int cut_visit(struct mm *m, hva_t at, void *ctx)
{
	struct cut *c = ctx;

	(void)at;
	if (c->visits++ == 0)
		for (u32 i = 5; i < ENTRIES; i++)
			rmap_remove(c->p, m, place(i));
	return 0;
}

static void walks_end_when_the_chain_is_cut(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);
	struct cut c = {.p = p};

	(void)state;
	for (u32 i = 0; i < ENTRIES; i++)
		assert_int_equal(rmap_add(p, mm[0], place(i)), 0);
	assert_int_equal(rmap_for_each(p, cut_visit, &c), 0);
	assert_int_equal(c.visits, 16 + 5); /* those of the first snapshot, then what is left */
	for (u32 i = 0; i < 5; i++)
		rmap_remove(p, mm[0], place(i));
	frame_free(p, 0);
}

static int must_not_be_called(struct mm *m, hva_t at, void *ctx)
{
	(void)m;
	(void)at;
	(void)ctx;
	return 1;
}

/* rule 23: the mm of an entry may have died. */
static void entries_of_dead_mms_are_skipped(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);
	struct mm *dying = mm_create(NULL);
	struct mm gone = {.id = dying->id};

	(void)state;
	rmap_add_new(p, dying, place(0));
	mm_exit(dying);
	assert_int_equal(rmap_for_each(p, must_not_be_called, NULL), 0);
	rmap_remove(p, &gone, place(0));
	frame_free(p, 0);
}

static void remove_it(void *p)
{
	rmap_remove(p, mm[0], place(9));
}

/* Last: the panic leaves the lock held. */
static void removing_what_is_not_there_panics(void **state)
{
	struct page *p = frame_alloc(FRAME_GUEST, 0);

	(void)state;
	rmap_add_new(p, mm[0], place(8));
	expect_panic("no rmap of mm", remove_it, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mapping_costs_nothing),
		cmocka_unit_test(random_chains_hold_exactly_what_is_mapped),
		cmocka_unit_test(walks_miss_nothing_that_stays),
		cmocka_unit_test(walks_end_when_the_chain_is_cut),
		cmocka_unit_test(entries_of_dead_mms_are_skipped),
		cmocka_unit_test(removing_what_is_not_there_panics),
	};

	mm_host_start(MIB(8));
	mm[0] = mm_create(NULL);
	mm[1] = mm_create(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
