/* SPDX-License-Identifier: BSD-2-Clause */
/* The reverse map.
 *
 * A chain is a stack of entries in nodes of seven; only the node at its head may be partly filled:
 *
 *	page->rmap -> [ 15 16 .  .  .  .  . ] -> [ 8 .. 14 ] -> [ 1 .. 7 ] -> NULL
 *
 * Entries come at the top; one that goes is replaced by the topmost. So an entry's place, counted
 * from the bottom, never changes but for the topmost one, which moves down. A walk from the top
 * down that drops the lock between batches and remembers how many entries are left to see, from the
 * bottom, misses none that stays: those that move come from what it has seen.
 *
 * Locking: page->rmap, mapcount and the chain are under the hashed lock of the page, except that
 * the first mapping needs none: mapcount rises from 0 under the page lock, or of a frame that nobody else
 * has seen. */
#include "cpu/spinlock.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "mm/mm_internal.h"
#include "mm/objcache.h"
#include "mm/rmap.h"

#define NODE_ENTRIES 7
#define NR_LOCKS     64
#define WALK_BATCH   16

#define ENTRY_HVA    0x0000fffffffff000ul
#define ENTRY_SINGLE 1ul

struct rmap_node {
	struct rmap_node *next;
	u64 entry[NODE_ENTRIES];
};
static_assert(sizeof(struct rmap_node) == 64, "a cache line");

static struct spinlock locks[NR_LOCKS];
static struct objcache node_cache;

void rmap_init(void)
{
	for (u32 i = 0; i < NR_LOCKS; i++)
		spin_init(&locks[i], RANK_RMAP);
	objcache_init(&node_cache, "rmap_node", sizeof(struct rmap_node));
}

static struct spinlock *lock_of(const struct page *p)
{
	return &locks[page_to_pfn(p).v * 0x9e3779b97f4a7c15ull >> 58];
}
static_assert(NR_LOCKS == 1 << (64 - 58), "the hash above");

static inline u64 entry_make(const struct mm *mm, u64 at)
{
	return (u64)mm->id << 48 | (at & ENTRY_HVA) | ENTRY_SINGLE;
}

static inline struct rmap_node *chain_of(const struct page *p)
{
	return (struct rmap_node *)p->rmap;
}

/* in_head - how many entries the head node of a chain of @count entries holds. */
static inline u32 in_head(u32 count)
{
	return (count - 1) % NODE_ENTRIES + 1;
}

/* ---- adding ---------------------------------------------------------------------------------- */

void rmap_add_new(struct page *p, const struct mm *mm, hva_t at)
{
	ASSERT(p->mapcount == 0 && !(p->flags & PG_ANON),
	       "frame %#lx is not new: mapcount %u flags %#x", page_to_pfn(p).v, p->mapcount,
	       p->flags);
	atomic_store_relaxed(&p->rmap, entry_make(mm, at.v));
	atomic_store_relaxed(&p->mapcount, 1);
	atomic_store_relaxed(&p->flags, p->flags | PG_ANON | PG_DIRTY | (u32)mm->id << PG_MM_SHIFT);
}

void rmap_set_hint(struct page *p, const struct mm *mm, hva_t at)
{
	atomic_store(&p->rmap, entry_make(mm, at.v));
}

/* No lock: who could add a mapping needs the page lock, who could remove this one the PT lock. */
void rmap_become_hint(struct page *p, const struct mm *mm, hva_t at)
{
	CHECK(p->mapcount == 1 && p->rmap == entry_make(mm, at.v),
	      "frame %#lx: its only mapping is not mm %u hva %#lx; mapcount %u flags %#x",
	      page_to_pfn(p).v, mm->id, at.v, p->mapcount, p->flags);
	atomic_store(&p->mapcount, 0);
}

void rmap_drop_hint(struct page *p)
{
	atomic_store(&p->rmap, 0);
}

bool rmap_hint(const struct page *p, const struct mm *mm, hva_t *at)
{
	u64 entry = atomic_load(&p->rmap);
	bool single = !page_test(p, PG_RMAP_CHAIN);

	*at = hva(single ? entry & ENTRY_HVA : 0);
	return single && entry >> 48 == mm->id; /* ids begin at 1 */
}

/* chain_push - => hashed lock; @p has @count entries, at least one */
static int chain_push(struct page *p, u32 count, u64 entry)
{
	struct rmap_node *head = page_test(p, PG_RMAP_CHAIN) ? chain_of(p) : NULL;

	if (head && in_head(count) < NODE_ENTRIES) {
		head->entry[in_head(count)] = entry;
		return 0;
	}

	struct rmap_node *node = objcache_alloc(&node_cache);
	if (!node)
		return trace(-ENOMEM);
	node->next = head;
	if (head) {
		node->entry[0] = entry;
	} else {
		node->entry[0] = p->rmap;
		node->entry[1] = entry;
		page_set(p, PG_RMAP_CHAIN);
	}
	atomic_store(&p->rmap, (u64)node);
	return 0;
}

static always_inline void map_first(struct page *p, u64 entry)
{
	atomic_store(&p->rmap, entry);
	if (unlikely(!page_test(p, PG_ANON)))
		page_set(p, PG_ANON);
	atomic_store(&p->mapcount, 1);
}

/* chain_add - @p was mapped elsewhere, too, when we looked. */
static noinline int chain_add(struct page *p, u64 entry)
{
	struct spinlock *l = lock_of(p);
	int err = 0;

	spin_lock(l);
	u32 count = p->mapcount;
	if (count == 0)
		map_first(p, entry);
	else
		err = chain_push(p, count, entry);
	if (count && !err)
		atomic_store(&p->mapcount, count + 1);
	spin_unlock(l);
	return err;
}

int rmap_add(struct page *p, const struct mm *mm, hva_t at)
{
	if (unlikely(atomic_load_relaxed(&p->mapcount)))
		return chain_add(p, entry_make(mm, at.v));
	map_first(p, entry_make(mm, at.v));
	return 0;
}

/* ---- removing -------------------------------------------------------------------------------- */

/* chain_find - where @entry is in the chain of @count entries, or NULL. => hashed lock */
static u64 *chain_find(const struct page *p, u32 count, u64 entry)
{
	u32 nr = in_head(count);

	for (struct rmap_node *node = chain_of(p); node; node = node->next) {
		for (u32 i = 0; i < nr; i++) {
			if (node->entry[i] == entry)
				return &node->entry[i];
		}
		nr = NODE_ENTRIES;
	}
	return NULL;
}

/* chain_pop - the topmost entry takes the place of the one at @hole. => hashed lock */
static void chain_pop(struct page *p, u32 count, u64 *hole)
{
	struct rmap_node *head = chain_of(p);
	u32 top = in_head(count) - 1;

	*hole = head->entry[top];
	head->entry[top] = 0;
	if (count == 2) {
		atomic_store(&p->rmap, head->entry[0]);
		page_clear(p, PG_RMAP_CHAIN);
		objcache_free(&node_cache, head);
	} else if (top == 0) {
		atomic_store(&p->rmap, (u64)head->next);
		objcache_free(&node_cache, head);
	}
}

void rmap_remove(struct page *p, const struct mm *mm, hva_t at)
{
	struct spinlock *l = lock_of(p);
	u64 entry = entry_make(mm, at.v);
	u64 *hole = &p->rmap;

	spin_lock(l);
	u32 count = p->mapcount;
	if (count > 1)
		hole = chain_find(p, count, entry);
	CHECK(count > 0 && hole && *hole == entry,
	      "frame %#lx: no rmap of mm %u hva %#lx; mapcount %u flags %#x", page_to_pfn(p).v,
	      mm->id, at.v, count, p->flags);
	if (count > 1)
		chain_pop(p, count, hole);
	else
		atomic_store(&p->rmap, 0);
	atomic_store(&p->mapcount, count - 1);
	spin_unlock(l);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* batch_collect - up to WALK_BATCH entries, from place *@left - 1 (counted from the bottom) down;
 * *@left falls. Returns how many. */
static u32 batch_collect(struct page *p, u32 *left, u64 *batch)
{
	struct spinlock *l = lock_of(p);
	u32 nr = 0;

	spin_lock(l);
	u32 place = p->mapcount;
	*left = MIN(*left, place);
	struct rmap_node *node = NULL;
	if (page_test(p, PG_RMAP_CHAIN)) {
		node = chain_of(p);
	} else if (*left) {
		batch[nr++] = p->rmap;
		*left = 0;
	}
	for (; node && *left && nr < WALK_BATCH; node = node->next) {
		for (u32 i = in_head(place); i-- > 0 && nr < WALK_BATCH;) {
			if (place-- > *left)
				continue;
			batch[nr++] = node->entry[i];
			--*left;
		}
	}
	spin_unlock(l);
	return nr;
}

int rmap_for_each(struct page *p, int (*fn)(struct mm *mm, hva_t at, void *ctx), void *ctx)
{
	u32 left = atomic_load(&p->mapcount);
	u64 batch[WALK_BATCH];
	int err = 0;

	while (left && !err) {
		u32 nr = batch_collect(p, &left, batch);

		for (u32 i = 0; i < nr && !err; i++) {
			struct mm *mm = mm_get_by_id(batch[i] >> 48);
			if (!mm)
				continue;
			err = fn(mm, hva(batch[i] & ENTRY_HVA), ctx);
			mm_put(mm);
		}
	}
	return err;
}

bool rmap_has(const struct page *p, const struct mm *mm, hva_t at)
{
	struct spinlock *l = lock_of(p);
	u64 entry = entry_make(mm, at.v);
	bool found;

	spin_lock(l);
	if (page_test(p, PG_RMAP_CHAIN))
		found = p->mapcount && chain_find(p, p->mapcount, entry);
	else
		found = p->rmap == entry;
	spin_unlock(l);
	return found;
}

/* rmap_count - does not believe mapcount: that is what it is compared with. */
unsigned int rmap_count(const struct page *p)
{
	struct spinlock *l = lock_of(p);
	u32 nr = 0;

	spin_lock(l);
	if (!page_test(p, PG_RMAP_CHAIN)) {
		nr = p->rmap != 0 && (p->mapcount || !page_test(p, PG_SWAPCACHE)); /* or a hint */
	} else {
		for (struct rmap_node *node = chain_of(p); node; node = node->next)
			for (u32 i = 0; i < NODE_ENTRIES; i++)
				nr += node->entry[i] != 0;
	}
	spin_unlock(l);
	return nr;
}
