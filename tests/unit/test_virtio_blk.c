/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/blkdev.c kernel/lib/string.c */
/* The virtio disk's ring against a device that answers late, in any order, with errors, and with
 * entries that no device may give. The transport is played here as well. */
#include "host.h"

#include "cpu/x86.h"

#define irq_save()     0ul
#define irq_restore(f) ((void)(f))

#include "drivers/virtio_blk.c"

/* ---- processor and frames -------------------------------------------------------------------- */

static struct cpu boot_cpu;
_Thread_local struct cpu *host_cpu = &boot_cpu;
struct cpu *cpus[MAX_CPUS] = {&boot_cpu};
u64 host_direct_map;

void preempt_schedule(void)
{
}

void spin_debug_take(struct spinlock *l)
{
	assert_int_equal(l->owner, l->next);
}

void spin_debug_drop(struct spinlock *l)
{
	assert_int_not_equal(l->owner, l->next);
}

u64 spin_lock_irqsave(struct spinlock *l)
{
	spin_lock(l);
	return 0;
}

void spin_unlock_irqrestore(struct spinlock *l, u64 flags)
{
	(void)flags;
	spin_unlock(l);
}

struct page {
	u64 phys;
};

struct page *frame_alloc(enum frame_owner owner, unsigned int flags)
{
	struct page *p = malloc(sizeof(*p));

	assert_int_equal(owner, FRAME_DMA);
	assert_true(flags & FRAME_ZERO);
	p->phys = host_page_get();
	if (p->phys)
		return p;
	free(p);
	return NULL;
}

void frame_free(struct page *p, unsigned int order)
{
	assert_int_equal(order, 0);
	host_page_put(p->phys);
	free(p);
}

u64 frame_phys(const struct page *p)
{
	return p->phys;
}

/* ---- the device ------------------------------------------------------------------------------ */

#define NR_SECTORS 2048u

static struct {
	u64 features;
	u32 seg_max, size_max;
	u16 queue_max;
	int open_error, queue_error, reset_error;
	bool no_vector;

	void (*handler)(void);
	struct virtio_queue_memory queue;
	volatile u16 notified;
	bool ready;
	u32 nr_resets;
	u16 seen, given; /* indices */
	u16 pending[MAX_QUEUE];
	u32 nr_pending;
	u8 data[NR_SECTORS * SECTOR_SIZE];
	u32 nr_flushes;
} device;

int virtio_open(struct virtio_device *v, const struct pci_device *at)
{
	v->pci = *at;
	return device.open_error;
}

int virtio_reset(struct virtio_device *v)
{
	(void)v;
	device.nr_resets++;
	device.ready = false;
	return device.reset_error;
}

int virtio_negotiate(struct virtio_device *v, u64 wanted, u64 *got)
{
	(void)v;
	*got = device.features & (wanted | VIRTIO_F_VERSION1);
	return *got & VIRTIO_F_VERSION1 ? 0 : -EOPNOTSUPP;
}

int virtio_config(struct virtio_device *v, u32 offset, void *out, u32 bytes)
{
	u64 sectors = NR_SECTORS;
	u32 *limit = offset == 8 ? &device.size_max : &device.seg_max;

	(void)v;
	memcpy(out, offset ? (void *)limit : (void *)&sectors, bytes);
	return 0;
}

u16 virtio_queue_max(struct virtio_device *v, u16 index)
{
	(void)v;
	return index ? 0 : device.queue_max;
}

int virtio_queue_start(struct virtio_device *v, u16 index, const struct virtio_queue_memory *m,
		       volatile u16 **notify)
{
	(void)v;
	assert_int_equal(index, 0);
	assert_int_equal(m->desc % 16, 0);
	assert_int_equal(m->avail_ring % 2, 0);
	assert_int_equal(m->used_ring % 4, 0);
	assert_int_equal(m->size & (m->size - 1), 0);
	device.queue = *m;
	*notify = &device.notified;
	return device.queue_error;
}

void virtio_ready(struct virtio_device *v)
{
	(void)v;
	device.ready = true;
}

void pci_msix_route(const struct pci_msix *m, u32 index, u8 v, u8 apic_id)
{
	(void)m;
	assert_int_equal(index, 0);
	assert_int_equal(v, VECTOR_DEVICE);
	assert_int_equal(apic_id, 0);
}

int irq_alloc(void (*fn)(void))
{
	device.handler = fn;
	return device.no_vector ? -ENOSPC : VECTOR_DEVICE;
}

static struct vring_used *used_ring(void)
{
	return host_virt(device.queue.used_ring);
}

/* device_look - take what the driver has made available. */
static void device_look(void)
{
	struct vring_avail *avail = host_virt(device.queue.avail_ring);

	assert_true(device.ready);
	assert_true((u16)(avail->idx - device.seen) <= device.queue.size);
	for (; device.seen != avail->idx; device.seen++)
		device.pending[device.nr_pending++] = avail->ring[device.seen % device.queue.size];
}

/* next_desc - the one after @d in its table, of @nr; NULL after the last. */
static const struct vring_desc *next_desc(const struct vring_desc *table, u32 nr,
					  const struct vring_desc *d)
{
	if (!(d->flags & DESC_NEXT))
		return NULL;
	assert_true(d->next < nr);
	return &table[d->next];
}

/* device_serve - do what chain @head says; returns the bytes written. @status goes to the driver; an
 * error moves no data. */
static u32 device_serve(u16 head, u8 status)
{
	const struct vring_desc *table = host_virt(device.queue.desc), *d = &table[head];
	u32 nr = device.queue.size, written = 0, chain = 1;
	struct {
		u32 op, reserved;
		u64 sector;
	} header;

	if (d->flags & DESC_INDIRECT) {
		assert_true(device.features & VIRTIO_F_INDIRECT);
		assert_int_equal(d->flags, DESC_INDIRECT);
		nr = d->bytes / sizeof(*d);
		d = table = host_virt(d->at);
	}
	assert_int_equal(d->bytes, 16);
	assert_false(d->flags & DESC_WRITE);
	memcpy(&header, host_virt(d->at), sizeof(header));
	while ((d = next_desc(table, nr, d)) && d->flags & DESC_NEXT) {
		u8 *memory = host_virt(d->at), *disk = device.data + header.sector * SECTOR_SIZE;

		assert_true((header.sector + d->bytes / SECTOR_SIZE) <= NR_SECTORS);
		assert_int_equal(!!(d->flags & DESC_WRITE), header.op == REQUEST_IN);
		if (status == REQUEST_OK)
			memcpy(header.op == REQUEST_IN ? memory : disk,
			       header.op == REQUEST_IN ? disk : memory, d->bytes);
		written += header.op == REQUEST_IN ? d->bytes : 0;
		header.sector += d->bytes / SECTOR_SIZE;
		chain++;
	}
	assert_non_null(d);
	assert_int_equal(d->flags, DESC_WRITE);
	assert_int_equal(d->bytes, 1);
	assert_true(++chain <= device.queue.size);
	*(u8 *)host_virt(d->at) = status;
	device.nr_flushes += header.op == REQUEST_FLUSH;
	return written + 1;
}

static void device_give(u32 head, u32 bytes)
{
	struct vring_used *ring = used_ring();

	ring->ring[device.given % device.queue.size].head = head;
	ring->ring[device.given % device.queue.size].bytes = bytes;
	atomic_store(&ring->idx, ++device.given);
}

/* device_answer - end the @n-th of the pending requests. */
static void device_answer(u32 n, u8 status)
{
	u16 head = device.pending[n];

	device.pending[n] = device.pending[--device.nr_pending];
	device_give(head, device_serve(head, status));
}

/* ---- requests -------------------------------------------------------------------------------- */

#define NR_REQUESTS 40

static struct test_request {
	struct blk_request rq;
	struct blk_segment segments[MAX_SEGMENTS + 1];
	u64 memory; /* MAX_SEGMENTS + 1 pages */
	u32 done;
} requests[NR_REQUESTS];

static void done(struct blk_request *rq)
{
	struct test_request *r = rq->owner;

	assert_int_equal(disks[0].lock.owner, disks[0].lock.next);
	r->done++;
}

static int go(u32 i, enum blk_op op, u64 sector, u32 nr)
{
	struct test_request *r = &requests[i];

	for (u32 k = 0; k < nr; k++)
		r->segments[k] = (struct blk_segment){hpa(r->memory + k * PAGE_SIZE), PAGE_SIZE};
	r->rq = (struct blk_request){.op = op, .sector = sector, .nr_segments = nr, .status = 99,
				     .segments = r->segments, .done = done, .owner = r};
	r->done = 0;
	return blkdev_submit(&disks[0].dev, &r->rq);
}

static const struct pci_device place = {
	.vendor = VIRTIO_VENDOR, .device = DEVICE_MODERN_ID, .slot = 4,
};

static void start(u64 features, u16 queue_max)
{
	device.features = features | VIRTIO_F_VERSION1;
	device.queue_max = queue_max;
	virtio_blk_found(&place);
	assert_int_equal(nr_disks, 1);
	assert_true(device.ready);
	blkdev_open_area(&disks[0].dev, 0, NR_SECTORS);
}

#define USUAL (VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_FLUSH | VIRTIO_F_INDIRECT)

static int setup(void **state)
{
	host_reset(state);
	host_direct_map = host_virt_offset();
	memset(&device, 0, sizeof(device));
	device.seg_max = 126;
	device.size_max = 1 << 20;
	device.notified = 77;
	nr_disks = 0;
	vector = 0;
	for (u32 i = 0; i < NR_REQUESTS; i++)
		requests[i].memory = host_run_get(MAX_SEGMENTS + 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (u32 i = 0; i < NR_REQUESTS; i++)
		host_run_put(requests[i].memory, MAX_SEGMENTS + 1);
	if (nr_disks)
		memory_free(&disks[0]);
	assert_int_equal(host_pages_in_use(), 0);
	return 0;
}

/* ---- good devices ---------------------------------------------------------------------------- */

static void one_request(void **state)
{
	(void)state;
	start(USUAL, 256);
	assert_int_equal(disks[0].dev.max_segments, 32);
	assert_int_equal(disks[0].dev.max_inflight, 32);
	assert_string_equal(disks[0].dev.name, "vda");
	memset(host_virt(requests[0].memory), 0x42, 3 * PAGE_SIZE);
	assert_int_equal(go(0, BLK_WRITE, 16, 3), 0);
	assert_int_equal(device.notified, 0);
	device_look();
	assert_int_equal(device.nr_pending, 1);
	device.handler();
	assert_int_equal(requests[0].done, 0);
	device_answer(0, REQUEST_OK);
	device.handler();
	device.handler();
	assert_int_equal(requests[0].done, 1);
	assert_int_equal(requests[0].rq.status, 0);
	assert_int_equal(device.data[16 * 512 - 1], 0);
	assert_int_equal(device.data[16 * 512], 0x42);
	assert_int_equal(device.data[16 * 512 + 3 * PAGE_SIZE], 0);
}

/* Many requests, answered in any order; what a write leaves, a read finds. The indices go round. */
static void random_order(u64 features, u16 queue_max, u32 steps)
{
	struct rng rng = rng_seeded(9);
	static u8 model[NR_SECTORS * SECTOR_SIZE];
	u32 under_way = 0, again = 0, ends = 0;
	bool in_use[NR_REQUESTS] = {0}, page_used[NR_SECTORS / 8] = {0};

	memset(model, 0, sizeof(model));
	start(features, queue_max);
	for (u32 n = 0; n < steps; n++) {
		u32 i = rng_below(&rng, NR_REQUESTS), page = rng_below(&rng, NR_SECTORS / 8 - 32);
		u32 nr = 1 + rng_below(&rng, MIN(disks[0].dev.max_segments, 3u));
		bool write = rng_percent(&rng, 50), idle = !in_use[i];
		u8 fill = rng_next(&rng);

		for (u32 k = 0; k < nr; k++)
			idle = idle && !page_used[page + k];
		if (idle) {
			int err;

			memset(host_virt(requests[i].memory), fill, nr * PAGE_SIZE);
			err = go(i, write ? BLK_WRITE : BLK_READ, page * 8, nr);
			assert_int_equal(err, under_way == disks[0].dev.max_inflight ? -EAGAIN : 0);
			again += err != 0;
			if (err == 0) {
				under_way++;
				in_use[i] = true;
				memset(page_used + page, 1, nr);
				if (write)
					memset(model + page * PAGE_SIZE, fill, nr * PAGE_SIZE);
			}
		}
		device_look();
		while (device.nr_pending && rng_percent(&rng, 45))
			device_answer(rng_below(&rng, device.nr_pending), REQUEST_OK);
		if (rng_percent(&rng, 50))
			device.handler();
		for (i = 0; i < NR_REQUESTS; i++) {
			struct blk_request *rq = &requests[i].rq;

			if (!in_use[i] || !requests[i].done)
				continue;
			assert_int_equal(requests[i].done, 1);
			assert_int_equal(rq->status, 0);
			assert_memory_equal(host_virt(requests[i].memory), model + rq->sector * 512,
					    rq->nr_segments * PAGE_SIZE);
			memset(page_used + rq->sector / 8, 0, rq->nr_segments);
			in_use[i] = false;
			under_way--;
			ends++;
		}
	}
	while (device.nr_pending)
		device_answer(0, REQUEST_OK);
	device.handler();
	assert_int_equal(disks[0].busy, 0);
	assert_true(ends > steps / 10);
	assert_true(again > 0 || disks[0].dev.max_inflight == 32);
}

static void any_order_indirect(void **state)
{
	(void)state;
	random_order(USUAL, 256, 200000); /* beyond 65536 requests */
}

static void any_order_without_indirect(void **state)
{
	(void)state;
	random_order(VIRTIO_BLK_F_SEG_MAX, 128, 20000);
}

static void short_queues(void **state)
{
	(void)state;
	random_order(USUAL, 5, 5000);
	assert_int_equal(disks[0].queue_size, 4);
	assert_int_equal(disks[0].dev.max_segments, 2);
	assert_int_equal(disks[0].dev.max_inflight, 4);
}

static void largest_request(void **state)
{
	(void)state;
	start(USUAL, 256);
	for (u32 i = 0; i < 32 * PAGE_SIZE; i++)
		device.data[i] = i / 7;
	assert_int_equal(go(0, BLK_READ, 0, 32), 0);
	device_look();
	device_answer(0, REQUEST_OK);
	device.handler();
	assert_int_equal(requests[0].rq.status, 0);
	assert_memory_equal(host_virt(requests[0].memory), device.data, 32 * PAGE_SIZE);
	assert_int_equal(go(0, BLK_READ, 0, 33), -EINVAL);
}

static void flush_is_asked_for(void **state)
{
	(void)state;
	start(USUAL, 256);
	assert_int_equal(go(0, BLK_FLUSH, 0, 0), 0);
	assert_int_equal(requests[0].done, 0);
	device_look();
	device_answer(0, REQUEST_OK);
	device.handler();
	assert_int_equal(requests[0].rq.status, 0);
	assert_int_equal(device.nr_flushes, 1);
}

static void flush_of_a_disk_without_a_cache(void **state)
{
	(void)state;
	start(VIRTIO_F_INDIRECT | VIRTIO_BLK_F_SEG_MAX, 256);
	assert_int_equal(go(0, BLK_FLUSH, 0, 0), 0);
	assert_int_equal(requests[0].done, 1);
	assert_int_equal(requests[0].rq.status, 0);
}

static void no_notification_unless_wanted(void **state)
{
	(void)state;
	start(USUAL, 256);
	used_ring()->flags = USED_NO_NOTIFY;
	assert_int_equal(go(0, BLK_READ, 0, 1), 0);
	assert_int_equal(device.notified, 77);
	used_ring()->flags = 0;
	assert_int_equal(go(1, BLK_READ, 0, 1), 0);
	assert_int_equal(device.notified, 0);
}

static void read_only_disk(void **state)
{
	struct blk_segment s = {hpa(PAGE_SIZE), 512};
	struct blk_request rq = {.op = BLK_WRITE, .nr_segments = 1, .segments = &s};

	(void)state;
	start(USUAL | VIRTIO_BLK_F_RO, 256);
	assert_int_equal(blkdev_check(&disks[0].dev, &rq), -EPERM);
}

/* ---- devices with errors --------------------------------------------------------------------- */

static void device_errors(void **state)
{
	(void)state;
	start(USUAL, 256);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(go(i, i == 1 ? BLK_WRITE : BLK_READ, i * 8, 1), 0);
		device_look();
		device_answer(0, i + 1); /* IOERR, UNSUPP, and one that is not known */
	}
	device.handler();
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(requests[i].rq.status, -EIO);
	assert_int_equal(disks[0].dev.errors, 3);
	assert_false(disks[0].dead);
}

/* A device that says OK, and has not written the status, or not all of the data. */
static void short_answers(void **state)
{
	(void)state;
	start(USUAL, 256);
	assert_int_equal(go(0, BLK_READ, 0, 2), 0);
	assert_int_equal(go(1, BLK_READ, 0, 2), 0);
	device_look();
	device_give(device.pending[0], 2 * PAGE_SIZE + 1); /* the status is still NONE */
	device_serve(device.pending[1], REQUEST_OK);
	device_give(device.pending[1], PAGE_SIZE + 1);
	device.handler();
	assert_int_equal(requests[0].rq.status, -EIO);
	assert_int_equal(requests[1].rq.status, -EIO);
}

/* gone - after a wrong entry: reset, every request has failed once, none is taken any more. */
static void expect_gone(u32 nr)
{
	device.handler();
	assert_int_equal(device.nr_resets, 1);
	for (u32 i = 0; i < nr; i++) {
		assert_int_equal(requests[i].done, 1);
		assert_int_equal(requests[i].rq.status, -EIO);
	}
	assert_int_equal(disks[0].dev.inflight, 0);
	assert_true(host_log_contains("it is not used any more"));
	assert_int_equal(go(39, BLK_READ, 0, 1), -EIO);
	device.handler();
	assert_int_equal(device.nr_resets, 1);
}

static void three_requests(u64 features)
{
	start(features, 256);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(go(i, BLK_READ, i * 8, 1), 0);
	device_look();
}

static void head_out_of_range(void **state)
{
	(void)state;
	three_requests(USUAL);
	device_give(~0u, 513);
	expect_gone(3);
}

static void head_that_is_not_in_use(void **state)
{
	(void)state;
	three_requests(USUAL);
	device_give(3, 513);
	expect_gone(3);
}

static void head_inside_a_chain(void **state)
{
	(void)state;
	three_requests(VIRTIO_BLK_F_SEG_MAX);
	device_give(device.pending[1] + 1, 513);
	expect_gone(3);
}

static void index_that_jumps(void **state)
{
	(void)state;
	three_requests(USUAL);
	used_ring()->idx += 33;
	expect_gone(3);
}

static void index_that_goes_back(void **state)
{
	(void)state;
	three_requests(USUAL);
	used_ring()->idx--;
	expect_gone(3);
}

static void the_same_answer_twice(void **state)
{
	(void)state;
	three_requests(USUAL);
	device_give(device.pending[0], device_serve(device.pending[0], REQUEST_OK));
	device_give(device.pending[0], PAGE_SIZE + 1);
	device.handler();
	assert_int_equal(requests[0].rq.status, 0);
	assert_int_equal(requests[0].done, 1);
	assert_int_equal(requests[1].rq.status, -EIO);
	assert_int_equal(requests[2].rq.status, -EIO);
	assert_int_equal(device.nr_resets, 1);
}

static void random_answers(void **state)
{
	struct rng rng = rng_seeded(21);

	for (u32 n = 0; n < 300; n++) {
		setup(state);
		three_requests(n % 2 ? USUAL : VIRTIO_BLK_F_SEG_MAX);
		for (u32 i = 0; i < 4; i++) {
			device_give(rng_percent(&rng, 50) ? rng_below(&rng, 140) : rng_next(&rng),
				    rng_next(&rng));
			device.handler();
		}
		for (u32 i = 0; i < 3; i++)
			assert_true(requests[i].done <= 1);
		if (disks[0].dead)
			assert_int_equal(disks[0].dev.inflight, 0);
		teardown(state);
	}
	setup(state);
}

/* ---- devices that are declined --------------------------------------------------------------- */

static void expect_declined(const char *why)
{
	virtio_blk_found(&place);
	assert_int_equal(nr_disks, 0);
	assert_false(device.ready);
	assert_true(host_log_contains("Neap: virtio disk at 00:04.0 left out: "));
	assert_true(host_log_contains(why));
	setup(NULL);
	device.features = USUAL | VIRTIO_F_VERSION1;
	device.queue_max = 256;
}

static void declined_with_a_line(void **state)
{
	(void)state;
	device.open_error = -ENODEV;
	expect_declined("it is legacy");
	device.open_error = -EOPNOTSUPP;
	expect_declined("it has no MSI-X");
	device.open_error = -EINVAL;
	expect_declined("its registers are not where it says");
	device.features = USUAL;
	expect_declined("does not agree");
	device.queue_max = 2;
	expect_declined("its queue is too short");
	device.queue_max = 0;
	expect_declined("its queue is too short");
	device.seg_max = 0;
	expect_declined("too small for a page");
	device.features |= VIRTIO_BLK_F_SIZE_MAX;
	device.size_max = 2048;
	expect_declined("too small for a page");
	device.no_vector = true;
	expect_declined("no interrupt");
	device.queue_error = -EINVAL;
	expect_declined("its queue cannot be set up");
	for (u32 n = 1; n <= 1 + SLOT_FRAMES; n++) {
		host_fail_nth(n);
		expect_declined("no memory for its queue");
	}
}

static void others_are_none_of_ours(void **state)
{
	struct pci_device other = place;

	(void)state;
	other.device = 0x1041; /* a network card */
	virtio_blk_found(&other);
	other = place;
	other.vendor = 0x8086;
	virtio_blk_found(&other);
	assert_int_equal(nr_disks, 0);
	assert_string_equal(host_log(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_request, setup, teardown),
		cmocka_unit_test_setup_teardown(any_order_indirect, setup, teardown),
		cmocka_unit_test_setup_teardown(any_order_without_indirect, setup, teardown),
		cmocka_unit_test_setup_teardown(short_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_request, setup, teardown),
		cmocka_unit_test_setup_teardown(flush_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(flush_of_a_disk_without_a_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(no_notification_unless_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(device_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(short_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(head_out_of_range, setup, teardown),
		cmocka_unit_test_setup_teardown(head_that_is_not_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(head_inside_a_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(index_that_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(index_that_goes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_answer_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(random_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(declined_with_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_none_of_ours, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
