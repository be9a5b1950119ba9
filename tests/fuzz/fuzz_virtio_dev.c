/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/virtio_dev.c */
/* sources: kernel/vmm/devices/pci_bus.c kernel/vmm/guest_mem.c kernel/vmm/io.c kernel/lib/pt_walk.c
 * kernel/lib/pt_format.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The virtio transport: a driver that makes good chains, spoils rings, descriptors and indices, writes any
 * register, and lacks frames. The kind of device is made up: it reads the buffers that it may read and fills
 * those that it may write.
 *
 * After each turn a second reading of the rings, by the standard, on a copy of the guest's memory has come
 * to the same: the same chains in the same order, the same bytes in all of memory, the same indices, state
 * and interrupts. So nothing but used rings and writable buffers changes, an element names a head that was
 * available, and after a ring that makes no sense nothing is served. */
#include "vm.h"

#include "vmm/devices/lapic.h"
#include "vmm/devices/virtio_dev.h"
#include "vmm/guest_mem.h"

#define RAM       (VMM_HOST_PAGES * PAGE_SIZE)
#define BAR       (PCI_WINDOW_START + MIB(1))
#define BUFFERS   0x8000u
#define NR_QUEUES 2
#define TURN      32 /* requests of a queue in one turn, at most */
#define MSIX_CAP  0x84
#define OFFERED   (VIRTIO_F_VERSION1 | 0x23)

enum { OFFSET_ISR = 0x1000, OFFSET_NOTIFY = 0x3000, OFFSET_MSIX = 0x7000 };
enum { WHY_QUEUE = 1, WHY_CONFIG = 2 };

static const struct fuzz_range ranges[] = {
	{.start = BAR, .bytes = COMMON_BYTES, .mmio = true, .step = 2},
	{.start = BAR, .bytes = COMMON_BYTES, .mmio = true, .step = 4},
	{.start = BAR + OFFSET_ISR, .bytes = 4, .mmio = true, .step = 4},
	{.start = BAR + 0x2000, .bytes = 16, .mmio = true},
	{.start = BAR + OFFSET_NOTIFY, .bytes = 8, .mmio = true},
	{.start = BAR + OFFSET_MSIX, .bytes = 0x40, .mmio = true, .step = 4},
	{.start = BAR + OFFSET_MSIX + 0x800, .bytes = 8, .mmio = true, .step = 4},
	{.start = BAR + 0x4000, .bytes = 8, .mmio = true},
};

static struct pci_bus bus;
static struct virtio_dev dev;
static const struct io_ops *dev_ops; /* the device's own, behind the spy */
static bool line;
static u32 nr_messages;

/* What must come of a turn. */
static struct {
	u8 ram[RAM];
	int no_frame[VMM_HOST_PAGES];
	struct virtio_queue queue[VIRTIO_MAX_QUEUES];
	u8 status, isr;
	bool pending[1 + NR_QUEUES];
	u32 nr_messages, nr_served;
} m;

/* What the kind got in the turn, and what it is to do: fail at a request, and let another vCPU write to
 * memory and read the ISR at one. Requests are counted from the beginning. */
static struct {
	u32 nr_served, nr;
	struct {
		u32 queue;
		struct virtio_chain chain;
	} got[NR_QUEUES * TURN];
	u32 fail_at, event_at;
	int fail_with;
	u64 event_where;
	u16 event_value;
	u8 event_isr;
} kind_log;

/* ---- the board around it ------------------------------------------------------------------------------- */

void irq_set(struct vm *vm, u32 irq, bool level)
{
	CHECK(vm == host_vm && irq == pci_slot_irq(1), "line %u", irq);
	line = level;
}

bool lapic_message(struct vm *vm, unused u8 dest, unused u32 icr)
{
	CHECK(vm == host_vm, "another VM");
	nr_messages++;
	return true;
}

void mutex_init(struct mutex *lock)
{
	lock->state = 0;
}

void mutex_lock(struct mutex *lock)
{
	CHECK(!lock->state && !preempt_count(), "mutex_lock: state %u, %u spinlocks", lock->state,
	      preempt_count());
	lock->state = 1;
}

void mutex_unlock(struct mutex *lock)
{
	lock->state = 0;
}

/* ---- the kind ------------------------------------------------------------------------------------------- */

typedef int (*mover)(struct vcpu *v, u64 at, void *buffer, u32 bytes, bool write);

static int real_move(struct vcpu *v, u64 at, void *buffer, u32 bytes, bool write)
{
	return write ? guest_write(v, gpa(at), buffer, bytes) : guest_read(v, buffer, gpa(at), bytes);
}

static int model_move(unused struct vcpu *v, u64 at, void *buffer, u32 bytes, bool write)
{
	for (u32 i = 0; i < bytes; i++, at++) {
		if (at >= RAM)
			return -EFAULT;
		if (m.no_frame[at / PAGE_SIZE])
			return m.no_frame[at / PAGE_SIZE];
		if (write)
			m.ram[at] = ((u8 *)buffer)[i];
		else
			((u8 *)buffer)[i] = m.ram[at];
	}
	return 0;
}

/* carry_out - the kind's request @n: what is written depends on what was read. */
static int carry_out(struct vcpu *v, mover move, u32 n, const struct virtio_chain *c)
{
	u8 data[300], sum = n;
	int written = 0;

	if (n == kind_log.fail_at)
		return kind_log.fail_with;
	for (u32 i = 0; i < c->nr; i++) {
		u32 bytes = MIN(c->buffer[i].bytes, (u32)sizeof(data));
		bool write = i >= c->nr_readable;
		for (u32 k = 0; write && k < bytes; k++)
			data[k] = sum += 37;
		int err = move(v, c->buffer[i].at, data, bytes, write);
		if (err)
			return err == -ENOMEM || err == -EINTR ? err : -EINVAL;
		for (u32 k = 0; !write && k < bytes; k++)
			sum = sum * 3 + data[k];
		written += write ? bytes : 0;
	}
	return written;
}

static int kind_serve(struct virtio_dev *d, struct vcpu *v, u32 queue, const struct virtio_chain *c)
{
	u32 n = kind_log.nr_served++;

	CHECK(d == &dev && d->lock.state && !preempt_count() && queue < NR_QUEUES, "queue %u", queue);
	CHECK(kind_log.nr < ARRAY_SIZE(kind_log.got), "a turn without an end");
	CHECK(c->nr && c->nr <= VIRTIO_CHAIN_BUFFERS && c->nr_readable <= c->nr, "%u buffers", c->nr);
	kind_log.got[kind_log.nr].queue = queue;
	kind_log.got[kind_log.nr++].chain = *c;
	if (n == kind_log.event_at) {
		memcpy(host_ram(kind_log.event_where), &kind_log.event_value, 2);
		kind_log.event_isr = dev_ops->read(host_vcpu(3), &dev.pci, OFFSET_ISR, 1);
	}
	return carry_out(v, real_move, n, c);
}

static const u8 kind_config[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static const struct virtio_kind kind = {
	.name = "fuzz", .id = 7, .class_code = 0xff0001, .nr_queues = NR_QUEUES,
	.config_bytes = sizeof(kind_config), .serve = kind_serve,
};

/* ---- the second reading --------------------------------------------------------------------------------- */

static void model_interrupt(u16 vector, u8 why)
{
	u32 control = dev.pci.config[MSIX_CAP / 4];

	if (!(control >> 31)) {
		m.isr |= why;
		return;
	}
	if (vector <= NR_QUEUES)
		m.pending[vector] = true;
	for (u32 i = 0; vector <= NR_QUEUES && control >> 30 == 2 && i <= NR_QUEUES; i++) {
		const u32 *word = dev.pci.vector[i].word;

		if (!m.pending[i] || (word[3] & 1))
			continue;
		m.pending[i] = false;
		m.nr_messages += word[0] >> 20 == 0xfee && !word[1];
	}
}

static int model_chain(const struct virtio_queue *q, u32 at, struct virtio_chain *c)
{
	struct vring_desc e = {.flags = DESC_NEXT};

	for (*c = (struct virtio_chain){0}; e.flags & DESC_NEXT; at = e.next) {
		if (at > q->size - 1u || c->nr + 1 > VIRTIO_CHAIN_BUFFERS)
			return -EINVAL;
		int err = model_move(NULL, q->desc + 16 * at, &e, 16, false);
		if (err)
			return err;
		if ((e.flags & DESC_INDIRECT) || (!(e.flags & DESC_WRITE) && c->nr_readable < c->nr))
			return -EINVAL;
		c->nr_readable += !(e.flags & DESC_WRITE);
		c->buffer[c->nr++] = (struct virtio_buffer){e.at, e.bytes};
	}
	return 0;
}

static void model_serves(u32 queue, const struct virtio_chain *c, u32 nth)
{
	const struct virtio_chain *got = &kind_log.got[nth].chain;

	CHECK(nth < kind_log.nr, "a request was not served");
	CHECK(kind_log.got[nth].queue == queue && got->nr == c->nr && got->nr_readable == c->nr_readable,
	      "%u buffers, %u readable, of queue %u; not %u, %u, %u", got->nr, got->nr_readable,
	      kind_log.got[nth].queue, c->nr, c->nr_readable, queue);
	for (u32 i = 0; i < c->nr; i++)
		CHECK(got->buffer[i].at == c->buffer[i].at && got->buffer[i].bytes == c->buffer[i].bytes,
		      "buffer %u is another", i);
	if (m.nr_served != kind_log.event_at)
		return;
	memcpy(m.ram + kind_log.event_where, &kind_log.event_value, 2);
	CHECK(kind_log.event_isr == m.isr, "the ISR is %u", kind_log.event_isr);
	m.isr = 0;
}

/* One request: 1; 0 if there is none; an error. */
static int model_request(struct vcpu *v, u32 queue, u32 *nth)
{
	struct virtio_queue *q = &m.queue[queue];
	struct virtio_chain c;
	u16 index, head;
	int err = model_move(v, q->avail + 2, &index, 2, false);
	u16 waiting = index - q->next_avail;

	if (err || !waiting)
		return err;
	if (waiting >= q->size + 1)
		return -EINVAL;
	err = model_move(v, q->avail + 4 + 2 * (q->next_avail & (q->size - 1)), &head, 2, false);
	err = err ? err : model_chain(q, head, &c);
	if (err)
		return err;
	model_serves(queue, &c, (*nth)++);
	int written = carry_out(v, model_move, m.nr_served++, &c);
	if (written < 0)
		return written;
	u32 element[] = {head, written};
	u16 next = q->next_used + 1;
	err = model_move(v, q->used + 4 + 8 * (q->next_used & (q->size - 1)), element, 8, true);
	err = err ? err : model_move(v, q->used + 2, &next, 2, true);
	if (err)
		return err;
	q->next_used++;
	q->next_avail++;
	return 1;
}

static int model_queue(struct vcpu *v, u32 queue, u32 *nth)
{
	struct virtio_queue *q = &m.queue[queue];
	u32 done = 0;
	int got = 0;
	u16 flags;

	while (q->kicked && done < TURN && !vcpu_must_leave(v)) {
		got = model_request(v, queue, nth);
		if (got <= 0)
			break;
		done++;
	}
	if (got == 0 && !vcpu_must_leave(v))
		q->kicked = false;
	if (done && (model_move(v, q->avail, &flags, 2, false) || !(flags & 1)))
		model_interrupt(q->vector, WHY_QUEUE);
	return MIN(got, 0);
}

static int model_turn(struct vcpu *v, u32 queue)
{
	u32 nth = 0;
	int err = 0;

	if (queue < NR_QUEUES && m.queue[queue].enabled && (m.status & 0x4c) == 0xc)
		m.queue[queue].kicked = true;
	for (u32 i = 0; i < NR_QUEUES && !err; i++)
		err = model_queue(v, i, &nth);
	CHECK(nth == kind_log.nr, "%u requests were served, not %u", kind_log.nr, nth);
	if (err == -EFAULT || err == -EINVAL) {
		m.status |= STATUS_NEEDS_RESET;
		m.queue[0].kicked = m.queue[1].kicked = false;
		model_interrupt(dev.config_vector, WHY_CONFIG);
	}
	return err;
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

static void check_queue(const struct virtio_queue *q, const struct virtio_queue *want)
{
	CHECK(q->size && q->size <= 128 && !(q->size & (q->size - 1)), "a queue of %u", q->size);
	CHECK(q->vector <= NR_QUEUES || q->vector == PCI_NO_VECTOR, "vector %u", q->vector);
	CHECK(q->next_avail == want->next_avail && q->next_used == want->next_used && q->kicked == want->kicked,
	      "available %u, used %u, kicked %u; not %u, %u, %u", q->next_avail, q->next_used, q->kicked,
	      want->next_avail, want->next_used, want->kicked);
	CHECK(!want->enabled || (q->enabled && q->size == want->size && q->desc == want->desc &&
	      q->avail == want->avail && q->used == want->used), "it changed while it was enabled");
}

static void check(void)
{
	bool asserted = dev.pci.config[1] & 1u << 19;

	fuzz_step_ended();
	CHECK(!dev.lock.state, "the device's lock is held");
	CHECK(!memcmp(host_ram(0), m.ram, RAM), "memory is another");
	for (u32 i = 0; i < NR_QUEUES; i++)
		check_queue(&dev.queue[i], &m.queue[i]);
	CHECK(dev.status == m.status && dev.isr == m.isr, "status %#x, ISR %u; not %#x, %u", dev.status,
	      dev.isr, m.status, m.isr);
	CHECK(asserted == (dev.isr != 0), "INTA is %u, the ISR %u", asserted, dev.isr);
	CHECK(line == (asserted && !(dev.pci.config[1] & 0x400) && !(dev.pci.config[MSIX_CAP / 4] >> 31)),
	      "the line is %u", line);
}

static void sync(void)
{
	memcpy(m.queue, dev.queue, sizeof(m.queue));
	m.nr_messages = nr_messages;
	for (u32 i = 0; i <= NR_QUEUES; i++)
		m.pending[i] = dev.pci.vector[i].pending;
	kind_log.nr = 0;
}

/* A turn, by a notification of @queue or the vCPU's coming by. */
static void turn(struct vcpu *v, u32 queue, unsigned int bytes)
{
	struct host_record was = host_record;
	bool later = false;

	sync();
	if (queue <= 0xffff)
		dev_ops->write(v, &dev.pci, OFFSET_NOTIFY, bytes, queue);
	else
		virtio_dev_serve(&dev, v);
	int err = model_turn(v, queue);
	for (u32 i = 0; i < NR_QUEUES; i++)
		later |= m.queue[i].kicked;
	CHECK(host_record.nr_requests == was.nr_requests + later, "left for later: %u", later);
	CHECK(host_record.nr_out_of_memory == was.nr_out_of_memory + (err == -ENOMEM), "memory");
	CHECK(host_record.nr_stopped == was.nr_stopped + (err == -EIO), "stopped");
	CHECK(nr_messages == m.nr_messages, "%u messages, not %u", nr_messages, m.nr_messages);
	for (u32 i = 0; i <= NR_QUEUES; i++)
		CHECK(dev.pci.vector[i].pending == m.pending[i], "vector %u", i);
	check();
}

/* Registers: a bit of the status comes when it is written, and goes with a reset alone. */
static void check_write(u64 offset, u64 value, u64 accepted)
{
	u8 gained = dev.status & ~m.status;

	if (offset == COMMON_STATUS && !(u8)value) {
		CHECK(!dev.status && !dev.isr && !line, "status %#x after a reset", dev.status);
		for (u32 i = 0; i < VIRTIO_MAX_QUEUES; i++)
			m.queue[i] = (struct virtio_queue){0};
		m.status = m.isr = 0;
		return;
	}
	CHECK(!gained || (offset == COMMON_STATUS && !(gained & ~value)), "status gained %#x", gained);
	CHECK(!(gained & STATUS_NEEDS_RESET), "NEEDS_RESET was written");
	CHECK(!(gained & STATUS_FEATURES_OK) || (dev.accepted >> 32 == 1 && !(dev.accepted & ~OFFERED)),
	      "features %#lx are taken", dev.accepted);
	CHECK(!(m.status & STATUS_FEATURES_OK) || accepted == dev.accepted, "features changed");
	m.status |= gained;
}

/* ---- between the bus and the device ----------------------------------------------------------------------- */

static u64 spy_read(struct vcpu *v, void *f, u64 offset, unsigned int bytes)
{
	u64 value = dev_ops->read(v, f, offset, bytes);

	CHECK(offset < OFFSET_MSIX, "offset %#lx", offset);
	if (offset == OFFSET_ISR) {
		CHECK(value == m.isr, "the ISR is %lu", value);
		m.isr = 0;
	}
	return value;
}

static void spy_write(struct vcpu *v, void *f, u64 offset, unsigned int bytes, u64 value)
{
	u64 accepted = dev.accepted;

	CHECK(offset < OFFSET_MSIX, "offset %#lx", offset);
	if (offset / PAGE_SIZE == OFFSET_NOTIFY / PAGE_SIZE) {
		turn(v, (u16)value, bytes);
		return;
	}
	sync();
	dev_ops->write(v, f, offset, bytes, value);
	check_write(offset, value, accepted);
	check();
}

static const struct io_ops spy_io = {.name = "spy", .read = spy_read, .write = spy_write};

/* ---- the driver ------------------------------------------------------------------------------------------ */

static void set(u64 offset, unsigned int bytes, u64 value)
{
	spy_write(host_vcpu(0), &dev.pci, offset, bytes, value);
}

/* put - the guest writes to its memory; beside it nothing happens. */
static void put(u64 at, u64 value, u32 bytes)
{
	if (at >= RAM || bytes > RAM - at)
		return;
	memcpy(host_ram(at), &value, bytes);
	memcpy(m.ram + at, &value, bytes);
}

static u16 get16(u64 at)
{
	u16 value = 0;

	if (at < RAM - 1)
		memcpy(&value, m.ram + at, 2);
	return value;
}

static void queue_start(struct input *in, u32 q)
{
	static const u16 sizes[] = {1, 2, 4, 16, 32, 64, 128, 128};
	u64 ring[] = {0x1000u + q * 0x3000u, 0x2000u + q * 0x3000u, 0x3000u + q * 0x3000u};
	u32 odd = take(in, 1);
	u16 size = sizes[odd % 8], age = 0;

	if ((odd & 0xf0) == 0x10)
		age = 0xfff0 + take_below(in, 20);
	if ((odd & 0xf0) == 0x20)
		ring[take_below(in, 3)] = take_below(in, RAM + 100);
	set(COMMON_QUEUE_SELECT, 2, q);
	set(COMMON_QUEUE_SIZE, 2, 1u << q);
	set(COMMON_QUEUE_SIZE, 2, size);
	CHECK(dev.queue[q].size == size, "a queue of %u, not %u", dev.queue[q].size, size);
	for (u32 i = 0; i < 3; i++)
		set(COMMON_QUEUE_DESC + 8 * i, 8, ring[i]);
	set(COMMON_QUEUE_VECTOR, 2, q + 1);
	set(COMMON_QUEUE_ENABLE, 2, 1);
	CHECK(dev.queue[q].enabled && dev.queue[q].desc == ring[0] && dev.queue[q].avail == ring[1] &&
	      dev.queue[q].used == ring[2] && dev.queue[q].vector == q + 1, "queue %u is not as it was set", q);
	put(ring[1], (u32)age << 16, 4);
	put(ring[2], (u32)age << 16, 4);
	dev.queue[q].next_avail = dev.queue[q].next_used = age; /* as if so many had been served */
}

static void start(struct input *in)
{
	set(COMMON_STATUS, 1, 0);
	set(COMMON_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	set(COMMON_DRIVER_SELECT, 4, 1);
	set(COMMON_DRIVER_FEATURES, 4, 1);
	set(COMMON_STATUS, 1, STATUS_FEATURES_OK);
	set(COMMON_CONFIG_VECTOR, 2, 0);
	for (u32 q = 0; q < NR_QUEUES; q++)
		queue_start(in, q);
	set(COMMON_STATUS, 1, STATUS_DRIVER_OK);
	CHECK(dev.status == 0xf, "status %#x", dev.status);
}

static void desc_put(u64 at, u64 buffer, u32 bytes, u16 flags, u16 next)
{
	put(at, buffer, 8);
	put(at + 8, bytes | (u64)flags << 32 | (u64)next << 48, 8);
}

/* A chain, good if @head is a descriptor's and it has no more buffers than the queue has: buffers that are
 * apart, one behind the other, or all over memory. */
static void chain_make(struct input *in)
{
	u8 how = take(in, 1);
	const struct virtio_queue *q = &dev.queue[how & 1];
	u32 nr = how & 2 ? 62 + take_below(in, 8) : 1 + take_below(in, 5);
	u32 nr_readable = take_below(in, nr + 1);
	u32 head = take_below(in, q->size + 2u), seed = take(in, 1);
	u16 index = get16(q->avail + 2);

	for (u32 i = 0; i < nr; i++) {
		u32 at = how & 4 ? seed * 251 + i * 4099 : BUFFERS + (seed * 128 + i * 60) % 0x7f00;

		desc_put(q->desc + 16 * ((head + i) % q->size), at % RAM, (seed + i * 7) % 64,
			 (i < nr_readable ? 0 : DESC_WRITE) | (i + 1 < nr ? DESC_NEXT : 0),
			 (head + i + 1) % q->size);
	}
	put(q->avail + 4 + 2 * (index % q->size), head, 2);
	put(q->avail + 2, index + 1, 2);
}

static void spoil(struct input *in)
{
	u8 how = take(in, 1);
	const struct virtio_queue *q = &dev.queue[how & 1];
	u64 desc = q->desc + 16 * take_below(in, q->size);

	switch (how >> 1 & 7) {
	case 0: put(q->avail + 2, q->next_avail + take_below(in, q->size + 5u) - 2, 2); break;
	case 1: put(q->avail, take(in, 1), 2); break;
	case 2: put(desc + 14, take_below(in, q->size + 2u), 2); break;
	case 3: put(desc + 12, take(in, 1) & 7, 2); break;
	case 4: put(desc, take(in, 8), 8); break;
	case 5: put(desc + 8, take(in, 4), 4); break;
	case 6: put(q->avail + 4 + 2 * take_below(in, q->size), take_below(in, q->size + 2u), 2); break;
	default: put(take(in, 2), take(in, 4), 4);
	}
}

static int error_of(struct input *in)
{
	static const int errors[] = {0, 0, -ENOMEM, -EINTR, -EIO};

	return errors[take_below(in, ARRAY_SIZE(errors))];
}

static void host_step(struct input *in)
{
	u8 how = take(in, 1);
	u32 page = how >> 4;

	switch (how & 3) {
	case 0:
		m.no_frame[page] = error_of(in);
		vmm_host_no_frame(page, m.no_frame[page]);
		break;
	case 1:
		host_vm->paused = how & 0x10;
		host_vcpu(how >> 5 & 3)->requests = how & 0x80 ? VCPU_REQ_STOP : 0;
		break;
	case 2:
		kind_log.fail_at = kind_log.nr_served + (how >> 2 & 3);
		kind_log.fail_with = how & 0x80 ? -EINVAL : how & 0x40 ? -ENOMEM : -EINTR;
		break;
	default:
		kind_log.event_at = kind_log.nr_served + (how >> 2 & 3);
		kind_log.event_where = take_below(in, RAM - 1);
		kind_log.event_value = take(in, 2);
	}
}

static void config_set(u32 reg, u32 value)
{
	io_port_write(host_vcpu(0), 0xcf8, 4, 0x80000800 | reg);
	io_port_write(host_vcpu(0), 0xcfc, 4, value);
}

/* MSI-X and INTA: the bus's registers. Often all is on, and messages go to local APICs. */
static void interrupts_step(struct input *in)
{
	u8 how = take(in, 1);

	switch (how & 3) {
	case 0: config_set(4, take(in, 2) | (how & 0xf0 ? 2 : 0)); break;
	case 1: config_set(MSIX_CAP, (u32)how << 24); break;
	case 2: config_set(0x10, how & 0xfc ? BAR : take(in, 4)); break;
	default:
		config_set(MSIX_CAP, 0x80000000);
		for (u32 i = 0; i <= NR_QUEUES; i++) {
			io_mmio_write(host_vcpu(0), gpa(BAR + OFFSET_MSIX + 16 * i), 8, 0xfee00000);
			io_mmio_write(host_vcpu(0), gpa(BAR + OFFSET_MSIX + 16 * i + 8), 8,
				      (u64)(how >> (2 + i) & 1) << 32 | (0x40 + i));
		}
	}
}

static void begin(void)
{
	fuzz_vm_begin(1);
	memset(&m, 0, sizeof(m));
	memset(&kind_log, 0, offsetof(typeof(kind_log), got));
	kind_log.fail_at = kind_log.event_at = ~0u;
	nr_messages = line = 0;
	memcpy(m.ram, host_ram(0), RAM);
	pci_bus_attach(&bus, host_vm);
	virtio_dev_attach(&dev, &bus, &kind, OFFERED, kind_config);
	dev_ops = dev.pci.ops;
	dev.pci.ops = &spy_io;
	sync();
}

void fuzz_one(struct input *in)
{
	begin();
	start(in);
	while (input_left(in)) {
		u8 step = take(in, 1);
		struct vcpu *v = host_vcpu(step >> 4 & 3);

		switch (step & 15) {
		case 0:
		case 1:
		case 2:
		case 3: chain_make(in); break;
		case 4:
		case 5: spoil(in); break;
		case 6:
		case 7:
		case 8: turn(v, step >> 6, 2); break;
		case 9: turn(v, ~0u, 0); break;
		case 10: host_step(in); break;
		case 11: interrupts_step(in); break;
		case 12: start(in); break;
		case 13: set(take_below(in, COMMON_BYTES) & ~1u, 2, take_below(in, 8)); break;
		default: fuzz_access(in, ranges, ARRAY_SIZE(ranges), NULL);
		}
		check();
	}
	vmm_host_teardown(NULL);
}
