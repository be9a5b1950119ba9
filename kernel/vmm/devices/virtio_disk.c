/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of a virtio block device.
 *
 *	what the device reads     | header, 16 bytes | data that are written to the disk ... |
 *	what the device writes    | data that are read from the disk ...       | status byte |
 *
 * Each row is a run of bytes; where it is cut into buffers is the guest's business and means nothing,
 * so all access is by a stream that walks them. Data go through the disk's buffer, piece by piece.
 *
 * A request keeps nothing between two attempts: one that ended with -ENOMEM or -EINTR in its middle is
 * carried out from its beginning once more, and reads or writes the same sectors.
 *
 * Invariants
 *  I1. The header is read once. Its sector and the length of the data are checked against the capacity
 *      before the first piece, so no request is longer than the disk.
 *  I2. A status is written last, and to the last byte that the chain lets us write. Without room for
 *      header and status, or with that byte outside of memory, it is -EINVAL: nobody could be told.
 *
 * Locking: dev.lock is held. Source: VIRTIO 1.1, "Block Device". */
#include "vmm/devices/virtio_disk.h"

#include "lib/atomic.h"
#include "lib/blkdev.h"
#include "lib/check.h"
#include "lib/string.h"
#include "vmm/guest_mem.h"
#include "vmm/vm.h"

#define SERIAL_BYTES 20

/* One row of the figure above. */
struct stream {
	const struct virtio_buffer *next;
	u32 done; /* bytes of *next */
	u64 left; /* of the row */
};

struct request {
	struct virtio_disk *disk;
	struct vcpu *v;
	struct virtio_blk_header header;
	struct stream in, out; /* as the device sees it: what it reads, what it writes */
	u64 written;
};

/* ---- streams --------------------------------------------------------------------------------- */

static struct stream stream_of(const struct virtio_buffer *buffer, u32 nr)
{
	struct stream s = {.next = buffer};

	for (u32 i = 0; i < nr; i++)
		s.left += buffer[i].bytes;
	return s;
}

/* stream_piece - go on by up to @bytes, which are in one buffer, at *@at. => s->left is not 0
 * Return how many. */
static u64 stream_piece(struct stream *s, u64 bytes, gpa_t *at)
{
	while (s->done == s->next->bytes) {
		s->next++;
		s->done = 0;
	}
	bytes = MIN(bytes, (u64)(s->next->bytes - s->done));
	*at = gpa(s->next->at + s->done);
	s->done += (u32)bytes;
	s->left -= bytes;
	return bytes;
}

static int take(struct request *r, void *to, u32 bytes)
{
	int err = 0;
	gpa_t at;

	for (u64 n; bytes && !err; bytes -= n, to = (u8 *)to + n) {
		n = stream_piece(&r->in, bytes, &at);
		err = guest_read(r->v, to, at, n);
	}
	return err;
}

static int give(struct request *r, const void *from, u32 bytes)
{
	int err = 0;
	gpa_t at;

	for (u64 n; bytes && !err; bytes -= n, from = (const u8 *)from + n) {
		n = stream_piece(&r->out, bytes, &at);
		err = guest_write(r->v, at, from, n);
		r->written += err ? 0 : n;
	}
	return err;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int move_piece(struct request *r, u64 sector, u32 bytes)
{
	struct guest_disk *disk = &r->disk->disk;
	int err;

	if (vcpu_must_leave(r->v)) /* a request may be as long as the disk */
		return -EINTR;
	if (r->header.type == REQUEST_IN) {
		err = guest_disk_read(disk, sector, bytes);
		return err ? err : give(r, disk->buffer, bytes);
	}
	err = take(r, disk->buffer, bytes);
	return err ? err : guest_disk_write(disk, sector, bytes);
}

/* move_data - @bytes between the disk and the guest. */
static int move_data(struct request *r, u64 bytes)
{
	const struct guest_disk *disk = &r->disk->disk;
	u64 sector = r->header.sector;
	int err = 0;

	if (bytes % SECTOR_SIZE || sector > disk->nr_sectors ||
	    bytes / SECTOR_SIZE > disk->nr_sectors - sector)
		return -EIO;
	for (u32 n; bytes && !err; bytes -= n, sector += n / SECTOR_SIZE) {
		n = (u32)MIN(bytes, GUEST_DISK_BUFFER);
		err = move_piece(r, sector, n);
	}
	return err;
}

static int carry_out(struct request *r)
{
	struct virtio_disk *b = r->disk;
	char serial[SERIAL_BYTES] = {0};
	int err;

	switch (r->header.type) {
	case REQUEST_IN:
		return move_data(r, r->out.left - 1);
	case REQUEST_OUT:
		if (b->disk.read_only)
			return -EIO;
		err = move_data(r, r->in.left);
		/* A driver that knows of no flush takes what was written for safe. */
		return err || (b->dev.accepted & VIRTIO_BLK_F_FLUSH) ? err : guest_disk_flush(&b->disk);
	case REQUEST_FLUSH:
		return guest_disk_flush(&b->disk);
	case REQUEST_GET_ID:
		memcpy(serial, r->v->vm->config.name,
		       strnlen(r->v->vm->config.name, sizeof(serial)));
		return give(r, serial, (u32)MIN(r->out.left - 1, sizeof(serial)));
	default:
		return -EOPNOTSUPP;
	}
}

static int give_status(struct request *r, u8 status)
{
	gpa_t at;

	while (r->out.left > 1)
		(void)stream_piece(&r->out, r->out.left - 1, &at);
	int err = give(r, &status, sizeof(status));
	if (err == -ENOMEM || err == -EINTR)
		return err;
	/* A driver may rely on no more than it is told: to tell less is no lie. */
	return err ? trace(-EINVAL) : (int)MIN(r->written, 0x7ffffffful);
}

static int serve(struct virtio_dev *d, struct vcpu *v, unused u32 queue,
		 const struct virtio_chain *c)
{
	struct request r = {
		.disk = container_of(d, struct virtio_disk, dev), .v = v,
		.in = stream_of(c->buffer, c->nr_readable),
		.out = stream_of(c->buffer + c->nr_readable, c->nr - c->nr_readable),
	};

	if (r.in.left < sizeof(r.header) || r.out.left == 0)
		return trace(-EINVAL);
	int err = take(&r, &r.header, sizeof(r.header));
	if (!err)
		err = carry_out(&r);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	return give_status(&r, err == -EOPNOTSUPP ? REQUEST_UNSUPP : err ? REQUEST_IOERR : REQUEST_OK);
}

static const struct virtio_kind virtio_disk_kind = {
	.name = "virtio disk", .id = 2, .class_code = 0x010000, .nr_queues = 1,
	.config_bytes = sizeof(struct virtio_blk_config), .serve = serve,
};

void virtio_disk_attach(struct virtio_disk *b, struct pci_bus *bus, const struct guest_disk *disk)
{
	b->disk = *disk;
	b->config = (struct virtio_blk_config){
		.capacity = disk->nr_sectors, .seg_max = VIRTIO_CHAIN_BUFFERS - 2,
		.blk_size = SECTOR_SIZE,
	};
	u64 features = VIRTIO_F_VERSION1 | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | (disk->read_only ? VIRTIO_BLK_F_RO : 0);
	virtio_dev_attach(&b->dev, bus, &virtio_disk_kind, features, &b->config);
}
