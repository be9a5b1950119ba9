/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/virtio_disk.c kernel/vmm/guest_mem.c kernel/vmm/io.c
 * kernel/lib/pt_walk.c kernel/lib/pt_format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* Requests of a guest's disk, in all the shapes that drivers give them, and in those that none would:
 * what comes to memory and to the disk, against a model of both. */
#include "vmm_host.h"

#include "vmm/devices/virtio_disk.h"

#define SECTORS 200u
#define NO_MEMORY (VMM_HOST_PAGES * PAGE_SIZE)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, UNTOUCHED = 0xee };
enum { F_SEG_MAX = 1 << 2, F_RO = 1 << 5, F_BLK_SIZE = 1 << 6, F_FLUSH = 1 << 9 };

/* ---- what the disk is backed by -------------------------------------------------------------- */

static u8 stored[SECTORS * 512]; /* what is on the disk */
static u8 buffer[GUEST_DISK_BUFFER];
static unsigned int nr_reads, nr_writes, nr_flushes;
static u32 fail_in; /* the n-th access from now on fails (1: the next); 0: none */
static int fail_with;

static int access_disk(u64 sector, u32 bytes)
{
	assert_true(bytes > 0 && bytes <= GUEST_DISK_BUFFER && bytes % 512 == 0);
	assert_true(sector < SECTORS && bytes / 512 <= SECTORS - sector);
	return fail_in && --fail_in == 0 ? fail_with : 0;
}

int guest_disk_read(struct guest_disk *d, u64 sector, u32 bytes)
{
	int err = access_disk(sector, bytes);

	nr_reads++;
	memset(d->buffer, 0x77, GUEST_DISK_BUFFER);
	if (!err)
		memcpy(d->buffer, stored + sector * 512, bytes);
	return err;
}

int guest_disk_write(struct guest_disk *d, u64 sector, u32 bytes)
{
	int err = access_disk(sector, bytes);

	nr_writes++;
	memcpy(stored + sector * 512, d->buffer, err ? bytes / 1024 * 512 : bytes); /* in part */
	return err;
}

int guest_disk_flush(unused struct guest_disk *d)
{
	nr_flushes++;
	return fail_in && --fail_in == 0 ? fail_with : 0;
}

/* ---- the transport --------------------------------------------------------------------------- */

static struct virtio_disk b;
static u64 offered;
static struct pci_bus bus;

void virtio_dev_attach(struct virtio_dev *d, struct pci_bus *on, const struct virtio_kind *kind,
		       u64 features, const void *config)
{
	assert_ptr_equal(on, &bus);
	*d = (struct virtio_dev){.kind = kind, .config = config};
	offered = features;
}

static void attach(bool read_only)
{
	const struct guest_disk disk = {.nr_sectors = SECTORS, .read_only = read_only, .buffer = buffer};

	virtio_disk_attach(&b, &bus, &disk);
	b.dev.accepted = offered;
}

static struct virtio_chain c;

static int serve(void)
{
	return b.dev.kind->serve(&b.dev, host_vcpu(0), 0, &c);
}

static void add(u64 at, u64 bytes, bool readable)
{
	assert_true(c.nr < VIRTIO_CHAIN_BUFFERS);
	c.buffer[c.nr++] = (struct virtio_buffer){at, (u32)bytes};
	c.nr_readable += readable;
}

static void header(u64 at, u32 type, u64 sector)
{
	const u32 words[] = {type, 0x12345678, (u32)sector, (u32)(sector >> 32)};

	memcpy(host_ram(at), words, 16);
}

/* Where requests lie that do not care. */
#define HEADER 0x40ul
#define STATUS 0x80ul
#define DATA   0x1000ul

/* simple - header, one buffer of @bytes, status. Returns the status; serve() says *@len. */
static u8 simple(u32 type, u64 sector, u64 at, u64 bytes, int *len)
{
	c = (struct virtio_chain){0};
	header(HEADER, type, sector);
	add(HEADER, 16, true);
	if (bytes)
		add(at, bytes, type == OUT);
	add(STATUS, 1, false);
	*host_ram(STATUS) = UNTOUCHED;
	*len = serve();
	return *host_ram(STATUS);
}

static void fill(u8 *at, u64 bytes, u64 seed)
{
	struct rng rng = {seed * 2 + 1};

	for (u64 i = 0; i < bytes; i++)
		at[i] = (u8)(rng_next(&rng) >> 32);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	fill(stored, sizeof(stored), 1);
	nr_reads = nr_writes = nr_flushes = fail_in = 0;
	attach(false);
	return 0;
}

/* ---- good requests --------------------------------------------------------------------------- */

static void what_it_says_of_itself(unused void **state)
{
	const struct virtio_blk_config *config = b.dev.config;

	assert_int_equal(b.dev.kind->id, 2);
	assert_int_equal(b.dev.kind->class_code, 0x010000);
	assert_int_equal(b.dev.kind->nr_queues, 1);
	assert_int_equal(b.dev.kind->config_bytes, 24);
	assert_int_equal(offered, 1ull << 32 | F_SEG_MAX | F_BLK_SIZE | F_FLUSH);
	assert_int_equal(config->capacity, SECTORS);
	assert_int_equal(config->seg_max, 64);
	assert_int_equal(config->blk_size, 512);
	assert_ptr_equal((const u8 *)&config->seg_max - (const u8 *)config, 12);
	assert_ptr_equal((const u8 *)&config->blk_size - (const u8 *)config, 20);
	attach(true);
	assert_int_equal(offered, 1ull << 32 | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_RO);
}

static void sectors_come_and_go(unused void **state)
{
	int len;

	assert_int_equal(simple(IN, 3, DATA, 1024, &len), S_OK);
	assert_int_equal(len, 1025);
	assert_memory_equal(host_ram(DATA), stored + 3 * 512, 1024);
	fill(host_ram(DATA), 1536, 2);
	assert_int_equal(simple(OUT, SECTORS - 3, DATA, 1536, &len), S_OK);
	assert_int_equal(len, 1);
	assert_memory_equal(stored + (SECTORS - 3) * 512, host_ram(DATA), 1536);
	assert_int_equal(simple(IN, SECTORS, DATA, 0, &len), S_OK); /* nothing, from the end */
	assert_int_equal(len, 1);
}

/* More than the disk's buffer holds, in as few accesses as it takes. */
static void long_requests_go_in_pieces(unused void **state)
{
	int len;

	fill(host_ram(DATA), KIB(40), 3);
	assert_int_equal(simple(OUT, 10, DATA, KIB(40), &len), S_OK);
	assert_int_equal(nr_writes, 2);
	assert_memory_equal(stored + 5120, host_ram(DATA), KIB(40));
	memset(host_ram(DATA), 0, KIB(40));
	assert_int_equal(simple(IN, 10, DATA, KIB(40), &len), S_OK);
	assert_int_equal(len, KIB(40) + 1);
	assert_int_equal(nr_reads, 2);
	assert_memory_equal(host_ram(DATA), stored + 5120, KIB(40));
}

static void whole_pages_that_are_read_are_not_fetched_first(unused void **state)
{
	int len;

	assert_int_equal(simple(IN, 0, DATA, KIB(8), &len), S_OK);
	assert_int_equal(host_record.nr_forgotten, 2);
	assert_int_equal(host_record.forgotten, DATA + PAGE_SIZE);
	assert_int_equal(simple(IN, 0, DATA + 512, 3584, &len), S_OK);
	assert_int_equal(simple(IN, 0, DATA + 512, KIB(4), &len), S_OK);
	assert_int_equal(simple(OUT, 0, DATA, KIB(8), &len), S_OK);
	assert_int_equal(host_record.nr_forgotten, 2);
}

static void flush(unused void **state)
{
	int len;

	assert_int_equal(simple(FLUSH, 1ull << 60, DATA, 0, &len), S_OK); /* the sector means nothing */
	assert_int_equal(len, 1);
	assert_int_equal(nr_flushes, 1);
	fail_in = 1;
	fail_with = -EIO;
	assert_int_equal(simple(FLUSH, 0, DATA, 0, &len), S_IOERR);
	/* A driver that knows of none: each write. */
	assert_int_equal(simple(OUT, 0, DATA, 512, &len), S_OK);
	assert_int_equal(nr_flushes, 2);
	b.dev.accepted &= ~(u64)F_FLUSH;
	assert_int_equal(simple(OUT, 0, DATA, KIB(40), &len), S_OK);
	assert_int_equal(nr_flushes, 3);
	fail_in = 3; /* two pieces, and then it */
	assert_int_equal(simple(OUT, 0, DATA, KIB(40), &len), S_IOERR);
	assert_int_equal(nr_flushes, 4);
	fail_in = 1;
	assert_int_equal(simple(OUT, 0, DATA, KIB(32), &len), S_IOERR);
	assert_int_equal(nr_flushes, 4);
}

static void serial(unused void **state)
{
	int len;

	memset(host_ram(DATA), 0x55, 64);
	assert_int_equal(simple(GET_ID, 0, DATA, 20, &len), S_OK);
	assert_int_equal(len, 21);
	assert_memory_equal(host_ram(DATA), "guest\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x55", 21);
	strcpy(host_vm->config.name, "a-name-of-more-than-twenty");
	assert_int_equal(simple(GET_ID, 0, DATA, 32, &len), S_OK);
	assert_int_equal(len, 21);
	assert_memory_equal(host_ram(DATA), "a-name-of-more-than-\x55", 21);
	memset(host_ram(DATA), 0x55, 64);
	assert_int_equal(simple(GET_ID, 0, DATA, 5, &len), S_OK);
	assert_memory_equal(host_ram(DATA), "a-nam\x55", 6);
	assert_int_equal(simple(GET_ID, 0, DATA, 0, &len), S_OK);
	assert_int_equal(len, 1);
}

/* ---- bad ones -------------------------------------------------------------------------------- */

static void assert_no_access(void)
{
	assert_int_equal(nr_reads + nr_writes + nr_flushes, 0);
}

static void unknown_types(unused void **state)
{
	static const u32 types[] = {2, 3, 5, 6, 7, 9, 11, 13, 14, 0x80000000, 0x80000001, 0x100, ~0u};
	int len;

	for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(simple(types[i], 0, DATA, 512, &len), S_UNSUPP);
		assert_int_equal(len, 1);
	}
	assert_no_access();
}

static void ranges_are_checked(unused void **state)
{
	static const struct {
		u64 sector, bytes;
	} bad[] = {
		{SECTORS, 512}, {SECTORS - 1, 1024}, {SECTORS + 1, 0}, {0, 511}, {0, 513}, {0, 1},
		{~0ull, 512}, {~0ull, 1024}, {~0ull, 0}, {1ull << 55, 512}, {(1ull << 55) - 1, 512},
		{1ull << 63, 512}, {0, 0xfffffe00}, {0, 0xffffffff}, {SECTORS - 64, 33280},
	};
	int len;

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		for (u32 type = IN; type <= OUT; type++) {
			if (simple(type, bad[i].sector, DATA, bad[i].bytes, &len) != S_IOERR || len != 1)
				fail_msg("%lu bytes at %#lx are taken", bad[i].bytes, bad[i].sector);
		}
	}
	assert_no_access();
	/* Buffers whose sum does not fit in 32 bits. */
	c = (struct virtio_chain){0};
	header(HEADER, IN, 0);
	add(HEADER, 16, true);
	add(DATA, 0xfffffe00, false);
	add(DATA, 1024, false);
	add(STATUS, 1, false);
	assert_int_equal(serve(), 1);
	assert_int_equal(*host_ram(STATUS), S_IOERR);
	assert_no_access();
}

static void a_read_only_disk_is_not_written(unused void **state)
{
	int len;

	attach(true);
	assert_int_equal(simple(OUT, 0, DATA, 512, &len), S_IOERR);
	assert_int_equal(len, 1);
	assert_int_equal(nr_writes, 0);
	assert_int_equal(simple(IN, 0, DATA, 512, &len), S_OK);
	assert_int_equal(simple(FLUSH, 0, DATA, 0, &len), S_OK);
}

static void chains_without_room_make_no_sense(unused void **state)
{
	header(HEADER, FLUSH, 0);
	c = (struct virtio_chain){0};
	assert_int_equal(serve(), -EINVAL);
	add(HEADER, 16, true);
	assert_int_equal(serve(), -EINVAL); /* no status */
	add(STATUS, 0, false);
	assert_int_equal(serve(), -EINVAL);
	c = (struct virtio_chain){0};
	add(STATUS, 1, false);
	assert_int_equal(serve(), -EINVAL); /* no header */
	c = (struct virtio_chain){0};
	add(HEADER, 15, true);
	add(STATUS, 1, false);
	assert_int_equal(serve(), -EINVAL);
	assert_no_access();
	c.buffer[0].bytes = 16;
	assert_int_equal(serve(), 1);
	assert_int_equal(nr_flushes, 1);
}

static void what_is_no_memory(unused void **state)
{
	static const u64 nowhere[] = {NO_MEMORY, 1ull << 52, ~0ull, ~0ull - 511, 1ull << 63};
	int len;

	for (u32 i = 0; i < ARRAY_SIZE(nowhere); i++) {
		assert_int_equal(simple(IN, 0, nowhere[i], 1024, &len), S_IOERR);
		assert_int_equal(len, 1);
		assert_int_equal(simple(OUT, 0, nowhere[i], 1024, &len), S_IOERR);
		assert_int_equal(nr_writes, 0);
		assert_int_equal(simple(GET_ID, 0, nowhere[i], 20, &len), S_IOERR);

		header(HEADER, IN, 0);
		c = (struct virtio_chain){0};
		add(nowhere[i], 16, true);
		add(DATA, 512, false);
		add(STATUS, 1, false);
		assert_int_equal(serve(), 1);
		assert_int_equal(*host_ram(STATUS), S_IOERR);
		c.buffer[0].at = HEADER;
		c.buffer[2].at = nowhere[i];
		assert_int_equal(serve(), -EINVAL);
	}
	/* Over the end of memory: what is inside comes, then it is an error. */
	assert_int_equal(simple(IN, 0, NO_MEMORY - PAGE_SIZE, KIB(8), &len), S_IOERR);
	assert_int_equal(simple(OUT, 0, NO_MEMORY - PAGE_SIZE, KIB(8), &len), S_IOERR);
	assert_int_equal(nr_writes, 0);
}

static void errors_of_the_disk(unused void **state)
{
	int len;

	fail_with = -EIO;
	for (u32 piece = 1; piece <= 2; piece++) {
		fail_in = piece;
		assert_int_equal(simple(IN, 0, DATA, KIB(40), &len), S_IOERR);
		assert_int_equal(len, 1 + (piece - 1) * KIB(32));
		assert_int_equal(*host_ram(DATA + KIB(40)), 0); /* nothing behind the data */
		fail_in = piece;
		assert_int_equal(simple(OUT, 0, DATA, KIB(40), &len), S_IOERR);
		assert_int_equal(len, 1);
	}
	assert_int_equal(nr_reads, 3);
	assert_int_equal(nr_writes, 3);
	assert_int_equal(simple(IN, 0, DATA, KIB(40), &len), S_OK);
}

/* ---- once more, from the beginning ----------------------------------------------------------- */

static int retry_with;

/* again - a request that ends with @retry_with tells the guest nothing, and is right when it is
 * repeated. */
static void again(u32 type, void (*ill)(u32 where), u32 nr_places)
{
	int len;

	for (u32 where = 0; where < nr_places; where++) {
		fill(type == OUT ? host_ram(DATA) : stored, KIB(40), where + retry_with);
		ill(where);
		assert_int_equal(simple(type, 0, DATA, KIB(40), &len), UNTOUCHED);
		assert_int_equal(len, retry_with);
		fail_in = 0;
		for (u32 page = 0; page < VMM_HOST_PAGES; page++)
			vmm_host_no_frame(page, 0);
		assert_int_equal(serve(), type == IN ? KIB(40) + 1 : 1);
		assert_int_equal(*host_ram(STATUS), S_OK);
		assert_memory_equal(host_ram(DATA), stored, KIB(40));
	}
}

static void ill_disk(u32 where)
{
	fail_in = where + 1;
	fail_with = retry_with;
}

static void ill_page(u32 where)
{
	vmm_host_no_frame(where, retry_with); /* 0: header and status; then the data */
}

static void served_again(unused void **state)
{
	static const int errors[] = {-ENOMEM, -EINTR};

	for (u32 i = 0; i < ARRAY_SIZE(errors); i++) {
		retry_with = errors[i];
		for (u32 type = IN; type <= OUT; type++) {
			again(type, ill_disk, 2);
			again(type, ill_page, 11);
		}
	}
}

/* The status alone has no frame: it is not lost. */
static void a_status_without_a_frame(unused void **state)
{
	header(HEADER, IN, 7);
	c = (struct virtio_chain){0};
	add(HEADER, 16, true);
	add(DATA, 512, false);
	add(15 * PAGE_SIZE, 1, false);
	vmm_host_no_frame(15, -ENOMEM);
	assert_int_equal(serve(), -ENOMEM);
	vmm_host_no_frame(15, -EIO); /* swap that cannot be read */
	assert_int_equal(serve(), -EINVAL);
	vmm_host_no_frame(15, 0);
	assert_int_equal(serve(), 513);
	assert_memory_equal(host_ram(DATA), stored + 7 * 512, 512);
}

static void an_ending_vm_goes_on_with_nothing(unused void **state)
{
	int len;

	atomic_or(&host_vcpu(0)->requests, VCPU_REQ_STOP);
	assert_int_equal(simple(OUT, 0, DATA, KIB(40), &len), UNTOUCHED);
	assert_int_equal(len, -EINTR);
	assert_int_equal(simple(IN, 0, DATA, KIB(40), &len), UNTOUCHED);
	assert_no_access();
	atomic_and(&host_vcpu(0)->requests, ~VCPU_REQ_STOP);
	host_vm->paused = true; /* a long request does not keep the operator waiting */
	assert_int_equal(simple(OUT, 0, DATA, KIB(40), &len), UNTOUCHED);
	assert_int_equal(len, -EINTR);
	assert_no_access();
	host_vm->paused = false;
}

/* ---- all shapes ------------------------------------------------------------------------------ */

static u8 disk_model[sizeof(stored)], ram_model[VMM_HOST_PAGES * PAGE_SIZE];
static struct rng rng;

/* A row of @bytes cut anywhere, into disjoint pieces of memory from *@at on; some are empty. */
static void add_row(u64 *at, u64 bytes, u32 most, bool readable)
{
	for (u32 left = most; bytes && left; left--) {
		u64 n = left == 1 ? bytes : rng_percent(&rng, 15) ? 0 : 1 + rng_below(&rng, bytes);
		if (rng_percent(&rng, 30))
			n = MIN(n, 16ul);
		n = left == 1 ? bytes : n;
		*at += rng_percent(&rng, 50) ? rng_below(&rng, 100) : 0;
		add(*at, n, readable);
		*at += n;
		bytes -= n;
	}
}

/* The byte @i of a row, in memory; the model's memory if @in_model. */
static u8 *row(u32 from, u32 to, u64 i, bool in_model)
{
	for (u32 n = from; n < to; n++) {
		if (i < c.buffer[n].bytes)
			return (in_model ? ram_model : host_ram(0)) + c.buffer[n].at + i;
		i -= c.buffer[n].bytes;
	}
	fail_msg("row [%u, %u) ends before byte %lu", from, to, i);
	return NULL;
}

static void random_chain(void)
{
	u32 type = rng_percent(&rng, 95) ? (u32)rng_below(&rng, 2) : (u32)rng_below(&rng, 12);
	u64 sector = rng_below(&rng, SECTORS + 2), data = 512 * rng_below(&rng, 40);
	u64 at = rng_below(&rng, 64);
	const u32 words[] = {type, 0, (u32)sector, 0};

	if (rng_percent(&rng, 5))
		data += 1 + rng_below(&rng, 511);
	c = (struct virtio_chain){0};
	add_row(&at, 16 + (type == OUT ? data : rng_below(&rng, 2) * 7), 1 + (u32)rng_below(&rng, 30),
		true);
	add_row(&at, 1 + (type == IN ? data : type == GET_ID ? rng_below(&rng, 40) : 0),
		1 + (u32)rng_below(&rng, 30), false);
	fill(host_ram(0), sizeof(ram_model), rng_next(&rng));
	for (u32 i = 0; i < 16; i++)
		*row(0, c.nr, i, false) = ((const u8 *)words)[i];
	memcpy(ram_model, host_ram(0), sizeof(ram_model));

	/* What must come of it. */
	u64 writable = 0;
	for (u32 i = c.nr_readable; i < c.nr; i++)
		writable += c.buffer[i].bytes;
	bool good = data % 512 == 0 && sector <= SECTORS && data / 512 <= SECTORS - sector;
	u8 status = S_OK;
	u64 len = 1;
	if (type <= OUT) {
		status = good ? S_OK : S_IOERR;
		for (u64 i = 0; good && i < data; i++) {
			u8 *byte = disk_model + sector * 512 + i;
			if (type == IN)
				*row(c.nr_readable, c.nr, i, true) = *byte;
			else
				*byte = *row(0, c.nr_readable, 16 + i, true);
		}
		len += good && type == IN ? data : 0;
	} else if (type == GET_ID) {
		len += MIN(writable - 1, 20ul);
		for (u32 i = 0; i + 1 < len; i++)
			*row(c.nr_readable, c.nr, i, true) = i < 5 ? (u8)"guest"[i] : 0;
	} else if (type != FLUSH) {
		status = S_UNSUPP;
	}
	*row(c.nr_readable, c.nr, writable - 1, true) = status;

	assert_int_equal(serve(), len);
	assert_memory_equal(host_ram(0), ram_model, sizeof(ram_model));
	assert_memory_equal(stored, disk_model, sizeof(stored));
}

static void random_chains(unused void **state)
{
	rng = rng_seeded(9);
	memcpy(disk_model, stored, sizeof(stored));
	for (u32 i = 0; i < 20000; i++)
		random_chain();
}

/* Whatever stands in the chain: an answer, and no access beside memory and disk. */
static void random_garbage(unused void **state)
{
	rng = rng_seeded(10);
	for (u32 i = 0; i < 50000; i++) {
		c = (struct virtio_chain){.nr = (u32)rng_below(&rng, VIRTIO_CHAIN_BUFFERS + 1)};
		c.nr_readable = (u32)rng_below(&rng, c.nr + 1);
		for (u32 n = 0; n < c.nr; n++)
			c.buffer[n] = (struct virtio_buffer){
				rng_percent(&rng, 98) ? rng_below(&rng, NO_MEMORY) : rng_next(&rng),
				rng_percent(&rng, 98) ? (u32)rng_below(&rng, 600) : (u32)rng_next(&rng),
			};
		if (c.nr && c.buffer[0].at + 16 <= NO_MEMORY)
			header(c.buffer[0].at, (u32)rng_below(&rng, 10), rng_below(&rng, SECTORS));
		int len = serve();
		assert_true(len > 0 || len == -EINVAL);
	}
}

#define disk_test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		disk_test(what_it_says_of_itself),
		disk_test(sectors_come_and_go),
		disk_test(long_requests_go_in_pieces),
		disk_test(whole_pages_that_are_read_are_not_fetched_first),
		disk_test(flush),
		disk_test(serial),
		disk_test(unknown_types),
		disk_test(ranges_are_checked),
		disk_test(a_read_only_disk_is_not_written),
		disk_test(chains_without_room_make_no_sense),
		disk_test(what_is_no_memory),
		disk_test(errors_of_the_disk),
		disk_test(served_again),
		disk_test(a_status_without_a_frame),
		disk_test(an_ending_vm_goes_on_with_nothing),
		disk_test(random_chains),
		disk_test(random_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
