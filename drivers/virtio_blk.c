/* SPDX-License-Identifier: BSD-2-Clause */
/* A ring of requests in memory that driver and device share, and an interrupt.
 *
 *	slot i (one of nr_slots, of fixed place in DMA memory):
 *	| header: what, sector | status | table: header, segment, ..., segment, status |
 *
 *	ring frame:
 *	| descriptors | avail: heads for the device | used: heads that it gives back |
 *
 * With indirect tables (every device worth using has them) slot i is ring descriptor i, which points
 * to the slot's table. Without, its table *is* the ring descriptors from i * stride. So the head that
 * comes back names the slot, and whatever a device may write there is either a slot in use or wrong.
 *
 * Invariants
 *  I1. slot[i].rq is set exactly while bit i of `busy` is: between submit and the used entry.
 *  I2. The device writes the used ring, status bytes and the segments of reads, nothing else; each is
 *      read once and compared before it is used.
 *  I3. A device that gave back what it did not have, or answers out of the ring, is not used again:
 *      it is reset, so that it reaches memory no more, and then all its requests fail.
 *
 * Locking: disk->lock [L], irq, guards the ring and the slots; done is called without it. One vector
 * serves all disks: the message is latched while the handler runs, so none is lost.
 *
 * Barriers. Ours: descriptors, then avail->ring, then avail->idx (release), then the look at
 * used->flags (full barrier). The device's: elements, then used->idx, which is read with acquire. */
#include "drivers/virtio_blk.h"

#include "cpu/memory.h"
#include "cpu/percpu.h"
#include "cpu/spinlock.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "drivers/virtio_pci.h"
#include "lib/atomic.h"
#include "lib/blkdev.h"
#include "lib/check.h"
#include "lib/printk.h"
#include "mm/frame.h"

#define MAX_QUEUE    128
#define MAX_SEGMENTS 32 /* 128 KiB in whole pages */
#define MAX_SLOTS    32
#define TABLE_MAX    (MAX_SEGMENTS + 2) /* header and status beside */

#define DEVICE_LEGACY_ID 0x1001
#define DEVICE_MODERN_ID (VIRTIO_PCI_DEVICE + VIRTIO_KIND_BLOCK)

#define STATUS_NONE 0xff /* not yet a request's end */

/* Where fields of the device's configuration are. */
#define CONFIG(field) offsetof(struct virtio_blk_config, field)

struct vring_avail {
	u16 flags, idx;
	u16 ring[MAX_QUEUE];
};

struct vring_used {
	u16 flags, idx;
	struct vring_used_element ring[MAX_QUEUE];
};

struct ring_frame {
	struct vring_desc desc[MAX_QUEUE];
	struct vring_avail avail_ring;
	struct vring_used used_ring aligned(4);
};
static_assert(sizeof(struct ring_frame) <= PAGE_SIZE, "the ring is one frame");

struct slot_memory {
	struct virtio_blk_header header;
	u8 status;
	u8 pad[15];
	struct vring_desc table[TABLE_MAX];
};
#define SLOTS_PER_FRAME (PAGE_SIZE / sizeof(struct slot_memory))
#define SLOT_FRAMES     ((MAX_SLOTS + SLOTS_PER_FRAME - 1) / SLOTS_PER_FRAME)

struct virtio_blk {
	struct blkdev dev;
	struct virtio_device virtio;
	char name[8];
	struct spinlock lock;
	struct ring_frame *ring;    /* [o] */
	volatile u16 *notify;       /* [o] */
	u16 queue_size;             /* [o] a power of 2 */
	u16 stride;                 /* [o] ring descriptors of a slot */
	bool indirect, has_flush;   /* [o] */
	bool dead;                  /* [L] I3 */
	u16 avail_idx, used_idx;    /* [L] ours, ever rising */
	u32 nr_slots;               /* [o] */
	u32 busy;                   /* [L] a bit for each slot */
	struct {
		struct slot_memory *memory; /* [o] */
		u64 phys;                   /* [o] of *memory */
		struct blk_request *rq;     /* [L] */
		u32 bytes;                  /* [L] that the device shall write, its status included */
	} slot[MAX_SLOTS];
	struct page *frames[1 + SLOT_FRAMES];
};

static struct virtio_blk disks[VIRTIO_BLK_MAX];
static u32 nr_disks; /* [a] that are started */
static int vector;   /* [o] of all disks; 0 before the first */

/* ---- submitting ------------------------------------------------------------------------------ */

/* table_fill - descriptors of @rq from @table, which the device counts from @base; returns their
 * number. */
static u32 table_fill(struct virtio_blk *d, u32 slot, struct vring_desc *table, u16 base)
{
	const struct blk_request *rq = d->slot[slot].rq;
	u64 header = d->slot[slot].phys, status = header + offsetof(struct slot_memory, status);
	u16 to_memory = rq->op == BLK_READ ? DESC_WRITE : 0;
	u32 n = 0;

	table[n++] = (struct vring_desc){header, status - header, DESC_NEXT, base + 1};
	for (u32 i = 0; i < rq->nr_segments; i++, n++)
		table[n] = (struct vring_desc){rq->segments[i].at.v, rq->segments[i].bytes,
					       DESC_NEXT | to_memory, base + n + 1};
	table[n++] = (struct vring_desc){status, 1, DESC_WRITE, 0};
	return n;
}

static void slot_fill(struct virtio_blk *d, u32 slot, struct blk_request *rq)
{
	static const u32 ops[] = {
		[BLK_READ] = REQUEST_IN, [BLK_WRITE] = REQUEST_OUT, [BLK_FLUSH] = REQUEST_FLUSH,
	};
	struct slot_memory *m = d->slot[slot].memory;
	u32 n;

	d->slot[slot].rq = rq;
	d->slot[slot].bytes = 1;
	for (u32 i = 0; rq->op == BLK_READ && i < rq->nr_segments; i++)
		d->slot[slot].bytes += rq->segments[i].bytes;
	m->header.type = ops[rq->op];
	m->header.reserved = 0;
	m->header.sector = rq->op == BLK_FLUSH ? 0 : rq->disk_sector;
	WRITE_ONCE(m->status, STATUS_NONE);
	if (!d->indirect) {
		table_fill(d, slot, &d->ring->desc[slot * d->stride], slot * d->stride);
		return;
	}
	n = table_fill(d, slot, m->table, 0);
	d->ring->desc[slot] = (struct vring_desc){
		d->slot[slot].phys + offsetof(struct slot_memory, table),
		n * sizeof(struct vring_desc), DESC_INDIRECT, 0,
	};
}

static int submit_locked(struct virtio_blk *d, struct blk_request *rq)
{
	u32 free = ~d->busy & (d->nr_slots == 32 ? ~0u : (1u << d->nr_slots) - 1), slot;

	assert_held(&d->lock);
	if (d->dead)
		return -EIO;
	if (!free)
		return -EAGAIN;
	slot = __builtin_ctz(free);
	d->busy |= 1u << slot;
	slot_fill(d, slot, rq);
	d->ring->avail_ring.ring[d->avail_idx % d->queue_size] = slot * d->stride;
	atomic_store(&d->ring->avail_ring.idx, ++d->avail_idx);
	smp_mb();
	if (!(READ_ONCE(d->ring->used_ring.flags) & USED_NO_NOTIFY))
		*d->notify = 0; /* the queue's number */
	return 0;
}

static int submit(struct blkdev *dev, struct blk_request *rq)
{
	struct virtio_blk *d = container_of(dev, struct virtio_blk, dev);
	u64 flags;
	int err;

	if (rq->op == BLK_FLUSH && !d->has_flush) { /* it keeps nothing back */
		flags = irq_save();
		blkdev_finish(rq, 0);
		irq_restore(flags);
		return 0;
	}
	flags = spin_lock_irqsave(&d->lock);
	err = submit_locked(d, rq);
	spin_unlock_irqrestore(&d->lock, flags);
	return err;
}

/* ---- completion ------------------------------------------------------------------------------ */

struct ended {
	struct blk_request *rq;
	int status;
};

static void slot_end(struct virtio_blk *d, u32 slot, int status, struct ended *e)
{
	*e = (struct ended){d->slot[slot].rq, status};
	d->slot[slot].rq = NULL;
	d->busy &= ~(1u << slot);
}

/* ring_take - the requests that the device gives back, into @ended; returns their number. Sets *@bad
 * at the first entry that cannot be (I2). */
static u32 ring_take(struct virtio_blk *d, struct ended *ended, bool *bad)
{
	u16 idx = atomic_load(&d->ring->used_ring.idx);
	u32 n = 0;

	assert_held(&d->lock);
	if ((u16)(idx - d->used_idx) > d->nr_slots)
		*bad = true;
	while (!*bad && d->used_idx != idx) {
		u32 head = READ_ONCE(d->ring->used_ring.ring[d->used_idx % d->queue_size].head);
		u32 bytes = READ_ONCE(d->ring->used_ring.ring[d->used_idx % d->queue_size].bytes);
		u32 slot = head / d->stride;

		if (head % d->stride || slot >= d->nr_slots || !(d->busy >> slot & 1)) {
			*bad = true;
			break;
		}
		/* A read that filled less than it was asked for has failed (N7). */
		bool good = READ_ONCE(d->slot[slot].memory->status) == REQUEST_OK &&
			    (d->slot[slot].bytes == 1 || bytes >= d->slot[slot].bytes);
		slot_end(d, slot, good ? 0 : -EIO, &ended[n++]);
		d->used_idx++;
	}
	d->dead |= *bad;
	return n;
}

static void all_done(struct ended *ended, u32 n)
{
	for (u32 i = 0; i < n; i++)
		blkdev_finish(ended[i].rq, ended[i].status);
}

/* disk_die - after a wrong entry: nothing of the device is believed any more. => d->dead is set */
static void disk_die(struct virtio_blk *d)
{
	struct ended ended[MAX_SLOTS];
	u64 flags;
	u32 n = 0;

	printk("Neap: disk %s answers what it was not asked: it is not used any more\n", d->name);
	/* If it does not reset, its way to memory is closed: either way the frames are safe. */
	if (virtio_reset(&d->virtio))
		printk("Neap: disk %s does not reset: it is cut off from memory\n", d->name);
	flags = spin_lock_irqsave(&d->lock);
	for (u32 slot = 0; slot < d->nr_slots; slot++)
		if (d->busy >> slot & 1)
			slot_end(d, slot, -EIO, &ended[n++]);
	spin_unlock_irqrestore(&d->lock, flags);
	all_done(ended, n);
}

static void disk_interrupt(struct virtio_blk *d)
{
	struct ended ended[MAX_SLOTS];
	bool bad = false;
	u64 flags;
	u32 n;

	/* Once: an entry that comes after our look brings another interrupt. */
	flags = spin_lock_irqsave(&d->lock);
	n = d->dead ? 0 : ring_take(d, ended, &bad);
	spin_unlock_irqrestore(&d->lock, flags);
	all_done(ended, n);
	if (bad)
		disk_die(d);
}

static void interrupt(void)
{
	for (u32 i = 0; i < atomic_load(&nr_disks); i++)
		disk_interrupt(&disks[i]);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void memory_free(struct virtio_blk *d)
{
	for (u32 i = 0; i < ARRAY_SIZE(d->frames); i++)
		if (d->frames[i])
			frame_free(d->frames[i], 0);
}

static int memory_alloc(struct virtio_blk *d)
{
	u32 nr = 1 + (d->nr_slots + SLOTS_PER_FRAME - 1) / SLOTS_PER_FRAME;

	for (u32 i = 0; i < nr; i++) {
		d->frames[i] = frame_alloc(FRAME_DMA, FRAME_ZERO);
		if (!d->frames[i])
			return trace(-ENOMEM);
	}
	d->ring = phys_to_virt(frame_phys(d->frames[0]));
	for (u32 i = 0; i < d->nr_slots; i++) {
		u64 phys = frame_phys(d->frames[1 + i / SLOTS_PER_FRAME]) +
			   i % SLOTS_PER_FRAME * sizeof(struct slot_memory);

		d->slot[i].phys = phys;
		d->slot[i].memory = phys_to_virt(phys);
	}
	return 0;
}

/* geometry - sizes of queue, slots and requests from what the device says. NULL, or why not. */
static const char *geometry(struct virtio_blk *d, u64 features)
{
	u32 seg_max = 1, size_max = PAGE_SIZE;
	u16 queue = MIN(virtio_queue_max(&d->virtio, 0), (u16)MAX_QUEUE);

	if (virtio_config(&d->virtio, CONFIG(capacity), &d->dev.nr_sectors, 8) ||
	    ((features & VIRTIO_BLK_F_SEG_MAX) && virtio_config(&d->virtio, CONFIG(seg_max), &seg_max, 4)) ||
	    ((features & VIRTIO_BLK_F_SIZE_MAX) && virtio_config(&d->virtio, CONFIG(size_max), &size_max, 4)))
		return "its configuration cannot be read";
	if (queue < 3)
		return "its queue is too short";
	if (d->dev.nr_sectors >> 54)
		return "its size cannot be";
	if (seg_max == 0 || size_max < PAGE_SIZE)
		return "its requests are too small for a page";
	d->queue_size = 1u << (31 - __builtin_clz(queue));
	/* No chain may be longer than the queue, indirect or not. */
	seg_max = MIN(seg_max, (u32)MAX_SEGMENTS);
	d->dev.max_segments = MIN(seg_max, d->queue_size - 2u);
	d->indirect = features & VIRTIO_F_INDIRECT;
	d->stride = d->indirect ? 1 : d->dev.max_segments + 2;
	d->nr_slots = MIN(d->queue_size / d->stride, MAX_SLOTS);
	d->dev.max_inflight = d->nr_slots;
	d->dev.read_only = features & VIRTIO_BLK_F_RO;
	d->has_flush = features & VIRTIO_BLK_F_FLUSH;
	return NULL;
}

/* queue_start - NULL, or why not. */
static const char *queue_start(struct virtio_blk *d)
{
	struct virtio_queue_memory m = {.size = d->queue_size};

	if (memory_alloc(d))
		return "no memory for its queue";
	if (vector <= 0)
		vector = irq_alloc(interrupt);
	if (vector < 0 || cpus[0]->apic_id > 254)
		return "no interrupt for it";
	m.desc = frame_phys(d->frames[0]);
	m.avail_ring = m.desc + offsetof(struct ring_frame, avail_ring);
	m.used_ring = m.desc + offsetof(struct ring_frame, used_ring);
	pci_msix_route(&d->virtio.msix, 0, vector, cpus[0]->apic_id);
	if (virtio_queue_start(&d->virtio, 0, &m, &d->notify))
		return "its queue cannot be set up";
	return NULL;
}

/* disk_start - NULL, or why not. */
static const char *disk_start(struct virtio_blk *d, const struct pci_device *at)
{
	const char *why;
	u64 features;
	int err = virtio_open(&d->virtio, at);

	if (err)
		return err == -ENODEV ? "it is legacy: only virtio 1.x is used (disable-legacy=on)"
		       : err == -EOPNOTSUPP ? "it has no MSI-X"
					    : "its registers are not where it says";
	if (virtio_negotiate(&d->virtio,
			     VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH | VIRTIO_F_INDIRECT, &features))
		return "it does not agree to virtio 1.x";
	why = geometry(d, features);
	if (!why)
		why = queue_start(d);
	if (!why) {
		virtio_ready(&d->virtio);
		return NULL;
	}
	/* Without an answer to the reset its way to memory is closed: the frames may go. */
	if (virtio_reset(&d->virtio))
		why = "it does not answer";
	return why;
}

void virtio_blk_found(const struct pci_device *at)
{
	struct virtio_blk *d = &disks[nr_disks];
	const char *why;

	if (at->vendor != VIRTIO_VENDOR ||
	    (at->device != DEVICE_LEGACY_ID && at->device != DEVICE_MODERN_ID))
		return;
	why = "there are more than can be used";
	if (nr_disks < VIRTIO_BLK_MAX) {
		*d = (struct virtio_blk){.name = {'v', 'd', 'a' + nr_disks}};
		d->dev.name = d->name;
		d->dev.submit = submit;
		spin_init(&d->lock, RANK_DISK);
		why = disk_start(d, at);
	}
	if (why) {
		printk("Neap: virtio disk at %02x:%02x.%u left out: %s\n", at->bus, at->slot,
		       at->function, why);
		if (nr_disks < VIRTIO_BLK_MAX)
			memory_free(d);
		return;
	}
	atomic_store(&nr_disks, nr_disks + 1);
	blkdev_add(&d->dev);
}
