/* SPDX-License-Identifier: BSD-2-Clause */
/* Regions: which hva mean something, and with what rights.
 *
 * A region begins at a multiple of 2 MiB, so that its pages can stand under large secondary leaves
 * one day, and at least one page behind the last, so that running over its end faults.
 *
 * Locking: the list is under mmap_lock. mm->last_region is a hint that readers set too; it is
 * cleared under mmap_lock held for write before its region goes, so a reader that holds the lock
 * may follow it. */
#include "lib/check.h"
#include "lib/errno.h"
#include "mm/mm_internal.h"
#include "mm/objcache.h"

#define REGION_ALIGN MIB(2)

static struct objcache region_cache;

void region_init(void)
{
	objcache_init(&region_cache, "region", sizeof(struct region));
}

struct region *region_find(struct mm *mm, u64 at)
{
	struct region *r = atomic_load_relaxed(&mm->last_region);

	if (likely(r && at - r->start < r->end - r->start))
		return r;
	list_for_each(r, &mm->regions, link) {
		if (at >= r->start && at < r->end) {
			atomic_store_relaxed(&mm->last_region, r);
			return r;
		}
	}
	return NULL;
}

/* region_place - the first gap of @bytes; *@before is the list node in front of it.
 * => mmap_lock for write. Return 0 if there is none. */
static u64 region_place(struct mm *mm, u64 bytes, struct list **before)
{
	u64 start = MM_HVA_START;
	struct region *r;

	*before = &mm->regions;
	list_for_each(r, &mm->regions, link) {
		if (r->start >= start && r->start - start > bytes)
			return start;
		start = (r->end + PAGE_SIZE + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
		*before = &r->link;
	}
	return start < MM_HVA_END && MM_HVA_END - start >= bytes ? start : 0;
}
static_assert(MM_HVA_START % REGION_ALIGN == 0, "the first region begins there");

int mm_region_add(struct mm *mm, u64 bytes, unsigned int acc, hva_t *start)
{
	struct region *r;
	struct list *before;

	if (bytes == 0 || (acc != ACC_R && acc != (ACC_R | ACC_W)))
		return trace(-EINVAL);
	if (bytes > MM_HVA_END)
		return trace(-ENOMEM);
	r = objcache_alloc(&region_cache);
	if (!r)
		return trace(-ENOMEM);

	bytes = page_up(bytes);
	rwsem_write_lock(&mm->mmap_lock);
	u64 at = mm->dead ? 0 : region_place(mm, bytes, &before);
	if (at) {
		*r = (struct region){.start = at, .end = at + bytes, .acc = acc};
		list_add(before, &r->link);
		*start = hva(at);
	}
	rwsem_write_unlock(&mm->mmap_lock);
	if (at)
		return 0;
	objcache_free(&region_cache, r);
	return trace(-ENOMEM);
}

/* region_drop - unmap and forget. => mmap_lock for write */
static void region_drop(struct mm *mm, struct region *r)
{
	mm_zap_range(mm, r->start, r->end);
	atomic_store_relaxed(&mm->last_region, NULL);
	list_del(&r->link);
	objcache_free(&region_cache, r);
}

int mm_region_remove(struct mm *mm, hva_t start)
{
	int err = -ENOENT;

	rwsem_write_lock(&mm->mmap_lock);
	struct region *r = region_find(mm, start.v);
	if (r && r->start == start.v) {
		region_drop(mm, r);
		err = 0;
	}
	rwsem_write_unlock(&mm->mmap_lock);
	return err ? trace(err) : 0;
}

void regions_free(struct mm *mm)
{
	while (!list_empty(&mm->regions))
		region_drop(mm, list_first(&mm->regions, struct region, link));
}
