/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames: caches, watermarks and owners over the buddy system.
 *
 *	frame_alloc -> this CPU's cache -(empty: 16 at once)-> buddy -(below min)-> reclaim
 *
 * Invariants
 *  I1. A frame is in one of five states, told by its flags: in a free block (buddy.c), in a cache
 *      (PG_CACHED), given out (an owner in PG_OWNER_SHIFT), reserved (PG_RESERVED: a hole,
 *      firmware, the kernel, a module not yet consumed), or in the hands of this file under the
 *      frame lock.
 *  I2. refcount is 0 in every state but "given out": a late mm_gup_fast cannot take a free frame.
 *  I3. A frame that is given out may carry a reference too many for a moment: a mm_gup_fast that
 *      saw it in a PTE which has changed since, took a reference, and has not yet looked again. It
 *      runs with preemption off, so who frees waits for it.
 *
 * Locking: the caches belong to their CPU and are touched with preemption off, not in interrupts;
 * the buddy is under frame_lock. Nothing sleeps or clears pages under it. */
#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/mm_internal.h"

#define CACHE_FRAMES 32
#define CACHE_ORDER  4 /* how much a cache takes from the buddy, or gives, at once */
#define CACHE_BATCH  (1u << CACHE_ORDER)
#define OWNER_MASK   0xfu

/* How often frame_free looks again at a reference too many (I3) before it calls it a bug. */
#define LATE_GUP_SPINS (1u << 20)

struct frame_cache {
	u32 nr;
	struct page *page[CACHE_FRAMES];
	s64 by_owner[FRAME_OWNERS]; /* given out by this CPU, less taken back */
} aligned(64);

struct page *page_array;
u64 page_array_nr;

static struct frame_cache caches[MAX_CPUS];

static struct spinlock frame_lock = SPINLOCK_INIT(RANK_FRAMES);
static struct buddy buddy;       /* under frame_lock, like the next four */
static u64 nr_added;             /* frames that were ever ours to give */
static u64 low_water = ~0ull;
static u64 nr_modules;           /* reserved as FRAME_MODULE */
static struct { u64 min, low, high; } mark;

static const struct frame_reclaimer *reclaimer; /* [a] */

static inline struct frame_cache *this_cache(void)
{
	return &caches[cpu_id()];
}

u64 frame_phys(const struct page *p)
{
	return page_to_phys(p);
}

enum frame_owner frame_owner(const struct page *p)
{
	return atomic_load_relaxed(&p->flags) >> PG_OWNER_SHIFT & OWNER_MASK;
}

/* ---- the caches ------------------------------------------------------------------------------ */

/* nr_free_now - roughly, while others allocate. */
static u64 nr_free_now(void)
{
	u64 n = atomic_load_relaxed(&buddy.nr_free);

	for (u32 i = 0; i < nr_cpus; i++)
		n += atomic_load_relaxed(&caches[i].nr);
	return n;
}

/* cache_refill - up to a batch from the buddy, but not below min, or one frame of the reserve.
 * => preemption off, cache empty */
static void cache_refill(struct frame_cache *c, unsigned int flags)
{
	unsigned int order = CACHE_ORDER;
	struct page *p = NULL;

	spin_lock(&frame_lock);
	u64 spare = buddy.nr_free > mark.min ? buddy.nr_free - mark.min : 0;
	if (spare == 0 && (flags & FRAME_RESERVE))
		spare = MIN(buddy.nr_free, 1ul);
	while (order > 0 && spare >> order == 0)
		order--;
	for (; spare && !p; order--) {
		p = buddy_take(&buddy, order);
		if (p || order == 0)
			break;
	}
	u32 nr = p ? 1u << order : 0;
	/* In falling order, so that they leave in rising order: neighbours stay neighbours. */
	for (u32 i = 0; i < nr; i++) {
		c->page[i] = &p[nr - 1 - i];
		atomic_store_relaxed(&c->page[i]->flags, PG_CACHED);
	}
	atomic_store_relaxed(&c->nr, nr);
	if (buddy.nr_free < low_water)
		low_water = MIN(low_water, nr_free_now());
	spin_unlock(&frame_lock);
}

/* cache_drain - give the oldest @nr frames back. => preemption off */
static void cache_drain(struct frame_cache *c, u32 nr)
{
	spin_lock(&frame_lock);
	for (u32 i = 0; i < nr; i++) {
		atomic_store_relaxed(&c->page[i]->flags, 0);
		buddy_give(&buddy, page_to_pfn(c->page[i]).v, 0);
	}
	spin_unlock(&frame_lock);
	atomic_store_relaxed(&c->nr, c->nr - nr);
	memmove(c->page, c->page + nr, c->nr * sizeof(c->page[0]));
}

void frame_drain(void)
{
	preempt_disable();
	cache_drain(this_cache(), this_cache()->nr);
	preempt_enable();
}

/* ---- giving out ------------------------------------------------------------------------------ */

/* cache_pop - a frame, counted as @owner's. => preemption off, cache not empty */
static always_inline struct page *cache_pop(struct frame_cache *c, enum frame_owner owner)
{
	u32 nr = c->nr - 1;
	struct page *p = c->page[nr];

	atomic_store_relaxed(&c->nr, nr);
	c->by_owner[owner]++;
	return p;
}

/* reclaim_some - is another try worth it? */
static bool reclaim_some(unsigned int flags)
{
	const struct frame_reclaimer *r = atomic_load(&reclaimer);

	if (!r || !r->direct || (flags & (FRAME_NOWAIT | FRAME_RESERVE)))
		return false;
	return r->direct() > 0;
}

static void wake_reclaimer(void)
{
	const struct frame_reclaimer *r = atomic_load(&reclaimer);

	if (r && r->wake && atomic_load_relaxed(&buddy.nr_free) < mark.low)
		r->wake();
}

/* frame_hand_out - @p is @owner's from now on, with one reference. */
static always_inline void frame_hand_out(struct page *p, enum frame_owner owner)
{
	if (NEAP_DEBUG)
		frame_debug_alloc(p, 0);
	atomic_store_relaxed(&p->flags, (u32)owner << PG_OWNER_SHIFT);
	atomic_store_relaxed(&p->refcount, 1);
}

/* alloc_slow - the cache was empty. */
static noinline struct page *alloc_slow(enum frame_owner owner, unsigned int flags)
{
	struct page *p = NULL;

	do {
		preempt_disable();
		struct frame_cache *c = this_cache();
		if (c->nr == 0)
			cache_refill(c, flags);
		if (c->nr > 0)
			p = cache_pop(c, owner);
		preempt_enable();
		wake_reclaimer();
	} while (!p && reclaim_some(flags));
	if (!p)
		return NULL;
	frame_hand_out(p, owner);
	if (flags & FRAME_ZERO)
		memory_clear_page(page_to_virt(p));
	return p;
}

/* alloc_finish - what now and then remains to be done after the fast path. */
static noinline struct page *alloc_finish(struct page *p, unsigned int flags)
{
	if (need_resched() && preempt_count() == 0)
		preempt_schedule();
	if (flags & FRAME_ZERO)
		memory_clear_page(page_to_virt(p));
	return p;
}

/* The fast path calls nothing but in its last act, so it needs no stack frame: 28 instructions. */
struct page *frame_alloc(enum frame_owner owner, unsigned int flags)
{
	if (NEAP_DEBUG && frame_debug_should_fail())
		return NULL;
	preempt_disable();
	struct frame_cache *c = this_cache();
	if (unlikely(c->nr == 0)) {
		preempt_enable_no_resched();
		return alloc_slow(owner, flags);
	}
	struct page *p = cache_pop(c, owner);
	preempt_enable_no_resched();
	frame_hand_out(p, owner);
	if ((flags & FRAME_ZERO) || unlikely(need_resched()))
		return alloc_finish(p, flags);
	return p;
}

/* take_block - 2^order frames from the buddy, within the watermarks. */
static struct page *take_block(unsigned int order, unsigned int flags)
{
	u64 keep = flags & FRAME_RESERVE ? 0 : mark.min;
	struct page *p = NULL;

	spin_lock(&frame_lock);
	if (buddy.nr_free >= keep + (1ul << order))
		p = buddy_take(&buddy, order);
	if (buddy.nr_free < low_water)
		low_water = MIN(low_water, nr_free_now());
	spin_unlock(&frame_lock);
	wake_reclaimer();
	return p;
}

struct page *frame_alloc_order(enum frame_owner owner, unsigned int order, unsigned int flags)
{
	struct page *p;

	CHECK(order <= FRAME_MAX_ORDER, "order %u", order);
	if (order == 0)
		return frame_alloc(owner, flags);
	if (NEAP_DEBUG && frame_debug_should_fail())
		return NULL;
	do {
		p = take_block(order, flags);
		if (!p) {
			/* What keeps blocks apart may lie in our cache. */
			frame_drain();
			p = take_block(order, flags);
		}
	} while (!p && reclaim_some(flags));
	if (!p)
		return NULL;

	if (NEAP_DEBUG)
		frame_debug_alloc(p, order);
	for (u32 i = 0; i < 1u << order; i++) {
		atomic_store_relaxed(&p[i].flags, (u32)owner << PG_OWNER_SHIFT);
		if (flags & FRAME_ZERO)
			memory_clear_page(page_to_virt(&p[i]));
	}
	atomic_store_relaxed(&p->refcount, 1);
	preempt_disable();
	this_cache()->by_owner[owner] += 1 << order;
	preempt_enable();
	return p;
}

/* ---- taking back ----------------------------------------------------------------------------- */

/* refcount_drop - from 1, or frozen, to 0; waits for a late mm_gup_fast (I3). */
static void refcount_drop(struct page *p)
{
	for (u32 spins = 0; spins < LATE_GUP_SPINS; spins++) {
		u32 n = 1;

		if (atomic_load_relaxed(&p->refcount) == 0 || atomic_cas(&p->refcount, &n, 0))
			return;
		cpu_relax();
	}
	panic("frame %#lx freed with refcount %u, flags %#x", page_to_pfn(p).v, p->refcount,
	      p->flags);
}

void frame_free(struct page *p, unsigned int order)
{
	u32 flags = atomic_load_relaxed(&p->flags);
	enum frame_owner owner = flags >> PG_OWNER_SHIFT & OWNER_MASK;

	CHECK(owner != FRAME_FREE && !(flags & PG_RESERVED),
	      "frame %#lx is not given out (freed twice, or reserved): flags %#x refcount %u",
	      page_to_pfn(p).v, flags, p->refcount);
	CHECK(!(flags & (PG_LRU | PG_SWAPCACHE | PG_WRITEBACK)),
	      "frame %#lx freed, but still on a list or in the swap cache: flags %#x",
	      page_to_pfn(p).v, flags);
	CHECK(atomic_load_relaxed(&p->mapcount) == 0,
	      "frame %#lx freed with mapcount %u, flags %#x", page_to_pfn(p).v, p->mapcount, flags);
	refcount_drop(p);
	if (NEAP_DEBUG)
		frame_debug_free(p, order);

	preempt_disable();
	struct frame_cache *c = this_cache();
	c->by_owner[owner] -= 1 << order;
	if (likely(order == 0)) {
		if (unlikely(c->nr == CACHE_FRAMES))
			cache_drain(c, CACHE_BATCH);
		atomic_store_relaxed(&p->flags, PG_CACHED);
		c->page[c->nr] = p;
		atomic_store_relaxed(&c->nr, c->nr + 1);
	} else {
		spin_lock(&frame_lock);
		for (u32 i = 0; i < 1u << order; i++)
			atomic_store_relaxed(&p[i].flags, 0);
		buddy_give(&buddy, page_to_pfn(p).v, order);
		spin_unlock(&frame_lock);
	}
	preempt_enable();
}

/* ---- what boot left -------------------------------------------------------------------------- */

/* marks_set - 1/512 of what we have is kept for who must not fail; 192 KiB to 4 MiB. */
static void marks_set(void)
{
	u64 min = MAX(nr_added / 512, 48ul);

	mark.min = MIN(min, 1024ul);
	mark.low = mark.min + mark.min / 2;
	mark.high = mark.min * 2;
}

void frame_add(u64 start, u64 end)
{
	u64 at = page_up(start) >> PAGE_SHIFT;
	u64 stop = MIN(end >> PAGE_SHIFT, page_array_nr);

	spin_lock(&frame_lock);
	while (at < stop) {
		unsigned int order = 0;

		while (order < FRAME_MAX_ORDER && !(at & 1ul << order) &&
		       at + (2ul << order) <= stop)
			order++;
		for (u64 i = at; i < at + (1ul << order); i++) {
			u32 flags = page_array[i].flags;
			CHECK(flags & PG_RESERVED,
			      "frame %#lx given to the allocator twice: flags %#x", i, flags);
			if (flags >> PG_OWNER_SHIFT == FRAME_MODULE)
				nr_modules--;
			atomic_store_relaxed(&page_array[i].flags, 0);
		}
		buddy_give(&buddy, at, order);
		nr_added += 1ul << order;
		at += 1ul << order;
	}
	marks_set();
	spin_unlock(&frame_lock);
}

void frame_reserve_range(u64 start, u64 end, enum frame_owner owner)
{
	u64 stop = MIN(page_up(end) >> PAGE_SHIFT, page_array_nr);

	spin_lock(&frame_lock);
	for (u64 i = start >> PAGE_SHIFT; i < stop; i++) {
		u32 flags = page_array[i].flags;

		CHECK(flags & PG_RESERVED,
		      "frame %#lx reserved for owner %d, but the allocator has it", i, owner);
		nr_modules += (owner == FRAME_MODULE) - (flags >> PG_OWNER_SHIFT == FRAME_MODULE);
		page_array[i].flags = PG_RESERVED | (u32)owner << PG_OWNER_SHIFT;
	}
	spin_unlock(&frame_lock);
}

/* Single pages for the kernel's own tables and stacks. Under cpu's locks: does not sleep. */
static u64 kernel_page_get(struct pt_pages *pages)
{
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);

	(void)pages;
	return p ? page_to_phys(p) : 0;
}

static void kernel_page_put(struct pt_pages *pages, u64 phys)
{
	(void)pages;
	frame_free(phys_to_page(phys), 0);
}

void frame_init(void)
{
	static struct pt_pages kernel_pages = {.get = kernel_page_get, .put = kernel_page_put};
	u64 nr = memory_ram_top() >> PAGE_SHIFT;
	u64 pages = page_up(nr * sizeof(struct page)) >> PAGE_SHIFT;

	page_array = phys_to_virt(memory_boot_pages(pages));
	page_array_nr = nr;
	CHECK(nr < PAGE_NONE, "%#lx frames: page links are frame numbers of 32 bits", nr);
	if (NEAP_DEBUG)
		frame_debug_init();
	for (u64 i = 0; i < nr; i++)
		page_array[i].flags = PG_RESERVED | FRAME_KERNEL << PG_OWNER_SHIFT;
	buddy_init(&buddy);
	memory_boot_ranges(frame_add);
	kernel_pages_set(&kernel_pages);
}

void frame_set_reclaimer(const struct frame_reclaimer *r)
{
	atomic_store(&reclaimer, r);
}

/* ---- figures --------------------------------------------------------------------------------- */

u64 frame_missing(void)
{
	u64 n = nr_free_now();

	return n < mark.high ? mark.high - n : 0;
}

void frame_stats(struct frame_stats *s)
{
	memset(s, 0, sizeof(*s));
	for (u32 i = 0; i < nr_cpus; i++)
		for (u32 owner = 0; owner < FRAME_OWNERS; owner++)
			s->by_owner[owner] += (u64)atomic_load_relaxed(&caches[i].by_owner[owner]);

	spin_lock(&frame_lock);
	s->total = memory_ram_bytes() >> PAGE_SHIFT;
	s->free = nr_free_now();
	s->low_water = MIN(low_water, s->free);
	s->min = mark.min;
	s->low = mark.low;
	s->high = mark.high;
	/* What never came to us is the kernel's image and what it took at boot, and the modules. */
	s->by_owner[FRAME_FREE] = s->free;
	s->by_owner[FRAME_MODULE] += nr_modules;
	s->by_owner[FRAME_KERNEL] += s->total - nr_added - nr_modules;
	spin_unlock(&frame_lock);
}

/* cache_audit - one CPU's cache; *@cached counts on. */
static int cache_audit(const struct frame_cache *c, u64 *cached,
		       void (*report)(const char *fmt, ...))
{
	int wrong = 0;

	for (u32 i = 0; i < c->nr; i++) {
		const struct page *p = c->page[i];

		if (p->flags == PG_CACHED && !p->refcount && !p->mapcount)
			continue;
		report("audit: frame_cached: frame %#lx flags %#x refcount %u mapcount %u\n",
		       page_to_pfn(p).v, p->flags, p->refcount, p->mapcount);
		wrong++;
	}
	*cached += c->nr;
	return wrong;
}

int frame_audit(void (*report)(const char *fmt, ...))
{
	u64 cached = 0, marked_cached = 0, counted[FRAME_OWNERS] = {0};
	int wrong;

	wrong = buddy_audit(&buddy, report);
	for (u32 i = 0; i < nr_cpus; i++)
		wrong += cache_audit(&caches[i], &cached, report);

	for (u64 i = 0; i < page_array_nr; i++) {
		u32 flags = page_array[i].flags;
		if (flags & PG_CACHED)
			marked_cached++;
		else if (!(flags & PG_RESERVED))
			counted[flags >> PG_OWNER_SHIFT & OWNER_MASK]++;
	}
	if (cached != marked_cached) {
		report("audit: cache_count: %lu in caches, %lu marked\n", cached, marked_cached);
		wrong++;
	}
	counted[FRAME_FREE] -= buddy.nr_free; /* nobody's, and not free: lost */
	for (u32 owner = 0; owner < FRAME_OWNERS; owner++) {
		s64 given = 0;

		for (u32 i = 0; i < nr_cpus; i++)
			given += caches[i].by_owner[owner];
		if ((u64)given != counted[owner]) {
			report("audit: frame_owner: owner %u has %lu frames, %ld counted\n", owner,
			       counted[owner], given);
			wrong++;
		}
	}
	return wrong;
}
