/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages of a primary page table.
 *
 * They come from the frame allocator, are charged to the mm, and stay as long as it does (I1 of
 * lib/pt_walk.h), so that lookups need no lock. The upper half of the root is the kernel's: its
 * entries are copied when the mm is made, and never change after boot.
 *
 * Tables are linked under the PT lock, where nobody may sleep. So whoever needs some fetches as
 * many as are missing first, into a stash, takes the locks, and uses what is still missing then;
 * another fault may have been quicker, and tables never go, so it is never more. */
#include "cpu/memory.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/mm_internal.h"

/* Root entries [0, USER_TOP) are the mm's own. */
#define USER_TOP (PT_ENTRIES / 2)

struct stash {
	struct pt_pages pages;
	struct page *page[PT_MAX_LEVELS];
	u32 nr;
};

static u64 stash_get(struct pt_pages *pages)
{
	struct stash *s = container_of(pages, struct stash, pages);

	return s->nr ? page_to_phys(s->page[--s->nr]) : 0;
}

static struct page *table_alloc(struct mm *mm)
{
	if (mm_charge_wait(mm, 1))
		return NULL;

	struct page *p = frame_alloc(FRAME_TABLE, FRAME_ZERO);
	if (p)
		page_set(p, PG_TABLE);
	else
		mm_uncharge_frame(mm);
	return p;
}

static void table_free(struct mm *mm, struct page *p)
{
	frame_free(p, 0);
	mm_uncharge_frame(mm);
}

int table_create(struct mm *mm)
{
	struct page *root = table_alloc(mm);

	if (!root)
		return trace(-ENOMEM);
	mm->pt = (struct pt){
		.fmt = &pt_format_host,
		.root = page_to_phys(root),
		.virt_offset = DIRECT_MAP,
	};
	mm->space.cr3 = mm->pt.root;
	mm->nr_tables = 1;
	memcpy(pt_table(&mm->pt, mm->pt.root) + USER_TOP,
	       pt_table(&kernel_pt, kernel_pt.root) + USER_TOP,
	       (PT_ENTRIES - USER_TOP) * sizeof(u64));
	return 0;
}

/* tables_link - use @s for what is missing above the PTE of @at. => mmap_lock for read */
static int tables_link(struct mm *mm, struct stash *s, u64 at, u64 **entry)
{
	u32 had = s->nr;

	spin_lock(&mm->pt_lock);
	mm->pt.pages = &s->pages;
	int err = pt_ensure(&mm->pt, at, 1, entry);
	mm->pt.pages = NULL;
	mm->nr_tables += had - s->nr;
	spin_unlock(&mm->pt_lock);
	return err;
}

int table_ensure(struct mm *mm, u64 at, unsigned int acc, u64 **entry)
{
	struct stash s = {.pages.get = stash_get};
	int level, err = 0;

	for (pt_lookup(&mm->pt, at, 1, &level); level > 1 && !err; level--) {
		s.page[s.nr] = table_alloc(mm);
		if (s.page[s.nr])
			s.nr++;
		else
			err = trace(-ENOMEM);
	}
	if (!err) {
		rwsem_read_lock(&mm->mmap_lock);
		const struct region *r = region_find(mm, at);
		err = r && !(acc & ~r->acc) ? tables_link(mm, &s, at, entry) : trace(-EFAULT);
		rwsem_read_unlock(&mm->mmap_lock);
	}
	while (s.nr)
		table_free(mm, s.page[--s.nr]);
	return err;
}

/* While a table is destroyed: who it was. */
struct undertaker {
	struct pt_pages pages;
	struct mm *mm;
};

static void table_put(struct pt_pages *pages, u64 phys)
{
	struct undertaker *u = container_of(pages, struct undertaker, pages);

	table_free(u->mm, phys_to_page(phys));
	u->mm->nr_tables--;
}

void table_destroy(struct mm *mm)
{
	struct undertaker u = {.pages.put = table_put, .mm = mm};

	mm->pt.pages = &u.pages;
	pt_destroy(&mm->pt, 0, USER_TOP);
	mm->pt.pages = NULL;
	CHECK(mm->nr_tables == 0, "mm %u: %lu tables lost", mm->id, mm->nr_tables);
}
