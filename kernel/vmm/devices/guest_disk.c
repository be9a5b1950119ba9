/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's disk: between the buffer and a region by hva, or a partition by requests. */
#include "vmm/devices/guest_disk.h"

#include "block/disk.h"
#include "lib/check.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/uaccess.h"
#include "sched/thread.h"
#include "vmm/config.h"

/* ---- regions --------------------------------------------------------------------------------- */

static int region_io(u64 at, void *buffer, u32 bytes, bool write)
{
	while (write ? hva_write(hva(at), buffer, bytes) : hva_read(buffer, hva(at), bytes)) {
		/* No frame, swap that cannot be read, or the VM ends; else again. */
		int err = hva_fault_in(hva(at), bytes, write ? ACC_W : ACC_R);
		if (err)
			return err;
	}
	return 0;
}

static bool is_zero(const u8 *at, u64 bytes)
{
	return at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0;
}

static int copy_in(u64 region, const u8 *file, u64 bytes)
{
	int err = 0;

	for (u64 done = 0, n; done < bytes && !err; done += n) {
		n = MIN(bytes - done, PAGE_SIZE);
		if (!is_zero(file + done, n))
			err = region_io(region + done, (void *)(u64)(file + done), (u32)n, true);
	}
	return err;
}

/* ---- coming and going ------------------------------------------------------------------------ */

static int buffer_alloc(struct guest_disk *d)
{
	d->frames = frame_alloc_order(FRAME_DMA, frame_order(GUEST_DISK_BUFFER), 0);
	if (!d->frames)
		return trace(-ENOMEM);
	d->buffer = page_to_virt(d->frames);
	return 0;
}

int guest_disk_open_copy(struct guest_disk *d, struct mm *mm, const void *file, u64 bytes)
{
	hva_t start;
	int err = mm_region_add(mm, bytes, ACC_R | ACC_W, &start);

	*d = (struct guest_disk){.nr_sectors = (bytes + SECTOR_SIZE - 1) / SECTOR_SIZE};
	if (!err)
		err = buffer_alloc(d);
	if (err)
		return err;
	d->region = start.v;
	thread_use_space(mm, &mm->space);
	err = copy_in(d->region, file, bytes);
	thread_use_space(NULL, NULL);
	if (err)
		guest_disk_close(d);
	return err;
}

static int refuse(char *why, size_t why_size, int err)
{
	const char *text = err == -ENOENT ? "no disk has such a partition: give its own GUID (PARTUUID)"
			   : err == -EEXIST ? "two partitions have this GUID: give one of them another"
			   : err == -EBUSY ? "another VM, or swap, has it: give another partition"
			   : err == -EPERM ? "its disk is read-only: leave out :rw"
			   : err == -EINVAL ? "it is Neap's own, for swap: give another partition"
					    : "no memory for its buffer: give more RAM";

	text_format(why, why_size, "part=: %s", text);
	return err;
}

int guest_disk_open_part(struct guest_disk *d, const struct vm_part *part, char *why,
			 size_t why_size)
{
	struct blkdev *dev;
	int err = disk_find_partition(part->guid, &dev);

	if (!err)
		err = disk_open_guest(dev, part->rw);
	if (err)
		return refuse(why, why_size, err);
	*d = (struct guest_disk){.nr_sectors = dev->nr_sectors, .read_only = !part->rw, .dev = dev};
	err = buffer_alloc(d);
	if (err) {
		disk_close_guest(dev);
		return refuse(why, why_size, err);
	}
	return 0;
}

void guest_disk_close(struct guest_disk *d)
{
	if (d->dev)
		disk_close_guest(d->dev);
	frame_free(d->frames, frame_order(GUEST_DISK_BUFFER));
}

/* ---- requests -------------------------------------------------------------------------------- */

static void check_range(const struct guest_disk *d, u64 sector, u32 bytes)
{
	CHECK(bytes <= GUEST_DISK_BUFFER && bytes % SECTOR_SIZE == 0 && sector <= d->nr_sectors &&
	      bytes / SECTOR_SIZE <= d->nr_sectors - sector, "%u bytes at sector %lu of %lu", bytes,
	      sector, d->nr_sectors);
}

int guest_disk_read(struct guest_disk *d, u64 sector, u32 bytes)
{
	check_range(d, sector, bytes);
	if (d->dev)
		return disk_read(d->dev, sector, page_to_phys(d->frames), bytes);
	return region_io(d->region + sector * SECTOR_SIZE, d->buffer, bytes, false);
}

int guest_disk_write(struct guest_disk *d, u64 sector, u32 bytes)
{
	check_range(d, sector, bytes);
	if (d->read_only)
		return trace(-EIO);
	if (d->dev)
		return disk_write(d->dev, sector, page_to_phys(d->frames), bytes);
	return region_io(d->region + sector * SECTOR_SIZE, d->buffer, bytes, true);
}

int guest_disk_flush(struct guest_disk *d)
{
	struct blk_request rq = {.op = BLK_FLUSH};

	return d->dev && !d->read_only ? disk_io(d->dev, &rq) : 0;
}
