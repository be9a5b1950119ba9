/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/blkdev.c kernel/lib/string.c */
/* The RAM disk keeps what is written, takes memory for nothing else, and reports when there is none. */
#include "host.h"

#include "cpu/x86.h"

#define irq_save()     0ul
#define irq_restore(f) ((void)(f))

#include "tests/kernel/ramdisk.c"

/* ---- frames ---------------------------------------------------------------------------------- */

u64 host_direct_map;

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

/* ---- tests ----------------------------------------------------------------------------------- */

#define DISK_BYTES MIB(8)

static struct ramdisk ram;
static u64 memory;
static int status;

static void done(struct blk_request *rq)
{
	status = rq->status;
}

static int transfer(enum blk_op op, u64 sector, u32 nr, u32 bytes, u32 offset)
{
	struct blk_segment segments[32];
	struct blk_request rq = {.op = op, .sector = sector, .nr_segments = nr, .segments = segments,
				 .done = done};

	for (u32 i = 0; i < nr; i++)
		segments[i] = (struct blk_segment){hpa(memory + i * PAGE_SIZE + offset), bytes};
	status = 1;
	assert_int_equal(blkdev_submit(&ram.dev, &rq), 0);
	return status;
}

static int setup(void **state)
{
	host_reset(state);
	host_direct_map = host_virt_offset();
	memory = host_run_get(32);
	ramdisk_init(&ram, "ram", DISK_BYTES);
	blkdev_open_area(&ram.dev, 0, ram.dev.nr_sectors);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_fail_every(0);
	host_run_put(memory, 32);
	ramdisk_free(&ram);
	assert_int_equal(host_pages_in_use(), 0);
	return 0;
}

static void unwritten_reads_as_zeros(void **state)
{
	(void)state;
	memset(host_virt(memory), 0xff, 32 * PAGE_SIZE);
	assert_int_equal(transfer(BLK_READ, 5, 32, 4096, 0), 0);
	for (u32 i = 0; i < 32 * PAGE_SIZE; i++)
		assert_int_equal(((u8 *)host_virt(memory))[i], 0);
	assert_int_equal(host_pages_in_use(), 32);
}

/* Requests of all sizes and alignments against a plain array. */
static void keeps_what_is_written(void **state)
{
	u8 *model = calloc(1, DISK_BYTES), *here = host_virt(memory);
	struct rng rng = rng_seeded(11);

	(void)state;
	for (u32 n = 0; n < 3000; n++) {
		u32 nr = 1 + rng_below(&rng, 32), sectors = 1 + rng_below(&rng, 8);
		u32 offset = rng_below(&rng, 9 - sectors) * 512, bytes = sectors * 512;
		u64 sector = rng_below(&rng, ram.dev.nr_sectors - nr * sectors);
		bool write = rng_percent(&rng, 50);

		for (u32 i = 0; i < 32 * PAGE_SIZE; i += 8)
			*(u64 *)(here + i) = rng_next(&rng);
		assert_int_equal(transfer(write ? BLK_WRITE : BLK_READ, sector, nr, bytes, offset), 0);
		for (u32 i = 0; i < nr; i++) {
			u8 *disk = model + sector * 512 + i * bytes, *mine = here + i * PAGE_SIZE + offset;

			if (write)
				memcpy(disk, mine, bytes);
			else
				assert_memory_equal(disk, mine, bytes);
		}
	}
	free(model);
}

static void no_memory_is_an_error(void **state)
{
	(void)state;
	host_fail_every(1);
	assert_int_equal(transfer(BLK_WRITE, 0, 1, 4096, 0), -EIO);
	host_fail_nth(2); /* the first page comes, the second does not */
	assert_int_equal(transfer(BLK_WRITE, 0, 2, 4096, 0), -EIO);
	host_fail_nth(0);
	assert_int_equal(transfer(BLK_WRITE, 0, 1, 4096, 0), 0);
	assert_int_equal(ram.dev.errors, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unwritten_reads_as_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_what_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
