/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, queues and interrupts of every virtio device. Its BAR has a page for each group of registers,
 * then MSI-X in the last one:
 *
 *	0000 common   1000 ISR   2000 the kind's configuration   3000 notify   7000 MSI-X
 *
 * A queue is three rings in the guest's memory: descriptors (buffers, chained), what is available (heads
 * of chains, from the guest), what was used (from us). A turn serves what is available, TURN_REQUESTS of
 * a queue at most, and interrupts once at its end. What is left, by that or for want of a frame, stays in
 * the ring: the queue stays `kicked`, and the vCPU comes by again (VCPU_REQ_BOARD). A request whose used
 * entry found no frame is served once more, so a kind's requests must bear it.
 *
 * Invariants
 *	I1  a word that a guest wrote is read once; nothing of a ring is used unchecked.
 *	I2  addresses and sizes of a queue do not change while it is enabled, features not after FEATURES_OK.
 *	I3  with DEVICE_NEEDS_RESET nothing is served; a reset alone takes it away.
 *
 * Locking: d->lock for all but `isr`, which an interrupt handler of the guest reads while another vCPU's
 * turn may wait for a disk. Who raises sets isr, then the line; who reads lowers the line, then takes isr:
 * so what is in isr is on the line, or about to be taken. At worst a line is high for nothing.
 *
 * Not here: packed rings, indirect descriptors, event indices, and the capability that reaches registers
 * through configuration space (VIRTIO_PCI_CAP_PCI_CFG): the standard asks for it, for firmware that cannot
 * map a BAR; Linux does not use it. The kind's configuration does not change: its generation is always 0.
 *
 * Source: VIRTIO 1.1, "Split Virtqueues", "PCI Device Layout", "Common configuration structure layout". */
#include "vmm/devices/virtio_dev.h"

#include "lib/string.h"
#include "vmm/guest_mem.h"
#include "vmm/vm.h"

#define BAR_BYTES      (8 * PAGE_SIZE)
#define TURN_REQUESTS  32

enum { PAGE_COMMON, PAGE_ISR, PAGE_CONFIG, PAGE_NOTIFY };

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* The capabilities: id, link, length, group of registers, BAR 0, where in it, how much. All queues are
 * notified at one place: the multiplier, the last dword, is 0. */
#define AT(page) 0, (page) << 4, 0, 0, 0, 0x10, 0, 0
static const u8 capabilities[] = {
	0x09, 0x50, 16, BLOCK_COMMON, 0, 0, 0, 0, AT(PAGE_COMMON),
	0x09, 0x60, 16, BLOCK_ISR, 0, 0, 0, 0, AT(PAGE_ISR),
	0x09, 0x70, 16, BLOCK_DEVICE, 0, 0, 0, 0, AT(PAGE_CONFIG),
	0x09, 0x84, 20, BLOCK_NOTIFY, 0, 0, 0, 0, AT(PAGE_NOTIFY), 0, 0, 0, 0,
};
static_assert(0x40 + sizeof(capabilities) == 0x84, "the last link leads to the bus's MSI-X");

enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };

static struct virtio_dev *device_of(struct pci_function *f)
{
	return container_of(f, struct virtio_dev, pci);
}

/* ---- interrupts and states ----------------------------------------------------------------------------- */

static void interrupt(struct virtio_dev *d, u16 vector, u8 why)
{
	if (pci_interrupt(&d->pci, vector))
		return;
	atomic_or(&d->isr, why);
	pci_set_line(&d->pci, true);
}

static u8 isr_take(struct virtio_dev *d)
{
	pci_set_line(&d->pci, false);
	return atomic_xchg(&d->isr, 0);
}

static void reset(struct virtio_dev *d)
{
	isr_take(d);
	d->status = 0;
	d->accepted = 0;
	d->feature_select = d->driver_feature_select = d->queue_select = 0;
	d->config_vector = PCI_NO_VECTOR;
	for (u32 i = 0; i < VIRTIO_MAX_QUEUES; i++)
		d->queue[i] = (struct virtio_queue){
			.size = VIRTIO_QUEUE_ENTRIES, .vector = PCI_NO_VECTOR,
		};
}

static void needs_reset(struct virtio_dev *d)
{
	d->status |= STATUS_NEEDS_RESET;
	for (u32 i = 0; i < VIRTIO_MAX_QUEUES; i++)
		d->queue[i].kicked = false;
	interrupt(d, d->config_vector, ISR_CONFIG);
}

/* A bit of the status stays until the reset; FEATURES_OK does not come unless the features are sound. */
static void status_write(struct virtio_dev *d, u8 value)
{
	if (!value) {
		reset(d);
		return;
	}
	if ((d->accepted & ~d->offered) || !(d->accepted & VIRTIO_F_VERSION1))
		value &= ~STATUS_FEATURES_OK;
	d->status |= value & ~STATUS_NEEDS_RESET;
}

/* ---- rings -------------------------------------------------------------------------------------------- */

/* chain_read - @c becomes the request whose first descriptor is @i. A loop has too many buffers.
 * Return 0; -EINVAL: it makes no sense; or as guest_read. */
static int chain_read(struct vcpu *v, const struct virtio_queue *q, u16 i, struct virtio_chain *c)
{
	struct vring_desc e;

	c->nr = c->nr_readable = 0;
	do {
		if (i >= q->size || c->nr == VIRTIO_CHAIN_BUFFERS)
			return -EINVAL;
		int err = guest_read(v, &e, gpa(q->desc + i * sizeof(e)), sizeof(e));
		if (err)
			return err;
		bool readable = !(e.flags & DESC_WRITE);
		if ((e.flags & DESC_INDIRECT) || (readable && c->nr_readable != c->nr))
			return -EINVAL;
		c->nr_readable += readable;
		c->buffer[c->nr++] = (struct virtio_buffer){e.at, e.bytes};
		i = e.next;
	} while (e.flags & DESC_NEXT);
	return 0;
}

static int used_put(struct vcpu *v, struct virtio_queue *q, u16 head, u32 written)
{
	const struct vring_used_element e = {head, written};
	u16 next = q->next_used + 1;
	u64 at = q->used + RING_ENTRIES + q->next_used % q->size * sizeof(e);
	int err = guest_write(v, gpa(at), &e, sizeof(e));

	if (err)
		return err;
	/* Another vCPU that sees the index must see the element, and what was written into the buffers.
	 * Processors keep stores in order; the compiler must, too. */
	compiler_barrier();
	err = guest_write(v, gpa(q->used + RING_INDEX), &next, sizeof(next));
	if (!err)
		q->next_used = next;
	return err;
}

/* request_serve - the next one of @q. Return 1; 0: there is none; errors as of `serve`, and -EFAULT. */
static int request_serve(struct virtio_dev *d, struct vcpu *v, struct virtio_queue *q)
{
	u16 index, head;
	int err = guest_read(v, &index, gpa(q->avail + RING_INDEX), sizeof(index));

	if (err)
		return err;
	if ((u16)(index - q->next_avail) > q->size)
		return -EINVAL;
	if (index == q->next_avail)
		return 0;
	compiler_barrier(); /* the guest wrote the entry first: it is read last, here as by processors */
	u64 at = q->avail + RING_ENTRIES + q->next_avail % q->size * sizeof(head);
	err = guest_read(v, &head, gpa(at), sizeof(head)) ?: chain_read(v, q, head, &d->chain);
	if (err)
		return err;
	int written = d->kind->serve(d, v, q - d->queue, &d->chain);
	if (written < 0)
		return written;
	err = used_put(v, q, head, written);
	if (err)
		return err;
	q->next_avail++;
	return 1;
}

/* The guest may not want to be told. Unless we can see that, it is. */
static bool wants_interrupt(struct vcpu *v, const struct virtio_queue *q)
{
	u16 flags;

	smp_mb(); /* the index was stored before: who wants to be told again looks at it after saying so */
	return guest_read(v, &flags, gpa(q->avail + RING_FLAGS), sizeof(flags)) ||
	       !(flags & AVAIL_NO_INTERRUPT);
}

/* queue_turn - Return 0, or the error that ended it; q->kicked: there may be more. */
static int queue_turn(struct virtio_dev *d, struct vcpu *v, struct virtio_queue *q)
{
	u32 done = 0;
	int got = 1;

	while (q->kicked && got > 0 && done < TURN_REQUESTS && !vcpu_must_leave(v)) {
		got = request_serve(d, v, q);
		q->kicked = got;
		done += got > 0;
	}
	if (done && wants_interrupt(v, q))
		interrupt(d, q->vector, ISR_QUEUE);
	return MIN(got, 0);
}

static bool is_live(const struct virtio_dev *d)
{
	const u8 live = STATUS_FEATURES_OK | STATUS_DRIVER_OK;

	return (d->status & (live | STATUS_NEEDS_RESET)) == live;
}

/* A turn of the queues that are kicked; what is left comes with the vCPU's next look at its requests, before it
 * enters the guest: a driver that is always ahead keeps it here, but not from pausing or ending. @queue is, from now on, if there is such a one. */
static void turn(struct virtio_dev *d, struct vcpu *v, u32 queue)
{
	bool later = false;
	int err = 0;

	mutex_lock(&d->lock);
	if (queue < d->kind->nr_queues && d->queue[queue].enabled && is_live(d))
		d->queue[queue].kicked = true;
	for (u32 i = 0; i < d->kind->nr_queues && !err; i++)
		err = queue_turn(d, v, &d->queue[i]);
	if (err == -EFAULT || err == -EINVAL)
		needs_reset(d);
	for (u32 i = 0; i < d->kind->nr_queues; i++)
		later |= d->queue[i].kicked;
	mutex_unlock(&d->lock);
	if (err == -ENOMEM)
		vm_out_of_memory(v->vm);
	if (err == -EIO)
		vm_stop_guest(v, "swap-read-error", "a page of a ring cannot be read back from swap");
	if (later)
		vcpu_request(v, VCPU_REQ_BOARD);
}

void virtio_dev_serve(struct virtio_dev *d, struct vcpu *v)
{
	turn(d, v, VIRTIO_MAX_QUEUES);
}

/* ---- common configuration -------------------------------------------------------------------------------- */

static struct virtio_queue *selected(struct virtio_dev *d)
{
	return d->queue_select < d->kind->nr_queues ? &d->queue[d->queue_select] : NULL;
}

static u32 half(u64 features, u32 select)
{
	return select < 2 ? features >> (32 * select) : 0;
}

static u64 *ring_address(struct virtio_queue *q, u64 offset)
{
	u64 *const ring[] = {&q->desc, &q->avail, &q->used};

	return ring[(offset - COMMON_QUEUE_DESC) / 8];
}

static u64 queue_read(struct virtio_queue *q, u64 offset)
{
	switch (offset) {
	case COMMON_QUEUE_SIZE: return q->size;
	case COMMON_QUEUE_VECTOR: return q->vector;
	case COMMON_QUEUE_ENABLE: return q->enabled;
	}
	return offset >= COMMON_QUEUE_DESC ? *ring_address(q, offset) >> 8 * (offset % 8) : 0;
}

static u64 common_read(struct virtio_dev *d, u64 offset)
{
	switch (offset) {
	case COMMON_DEVICE_SELECT: return d->feature_select;
	case COMMON_DEVICE_FEATURES: return half(d->offered, d->feature_select);
	case COMMON_DRIVER_SELECT: return d->driver_feature_select;
	case COMMON_DRIVER_FEATURES: return half(d->accepted, d->driver_feature_select);
	case COMMON_CONFIG_VECTOR: return d->config_vector;
	case COMMON_NR_QUEUES: return d->kind->nr_queues;
	case COMMON_STATUS: return d->status;
	case COMMON_QUEUE_SELECT: return d->queue_select;
	}
	return selected(d) && offset < COMMON_BYTES ? queue_read(selected(d), offset) : 0;
}

static u16 vector_or_none(const struct virtio_dev *d, u16 value)
{
	return value < d->pci.nr_vectors ? value : PCI_NO_VECTOR;
}

static void queue_write(struct virtio_dev *d, struct virtio_queue *q, u64 offset, unsigned int bytes,
			u64 value)
{
	if (offset == COMMON_QUEUE_VECTOR)
		q->vector = vector_or_none(d, value);
	if (q->enabled) /* I2 */
		return;
	if (offset == COMMON_QUEUE_ENABLE)
		q->enabled = value == 1;
	if (offset == COMMON_QUEUE_SIZE && value && value <= VIRTIO_QUEUE_ENTRIES && !(value & (value - 1)))
		q->size = value;
	if (offset >= COMMON_QUEUE_DESC && offset % 8 + bytes <= 8)
		memcpy((u8 *)ring_address(q, offset) + offset % 8, &value, bytes);
}

static void driver_feature_write(struct virtio_dev *d, u32 value)
{
	u32 shift = 32 * d->driver_feature_select;

	if (d->driver_feature_select < 2 && !(d->status & STATUS_FEATURES_OK))
		d->accepted = (d->accepted & ~(0xffffffffull << shift)) | (u64)value << shift;
}

static void common_write(struct virtio_dev *d, u64 offset, unsigned int bytes, u64 value)
{
	switch (offset) {
	case COMMON_DEVICE_SELECT: d->feature_select = value; return;
	case COMMON_DRIVER_SELECT: d->driver_feature_select = value; return;
	case COMMON_DRIVER_FEATURES: driver_feature_write(d, value); return;
	case COMMON_CONFIG_VECTOR: d->config_vector = vector_or_none(d, value); return;
	case COMMON_STATUS: status_write(d, value); return;
	case COMMON_QUEUE_SELECT: d->queue_select = value; return;
	}
	if (selected(d) && offset < COMMON_BYTES)
		queue_write(d, selected(d), offset, bytes, value);
}

/* ---- registers, by page ------------------------------------------------------------------------------------ */

static u64 config_read(const struct virtio_dev *d, u64 offset, unsigned int bytes)
{
	u64 value = 0;

	if (offset < d->kind->config_bytes)
		memcpy(&value, (const u8 *)d->config + offset,
		       MIN((u64)bytes, d->kind->config_bytes - offset));
	return value;
}

static u64 virtio_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct virtio_dev *d = device_of(dev);
	u64 value, in_page = offset % PAGE_SIZE;

	switch (offset / PAGE_SIZE) {
	case PAGE_COMMON:
		mutex_lock(&d->lock);
		value = common_read(d, in_page);
		mutex_unlock(&d->lock);
		return value;
	case PAGE_ISR: return in_page ? 0 : isr_take(d);
	case PAGE_CONFIG: return config_read(d, in_page, bytes);
	default: return 0;
	}
}

static void virtio_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct virtio_dev *d = device_of(dev);

	if (offset / PAGE_SIZE == PAGE_NOTIFY)
		turn(d, v, (u16)value);
	if (offset / PAGE_SIZE != PAGE_COMMON)
		return;
	mutex_lock(&d->lock);
	common_write(d, offset, bytes, value);
	mutex_unlock(&d->lock);
}

static const struct io_ops virtio_io = {.name = "virtio", .read = virtio_read, .write = virtio_write};

void virtio_dev_attach(struct virtio_dev *d, struct pci_bus *bus, const struct virtio_kind *kind,
		       u64 features, const void *config)
{
	u16 id = VIRTIO_PCI_DEVICE + kind->id;

	CHECK(kind->nr_queues <= VIRTIO_MAX_QUEUES && (features & VIRTIO_F_VERSION1), "virtio %s", kind->name);
	*d = (struct virtio_dev){
		.kind = kind, .config = config, .offered = features,
		.pci = {.vendor = VIRTIO_VENDOR, .device = id, .subsystem = id, .class_code = kind->class_code,
			.bar_bytes = BAR_BYTES, .nr_vectors = 1 + kind->nr_queues, .ops = &virtio_io,
			.capabilities = capabilities, .capability_bytes = sizeof(capabilities)},
	};
	mutex_init(&d->lock);
	pci_bus_add(bus, &d->pci);
	reset(d);
}
