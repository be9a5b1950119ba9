/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory with known contents and disks for it (swap_test.h). */
#include "tests/kernel/swap_test.h"

#include "lib/check.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"

#define SHOWN_MAX 4

u32 random_below(u64 *state, u32 n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (u32)(*state >> 20) % n;
}

/* ---- a space ------------------------------------------------------------------------------------- */

void space_begin(struct space *s, u64 limit)
{
	hva_t start = {0};

	memset(s, 0, sizeof(*s));
	s->mm = mm_create(&machine_counter);
	if (!s->mm || mm_region_add(s->mm, SPACE_PAGES * PAGE_SIZE, ACC_R | ACC_W, &start))
		panic("no memory for the test of swap");
	if (limit)
		s->mm->counter.limit = limit;
	s->base = start.v;
}

void space_end(struct space *s)
{
	mm_exit(s->mm);
	s->mm = NULL;
}

u64 space_at(const struct space *s, u32 page, u32 lane)
{
	return s->base + page * PAGE_SIZE + lane * LANE_WORDS * sizeof(u64);
}

void space_wrong(struct space *s, const char *what, u32 page, s64 value)
{
	if (atomic_add(&s->nr_wrong, 1) <= SHOWN_MAX)
		printk("%s: page %u, %#lx\n", what, page, (u64)value);
}

/* ---- lanes --------------------------------------------------------------------------------------- */

static u64 lane_word(u32 page, u32 lane, u32 version, u32 i)
{
	u64 first = (u64)(page + 1) << 40 | (u64)lane << 32 | version;

	if (version == 0)
		return 0;
	return i ? first * 0x9e3779b97f4a7c15ull + i * 0x2545f4914f6cdd1dull : first;
}

void lane_fill(u64 *words, u32 page, u32 lane, u32 version)
{
	for (u32 i = 0; i < LANE_WORDS; i++)
		words[i] = lane_word(page, lane, version, i);
}

void lane_compare(struct space *s, const u64 *words, u32 page, u32 lane)
{
	u32 version = s->version[page][lane];

	for (u32 i = 0; i < LANE_WORDS; i++) {
		u64 v = READ_ONCE(words[i]);

		if (v == lane_word(page, lane, version, i) || (s->zaps && v == 0))
			continue;
		if (s->torn[page][lane] && v == lane_word(page, lane, version - 1, i))
			continue;
		space_wrong(s, "a word is not what was written", page, (s64)v);
		return;
	}
}

int lane_write(struct space *s, u32 page, u32 lane)
{
	u64 words[LANE_WORDS];

	if (s->torn[page][lane])
		s->version[page][lane]--; /* once more: what may be there stays two versions */
	lane_fill(words, page, lane, ++s->version[page][lane]);
	int err = hva_write(hva(space_at(s, page, lane)), words, sizeof(words));
	s->torn[page][lane] = err;
	return err;
}

int lane_check(struct space *s, u32 page, u32 lane)
{
	u64 words[LANE_WORDS];
	int err = hva_read(words, hva(space_at(s, page, lane)), sizeof(words));

	if (!err)
		lane_compare(s, words, page, lane);
	return err;
}

static int each_page(struct space *s, u32 nr, int (*fn)(struct space *s, u32 page, u32 lane))
{
	int err = 0;

	thread_use_space(s->mm, &s->mm->space);
	for (u32 page = 0; page < nr && !err; page++)
		err = fn(s, page, 0);
	thread_use_space(NULL, NULL);
	return err;
}

int space_fill(struct space *s, u32 nr)
{
	return each_page(s, nr, lane_write);
}

int space_check(struct space *s, u32 nr)
{
	return each_page(s, nr, lane_check);
}

u32 space_evict(struct space *s, u32 nr)
{
	u32 gone = 0;

	for (u32 tries = 0; tries < 3 && gone < nr; tries++) {
		gone = 0;
		for (u32 page = 0; page < nr; page++)
			gone += mm_evict(s->mm, hva(space_at(s, page, 0))) != -EAGAIN;
	}
	return gone;
}

/* ---- disks, and what there was before ------------------------------------------------------------- */

struct slow_disk disk_a, disk_b;
static struct blkdev *others[SWAP_AREAS]; /* the machine's own */
static u32 nr_others;
static u64 guest_before, table_before, free_before, used_before, charged_before;

static void count_frames(u64 *guest, u64 *table, u64 *nr_free)
{
	struct frame_stats f;

	frame_stats(&f);
	*guest = f.by_owner[FRAME_GUEST];
	*table = f.by_owner[FRAME_TABLE] + f.by_owner[FRAME_SPTABLE];
	*nr_free = f.free;
}

void swap_test_add(struct slow_disk *d)
{
	int err = swap_add(&d->dev, d == &disk_a);

	CHECK(err == 0, "the test's disk %s is not taken: error %d", d->dev.name, err);
}

/* others_off - so that the tests know what is full, and when. */
static void others_off(void)
{
	struct swap_area_stats area;

	for (nr_others = 0; swap_area_stats(0, &area); nr_others++) {
		others[nr_others] = (struct blkdev *)area.dev;
		int err = swap_off(others[nr_others]);
		CHECK(err == 0, "%s is not taken off for the test: error %d", area.dev->name, err);
	}
}

static void others_on(void)
{
	while (nr_others) {
		int err = swap_add(others[--nr_others], 0);
		CHECK(err == 0, "%s is not taken again: error %d", others[nr_others]->name, err);
	}
}

void swap_test_begin(u64 bytes)
{
	struct swap_stats s;

	others_off();
	swap_stats(&s);
	used_before = s.used;
	charged_before = machine_counter.usage;
	count_frames(&guest_before, &table_before, &free_before);
	slow_disk_start(&disk_a, "slow_a", bytes);
	slow_disk_start(&disk_b, "slow_b", bytes);
	swap_test_add(&disk_a);
	swap_test_add(&disk_b);
}

void swap_test_end(const char *what)
{
	u64 guest, table, nr_free;
	struct swap_stats s;

	swap_stats(&s);
	report(s.used - s.bad == used_before && machine_counter.usage == charged_before,
	       "%s: every slot and charge is back: %lu slots before, %lu after, %lu bad; %lu charged "
	       "before, %lu after", what, used_before, s.used, s.bad, charged_before, machine_counter.usage);
	report(mm_audit_quiet(printk) + frame_audit(printk) == 0, "%s: the audits are clean", what);
	int a = swap_off(&disk_a.dev), b = swap_off(&disk_b.dev);
	CHECK(a == 0 && b == 0, "the test's disks cannot be taken off: %d, %d", a, b);
	slow_disk_stop(&disk_a);
	slow_disk_stop(&disk_b);
	count_frames(&guest, &table, &nr_free);
	report(guest == guest_before && table == table_before && nr_free == free_before,
	       "%s: every frame is back: %lu guests', %lu tables, %lu free before; %lu, %lu, %lu after",
	       what, guest_before, table_before, free_before, guest, table, nr_free);
	others_on();
}
