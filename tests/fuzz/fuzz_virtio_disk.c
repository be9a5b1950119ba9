/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/virtio_disk.c kernel/vmm/devices/guest_disk.c */
/* sources: kernel/vmm/guest_mem.c kernel/vmm/io.c kernel/lib/pt_walk.c kernel/lib/pt_format.c
 * kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* Requests of a guest's disk, a copy in memory or a partition, as chains of any shape: cut anywhere, empty,
 * over each other, outside of memory, too long; without frames, with a disk that fails, on a vCPU that must
 * leave. Beside it a model of the disk and of memory, byte by byte: after each request both hold the same, and
 * the answer is the one that is due. Nobody but the driver of the chain stands before serve(): rings are
 * fuzz_virtio_dev.c's. */
#include "vm.h"

#include "block/disk.h"
#include "lib/blkdev.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "sched/thread.h"
#include "vmm/config.h"
#include "vmm/devices/virtio_disk.h"

#define RAM          (RAM_PAGES * PAGE_SIZE)
#define RAM_PAGES    12u /* of the fixture's; the region of a copy lies behind */
#define REGION_PAGES (VMM_HOST_PAGES - RAM_PAGES)
#define PART_SECTORS 150u
#define SERIAL       20

static u8 stored[PART_SECTORS * SECTOR_SIZE]; /* a partition's */
static struct blkdev part_dev = {.name = "part", .nr_sectors = PART_SECTORS};
static struct virtio_disk b;
static struct mm host_mm;
static struct virtio_chain c;
static bool opened; /* the partition is */
static u32 nr_frames, nr_flushed;
static u32 fail_in; /* the partition's n-th access from now on fails (1: the next); 0: none */

static struct {
	u8 ram[RAM], disk[sizeof(stored)];
	int no_frame[VMM_HOST_PAGES];
	u32 fail_in, nr_flushed;
	u64 len; /* what a driver may be told */
} m;

/* ---- what is under it ------------------------------------------------------------------------------------ */

static struct page frames[GUEST_DISK_BUFFER / PAGE_SIZE];
struct page *page_array = frames;
u64 host_direct_map;
static u8 *arena;

struct page *frame_alloc_order(unused enum frame_owner owner, unsigned int order, unused unsigned int flags)
{
	CHECK(PAGE_SIZE << order == GUEST_DISK_BUFFER, "order %u", order);
	if (host_should_fail())
		return NULL;
	arena = aligned_alloc(PAGE_SIZE, GUEST_DISK_BUFFER);
	host_direct_map = (u64)arena;
	nr_frames++;
	return frames;
}

void frame_free(struct page *p, unused unsigned int order)
{
	CHECK(p == frames && nr_frames, "not that frame");
	free(arena);
	nr_frames--;
}

int mm_region_add(unused struct mm *mm, u64 bytes, unused unsigned int acc, hva_t *start)
{
	CHECK(bytes && bytes <= REGION_PAGES * PAGE_SIZE, "%lu bytes", bytes);
	*start = hva((u64)host_ram(RAM));
	return 0;
}

void thread_use_space(unused struct mm *mm, unused struct cpu_space *space)
{
}

int disk_find_partition(const u8 guid[GUID_BYTES], struct blkdev **out)
{
	*out = &part_dev;
	return guid[0] == 1 ? 0 : guid[0] == 2 ? -ENOENT : -EEXIST;
}

int disk_open_guest(unused struct blkdev *dev, bool rw)
{
	static const int errors[] = {0, 0, -EBUSY, -EINVAL, -EPERM};
	int err = errors[fail_in % ARRAY_SIZE(errors)];

	CHECK(!opened, "open twice");
	opened = !err;
	return err == -EPERM && !rw ? -EBUSY : err;
}

void disk_close_guest(struct blkdev *dev)
{
	CHECK(dev == &part_dev && opened, "closed twice");
	opened = false;
}

static int part_access(struct blkdev *dev, u64 sector, u64 phys, u64 bytes)
{
	CHECK(dev == &part_dev && phys == 0 && bytes && bytes <= GUEST_DISK_BUFFER &&
	      bytes % SECTOR_SIZE == 0 && sector < PART_SECTORS && bytes / SECTOR_SIZE <= PART_SECTORS - sector,
	      "%lu bytes at sector %lu, physical %#lx", bytes, sector, phys);
	return fail_in && --fail_in == 0 ? -EIO : 0;
}

int disk_read(struct blkdev *dev, u64 sector, u64 phys, u64 bytes)
{
	int err = part_access(dev, sector, phys, bytes);

	memset(arena, 0x77, GUEST_DISK_BUFFER);
	if (!err)
		memcpy(arena, stored + sector * SECTOR_SIZE, bytes);
	return err;
}

int disk_write(struct blkdev *dev, u64 sector, u64 phys, u64 bytes)
{
	int err = part_access(dev, sector, phys, bytes);

	CHECK(!b.disk.read_only, "a write to what is read-only");
	if (!err)
		memcpy(stored + sector * SECTOR_SIZE, arena, bytes);
	return err;
}

int disk_io(struct blkdev *dev, struct blk_request *rq)
{
	CHECK(dev == &part_dev && rq->op == BLK_FLUSH && !b.disk.read_only, "operation %u", rq->op);
	nr_flushed++;
	return fail_in && --fail_in == 0 ? -EIO : 0;
}

void virtio_dev_attach(struct virtio_dev *d, unused struct pci_bus *bus, const struct virtio_kind *kind,
		       u64 features, const void *config)
{
	*d = (struct virtio_dev){.kind = kind, .config = config, .offered = features};
	CHECK(kind->config_bytes == sizeof(b.config) && b.config.capacity == b.disk.nr_sectors, "its capacity");
	CHECK(!(features & VIRTIO_BLK_F_RO) == !b.disk.read_only, "features %#lx", features);
}

/* ---- the model ------------------------------------------------------------------------------------------- */

/* Where a row of buffers goes on. */
struct place {
	u32 n;
	u64 done;
};

static struct place model_in, model_out;

/* The address of the row's next byte. => there is one */
static u64 next_at(struct place *p)
{
	while (p->done == c.buffer[p->n].bytes) {
		p->n++;
		p->done = 0;
	}
	return c.buffer[p->n].at + p->done++;
}

static int model_byte(struct place *p, u8 *byte, bool write)
{
	u64 at = next_at(p);

	if (at >= RAM)
		return -EFAULT;
	if (m.no_frame[at / PAGE_SIZE])
		return m.no_frame[at / PAGE_SIZE];
	if (write)
		m.ram[at] = *byte;
	else
		*byte = m.ram[at];
	return 0;
}

static int model_bytes(struct place *p, u8 *bytes, u64 nr, bool write)
{
	int err = 0;

	for (u64 i = 0; i < nr && !err; i++) {
		err = model_byte(p, bytes + i, write);
		m.len += write && !err;
	}
	return err;
}

static u64 row_bytes(u32 from, u32 to)
{
	u64 sum = 0;

	for (u32 i = from; i < to; i++)
		sum += c.buffer[i].bytes;
	return sum;
}

/* What the disk under a piece says: a region wants frames, a partition may fail. */
static int model_disk(u64 at, u64 bytes)
{
	if (b.disk.dev)
		return m.fail_in && --m.fail_in == 0 ? -EIO : 0;
	for (u64 page = at / PAGE_SIZE; page <= (at + bytes - 1) / PAGE_SIZE; page++)
		if (m.no_frame[RAM_PAGES + page])
			return m.no_frame[RAM_PAGES + page];
	return 0;
}

static int model_piece(bool write, u64 at, u64 bytes)
{
	static u8 data[GUEST_DISK_BUFFER];
	int err;

	if (vcpu_must_leave(host_vcpu(0)))
		return -EINTR;
	if (write) {
		err = model_bytes(&model_in, data, bytes, false);
		err = err ? err : model_disk(at, bytes);
		if (!err)
			memcpy(m.disk + at, data, bytes);
		return err;
	}
	err = model_disk(at, bytes);
	memcpy(data, m.disk + at, bytes);
	return err ? err : model_bytes(&model_out, data, bytes, true);
}

static int model_data(bool write, u64 sector, u64 bytes)
{
	int err = 0;

	if (bytes & 511 || sector > b.disk.nr_sectors || sector + bytes / 512 > b.disk.nr_sectors)
		return -EIO;
	for (u64 at = sector * 512, end = at + bytes; at < end && !err; at += GUEST_DISK_BUFFER)
		err = model_piece(write, at, MIN(end - at, GUEST_DISK_BUFFER));
	return err;
}

static int model_flush(void)
{
	if (!b.disk.dev || b.disk.read_only)
		return 0;
	m.nr_flushed++;
	return m.fail_in && --m.fail_in == 0 ? -EIO : 0;
}

static int model_carry_out(const struct virtio_blk_header *h, u64 in, u64 out)
{
	u8 serial[SERIAL] = {0};
	int err;

	switch (h->type) {
	case 0: return model_data(false, h->sector, out - 1);
	case 1:
		err = b.disk.read_only ? -EIO : model_data(true, h->sector, in - sizeof(*h));
		return err || b.disk.read_only || (b.dev.accepted & VIRTIO_BLK_F_FLUSH) ? err : model_flush();
	case 4: return model_flush();
	case 8:
		memcpy(serial, "guest", 5);
		return model_bytes(&model_out, serial, MIN(out - 1, (u64)SERIAL), true);
	default: return -EOPNOTSUPP;
	}
}

/* The last byte that may be written: at the end of the last buffer that is not empty. */
static int model_status(u8 status)
{
	u32 last = c.nr - 1;

	while (!c.buffer[last].bytes)
		last--;
	model_out = (struct place){last, c.buffer[last].bytes - 1};
	return model_bytes(&model_out, &status, 1, true);
}

/* What serve() must return, if it is not a number of bytes; else 0. */
static int model_serve(void)
{
	u64 in = row_bytes(0, c.nr_readable), out = row_bytes(c.nr_readable, c.nr);
	struct virtio_blk_header h;

	m.len = 0;
	model_in = (struct place){0};
	model_out = (struct place){.n = c.nr_readable};
	if (in < 16 || !out)
		return -EINVAL;
	int err = model_bytes(&model_in, (u8 *)&h, sizeof(h), false);
	err = err ? err : model_carry_out(&h, in, out);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	err = model_status(err == -EOPNOTSUPP ? 2 : err ? 1 : 0);
	return !err || err == -ENOMEM || err == -EINTR ? err : -EINVAL;
}

static void check_disk(void)
{
	const u8 *disk = b.disk.dev ? stored : host_ram(RAM);

	CHECK(!memcmp(disk, m.disk, b.disk.nr_sectors * SECTOR_SIZE), "the disk is another");
	CHECK(!memcmp(host_ram(0), m.ram, RAM), "memory is another");
	CHECK(nr_flushed == m.nr_flushed, "%u flushes, not %u", nr_flushed, m.nr_flushed);
	fuzz_step_ended();
}

static void serve(void)
{
	bool failed = false;

	for (u32 i = 0; i < VMM_HOST_PAGES; i++)
		failed |= m.no_frame[i] != 0;
	m.fail_in = fail_in;
	failed |= fail_in != 0;
	int len = b.dev.kind->serve(&b.dev, host_vcpu(0), 0, &c), want = model_serve();
	CHECK(want ? len == want : len > 0, "serve returned %d, not %d", len, want);
	CHECK(want || (u64)len <= m.len, "%d bytes were written, not %lu", len, m.len);
	for (u32 i = 0; i < c.nr; i++) /* a buffer that ends outside of memory: less may be told */
		failed |= c.buffer[i].at >= RAM || c.buffer[i].bytes > RAM - c.buffer[i].at;
	CHECK(want || failed || (u64)len == m.len, "%d bytes were written, it was %lu", len, m.len);
	check_disk();
}

/* ---- the driver ------------------------------------------------------------------------------------------- */

static void put(u64 at, const void *from, u32 bytes)
{
	if (at > RAM - bytes)
		return;
	memcpy(host_ram(at), from, bytes);
	memcpy(m.ram + at, from, bytes);
}

static void add(u64 at, u64 bytes, bool readable)
{
	if (c.nr == VIRTIO_CHAIN_BUFFERS)
		return;
	c.buffer[c.nr++] = (struct virtio_buffer){at, bytes};
	c.nr_readable += readable;
}

/* A row of @bytes from *@at on, in up to @most buffers, some of them empty, with gaps. */
static void add_row(struct input *in, u64 *at, u64 bytes, u32 most, bool readable)
{
	for (; bytes && most; most--) {
		u32 cut = most == 1 ? 0 : take(in, 1);
		u64 n = cut ? MIN(bytes, (u64)(cut > 200 ? (cut - 200) * 500 : cut - 1)) : bytes;

		*at += cut & 3;
		add(*at, n, readable);
		*at += n;
		bytes -= n;
	}
}

/* A good request, or nearly: around the disk's end, some bytes more. */
static void chain_make(struct input *in)
{
	static const u8 types[] = {0, 1, 0, 1, 4, 8, 2, 0};
	u8 how = take(in, 1);
	u32 type = types[how & 7], most = how & 8 ? 32 : 3, extra = take(in, 1);
	u64 sectors = take_below(in, 100) % 80, data, at = take_below(in, 0x200);
	u64 sector = take(in, 1);

	if (how & 0x10) /* the end, or where the data would end with the disk; one before, one behind */
		sector = b.disk.nr_sectors - (sector & 4 ? sectors : 0) + sector % 3 - 1;
	u32 header[] = {type, 0, sector, sector >> 32};
	data = sectors * SECTOR_SIZE + (extra > 240 ? extra - 240 : 0);
	if (type == REQUEST_GET_ID)
		data = extra % 30;
	c.nr = c.nr_readable = 0;
	add_row(in, &at, 16 + (type == REQUEST_OUT ? data : 0), most, true);
	add_row(in, &at, 1 + (type == REQUEST_OUT ? 0 : data), most, false);
	if (how & 0x20)
		at = 0;
	model_in = (struct place){0};
	for (u32 i = 0; i < sizeof(header); i++)
		put(next_at(&model_in), (u8 *)header + i, 1);
}

static void spoil(struct input *in)
{
	u8 how = take(in, 1);
	u32 n = c.nr ? how % c.nr : 0, page = take_below(in, RAM_PAGES);

	switch (how >> 5 & 3) {
	case 0: c.buffer[n].at = take(in, 8); break;
	case 1: c.buffer[n].at = page * PAGE_SIZE + take(in, 2); break;
	case 2: c.buffer[n].bytes = take(in, 4); break;
	default: c.nr_readable = c.nr ? take_below(in, c.nr + 1) : 0;
	}
}

/* Any chain, of buffers that are mostly in memory. */
static void chain_any(struct input *in)
{
	u32 header[4] = {take_below(in, 10), 0, take(in, 1), 0};

	c.nr = take_below(in, VIRTIO_CHAIN_BUFFERS + 1);
	c.nr_readable = take_below(in, c.nr + 1);
	for (u32 i = 0; i < c.nr; i++)
		c.buffer[i] = (struct virtio_buffer){take_below(in, RAM + 40), take(in, 1) * (1 + i % 3)};
	put(c.nr ? c.buffer[0].at : 0, header, sizeof(header));
}

static void host_step(struct input *in)
{
	static const int errors[] = {0, 0, -ENOMEM, -EINTR, -EIO};
	u8 how = take(in, 1);
	u32 page = how >> 4;

	switch (how & 3) {
	case 0:
		m.no_frame[page] = errors[take_below(in, ARRAY_SIZE(errors))];
		vmm_host_no_frame(page, m.no_frame[page]);
		break;
	case 1: host_vm->paused = how & 0x80; break;
	case 2: fail_in = how >> 4 & 3; break;
	default:
		for (u32 i = 0; i < VMM_HOST_PAGES; i++) {
			vmm_host_no_frame(i, 0);
			m.no_frame[i] = 0;
		}
		b.dev.accepted = how & 0x80 ? b.dev.offered : 0;
	}
}

static void fill(u8 *at, u32 bytes, u32 seed)
{
	for (u32 i = 0; i < bytes; i++)
		at[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

/* disk_open - a copy of a file with holes, or a partition; false if there is none. */
static bool disk_open(struct input *in)
{
	static u8 file[REGION_PAGES * PAGE_SIZE];
	struct vm_part part = {.named = true, .guid = {1}};
	struct guest_disk d;
	u8 how = take(in, 1);
	char why[100] = "";
	int err;

	fail_in = 0;
	host_fail_nth((how & 0x48) == 0x48);
	if (how & 1) {
		u64 bytes = 1 + take_below(in, sizeof(file));
		fill(file, sizeof(file), how);
		memset(file + (how >> 4 & 3) * PAGE_SIZE, 0, PAGE_SIZE);
		memset(host_ram(RAM), 0, sizeof(file));
		m.no_frame[RAM_PAGES] = how & 0x80 ? -ENOMEM : 0;
		vmm_host_no_frame(RAM_PAGES, m.no_frame[RAM_PAGES]);
		err = guest_disk_open_copy(&d, &host_mm, file, bytes);
		CHECK(err == 0 || (err == -ENOMEM && (how & 0xc0)), "error %d", err);
		memset(m.disk, 0, sizeof(m.disk));
		memcpy(m.disk, file, bytes);
		CHECK(err || d.nr_sectors == (bytes + 511) / 512, "%lu sectors", d.nr_sectors);
	} else {
		part.rw = how & 2;
		part.guid[0] = 1 + (how >> 2 & 3) % 3 * (how >> 4 & 1);
		fail_in = how >> 5;
		fill(stored, sizeof(stored), how);
		memcpy(m.disk, stored, sizeof(stored));
		err = guest_disk_open_part(&d, &part, why, sizeof(why));
		CHECK(!err == !why[0] && memchr(why, 0, sizeof(why)), "%d: %s", err, why);
		fail_in = 0;
	}
	host_fail_nth(0);
	CHECK(err || !d.read_only || guest_disk_write(&d, 0, SECTOR_SIZE) == -EIO, "read-only, and written");
	CHECK(!err || (!nr_frames && !opened), "something is left of what did not open");
	if (!err)
		virtio_disk_attach(&b, NULL, &d);
	return !err;
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(1);
	host_vm->slots.slot[0].nr_pages = RAM_PAGES;
	memset(&m, 0, sizeof(m));
	memcpy(m.ram, host_ram(0), RAM);
	nr_flushed = nr_frames = c.nr = c.nr_readable = 0;
	opened = false;
	bool open = disk_open(in);
	while (open && input_left(in)) {
		switch (take(in, 1) & 7) {
		case 0: spoil(in); break;
		case 1: host_step(in); break;
		case 2: chain_any(in); break;
		default: chain_make(in);
		}
		serve();
	}
	if (open)
		guest_disk_close(&b.disk);
	CHECK(!nr_frames && !opened, "%u buffers, open %u", nr_frames, opened);
	vmm_host_teardown(NULL);
}
