/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/blkdev.c kernel/lib/string.c tests/unit/fault_blkdev.c */
/* What every request passes: bounds, the one area that may be written (N12), partitions. And that the
 * disk with faults has the faults that it is told to have. */
#include "fault_blkdev.h"

#define NR_SECTORS 1024

static struct fault_blkdev f;
static struct blkdev part;
static u64 memory;
static struct blk_segment segments[33];
static int status;
static u32 nr_done;

static void done(struct blk_request *rq)
{
	status = rq->status;
	nr_done++;
}

static struct blk_request request(enum blk_op op, u64 sector, u32 nr, u32 bytes)
{
	for (u32 i = 0; i < nr && i < ARRAY_SIZE(segments); i++)
		segments[i] = (struct blk_segment){hpa(memory + i % 16 * PAGE_SIZE), bytes};
	return (struct blk_request){.op = op, .sector = sector, .nr_segments = nr, .segments = segments,
				    .done = done};
}

static int may(const struct blkdev *dev, enum blk_op op, u64 sector, u32 nr, u32 bytes)
{
	struct blk_request rq = request(op, sector, nr, bytes);

	return blkdev_check(dev, &rq);
}

static int setup(void **state)
{
	host_reset(state);
	memory = host_run_get(16);
	fault_blkdev_init(&f, "fault", NR_SECTORS * SECTOR_SIZE);
	part = (struct blkdev){.name = "part", .nr_sectors = 256, .max_segments = 32, .max_inflight = 32,
			       .disk = &f.dev, .first_sector = 512};
	nr_done = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_run_put(memory, 16);
	fault_blkdev_free(&f);
	assert_int_equal(host_pages_in_use(), 0);
	return 0;
}

static void malformed_requests(void **state)
{
	struct blk_request rq;

	(void)state;
	assert_int_equal(may(&f.dev, BLK_READ, 0, 1, 512), 0);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 0, 512), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 32, 4096), 0);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 33, 512), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 1, 0), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 1, 513), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 1, 8192), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, 0, 1, ~511u), -EINVAL);
	assert_int_equal(may(&f.dev, (enum blk_op)7, 0, 1, 512), -EINVAL);
	rq = request(BLK_READ, 0, 1, 1024);
	segments[0].at.v += PAGE_SIZE - 512; /* crosses a page */
	assert_int_equal(blkdev_check(&f.dev, &rq), -EINVAL);
	segments[0].at.v += 1;
	assert_int_equal(blkdev_check(&f.dev, &rq), -EINVAL);
}

static void the_end_of_the_device(void **state)
{
	(void)state;
	assert_int_equal(may(&f.dev, BLK_READ, NR_SECTORS - 8, 1, 4096), 0);
	assert_int_equal(may(&f.dev, BLK_READ, NR_SECTORS - 7, 1, 4096), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, NR_SECTORS, 1, 512), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, ~0ull, 1, 512), -EINVAL);
	assert_int_equal(may(&f.dev, BLK_READ, ~0ull, 1, 4096), -EINVAL);
	assert_int_equal(may(&part, BLK_READ, 256, 1, 512), -EINVAL);
}

static void writes_only_in_the_area(void **state)
{
	(void)state;
	assert_int_equal(may(&f.dev, BLK_WRITE, 0, 1, 512), -EPERM);
	assert_int_equal(may(&f.dev, BLK_FLUSH, 0, 0, 0), -EPERM);
	blkdev_open_area(&f.dev, 8, 1016);
	assert_int_equal(may(&f.dev, BLK_WRITE, 7, 1, 512), -EPERM);
	assert_int_equal(may(&f.dev, BLK_WRITE, 8, 1, 4096), 0);
	assert_int_equal(may(&f.dev, BLK_WRITE, 1008, 1, 4096), 0);
	assert_int_equal(may(&f.dev, BLK_WRITE, 1009, 1, 4096), -EPERM);
	assert_int_equal(may(&f.dev, BLK_WRITE, 1016, 1, 512), -EPERM);
	assert_int_equal(may(&f.dev, BLK_FLUSH, 0, 0, 0), 0);
	assert_int_equal(may(&part, BLK_WRITE, 8, 1, 4096), -EPERM);
	f.dev.read_only = true;
	assert_int_equal(may(&f.dev, BLK_WRITE, 8, 1, 4096), -EPERM);
	f.dev.read_only = false;
	blkdev_close_area(&f.dev);
	assert_int_equal(may(&f.dev, BLK_WRITE, 8, 1, 4096), -EPERM);
}

static void submit_outside(void *ctx)
{
	struct blk_request rq = request(BLK_WRITE, (u64)ctx, 1, 4096);

	(void)!blkdev_submit(&f.dev, &rq);
}

static void open_again(void *ctx)
{
	blkdev_open_area(ctx, 0, 8);
}

static void a_write_outside_is_a_panic(void **state)
{
	(void)state;
	expect_panic("outside of the writable", submit_outside, (void *)8);
	blkdev_open_area(&f.dev, 8, 16);
	expect_panic("outside of the writable", submit_outside, (void *)0);
	expect_panic("outside of the writable", submit_outside, (void *)9);
	assert_int_equal(f.nr_submits, 0);
	expect_panic("open for writing already", open_again, &f.dev);
	expect_panic("area [0, 8)", open_again, &(struct blkdev){.name = "small", .nr_sectors = 7});
}

static void partition_is_its_part_of_the_disk(void **state)
{
	struct blk_request rq = request(BLK_WRITE, 8, 1, 4096);

	(void)state;
	blkdev_open_area(&part, 8, 248);
	memset(host_virt(memory), 0x5a, PAGE_SIZE);
	assert_int_equal(blkdev_submit(&part, &rq), 0);
	assert_int_equal(part.inflight, 1);
	assert_int_equal(fault_blkdev_run(&f, 9), 1);
	assert_int_equal(part.inflight, 0);
	assert_int_equal(part.writes, 1);
	assert_int_equal(f.dev.writes, 0);
	assert_int_equal(f.data[(512 + 8) * 512 - 1], 0);
	assert_int_equal(f.data[(512 + 8) * 512], 0x5a);
	assert_int_equal(f.data[(512 + 16) * 512 - 1], 0x5a);
	assert_int_equal(f.data[(512 + 16) * 512], 0);
}

static void add(void *ctx)
{
	blkdev_add(ctx);
}

static void partitions_stay_on_their_disk(void **state)
{
	struct blkdev nested = {.name = "nested", .nr_sectors = 1, .disk = &part};

	(void)state;
	part.first_sector = NR_SECTORS - 255;
	expect_panic("leave the disk", add, &part);
	part.first_sector = ~0ull;
	expect_panic("leave the disk", add, &part);
	expect_panic("is no partition", add, &nested);
}

static void faults_by_sector(void **state)
{
	struct blk_request rq = request(BLK_READ, 100, 1, 4096);

	(void)state;
	fault_blkdev_fail(&f, 107, 108, true, false, 1);
	f.at_once = true;
	assert_int_equal(blkdev_submit(&f.dev, &rq), 0);
	assert_int_equal(status, -EIO);
	assert_int_equal(f.dev.errors, 1);
	assert_int_equal(blkdev_submit(&f.dev, &rq), 0);
	assert_int_equal(status, 0);
	fault_blkdev_fail(&f, 100, 101, false, true, 1);
	assert_int_equal(blkdev_submit(&f.dev, &rq), 0);
	assert_int_equal(status, 0);
	assert_int_equal(nr_done, 3);
}

static void late_and_in_another_order(void **state)
{
	struct blk_request rq[FAULT_INFLIGHT + 1];

	(void)state;
	f.reorder = true;
	for (u32 i = 0; i <= FAULT_INFLIGHT; i++) {
		rq[i] = request(BLK_READ, i, 1, 512);
		assert_int_equal(blkdev_submit(&f.dev, &rq[i]), i < FAULT_INFLIGHT ? 0 : -EAGAIN);
	}
	assert_int_equal(nr_done, 0);
	assert_int_equal(f.dev.inflight, FAULT_INFLIGHT);
	assert_int_equal(fault_blkdev_run(&f, 5), 5);
	assert_int_equal(nr_done, 5);
	assert_int_equal(fault_blkdev_run(&f, 100), FAULT_INFLIGHT - 5);
	assert_int_equal(f.dev.inflight, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(malformed_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_only_in_the_area, setup, teardown),
		cmocka_unit_test_setup_teardown(a_write_outside_is_a_panic, setup, teardown),
		cmocka_unit_test_setup_teardown(partition_is_its_part_of_the_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(partitions_stay_on_their_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(faults_by_sector, setup, teardown),
		cmocka_unit_test_setup_teardown(late_and_in_another_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
