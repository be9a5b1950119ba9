/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* Chance against swap and reclaim: several mms, three CPUs with TLBs that never forget by themselves, a
 * secondary MMU on each mm, devices with references, limits and policies that change, areas that come and
 * go, disks that answer late, in any order and with errors, allocations that fail. After each step
 * contents are compared with a model, and N1 to N4 with the tables; at the end every frame and slot is back
 * (N10). With real threads: test_swap_threads.c. */
#include "swap_fixture.h"

#define NR_WORLDS 3
#define PAGES     96
#define NR_PINS   6
#define STEPS     8000
#define CPUS      3

struct world {
	struct mm *mm;
	u64 base;
	u64 word[PAGES]; /* what the page's word says */
	bool same[PAGES]; /* all its words do */
	struct secondary sec;
};

struct pin {
	struct mm_page page;
	struct world *w;
	u32 index;
	bool attached; /* the mapping that it was taken from still stands */
};

static struct world worlds[NR_WORLDS];
static struct pin pins[NR_PINS];
static struct rng rng;
static struct world *using[MM_HOST_CPUS];
static u64 counter;
static u32 wrong;
static bool disk_fails; /* reads may end with an error, then */

static u64 place(const struct world *w, u32 i)
{
	return w->base + i * PAGE_SIZE + (i % 512) * 8;
}

static void expect(u64 value, u64 want, const char *what, u32 i)
{
	if (value == want)
		return;
	if (!wrong++)
		printk("%s, page %u: %#lx instead of %#lx\n", what, i, value, want);
}

/* ---- worlds ---------------------------------------------------------------------------------- */

static bool world_begin(struct world *w)
{
	hva_t start;

	memset(w, 0, sizeof(*w));
	w->mm = mm_create(&machine_counter);
	if (!w->mm)
		return false;
	if (mm_region_add(w->mm, PAGES * PAGE_SIZE, ACC_R | ACC_W, &start)) {
		mm_exit(w->mm);
		w->mm = NULL;
		return false;
	}
	w->base = start.v;
	secondary_init(&w->sec, w->mm, w->base);
	return true;
}

static void pin_drop(struct pin *pin)
{
	if (pin->w && pin->page.page != zero_page)
		mm_mark_dirty(pin->page.pfn); /* a device reference that wrote dirties on release */
	if (pin->w)
		page_put(pin->page.page);
	pin->w = NULL;
}

static void world_end(struct world *w)
{
	u32 me = mm_host_cpu(0);

	for (u32 i = 0; i < CPUS; i++) {
		mm_host_cpu(i);
		if (using[i] == w)
			mm_host_use(NULL);
		if (using[i] == w)
			using[i] = NULL;
	}
	mm_host_cpu(me);
	for (u32 i = 0; i < NR_PINS; i++)
		if (pins[i].w == w)
			pin_drop(&pins[i]);
	mm_exit(w->mm);
	if (w->sec.released != 1)
		mm_host_violation("release was called %u times", w->sec.released);
	w->mm = NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static struct world *some_world(void)
{
	struct world *w = using[cpu_id()];

	if (!w || rng_percent(&rng, 15))
		w = &worlds[rng_below(&rng, NR_WORLDS)];
	if (!w->mm && !world_begin(w))
		return NULL;
	return w;
}

static u32 some_page(void)
{
	return rng_below(&rng, rng_percent(&rng, 40) ? 12 : PAGES);
}

/* fill - all words of page @i say the same. */
static void fill(struct world *w, u32 i)
{
	u64 value = rng_percent(&rng, 50) ? 0 : (counter & 0xffffffff) * 0x100000001ull;

	for (u32 k = 0; k < PAGE_SIZE / 8; k++)
		if (mm_host_store(w->base + i * PAGE_SIZE + k * 8, value)) {
			/* Half done: nothing is said of this page until it is zapped. */
			rwsem_read_lock(&w->mm->mmap_lock);
			mm_zap_range(w->mm, w->base + i * PAGE_SIZE, w->base + (i + 1) * PAGE_SIZE);
			rwsem_read_unlock(&w->mm->mmap_lock);
			for (u32 n = 0; n < NR_PINS; n++)
				if (pins[n].w == w && pins[n].index == i)
					pins[n].attached = false;
			w->word[i] = 0;
			w->same[i] = true;
			return;
		}
	w->word[i] = value;
	w->same[i] = true;
}

static void stored(struct world *w, u32 i)
{
	if (w->word[i] != counter)
		w->same[i] = false;
	w->word[i] = counter;
}

static void step_cpu(struct world *w)
{
	u32 i = some_page(), me = cpu_id();
	u64 v = 0;

	if (using[me] != w) {
		mm_host_use(w->mm);
		using[me] = w;
	}
	if (rng_percent(&rng, 3)) {
		fill(w, i);
	} else if (rng_percent(&rng, 50)) {
		bool first = w->same[i] && w->word[i];
		if (mm_host_store(place(w, i), counter) == 0) {
			stored(w, i);
			/* The words beside are those that it was filled with. */
			if (first && mm_host_store(place(w, i) ^ 8, 0)) {
				fill(w, i);
				return;
			}
		}
	} else if (mm_host_load(place(w, i), &v) == 0) {
		expect(v, w->word[i], "load at hva", i);
		if (mm_host_load(place(w, i) ^ 8, &v) == 0)
			expect(v, w->same[i] ? w->word[i] : 0, "beside the word", i);
	} else if (!disk_fails && host_last_error() == -EIO) {
		mm_host_violation("N6: page %u cannot be read, but no disk fails", i);
	}
}

static void step_secondary(struct world *w)
{
	u32 i = some_page();
	u64 v;

	if (rng_percent(&rng, 50) && !w->same[i]) {
		if (secondary_store(&w->sec, place(w, i), counter) == 0)
			stored(w, i);
	} else if (secondary_load(&w->sec, place(w, i), &v) == 0) {
		expect(v, w->word[i], "load by the secondary", i);
	}
}

static void step_gup(struct world *w)
{
	struct pin *pin = &pins[rng_below(&rng, NR_PINS)];
	bool write = rng_percent(&rng, 50);
	u32 i = some_page();
	bool got;

	if (pin->w) {
		pin_drop(pin);
		return;
	}
	if (rng_percent(&rng, 30))
		got = mm_gup_fast(w->mm, hva(place(w, i)), write ? ACC_W : ACC_R, &pin->page);
	else
		got = mm_gup(w->mm, hva(place(w, i)), write ? ACC_W : ACC_R, &pin->page) == 0;
	if (!got)
		return;
	u64 *word = host_virt(page_to_phys(pin->page.page) + page_offset(place(w, i)));
	*pin = (struct pin){.page = pin->page, .w = w, .index = i, .attached = true};
	expect(*word, w->word[i], "word behind a reference", i);
	if (write && !w->same[i])
		w->word[i] = *word = counter;
	for (u32 k = 0; write && k < NR_PINS; k++)
		if (pins[k].w == w && pins[k].index == i && pins[k].page.page != pin->page.page)
			pins[k].attached = false;
}

/* step_pin - what a reference sees is the page, for it cannot leave meanwhile (rule 8). */
static void step_pin(void)
{
	struct pin *pin = &pins[rng_below(&rng, NR_PINS)];

	if (!pin->w || !pin->attached || pin->page.page == zero_page)
		return;
	u64 at_place = place(pin->w, pin->index);
	u64 *word = host_virt(page_to_phys(pin->page.page) + page_offset(at_place));
	expect(*word, pin->w->word[pin->index], "word behind an old reference", pin->index);
}

static void step_zap(struct world *w)
{
	u32 from = some_page(), to = MIN(from + 1 + rng_below(&rng, 6), (u64)PAGES);

	rwsem_read_lock(&w->mm->mmap_lock);
	mm_zap_range(w->mm, w->base + from * PAGE_SIZE, w->base + to * PAGE_SIZE);
	rwsem_read_unlock(&w->mm->mmap_lock);
	for (u32 i = from; i < to; i++) {
		w->word[i] = 0;
		w->same[i] = true;
	}
	for (u32 i = 0; i < NR_PINS; i++)
		if (pins[i].w == w && pins[i].index >= from && pins[i].index < to)
			pins[i].attached = false;
}

static void step_reclaim(struct world *w)
{
	u64 tables = w->mm->nr_tables;

	if (rng_percent(&rng, 60)) {
		int err = mm_evict(w->mm, hva(w->base + some_page() * PAGE_SIZE));
		assert_true(err == 0 || err == -EAGAIN || err == -ENOENT);
	} else if (rng_percent(&rng, 60)) {
		int err = mm_set_limit(w->mm, tables + 4 + rng_below(&rng, PAGES));
		assert_true(err == 0 || err == -ENOMEM);
	} else {
		assert_int_equal(mm_set_limit(w->mm, RES_UNLIMITED), 0);
	}
}

static void step_disk(void)
{
	struct fault_blkdev *d = rng_percent(&rng, 70) ? &disk : &disk_b;
	u64 at_sector = 8 + rng_below(&rng, 1600); /* where the slots in use are */

	switch (rng_below(&rng, 8)) {
	case 0:
		d->reorder = !d->reorder;
		break;
	case 1:
		d->early = rng_below(&rng, 101);
		break;
	case 2:
		d->busy_every = rng_percent(&rng, 50) ? 0 : 2 + rng_below(&rng, 5);
		break;
	case 3:
		disk_fails = true;
		if (!d->ranges[0].times)
			fault_blkdev_fail(d, at_sector, at_sector + 400, true, false, 1 + rng_below(&rng, 3));
		break;
	case 4:
		if (!d->ranges[FAULT_RANGES - 1].times)
			fault_blkdev_fail(d, at_sector, at_sector + 200, false, true, 1 + rng_below(&rng, 2));
		break;
	default:
		memset(d->ranges, 0, sizeof(d->ranges));
		disk_fails = disk.ranges[0].times || disk_b.ranges[0].times;
	}
}

static void step_areas(void)
{
	struct fault_blkdev *d = rng_percent(&rng, 50) ? &disk : &disk_b;

	if (!blkdev_is_open(&d->dev)) {
		int err = swap_add(&d->dev, (int)rng_below(&rng, 3));
		assert_true(err == 0 || err == -ENOMEM || err == -EIO);
	} else if (rng_percent(&rng, 30)) {
		int err = swap_off(&d->dev);
		assert_true(err == 0 || err == -ENOMEM || err == -EIO);
	}
}

static void step(void)
{
	struct world *w;

	counter++;
	mm_host_cpu(rng_below(&rng, CPUS));
	if (rng_percent(&rng, 4))
		frame_fail_every(rng_percent(&rng, 60) ? 0 : 1 + rng_below(&rng, 5));
	w = some_world();
	if (!w)
		return;
	switch (rng_below(&rng, 200)) {
	case 0:
		world_end(w);
		break;
	case 1 ... 10:
		step_zap(w);
		break;
	case 11 ... 30:
		step_gup(w);
		break;
	case 31 ... 40:
		step_pin();
		break;
	case 41 ... 80:
		step_secondary(w);
		break;
	case 81 ... 110:
		step_reclaim(w);
		break;
	case 111 ... 116:
		step_disk();
		break;
	case 117:
		step_areas();
		break;
	case 118:
		assert_int_equal(reclaim_policy_set(reclaim_policy_name(rng_below(&rng, 3))), 0);
		break;
	case 119 ... 126:
		(void)pass_time();
		break;
	case 127:
		w->sec.refuse = !w->sec.refuse;
		break;
	default:
		step_cpu(w);
	}
}

static void check_all(bool audit)
{
	for (u32 i = 0; i < NR_WORLDS; i++) {
		if (!worlds[i].mm)
			continue;
		secondary_check(&worlds[i].sec);
		mm_host_check_tlbs(worlds[i].mm);
	}
	if (audit && mm_host_audit())
		mm_host_violation("the audit found something");
}

static void all_calm(void)
{
	frame_fail_every(0);
	mm_host_cpu(0);
	disk_calm(&disk);
	disk_calm(&disk_b);
	disk_fails = false;
}

/* read_all - nothing was lost, whatever happened before. */
static void read_all(void)
{
	u64 v;

	all_calm();
	for (u32 n = 0; n < NR_WORLDS; n++) {
		struct world *w = &worlds[n];

		if (!w->mm)
			continue;
		assert_int_equal(mm_set_limit(w->mm, RES_UNLIMITED), 0);
		mm_host_use(w->mm);
		using[0] = w;
		for (u32 i = 0; i < PAGES; i++) {
			assert_int_equal(mm_host_load(place(w, i), &v), 0);
			expect(v, w->word[i], "at the end", i);
		}
	}
}

static int end_all(void **state)
{
	(void)state;
	all_calm();
	for (u32 i = 0; i < NR_WORLDS; i++)
		if (worlds[i].mm)
			world_end(&worlds[i]);
	mm_host_cpu(0);
	return swap_teardown(state);
}

static void random_steps_keep_all_rules(void **state)
{
	unsigned int noticed = 0;
	struct reclaim_stats r;

	(void)state;
	for (u32 i = 0; i < STEPS && !wrong && !noticed; i++) {
		step();
		check_all(i % 16 == 0);
		noticed = mm_host_take();
	}
	if (wrong || noticed)
		fail_msg("%s", host_log());
	read_all();
	check_all(true);
	if (wrong || mm_host_take())
		fail_msg("%s", host_log());
	reclaim_stats(&r);
	struct swap_stats s = stats();
	printf("%lu pages out, %lu in, %lu clean, %lu same, %lu bad, %lu + %lu errors, %lu batches\n",
	       s.pages_out, s.pages_in, s.clean_drops, s.same_out, s.bad, s.read_errors, s.write_errors,
	       r.batches);
	/* The course was a rich one; how many errors there were is chance. */
	assert_true(s.pages_out > 150 && s.pages_in > 50 && s.clean_drops > 3 && s.same_out > 3);
}

/* noticed_by_chance - do random steps find the mutant @name? In a process of its own. */
#define MANY_STEPS (12 * STEPS)

static bool many_steps(void)
{
	unsigned int noticed = 0;

	for (u32 i = 0; i < MANY_STEPS && !wrong && !noticed; i++) {
		step();
		check_all(i % 64 == 0);
		noticed = mm_host_take();
	}
	return !wrong && !noticed;
}

static void chance_notices(const char *name)
{
	mutant_select(name);
	const char *mishap = mm_host_mishap(many_steps, "a rule was broken");
	mutant_select(NULL);
	if (!mishap)
		fail_msg("%u random steps did not notice %s", MANY_STEPS, name);
	printf("%s: %s\n", name, mishap);
}

static void chance_notices_broken_rules(void **state)
{
	static const char *const names[] = {
		"unmap_drops_dirty", "batch_no_flush", "redirtied_is_clean", "dirty_cleared_late",
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		chance_notices(names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_steps_keep_all_rules, swap_setup, end_all),
		cmocka_unit_test_setup_teardown(chance_notices_broken_rules, swap_setup, end_all),
	};

	rng = rng_seeded(1);
	swap_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
