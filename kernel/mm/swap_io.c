/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to swap areas.
 *
 *	free pool --(pages on neighbouring slots)--> blkdev_submit --> done (interrupt)
 *	     ^                                                       | read: pages unlocked
 *	     +------------------------------------------------------ +
 *	     +--- swap_harvest (a thread) <--- ended list <--------- + write
 *
 * The requests are made at boot, so that writing a page out never waits for memory (N5). What is left
 * after a write needs a thread (freeing frames, page lists), so its request waits on a list: the reclaim
 * thread takes it, or whoever waits for frames himself.
 *
 * Writes may use the first WRITE_MAX of the requests only, and reads begin at the other end: a fault that
 * reads does not stand behind them all.
 *
 * Locking: a request is free while its bit is set, and belongs to who clears it; io_lock (RANK_SWAP_IO, irq)
 * for the list. */
#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "lib/printk.h"
#include "mm/mm_internal.h"
#include "sched/wait.h"

#define NR_REQUESTS 28 /* some fewer than a disk takes: guests' partitions may be on it */
#define WRITE_MAX   24
#define RETRY_NS    (1000 * 1000ull)
#define SLOT_SECTORS (PAGE_SIZE / SECTOR_SIZE)

static struct spinlock io_lock = SPINLOCK_INIT(RANK_SWAP_IO);
static struct swap_io *requests;                       /* [o] */
static u32 free_set;                                   /* [a] a bit for each */
static struct list ended_list = LIST_INIT(ended_list); /* under io_lock */
static u32 nr_writes; /* [a] in flight, or ended and not harvested */
static u32 nr_put;    /* [a] requests that are free again; wraps */
static u32 nr_unended; /* [a] pages of those in flight */
static u32 nr_reads, nr_reads_ended; /* [a] requests in flight; those that were, wraps */
struct wait_queue swap_ended;
struct swap_stats swap_counts;

void swap_io_init(void)
{
	unsigned int order = frame_order(sizeof(struct swap_io) * NR_REQUESTS);
	struct page *p = frame_alloc_order(FRAME_KERNEL, order, FRAME_ZERO);

	CHECK(p, "no memory for %u swap requests", NR_REQUESTS);
	requests = page_to_virt(p);
	wait_init(&swap_ended);
	atomic_store(&free_set, ~0u >> (32 - NR_REQUESTS));
}

bool swap_has_harvest(void)
{
	return !list_empty(&ended_list);
}

u32 swap_pages_in_flight(void)
{
	return atomic_load(&nr_unended);
}

/* ---- getting and giving back ----------------------------------------------------------------- */

/* usable - of the free requests @set, those that a write, or a read, may take. */
static u32 usable(u32 set, bool write)
{
	return write ? set & ((1u << WRITE_MAX) - 1) : set;
}

static struct swap_io *io_try_get(bool write)
{
	u32 set = atomic_load(&free_set), may, i;

	do {
		may = usable(set, write);
		if (!may)
			return NULL;
		i = write ? (u32)__builtin_ctz(may) : 31 - (u32)__builtin_clz(may);
	} while (!atomic_cas(&free_set, &set, set & ~(1u << i)));
	if (write)
		atomic_add(&nr_writes, 1);
	return &requests[i];
}

static struct swap_io *io_get(bool write)
{
	struct swap_io *io;

	/* Who waits takes ended writes himself: he may be the reclaim thread. */
	while (!(io = io_try_get(write))) {
		if (swap_has_harvest())
			(void)swap_harvest();
		else
			wait_event(&swap_ended, swap_has_harvest() ||
					       usable(atomic_load(&free_set), write));
	}
	io->nr = 0;
	io->rq = (struct blk_request){.op = write ? BLK_WRITE : BLK_READ, .segments = io->segments,
				      .owner = io};
	return io;
}

static void io_put(struct swap_io *io)
{
	if (io->rq.op == BLK_WRITE)
		atomic_sub(&nr_writes, 1);
	atomic_or(&free_set, 1u << (io - requests));
	atomic_add(&nr_put, 1);
	wait_wake_all(&swap_ended);
}

/* ---- the end of a request: an interrupt, or the submitter ------------------------------------ */

static void read_done(struct blk_request *rq)
{
	struct swap_io *io = rq->owner;

	if (rq->status)
		atomic_add(&swap_counts.read_errors, 1);
	for (u32 i = 0; i < io->nr; i++) {
		if (rq->status == 0)
			page_set(io->pages[i], PG_UPTODATE);
		page_unlock(io->pages[i]);
	}
	atomic_add(&nr_reads_ended, 1);
	atomic_sub(&nr_reads, 1);
	io_put(io);
}

static void write_done(struct blk_request *rq)
{
	struct swap_io *io = rq->owner;

	if (rq->status)
		atomic_add(&swap_counts.write_errors, 1);
	for (u32 i = 0; i < io->nr; i++) {
		struct page *p = io->pages[i];

		/* Rule 11: the slot holds the page only if the write has completed. It is retired
		 * while nobody can take it from the page yet. */
		if (rq->status) {
			page_set(p, PG_DIRTY);
			slot_retire((slot_t){p->slot});
		}
		if (mutant("dirty_cleared_late"))
			page_clear(p, PG_DIRTY);
		page_clear(p, PG_WRITEBACK);
	}
	u32 nr = io->nr;
	u64 flags = spin_lock_irqsave(&io_lock);
	list_add_tail(&ended_list, &io->link);
	spin_unlock_irqrestore(&io_lock, flags);
	atomic_sub(&nr_unended, nr);
	wait_wake_all(&swap_ended);
	reclaim_has_harvest();
}

/* ---- starting -------------------------------------------------------------------------------- */

/* flip_bit - a test's way to see that it would notice. */
static void flip_bit(const struct swap_io *io)
{
	static u32 nr;

	if (mutant("swap_flip_bit") && nr++ % 16 == 0)
		*(u64 *)page_to_virt(io->pages[io->nr / 2]) ^= 1ull << 17;
}

static void io_submit(struct swap_io *io)
{
	const slot_t first = {io->pages[0]->slot};
	const struct swap_area *a = &swap_areas[slot_area(first)];
	bool write = io->rq.op == BLK_WRITE;
	int err;

	io->rq.sector = a->first_sector + (u64)slot_index(first) * SLOT_SECTORS;
	io->rq.nr_segments = io->nr;
	io->rq.done = write ? write_done : read_done;
	if (write) {
		atomic_add(&nr_unended, io->nr);
		flip_bit(io);
	} else {
		atomic_add(&nr_reads, 1);
	}
	atomic_add(write ? &swap_counts.writes : &swap_counts.reads, 1);
	atomic_add(write ? &swap_counts.pages_out : &swap_counts.pages_in, io->nr);
	race_point("swap.before_submit");
	/* Full only if somebody else uses the disk, too: we have no more requests than it takes. */
	while ((err = blkdev_submit(a->dev, &io->rq)) == -EAGAIN)
		(void)thread_sleep_ns(RETRY_NS);
	if (err) {
		io->rq.status = err;
		io->rq.done(&io->rq);
	}
}

/* io_add - one more page behind those that are there, if its slot is the next one and the device takes
 * as much. */
static bool io_add(struct swap_io *io, struct page *p)
{
	const struct swap_area *a = &swap_areas[slot_area((slot_t){p->slot})];

	if (io->nr && (p->slot != io->pages[0]->slot + io->nr || io->nr >= a->dev->max_segments ||
		       io->nr == SWAP_IO_PAGES))
		return false;
	io->segments[io->nr] = (struct blk_segment){hpa(page_to_phys(p)), PAGE_SIZE};
	io->pages[io->nr++] = p;
	return true;
}

/* sort - by slot; they come nearly sorted, one way or the other. */
static void sort(struct page **pages, u32 nr)
{
	for (u32 i = 1; i < nr; i++) {
		struct page *p = pages[i];
		u32 j = i;

		for (; j > 0 && pages[j - 1]->slot > p->slot; j--)
			pages[j] = pages[j - 1];
		pages[j] = p;
	}
}

static void start(struct page **pages, u32 nr, bool write)
{
	struct swap_io *io = NULL;

	sort(pages, nr);
	for (u32 i = 0; i < nr; i++) {
		if (io && io_add(io, pages[i]))
			continue;
		if (io)
			io_submit(io);
		io = io_get(write);
		(void)io_add(io, pages[i]);
	}
	if (io)
		io_submit(io);
}

void swap_read_pages(struct page **pages, u32 nr)
{
	start(pages, nr, false);
}

void swap_write_pages(struct page **pages, u32 nr)
{
	start(pages, nr, true);
}

/* ---- after a write --------------------------------------------------------------------------- */

static struct swap_io *ended_take(void)
{
	struct swap_io *io = NULL;

	u64 flags = spin_lock_irqsave(&io_lock);
	if (!list_empty(&ended_list)) {
		io = list_first(&ended_list, struct swap_io, link);
		list_del(&io->link);
	}
	spin_unlock_irqrestore(&io_lock, flags);
	return io;
}

/* write_failed - its slots are given out no more; the pages, which are dirty again, get others. */
static void write_failed(const struct swap_io *io)
{
	printk("Neap: swap: a write to %s failed at sector %lu: %u slots are used no more, nothing is "
	       "lost\n", io->rq.dev->name, io->rq.sector, io->nr);
}

u64 swap_harvest(void)
{
	struct swap_io *io;
	u64 freed = 0;

	while ((io = ended_take())) {
		if (io->rq.status)
			write_failed(io);
		for (u32 i = 0; i < io->nr; i++) {
			page_lock(io->pages[i]);
			freed += page_settle(io->pages[i], false);
		}
		io_put(io);
	}
	return freed;
}

/* What somebody else is just harvesting is waited for as well: its frames are about to be free. */
bool swap_wait_write(void)
{
	u32 put = atomic_load(&nr_put);

	if (swap_has_harvest())
		return true;
	if (atomic_load(&nr_writes) == 0)
		return false;
	wait_event(&swap_ended, swap_has_harvest() || atomic_load(&nr_put) != put);
	return true;
}

bool swap_wait_read(void)
{
	u32 ended = atomic_load(&nr_reads_ended);

	if (atomic_load(&nr_reads) == 0)
		return false;
	wait_event(&swap_ended, atomic_load(&nr_reads_ended) != ended || !atomic_load(&nr_reads));
	return true;
}

void swap_stats(struct swap_stats *s)
{
	*s = swap_counts;
	for (u32 i = 0; i < SWAP_AREAS; i++) {
		const struct swap_area *a = &swap_areas[i];

		if (atomic_load(&a->state) == AREA_OFF)
			continue;
		s->bad += atomic_load_relaxed(&a->bad);
		s->in_flight += atomic_load_relaxed(&a->dev->inflight);
	}
}
