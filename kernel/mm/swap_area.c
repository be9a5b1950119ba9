/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap areas come and go while guests run.
 *
 * An area is used only after both its headers were read and found to be Neap's (block/disk.h, N12); what
 * an earlier run left between them is never read, because every slot begins free.
 *
 * swap_off: no slot is given out any more; every swap entry that names the area is faulted in, and
 * pages in memory that still hold a slot there give it up. When no slot is in use, whoever may still
 * look at a stale swap entry of some mm does so with that mm's mmap_lock held for read: taking each for
 * write once waits for them all. Then the tables go. */
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "block/disk.h"
#include "mm/mm_internal.h"
#include "mm/rmap.h"
#include "sched/mutex.h"
#include "sched/thread.h"

#define SLOT_SECTORS (PAGE_SIZE / SECTOR_SIZE)

static struct mutex areas_lock; /* one area comes or goes at a time */

void swap_areas_init(void)
{
	mutex_init(&areas_lock);
}

static struct swap_area *area_of(const struct blkdev *dev)
{
	for (u32 i = 0; i < SWAP_AREAS; i++)
		if (swap_areas[i].state != AREA_OFF && swap_areas[i].dev == dev)
			return &swap_areas[i];
	return NULL;
}

bool swap_area_stats(u32 i, struct swap_area_stats *s)
{
	for (u32 n = 0; n < SWAP_AREAS; n++) {
		const struct swap_area *a = &swap_areas[n];

		if (atomic_load(&a->state) == AREA_OFF || i--)
			continue;
		*s = (struct swap_area_stats){
			.dev = a->dev, .priority = a->priority, .pages = a->nr_slots, .used = a->used,
			.bad = a->bad, .going = a->state == AREA_GOING,
		};
		return true;
	}
	return false;
}

/* ---- coming -------------------------------------------------------------------------------------- */

static unsigned int clusters_order(u32 nr)
{
	return frame_order((u64)nr * sizeof(struct cluster));
}

/* clusters_alloc - their table. Swap is added most of all when memory is out (N13): then of the reserve. */
static struct page *clusters_alloc(u32 nr)
{
	unsigned int order = clusters_order(nr);
	struct page *p = frame_alloc_order(FRAME_KERNEL, order, FRAME_ZERO);

	return p ? p : frame_alloc_order(FRAME_KERNEL, order, FRAME_ZERO | FRAME_RESERVE);
}

static int area_open(struct swap_area *a, struct blkdev *dev, int priority)
{
	struct disk_area where;
	int err = disk_open_swap(dev, &where);

	if (err)
		return err;
	u64 slots = (where.end - where.start) / SLOT_SECTORS;
	u32 nr = (u32)MIN(slots, 1ul << SLOT_INDEX_BITS);
	u32 nr_clusters = (nr + CLUSTER_SLOTS - 1) / CLUSTER_SLOTS;
	struct page *p = nr ? clusters_alloc(nr_clusters) : NULL;

	if (!p) {
		disk_close_swap(dev);
		return trace(-ENOMEM);
	}
	*a = (struct swap_area){
		.dev = dev, .first_sector = where.start, .priority = priority, .nr_slots = nr,
		.nr_clusters = nr_clusters, .clusters = page_to_virt(p),
	};
	a->clusters[nr_clusters - 1].used = nr_clusters * CLUSTER_SLOTS - nr; /* what it is short of */
	spin_init(&a->lock, RANK_SWAP);
	atomic_add(&swap_counts.pages, nr);
	atomic_store(&a->state, AREA_ON);
	return 0;
}

int swap_add(struct blkdev *dev, int priority)
{
	int err = -ENOSPC;

	mutex_lock(&areas_lock);
	for (u32 i = 0; i < SWAP_AREAS && !area_of(dev); i++) {
		if (swap_areas[i].state == AREA_OFF) {
			err = area_open(&swap_areas[i], dev, priority);
			break;
		}
	}
	if (area_of(dev) && err)
		err = -EBUSY;
	mutex_unlock(&areas_lock);
	return err ? trace(err) : 0;
}

void swap_add_all(void)
{
	for (struct blkdev *dev = blkdev_next(NULL); dev; dev = blkdev_next(dev)) {
		if (!dev->content || dev->content->kind != DISK_SWAP)
			continue;
		int err = swap_add(dev, 0);
		if (err)
			printk("Neap: swap on %s is not used: %s\n", dev->name, errno_name(err));
	}
}

/* ---- going --------------------------------------------------------------------------------------- */

struct sweep {
	struct swap_area *area;
	u64 found;     /* hva; ~0: none */
};

static int find_entry(void *ctx, u64 va, unused int level, u64 *entry)
{
	struct sweep *s = ctx;
	pte_t pte = pte_read(entry);

	if (!pte_is_swap(pte) || &swap_areas[slot_area(pte_slot(pte))] != s->area)
		return 0;
	s->found = va;
	return 1;
}

/* mm_bring_back - fault in every page of @mm that lies on @a. */
static int mm_bring_back(struct mm *mm, struct swap_area *a)
{
	struct sweep s = {.area = a};
	u64 at = 0;
	int err = 0;

	while (!err) {
		rwsem_read_lock(&mm->mmap_lock);
		bool found = !mm->dead && pt_for_each(&mm->pt, at, MM_HVA_END, find_entry, &s);
		rwsem_read_unlock(&mm->mmap_lock);
		if (!found)
			break;
		err = mm_fault(mm, hva(s.found), ACC_R);
		at = s.found;
		if (err == -EFAULT || (err && READ_ONCE(mm->dead)))
			err = 0; /* its region has just gone, or is about to */
		if (thread_killed())
			err = trace(-EINTR);
	}
	return err;
}

/* slot_empty - the page in memory that holds the slot gives it up, if its PTEs are all present. */
static void slot_empty(slot_t s)
{
	struct page *p = slot_page(s);

	if (!p)
		return;
	page_lock(p);
	struct mm *mm = mm_by_id(page_mm_id(p));
	if (page_test(p, PG_SWAPCACHE) && p->slot == s.v && !page_test(p, PG_WRITEBACK)) {
		spin_lock(&mm->pt_lock);
		bool last = slot_read(s).count == 0;
		if (last) {
			if (!p->mapcount) {
				lru_del(&mm->lru, p);
				rmap_drop_hint(p);
			}
			slot_remove(p, 0, 0);
			page_set(p, PG_DIRTY);
		}
		spin_unlock(&mm->pt_lock);
		if (last)
			atomic_sub(&p->refcount, 1); /* the cache's */
	}
	page_unlock(p);
	page_put(p);
}

static void area_empty(struct swap_area *a)
{
	for (u32 i = 0; i < a->nr_slots; i++) {
		slot_t s = {(u32)(a - swap_areas) << SLOT_INDEX_BITS | i};

		if (a->clusters[i / CLUSTER_SLOTS].words && (slot_read(s).flags & SLOT_CACHED))
			slot_empty(s);
	}
}

static void area_close(struct swap_area *a)
{
	for (struct mm *mm = mm_next(NULL); mm; mm = mm_next(mm)) {
		rwsem_write_lock(&mm->mmap_lock);
		rwsem_write_unlock(&mm->mmap_lock);
	}
	disk_close_swap(a->dev);
	atomic_sub(&swap_counts.pages, a->nr_slots);
	atomic_sub(&swap_counts.used, a->used);
	for (u32 i = 0; i < a->nr_clusters; i++)
		if (a->clusters[i].words)
			frame_free(phys_to_page(virt_to_phys(a->clusters[i].words)), 0);
	frame_free(phys_to_page(virt_to_phys(a->clusters)), clusters_order(a->nr_clusters));
	*a = (struct swap_area){.state = AREA_OFF};
}

/* area_leave - Return 0; or why something is left on it. */
static int area_leave(struct swap_area *a)
{
	int err = 0;

	/* Writes that were under way keep their slots for a while: go round until none is in use. */
	while (!err && atomic_load(&a->used) != atomic_load(&a->lost)) {
		u32 before = atomic_load(&a->used);

		for (struct mm *mm = mm_next(NULL); mm; mm = mm_next(mm))
			err = err ? err : mm_bring_back(mm, a);
		area_empty(a);
		if (!err && thread_killed())
			err = trace(-EINTR);
		if (atomic_load(&a->used) >= before && swap_wait_write())
			(void)swap_harvest();
		thread_yield();
	}
	return err;
}

int swap_off(struct blkdev *dev)
{
	int err = -ENOENT;

	mutex_lock(&areas_lock);
	struct swap_area *a = area_of(dev);
	if (a) {
		spin_lock(&a->lock); /* who gives out slots looks at the state under it */
		atomic_store(&a->state, AREA_GOING);
		spin_unlock(&a->lock);
		err = area_leave(a);
		if (err)
			atomic_store(&a->state, AREA_ON);
		else
			area_close(a);
	}
	mutex_unlock(&areas_lock);
	return err;
}

/* ---- wiping -------------------------------------------------------------------------------------- */

#define WIPE_PAGES 32

int swap_wipe(struct blkdev *dev, void (*progress)(u64 done_pages, u64 of))
{
	struct blk_segment segments[WIPE_PAGES];
	struct disk_area where;

	mutex_lock(&areas_lock);
	int err = area_of(dev) ? -EBUSY : disk_open_swap(dev, &where);
	if (err) {
		mutex_unlock(&areas_lock);
		return err;
	}
	u64 of = (where.end - where.start) / SLOT_SECTORS;
	for (u32 i = 0; i < WIPE_PAGES; i++)
		segments[i] = (struct blk_segment){hpa(page_to_phys(zero_page)), PAGE_SIZE};
	for (u64 done = 0; done < of && !err;) {
		u32 most = MIN(dev->max_segments, (u32)WIPE_PAGES), nr = MIN(of - done, (u64)most);
		struct blk_request rq = {.op = BLK_WRITE, .segments = segments, .nr_segments = nr,
					 .sector = where.start + done * SLOT_SECTORS};

		err = disk_io(dev, &rq);
		done += nr;
		if (progress)
			progress(done, of);
		if (!err && thread_killed())
			err = -EINTR;
	}
	disk_close_swap(dev);
	mutex_unlock(&areas_lock);
	return err;
}
