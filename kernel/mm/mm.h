/* SPDX-License-Identifier: BSD-2-Clause */
/* struct mm: the memory of one VM, as the primary MMU sees it.
 *
 * An mm is an address space in the lower half: regions, and a real x86-64 page table that is in CR3
 * while a thread of that VM runs, so that the hypervisor reaches guest memory by plain loads and
 * stores at hva. Secondary MMUs copy translations from it and hear of every change by notifiers.
 *
 * Locking, outermost first (docs/locking.md):
 *	mmap_lock   regions, for write; faults and brackets hold it for read
 *	PT lock     entries of the page table, and the mm's page lists (lru.h); spin
 * The table's pages live as long as the mm (I1 of pt_walk.h), so lookups need no lock.
 * Under the PT lock a PTE is changed by store from none, by exchange otherwise.
 *
 * Lifetime: `users` counts who may fault on it (the VM); mm_exit drops the last one, tells
 * subscribers (release), unmaps all. `refs` keeps the struct: rmap walkers take one by id, with
 * get-unless-zero under the table's lock (rule 23). */
#pragma once

#include "cpu/smp.h"
#include "cpu/spinlock.h"
#include "lib/list.h"
#include "lib/pt_walk.h"
#include "mm/lru.h"
#include "mm/pte.h"
#include "mm/res_counter.h"
#include "notifier/notifier.h"
#include "sched/mutex.h"

struct page;

#define MM_HVA_START 0x0000000000400000ul /* below: never mapped, catches null pointers */
#define MM_HVA_END   0x00007ffffffff000ul

struct region {
	u64 start, end;   /* hva, page-aligned */
	unsigned int acc; /* ACC_R | ACC_W */
	struct list link; /* under mmap_lock, sorted by start, disjoint */
};

/* One run of faults along the addresses, for readahead (swap.c). */
struct swap_stream {
	u64 next;    /* hva where the next window begins, going in @step */
	s64 step;    /* PAGE_SIZE, -PAGE_SIZE; 0: no second fault yet */
	u32 window;  /* pages */
	u32 used;    /* when it was last used: which to forget */
};
#define SWAP_STREAMS 4

struct mm {
	struct cpu_space space;   /* cr3 */
	struct pt pt;
	struct rwsem mmap_lock;
	struct spinlock pt_lock;
	struct list regions;      /* [mmap_lock] */
	struct region *last_region; /* [a] hint; only a cache */
	struct notifier_head notifiers;
	struct res_counter counter; /* frames charged: guest pages and table pages */
	u64 nr_lent;              /* [a] of these, frames that others hold for this mm (mm_charge) */
	u32 users, refs;          /* [a] */
	u16 id;                   /* [o] its place in the table; what rmaps name */
	u16 busy_pass;            /* the reclaim pass that found nothing to take here (reclaim.c) */
	struct list all;          /* under the table's lock */
	bool dead;                /* [mmap_lock] mm_exit has begun */
	struct lru lru;           /* [pt_lock] its pages, in the order in which they may go */
	struct swap_stream stream[SWAP_STREAMS]; /* [pt_lock] */
	/* Statistics, in pages. Written under the PT lock, read by anybody */
	u64 nr_tables, nr_anon, nr_zero_mapped, nr_swapped;
	u64 faults, zero_faults, cow_faults;
	u64 swapins, swapouts;    /* pages that came from swap into the table, and left it for swap */
	u64 refaults_read;        /* [a] of the swap-ins, those that had to wait for the disk */
};

/* mm_create - a new empty mm whose frames count against @parent. NULL without memory.
 * => sleeps; @parent outlives the mm */
struct mm *mm_create(struct res_counter *parent);
/* mm_exit - no more faults: subscribers are told, all is unmapped, frames go back (table pages with
 * the last ref). Its subscribers are unregistered by it.
 * => thread context, sleeps; once; no thread uses it any more */
void mm_exit(struct mm *mm);
/* mm_put - drop a ref. => thread context, no spinlock held */
void mm_put(struct mm *mm);

/* mm_region_add - reserve @bytes of hva with rights @acc, zero-filled on demand.
 * Return 0 with *@start set, 2 MiB-aligned; -ENOMEM; -EINVAL for 0 bytes or other rights.
 * => sleeps */
int must_check mm_region_add(struct mm *mm, u64 bytes, unsigned int acc, hva_t *start);
/* mm_region_remove - unmap and forget the region that starts at @start; -ENOENT if none
 * does. */
int must_check mm_region_remove(struct mm *mm, hva_t start);

/* mm_fault - make the primary PTE of @at allow @acc (ACC_R or ACC_W).
 * => thread context, sleeps
 * Return 0; -EFAULT outside regions or against their rights; -ENOMEM; -EINTR when being killed. */
int must_check mm_fault(struct mm *mm, hva_t at, unsigned int acc);

/* What gup found. */
struct mm_page {
	struct page *page; /* with a reference for the caller: page_put */
	pfn_t pfn;
	bool writable;     /* the primary PTE allows writes now */
	bool refault;      /* it was swapped, and this call brought it back, */
	u8 before, after;  /* and mapped so many of its neighbours, which had been read ahead, too: all
			    * lie in one notifier bucket */
};

/* mm_gup - a reference on the page behind @at, faulting it in for @acc (get_user_pages style).
 * mm_gup_fast - the same without locks and without faulting: false if the PTE does not allow @acc
 * (rule 3). => mm is alive; any thread context
 * Errors as mm_fault. */
int must_check mm_gup(struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out);
bool mm_gup_fast(struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out);

/* mm_zap_range - unmap [@start, @end) in a bracket; frames go back. For region removal, balloon and
 * madvise-like calls. => mmap_lock held for read at least; sleeps */
void mm_zap_range(struct mm *mm, u64 start, u64 end);

/* mm_forget_swapped - the page of @at, if it is swapped, is zeros from now on: for who is about to write
 * all of it, so that it is not fetched before. => thread context, no lock held, sleeps */
void mm_forget_swapped(struct mm *mm, hva_t at);

/* mm_charge - count @pages frames that a secondary MMU holds because of this mm, its tables,
 * against the mm's limit. mm_uncharge - they are given back. => before mm_exit all are
 * Return 0; -ENOMEM at the limit. */
int must_check mm_charge(struct mm *mm, u64 pages);
void mm_uncharge(struct mm *mm, u64 pages);

/* mm_mark_dirty - a secondary MMU hands over the dirty bit of a translation of @pfn that it took
 * away (N4). => its own lock; never sleeps */
void mm_mark_dirty(pfn_t f);

/* mm_notifier_register - take all the mm's locks, so that no bracket is open, then add @n.
 * Return 0; -EINTR when the caller is being killed; -EINVAL as notifier_add, or if the mm has begun
 * to exit. Errors leave nothing behind. => sleeps
 * mm_notifier_unregister - cannot fail; on return no callback of @n runs or will run. */
int must_check mm_notifier_register(struct mm *mm, struct mm_notifier *n);
void mm_notifier_unregister(struct mm *mm, struct mm_notifier *n);
int must_check mm_take_all_locks(struct mm *mm);
void mm_drop_all_locks(struct mm *mm);

/* mm_get_by_id - the mm with this id and a ref, or NULL if it has gone. */
struct mm *mm_get_by_id(u16 id);
/* mm_by_id - without a reference. => something of it keeps it: a frame on its account */
struct mm *mm_by_id(u16 id);

/* mm_subsystem_init - zero page, caches, id table, the fault handler for hva accesses. */
void mm_subsystem_init(void);
extern struct page *zero_page; /* [o] every read of untouched memory; never freed */
extern struct res_counter machine_counter;

/* mm_audit - re-derive every refcount, mapcount, rmap and charge from the page tables and compare.
 * Reports each difference as "audit: NAME: values". Returns how many.
 * => nobody faults meanwhile: VMs are paused or gone */
int mm_audit(void (*report)(const char *fmt, ...));
/* mm_audit_quiet - the same, and no frame has a reference beside those of its mappings.
 * => nobody holds one from mm_gup */
int mm_audit_quiet(void (*report)(const char *fmt, ...));
