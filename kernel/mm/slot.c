/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of the swap slots, and where the next free ones are; slot.h tells the states. */
#include "cpu/percpu.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"

static_assert(CLUSTER_SLOTS * sizeof(u64) == PAGE_SIZE, "a cluster's words fill a page");

struct swap_area swap_areas[SWAP_AREAS];

static always_inline u64 *word_of(slot_t s)
{
	struct swap_area *a = &swap_areas[slot_area(s) % SWAP_AREAS];
	u32 i = slot_index(s);

	CHECK(i < a->nr_slots && a->clusters[i / CLUSTER_SLOTS].words,
	      "slot %#x: area %s has %u slots", s.v, a->dev ? a->dev->name : "(none)", a->nr_slots);
	return &a->clusters[i / CLUSTER_SLOTS].words[i % CLUSTER_SLOTS];
}

/* count_free - @s, which was @was, is free now: the area's counts fall. A bad one stays in use. */
static void count_free(slot_t s, struct slot_state was)
{
	struct swap_area *a = &swap_areas[slot_area(s)];

	if (was.flags & SLOT_BAD) {
		atomic_add(&a->lost, 1);
		return;
	}
	atomic_sub(&a->clusters[slot_index(s) / CLUSTER_SLOTS].used, 1);
	atomic_sub(&a->used, 1);
	atomic_sub(&swap_counts.used, 1);
}

/* ---- giving out ------------------------------------------------------------------------------ */

/* cluster_choose - the next cluster after the present one that is wholly free, else the one with most
 * room, else NONE. => area lock */
static u32 cluster_choose(const struct swap_area *a)
{
	u32 best = ~0u, best_used = CLUSTER_SLOTS;

	for (u32 i = 1; i <= a->nr_clusters && best_used; i++) {
		u32 c = (a->cluster + i) % a->nr_clusters;
		u32 used = atomic_load_relaxed(&a->clusters[c].used);

		if (used < best_used) {
			best = c;
			best_used = used;
		}
	}
	return best;
}

/* cluster_slots - the last cluster may be short. */
static u32 cluster_slots(const struct swap_area *a, u32 c)
{
	return MIN(a->nr_slots - c * CLUSTER_SLOTS, (u32)CLUSTER_SLOTS);
}

/* cluster_open - its words; they come into being with its first slot. */
static u64 *cluster_open(struct cluster *c)
{
	if (!c->words) {
		struct page *p = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_RESERVE | FRAME_NOWAIT);
		if (p)
			atomic_store(&c->words, page_to_virt(p));
	}
	return c->words;
}

/* slot_give - @p becomes the cache's page of @s, which is free and whose word is @word. */
static void slot_give(slot_t s, u64 *word, struct page *p)
{
	union slot_word w = {.s = {.value = page_to_pfn(p).v, .flags = SLOT_CACHED}};

	p->slot = s.v;
	page_get(p);
	page_set(p, PG_SWAPCACHE | PG_UPTODATE);
	atomic_store(word, w.v);
}

/* run_take - a run of free slots from a->next on, in the present cluster. => area lock */
static u32 run_take(struct swap_area *a, struct page **pages, u32 want)
{
	struct cluster *c = &a->clusters[a->cluster];
	u32 end = cluster_slots(a, a->cluster), nr = 0;
	u64 *words = cluster_open(c);

	if (!words)
		return 0;
	while (a->next < end && words[a->next])
		a->next++;
	for (; a->next < end && nr < want && !words[a->next]; a->next++, nr++) {
		u32 index = a->cluster * CLUSTER_SLOTS + a->next;
		slot_t s = {(u32)(a - swap_areas) << SLOT_INDEX_BITS | index};

		slot_give(s, &words[a->next], pages[nr]);
	}
	atomic_add(&c->used, nr);
	atomic_add(&a->used, nr);
	u64 used = atomic_add(&swap_counts.used, nr), max = atomic_load_relaxed(&swap_counts.used_max);
	while (used > max && !atomic_cas(&swap_counts.used_max, &max, used))
		;
	return nr;
}

static u32 area_take(struct swap_area *a, struct page **pages, u32 want)
{
	u32 nr = 0;

	spin_lock(&a->lock);
	while (nr == 0 && atomic_load_relaxed(&a->state) == AREA_ON) {
		nr = run_take(a, pages, want);
		if (nr)
			break;
		u32 c = cluster_choose(a);
		if (c == ~0u)
			break;
		a->cluster = c;
		a->next = 0;
		if (!cluster_open(&a->clusters[c]))
			break;
	}
	spin_unlock(&a->lock);
	return nr;
}

/* Areas are few: the next in order is looked for anew each time. */
u32 slots_alloc(struct page **pages, u32 want)
{
	u32 tried = 0, nr = 0;

	while (nr == 0) {
		struct swap_area *best = NULL;

		for (u32 i = 0; i < SWAP_AREAS; i++) {
			struct swap_area *a = &swap_areas[i];
			if (!(tried & 1u << i) && atomic_load(&a->state) == AREA_ON &&
			    (!best || a->priority > best->priority))
				best = a;
		}
		if (!best)
			break;
		tried |= 1u << (best - swap_areas);
		nr = area_take(best, pages, want);
	}
	return nr;
}

/* ---- the cache ------------------------------------------------------------------------------- */

struct page *slot_page(slot_t s)
{
	u64 *word = word_of(s);

	for (;;) {
		union slot_word w = {.v = atomic_load(word)};
		struct page *p;
		bool same = false;

		if (!(w.s.flags & SLOT_CACHED))
			return NULL;
		p = pfn_to_page(pfn(w.s.value));
		/* A reference that may be too many is held with preemption off: I3 of frame.c. */
		preempt_disable();
		bool got = page_get_unless_zero(p);
		if (got) {
			union slot_word now = {.v = atomic_load(word)};
			same = (now.s.flags & SLOT_CACHED) && now.s.value == w.s.value;
			if (!same)
				page_put(p);
		}
		preempt_enable();
		if (got && same)
			return p;
		if (mutant("frozen_is_a_miss") && !got)
			return NULL;
		cpu_relax(); /* frozen: look again (I2) */
	}
}

bool slot_insert(slot_t s, struct page *p, struct slot_state *was)
{
	u64 *word = word_of(s);
	union slot_word w = {.v = atomic_load(word)}, now;

	p->slot = s.v;
	page_get(p);
	page_set(p, PG_SWAPCACHE);
	do {
		if (w.s.count == 0 || (w.s.flags & SLOT_CACHED)) {
			page_clear(p, PG_SWAPCACHE);
			atomic_sub(&p->refcount, 1);
			return false;
		}
		now.s = (struct slot_state){.value = page_to_pfn(p).v, .count = w.s.count,
					    .flags = SLOT_CACHED | (w.s.flags & SLOT_BAD)};
	} while (!atomic_cas(word, &w.v, now.v));
	*was = w.s;
	return true;
}

void slot_remove(struct page *p, u16 flags, u32 value)
{
	slot_t s = {p->slot};
	u64 *word = word_of(s);
	union slot_word w = {.v = atomic_load(word)}, now;

	CHECK((w.s.flags & SLOT_CACHED) && w.s.value == page_to_pfn(p).v,
	      "slot %#x is not of frame %#lx: flags %#x value %#x", s.v, page_to_pfn(p).v, w.s.flags,
	      w.s.value);
	CHECK(!page_test(p, PG_WRITEBACK) || mutant("slot_freed_in_flight"),
	      "rule 12: frame %#lx leaves slot %#x in flight", page_to_pfn(p).v, s.v);
	do {
		CHECK(!(w.s.flags & SLOT_BAD) || w.s.count == 0 || (flags & SLOT_SAME),
		      "bad slot %#x would hold the only copy of a page", s.v);
		now.v = 0;
		if (w.s.count)
			now.s = (struct slot_state){.value = value, .count = w.s.count, .flags = flags};
		now.s.flags |= w.s.flags & SLOT_BAD;
	} while (!atomic_cas(word, &w.v, now.v));
	if (w.s.count == 0)
		count_free(s, w.s);
	page_clear(p, PG_SWAPCACHE | PG_UPTODATE | PG_READAHEAD);
}

/* ---- counting -------------------------------------------------------------------------------- */

void slot_get(slot_t s)
{
	u64 *word = word_of(s);
	union slot_word w = {.v = atomic_load(word)}, now;

	do {
		CHECK(w.s.count != 0xffff && (w.s.count || (w.s.flags & SLOT_CACHED)),
		      "slot %#x taken: count %u flags %#x", s.v, w.s.count, w.s.flags);
		now = w;
		now.s.count++;
	} while (!atomic_cas(word, &w.v, now.v));
}

bool slot_put(slot_t s)
{
	u64 *word = word_of(s);
	union slot_word w = {.v = atomic_load(word)}, now;

	do {
		CHECK(w.s.count, "slot %#x dropped, but nobody had it", s.v);
		now = w;
		now.s.count--;
		if (now.s.count == 0 && !(w.s.flags & SLOT_CACHED))
			now.v = ((union slot_word){.s = {.flags = w.s.flags & SLOT_BAD}}).v;
	} while (!atomic_cas(word, &w.v, now.v));
	if (now.s.count)
		return false;
	if (w.s.flags & SLOT_CACHED)
		return true;
	count_free(s, w.s);
	return false;
}

void slot_retire(slot_t s)
{
	u64 *word = word_of(s);
	union slot_word w = {.v = atomic_load(word)}, now;

	do {
		if (w.s.flags & SLOT_BAD)
			return;
		now = w;
		now.s.flags |= SLOT_BAD;
	} while (!atomic_cas(word, &w.v, now.v));
	atomic_add(&swap_areas[slot_area(s)].bad, 1);
}
