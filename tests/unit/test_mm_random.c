/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c
 * tests/unit/mm_secondary.c */
/* Chance against mm: several mms, four CPUs with TLBs that never forget by themselves, a secondary
 * MMU on each mm, allocations that fail; after each step contents are compared with a model, and
 * the rules N1 to N3, the audit and the number of frames with what they must be. Then the same with
 * real threads. */
#include <time.h>

#include "mm_host.h"

#include "lib/mutant.h"
#include "mm/mm_internal.h"

#define NR_WORLDS 3
#define PAGES     96 /* of the first region, where most happens */
#define NR_PINS   12
#define STEPS     6000

struct world {
	struct mm *mm;
	u64 base;
	u64 word[PAGES];  /* what the page's word says */
	bool has_second;
	hva_t second;     /* a region that comes and goes */
	u64 second_word;
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
static struct world *using[MM_HOST_CPUS]; /* by the CPU's thread */
static u64 counter;
static unsigned int wrong; /* contents that differ from the model */

static u64 place(const struct world *w, u32 i)
{
	return w->base + i * PAGE_SIZE + (i % 512) * 8;
}

static void expect(u64 got, u64 want, const char *what)
{
	if (got == want)
		return;
	if (!wrong++)
		printk("%s: %#lx instead of %#lx\n", what, got, want);
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

static void pins_detach(struct world *w, u32 from, u32 to)
{
	for (u32 i = 0; i < NR_PINS; i++)
		if (pins[i].w == w && pins[i].index >= from && pins[i].index < to)
			pins[i].attached = false;
}

static void pins_drop(const struct world *w)
{
	for (u32 i = 0; i < NR_PINS; i++) {
		if (pins[i].w == w)
			page_put(pins[i].page.page);
		if (pins[i].w == w)
			pins[i].w = NULL;
	}
}

static void world_end(struct world *w)
{
	u32 me = mm_host_cpu(0);

	for (u32 i = 0; i < MM_HOST_CPUS; i++) {
		if (using[i] != w)
			continue;
		mm_host_cpu(i);
		mm_host_use(NULL);
		using[i] = NULL;
	}
	mm_host_cpu(me);
	pins_drop(w); /* mm_exit waits for them */
	mm_exit(w->mm);
	if (w->sec.released != 1)
		mm_host_violation("release was called %u times", w->sec.released);
	w->mm = NULL;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* some_world - mostly the one in CR3: only a TLB that lives long can be stale. */
static struct world *some_world(void)
{
	struct world *w = using[cpu_id()];

	if (!w || rng_percent(&rng, 15))
		w = &worlds[rng_below(&rng, NR_WORLDS)];
	if (!w->mm && !world_begin(w))
		return NULL;
	return w;
}

/* some_page - a few are touched often. */
static u32 some_page(void)
{
	return rng_below(&rng, rng_percent(&rng, 50) ? 8 : PAGES);
}

static void step_cpu(struct world *w)
{
	u32 i = some_page(), me = cpu_id();
	u64 v = 0;

	if (using[me] != w) {
		mm_host_use(w->mm);
		using[me] = w;
	}
	if (rng_percent(&rng, 50)) {
		if (mm_host_store(place(w, i), counter) == 0)
			w->word[i] = counter;
	} else if (mm_host_load(place(w, i), &v) == 0) {
		expect(v, w->word[i], "load at hva");
		/* The rest of the page is zero: no other use of the frame shows (N7). */
		if (mm_host_load(place(w, i) ^ 8, &v) == 0)
			expect(v, 0, "beside the word");
	}
}

static void step_secondary(struct world *w)
{
	u32 i = some_page();
	u64 v;

	if (rng_percent(&rng, 50)) {
		if (secondary_store(&w->sec, place(w, i), counter) == 0)
			w->word[i] = counter;
	} else if (secondary_load(&w->sec, place(w, i), &v) == 0) {
		expect(v, w->word[i], "load by the secondary");
	}
}

static void step_gup(struct world *w)
{
	struct pin *pin = &pins[rng_below(&rng, NR_PINS)];
	unsigned int acc = rng_percent(&rng, 50) ? ACC_W : ACC_R;
	u32 i = some_page();
	bool got;

	if (pin->w) {
		page_put(pin->page.page);
		pin->w = NULL;
		return;
	}
	if (rng_percent(&rng, 30))
		got = mm_gup_fast(w->mm, hva(place(w, i)), acc, &pin->page);
	else
		got = mm_gup(w->mm, hva(place(w, i)), acc, &pin->page) == 0;
	if (!got)
		return;
	u64 *word = host_virt(page_to_phys(pin->page.page) + page_offset(place(w, i)));
	*pin = (struct pin){.page = pin->page, .w = w, .index = i, .attached = true};
	expect(*word, w->word[i], "word behind a reference");
	if (acc == ACC_W) {
		if (!pin->page.writable)
			mm_host_violation("gup for write of a page that is read-only");
		w->word[i] = *word = counter;
		mm_mark_dirty(pin->page.pfn);
		/* References to the zero page that was there before are of another page now. */
		for (u32 k = 0; k < NR_PINS; k++)
			if (pins[k].w == w && pins[k].index == i &&
			    pins[k].page.page != pin->page.page)
				pins[k].attached = false;
	}
}

static void step_pin_check(void)
{
	struct pin *pin = &pins[rng_below(&rng, NR_PINS)];

	if (!pin->w || !pin->attached || pin->page.page == zero_page)
		return;
	u64 at = place(pin->w, pin->index);
	u64 *word = host_virt(page_to_phys(pin->page.page) + page_offset(at));
	expect(*word, pin->w->word[pin->index], "word behind an old reference");
}

static void step_zap(struct world *w)
{
	u32 from = some_page(), to = from + 1 + rng_below(&rng, PAGES - from);

	if (rng_percent(&rng, 70))
		to = MIN(to, from + 4);
	rwsem_read_lock(&w->mm->mmap_lock);
	mm_zap_range(w->mm, w->base + from * PAGE_SIZE, w->base + to * PAGE_SIZE);
	rwsem_read_unlock(&w->mm->mmap_lock);
	memset(&w->word[from], 0, (to - from) * sizeof(u64));
	pins_detach(w, from, to);
}

static void step_region(struct world *w)
{
	u64 v;

	if (!w->has_second) {
		w->second_word = 0;
		w->has_second = mm_region_add(w->mm, MIB(3), ACC_R | ACC_W, &w->second) == 0;
	} else if (rng_percent(&rng, 50)) {
		assert_int_equal(mm_region_remove(w->mm, w->second), 0);
		w->has_second = false;
	} else if (using[cpu_id()] == w) {
		if (mm_host_load(w->second.v + MIB(2), &v) == 0)
			expect(v, w->second_word, "load in the second region");
		if (mm_host_store(w->second.v + MIB(2), counter) == 0)
			w->second_word = counter;
	}
}

static void step(void)
{
	struct world *w;

	counter++;
	mm_host_cpu(rng_below(&rng, MM_HOST_CPUS));
	if (rng_percent(&rng, 4))
		frame_fail_every(rng_percent(&rng, 50) ? 0 : 1 + rng_below(&rng, 4));
	w = some_world();
	if (!w)
		return;
	switch (rng_below(&rng, 100)) {
	case 0:
		world_end(w);
		break;
	case 1 ... 8:
		step_zap(w);
		break;
	case 9 ... 14:
		step_region(w);
		break;
	case 15 ... 30:
		step_gup(w);
		break;
	case 31 ... 40:
		step_pin_check();
		break;
	case 41 ... 70:
		step_secondary(w);
		break;
	default:
		step_cpu(w);
	}
}

static void check_all(bool audit)
{
	for (u32 i = 0; i < NR_WORLDS; i++)
		if (worlds[i].mm)
			secondary_check(&worlds[i].sec);
	if (audit && mm_host_audit())
		mm_host_violation("the audit found something");
}

static void end_all(void)
{
	frame_fail_every(0);
	for (u32 i = 0; i < NR_PINS; i++)
		if (pins[i].w)
			page_put(pins[i].page.page);
	memset(pins, 0, sizeof(pins));
	for (u32 i = 0; i < NR_WORLDS; i++)
		if (worlds[i].mm)
			world_end(&worlds[i]);
	mm_host_cpu(0);
}

static void random_steps_keep_all_rules(void **state)
{
	u64 before = mm_host_free_frames();
	unsigned int noticed = 0;

	(void)state;
	for (u32 i = 0; i < STEPS && !wrong && !noticed; i++) {
		step();
		check_all(i % 8 == 0);
		noticed = mm_host_take();
	}
	if (wrong || noticed)
		fail_msg("%s", host_log());
	end_all();
	assert_int_equal(mm_host_audit(), 0);
	assert_int_equal(mm_host_free_frames(), before);
	assert_int_equal(machine_counter.usage, 0);
	assert_int_equal(zero_page->refcount, 1);
}

/* noticed_by_chance - do random steps find the mutant @name? The machine survives: these mutants
 * leave wrong translations, which end with their worlds. */
static void noticed_by_chance(const char *name)
{
	unsigned int noticed = 0;

	mutant_select(name);
	for (u32 i = 0; i < 20 * STEPS && !wrong && !noticed; i++) {
		step();
		check_all(false);
		noticed = mm_host_take();
	}
	mutant_select(NULL);
	end_all();
	mm_host_take();
	if (!wrong && !noticed)
		fail_msg("%u random steps did not notice %s", 20 * STEPS, name);
	wrong = 0;
}

static void chance_notices_cow_no_bracket(void **state)
{
	(void)state;
	noticed_by_chance("cow_no_bracket");
}

static void chance_notices_cow_no_flush(void **state)
{
	(void)state;
	noticed_by_chance("cow_no_flush");
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREAD_PAGES 24
#define THREAD_MS    1000

static struct world shared;
static bool stop; /* [a] */

static u64 thread_place(u32 page, u32 word)
{
	return shared.base + page * PAGE_SIZE + word * 8;
}

static u64 stamp(u32 page, u64 n)
{
	return (u64)(page + 1) << 48 | n;
}

/* Writes its own word of each page by hva; what it reads back is that, or 0 after a zap. */
static void *play_cpu(void *arg)
{
	u64 last[THREAD_PAGES] = {0}, n = 0, v;
	u32 word = (u64)arg;
	struct rng r = rng_seeded(word);

	mm_host_cpu(word);
	mm_host_use(shared.mm);
	while (!atomic_load(&stop)) {
		u32 i = rng_below(&r, THREAD_PAGES);
		if (rng_percent(&r, 50)) {
			if (mm_host_store(thread_place(i, word), stamp(i, ++n)))
				mm_host_violation("store failed");
			last[i] = stamp(i, n);
		} else if (mm_host_load(thread_place(i, word), &v) || (v && v != last[i])) {
			mm_host_violation("page %u word %u: %#lx, wrote %#lx", i, word, v, last[i]);
		}
	}
	mm_host_use(NULL);
	return NULL;
}

/* Looks at pages by gup and through the secondary: all that it finds is of that page, or 0. */
static void *play_looker(void *arg)
{
	struct rng r = rng_seeded(77);
	struct mm_page page;
	u64 v, n = 0;

	mm_host_cpu((u64)arg);
	while (!atomic_load(&stop)) {
		u32 i = rng_below(&r, THREAD_PAGES), word = rng_below(&r, 3);

		if (mm_gup_fast(shared.mm, hva(thread_place(i, 0)), ACC_R, &page)) {
			v = atomic_load((u64 *)host_virt(page_to_phys(page.page)) + word);
			if (v && v >> 48 != i + 1)
				mm_host_violation("gup of page %u gave %#lx", i, v);
			page_put(page.page);
		}
		if (secondary_load(&shared.sec, thread_place(i, word), &v) ||
		    (v && v >> 48 != i + 1))
			mm_host_violation("secondary: page %u has %#lx", i, v);
		if (secondary_store(&shared.sec, thread_place(i, 2), stamp(i, ++n)))
			mm_host_violation("secondary: store failed");
	}
	return NULL;
}

static void *play_zapper(void *arg)
{
	struct rng r = rng_seeded(99);

	mm_host_cpu((u64)arg);
	while (!atomic_load(&stop)) {
		u32 from = rng_below(&r, THREAD_PAGES), to = from + 1 + rng_below(&r, 3);

		rwsem_read_lock(&shared.mm->mmap_lock);
		mm_zap_range(shared.mm, thread_place(from, 0),
			     thread_place(MIN(to, (u32)THREAD_PAGES), 0));
		rwsem_read_unlock(&shared.mm->mmap_lock);
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	}
	return NULL;
}

static void threads_fault_look_and_zap(void **state)
{
	void *(*play[])(void *) = {play_cpu, play_cpu, play_looker, play_zapper};
	u64 before = mm_host_free_frames();
	pthread_t t[ARRAY_SIZE(play)];

	(void)state;
	mm_host_threads = true;
	assert_true(world_begin(&shared));
	for (u64 i = 0; i < ARRAY_SIZE(play); i++)
		assert_int_equal(pthread_create(&t[i], NULL, play[i], (void *)i), 0);
	nanosleep(&(struct timespec){.tv_sec = THREAD_MS / 1000,
				     .tv_nsec = THREAD_MS % 1000 * 1000000}, NULL);
	atomic_store(&stop, true);
	for (u32 i = 0; i < ARRAY_SIZE(play); i++)
		pthread_join(t[i], NULL);
	printf("%lu faults, %lu copies, %u restarts\n", shared.mm->faults, shared.mm->cow_faults,
	       shared.sec.retries);
	secondary_check(&shared.sec);
	assert_int_equal(mm_host_audit(), 0);
	world_end(&shared);
	if (mm_host_take())
		fail_msg("%s", host_log());
	assert_int_equal(mm_host_free_frames(), before);
	mm_host_threads = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_steps_keep_all_rules),
		cmocka_unit_test(chance_notices_cow_no_bracket),
		cmocka_unit_test(chance_notices_cow_no_flush),
		cmocka_unit_test(threads_fault_look_and_zap),
	};

	rng = rng_seeded(1);
	mm_host_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
