/* SPDX-License-Identifier: BSD-2-Clause */
/* Reclaim: how a page leaves memory. A batch of up to 32 pages of one mm goes through it together:
 *
 *	isolate   the policy's candidates leave their list, locked, with a reference      PT lock
 *	age       young in the primary PTE or in any secondary MMU: kept (rule 6)
 *	slot      one for each page that has none, in a run
 *	unmap     neighbours in one bracket: sptes go, PTEs become swap entries (rule 8)  mmap_lock
 *	flush     once for the batch (rule 9)
 *	freeze    nobody else holds it (rule 10); then
 *	             not dirty, slot valid  -> the frame is free
 *	             same-filled            -> the slot notes what with; the frame is free
 *	             else                   -> thawed, under writeback, written beside its neighbours
 *	settle    when the write has ended: frozen again, still clean? -> the frame is free
 *
 * A refault at any moment after the unmapping finds the page in the swap cache and waits for its lock,
 * which is held until the flush: so it may even copy the page (rule 5).
 *
 * Who reclaims: the reclaim thread, between the watermarks, from the mm that holds most; a thread that
 * finds no frame at all, likewise; a thread whose mm is at its limit, from that mm. As shares are equal,
 * who holds most is furthest above its share, and pays first.
 *
 * Invariants
 *  I1. A page is isolated by one thread: PG_LRU has fallen, and it holds the page lock.
 *  I2. A PTE that was exchanged is a swap entry or again what it was, bit for bit, before the PT lock is
 *      dropped; range_end follows range_start on every way.
 *  I3. Dirty is cleared under the freeze, before the write is submitted (rule 11).
 *
 * Locking: reclaim comes against the lock order, so it only tries: page locks, and the mm's mmap_lock. It
 * sleeps for requests to the disk with no lock held.
 *
 * Not here: which page (policy_*.c), requests (swap_io.c), the way back (swap.c). */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"
#include "mm/reclaim.h"
#include "mm/rmap.h"
#include "sched/thread.h"

#define BATCH 32
/* References that reclaim itself has on a page: isolation; and the swap cache's. */
#define OWN_ISOLATED 1u
#define OWN_CACHED   2u

struct batch {
	struct mm *mm;
	u32 nr;                  /* pages isolated */
	struct page *page[BATCH];
	u64 at[BATCH];           /* hva */
	u64 *entry[BATCH];       /* from age on: the PTE there, or NULL; tables stay */
	u64 flush_start, flush_end; /* what the processors may have cached of it */
	bool unmapped;           /* a subscriber owes a flush */
	bool locked_out;         /* mmap_lock was not to be had */
	bool blind;              /* youth saves nobody */
};

static struct reclaim_stats counts; /* [a] */
static u32 under_way;               /* [a] batches: pages that are on no list for a moment */

void reclaim_stats(struct reclaim_stats *s)
{
	*s = counts;
}

/* ---- isolate ------------------------------------------------------------------------------------- */

/* batch_add - => PT lock; @p is off its list */
static bool batch_add(struct batch *b, struct page *p)
{
	bool mapped = atomic_load(&p->mapcount);
	hva_t at;

	/* Of a page that is nowhere mapped the address is a hint, of use if there is one. */
	if ((!rmap_hint(p, b->mm, &at) && mapped) || page_test(p, PG_WRITEBACK) || !page_trylock(p))
		return false;
	page_get(p); /* the list's pages are mapped or in the swap cache: somebody has one */
	b->page[b->nr] = p;
	b->at[b->nr++] = at.v;
	return true;
}

/* isolate - Return how many candidates there were. */
static u32 isolate(struct batch *b, u32 want)
{
	struct lru *l = &b->mm->lru;
	const struct reclaim_policy *policy = reclaim_policy();
	u32 busy = 0;

	spin_lock(&b->mm->pt_lock);
	while (b->nr < want && busy < BATCH) {
		struct page *p = policy->next(l);

		if (!p)
			break;
		if (!batch_add(b, p)) {
			policy->keep(l, p, false);
			busy++;
		}
	}
	spin_unlock(&b->mm->pt_lock);
	counts.scanned += b->nr + busy;
	counts.busy += busy;
	return b->nr + busy;
}

static always_inline void batch_move(struct batch *b, u32 to, u32 from)
{
	b->page[to] = b->page[from];
	b->at[to] = b->at[from];
	b->entry[to] = b->entry[from];
}

/* batch_sort - by address, so that neighbours share a bracket and get neighbouring slots. The keys alone
 * are moved; a key's low bits tell whose it is. */
static void batch_sort(struct batch *b)
{
	struct batch was;
	u64 key[BATCH];
	bool moved = false;

	for (u32 i = 0; i < b->nr; i++) {
		key[i] = b->at[i] | i;
		was.page[i] = b->page[i];
		was.entry[i] = b->entry[i];
	}
	for (u32 gap = 5; gap; gap = gap > 1) {
		for (u32 i = gap; i < b->nr; i++) {
			u64 k = key[i];
			u32 j = i;

			for (; j >= gap && key[j - gap] > k; j -= gap)
				key[j] = key[j - gap];
			key[j] = k;
			moved |= j != i;
		}
	}
	for (u32 i = 0; moved && i < b->nr; i++) {
		u32 from = key[i] % PAGE_SIZE;

		b->at[i] = key[i] - from;
		b->page[i] = was.page[from];
		b->entry[i] = was.entry[from];
	}
}

/* ---- age ----------------------------------------------------------------------------------------- */

/* pte_young - was it used by hva? The bit is cleared without a flush: a TLB that holds it does not set it
 * again, so the next look may miss a use, and PTE_SEEN remembers that there may be one. */
static bool pte_young(u64 *entry)
{
	u64 pte = atomic_load(entry);

	while ((pte & PTE_P) && (pte & PTE_A))
		if (atomic_cas(entry, &pte, (pte & ~PTE_A) | PTE_SEEN))
			return true;
	return false;
}

/* youth - a bit for each page of the batch that was used since the last look, through any MMU. */
static u32 youth(struct batch *b)
{
	u32 set = notifier_clear_young(&b->mm->notifiers, b->mm, b->at, b->nr);

	for (u32 i = 0; i < b->nr; i++)
		if (b->entry[i] && pte_young(b->entry[i]))
			set |= 1u << i;
	return set;
}

/* age - who was used since the last look stays (rule 6), and who has a reference that reclaim does not
 * know: tested once more when it counts. */
static void age(struct batch *b)
{
	u32 nr = b->nr, young = 0;

	for (u32 i = 0; i < nr; i++)
		b->entry[i] = mm_entry(b->mm, b->at[i]);
	if (!b->blind && !reclaim_policy()->blind)
		young = youth(b);
	b->nr = 0;
	for (u32 i = 0; i < nr; i++, young >>= 1) {
		struct page *p = b->page[i];
		u32 own = page_test(p, PG_SWAPCACHE) ? OWN_CACHED : OWN_ISOLATED;
		u32 mapped = atomic_load(&p->mapcount);
		bool busy = atomic_load(&p->refcount) != mapped + own;

		if (busy || (mapped && (young & 1))) {
			counts.young += !busy;
			counts.busy += busy;
			page_settle(p, !busy);
		} else {
			batch_move(b, b->nr++, i);
		}
	}
}

/* ---- slot ---------------------------------------------------------------------------------------- */

/* give_slots - a slot for each page that has none; without one it cannot go. Returns a bit for each page
 * that got one. */
static u32 give_slots(struct batch *b)
{
	struct page *need[BATCH];
	u32 nr = 0, done = 0, got, fresh = 0;

	for (u32 i = 0; i < b->nr; i++)
		if (!page_test(b->page[i], PG_SWAPCACHE))
			need[nr++] = b->page[i];
	while (done < nr && (got = slots_alloc(need + done, nr - done)))
		done += got;
	if (nr == 0)
		return 0;
	u32 all = b->nr, n = 0;
	b->nr = 0;
	for (u32 i = 0; i < all; i++) {
		struct page *p = b->page[i];
		bool needy = n < nr && p == need[n];

		if (needy && n++ >= done) {
			page_settle(p, false);
			continue;
		}
		fresh |= (u32)needy << b->nr;
		batch_move(b, b->nr++, i);
	}
	return fresh;
}

/* ---- unmap --------------------------------------------------------------------------------------- */

/* unmap_one - the two tests of rule 8 round the exchange. => PT lock, in a bracket; @p is cached */
static void unmap_one(struct batch *b, struct page *p, u64 at, u64 *entry)
{
	struct mm *mm = b->mm;
	u32 mapped = atomic_load(&p->mapcount);

	if (mapped != 1 || atomic_load(&p->refcount) != mapped + OWN_CACHED)
		return;
	race_point("reclaim.before_exchange");
	pte_t old = {atomic_xchg(entry, 0)};
	race_point("reclaim.after_exchange");
	bool foreign = atomic_load(&p->refcount) != mapped + OWN_CACHED && !mutant("unmap_one_test");
	if (!pte_present(old) || pte_pfn(old).v != page_to_pfn(p).v || foreign) {
		atomic_store(entry, old.v); /* I2 */
		return;
	}
	if (old.v & PTE_IN_TLB) {
		b->flush_start = MIN(b->flush_start, at);
		b->flush_end = MAX(b->flush_end, at + PAGE_SIZE);
	}
	if ((old.v & PTE_D) && !mutant("unmap_drops_dirty"))
		page_set(p, PG_DIRTY);
	slot_get((slot_t){p->slot});
	rmap_become_hint(p, mm, hva(at));
	atomic_store(entry, pte_of_slot((slot_t){p->slot}).v);
	atomic_sub(&p->refcount, 1);
	mm->nr_anon--;
	mm->nr_swapped++;
	mm->swapouts++;
	b->unmapped = true;
}

/* unmap_run - pages [@from, @to) of the batch, which are neighbours, in one bracket. */
static void unmap_run(struct batch *b, u32 from, u32 to)
{
	struct mm *mm = b->mm;
	struct mm_event ev = {
		.mm = mm,
		.start = b->at[from],
		.end = b->at[to - 1] + PAGE_SIZE,
		.reason = MM_EVENT_RECLAIM,
		.may_sleep = false,
		.flush_later = true,
	};

	if (notifier_range_start(&mm->notifiers, &ev))
		return; /* rule 20: another victim */
	b->unmapped = true;
	for (u32 i = from; i < to; i++)
		notifier_invalidate_page(&mm->notifiers, mm, b->at[i]);
	spin_lock(&mm->pt_lock);
	for (u32 i = from; i < to; i++)
		unmap_one(b, b->page[i], b->at[i], b->entry[i]);
	spin_unlock(&mm->pt_lock);
	notifier_range_end(&mm->notifiers, &ev);
}

static void unmap(struct batch *b)
{
	for (u32 from = 0, to; from < b->nr; from = to) {
		to = from + 1;
		if (atomic_load(&b->page[from]->mapcount) == 0)
			continue;
		while (to < b->nr && b->at[to] == b->at[to - 1] + PAGE_SIZE &&
		       atomic_load(&b->page[to]->mapcount))
			to++;
		unmap_run(b, from, to);
	}
}

/* flush - rule 9: every processor and every subscriber, once. Until then the pages stay locked, so nobody
 * relies on their contents (rule 5). => mmap_lock still held */
static void flush(struct batch *b)
{
	struct mm *mm = b->mm;

	counts.batches++;
	if (mutant("unlock_before_flush"))
		for (u32 i = 0; i < b->nr; i++)
			page_unlock(b->page[i]);
	race_point("reclaim.before_flush");
	if (!mutant("batch_no_flush")) {
		notifier_flush(&mm->notifiers, mm);
		if (b->flush_end)
			space_flush(&mm->space, b->flush_start, b->flush_end);
	}
	if (mutant("unlock_before_flush"))
		for (u32 i = 0; i < b->nr; i++)
			page_lock(b->page[i]);
}

/* ---- freeze, and what then ----------------------------------------------------------------------- */

static bool same_filled(const struct page *p, u32 *fill)
{
	const u32 *word = page_to_virt(p);

	for (u32 i = 1; i < PAGE_SIZE / sizeof(u32); i++)
		if (word[i] != word[0])
			return false;
	*fill = word[0];
	return true;
}

enum fate { FATE_KEEP, FATE_FREE, FATE_WRITE };

/* page_judge - @p, unmapped and flushed: free it, if its contents are safe or nobody's.
 * => page locked; the caller's reference and the cache's are all that reclaim knows
 * Return FATE_FREE: it has gone; FATE_WRITE: it is clean now, and must be written; FATE_KEEP. */
static enum fate page_judge(struct page *p, bool may_write)
{
	struct mm *mm = mm_by_id(page_mm_id(p));
	enum fate fate = FATE_KEEP;
	u32 fill;

	if (atomic_load(&p->mapcount) || page_test(p, PG_WRITEBACK))
		return FATE_KEEP;
	preempt_disable(); /* who meets a frozen page spins */
	if (!page_freeze(p, OWN_CACHED) && !mutant("free_without_freeze"))
		goto out;
	race_point("reclaim.frozen");
	bool dirty = page_test(p, PG_DIRTY) && !mutant("redirtied_is_clean");
	if (!dirty || !page_test(p, PG_UPTODATE) || slot_read((slot_t){p->slot}).count == 0) {
		slot_remove(p, 0, ++mm->lru.evictions);
		swap_counts.clean_drops += may_write;
		fate = FATE_FREE;
	} else if (may_write && same_filled(p, &fill)) {
		mm->lru.evictions++;
		slot_remove(p, SLOT_SAME, fill);
		atomic_add(&swap_counts.same_out, 1);
		fate = FATE_FREE;
	} else {
		if (may_write) {
			page_clear(p, PG_DIRTY); /* I3 */
			fate = FATE_WRITE;
		}
		page_thaw(p, OWN_CACHED);
	}
out:
	preempt_enable();
	if (fate == FATE_FREE) {
		page_free_frozen(p);
		atomic_add(&counts.reclaimed, 1);
	}
	return fate;
}

u32 page_settle(struct page *p, bool young)
{
	struct mm *mm = mm_by_id(page_mm_id(p));

	if (page_test(p, PG_SWAPCACHE) && !young && page_judge(p, false) == FATE_FREE)
		return 1;
	spin_lock(&mm->pt_lock);
	if (atomic_load(&p->mapcount) || page_test(p, PG_SWAPCACHE))
		reclaim_policy()->keep(&mm->lru, p, young);
	spin_unlock(&mm->pt_lock);
	page_unlock(p);
	page_put(p);
	mm_wake_exit(); /* it may be the last on the lists of an mm that ends */
	return 0;
}

/* ---- write --------------------------------------------------------------------------------------- */

/* slot_change - @p is dirty and its slot an old one, perhaps a bad one: it has got @s instead, in a run
 * with its neighbours, if its PTE is the only one that names the old slot. @was: the old slot.
 * => page locked. Return false: it has its old slot still. */
static bool slot_change(struct mm *mm, struct page *p, u64 at, slot_t was)
{
	slot_t now = {p->slot}, leaves = now;
	u64 *entry = mm_entry(mm, at);

	spin_lock(&mm->pt_lock);
	if (entry && pte_read(entry).v == pte_of_slot(was).v && slot_read(was).count == 1) {
		slot_get(now);
		atomic_store(entry, pte_of_slot(now).v);
		(void)slot_put(was);
		leaves = was;
	}
	spin_unlock(&mm->pt_lock);
	p->slot = leaves.v;
	slot_remove(p, 0, 0);
	p->slot = leaves.v == was.v ? now.v : was.v;
	page_set(p, PG_SWAPCACHE | PG_UPTODATE);
	atomic_sub(&p->refcount, 1); /* of two slots, for a moment */
	return leaves.v == was.v;
}

/* write_out - pages that page_judge wants written. Those of old slots are moved to new ones first, so that
 * what leaves together lies together; a bad slot must be left. Returns how many are on their way. */
static u32 write_out(struct batch *b, struct page **pages, const u64 *at, u32 nr, u32 nr_fresh)
{
	slot_t was[BATCH];
	u32 done = nr_fresh, got, ready = nr_fresh;

	for (u32 i = nr_fresh; i < nr; i++)
		was[i] = (slot_t){pages[i]->slot};
	while (done < nr && (got = slots_alloc(pages + done, nr - done))) {
		for (; got; got--, done++)
			(void)slot_change(b->mm, pages[done], at[done], was[done]);
	}
	for (u32 i = nr_fresh; i < nr; i++) {
		if (slot_read((slot_t){pages[i]->slot}).flags & SLOT_BAD) {
			page_set(pages[i], PG_DIRTY);
			page_settle(pages[i], true);
		} else {
			pages[ready++] = pages[i];
		}
	}
	for (u32 i = 0; i < ready; i++) {
		page_set(pages[i], PG_WRITEBACK);
		page_unlock(pages[i]);
	}
	swap_write_pages(pages, ready);
	return ready;
}

/* dispose - judge the pages of the batch. @fresh: a bit for each whose slot is a new one. Returns how many
 * went or are on their way. */
static u32 dispose(struct batch *b, u32 fresh)
{
	struct page *pages[BATCH];
	u64 at[BATCH];
	u32 nr = 0, nr_fresh = 0, gone = 0;

	/* The fresh ones first: they lie in a run already. */
	for (u32 pass = 0; pass < 2; pass++) {
		for (u32 i = 0; i < b->nr; i++) {
			if ((fresh >> i & 1) == pass)
				continue;
			switch (page_judge(b->page[i], true)) {
			case FATE_FREE:
				gone++;
				break;
			case FATE_KEEP:
				page_settle(b->page[i], true);
				break;
			case FATE_WRITE:
				at[nr] = b->at[i];
				pages[nr++] = b->page[i];
			}
		}
		if (pass == 0)
			nr_fresh = nr;
	}
	return gone + (nr ? write_out(b, pages, at, nr, nr_fresh) : 0);
}

/* ---- a batch ------------------------------------------------------------------------------------- */

/* batch_run - what was isolated goes as far as it can. Returns how many went or are on their way. */
static u32 batch_run(struct batch *b)
{
	u32 fresh = 0;

	if (!rwsem_read_trylock(&b->mm->mmap_lock)) {
		while (b->nr)
			page_settle(b->page[--b->nr], false);
		b->locked_out = true;
		thread_yield(); /* who has it may need this CPU */
		return 0;
	}
	age(b);
	batch_sort(b);
	if (b->nr) {
		fresh = give_slots(b);
		unmap(b);
	}
	if (b->unmapped)
		flush(b);
	rwsem_read_unlock(&b->mm->mmap_lock);
	return dispose(b, fresh);
}

/* shrink - one batch of @mm; @blind: young pages, too. *@looked: how many candidates there were. Returns
 * how many pages went or are on their way. => @mm is held */
static u32 shrink(struct mm *mm, bool blind, u32 *looked)
{
	struct batch b = {.mm = mm, .flush_start = ~0ull, .blind = blind};

	atomic_add(&under_way, 1);
	u32 nr = isolate(&b, BATCH), gone = b.nr ? batch_run(&b) : 0;
	atomic_sub(&under_way, 1);

	*looked = b.locked_out ? 0 : nr; /* then it was no look */
	return gone;
}

/* evict_once - as mm_evict, without waiting for what is under way. */
static int evict_once(struct mm *mm, hva_t at)
{
	struct batch b = {.mm = mm, .flush_start = ~0ull};
	const u64 *entry = mm_entry(mm, at.v);
	pte_t pte = {entry ? atomic_load(entry) : 0};
	int err = -EAGAIN;

	if (!pte_present(pte) || pte_is_zero(pte))
		return -ENOENT;
	spin_lock(&mm->pt_lock);
	struct page *p = pfn_to_page(pte_pfn(pte));
	if (pte_read(entry).v == pte.v && page_test(p, PG_LRU) && page_mm_id(p) == mm->id) {
		lru_del(&mm->lru, p);
		if (!batch_add(&b, p))
			lru_add(&mm->lru, p, false, 0);
	}
	spin_unlock(&mm->pt_lock);
	if (b.nr) {
		/* Asked for by name, so its youth does not save it: the second look finds it old. */
		b.entry[0] = mm_entry(mm, at.v);
		(void)youth(&b);
		err = batch_run(&b) ? 0 : -EAGAIN;
	}
	return err;
}

#define EVICT_TRIES 16 /* a page that so many waits do not free is somebody's */

int mm_evict(struct mm *mm, hva_t at)
{
	int err = evict_once(mm, at);

	/* It came back while it was being written: it can go again when that has ended. */
	for (u32 tries = 0; err == -EAGAIN && tries < EVICT_TRIES && swap_wait_write(); tries++) {
		(void)swap_harvest();
		err = evict_once(mm, at);
	}
	return err;
}

u64 reclaim_drain(struct mm *mm)
{
	u32 looked;

	return swap_harvest() + shrink(mm, true, &looked);
}

/* ---- who asks ------------------------------------------------------------------------------------ */

#define FULL_SCANS 3           /* without a frame: nothing can go (N13) */
#define EMPTY_LOOKS 64         /* so many at an empty list count as one page */
#define IN_FLIGHT_ENOUGH 64    /* pages being written: wait for them before more are taken */

static bool reclaim_is_possible(void)
{
	return READ_ONCE(swap_counts.pages) != 0;
}

/* charge_fits - would @mm and those above it take @want pages more? */
static bool charge_fits(const struct mm *mm, u64 want)
{
	for (const struct res_counter *c = &mm->counter; c; c = c->parent)
		if (atomic_load(&c->usage) + want > atomic_load_relaxed(&c->limit))
			return false;
	return true;
}

/* wait_or_give_up - nothing could be taken. Return false after full scans of @pages without a write that
 * may still end well. Nothing counts while others have pages in their hands, which they give back soon;
 * little, an empty list, and a look after which a read had still to end. */
static bool wait_or_give_up(u64 *misses, u32 looked, u64 pages)
{
	if (swap_wait_write()) {
		(void)swap_harvest();
		return true;
	}
	bool waited = swap_wait_read();
	if (atomic_load(&under_way) == 0)
		*misses += looked && !waited ? looked * EMPTY_LOOKS : 1;
	thread_yield(); /* who has a page locked may need this CPU */
	return *misses <= FULL_SCANS * EMPTY_LOOKS * (pages + BATCH);
}

/* is_desperate - a full scan found nothing: youth saves nobody any more. */
static bool is_desperate(u64 misses, u64 pages)
{
	return misses > EMPTY_LOOKS * (pages + BATCH);
}

/* reclaim_to_fit - Return 0; -ENOMEM: nothing can go; -EINTR. */
static int reclaim_to_fit(struct mm *mm, u64 want)
{
	u64 misses = 0;

	atomic_add(&counts.direct, 1);
	for (;;) {
		u32 looked, gone;

		(void)swap_harvest();
		if (charge_fits(mm, want))
			return 0;
		if (thread_killed())
			return trace(-EINTR);
		if (!reclaim_is_possible())
			return trace(-ENOMEM);
		if (swap_pages_in_flight() >= IN_FLIGHT_ENOUGH && swap_wait_write())
			continue;
		u64 pages = atomic_load_relaxed(&mm->counter.usage);
		gone = shrink(mm, is_desperate(misses, pages), &looked);
		if (gone)
			misses = 0;
		else if (!wait_or_give_up(&misses, looked, pages))
			return trace(-ENOMEM);
	}
}

int mm_charge_wait(struct mm *mm, u64 pages)
{
	int err;

	while ((err = res_counter_charge(&mm->counter, pages, NULL))) {
		err = reclaim_to_fit(mm, pages);
		if (err)
			return err;
	}
	return 0;
}

int mm_set_limit(struct mm *mm, u64 pages)
{
	atomic_store(&mm->counter.limit, pages);
	return charge_fits(mm, 0) ? 0 : reclaim_to_fit(mm, 0);
}

/* mm_largest - who holds most, of those that this pass has not found busy; with a reference. *@pages: all
 * that there is to take; *@share: what each had if all had the same. */
static struct mm *mm_largest(u16 pass, u64 *pages, u64 *share)
{
	struct mm *best = NULL;
	u64 nr = 0;

	*pages = 0;
	for (struct mm *mm = mm_next(NULL); mm; mm = mm_next(mm)) {
		*pages += lru_pages(&mm->lru);
		nr++;
		if (mm->busy_pass == pass || (best && lru_pages(&best->lru) >= lru_pages(&mm->lru)))
			continue;
		if (best)
			mm_put(best);
		best = mm;
		atomic_add(&mm->refs, 1);
	}
	*share = *pages / MAX(nr, 1ul);
	return best;
}

/* shrink_largest - one batch from whoever holds most. Where nothing could be taken, the others are asked
 * before that mm is again; but youth saves nobody's pages above its share: who runs fast because it has
 * all that it wants would keep it for ever, and the others would stay slow. */
static u32 shrink_largest(u32 *looked, u64 *pages)
{
	static u16 pass = 1; /* [a] */
	u64 share;
	struct mm *mm = mm_largest(atomic_load_relaxed(&pass), pages, &share);
	u32 gone;

	*looked = 0;
	if (!mm) {
		atomic_add(&pass, 1);
		return 0;
	}
	gone = shrink(mm, false, looked);
	if (!gone && lru_pages(&mm->lru) > share + share / 8)
		gone = shrink(mm, true, looked);
	if (!gone)
		mm->busy_pass = atomic_load_relaxed(&pass);
	mm_put(mm);
	return gone;
}

/* reclaim_direct - somebody found no frame. Returns 0 if there is none to be had. */
static u64 reclaim_direct(void)
{
	u64 misses = 0, pages;

	if (!reclaim_is_possible())
		return 0;
	atomic_add(&counts.direct, 1);
	for (;;) {
		u32 looked, gone = 0;

		if (swap_harvest())
			return 1;
		if (thread_killed())
			return 0;
		if (swap_pages_in_flight() >= IN_FLIGHT_ENOUGH && swap_wait_write())
			continue;
		u64 before = atomic_load(&counts.reclaimed);
		gone = shrink_largest(&looked, &pages);
		if (atomic_load(&counts.reclaimed) != before)
			return 1;
		if (gone)
			misses = 0;
		else if (!wait_or_give_up(&misses, looked, pages))
			return 0;
	}
}

/* ---- the reclaim thread -------------------------------------------------------------------------- */

static u32 wanted; /* [a] */
static struct wait_queue work; /* of the thread alone: the end of a read is nothing to it */

static void reclaim_wake(void)
{
	if (!reclaim_is_possible() || atomic_load_relaxed(&wanted))
		return;
	atomic_store(&wanted, 1);
	wait_wake_all(&work);
}

void reclaim_has_harvest(void)
{
	wait_wake_all(&work);
}

/* reclaim_up - until enough is free or on its way. */
static void reclaim_up(void)
{
	u64 misses = 0, pages, missing;

	while (reclaim_is_possible() && (missing = frame_missing())) {
		u32 looked;

		(void)swap_harvest();
		if (swap_pages_in_flight() >= missing)
			return; /* their end wakes us */
		if (shrink_largest(&looked, &pages)) {
			misses = 0;
			continue;
		}
		misses += looked + 1;
		if (looked == 0 || misses > FULL_SCANS * (pages + BATCH))
			return; /* who needs a frame looks again for himself */
	}
}

static void reclaim_loop(unused void *arg)
{
	for (;;) {
		wait_event(&work, atomic_load(&wanted) || swap_has_harvest());
		atomic_store(&wanted, 0);
		(void)swap_harvest();
		reclaim_up();
	}
}

void reclaim_init(void)
{
	static const struct frame_reclaimer reclaimer = {.wake = reclaim_wake, .direct = reclaim_direct};
	static struct thread thread;

	wait_init(&work);
	int err = thread_create(&thread, "reclaim", reclaim_loop, NULL, NULL);

	CHECK(err == 0, "no memory for the reclaim thread: %d", err);
	thread_start(&thread);
	frame_set_reclaimer(&reclaimer);
}
