/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/fault_blkdev.c */
/* Swap slots: each way from state to state, runs and clusters, areas that are full; chance against a
 * model; and several CPUs at once. */
#include "mm_host.h"

#include "fault_blkdev.h"
#include "lib/atomic.h"
#include "lib/swap_header.h"
#include "block/disk.h"
#include "mm/mm_internal.h"

#define NR_SLOTS   1022 /* of the first disk: a full cluster and a short one */
#define NR_SLOTS_B 254
#define PAGES      64

static struct fault_blkdev disk, disk_b;
static struct page *pages[PAGES];

static bool pass_time(void)
{
	return fault_blkdev_run(&disk, 1) + fault_blkdev_run(&disk_b, 1) > 0;
}

static void disk_make(struct fault_blkdev *d, const char *name, u64 slots)
{
	u64 bytes = (slots + 2) * PAGE_SIZE;
	u8 uuid[UUID_BYTES] = {(u8)name[4]};

	fault_blkdev_init(d, name, bytes);
	swap_header_make(d->data, uuid, bytes);
	swap_header_make(d->data + bytes - SWAP_HEADER_BYTES, uuid, bytes);
	blkdev_add(&d->dev);
}

static slot_t slot(u32 i)
{
	return (slot_t){i};
}

/* ---- begin and end ----------------------------------------------------------------------------- */

static int setup(void **state)
{
	(void)state;
	for (u32 i = 0; i < PAGES; i++) {
		pages[i] = frame_alloc(FRAME_KERNEL, 0);
		assert_true(page_trylock(pages[i]));
	}
	assert_int_equal(swap_add(&disk.dev, 0), 0);
	return 0;
}

/* Every slot must be free: then the areas can be let go of. */
static int teardown(void **state)
{
	(void)state;
	for (u32 i = 0; i < PAGES; i++) {
		page_unlock(pages[i]);
		assert_int_equal(pages[i]->refcount, 1);
		frame_free(pages[i], 0);
	}
	assert_int_equal(swap_counts.used, 0);
	assert_int_equal(swap_off(&disk.dev), 0);
	if (blkdev_is_open(&disk_b.dev))
		assert_int_equal(swap_off(&disk_b.dev), 0);
	assert_int_equal(mm_host_audit(), 0);
	return 0;
}

/* leave - the page leaves the cache, as reclaim does it. */
static void leave(struct page *p, u16 flags, u32 value)
{
	slot_remove(p, flags, value);
	atomic_sub(&p->refcount, 1);
}

static void state_is(slot_t s, u16 flags, u16 count, u32 value)
{
	struct slot_state now = slot_read(s);

	assert_int_equal(now.flags, flags);
	assert_int_equal(now.count, count);
	assert_int_equal(now.value, value);
}

/* ---- states ------------------------------------------------------------------------------------ */

static void a_slot_goes_round(void **state)
{
	struct page *p = pages[0], *q = pages[1];
	u32 pfn = page_to_pfn(p).v;
	struct slot_state was;

	(void)state;
	assert_int_equal(slots_alloc(&p, 1), 1);
	slot_t s = slot(p->slot);
	assert_int_equal(slot_area(s), 0);
	state_is(s, SLOT_CACHED, 0, pfn);
	assert_true(page_test(p, PG_SWAPCACHE) && page_test(p, PG_UPTODATE));
	assert_int_equal(p->refcount, 2);
	slot_get(s);
	slot_get(s);
	state_is(s, SLOT_CACHED, 2, pfn);
	assert_ptr_equal(slot_page(s), p);
	assert_int_equal(p->refcount, 3);
	page_put(p);
	assert_false(slot_insert(s, q, &was)); /* it has one */
	assert_false(page_test(q, PG_SWAPCACHE));
	assert_int_equal(q->refcount, 1);
	leave(p, 0, 77);
	assert_false(page_test(p, PG_SWAPCACHE) || page_test(p, PG_UPTODATE));
	state_is(s, 0, 2, 77);
	assert_null(slot_page(s));
	assert_false(slot_put(s));
	assert_true(slot_insert(s, q, &was));
	assert_int_equal(was.value, 77);
	assert_int_equal(was.flags, 0);
	assert_false(page_test(q, PG_UPTODATE)); /* to be read first */
	state_is(s, SLOT_CACHED, 1, page_to_pfn(q).v);
	leave(q, SLOT_SAME, 0x5a5a5a5a);
	state_is(s, SLOT_SAME, 1, 0x5a5a5a5a);
	assert_true(slot_insert(s, q, &was));
	assert_int_equal(was.flags, SLOT_SAME);
	assert_int_equal(was.value, 0x5a5a5a5a);
	assert_true(slot_put(s)); /* the page has to leave now */
	state_is(s, SLOT_CACHED, 0, page_to_pfn(q).v);
	leave(q, 0, 5);
	state_is(s, 0, 0, 0);
	assert_false(slot_insert(s, p, &was)); /* free: nobody may fill it (rule 13) */
	assert_int_equal(swap_counts.used, 0);
}

/* Without a page a slot is free when its last PTE goes. */
static void the_last_pte_frees_the_slot(void **state)
{
	struct page *p = pages[0];

	(void)state;
	assert_int_equal(slots_alloc(&p, 1), 1);
	slot_t s = slot(p->slot);
	slot_get(s);
	leave(p, 0, 1);
	assert_int_equal(swap_counts.used, 1);
	assert_false(slot_put(s));
	state_is(s, 0, 0, 0);
	assert_int_equal(swap_counts.used, 0);
}

static void bad_slots_are_given_out_no_more(void **state)
{
	struct page *p = pages[0];
	struct slot_state was;

	(void)state;
	assert_int_equal(slots_alloc(&p, 1), 1);
	slot_t s = slot(p->slot);
	slot_get(s);
	slot_retire(s);
	slot_retire(s);
	assert_int_equal(swap_areas[0].bad, 1);
	state_is(s, SLOT_CACHED | SLOT_BAD, 1, page_to_pfn(p).v);
	/* It may note what a same-filled page is filled with, there is nothing to write. */
	leave(p, SLOT_SAME, 9);
	state_is(s, SLOT_SAME | SLOT_BAD, 1, 9);
	assert_true(slot_insert(s, p, &was));
	state_is(s, SLOT_CACHED | SLOT_BAD, 1, page_to_pfn(p).v);
	assert_true(slot_put(s));
	leave(p, 0, 0);
	state_is(s, SLOT_BAD, 0, 0);
	assert_int_equal(swap_areas[0].used, 1);
	assert_int_equal(swap_areas[0].lost, 1);
	for (u32 i = 0; i < 3 * NR_SLOTS; i++) {
		assert_int_equal(slots_alloc(&p, 1), 1);
		assert_int_not_equal(p->slot, s.v);
		leave(p, 0, 0);
	}
	/* Not counted as ours when the area goes. */
	swap_counts.used--;
	swap_areas[0].used--;
	swap_areas[0].lost--;
	swap_areas[0].clusters[slot_index(s) / CLUSTER_SLOTS].used--;
	swap_areas[0].clusters[slot_index(s) / CLUSTER_SLOTS].words[slot_index(s) % CLUSTER_SLOTS] = 0;
}

static slot_t wrong_slot;

static void get_it(void *ctx)
{
	(void)ctx;
	slot_get(wrong_slot);
}

static void put_it(void *ctx)
{
	(void)ctx;
	(void)slot_put(wrong_slot);
}

static void read_it(void *ctx)
{
	(void)ctx;
	(void)slot_read(wrong_slot);
}

static void remove_it(void *ctx)
{
	slot_remove(ctx, 0, 0);
}

static void wrong_uses_panic(void **state)
{
	struct page *p = pages[0];

	(void)state;
	assert_int_equal(slots_alloc(&p, 1), 1);
	wrong_slot = slot(p->slot);
	expect_panic("dropped, but nobody had it", put_it, NULL);
	page_set(p, PG_WRITEBACK);
	expect_panic("rule 12", remove_it, p);
	page_clear(p, PG_WRITEBACK);
	slot_get(wrong_slot);
	slot_retire(wrong_slot);
	expect_panic("only copy of a page", remove_it, p);
	swap_areas[0].bad = 0;
	swap_areas[0].clusters[0].words[slot_index(wrong_slot)] &= ~((u64)SLOT_BAD << 48);
	(void)slot_put(wrong_slot);
	leave(p, 0, 0);
	p->slot = wrong_slot.v;
	expect_panic("is not of frame", remove_it, p);
	expect_panic("taken: count 0", get_it, NULL);
	wrong_slot = slot(NR_SLOTS);
	expect_panic("the area has 1022 slots", read_it, NULL);
	wrong_slot = slot(5u << SLOT_INDEX_BITS);
	expect_panic("the area has 0 slots", read_it, NULL);
}

/* ---- giving out -------------------------------------------------------------------------------- */

static void runs_follow_one_another(void **state)
{
	(void)state;
	assert_int_equal(slots_alloc(pages, 10), 10);
	assert_int_equal(slots_alloc(pages + 10, 20), 20);
	for (u32 i = 0; i < 30; i++)
		assert_int_equal(pages[i]->slot, pages[0]->slot + i);
	/* A hole of four, at the place where the next run is looked for. */
	for (u32 i = 8; i < 12; i++)
		leave(pages[i], 0, 0);
	swap_areas[0].next = pages[0]->slot + 5;
	assert_int_equal(slots_alloc(pages + 40, 8), 4);
	assert_int_equal(pages[40]->slot, pages[0]->slot + 8);
	for (u32 i = 0; i < 44; i++)
		if (page_test(pages[i], PG_SWAPCACHE))
			leave(pages[i], 0, 0);
}

/* all_out - every slot of all areas to a page, over and over the same few; returns how many there were. */
static u32 all_out(slot_t *slots, u32 most)
{
	u32 nr = 0, got;

	/* One PTE each, so that it stays taken when its page leaves. */
	while (nr < most && (got = slots_alloc(pages, MIN(most - nr, (u32)PAGES)))) {
		for (u32 i = 0; i < got; i++) {
			slots[nr] = slot(pages[i]->slot);
			slot_get(slots[nr++]);
			leave(pages[i], 0, 1);
		}
	}
	return nr;
}

static void areas_fill_to_the_last_slot(void **state)
{
	static slot_t slots[NR_SLOTS + NR_SLOTS_B + 1];
	static bool seen[2][NR_SLOTS];

	(void)state;
	assert_int_equal(swap_add(&disk_b.dev, -1), 0);
	for (u32 round = 0; round < 2; round++) {
		memset(seen, 0, sizeof(seen));
		assert_int_equal(all_out(slots, ARRAY_SIZE(slots)), NR_SLOTS + NR_SLOTS_B);
		assert_int_equal(slots_alloc(pages, 1), 0);
		for (u32 i = 0; i < NR_SLOTS + NR_SLOTS_B; i++) {
			/* The first area first. */
			assert_int_equal(slot_area(slots[i]), i >= NR_SLOTS);
			assert_false(seen[slot_area(slots[i])][slot_index(slots[i])]);
			seen[slot_area(slots[i])][slot_index(slots[i])] = true;
		}
		assert_int_equal(swap_counts.used, NR_SLOTS + NR_SLOTS_B);
		assert_true(swap_counts.used_max >= NR_SLOTS + NR_SLOTS_B);
		for (u32 i = 0; i < NR_SLOTS + NR_SLOTS_B; i++)
			assert_false(slot_put(slots[i]));
	}
}

/* A cluster that is wholly free comes before one with holes; then the one with most room. */
static void clusters_with_room_are_preferred(void **state)
{
	static slot_t slots[NR_SLOTS];

	(void)state;
	assert_int_equal(all_out(slots, NR_SLOTS), NR_SLOTS);
	for (u32 i = 0; i < NR_SLOTS; i++) /* all of the second cluster, and some of the first */
		if (slot_index(slots[i]) >= CLUSTER_SLOTS || slot_index(slots[i]) % 4 == 0)
			(void)slot_put(slots[i]);
	assert_int_equal(slots_alloc(pages, 32), 32);
	assert_true(slot_index(slot(pages[0]->slot)) >= CLUSTER_SLOTS);
	for (u32 i = 0; i < 32; i++)
		leave(pages[i], 0, 0);
	for (u32 i = 0; i < NR_SLOTS; i++)
		if (slot_index(slots[i]) < CLUSTER_SLOTS && slot_index(slots[i]) % 4)
			(void)slot_put(slots[i]);
}

static void an_area_that_goes_gives_nothing(void **state)
{
	(void)state;
	swap_areas[0].state = AREA_GOING;
	assert_int_equal(slots_alloc(pages, 1), 0);
	swap_areas[0].state = AREA_ON;
	assert_int_equal(slots_alloc(pages, 1), 1);
	leave(pages[0], 0, 0);
}

static void without_memory_for_a_cluster_there_are_no_slots(void **state)
{
	(void)state;
	frame_fail_every(1);
	assert_int_equal(slots_alloc(pages, 1), 0);
	frame_fail_every(0);
	assert_int_equal(slots_alloc(pages, 1), 1);
	leave(pages[0], 0, 0);
}

/* ---- chance ------------------------------------------------------------------------------------ */

struct model {
	u32 count, value;
	struct page *page;
	bool same, bad;
};

static struct model model[NR_SLOTS];
static struct rng rng;

static void step_alloc(void)
{
	struct page *want[PAGES];
	u32 nr = 0, most = 1 + rng_below(&rng, 40);

	for (u32 i = 0; i < PAGES && nr < most; i++)
		if (!page_test(pages[i], PG_SWAPCACHE))
			want[nr++] = pages[i];
	if (nr == 0)
		return;
	u32 got = slots_alloc(want, nr);
	if (got == 0)
		for (u32 i = 0; i < NR_SLOTS; i++)
			assert_true(model[i].count || model[i].page || model[i].bad);
	for (u32 i = 0; i < got; i++) {
		struct model *m = &model[want[i]->slot];

		assert_int_equal(want[i]->slot, want[0]->slot + i);
		assert_true(!m->count && !m->page && !m->bad);
		m->page = want[i];
	}
}

static void step_insert(u32 i)
{
	struct model *m = &model[i];
	struct page *p = NULL;
	struct slot_state was;

	for (u32 n = 0; n < PAGES && !p; n++)
		if (!page_test(pages[n], PG_SWAPCACHE))
			p = pages[n];
	if (!p)
		return;
	assert_int_equal(slot_insert(slot(i), p, &was), m->count && !m->page);
	if (!page_test(p, PG_SWAPCACHE))
		return;
	assert_int_equal(was.value, m->value);
	assert_int_equal(was.flags & SLOT_SAME, m->same ? SLOT_SAME : 0);
	m->page = p;
	m->same = false;
}

static void step_leave(u32 i)
{
	struct model *m = &model[i];

	if (!m->page)
		return;
	m->same = m->count && (m->bad || rng_percent(&rng, 30));
	m->value = m->count ? (u32)rng_next(&rng) : 0;
	leave(m->page, m->same ? SLOT_SAME : 0, m->value);
	m->page = NULL;
}

static void step_put(u32 i)
{
	struct model *m = &model[i];

	if (m->count == 0)
		return;
	assert_int_equal(slot_put(slot(i)), --m->count == 0 && m->page);
	if (m->count == 0 && !m->page) {
		m->same = false;
		m->value = 0;
	}
}

static void model_check(void)
{
	u32 used = 0, lost = 0;

	for (u32 i = 0; i < NR_SLOTS; i++) {
		const struct model *m = &model[i];
		u16 flags = (m->page ? SLOT_CACHED : 0) | (m->same ? SLOT_SAME : 0) |
			    (m->bad ? SLOT_BAD : 0);

		if (!swap_areas[0].clusters[i / CLUSTER_SLOTS].words)
			continue;
		state_is(slot(i), flags, m->count, m->page ? page_to_pfn(m->page).v : m->value);
		used += m->count || flags;
		lost += flags == SLOT_BAD && !m->count;
	}
	assert_int_equal(swap_areas[0].used, used);
	assert_int_equal(swap_areas[0].lost, lost);
	assert_int_equal(swap_counts.used, used);
}

static void random_steps_agree_with_a_model(void **state)
{
	static slot_t slots[NR_SLOTS];

	(void)state;
	memset(model, 0, sizeof(model));
	/* So that any slot may be asked for. */
	assert_int_equal(all_out(slots, NR_SLOTS), NR_SLOTS);
	for (u32 i = 0; i < NR_SLOTS; i++)
		(void)slot_put(slots[i]);
	for (u32 n = 0; n < 40000; n++) {
		u32 i = rng_below(&rng, rng_percent(&rng, 70) ? 100 : NR_SLOTS);

		switch (rng_below(&rng, 10)) {
		case 0 ... 1:
			step_alloc();
			break;
		case 2 ... 4:
			if (model[i].count || model[i].page) {
				slot_get(slot(i));
				model[i].count++;
			}
			break;
		case 5:
			step_insert(i);
			break;
		case 6 ... 7:
			step_leave(i);
			break;
		case 8:
			step_put(i);
			break;
		default:
			if (model[i].page && rng_percent(&rng, 3)) {
				slot_retire(slot(i));
				model[i].bad = true;
			}
		}
		if (n % 64 == 0)
			model_check();
	}
	for (u32 i = 0; i < NR_SLOTS; i++) {
		while (model[i].count)
			step_put(i);
		step_leave(i);
	}
	model_check();
	/* The bad ones go with the area. */
	swap_counts.used -= swap_areas[0].lost;
	swap_areas[0].used -= swap_areas[0].lost;
	swap_areas[0].lost = 0;
	for (u32 i = 0; i < NR_SLOTS; i++)
		swap_areas[0].clusters[i / CLUSTER_SLOTS].words[i % CLUSTER_SLOTS] = 0;
}

/* ---- several CPUs ------------------------------------------------------------------------------ */

/* Each takes slots for its own pages, gives PTEs and takes them, and looks at the others' pages. */
static void *play(void *arg)
{
	u32 cpu = (u32)(u64)arg, per = PAGES / MM_HOST_CPUS;
	struct page **mine = pages + cpu * per;
	struct rng r = {cpu + 77};

	mm_host_cpu(cpu);
	for (u32 n = 0; n < 3000; n++) {
		u32 got = slots_alloc(mine, 1 + rng_below(&r, per));

		for (u32 i = 0; i < got; i++) {
			slot_t s = slot(mine[i]->slot);
			slot_t other = slot(rng_below(&r, 64)); /* of the first cluster, which is there */

			slot_get(s);
			struct page *p = slot_page(other);
			if (p)
				page_put(p);
			if (!slot_put(s) || slot_read(s).value != page_to_pfn(mine[i]).v)
				mm_host_violation("slot %#x was taken twice", s.v);
			leave(mine[i], 0, 0);
		}
	}
	return NULL;
}

static void several_cpus_at_once(void **state)
{
	pthread_t t[MM_HOST_CPUS];

	(void)state;
	mm_host_threads = true;
	assert_int_equal(slots_alloc(pages, 1), 1);
	leave(pages[0], 0, 0);
	for (u64 i = 0; i < MM_HOST_CPUS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, play, (void *)i), 0);
	for (u32 i = 0; i < MM_HOST_CPUS; i++)
		pthread_join(t[i], NULL);
	mm_host_threads = false;
	assert_int_equal(mm_host_take(), 0);
	assert_int_equal(swap_areas[0].used, 0);
	/* The short one begins with what it is short of. */
	assert_int_equal(swap_areas[0].clusters[0].used, 0);
	assert_int_equal(swap_areas[0].clusters[1].used, 2 * CLUSTER_SLOTS - NR_SLOTS);
}

#define slot_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		slot_test(a_slot_goes_round),
		slot_test(the_last_pte_frees_the_slot),
		slot_test(bad_slots_are_given_out_no_more),
		slot_test(wrong_uses_panic),
		slot_test(runs_follow_one_another),
		slot_test(areas_fill_to_the_last_slot),
		slot_test(clusters_with_room_are_preferred),
		slot_test(an_area_that_goes_gives_nothing),
		slot_test(without_memory_for_a_cluster_there_are_no_slots),
		slot_test(random_steps_agree_with_a_model),
		slot_test(several_cpus_at_once),
	};

	rng = rng_seeded(1);
	mm_host_start(MIB(16));
	mm_host_pass_time = pass_time;
	disk_make(&disk, "disk0", NR_SLOTS);
	disk_make(&disk_b, "disk1", NR_SLOTS_B);
	disk_scan();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
