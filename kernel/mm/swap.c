/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap-in: a fault finds a swap entry in the PTE.
 *
 *	PTE: slot S ---> in the swap cache? --yes--> wait for the page lock ---> still S's page? map it
 *	                        |                          ^
 *	                        no: a frame enters the cache, locked, *then* its read is submitted;
 *	                            neighbours along the addresses with it (readahead)
 *
 * That the frame is in the cache before it is read makes all who fault on S meet in one frame
 * (rule 13): whoever of them writes, and whenever reclaim writes S again, nobody maps old bytes.
 *
 * A page that came back keeps its slot, as long as it is clean and swap is not scarce: then it can
 * leave again without a write. One that came back for a write gives it up at once.
 *
 * Readahead follows up to four runs of faults in each mm. A run that goes on has its window doubled,
 * up and down alike; one of the pages read is marked, and reaching it starts the next window before
 * anybody waits for it. Pages of a run that have come are mapped together with the one that was touched,
 * by both MMUs: one fault for a window.
 *
 * Locking: slots are looked up from a PTE with mmap_lock held for read (swap_off waits for who does).
 * No lock but the page's own is held across the disk (N5). After the wait all is looked at again:
 * page lock, still the cache's page of that slot, up to date, PTE equal. */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "lib/string.h"
#include "block/disk.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"
#include "sched/thread.h"

#define WINDOW_FIRST 4
#define WINDOW_MAX   SWAP_IO_PAGES
#define ALONG_MAX    31
#define TABLE_SPAN   (PAGE_SIZE * PT_ENTRIES) /* what the PTEs of one table map */
static_assert(TABLE_SPAN == 1ul << NOTIFIER_BUCKET_SHIFT, "a table's pages share a bucket");

bool swap_is_tight(void)
{
	return atomic_load_relaxed(&swap_counts.used) * 2 > atomic_load_relaxed(&swap_counts.pages);
}

/* slot_must_go - slots are scarce, or swap_off wants this one. */
static bool slot_must_go(slot_t s)
{
	return atomic_load(&swap_areas[slot_area(s)].state) == AREA_GOING || swap_is_tight();
}

/* ---- readahead: which addresses ---------------------------------------------------------------- */

struct window {
	u64 start;  /* the first address */
	s64 step;   /* to the next */
	u32 nr;     /* pages */
};

/* stream_follow - @at is read because somebody faulted on it: which window belongs to it? => PT lock */
static struct window stream_follow(struct mm *mm, u64 at)
{
	struct swap_stream *s, *oldest = &mm->stream[0];
	static u32 clock; /* a race only confuses ages */

	for (s = mm->stream; s < mm->stream + SWAP_STREAMS; s++) {
		s64 d = (s64)(at - s->next);

		if (unlikely((u64)(d + (s64)PAGE_SIZE) <= 2 * PAGE_SIZE) && (d == 0) == (s->step != 0)) {
			s->step = s->step ?: d;
			goto found;
		}
		if ((s32)(s->used - oldest->used) < 0)
			oldest = s;
	}
	*oldest = (struct swap_stream){.next = at, .window = 1, .used = ++clock};
	return (struct window){.start = at, .step = PAGE_SIZE, .nr = 1};

found:
	s->window = MIN(s->window <= 1 ? WINDOW_FIRST : s->window * 2, (u32)WINDOW_MAX);
	s->used = ++clock;
	s->next = at + (u64)s->step * s->window;
	return (struct window){.start = at, .step = s->step, .nr = s->window};
}

/* pte_beside - the PTE of @at, if @entry is that of @other: neighbours mostly share a table. */
static const u64 *pte_beside(const struct mm *mm, const u64 *entry, u64 other, u64 at)
{
	if (entry && at / TABLE_SPAN == other / TABLE_SPAN)
		return entry + (s64)(at - other) / (s64)PAGE_SIZE;
	return mm_entry(mm, at);
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* Large, and on the stack: it is not cleared, nr says what is there. */
struct read {
	struct mm *mm;
	struct window window;
	u32 nr;                            /* pages that must be read */
	u64 at[WINDOW_MAX];
	const u64 *entry[WINDOW_MAX];      /* the PTE of each; tables stay */
	struct page *page[WINDOW_MAX];
};

/* read_plan - which pages of the window are on swap and not in memory. => mmap_lock for read */
static void read_plan(struct read *r)
{
	const struct region *reg = region_find(r->mm, r->window.start);
	u64 at = r->window.start;
	const u64 *entry = NULL;

	r->nr = 0;
	for (u32 i = 0; reg && i < r->window.nr; i++, at += (u64)r->window.step) {
		if (at - reg->start >= reg->end - reg->start)
			break;
		entry = pte_beside(r->mm, entry, at - (u64)r->window.step, at);
		if (!entry)
			break;
		pte_t pte = pte_read(entry);
		if (pte_is_swap(pte) && !(slot_read(pte_slot(pte)).flags & SLOT_CACHED)) {
			r->entry[r->nr] = entry;
			r->at[r->nr++] = at;
		}
	}
}

/* charge_run - room for the whole window on the mm's account, others leaving for it: a window that takes
 * what happens to be free is cut short at every limit. Not more than an eighth of what the mm may
 * hold. Returns how many pages are charged. */
static u32 charge_run(struct read *r)
{
	if (r->nr <= 1)
		return 0;

	u64 most = atomic_load_relaxed(&r->mm->counter.limit) / 8;
	u32 nr = MIN(r->nr, most);

	return nr > 1 && mm_charge_wait(r->mm, nr) == 0 ? nr : 0;
}

/* read_frames - a frame for each; for the first, if somebody waits for it, whatever it takes. */
static int read_frames(struct read *r, bool must)
{
	u32 charged = charge_run(r), nr = 0;
	int err = 0;

	if (must && r->nr && !charged) {
		err = frame_prepare(r->mm, &r->page[0], 0);
		nr = err == 0;
	}
	for (; nr < charged; nr++) {
		r->page[nr] = frame_alloc(FRAME_GUEST, nr == 0 && must ? 0 : FRAME_NOWAIT);
		if (!r->page[nr])
			break;
	}
	if (charged > nr)
		res_counter_uncharge(&r->mm->counter, charged - nr);
	if (charged && must && nr == 0)
		err = trace(thread_killed() ? -EINTR : -ENOMEM);
	r->nr = nr;
	return err;
}

/* cache_enter - @p, fresh, becomes the cache's page of what @at names now. => mmap_lock, PT lock */
static bool cache_enter(struct mm *mm, const u64 *entry, u64 at, struct page *p, struct slot_state *was)
{
	pte_t pte = pte_read(entry);

	if (!pte_is_swap(pte))
		return false;
	atomic_store_relaxed(&p->flags, p->flags | PG_LOCKED | (u32)mm->id << PG_MM_SHIFT);
	if (!slot_insert(pte_slot(pte), p, was)) {
		atomic_store_relaxed(&p->flags, p->flags & ~(u32)PG_LOCKED);
		return false;
	}
	rmap_set_hint(p, mm, hva(at));
	lru_add(&mm->lru, p, !(was->flags & SLOT_SAME), mm->lru.evictions - was->value);
	return true;
}

/* fill_same - a same-filled page needs no disk; it is judged anew when it leaves. */
static void fill_same(struct page *p, u32 fill)
{
	u32 *word = page_to_virt(p);

	for (u32 i = 0; i < PAGE_SIZE / sizeof(u32); i++)
		word[i] = fill;
	page_set(p, PG_UPTODATE | PG_DIRTY);
	page_unlock(p);
	atomic_add(&swap_counts.same_in, 1);
}

/* read_start - the frames enter the cache, which has them from now on, and their reads are submitted;
 * frames that others have made needless go back. Returns the page of @want, if it is among them, with a
 * reference. */
static struct page *read_start(struct read *r, u64 want)
{
	struct slot_state was[WINDOW_MAX];
	struct page *wanted = NULL;
	u32 nr = 0, nr_read = 0;

	rwsem_read_lock(&r->mm->mmap_lock);
	spin_lock(&r->mm->pt_lock);
	while (nr < r->nr && cache_enter(r->mm, r->entry[nr], r->at[nr], r->page[nr], &was[nr]))
		nr++;
	if (r->window.nr > 1 && nr) {
		page_set(r->page[nr / 2], PG_READAHEAD);
		swap_counts.readahead += nr;
	}
	spin_unlock(&r->mm->pt_lock);
	rwsem_read_unlock(&r->mm->mmap_lock);

	for (u32 i = nr; i < r->nr; i++)
		frame_unprepare(r->mm, r->page[i]);
	for (u32 i = 0; i < nr; i++) {
		struct page *p = r->page[i];

		if (r->at[i] == want)
			wanted = p;
		else
			atomic_sub(&p->refcount, 1); /* ours; its lock keeps it in the cache */
		if (was[i].flags & SLOT_SAME)
			fill_same(p, was[i].value);
		else
			r->page[nr_read++] = p;
	}
	swap_read_pages(r->page, nr_read);
	return wanted;
}

/* read_which - the plan for a fault at @at, whose page is not in memory: it, and, unless @alone, what
 * comes behind it. => mmap_lock for read */
static void read_which(struct read *r, struct mm *mm, const u64 *entry, u64 at, bool alone)
{
	r->mm = mm;
	r->window = (struct window){.start = at, .step = PAGE_SIZE, .nr = 1};
	if (!alone) {
		spin_lock(&mm->pt_lock);
		r->window = stream_follow(mm, at);
		spin_unlock(&mm->pt_lock);
	}
	r->nr = 1;
	r->at[0] = at;
	r->entry[0] = entry;
	if (r->window.nr > 1)
		read_plan(r);
}

/* read_ahead - @p, which somebody reached at @at, was marked: the next window of its run. */
static void read_ahead(struct mm *mm, struct page *p, u64 at)
{
	struct read r;

	r.mm = mm;
	r.window.nr = r.nr = 0;
	page_clear(p, PG_READAHEAD);
	rwsem_read_lock(&mm->mmap_lock);
	spin_lock(&mm->pt_lock);
	for (struct swap_stream *s = mm->stream; s < mm->stream + SWAP_STREAMS; s++) {
		u64 reach = WINDOW_MAX * PAGE_SIZE;

		if (s->step && s->next - at + reach <= 2 * reach) {
			r.window = stream_follow(mm, s->next);
			break;
		}
	}
	spin_unlock(&mm->pt_lock);
	if (r.window.nr)
		read_plan(&r);
	rwsem_read_unlock(&mm->mmap_lock);
	if (r.nr && read_frames(&r, false) == 0)
		(void)read_start(&r, 0);
}

/* ---- mapping what came back ----------------------------------------------------------------------- */

/* cache_drop_failed - @p's read failed: it is nobody's page (N7). => page locked */
static void cache_drop_failed(struct page *p)
{
	struct mm *mm = mm_by_id(page_mm_id(p));

	spin_lock(&mm->pt_lock);
	lru_del(&mm->lru, p);
	slot_remove(p, 0, mm->lru.evictions);
	spin_unlock(&mm->pt_lock);
	page_put(p); /* the cache's */
}

/* give_up_slot - the page, mapped here alone, leaves the cache; its only copy is in memory now.
 * => page locked, PT lock */
static void give_up_slot(struct page *p)
{
	slot_remove(p, 0, 0);
	page_set(p, PG_DIRTY);
	atomic_sub(&p->refcount, 1); /* the cache's; the PTE has one */
}

/* map_cached - @p, the cache's page of @pte's slot, comes where @pte is. => page locked, mmap_lock for read
 * Return 0; -EAGAIN; -ENOBUFS: the access is a write, and others still need the page as it is. */
static int map_cached(struct mm *mm, u64 *entry, u64 at, pte_t pte, struct page *p, unsigned int acc,
		      unsigned int allowed, struct mm_page *out)
{
	slot_t s = pte_slot(pte);
	int err = -EAGAIN;

	race_point("fault.before_pte");
	spin_lock(&mm->pt_lock);
	if (unlikely(pte_read(entry).v != pte.v))
		goto out;
	/* Rule 17. A reference of somebody else is that of a fault which waits for the page lock, and
	 * will look at all again: a page that is used otherwise is not unmapped (rule 8). */
	bool only = slot_read(s).count == 1 && p->mapcount == 0;
	err = (acc & ACC_W) && !only ? -ENOBUFS : rmap_add(p, mm, hva(at));
	if (err)
		goto out;
	atomic_add(&p->refcount, out ? 2 : 1);
	(void)slot_put(s);
	bool writable = only && (allowed & ACC_W);
	if (only && ((acc & ACC_W) || slot_must_go(s)) && !page_test(p, PG_WRITEBACK))
		give_up_slot(p);
	if (acc & ACC_W)
		mm_mark_dirty(page_to_pfn(p));
	atomic_store(entry, page_to_phys(p) | PTE_P | PTE_NX | (writable ? PTE_W : 0));
	if (out)
		*out = (struct mm_page){.page = p, .pfn = page_to_pfn(p), .writable = writable,
					.refault = true};
	mm->nr_swapped--;
	mm->nr_anon++;
	mm->swapins++;
	mm->faults++;
out:
	spin_unlock(&mm->pt_lock);
	return err;
}

/* copy_cached - a write to a page that others still need gets a copy. The source is in no TLB: it stays
 * locked from its unmapping until its batch was flushed (rule 5). => as map_cached */
static int copy_cached(struct mm *mm, u64 *entry, u64 at, pte_t pte, struct page *p, struct page **frame,
		       struct mm_page *out)
{
	int err = -EAGAIN;

	if (!*frame)
		return -ENOBUFS;
	race_point("swap.before_copy");
	memcpy(page_to_virt(*frame), page_to_virt(p), PAGE_SIZE);
	race_point("swap.after_copy");
	spin_lock(&mm->pt_lock);
	if (pte_read(entry).v == pte.v) {
		(void)slot_put(pte_slot(pte));
		fault_map_frame(mm, entry, at, frame, out);
		mm->nr_swapped--;
		mm->swapins++;
		err = 0;
	}
	spin_unlock(&mm->pt_lock);
	return err;
}

/* is_waiting - @p was read ahead, and nobody has come for it yet. One that is on its way out is on no list. A
 * marked one is left for a fault, which starts the next window. */
static bool is_waiting(const struct page *p)
{
	const u32 all = PG_UPTODATE | PG_LRU, none = PG_READAHEAD | PG_WRITEBACK | PG_DIRTY;

	return (atomic_load(&p->flags) & (all | none)) == all && atomic_load(&p->mapcount) == 0;
}

/* map_along - pages beside @at that wait in the cache are mapped as well: their faults are spared. They
 * are not young by that. @step: 1 or -1. Returns how many. => mmap_lock for read, @at is in @r */
static u8 map_along(struct mm *mm, u64 *entry, u64 at, s64 step, const struct region *r)
{
	const u64 in_table = at % TABLE_SPAN / PAGE_SIZE;
	const u64 table_room = step > 0 ? PT_ENTRIES - 1 - in_table : in_table;
	const u64 region_room = step > 0 ? (r->end - at) / PAGE_SIZE - 1 : (at - r->start) / PAGE_SIZE;
	const u64 room = MIN(table_room, region_room);
	u8 nr = 0;

	for (bool mapped = true; mapped && nr < room && nr < ALONG_MAX; nr += mapped) {
		pte_t pte = pte_read(entry += step);
		struct page *p = pte_is_swap(pte) ? slot_page(pte_slot(pte)) : NULL;

		at += (u64)step * PAGE_SIZE;
		mapped = false;
		if (!p)
			break;
		if (is_waiting(p) && page_trylock(p)) {
			if (page_test(p, PG_SWAPCACHE) && p->slot == pte_slot(pte).v && is_waiting(p))
				mapped = map_cached(mm, entry, at, pte, p, ACC_R, r->acc, NULL) == 0;
			page_unlock(p);
		}
		page_try_release(p);
	}
	swap_counts.readahead_hits += nr;
	return nr;
}

/* @run: the page belongs to a run of faults. */
static int map_locked(struct mm *mm, u64 *entry, u64 at, pte_t pte, struct page *p, unsigned int acc,
		      bool run, struct page **frame, struct mm_page *out)
{
	int err;

	rwsem_read_lock(&mm->mmap_lock);
	const struct region *r = region_find(mm, at);
	if (!r || (acc & ~r->acc)) {
		err = trace(-EFAULT);
	} else {
		err = map_cached(mm, entry, at, pte, p, acc, r->acc, out);
		if (err == -ENOBUFS)
			err = copy_cached(mm, entry, at, pte, p, frame, out);
		else if (run && out && err == 0 && !(out->after = map_along(mm, entry, at, 1, r)))
			out->before = map_along(mm, entry, at, -1, r);
	}
	rwsem_read_unlock(&mm->mmap_lock);
	return err;
}

/* reads_alone - a mutant: of rule 13, or of rule 10, which takes a frozen page for none. */
static bool reads_alone(slot_t s)
{
	return mutant("swapin_private") ||
	       (mutant("frozen_is_a_miss") && (slot_read(s).flags & SLOT_CACHED));
}

/* swap_in_private - what rule 13 forbids: S is read into a frame that only we know. */
static int swap_in_private(struct mm *mm, u64 *entry, u64 at, pte_t pte, struct page **frame,
			   struct mm_page *out)
{
	const struct swap_area *a = &swap_areas[slot_area(pte_slot(pte))];
	u64 sector = a->first_sector + (u64)slot_index(pte_slot(pte)) * (PAGE_SIZE / SECTOR_SIZE);
	int err = *frame ? disk_read(a->dev, sector, page_to_phys(*frame), PAGE_SIZE) : -ENOBUFS;

	if (err)
		return err;
	race_point("fault.before_pte");
	spin_lock(&mm->pt_lock);
	err = -EAGAIN;
	if (pte_read(entry).v == pte.v) {
		(void)slot_put(pte_slot(pte));
		fault_map_frame(mm, entry, at, frame, out);
		mm->nr_swapped--;
		err = 0;
	}
	spin_unlock(&mm->pt_lock);
	return err;
}

/* ---- the fault ------------------------------------------------------------------------------------- */

/* page_wait - lock @p, which was found as the cache's page of @s; its read may be under way.
 * Return 0, locked; -EAGAIN: it is that no more; -EIO: the read failed, and it is gone. */
static int page_wait(struct mm *mm, struct page *p, slot_t s)
{
	int err = 0;

	if (page_test(p, PG_LOCKED) && !page_test(p, PG_UPTODATE))
		atomic_add(&mm->refaults_read, 1);
	page_lock(p);
	if (!page_test(p, PG_SWAPCACHE) || p->slot != s.v)
		err = -EAGAIN;
	else if (!page_test(p, PG_UPTODATE))
		err = -EIO;
	if (err == -EIO)
		cache_drop_failed(p);
	if (err)
		page_unlock(p);
	return err;
}

int swap_in(struct mm *mm, u64 *entry, u64 at, unsigned int acc, struct page **frame, struct mm_page *out)
{
	bool alone = false;
	int err;

	for (;;) {
		struct page *p = NULL;
		bool run = true;
		struct read r;

		rwsem_read_lock(&mm->mmap_lock);
		pte_t pte = pte_read(entry);
		bool swapped = pte_is_swap(pte);
		if (swapped) {
			p = slot_page(pte_slot(pte));
			if (!p)
				read_which(&r, mm, entry, at, alone);
		}
		rwsem_read_unlock(&mm->mmap_lock);
		if (!swapped)
			return -EAGAIN;
		if (p) {
			swap_counts.readahead_hits += !atomic_load(&p->mapcount);
		} else {
			if (reads_alone(pte_slot(pte)))
				return swap_in_private(mm, entry, at, pte, frame, out);
			err = read_frames(&r, true);
			if (err)
				return err;
			run = r.window.nr > 1;
			p = read_start(&r, at);
			if (!p)
				continue; /* somebody else was quicker */
		}
		if (page_test(p, PG_READAHEAD))
			read_ahead(mm, p, at);
		err = page_wait(mm, p, pte_slot(pte));
		if (err == 0) {
			err = map_locked(mm, entry, at, pte, p, acc, run, frame, out);
			page_unlock(p);
		}
		page_try_release(p); /* who took the PTE away may have found it locked */
		/* A request that failed may have failed because of a neighbour: once more, by itself. */
		if (err != -EIO || alone)
			return err;
		alone = true;
	}
}
