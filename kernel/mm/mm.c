/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a struct mm, the table of all, and subscribers.
 *
 * Lifetime: mm_exit makes the mm empty for good, mm_put of the last ref takes the struct and its
 * page table away. In between an rmap walker may still look into the table, and finds nothing.
 *
 * Not here: regions (region.c), table pages (table.c), faults (fault.c), unmapping (unmap.c). */
#include "cpu/memory.h"
#include "cpu/trap.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"
#include "mm/objcache.h"
#include "mm/rmap.h"
#include "sched/thread.h"

struct page *zero_page;
struct res_counter machine_counter;

static struct objcache mm_cache;

/* ---- the table: id -> mm --------------------------------------------------------------------- */

static struct spinlock table_lock = SPINLOCK_INIT(RANK_MM_TABLE);
static struct mm *table[MM_MAX]; /* under table_lock */
static u16 last_id;              /* under table_lock; ids go round, so that none is reused soon */
static struct list all = LIST_INIT(all); /* under table_lock */

static bool id_alloc(struct mm *mm)
{
	bool found = false;

	spin_lock(&table_lock);
	for (u32 tries = 1; tries < MM_MAX && !found; tries++) {
		last_id = last_id % (MM_MAX - 1) + 1;
		found = !table[last_id];
	}
	if (found) {
		mm->id = last_id;
		table[last_id] = mm;
		list_add_tail(&all, &mm->all);
	}
	spin_unlock(&table_lock);
	return found;
}

static void id_free(struct mm *mm)
{
	spin_lock(&table_lock);
	table[mm->id] = NULL;
	list_del(&mm->all);
	spin_unlock(&table_lock);
}

static bool ref_unless_zero(struct mm *mm)
{
	u32 n = atomic_load(&mm->refs);

	while (n != 0)
		if (atomic_cas(&mm->refs, &n, n + 1))
			return true;
	return false;
}

struct mm *mm_get_by_id(u16 id)
{
	struct mm *mm;

	if (id >= MM_MAX)
		return NULL;
	spin_lock(&table_lock);
	mm = table[id];
	if (mm && !ref_unless_zero(mm) && !mutant("mm_get_dying"))
		mm = NULL;
	spin_unlock(&table_lock);
	return mm;
}

struct mm *mm_by_id(u16 id)
{
	return atomic_load(&table[id]);
}

struct mm *mm_next(struct mm *mm)
{
	struct list *at;

	spin_lock(&table_lock);
	for (at = mm ? mm->all.next : all.next; at != &all; at = at->next)
		if (ref_unless_zero(container_of(at, struct mm, all)))
			break;
	spin_unlock(&table_lock);
	if (mm)
		mm_put(mm);
	return at == &all ? NULL : container_of(at, struct mm, all);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct mm *mm_create(struct res_counter *parent)
{
	struct mm *mm = objcache_alloc(&mm_cache);

	if (!mm)
		return NULL;
	rwsem_init(&mm->mmap_lock);
	spin_init(&mm->pt_lock, RANK_PT);
	list_init(&mm->regions);
	lru_init(&mm->lru);
	if (NOTIFIER)
		notifier_head_init(&mm->notifiers);
	res_counter_init(&mm->counter, parent);
	mm->users = mm->refs = 1;
	if (table_create(mm))
		goto out_free;
	if (!id_alloc(mm))
		goto out_table;
	return mm;

out_table:
	table_destroy(mm);
out_free:
	objcache_free(&mm_cache, mm);
	return NULL;
}

/* space_leave - this CPU forgets @arg's tables, if an idle loop or kernel thread still has them. */
static void space_leave(void *arg)
{
	struct cpu_space *space = arg;

	CHECK(thread_current()->space != space, "an address space ends while a thread uses it");
	if (this_cpu()->space == space)
		space_switch(NULL);
}

void mm_put(struct mm *mm)
{
	if (atomic_sub(&mm->refs, 1) > 0)
		return;
	CHECK(mm->dead && list_empty(&mm->regions), "mm %u: the last ref went before mm_exit",
	      mm->id);
	race_point("mm.last_put");
	id_free(mm);
	u64 holders = atomic_load(&mm->space.active);
	if (holders)
		smp_call(holders, space_leave, &mm->space);
	table_destroy(mm);
	CHECK(mm->counter.usage == 0, "mm %u: %lu pages still charged", mm->id, mm->counter.usage);
	objcache_free(&mm_cache, mm);
}

/* A frame of an mm that ends may still be in a request to a disk, or in the hands of reclaim; who has it
 * lets go of it soon. */
static struct wait_queue exit_waiters;
static u32 nr_exiting; /* [a] raised before its mm is looked at: who lowers a charge reads it afterwards */

void mm_wake_exit(void)
{
	if (unlikely(atomic_load(&nr_exiting)))
		wait_wake_all(&exit_waiters);
}

void mm_uncharge_frame(struct mm *mm)
{
	res_counter_uncharge(&mm->counter, 1);
	mm_wake_exit();
}

static u64 mm_guest_frames(const struct mm *mm)
{
	return atomic_load(&mm->counter.usage) - mm->nr_tables - atomic_load(&mm->nr_lent);
}

void mm_exit(struct mm *mm)
{
	if (thread_current()->mm == mm)
		thread_use_space(NULL, NULL);
	rwsem_write_lock(&mm->mmap_lock);
	CHECK(!mm->dead && mm->users == 1, "mm %u: exits twice, or with %u users", mm->id,
	      mm->users);
	mm->dead = true;
	mm->users = 0;
	if (notifier_any(&mm->notifiers))
		notifier_release(&mm->notifiers, mm);
	regions_free(mm);
	rwsem_write_unlock(&mm->mmap_lock);
	CHECK(mm->nr_anon == 0 && mm->nr_zero_mapped == 0 && mm->nr_swapped == 0,
	      "mm %u: %lu + %lu pages still mapped, %lu swapped", mm->id, mm->nr_anon,
	      mm->nr_zero_mapped, mm->nr_swapped);
	atomic_add(&nr_exiting, 1);
	while (mm_guest_frames(mm)) {
		if (reclaim_drain(mm))
			continue;
		wait_event(&exit_waiters, !mm_guest_frames(mm) || lru_pages(&mm->lru));
		/* Somebody may have the page that is left, for a moment, or the disk. */
		if (!swap_wait_read())
			thread_yield();
	}
	atomic_sub(&nr_exiting, 1);
	mm_put(mm);
}

/* ---- subscribers ----------------------------------------------------------------------------- */

/* Every bracket, and every other call of a subscriber, is made with mmap_lock held for read at
 * least. So the one lock is all of them. */
int mm_take_all_locks(struct mm *mm)
{
	return rwsem_write_lock_killable(&mm->mmap_lock);
}

void mm_drop_all_locks(struct mm *mm)
{
	rwsem_write_unlock(&mm->mmap_lock);
}

int mm_notifier_register(struct mm *mm, struct mm_notifier *n)
{
	int err;

	if (!NOTIFIER)
		return trace(-EOPNOTSUPP);
	list_init(&n->link);
	err = mm_take_all_locks(mm);
	if (err)
		return err;
	err = mm->dead ? trace(-EINVAL) : notifier_add(&mm->notifiers, n);
	mm_drop_all_locks(mm);
	return err;
}

void mm_notifier_unregister(struct mm *mm, struct mm_notifier *n)
{
	if (!NOTIFIER)
		return;
	/* As mm_take_all_locks, but it may not fail. */
	rwsem_write_lock(&mm->mmap_lock);
	notifier_remove(&mm->notifiers, n);
	rwsem_write_unlock(&mm->mmap_lock);
}

/* ---- start ----------------------------------------------------------------------------------- */

void mm_subsystem_init(void)
{
	zero_page = frame_alloc(FRAME_KERNEL, FRAME_ZERO);
	CHECK(zero_page, "no frame for the zero page");
	res_counter_init(&machine_counter, NULL);
	objcache_init(&mm_cache, "mm", sizeof(struct mm));
	region_init();
	rmap_init();
	wait_init(&exit_waiters);
	page_lock_init();
	swap_io_init();
	swap_areas_init();
	trap_set_fault_handler(hva_fault_handler);
}

/* ---- frames that others hold for an mm ------------------------------------------------------- */

int mm_charge(struct mm *mm, u64 pages)
{
	int err = mm_charge_wait(mm, pages);

	if (!err)
		atomic_add(&mm->nr_lent, pages);
	return err;
}

void mm_uncharge(struct mm *mm, u64 pages)
{
	atomic_sub(&mm->nr_lent, pages);
	res_counter_uncharge(&mm->counter, pages);
}
