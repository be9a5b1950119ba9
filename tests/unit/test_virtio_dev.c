/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/virtio_dev.c kernel/vmm/devices/pci_bus.c kernel/vmm/io.c
 * kernel/vmm/guest_mem.c kernel/lib/pt_walk.c kernel/lib/pt_format.c tests/unit/vmm_host.c */
/* The virtio transport, by a driver that does everything right and one that does not: registers, status,
 * queues, interrupts, frames that are not to be had. The device is made up: it checks that it gets the
 * buffers that the driver meant, and fills those that it may write. */
#include "vmm_host.h"

#include "vmm/devices/lapic.h"
#include "vmm/devices/virtio_dev.h"
#include "vmm/guest_mem.h"

#define RAM       (VMM_HOST_PAGES * PAGE_SIZE)
#define VERSION_1 (1ull << 32)
#define OFFERED   (VERSION_1 | 0x23)

/* Rings of the driver: queue 0's in the first pages, queue 1's behind; buffers in the upper half. */
#define DESC(q)   (0x1000u + (q) * 0x3000u)
#define AVAIL(q)  (0x2000u + (q) * 0x3000u)
#define USED(q)   (0x3000u + (q) * 0x3000u)
#define BUFFERS   0x8000u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40 };

static struct pci_bus bus;
static struct virtio_dev dev;
static u64 common, isr_at, config_at, notify_at;

/* ---- the board around it ------------------------------------------------------------------------------- */

static u32 lines_high, messages[256];

void irq_set(unused struct vm *vm, u32 line, bool level)
{
	lines_high = level ? lines_high | 1u << line : lines_high & ~(1u << line);
}

bool lapic_message(unused struct vm *vm, unused u8 dest, u32 icr)
{
	messages[(u8)icr]++;
	return true;
}

void mutex_init(struct mutex *m)
{
	m->state = 0;
}

void mutex_lock(struct mutex *m)
{
	if (m->state || preempt_count())
		panic("mutex_lock: state %u, %u spinlocks", m->state, preempt_count());
	m->state = 1;
}

void mutex_unlock(struct mutex *m)
{
	m->state = 0;
}

/* ---- the kind of device --------------------------------------------------------------------------------- */

/* What comes, and what to do: set by the driver before it notifies. */
static struct {
	struct virtio_chain want[VIRTIO_QUEUE_ENTRIES];
	u32 nr_want, nr_served;
	int fail; /* returned instead, and nothing is done */
} kind_test;

static const u8 kind_config[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* What the device puts at byte @i of its @n-th request's output. */
static u8 output(u32 n, u32 i)
{
	return 0x80 ^ n * 37 ^ i;
}

static int kind_serve(struct virtio_dev *d, struct vcpu *v, u32 queue, const struct virtio_chain *c)
{
	const struct virtio_chain *want = &kind_test.want[kind_test.nr_served];
	u32 written = 0;

	assert_true(d == &dev && d->lock.state && queue < 2);
	if (kind_test.fail)
		return kind_test.fail;
	assert_true(kind_test.nr_served < kind_test.nr_want);
	assert_int_equal(c->nr, want->nr);
	assert_int_equal(c->nr_readable, want->nr_readable);
	for (u32 i = 0; i < c->nr; i++) {
		assert_true(c->buffer[i].at == want->buffer[i].at && c->buffer[i].bytes == want->buffer[i].bytes);
		for (u32 k = 0; i >= c->nr_readable && k < c->buffer[i].bytes; k++, written++) {
			const u8 byte = output(kind_test.nr_served, written);
			int err = guest_write(v, gpa(c->buffer[i].at + k), &byte, 1);
			if (err)
				return err;
		}
	}
	kind_test.nr_served++;
	return written;
}

static const struct virtio_kind kind = {
	.name = "test", .id = 7, .class_code = 0xff0001, .nr_queues = 2, .config_bytes = sizeof(kind_config),
	.serve = kind_serve,
};

/* ---- accesses -------------------------------------------------------------------------------------------- */

static u64 get(u64 at, unsigned int bytes)
{
	return io_mmio_read(host_vcpu(0), gpa(at), bytes);
}

static void set(u64 at, unsigned int bytes, u64 value)
{
	io_mmio_write(host_vcpu(0), gpa(at), bytes, value);
}

static u32 config(u32 reg, unsigned int bytes)
{
	io_port_write(host_vcpu(0), 0xcf8, 4, 0x80000800 | (reg & 0xfc));
	return io_port_read(host_vcpu(0), 0xcfc + reg % 4, bytes);
}

static void config_set(u32 reg, u32 value)
{
	io_port_write(host_vcpu(0), 0xcf8, 4, 0x80000800 | reg);
	io_port_write(host_vcpu(0), 0xcfc, 4, value);
}

static u32 msix_cap; /* where MSI-X's capability is */

/* As a driver finds it: by capabilities. */
static void find_registers(void)
{
	u64 *const where[] = {[1] = &common, [2] = &notify_at, [3] = &isr_at, [4] = &config_at};
	u32 found = 0;

	for (u32 cap = config(0x34, 1); cap; cap = config(cap + 1, 1)) {
		if (config(cap, 1) == 0x11) {
			msix_cap = cap;
			continue;
		}
		u32 type = config(cap + 3, 1);
		assert_int_equal(config(cap, 1), 9);
		assert_in_range(type, 1, 4);
		assert_int_equal(config(cap + 2, 1), type == 2 ? 20 : 16);
		assert_int_equal(config(cap + 4, 4), 0); /* BAR 0 */
		assert_true(config(cap + 12, 4) >= 64);
		assert_true(config(cap + 8, 4) + config(cap + 12, 4) <= 0x7000);
		*where[type] = config(0x10, 4) + config(cap + 8, 4);
		if (type == 2)
			assert_int_equal(config(cap + 16, 4), 0); /* one place for all queues */
		found |= 1u << type;
	}
	assert_int_equal(found, 0x1e);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	lines_high = 0;
	memset(messages, 0, sizeof(messages));
	memset(&kind_test, 0, sizeof(kind_test));
	pci_bus_attach(&bus, host_vm);
	virtio_dev_attach(&dev, &bus, &kind, OFFERED, kind_config);
	find_registers();
	return 0;
}

/* ---- a driver --------------------------------------------------------------------------------------------- */

static struct {
	u16 size, avail, used; /* indices are free-running */
	u16 desc;              /* the next descriptor to use; all are free between turns */
} ring[2];

static u8 status(void)
{
	return get(common + 20, 1);
}

static void status_set(u8 value)
{
	set(common + 20, 1, value);
}

static void features_set(u64 value)
{
	for (u32 i = 0; i < 2; i++) {
		set(common + 8, 4, i);
		set(common + 12, 4, value >> (32 * i));
	}
}

static void queue_start(u32 q, u16 size)
{
	const u32 at[] = {DESC(q), AVAIL(q), USED(q)};

	memset(&ring[q], 0, sizeof(ring[q]));
	ring[q].size = size;
	set(common + 22, 2, q);
	set(common + 24, 2, size);
	for (u32 i = 0; i < 3; i++) {
		set(common + 32 + 8 * i, 4, at[i]);
		set(common + 36 + 8 * i, 4, 0);
	}
	set(common + 28, 2, 1);
}

static void start(u16 size)
{
	status_set(0);
	assert_int_equal(status(), 0);
	status_set(ACKNOWLEDGE);
	status_set(ACKNOWLEDGE | DRIVER);
	features_set(VERSION_1);
	status_set(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_true(status() & FEATURES_OK);
	memset(host_ram(0), 0, BUFFERS);
	queue_start(0, size);
	queue_start(1, size);
	status_set(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_int_equal(status(), ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/* The same with queue 0 alone, its rings anywhere. */
static void start_at(u16 size, u64 desc, u64 avail, u64 used)
{
	start(size);
	status_set(0);
	features_set(VERSION_1);
	status_set(FEATURES_OK);
	set(common + 24, 2, size);
	set(common + 32, 8, desc);
	set(common + 40, 8, avail);
	set(common + 48, 8, used);
	set(common + 28, 2, 1);
	status_set(DRIVER_OK);
}

static void msix_on(void)
{
	config_set(msix_cap, 0x80000000);
	for (u32 i = 0; i < 3; i++) {
		set(config(0x10, 4) + 0x7000 + 16 * i, 4, 0xfee00000);
		set(config(0x10, 4) + 0x7008 + 16 * i, 8, 0x40 + i);
	}
	set(common + 16, 2, 0);
	for (u32 q = 0; q < 2; q++) {
		set(common + 22, 2, q);
		set(common + 26, 2, q + 1);
	}
}

static void put16(u64 at, u16 value)
{
	memcpy(host_ram(at), &value, 2);
}

static u16 get16(u64 at)
{
	u16 value;

	memcpy(&value, host_ram(at), 2);
	return value;
}

static void desc_set(u32 q, u16 i, u64 at, u32 bytes, u16 flags, u16 next)
{
	u8 *to = host_ram(DESC(q) + 16u * i);

	memcpy(to, &at, 8);
	memcpy(to + 8, &bytes, 4);
	memcpy(to + 12, &flags, 2);
	memcpy(to + 14, &next, 2);
}

static void avail_put(u32 q, u16 head)
{
	put16(AVAIL(q) + 4 + 2 * (ring[q].avail % ring[q].size), head);
	put16(AVAIL(q) + 2, ++ring[q].avail);
}

static void notify(u32 q)
{
	set(notify_at, 2, q);
}

/* One buffer that is read and one that is written, at descriptors @i and @i + 1. */
static void simple_request(u32 q, u16 i)
{
	desc_set(q, i, BUFFERS, 8, NEXT, i + 1);
	desc_set(q, i + 1, BUFFERS + 64, 4, WRITE, 0);
	avail_put(q, i);
	kind_test.want[kind_test.nr_want++] = (struct virtio_chain){
		.nr = 2, .nr_readable = 1, .buffer = {{BUFFERS, 8}, {BUFFERS + 64, 4}},
	};
}

/* The next used element is of @head, with @bytes written. */
static void expect_used(u32 q, u32 head, u32 bytes)
{
	u32 e[2];

	memcpy(e, host_ram(USED(q) + 4 + 8 * (ring[q].used % ring[q].size)), 8);
	assert_int_equal(e[0], head);
	assert_int_equal(e[1], bytes);
	ring[q].used++;
}

static u16 used_index(u32 q)
{
	return get16(USED(q) + 2);
}

/* ---- registers ------------------------------------------------------------------------------------------ */

static void identity(unused void **state)
{
	assert_int_equal(config(0, 4), 0x10471af4);
	assert_int_equal(config(8, 4), 0xff000101);
	assert_int_equal(get(common + 18, 2), 2);
	assert_int_equal(get(common + 21, 1), 0);
	set(common + 0, 4, 0);
	assert_int_equal(get(common + 4, 4), 0x23);
	set(common + 0, 4, 1);
	assert_int_equal(get(common + 4, 4), 1);
	set(common + 0, 4, 2);
	assert_int_equal(get(common + 4, 4), 0);
	set(common + 4, 4, ~0u);
	set(common + 18, 2, 1);
	assert_int_equal(get(common + 18, 2), 2);
	/* The kind's configuration ends where it ends. */
	assert_int_equal(get(config_at, 4), 0x04030201);
	assert_true(get(config_at + 4, 8) == 0x0c0b0a0908070605ull);
	assert_true(get(config_at + 8, 8) == 0x0c0b0a09);
	assert_int_equal(get(config_at + 12, 4), 0);
	assert_true(get(config_at + 0xff8, 8) == 0);
	set(config_at, 4, 0);
	assert_int_equal(get(config_at, 1), 1);
	assert_true(get(notify_at, 8) == 0);
	assert_int_equal(get(common + 56, 4), 0);
	assert_int_equal(get(common + 0x4000, 4), 0);
}

static void queue_registers(unused void **state)
{
	static const u16 bad[] = {0, 3, 127, 256, 0x8000, 0xffff};

	for (u32 q = 0; q < 2; q++) {
		set(common + 22, 2, q);
		assert_int_equal(get(common + 22, 2), q);
		assert_int_equal(get(common + 24, 2), 128);
		assert_int_equal(get(common + 26, 2), 0xffff);
		assert_int_equal(get(common + 28, 2), 0);
		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			set(common + 24, 2, bad[i]);
		assert_int_equal(get(common + 24, 2), 128);
		set(common + 24, 2, 16);
		assert_int_equal(get(common + 24, 2), 16);
		set(common + 26, 2, 2);
		assert_int_equal(get(common + 26, 2), 2);
		set(common + 26, 2, 3); /* there is no such vector */
		assert_int_equal(get(common + 26, 2), 0xffff);
		for (u32 i = 0; i < 3; i++) {
			set(common + 32 + 8 * i, 4, 0x11110000 * (i + 1) + q);
			set(common + 36 + 8 * i, 4, i + 5);
			assert_int_equal(get(common + 36 + 8 * i, 4), i + 5);
			assert_true(get(common + 32 + 8 * i, 8) == ((i + 5ull) << 32 | (0x11110000 * (i + 1) + q)));
		}
		set(common + 32, 8, 0x1122334455667788ull);
		assert_true(get(common + 32, 8) == 0x1122334455667788ull);
		set(common + 36, 8, 0); /* over the field's end: nothing */
		assert_true(get(common + 32, 8) == 0x1122334455667788ull);
		set(common + 28, 2, 1);
		assert_int_equal(get(common + 28, 2), 1);
		/* While it is enabled it does not change. */
		set(common + 32, 8, 0);
		set(common + 24, 2, 64);
		set(common + 28, 2, 0);
		assert_true(get(common + 32, 8) == 0x1122334455667788ull);
		assert_int_equal(get(common + 24, 2), 16);
		assert_int_equal(get(common + 28, 2), 1);
	}
	set(common + 22, 2, 2); /* there is none */
	set(common + 24, 2, 8);
	set(common + 28, 2, 1);
	for (u32 reg = 24; reg < 56; reg += 4)
		assert_int_equal(get(common + reg, 2), 0);
	set(common + 16, 2, 1);
	assert_int_equal(get(common + 16, 2), 1);
	set(common + 16, 2, 7);
	assert_int_equal(get(common + 16, 2), 0xffff);
	/* All goes with a reset. */
	status_set(DRIVER);
	status_set(0);
	assert_int_equal(get(common + 22, 2), 0);
	assert_int_equal(get(common + 24, 2), 128);
	assert_int_equal(get(common + 28, 2), 0);
	assert_true(get(common + 32, 8) == 0);
}

static void negotiation(unused void **state)
{
	static const u64 bad[] = {0, 0x23, VERSION_1 | 4, VERSION_1 | 1ull << 33, ~0ull};

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		status_set(ACKNOWLEDGE | DRIVER);
		features_set(bad[i]);
		status_set(ACKNOWLEDGE | DRIVER | FEATURES_OK);
		assert_int_equal(status(), ACKNOWLEDGE | DRIVER);
	}
	features_set(VERSION_1 | 2);
	status_set(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	assert_int_equal(status(), ACKNOWLEDGE | DRIVER | FEATURES_OK);
	features_set(~0ull); /* too late */
	set(common + 8, 4, 0);
	assert_int_equal(get(common + 12, 4), 2);
	set(common + 8, 4, 1);
	assert_int_equal(get(common + 12, 4), 1);
	set(common + 8, 4, 2);
	set(common + 12, 4, 0x55);
	assert_int_equal(get(common + 12, 4), 0);
	status_set(NEEDS_RESET | DRIVER); /* neither is that the driver's, nor are bits taken back */
	assert_int_equal(status(), ACKNOWLEDGE | DRIVER | FEATURES_OK);
	status_set(0);
	set(common + 8, 4, 1);
	assert_int_equal(get(common + 12, 4), 0);
}

/* ---- queues ---------------------------------------------------------------------------------------------- */

static void one_request(unused void **state)
{
	start(8);
	simple_request(0, 3);
	notify(1); /* another queue's */
	notify(2); /* nobody's */
	notify(0xffff);
	assert_int_equal(kind_test.nr_served, 0);
	notify(0);
	assert_int_equal(used_index(0), 1);
	expect_used(0, 3, 4);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(*host_ram(BUFFERS + 64 + i), output(0, i));
	assert_int_equal(lines_high, 1u << 11);
	notify(0); /* nothing new */
	assert_int_equal(kind_test.nr_served, 1);
	assert_int_equal(get(isr_at + 1, 1), 0); /* only the register itself is read */
	assert_int_equal(lines_high, 1u << 11);
	assert_int_equal(get(isr_at, 1), 1);
	assert_int_equal(lines_high, 0);
	assert_int_equal(get(isr_at, 1), 0);
	assert_int_equal(host_record.nr_requests, 0);
	simple_request(1, 0);
	notify(1);
	expect_used(1, 0, 4);
	assert_int_equal(lines_high, 1u << 11);
	status_set(0);
	assert_int_equal(lines_high, 0);
	assert_int_equal(get(isr_at, 1), 0);
}

static void not_before_it_is_ready(unused void **state)
{
	start(8);
	status_set(0);
	features_set(VERSION_1);
	queue_start(0, 8);
	memset(host_ram(0), 0, BUFFERS);
	simple_request(0, 0);
	notify(0);
	status_set(DRIVER_OK);
	notify(0);
	assert_int_equal(kind_test.nr_served, 0);
	status_set(FEATURES_OK);
	put16(2, 1); /* where the rings are that were never set: something is available */
	notify(1); /* never enabled */
	virtio_dev_serve(&dev, host_vcpu(0));
	assert_int_equal(kind_test.nr_served, 0);
	notify(0);
	assert_int_equal(kind_test.nr_served, 1);
	assert_int_equal(host_record.nr_requests, 0);
}

static void turns_end(unused void **state)
{
	u32 turns = 1;

	start(128);
	for (u32 i = 0; i < 100; i++)
		simple_request(0, i % 64 * 2);
	notify(0);
	assert_int_equal(kind_test.nr_served, 32);
	assert_int_equal(used_index(0), 32);
	assert_true(host_record.requested == VCPU_REQ_BOARD && host_record.nr_requests == 1);
	assert_int_equal(lines_high, 1u << 11);
	for (; host_record.nr_requests; turns++) {
		host_record.nr_requests = 0;
		virtio_dev_serve(&dev, host_vcpu(1));
	}
	assert_int_equal(turns, 4);
	assert_int_equal(kind_test.nr_served, 100);
	assert_int_equal(host_vcpu(1)->requests, VCPU_REQ_BOARD);
	for (u32 i = 0; i < 100; i++)
		expect_used(0, i % 64 * 2, 4);
}

static void interrupts(unused void **state)
{
	start(16);
	msix_on();
	for (u32 i = 0; i < 5; i++)
		simple_request(0, 2 * i);
	notify(0);
	assert_true(messages[0x41] == 1 && messages[0x42] == 0); /* one for all */
	simple_request(1, 0);
	notify(1);
	assert_true(messages[0x41] == 1 && messages[0x42] == 1);
	notify(1);
	assert_int_equal(messages[0x42], 1); /* for nothing none */
	put16(AVAIL(0), 1); /* NO_INTERRUPT */
	simple_request(0, 0);
	notify(0);
	assert_int_equal(messages[0x41], 1);
	put16(AVAIL(0), 2); /* another bit */
	simple_request(0, 2);
	notify(0);
	assert_int_equal(messages[0x41], 2);
	set(common + 22, 2, 1);
	set(common + 26, 2, 0xffff);
	simple_request(1, 2);
	notify(1);
	assert_int_equal(messages[0x42], 1);
	assert_int_equal(kind_test.nr_served, 9);
	assert_int_equal(lines_high, 0);
	assert_int_equal(get(isr_at, 1), 0);
	config_set(msix_cap, 0);
	put16(AVAIL(0), 1);
	simple_request(0, 0);
	notify(0);
	assert_int_equal(lines_high, 0);
	assert_int_equal(kind_test.nr_served, 10);
}

/* ---- what makes no sense --------------------------------------------------------------------------------- */

enum bad {
	HEAD_TOO_HIGH, NEXT_TOO_HIGH, LOOP, TOO_MANY, READABLE_BEHIND, INDIRECT_FLAG, AVAIL_TOO_FAR, AVAIL_BACK,
	NO_DESC, NO_AVAIL, NO_USED, KIND_SAYS, NR_BAD,
};

/* A queue of @size that is bad so. */
static void make_bad(enum bad what, u16 size)
{
	start(size);
	u16 next = 1;
	switch (what) {
	case HEAD_TOO_HIGH: avail_put(0, size); return;
	case NEXT_TOO_HIGH:
		desc_set(0, 0, BUFFERS, 8, NEXT, size);
		break;
	case LOOP:
		desc_set(0, 0, BUFFERS, 8, NEXT, 1);
		desc_set(0, 1, BUFFERS, 8, NEXT, 0);
		break;
	case TOO_MANY:
		for (u16 i = 0; i < VIRTIO_CHAIN_BUFFERS + 1; i++)
			desc_set(0, i, BUFFERS, 8, i < VIRTIO_CHAIN_BUFFERS ? NEXT : 0, i + 1);
		break;
	case READABLE_BEHIND:
		desc_set(0, 0, BUFFERS, 8, NEXT | WRITE, 1);
		desc_set(0, 1, BUFFERS, 8, 0, 0);
		break;
	case INDIRECT_FLAG:
		desc_set(0, 0, BUFFERS, 16, INDIRECT, 0);
		break;
	case AVAIL_TOO_FAR: put16(AVAIL(0) + 2, size + 1); return;
	case AVAIL_BACK: put16(AVAIL(0) + 2, 0xffff); return;
	default: /* a good one, but its rings are nowhere, or the kind refuses it */
		start_at(size, what == NO_DESC ? RAM : DESC(0), what == NO_AVAIL ? RAM - 2 : AVAIL(0),
			 what == NO_USED ? 1ull << 40 : USED(0));
		kind_test.fail = what == KIND_SAYS ? -EINVAL : 0;
		simple_request(0, 0);
		return;
	}
	avail_put(0, next - 1);
}

static void broken_rings(unused void **state)
{
	static u8 before[RAM];

	for (u32 i = 0; i < 2 * NR_BAD; i++) {
		enum bad what = i / 2;

		vmm_host_teardown(state);
		setup(state);
		if (i % 2)
			msix_on();
		make_bad(what, 128);
		if (i % 2)
			msix_on(); /* the reset took its vectors */
		memcpy(before, host_ram(0), RAM);
		notify(0);
		assert_true(status() & NEEDS_RESET);
		assert_int_equal(used_index(0), 0);
		if (what != NO_USED)
			assert_memory_equal(before, host_ram(0), RAM);
		if (i % 2)
			assert_true(messages[0x40] == 1 && messages[0x41] == 0);
		else
			assert_int_equal(get(isr_at, 1), 2);
		/* Nothing is served now, and nobody comes by for it. */
		notify(0);
		virtio_dev_serve(&dev, host_vcpu(0));
		status_set(DRIVER_OK);
		notify(0);
		assert_int_equal(kind_test.nr_served, what == NO_USED);
		assert_int_equal(host_record.nr_requests, 0);
		assert_int_equal(messages[0x40], i % 2);
		/* A reset makes it good. */
		memset(&kind_test, 0, sizeof(kind_test));
		start(128);
		simple_request(0, 0);
		notify(0);
		expect_used(0, 0, 4);
		assert_false(status() & NEEDS_RESET);
	}
}

/* The largest chain is served; so is one in a queue of one entry. */
static void limits(unused void **state)
{
	start(128);
	struct virtio_chain *c = &kind_test.want[kind_test.nr_want++];
	c->nr = VIRTIO_CHAIN_BUFFERS;
	c->nr_readable = VIRTIO_CHAIN_BUFFERS - 1;
	for (u16 i = 0; i < VIRTIO_CHAIN_BUFFERS; i++) {
		bool last = i == VIRTIO_CHAIN_BUFFERS - 1;
		c->buffer[i] = (struct virtio_buffer){BUFFERS + 16u * i, i};
		desc_set(0, i, BUFFERS + 16u * i, i, last ? WRITE : NEXT, i + 1);
	}
	avail_put(0, 0);
	notify(0);
	expect_used(0, 0, VIRTIO_CHAIN_BUFFERS - 1);
	start(1);
	for (u32 i = 0; i < 3; i++) {
		kind_test.want[kind_test.nr_want++] = (struct virtio_chain){
			.nr = 1, .nr_readable = 1, .buffer = {{~0ull, ~0u}}, /* not looked at here */
		};
		desc_set(0, 0, ~0ull, ~0u, 0, 0xffff);
		avail_put(0, 0);
		notify(0);
		expect_used(0, 0, 0);
	}
}

/* ---- no frame -------------------------------------------------------------------------------------------- */

/* Each page that a request needs is missing once. */
static void frames_are_missing(unused void **state)
{
	const u32 page[] = {DESC(0) >> 12, AVAIL(0) >> 12, USED(0) >> 12, BUFFERS >> 12};

	for (u32 i = 0; i < 2 * ARRAY_SIZE(page); i++) {
		int err = i % 2 ? -EINTR : -ENOMEM;

		vmm_host_teardown(state);
		setup(state);
		start(16);
		simple_request(0, 0);
		simple_request(0, 2);
		simple_request(1, 0);
		vmm_host_no_frame(page[i / 2], err);
		for (u32 n = 1; n < 4; n++) {
			if (n == 1)
				notify(0);
			else
				virtio_dev_serve(&dev, host_vcpu(0));
			assert_int_equal(host_record.nr_out_of_memory, err == -ENOMEM ? n : 0);
			assert_int_equal(host_record.nr_requests, n);
			assert_int_equal(host_record.requested, VCPU_REQ_BOARD);
			assert_false(status() & NEEDS_RESET);
			assert_int_equal(used_index(0), 0);
			if (page[i / 2] == USED(0) >> 12) /* it was carried out, and will be once more */
				kind_test.nr_served = 0;
			assert_int_equal(kind_test.nr_served, 0);
		}
		vmm_host_no_frame(page[i / 2], 0);
		virtio_dev_serve(&dev, host_vcpu(0));
		assert_int_equal(kind_test.nr_served, 2);
		expect_used(0, 0, 4);
		expect_used(0, 2, 4);
		assert_int_equal(used_index(0), 2);
		assert_int_equal(host_record.nr_requests, 3);
		notify(1);
		expect_used(1, 0, 4);
	}
	/* What was left goes with a reset. */
	vmm_host_teardown(state);
	setup(state);
	start(16);
	kind_test.fail = -ENOMEM;
	simple_request(0, 0);
	notify(0);
	assert_int_equal(lines_high, 0);
	status_set(0);
	kind_test.fail = 0;
	host_record.nr_requests = 0;
	virtio_dev_serve(&dev, host_vcpu(0));
	assert_int_equal(kind_test.nr_served + host_record.nr_requests, 0);
}

/* The flags lie in another page than the index, which cannot be read when the guest is to be told. */
static void flags_are_missing(unused void **state)
{
	const u64 avail = AVAIL(0) + PAGE_SIZE - 2;

	start_at(8, DESC(0), avail, USED(1));
	simple_request(0, 0);
	put16(avail, 1);
	put16(avail + 4, 0);
	put16(avail + 2, 1);
	vmm_host_no_frame(avail >> 12, -ENOMEM);
	notify(0);
	assert_int_equal(used_index(1), 1);
	assert_int_equal(lines_high, 1u << 11);
	assert_int_equal(host_record.nr_requests + host_record.nr_out_of_memory, 0);
	vmm_host_no_frame(avail >> 12, 0);
}

/* The used ring's elements lie in another page than its index: either is missing, and in the end each
 * request is there once. */
static void used_ring_in_two_pages(unused void **state)
{
	const u64 used = USED(0) + PAGE_SIZE - 4;

	for (u32 i = 0; i < 2; i++) {
		start_at(8, DESC(0), AVAIL(0), used);
		memset(&kind_test, 0, sizeof(kind_test));
		simple_request(0, 4);
		vmm_host_no_frame((USED(0) >> 12) + i, -ENOMEM);
		notify(0);
		assert_int_equal(kind_test.nr_served, 1);
		kind_test.nr_served = 0;
		virtio_dev_serve(&dev, host_vcpu(0));
		assert_int_equal(get16(used + 2), 0);
		vmm_host_no_frame((USED(0) >> 12) + i, 0);
		kind_test.nr_served = 0;
		virtio_dev_serve(&dev, host_vcpu(0));
		assert_int_equal(get16(used + 2), 1);
		assert_true(*host_ram(used + 4) == 4 && *host_ram(used + 8) == 4);
		memset(host_ram(used + 4), 0, 16);
	}
}

/* ---- random courses --------------------------------------------------------------------------------------- */

static u8 shadow[RAM];       /* what memory must hold */
static u32 taken[2][VIRTIO_QUEUE_ENTRIES], expected[2][VIRTIO_QUEUE_ENTRIES][2];

/* A good chain at random descriptors of queue @q; false if too few are free. */
static bool random_request(struct rng *r, u32 q, u32 *next_buffer)
{
	struct virtio_chain *c = &kind_test.want[kind_test.nr_want];
	u16 at[VIRTIO_CHAIN_BUFFERS], size = ring[q].size;
	u32 nr = 1 + rng_below(r, rng_percent(r, 10) ? 60 : 6), nr_free = 0, written = 0;

	for (u16 i = 0; i < size; i++)
		nr_free += !taken[q][i];
	if (nr > nr_free)
		return false;
	*c = (struct virtio_chain){.nr = nr, .nr_readable = rng_below(r, nr + 1)};
	for (u32 i = 0; i < nr; i++) {
		do
			at[i] = rng_below(r, size);
		while (taken[q][at[i]]);
		taken[q][at[i]] = 1;
		c->buffer[i].bytes = rng_below(r, 40);
		c->buffer[i].at = *next_buffer;
		*next_buffer += c->buffer[i].bytes + rng_below(r, 3);
	}
	for (u32 i = 0; i < nr; i++) {
		bool write = i >= c->nr_readable;
		desc_set(q, at[i], c->buffer[i].at, c->buffer[i].bytes,
			 (write ? WRITE : 0) | (i + 1 < nr ? NEXT : 0), i + 1 < nr ? at[i + 1] : rng_next(r));
		for (u32 k = 0; write && k < c->buffer[i].bytes; k++, written++)
			shadow[c->buffer[i].at + k] = output(kind_test.nr_want, written);
	}
	u32 slot = ring[q].avail % size;
	expected[q][slot][0] = at[0];
	expected[q][slot][1] = written;
	kind_test.nr_want++;
	avail_put(q, at[0]);
	return true;
}

/* The rings and the driver's own writes: as memory holds them before the device runs. */
static void shadow_rings(void)
{
	memcpy(shadow, host_ram(0), BUFFERS);
}

static void shadow_used(u32 q)
{
	u16 size = ring[q].size;

	for (; ring[q].used != ring[q].avail; ring[q].used++) {
		u32 slot = ring[q].used % size;
		memcpy(shadow + USED(q) + 4 + 8 * slot, expected[q][slot], 8);
	}
	memcpy(shadow + USED(q) + 2, &ring[q].avail, 2);
}

static void random_round(struct rng *r, u32 q, bool msix)
{
	u32 next_buffer = BUFFERS, nr = 1 + rng_below(r, ring[q].size), tries = 0, was = messages[0x41 + q];
	bool silent = rng_percent(r, 30);

	memset(taken, 0, sizeof(taken));
	memset(&kind_test, 0, sizeof(kind_test));
	for (u32 i = 0; i < nr && kind_test.nr_want < VIRTIO_QUEUE_ENTRIES && next_buffer < RAM - 4096; i++)
		if (!random_request(r, q, &next_buffer))
			break;
	put16(AVAIL(q), silent);
	shadow_rings();
	shadow_used(q);
	u32 missing = rng_percent(r, 20) ? rng_below(r, VMM_HOST_PAGES) : 0;
	vmm_host_no_frame(missing, missing ? -ENOMEM : 0);
	host_record.nr_requests = 0;
	notify(q);
	while (host_record.nr_requests) {
		host_record.nr_requests = 0;
		if (rng_percent(r, 50))
			vmm_host_no_frame(missing, 0);
		if (missing == USED(q) >> 12 && kind_test.nr_served)
			kind_test.nr_served = used_index(q) - (u16)(ring[q].avail - kind_test.nr_want);
		virtio_dev_serve(&dev, host_vcpu(rng_below(r, VMM_HOST_CPUS)));
		assert_true(tries++ < 1000);
	}
	vmm_host_no_frame(missing, 0);
	assert_int_equal(kind_test.nr_served, kind_test.nr_want);
	assert_int_equal(memcmp(shadow, host_ram(0), RAM), 0);
	assert_false(status() & NEEDS_RESET);
	bool told = msix ? messages[0x41 + q] > was : lines_high;
	if (kind_test.nr_want)
		assert_true(told == !silent || missing == AVAIL(q) >> 12);
	if (!msix)
		assert_int_equal(get(isr_at, 1), told);
}

static void random_good(unused void **state)
{
	struct rng r = rng_seeded(0x71d);
	u32 nr_served = 0;

	for (u32 course = 0; course < 40; course++) {
		bool msix = rng_percent(&r, 50);
		start(1u << rng_below(&r, 8));
		config_set(msix_cap, 0);
		if (msix)
			msix_on();
		for (u32 i = BUFFERS; i < RAM; i++)
			*host_ram(i) = rng_next(&r);
		memcpy(shadow, host_ram(0), RAM);
		for (u32 round = 0; round < 40; round++) {
			random_round(&r, rng_below(&r, 2), msix);
			nr_served += kind_test.nr_served;
		}
	}
	assert_true(nr_served > 3000); /* it was not asleep */
}

static int kind_any(unused struct virtio_dev *d, unused struct vcpu *v, unused u32 queue,
		    const struct virtio_chain *c)
{
	assert_true(c->nr >= 1 && c->nr <= VIRTIO_CHAIN_BUFFERS && c->nr_readable <= c->nr);
	kind_test.nr_served++;
	return kind_test.nr_served % 64 ? 0 : -EINVAL;
}

/* Rings of garbage, registers written at random: nothing outside of the used rings changes, and each
 * notification ends. */
static void random_garbage(unused void **state)
{
	static const struct virtio_kind any = {.name = "any", .id = 8, .nr_queues = 2, .serve = kind_any};
	static struct virtio_dev other;
	struct rng r = rng_seeded(0x6a7ba6e);
	u32 nr_broken = 0;

	virtio_dev_attach(&other, &bus, &any, OFFERED, NULL);
	u64 base = other.pci.config[4];
	for (u32 course = 0; course < 3000; course++) {
		u32 size = 1u << rng_below(&r, 8);
		dev = (struct virtio_dev){0};
		common = base;
		notify_at = base + 0x3000;
		start(size);
		for (u32 q = 0; q < 2; q++) {
			for (u16 i = 0; i < size; i++)
				desc_set(q, i, rng_next(&r), rng_next(&r), rng_next(&r) & (rng_percent(&r, 97) ? 3 : 7),
					 rng_below(&r, rng_percent(&r, 99) ? size : 0x10000));
			for (u16 i = 0; i < size; i++)
				put16(AVAIL(q) + 4 + 2 * i, rng_below(&r, size + rng_percent(&r, 2)));
			put16(AVAIL(q) + 2, rng_below(&r, size + 1 + rng_percent(&r, 5)));
		}
		memcpy(shadow, host_ram(0), RAM);
		for (u32 n = 0; n < 8; n++) {
			if (rng_percent(&r, 30))
				set(base + rng_below(&r, 64), 1u << rng_below(&r, 4), rng_next(&r));
			notify(rng_below(&r, 3));
			virtio_dev_serve(&other, host_vcpu(0));
		}
		nr_broken += !!(status() & NEEDS_RESET);
		for (u32 q = 0; q < 2; q++)
			memcpy(shadow + USED(q), host_ram(USED(q)), 4 + 8 * size);
		assert_int_equal(memcmp(shadow, host_ram(0), RAM), 0);
	}
	assert_true(nr_broken > 300 && nr_broken < 2900);
	assert_true(kind_test.nr_served > 3000);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(identity), test(queue_registers), test(negotiation), test(one_request),
		test(not_before_it_is_ready), test(turns_end), test(interrupts), test(broken_rings),
		test(limits), test(frames_are_missing), test(used_ring_in_two_pages),
		test(flags_are_missing),
		test(random_good), test(random_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
