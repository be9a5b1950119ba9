/* SPDX-License-Identifier: BSD-2-Clause */
/* The page lock, and the end of a guest's frame.
 *
 * The lock is one bit of the page's flags, and there are a few queues to sleep in. Who must sleep sets PG_WAITERS after it has queued itself; who unlocks takes both bits off at
 * once and wakes the queue only if somebody asked. An unlock that nobody waits for costs one
 * atomic operation, and may be made by a disk's interrupt. */
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"
#include "sched/wait.h"

#define NR_QUEUES 16

static struct wait_queue queues[NR_QUEUES];

void page_lock_init(void)
{
	for (u32 i = 0; i < NR_QUEUES; i++)
		wait_init(&queues[i]);
}

static struct wait_queue *queue_of(const struct page *p)
{
	return &queues[page_to_pfn(p).v % NR_QUEUES];
}

/* is_free - if not, PG_WAITERS is set, and who unlocks will wake us. */
static bool is_free(struct page *p)
{
	u32 flags = atomic_load(&p->flags);

	while (flags & PG_LOCKED)
		if ((flags & PG_WAITERS) || atomic_cas(&p->flags, &flags, flags | PG_WAITERS))
			return false;
	return true;
}

void page_lock(struct page *p)
{
	while (!page_trylock(p))
		wait_event(queue_of(p), is_free(p));
}

void page_unlock(struct page *p)
{
	u32 flags = __atomic_fetch_and(&p->flags, ~(u32)(PG_LOCKED | PG_WAITERS), __ATOMIC_RELEASE);

	CHECK(flags & PG_LOCKED, "frame %#lx unlocked but not locked: flags %#x",
	      page_to_pfn(p).v, flags);
	if (unlikely(flags & PG_WAITERS))
		wait_wake_all(queue_of(p));
}

/* ---- the end --------------------------------------------------------------------------------- */

/* guest_frame_free - the frame leaves its mm's account. An mm that ends waits for this, and may be gone as
 * soon as its usage has fallen. */
static void guest_frame_free(struct page *p, struct mm *mm)
{
	frame_free(p, 0);
	if (mm && !mutant("uncharge_lost"))
		mm_uncharge_frame(mm);
}

void page_put(struct page *p)
{
	u32 n = atomic_sub(&p->refcount, 1);

	CHECK(n != ~0u, "frame %#lx: a reference dropped that nobody had, flags %#x",
	      page_to_pfn(p).v, p->flags);
	if (n)
		return;
	page_free_frozen(p);
}

void page_free_frozen(struct page *p)
{
	if (page_mm_id(p) && frame_owner(p) == FRAME_GUEST)
		guest_frame_free(p, mm_by_id(page_mm_id(p)));
	else
		frame_free(p, 0);
}

void page_try_release(struct page *p)
{
	if (page_test(p, PG_SWAPCACHE) && atomic_load(&p->mapcount) == 0 && page_trylock(p)) {
		bool idle = !page_test(p, PG_WRITEBACK) || mutant("slot_freed_in_flight"); /* rule 12 */

		if (page_test(p, PG_SWAPCACHE) && idle && atomic_load(&p->mapcount) == 0 &&
		    slot_read((slot_t){p->slot}).count == 0) {
			struct mm *mm = mm_by_id(page_mm_id(p));

			spin_lock(&mm->pt_lock);
			lru_del(&mm->lru, p);
			spin_unlock(&mm->pt_lock);
			slot_remove(p, 0, 0);
			rmap_drop_hint(p);
			atomic_sub(&p->refcount, 1); /* the cache's */
		}
		page_unlock(p);
	}
	page_put(p);
}
