/* SPDX-License-Identifier: BSD-2-Clause */
/* Looking at disks. A disk is judged twice: at boot, to show it and to find its partitions, and again
 * when its swap area is opened, for only what has just been read may be trusted with a write (N12). A
 * guest's partition is trusted because the operator named it; no sector is opened for two.
 *
 * The device list is walked while partitions are added to its end: their turn comes, and they have no
 * partitions themselves. */
#include "block/disk.h"

#include "cpu/memory.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/gpt.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "sched/thread.h"
#include "sched/wait.h"

#define MAX_DISKS     48 /* and partitions */
#define NAME_BYTES    16
#define RETRY_NS      (1000 * 1000ull)
#define MAX_SEGMENTS  8

/* A look needs the head and the tail in memory, one behind the other. */
#define LOOK_ORDER 5
static_assert(DISK_HEAD_BYTES + DISK_TAIL_BYTES <= PAGE_SIZE << LOOK_ORDER, "they do not fit");

/* What is known of one device; for a partition, the device as well. */
static struct record {
	struct disk_content content;
	struct blkdev partition;
	char name[NAME_BYTES];
	bool neap_type;
	u8 guid[GUID_BYTES];
	bool guest; /* [a] a partition that a guest has */
} records[MAX_DISKS];
static u32 nr_records;
/* Made by the first scan and kept: disk_open_swap must work when memory is out, too (N13). */
static struct page *look_at;

/* ---- waiting for requests -------------------------------------------------------------------- */

/* One queue for all: it never goes away, while a waiter's stack does as soon as its flag is set. */
static struct wait_queue io_waiters = {.lock = SPINLOCK_INIT(RANK_WAIT),
				       .waiters = LIST_INIT(io_waiters.waiters)};

static void io_done(struct blk_request *rq)
{
	atomic_store((u32 *)rq->owner, 1); /* the last touch of the waiter's stack */
	wait_wake_all(&io_waiters);
}

int disk_io(struct blkdev *dev, struct blk_request *rq)
{
	u32 done = 0;
	int err;

	might_sleep();
	rq->done = io_done;
	rq->owner = &done;
	while ((err = blkdev_submit(dev, rq)) == -EAGAIN)
		if (thread_sleep_ns(RETRY_NS)) /* being killed: it does not sleep, and the disk goes on */
			thread_yield();
	if (err)
		return err;
	wait_event(&io_waiters, atomic_load(&done));
	return rq->status;
}

static int transfer(struct blkdev *dev, enum blk_op op, u64 sector, u64 phys, u64 bytes)
{
	struct blk_segment segments[MAX_SEGMENTS];
	u32 most = MIN(dev->max_segments, (u32)MAX_SEGMENTS);

	while (bytes) {
		struct blk_request rq = {.op = op, .sector = sector, .segments = segments};
		int err;

		for (; rq.nr_segments < most && bytes; rq.nr_segments++) {
			u32 n = MIN(bytes, PAGE_SIZE);

			segments[rq.nr_segments] = (struct blk_segment){hpa(phys), n};
			phys += n;
			sector += n / SECTOR_SIZE;
			bytes -= n;
		}
		err = disk_io(dev, &rq);
		if (err)
			return err;
	}
	return 0;
}

int disk_read(struct blkdev *dev, u64 sector, u64 phys, u64 bytes)
{
	return transfer(dev, BLK_READ, sector, phys, bytes);
}

int disk_write(struct blkdev *dev, u64 sector, u64 phys, u64 bytes)
{
	return transfer(dev, BLK_WRITE, sector, phys, bytes);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* look - read the ends of @dev into @at. Return 0 with @v filled. */
static int look(struct blkdev *dev, struct page *at, struct disk_view *v)
{
	u64 phys = frame_phys(at), tail;
	int err;

	v->bytes = dev->nr_sectors * SECTOR_SIZE;
	if (v->bytes < SWAP_HEADER_BYTES)
		return trace(-EINVAL);
	tail = swap_area_bytes(v->bytes) - SWAP_HEADER_BYTES;
	v->head = phys_to_virt(phys);
	v->head_bytes = MIN(v->bytes, DISK_HEAD_BYTES);
	v->tail = v->head + DISK_HEAD_BYTES;
	v->tail_bytes = v->bytes - tail;
	err = disk_read(dev, 0, phys, v->head_bytes);
	if (!err)
		err = disk_read(dev, tail / SECTOR_SIZE, phys + DISK_HEAD_BYTES, v->tail_bytes);
	return err;
}

/* ---- the scan -------------------------------------------------------------------------------- */

static struct record *record_new(void)
{
	if (nr_records == MAX_DISKS) {
		printk("Neap: more than %u disks and partitions: the rest is left alone\n", MAX_DISKS);
		return NULL;
	}
	return &records[nr_records++];
}

static struct record *record_of(const struct blkdev *dev)
{
	for (u32 i = 0; i < nr_records; i++)
		if (dev->content == &records[i].content)
			return &records[i];
	return NULL;
}

static void partition_add(struct blkdev *disk, u32 number, const struct gpt_partition *p)
{
	struct record *r = record_new();

	if (!r)
		return;
	text_format(r->name, sizeof(r->name), "%s%u", disk->name, number);
	r->neap_type = p->neap;
	memcpy(r->guid, p->guid, GUID_BYTES);
	r->partition = (struct blkdev){
		.name = r->name, .nr_sectors = p->end - p->start, .max_segments = disk->max_segments,
		.max_inflight = disk->max_inflight, .read_only = disk->read_only,
		.disk = disk, .first_sector = p->start, .content = &r->content,
	};
	blkdev_add(&r->partition);
}

static void partitions_add(struct blkdev *disk, const struct disk_view *v)
{
	struct gpt_partition p;
	struct gpt gpt;

	if (gpt_open(v->head, v->head_bytes, disk->nr_sectors, &gpt))
		return;
	for (u32 i = 0; i < gpt.nr_entries; i++)
		if (gpt_partition(&gpt, i, &p))
			partition_add(disk, i + 1, &p);
}

static void scan_one(struct blkdev *dev, struct page *memory)
{
	/* A partition has its record already. */
	struct record *r = dev->disk ? record_of(dev) : record_new();
	struct disk_view v = {.partition = dev->disk != NULL};
	char text[128];

	if (!r)
		return;
	dev->content = &r->content;
	v.neap_type = r->neap_type;
	r->content.kind = DISK_UNREADABLE;
	if (look(dev, memory, &v) == 0)
		disk_identify(&v, &r->content);
	printk("Neap: disk %s, %lu KiB: %s\n", dev->name, dev->nr_sectors / 2,
	       disk_content_text(&r->content, text, sizeof(text)));
	if (r->content.kind == DISK_GPT)
		partitions_add(dev, &v);
}

void disk_scan(void)
{
	if (!blkdev_next(NULL))
		return;
	look_at = frame_alloc_order(FRAME_DMA, LOOK_ORDER, 0);
	if (!look_at) {
		printk("Neap: no memory to look at the disks: none is used\n");
		return;
	}
	for (struct blkdev *dev = blkdev_next(NULL); dev; dev = blkdev_next(dev))
		scan_one(dev, look_at);
}

/* ---- the door -------------------------------------------------------------------------------- */

/* Two names for the same sectors would each write over the other's pages. */
static bool uuid_is_open(const u8 *uuid)
{
	for (struct blkdev *dev = blkdev_next(NULL); dev; dev = blkdev_next(dev))
		if (blkdev_is_open(dev) && dev->content &&
		    !memcmp(dev->content->uuid, uuid, UUID_BYTES))
			return true;
	return false;
}

/* is_taken - @dev, the disk that it is on, or a partition on it has been opened. */
static bool is_taken(const struct blkdev *dev)
{
	bool taken = blkdev_is_open(dev) || (dev->disk && blkdev_is_open(dev->disk));

	for (const struct record *r = records; r < records + nr_records; r++)
		if (&r->partition == dev || r->partition.disk == dev)
			taken |= atomic_load(&r->guest) || blkdev_is_open(&r->partition);
	return taken;
}

int disk_open_swap(struct blkdev *dev, struct disk_area *area)
{
	const struct record *r = record_of(dev);
	struct disk_content now = {.kind = DISK_UNREADABLE};
	struct disk_view v = {.partition = dev->disk != NULL, .neap_type = r && r->neap_type};
	int err;

	if (is_taken(dev))
		return trace(-EBUSY);
	/* Where the scan found no disk there is no room kept: this one is a test's, in memory. */
	struct page *memory = look_at ? look_at : frame_alloc_order(FRAME_DMA, LOOK_ORDER, 0);
	if (!memory)
		return trace(-ENOMEM);
	err = look(dev, memory, &v);
	if (!err)
		disk_identify(&v, &now);
	if (!look_at)
		frame_free(memory, LOOK_ORDER);
	if (err)
		return err;
	if (now.kind != DISK_SWAP || dev->read_only)
		return trace(-EINVAL);
	if (uuid_is_open(now.uuid))
		return trace(-EBUSY);
	area->start = SWAP_HEADER_BYTES / SECTOR_SIZE;
	area->end = (swap_area_bytes(v.bytes) - SWAP_HEADER_BYTES) / SECTOR_SIZE;
	memcpy(area->uuid, now.uuid, UUID_BYTES);
	blkdev_open_area(dev, area->start, area->end);
	return 0;
}

void disk_close_swap(struct blkdev *dev)
{
	blkdev_close_area(dev);
}

int disk_find_partition(const u8 guid[GUID_BYTES], struct blkdev **out)
{
	int err = -ENOENT;

	for (struct record *r = records; r < records + nr_records; r++) {
		if (!r->partition.disk || memcmp(r->guid, guid, GUID_BYTES))
			continue;
		err = err == -ENOENT ? 0 : -EEXIST;
		*out = &r->partition;
	}
	return err;
}

int disk_open_guest(struct blkdev *dev, bool rw)
{
	struct record *r = record_of(dev);

	if (r->neap_type || r->content.kind == DISK_SWAP || r->content.kind == DISK_SWAP_DAMAGED)
		return trace(-EINVAL);
	if (is_taken(dev))
		return trace(-EBUSY);
	if (rw && dev->read_only)
		return trace(-EPERM);
	atomic_store(&r->guest, true);
	if (rw)
		blkdev_open_area(dev, 0, dev->nr_sectors);
	return 0;
}

void disk_close_guest(struct blkdev *dev)
{
	blkdev_close_area(dev);
	atomic_store(&record_of(dev)->guest, false);
}
