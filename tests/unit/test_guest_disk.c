/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/vmm/devices/guest_disk.c kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* What guests' disks are backed by: a private copy that is swapped like all of the VM's memory, and
 * partitions, which are opened for one guest and for nobody else. */
#include "swap_fixture.h"

#include "lib/atomic.h"
#include "lib/crc32.h"
#include "vmm/config.h"
#include "vmm/devices/guest_disk.h"

static struct guest_disk d;
static char why[200];

/* ---- disks with partitions --------------------------------------------------------------------- */

#define PARTED_BYTES MIB(4)
#define NEAP_TYPE "\x3e\x5c\x9d\x0a\x51\x7e\x6f\x4b\x9a\x37NeapSW"
#define DATA_TYPE "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4"
#define FIRST 1024u
#define SECTORS 1024u /* of each partition */

enum { DATA, EMPTY_NEAP, OTHER_DATA, SWAP_IN_DATA, TWICE };

static struct fault_blkdev parted, read_only;

static struct vm_part part_named(u8 who, u8 index, bool rw)
{
	return (struct vm_part){.named = true, .rw = rw, .guid = {0x99, who, index, 1}};
}

static void table_put(struct fault_blkdev *f, u32 at, u64 value, u32 bytes)
{
	memcpy(f->data + at, &value, bytes);
}

/* The partition @index of [FIRST + index * SECTORS, ...), whose GUID is part_named(@who, @index)'s. */
static void partition_make(struct fault_blkdev *f, u8 who, u8 index, const char *type)
{
	u32 at = 1024 + 128 * index;
	struct vm_part part = part_named(who, index, false);

	memcpy(f->data + at, type, 16);
	memcpy(f->data + at + 16, part.guid, 16);
	table_put(f, at + 32, FIRST + index * SECTORS, 8);
	table_put(f, at + 40, FIRST + index * SECTORS + SECTORS - 1, 8);
}

static void table_seal(struct fault_blkdev *f)
{
	u8 *head = f->data + 512;

	memcpy(head, "EFI PART\0\0\1\0\x5c", 13);
	table_put(f, 512 + 24, 1, 8);
	table_put(f, 512 + 32, f->dev.nr_sectors - 1, 8);
	table_put(f, 512 + 40, 34, 8);
	table_put(f, 512 + 48, f->dev.nr_sectors - 34, 8);
	table_put(f, 512 + 72, 2, 8);
	table_put(f, 512 + 80, 128, 4);
	table_put(f, 512 + 84, 128, 4);
	table_put(f, 512 + 88, crc32(0, f->data + 1024, 128 * 128), 4);
	table_put(f, 512 + 16, crc32(0, head, 92), 4);
	f->at_once = true;
	blkdev_add(&f->dev);
}

static void swap_make(u8 *area, u64 bytes)
{
	const u8 uuid[UUID_BYTES] = {77};

	swap_header_make(area, uuid, bytes);
	swap_header_make(area + bytes - SWAP_HEADER_BYTES, uuid, bytes);
}

static void parted_make(void)
{
	fault_blkdev_init(&parted, "vdp", PARTED_BYTES);
	partition_make(&parted, 1, DATA, DATA_TYPE);
	partition_make(&parted, 1, EMPTY_NEAP, NEAP_TYPE);
	partition_make(&parted, 1, OTHER_DATA, DATA_TYPE);
	partition_make(&parted, 1, SWAP_IN_DATA, DATA_TYPE);
	partition_make(&parted, 1, TWICE, DATA_TYPE);
	swap_make(parted.data + (FIRST + SWAP_IN_DATA * SECTORS) * 512, SECTORS * 512);
	table_seal(&parted);

	fault_blkdev_init(&read_only, "vdr", MIB(4));
	read_only.dev.read_only = true;
	partition_make(&read_only, 2, DATA, DATA_TYPE);
	partition_make(&read_only, 1, TWICE, DATA_TYPE);
	table_seal(&read_only);
}

static int open_part(u8 who, u8 index, bool rw)
{
	struct vm_part part = part_named(who, index, rw);

	memset(why, 0, sizeof(why));
	int err = guest_disk_open_part(&d, &part, why, sizeof(why));
	assert_true((err == 0) == (why[0] == '\0'));
	assert_null(strchr(why, '\n'));
	return err;
}

static u8 *parted_sector(u32 index, u64 sector)
{
	return parted.data + (FIRST + index * SECTORS + sector) * 512;
}

/* ---- a disk against a model of its contents ------------------------------------------------------ */

static u8 *model;

static void fill(struct rng *rng, u8 *to, u32 bytes)
{
	for (u32 i = 0; i < bytes; i += 8) {
		u64 word = rng_next(rng);
		memcpy(to + i, &word, 8);
	}
}

static void random_step(struct rng *rng, bool write)
{
	u64 sector = rng_below(rng, d.nr_sectors);
	u32 most = (u32)MIN(d.nr_sectors - sector, 64ul), n = 512 * (1 + (u32)rng_below(rng, most));

	if (write) {
		fill(rng, d.buffer, n);
		memcpy(model + sector * 512, d.buffer, n);
		assert_int_equal(guest_disk_write(&d, sector, n), 0);
	} else {
		assert_int_equal(guest_disk_read(&d, sector, n), 0);
		assert_memory_equal(d.buffer, model + sector * 512, n);
	}
}

static void assert_is_model(void)
{
	for (u64 sector = 0; sector < d.nr_sectors; sector++) {
		assert_int_equal(guest_disk_read(&d, sector, 512), 0);
		assert_memory_equal(d.buffer, model + sector * 512, 512);
	}
}

/* ---- copies ---------------------------------------------------------------------------------------- */

#define FILE_PAGES 24
#define FILE_BYTES (FILE_PAGES * PAGE_SIZE - 3296) /* one and a half sectors on its last page */

static u8 file[FILE_BYTES];

/* file_make - every third page of it is a hole; the model is what the disk is to be. */
static void file_make(void)
{
	struct rng rng = rng_seeded(3);

	for (u32 i = 0; i < FILE_BYTES; i++)
		file[i] = i / PAGE_SIZE % 3 == 1 ? 0 : (u8)rng_next(&rng);
	file[2 * PAGE_SIZE] = 0; /* a zero at its beginning makes no hole */
	model = calloc(1, PARTED_BYTES);
	memcpy(model, file, FILE_BYTES);
}

static void copy_open(void)
{
	file_make();
	assert_int_equal(guest_disk_open_copy(&d, mm, file, FILE_BYTES), 0);
	mm_host_use(mm);
}

static void disk_close(void)
{
	guest_disk_close(&d);
	free(model);
	model = NULL;
}

static void evict_region(void)
{
	for (u64 i = 0; i < FILE_PAGES; i++)
		(void)!mm_evict(mm, hva(d.region + i * PAGE_SIZE));
	finish();
}

static void a_copy_is_the_file_and_holes_cost_nothing(void **state)
{
	u64 frames = mm->nr_anon;

	(void)state;
	copy_open();
	assert_int_equal(mm->nr_anon, frames + FILE_PAGES - FILE_PAGES / 3);
	assert_int_equal(mm->nr_zero_mapped, 0);
	assert_int_equal(d.nr_sectors, (FILE_BYTES + 511) / 512);
	assert_false(d.read_only);
	assert_is_model();
	assert_int_equal(mm->nr_anon, frames + FILE_PAGES - FILE_PAGES / 3);
	disk_close();
}

static void a_copy_is_swapped_and_the_file_never_changed(void **state)
{
	struct rng rng = rng_seeded(4);
	static u8 was[FILE_BYTES];

	(void)state;
	copy_open();
	memcpy(was, file, FILE_BYTES);
	evict_region();
	assert_true(mm->nr_swapped >= FILE_PAGES - FILE_PAGES / 3);
	for (u32 i = 0; i < 2000; i++) {
		random_step(&rng, rng_percent(&rng, 50));
		if (rng_percent(&rng, 10))
			evict_region();
	}
	assert_true(mm->swapins > 20);
	assert_is_model();
	assert_int_equal(guest_disk_flush(&d), 0);
	assert_memory_equal(file, was, FILE_BYTES);
	disk_close();
}

static void one_byte_makes_a_sector(void **state)
{
	(void)state;
	assert_int_equal(guest_disk_open_copy(&d, mm, "x", 1), 0);
	mm_host_use(mm);
	assert_int_equal(d.nr_sectors, 1);
	assert_int_equal(guest_disk_read(&d, 0, 512), 0);
	assert_int_equal(d.buffer[0], 'x');
	assert_int_equal(d.buffer[1] | d.buffer[511], 0);
	guest_disk_close(&d);
	assert_int_equal(guest_disk_open_copy(&d, mm, "", 0), -EINVAL);
}

/* The fixture's end sees that all came back (N10). */
static void every_failed_allocation_leaves_nothing(void **state)
{
	u32 failed = 0;

	(void)state;
	file_make();
	for (u32 k = 1; k < 60; k++) {
		frame_fail_every(k);
		int err = guest_disk_open_copy(&d, mm, file, FILE_BYTES);
		frame_fail_every(0);
		failed += err != 0;
		assert_true(err == 0 || err == -ENOMEM);
		if (!err)
			guest_disk_close(&d);
	}
	assert_in_range(failed, 2, 58);
	free(model);
	/* The same of a partition, which is nobody's then. */
	frame_fail_every(1);
	assert_int_equal(open_part(1, DATA, true), -ENOMEM);
	frame_fail_every(0);
	assert_int_equal(open_part(1, DATA, true), 0);
	guest_disk_close(&d);
}

static void errors_are_handed_on_and_the_next_attempt_is_whole(void **state)
{
	struct rng rng = rng_seeded(5);

	(void)state;
	copy_open();
	evict_region();
	frame_fail_every(1);
	assert_int_equal(guest_disk_read(&d, 0, KIB(32)), -ENOMEM);
	fill(&rng, d.buffer, KIB(32));
	memcpy(model + 512, d.buffer, KIB(32));
	assert_int_equal(guest_disk_write(&d, 1, KIB(32)), -ENOMEM);
	frame_fail_every(0);
	assert_int_equal(guest_disk_write(&d, 1, KIB(32)), 0);
	assert_is_model();

	evict_region();
	assert_int_equal(mm_set_limit(mm, mm->counter.usage), 0);
	thread_current()->kill = true;
	int err = guest_disk_read(&d, 0, 512);
	thread_current()->kill = false;
	assert_int_equal(err, -EINTR);
	assert_int_equal(mm_set_limit(mm, RES_UNLIMITED), 0);

	evict_region();
	fault_blkdev_fail(&disk, 0, disk.dev.nr_sectors, true, false, 1000000);
	assert_int_equal(guest_disk_read(&d, 0, 512), -EIO);
	disk_calm(&disk);
	assert_is_model();
	disk_close();
}

static void leave_to_the_left(unused void *ctx)
{
	(void)!guest_disk_read(&d, d.nr_sectors + 1, 512);
}

static void leave_to_the_right(unused void *ctx)
{
	(void)!guest_disk_write(&d, d.nr_sectors - 1, 1024);
}

static void leave_the_buffer(unused void *ctx)
{
	(void)!guest_disk_read(&d, 0, KIB(32) + 512);
}

static void no_access_leaves_the_disk(void **state)
{
	(void)state;
	copy_open();
	expect_panic("at sector", leave_to_the_left, NULL);
	expect_panic("at sector", leave_to_the_right, NULL);
	expect_panic("at sector", leave_the_buffer, NULL);
	disk_close();
}

/* ---- partitions ------------------------------------------------------------------------------------ */

static void what_is_refused_and_why(void **state)
{
	struct guest_disk first;

	(void)state;
	assert_int_equal(open_part(3, DATA, false), -ENOENT);
	assert_non_null(strstr(why, "part=: no disk has such a partition"));
	assert_int_equal(open_part(1, TWICE, false), -EEXIST);
	assert_non_null(strstr(why, "part=: two partitions"));
	for (u32 rw = 0; rw < 2; rw++) {
		assert_int_equal(open_part(1, EMPTY_NEAP, rw), -EINVAL);
		assert_non_null(strstr(why, "part=: it is Neap's own"));
		assert_int_equal(open_part(1, SWAP_IN_DATA, rw), -EINVAL);
	}
	assert_int_equal(open_part(2, DATA, true), -EPERM);
	assert_non_null(strstr(why, "part=: its disk is read-only"));
	/* A refusal keeps nothing; who reads only keeps others out as well. */
	assert_int_equal(open_part(2, DATA, false), 0);
	first = d;
	assert_int_equal(open_part(2, DATA, false), -EBUSY);
	assert_non_null(strstr(why, "part=: another VM, or swap, has it"));
	guest_disk_close(&first);
	assert_int_equal(open_part(2, DATA, false), 0);
	guest_disk_close(&d);
	assert_int_equal(open_part(1, DATA, true), 0);
	first = d;
	assert_int_equal(open_part(1, DATA, false), -EBUSY);
	assert_int_equal(open_part(1, OTHER_DATA, true), 0); /* its neighbour is another */
	guest_disk_close(&d);
	guest_disk_close(&first);
	assert_false(blkdev_is_open(d.dev));
}

/* The whole disk becomes a swap area behind the back of its table. */
static void swap_and_guests_do_not_share_sectors(void **state)
{
	u8 *was = malloc(PARTED_BYTES);

	(void)state;
	memcpy(was, parted.data, PARTED_BYTES);
	swap_make(parted.data, PARTED_BYTES);
	for (u32 rw = 0; rw < 2; rw++) {
		assert_int_equal(open_part(1, DATA, rw), 0);
		assert_int_equal(swap_add(&parted.dev, 0), -EBUSY);
		assert_int_equal(swap_wipe(&parted.dev, NULL), -EBUSY);
		assert_int_equal(swap_add(d.dev, 0), -EBUSY);
		guest_disk_close(&d);
	}
	assert_int_equal(swap_add(&parted.dev, 0), 0);
	assert_int_equal(open_part(1, DATA, false), -EBUSY);
	assert_int_equal(swap_off(&parted.dev), 0);
	memcpy(parted.data, was, PARTED_BYTES);
	assert_int_equal(open_part(1, DATA, false), 0);
	assert_int_equal(swap_add(&disk_b.dev, 1), 0); /* another disk */
	guest_disk_close(&d);
	free(was);
}

static void a_partition_is_read_and_written_and_nothing_else(void **state)
{
	struct rng rng = rng_seeded(6);
	u8 *was = malloc(PARTED_BYTES);

	(void)state;
	memcpy(was, parted.data, PARTED_BYTES);
	assert_int_equal(open_part(1, OTHER_DATA, true), 0);
	mm_host_use(NULL); /* its data are no memory of the mm */
	assert_int_equal(d.nr_sectors, SECTORS);
	model = malloc(PARTED_BYTES);
	memcpy(model, parted_sector(OTHER_DATA, 0), SECTORS * 512);
	for (u32 i = 0; i < 1000; i++)
		random_step(&rng, rng_percent(&rng, 50));
	assert_is_model();
	assert_memory_equal(parted_sector(OTHER_DATA, 0), model, SECTORS * 512);
	memcpy(was + (FIRST + OTHER_DATA * SECTORS) * 512, model, SECTORS * 512);
	assert_memory_equal(parted.data, was, PARTED_BYTES);

	assert_int_not_equal(parted.unflushed, 0);
	assert_int_equal(guest_disk_flush(&d), 0);
	assert_int_equal(parted.unflushed, 0);
	disk_close();
	free(was);
}

static void without_rw_nothing_is_written(void **state)
{
	(void)state;
	assert_int_equal(open_part(1, DATA, false), 0);
	assert_true(d.read_only);
	assert_int_equal(guest_disk_read(&d, SECTORS - 64, KIB(32)), 0);
	u64 ended = parted.nr_ended;
	assert_int_equal(guest_disk_write(&d, 0, 512), -EIO);
	assert_int_equal(guest_disk_flush(&d), 0);
	assert_int_equal(parted.nr_ended, ended);
	guest_disk_close(&d);
}

static void errors_of_a_partition_s_disk(void **state)
{
	(void)state;
	assert_int_equal(open_part(1, DATA, true), 0);
	fault_blkdev_fail(&parted, FIRST + 70, FIRST + 71, true, true, 2);
	assert_int_equal(guest_disk_read(&d, 64, KIB(32)), -EIO);
	assert_int_equal(guest_disk_write(&d, 64, KIB(32)), -EIO);
	assert_int_equal(guest_disk_read(&d, 0, KIB(32)), 0);
	assert_int_equal(guest_disk_write(&d, 64, KIB(32)), 0);
	guest_disk_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(a_copy_is_the_file_and_holes_cost_nothing),
		swap_test(a_copy_is_swapped_and_the_file_never_changed),
		swap_test(one_byte_makes_a_sector),
		swap_test(every_failed_allocation_leaves_nothing),
		swap_test(errors_are_handed_on_and_the_next_attempt_is_whole),
		swap_test(no_access_leaves_the_disk),
		swap_test(what_is_refused_and_why),
		swap_test(swap_and_guests_do_not_share_sectors),
		swap_test(a_partition_is_read_and_written_and_nothing_else),
		swap_test(without_rw_nothing_is_written),
		swap_test(errors_of_a_partition_s_disk),
	};

	parted_make();
	swap_start(MIB(16));
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	fault_blkdev_free(&parted);
	fault_blkdev_free(&read_only);
	return failed;
}
