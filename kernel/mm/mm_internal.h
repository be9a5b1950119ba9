/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of mm share with each other and with nobody else. */
#pragma once

#include "lib/atomic.h"
#include "lib/blkdev.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/slot.h"
#include "mm/swap.h"

/* ---- buddy.c: the free frames, under the frame lock ----------------------------------------- */

struct buddy {
	u32 head[FRAME_MAX_ORDER + 1]; /* frame number of the first free block, or PAGE_NONE */
	u64 nr_free;
};

void buddy_init(struct buddy *b);
/* buddy_give - 2^order frames from @pfn are free; merges. => their flags are 0 or PG_RESERVED */
void buddy_give(struct buddy *b, u64 pfn, unsigned int order);
/* buddy_take - a block, flags 0, or NULL if no block is large enough. */
struct page *buddy_take(struct buddy *b, unsigned int order);
/* buddy_audit - as frame_audit, for the lists alone. */
int buddy_audit(const struct buddy *b, void (*report)(const char *fmt, ...));

/* ---- frame_debug.c: the oracle's part, called in debug builds only --------------------------- */

void frame_debug_init(void);
void frame_debug_alloc(struct page *p, unsigned int order);
void frame_debug_free(struct page *p, unsigned int order);
bool frame_debug_should_fail(void);

/* ---- the primary table ----------------------------------------------------------------------- */

/* pte_read - a PTE may change under our eyes: one load, before what depends on it. */
static inline pte_t pte_read(const u64 *entry)
{
	return (pte_t){atomic_load(entry)};
}

static inline bool pte_allows(pte_t pte, unsigned int acc)
{
	u64 need = acc & ACC_W ? PTE_P | PTE_W : PTE_P;

	return (pte.v & need) == need;
}

/* mm_entry - the PTE of @at, or NULL while it has no table. => mm is held; no lock: tables stay */
static inline u64 *mm_entry(const struct mm *mm, u64 at)
{
	/* The upper half of the root belongs to the kernel. */
	return likely(at < MM_HVA_END) ?
		pt_lookup_leaf_of(&mm->pt, at, PTE_P, PTE_PS, PTE_ADDR) : NULL; /* pt_format_host */
}

/* table.c. table_create - the root. Return 0 or -ENOMEM.
 * table_ensure - build the tables down to the PTE of @at, if a region allows @acc there; *@entry is
 * the PTE. => no lock held, sleeps. Errors as mm_fault
 * table_destroy - every table page goes back. => nobody walks it, no CPU holds it */
int must_check table_create(struct mm *mm);
int must_check table_ensure(struct mm *mm, u64 at, unsigned int acc, u64 **entry);
void table_destroy(struct mm *mm);

/* region.c. region_find - the region that @at lies in, or NULL. => mmap_lock, for read at least */
struct region *region_find(struct mm *mm, u64 at);
void region_init(void);
void regions_free(struct mm *mm);

/* fault.c. fault_in - what mm_fault and mm_gup do when the PTE does not allow the access.
 * @entry: the PTE of @at, NULL if it has no table yet; @at: page-aligned
 * @out: NULL, or filled with a reference under the same hold of the PT lock */
int must_check fault_in(struct mm *mm, u64 *entry, u64 at, unsigned int acc, struct mm_page *out);

/* fault_map_frame - the new frame *@frame becomes what @entry, none or a swap entry, maps. => PT lock */
void fault_map_frame(struct mm *mm, u64 *entry, u64 at, struct page **frame, struct mm_page *out);
/* frame_prepare - a frame on @mm's account, which may first have to give others up. @flags: FRAME_ZERO.
 * frame_unprepare - it is not needed. => no lock held, sleeps
 * Return 0; -ENOMEM; -EINTR. */
int must_check frame_prepare(struct mm *mm, struct page **frame, unsigned int flags);
void frame_unprepare(struct mm *mm, struct page *frame);

/* uaccess.c: what trap_set_fault_handler gets. */
int hva_fault_handler(u64 va, u32 pfec);

/* ---- swap ------------------------------------------------------------------------------------ */

struct cluster {
	u64 *words; /* [a] one page, made with the first slot that is given out here */
	u32 used;   /* [a] slots that are not free, or that the last cluster lacks */
};

enum swap_area_state { AREA_OFF, AREA_ON, AREA_GOING };

/* An area in use. [l] ->lock; [o] between swap_add and swap_off. */
struct swap_area {
	u32 state;               /* [a] enum swap_area_state; slots are given out while AREA_ON */
	struct blkdev *dev;      /* [o] */
	u64 first_sector;        /* [o] */
	int priority;            /* [o] */
	u32 nr_slots, nr_clusters; /* [o] */
	struct cluster *clusters; /* [o] */
	struct spinlock lock;
	u32 cluster, next;       /* [l] where the next run is looked for */
	u32 used, bad, lost;     /* [a] slots; lost: bad ones that hold nothing any more */
};
extern struct swap_area swap_areas[SWAP_AREAS];

static inline struct slot_state slot_read(slot_t s)
{
	const struct swap_area *a = &swap_areas[slot_area(s) % SWAP_AREAS];
	u32 i = slot_index(s);

	ASSERT(i < a->nr_slots, "slot %#x: the area has %u slots", s.v, a->nr_slots);
	return ((union slot_word){
		.v = atomic_load(&a->clusters[i / CLUSTER_SLOTS].words[i % CLUSTER_SLOTS])}).s;
}

/* swap.c. swap_in - what a fault does when @entry holds a swap entry: the page comes back and is
 * mapped. *@frame: one that the caller has prepared, used if the page must be copied.
 * => no lock, sleeps
 * Return 0; -EAGAIN: look at the PTE again; -ENOBUFS: the same, with a prepared frame; -EIO; and as
 * mm_fault. */
int must_check swap_in(struct mm *mm, u64 *entry, u64 at, unsigned int acc, struct page **frame,
		       struct mm_page *out);
/* swap_is_tight - slots are scarce: a page that came back gives up its own. */
bool swap_is_tight(void);
/* page_try_release - @p, with the caller's reference, has no mapping any more; if it is in the swap
 * cache and no PTE names its slot, it leaves, unless somebody has it now, who will see the same. Drops the
 * reference. => no lock */
void page_try_release(struct page *p);

/* swap_io.c: requests of up to SWAP_IO_PAGES pages on neighbouring slots. */
#define SWAP_IO_PAGES 32

struct swap_io {
	struct blk_request rq;
	struct blk_segment segments[SWAP_IO_PAGES];
	struct page *pages[SWAP_IO_PAGES];
	u32 nr;
	struct list link;
};

void swap_io_init(void);
void swap_areas_init(void);
/* swap_read_pages, swap_write_pages - start the I/O of @nr pages, each to or from its ->slot, in the
 * order of slots, neighbours in one request; return without waiting for its end.
 *	read:  pages are locked, the end unlocks them, UPTODATE if it went well
 *	write: pages are WRITEBACK, the request has a reference on each; the end clears WRITEBACK, after it
 *	has set DIRTY again if it failed; then swap_harvest gets them
 * => sleeps if too much is under way */
void swap_read_pages(struct page **pages, u32 nr);
void swap_write_pages(struct page **pages, u32 nr);
/* swap_harvest - take pages whose write has ended out of memory, or put them back. Returns how many
 * frames are free now. => thread context, no lock */
u64 swap_harvest(void);
/* swap_wait_write - wait until a write has ended that nobody has harvested. False: none is in flight. */
bool swap_wait_write(void);
/* swap_wait_read - wait until a read has ended, whose pages may go then. False: none is in flight. */
bool swap_wait_read(void);
/* swap_pages_in_flight - pages whose write has not ended. */
u32 swap_pages_in_flight(void);
extern struct wait_queue swap_ended; /* woken when a request ends */
bool swap_has_harvest(void);

/* reclaim.c. page_settle - the end of a write of @p, or of an attempt to take it: free it if nobody needs
 * it any more, else back to its list. Drops the caller's reference. => page locked; unlocks it
 * Return 1 if it went. */
u32 page_settle(struct page *p, bool young);
/* reclaim_drain - free what is on the lists of a dying mm. Returns how much. => mm_exit */
u64 reclaim_drain(struct mm *mm);
/* reclaim_has_harvest - a write has ended: the reclaim thread takes it, if nobody is quicker. => any context */
void reclaim_has_harvest(void);
/* mm_charge_wait - charge @pages, reclaiming from the mm itself at its limit. => sleeps, no lock
 * Return 0; -ENOMEM: nothing is left to take; -EINTR. */
int must_check mm_charge_wait(struct mm *mm, u64 pages);

/* mm.c. mm_next - the mm that follows @mm (NULL: the first) in the list of all, with a reference; drops
 * that on @mm. */
struct mm *mm_next(struct mm *mm);
/* mm_wake_exit - something that an ending mm may wait for has happened. Costs one load if none ends.
 * mm_uncharge_frame - one frame less is charged to @mm, which may be gone on return if nothing else keeps
 * it: the opposite of a charge of one. */
void mm_wake_exit(void);
void mm_uncharge_frame(struct mm *mm);
void page_lock_init(void);

extern struct swap_stats swap_counts; /* [a] */

#define MM_MAX 1024 /* ids 1 .. MM_MAX - 1 */
