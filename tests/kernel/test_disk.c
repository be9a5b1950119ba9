/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks on the real machine. On a RAM disk: what may be submitted, and what may be opened. On a disk
 * with a Neap swap area, if the machine has one: two threads keep several requests each in flight,
 * random reads and writes of up to 128 KiB in up to 32 segments, each byte compared; at the end all
 * is read once more. */
#include "cpu/clock.h"
#include "tests/kernel/ramdisk.h"
#include "lib/atomic.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "block/disk.h"
#include "mm/frame.h"
#include "mm/page.h"
#include "mm/swap.h"
#include "sched/thread.h"
#include "sched/wait.h"
#include "tests/kernel/kernel_test.h"

#define PAGE_SECTORS (PAGE_SIZE / SECTOR_SIZE)

/* ---- what may be submitted ------------------------------------------------------------------- */

static struct blk_request one_segment(struct blk_segment *s, enum blk_op op, u64 sector)
{
	return (struct blk_request){.op = op, .sector = sector, .nr_segments = 1, .segments = s};
}

static int may(const struct blkdev *dev, enum blk_op op, u64 sector, u32 bytes)
{
	struct blk_segment s = {hpa(PAGE_SIZE), bytes};
	struct blk_request rq = one_segment(&s, op, sector);

	return blkdev_check(dev, &rq);
}

/* Exactly the sectors of @area may be written. */
static void check_borders(const struct blkdev *dev, const struct disk_area *area)
{
	bool inside = may(dev, BLK_WRITE, area->start, PAGE_SIZE) == 0 &&
		      may(dev, BLK_WRITE, area->end - PAGE_SECTORS, PAGE_SIZE) == 0;
	bool outside = may(dev, BLK_WRITE, area->start - 1, PAGE_SIZE) == -EPERM &&
		       may(dev, BLK_WRITE, 0, SECTOR_SIZE) == -EPERM &&
		       may(dev, BLK_WRITE, area->end, SECTOR_SIZE) == -EPERM &&
		       may(dev, BLK_WRITE, area->end - PAGE_SECTORS + 1, PAGE_SIZE) == -EPERM;
	bool reads = may(dev, BLK_READ, 0, PAGE_SIZE) == 0 &&
		     may(dev, BLK_READ, dev->nr_sectors - 1, SECTOR_SIZE) == 0 &&
		     may(dev, BLK_READ, dev->nr_sectors - 1, PAGE_SIZE) == -EINVAL &&
		     may(dev, BLK_READ, ~0ull, PAGE_SIZE) == -EINVAL;

	report(inside, "%s: pages inside the opened area may be written", dev->name);
	report(outside, "%s: a write that leaves the opened area is refused", dev->name);
	report(reads, "%s: reads may be anywhere on the disk, and nowhere else", dev->name);
}

static void check_ramdisk(void)
{
	static const u8 uuid[UUID_BYTES] = {1, 2, 3};
	static struct ramdisk ram;
	struct frame_stats before, after;
	struct disk_area area;
	u64 last = MIB(2) - PAGE_SIZE;

	frame_drain();
	frame_stats(&before);
	ramdisk_init(&ram, "ram", MIB(2));
	report(may(&ram.dev, BLK_WRITE, 8, PAGE_SIZE) == -EPERM, "a new disk may not be written");
	report(disk_open_swap(&ram.dev, &area) == -EINVAL, "a disk of zeros is no swap area");
	swap_header_make(ramdisk_page(&ram, 0), uuid, MIB(2));
	report(disk_open_swap(&ram.dev, &area) == -EINVAL, "a header at one end makes no swap area");
	swap_header_make(ramdisk_page(&ram, last), uuid, MIB(2));
	((u8 *)ramdisk_page(&ram, last))[100] ^= 1;
	report(disk_open_swap(&ram.dev, &area) == -EINVAL, "a flipped bit makes it none");
	((u8 *)ramdisk_page(&ram, last))[100] ^= 1;
	report(disk_open_swap(&ram.dev, &area) == 0 && area.start == 8 && area.end == MIB(2) / 512 - 8,
	       "a marked disk is opened between its headers");
	report(disk_open_swap(&ram.dev, &area) == -EBUSY, "it is opened once");
	check_borders(&ram.dev, &area);
	disk_close_swap(&ram.dev);
	report(may(&ram.dev, BLK_WRITE, 8, PAGE_SIZE) == -EPERM, "a closed disk may not be written");
	ramdisk_free(&ram);
	frame_drain();
	frame_stats(&after);
	report(after.by_owner[FRAME_DMA] == before.by_owner[FRAME_DMA], "its frames are free again");
}

/* ---- random requests ------------------------------------------------------------------------- */

#define NR_WORKERS    2u
#define NR_REQUESTS   8u  /* in flight, of each worker */
#define MAX_PAGES     32u /* of a request */
#define WORKER_PAGES  1024u
#define NR_OPS        2500u
#define SMALL_SECTORS 8u

struct random_request {
	struct blk_request rq;
	struct blk_segment segments[MAX_PAGES];
	struct page *frames[MAX_PAGES];
	struct worker *worker;
	u32 first, nr; /* pages of the worker's */
	u32 state;     /* [a] */
};
enum { IDLE, UNDER_WAY, ENDED };

static struct worker {
	struct thread thread;
	struct wait_queue queue;
	struct blkdev *dev;
	u64 start; /* sector of its first page */
	u32 nr_pages;
	u64 random;
	struct random_request request[NR_REQUESTS];
	u32 written[WORKER_PAGES]; /* how often; the contents follow from it */
	bool busy[WORKER_PAGES];
	u32 wrong, failed, again, most;
} workers[NR_WORKERS];

static u32 random_below(struct worker *w, u32 n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (u32)(w->random >> 20) % n;
}

static u64 word_of(const struct worker *w, u32 page, u32 word)
{
	return ((u64)(w - workers + 1) << 60 | (u64)page << 40 | (u64)w->written[page] << 12 | word) *
	       0x9e3779b97f4a7c15ul;
}

static void request_done(struct blk_request *rq)
{
	struct random_request *r = rq->owner;

	atomic_store(&r->state, ENDED);
	wait_wake_all(&r->worker->queue);
}

/* request_take_back - one that has ended: compare, and free its pages. */
static void request_take_back(struct random_request *r)
{
	struct worker *w = r->worker;

	w->failed += r->rq.status != 0;
	for (u32 i = 0; i < r->nr; i++) {
		const u64 *words = page_to_virt(r->frames[i]);
		u32 page = r->first + i;

		w->busy[page] = false;
		for (u32 k = 0; r->rq.op == BLK_READ && k < PAGE_SIZE / 8; k++)
			if (w->written[page] && words[k] != word_of(w, page, k)) {
				w->wrong++;
				break;
			}
	}
	r->state = IDLE;
}

static struct random_request *request_idle(struct worker *w)
{
	struct random_request *idle = NULL;

	for (u32 i = 0; i < NR_REQUESTS; i++) {
		if (atomic_load(&w->request[i].state) == ENDED)
			request_take_back(&w->request[i]);
		if (w->request[i].state == IDLE)
			idle = &w->request[i];
	}
	return idle;
}

static bool any_ended(struct worker *w)
{
	for (u32 i = 0; i < NR_REQUESTS; i++)
		if (atomic_load(&w->request[i].state) == ENDED)
			return true;
	return false;
}

/* request_aim - pages that no other request holds; at least one. False: try elsewhere. */
static bool request_aim(struct random_request *r, u32 first, u32 nr)
{
	struct worker *w = r->worker;

	r->first = first;
	for (r->nr = 0; r->nr < nr && first + r->nr < w->nr_pages && !w->busy[first + r->nr]; r->nr++)
		w->busy[first + r->nr] = true;
	return r->nr != 0;
}

static void request_segments(struct random_request *r)
{
	for (u32 i = 0; i < r->nr; i++)
		r->segments[i] = (struct blk_segment){hpa(page_to_phys(r->frames[i])), PAGE_SIZE};
	r->rq.nr_segments = r->nr;
}

static void request_fill(struct random_request *r)
{
	for (u32 i = 0; i < r->nr; i++) {
		u64 *words = page_to_virt(r->frames[i]);

		r->worker->written[r->first + i]++;
		for (u32 k = 0; k < PAGE_SIZE / 8; k++)
			words[k] = word_of(r->worker, r->first + i, k);
	}
}

static void request_go(struct random_request *r, enum blk_op op)
{
	struct worker *w = r->worker;
	int err;

	r->rq.op = op;
	r->rq.sector = w->start + r->first * PAGE_SECTORS;
	r->rq.segments = r->segments;
	r->rq.done = request_done;
	r->rq.owner = r;
	request_segments(r);
	if (op == BLK_WRITE)
		request_fill(r);
	atomic_store(&r->state, UNDER_WAY);
	while ((err = blkdev_submit(w->dev, &r->rq)) == -EAGAIN) {
		w->again++;
		thread_yield();
	}
	if (err) {
		w->failed++;
		r->state = IDLE;
	}
	w->most = MAX(w->most, READ_ONCE(w->dev->inflight));
}

static struct random_request *wait_idle(struct worker *w)
{
	struct random_request *r;

	while (!(r = request_idle(w)))
		wait_event(&w->queue, any_ended(w));
	return r;
}

static void wait_all(struct worker *w)
{
	for (u32 i = 0; i < NR_REQUESTS; i++) {
		wait_event(&w->queue, atomic_load(&w->request[i].state) != UNDER_WAY);
		(void)request_idle(w);
	}
}

static void flush(struct worker *w)
{
	struct blk_request rq = {.op = BLK_FLUSH};

	w->failed += disk_io(w->dev, &rq) != 0;
}

static void work(void *arg)
{
	struct worker *w = arg;

	for (u32 n = 0; n < NR_OPS; n++) {
		struct random_request *r = wait_idle(w);
		u32 most = random_below(w, 4) ? 4 : MAX_PAGES;

		if (request_aim(r, random_below(w, w->nr_pages), 1 + random_below(w, most)))
			request_go(r, random_below(w, 2) ? BLK_READ : BLK_WRITE);
		if (n % 500 == 0)
			flush(w);
	}
	wait_all(w);
	flush(w);
	for (u32 page = 0; page < w->nr_pages; page += MAX_PAGES) {
		struct random_request *r = wait_idle(w);

		if (request_aim(r, page, MAX_PAGES))
			request_go(r, BLK_READ);
	}
	wait_all(w);
}

/* worker_start - false: no memory. */
static bool worker_start(struct worker *w, struct blkdev *dev, const struct disk_area *area)
{
	u32 share = (area->end - area->start) / PAGE_SECTORS / NR_WORKERS;

	memset(w, 0, sizeof(*w));
	wait_init(&w->queue);
	w->dev = dev;
	w->nr_pages = MIN(share, WORKER_PAGES);
	w->start = area->start + (u64)(w - workers) * share * PAGE_SECTORS;
	w->random = 0x2545f4914f6cdd1d + (u64)(w - workers);
	for (u32 i = 0; i < NR_REQUESTS; i++) {
		w->request[i].worker = w;
		for (u32 k = 0; k < MAX_PAGES; k++) {
			w->request[i].frames[k] = frame_alloc(FRAME_DMA, 0);
			if (!w->request[i].frames[k])
				return false;
		}
	}
	if (thread_create(&w->thread, "disk", work, w, NULL))
		return false;
	thread_start(&w->thread);
	return true;
}

static void worker_end(struct worker *w)
{
	thread_join(&w->thread);
	for (u32 i = 0; i < NR_REQUESTS; i++)
		for (u32 k = 0; k < MAX_PAGES; k++)
			frame_free(w->request[i].frames[k], 0);
}

/* One page, backwards in memory, in eight segments. */
static void check_small_segments(struct blkdev *dev, u64 sector)
{
	struct blk_segment segments[SMALL_SECTORS];
	struct page *p = frame_alloc(FRAME_DMA, 0);
	struct blk_request rq = {.op = BLK_WRITE, .sector = sector, .nr_segments = SMALL_SECTORS,
				 .segments = segments};
	bool good = p != NULL;
	u8 *bytes;

	if (!good)
		panic("no memory for the test of disks");
	bytes = page_to_virt(p);
	for (u32 i = 0; i < PAGE_SIZE; i++)
		bytes[i] = i / SECTOR_SIZE + 1;
	for (u32 i = 0; i < SMALL_SECTORS; i++)
		segments[i] = (struct blk_segment){
			hpa(page_to_phys(p) + (SMALL_SECTORS - 1 - i) * SECTOR_SIZE), SECTOR_SIZE};
	good = disk_io(dev, &rq) == 0;
	memset(bytes, 0, PAGE_SIZE);
	good = good && disk_read(dev, sector, page_to_phys(p), PAGE_SIZE) == 0;
	for (u32 i = 0; i < PAGE_SIZE; i++)
		good = good && bytes[i] == SMALL_SECTORS - i / SECTOR_SIZE;
	report(good, "%s: eight segments of a sector each keep their order", dev->name);
	frame_free(p, 0);
}

static void check_random(struct blkdev *dev, const struct disk_area *area)
{
	u64 began = clock_ns();
	u32 wrong = 0, failed = 0, most = 0, again = 0;

	for (u32 i = 0; i < NR_WORKERS; i++)
		if (!worker_start(&workers[i], dev, area))
			panic("no memory for the test of disks");
	for (u32 i = 0; i < NR_WORKERS; i++) {
		worker_end(&workers[i]);
		wrong += workers[i].wrong;
		failed += workers[i].failed;
		again += workers[i].again;
		most = MAX(most, workers[i].most);
	}
	printk("%s: %lu reads, %lu writes, %lu flushes in %lu ms, at most %u in flight, %u put off\n",
	       dev->name, dev->reads, dev->writes, dev->flushes, (clock_ns() - began) / 1000000, most,
	       again);
	report(failed == 0, "%s: no request failed (%u did)", dev->name, failed);
	report(wrong == 0, "%s: what was written is read, in every byte (%u pages were not)",
	       dev->name, wrong);
	report(dev->reads > 1000 && dev->writes > 1000, "%s: there were thousands of requests",
	       dev->name);
	report(most > 1, "%s: several requests were in flight", dev->name);
	report(dev->inflight == 0 && dev->errors == 0, "%s: none is left, none ended in an error",
	       dev->name);
}

/* The same area under another name, as when an image is attached twice. */
static void check_twin(const struct blkdev *dev)
{
	static struct ramdisk twin;
	struct disk_area area;

	ramdisk_init(&twin, "twin", MIB(2));
	swap_header_make(ramdisk_page(&twin, 0), dev->content->uuid, MIB(2));
	swap_header_make(ramdisk_page(&twin, MIB(2) - PAGE_SIZE), dev->content->uuid, MIB(2));
	report(disk_open_swap(&twin.dev, &area) == -EBUSY, "%s: its UUID is not opened twice",
	       dev->name);
	ramdisk_free(&twin);
}

static void test_disk(void)
{
	struct blkdev *dev = NULL;
	struct disk_area area;
	int err;

	check_ramdisk();
	while ((dev = blkdev_next(dev)) && (dev->content->kind != DISK_SWAP || dev->read_only))
		;
	if (!dev) {
		report_skip("random requests", "no disk carries a Neap swap area");
		return;
	}
	report(swap_off(dev) == 0, "%s: swap lets go of it", dev->name); /* boot took it */
	err = disk_open_swap(dev, &area);
	report(err == 0, "%s: its swap area is opened", dev->name);
	if (err)
		return;
	check_twin(dev);
	check_borders(dev, &area);
	check_small_segments(dev, area.start);
	check_random(dev, &area);
	disk_close_swap(dev);
	report(may(dev, BLK_WRITE, area.start, PAGE_SIZE) == -EPERM,
	       "%s: closed, it may not be written", dev->name);
}
KERNEL_SUITE(disk, test_disk);

/* N12: a write that nothing allows never reaches a driver. */
static void panic_disk_write(void)
{
	static struct ramdisk ram;
	struct blk_segment s = {hpa(PAGE_SIZE), PAGE_SIZE};
	struct blk_request rq = one_segment(&s, BLK_WRITE, 8);

	ramdisk_init(&ram, "ram", MIB(2));
	report(disk_io(&ram.dev, &rq) == 0, "this is not reached");
}
KERNEL_SUITE(panic_disk_write, panic_disk_write);
