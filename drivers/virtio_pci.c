/* SPDX-License-Identifier: BSD-2-Clause */
/* A modern device lists its register blocks as vendor capabilities, each a piece of a BAR. The ISR
 * block is looked for, since every device must have it, but never read: MSI-X says which queue. */
#include "drivers/virtio_pci.h"

#include "lib/atomic.h"
#include "lib/check.h"

#define CAPABILITY_VENDOR 0x09

/* Fields of a vendor capability. */
enum {
	CAP_LENGTH = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_BYTES = 12,
	CAP_NOTIFY_MULTIPLIER = 16,
};

#define NO_VECTOR   0xffff
#define RESET_POLLS 1000000

static u8 read8(volatile u8 *at) { return *at; }
static u16 read16(volatile u8 *at) { return *(volatile u16 *)at; }
static u32 read32(volatile u8 *at) { return *(volatile u32 *)at; }
static void write8(volatile u8 *at, u8 value) { *at = value; }
static void write16(volatile u8 *at, u16 value) { *(volatile u16 *)at = value; }
static void write32(volatile u8 *at, u32 value) { *(volatile u32 *)at = value; }

static void write64(volatile u8 *at, u64 value)
{
	write32(at, value);
	write32(at + 4, value >> 32);
}

/* ---- register blocks ------------------------------------------------------------------------- */

/* block_next - the capability of the first block of @type behind the one at @at; 0: there is none. */
static u8 block_next(const struct pci_device *d, u8 type, u8 at)
{
	do {
		at = pci_capability(d, CAPABILITY_VENDOR, at);
	} while (at && pci_read8(d, at + CAP_TYPE) != type);
	return at;
}

/* block_map - the first block of @type with room for @least bytes that can be mapped. */
static volatile u8 *block_map(const struct pci_device *d, u8 type, u32 least, u8 *cap, u32 *bytes)
{
	volatile u8 *block = NULL;

	for (*cap = 0; !block && (*cap = block_next(d, type, *cap)) != 0;) {
		/* No block that we know is larger: notifications of 256 queues. */
		*bytes = MIN(pci_read32(d, *cap + CAP_BYTES), (u32)MIB(4));
		if (*bytes >= least)
			block = pci_map_bar(d, pci_read8(d, *cap + CAP_BAR),
					    pci_read32(d, *cap + CAP_OFFSET), *bytes);
	}
	return block;
}

int virtio_open(struct virtio_device *v, const struct pci_device *at)
{
	u32 bytes;
	u8 cap;
	int err;

	*v = (struct virtio_device){.pci = *at};
	if (!block_next(at, BLOCK_COMMON, 0))
		return trace(-ENODEV);
	v->common = block_map(at, BLOCK_COMMON, COMMON_BYTES, &cap, &bytes);
	v->config = block_map(at, BLOCK_DEVICE, 1, &cap, &v->config_bytes);
	v->notify = block_map(at, BLOCK_NOTIFY, 2, &cap, &bytes);
	if (!v->common || !v->notify || !block_next(at, BLOCK_ISR, 0))
		return trace(-EINVAL);
	v->notify_bytes = bytes;
	v->notify_multiplier = pci_read32(at, cap + CAP_NOTIFY_MULTIPLIER);
	pci_start(at);
	err = pci_msix_open(at, &v->msix);
	return err == -ENODEV ? trace(-EOPNOTSUPP) : err;
}

/* ---- states ---------------------------------------------------------------------------------- */

static void status_add(struct virtio_device *v, u8 bits)
{
	write8(v->common + COMMON_STATUS, read8(v->common + COMMON_STATUS) | bits);
}

int virtio_reset(struct virtio_device *v)
{
	write8(v->common + COMMON_STATUS, 0);
	for (u32 i = 0; i < RESET_POLLS; i++) {
		if (read8(v->common + COMMON_STATUS) == 0)
			return 0;
		cpu_relax();
	}
	pci_stop_dma(&v->pci);
	return trace(-EIO);
}

static u64 features_offered(struct virtio_device *v)
{
	u64 low, high;

	write32(v->common + COMMON_DEVICE_SELECT, 0);
	low = read32(v->common + COMMON_DEVICE_FEATURES);
	write32(v->common + COMMON_DEVICE_SELECT, 1);
	high = read32(v->common + COMMON_DEVICE_FEATURES);
	return high << 32 | low;
}

int virtio_negotiate(struct virtio_device *v, u64 wanted, u64 *got)
{
	int err = virtio_reset(v);

	if (err)
		return err;
	status_add(v, STATUS_ACKNOWLEDGE);
	status_add(v, STATUS_DRIVER);
	*got = features_offered(v) & (wanted | VIRTIO_F_VERSION1);
	if (!(*got & VIRTIO_F_VERSION1))
		return trace(-EOPNOTSUPP);
	write32(v->common + COMMON_DRIVER_SELECT, 0);
	write32(v->common + COMMON_DRIVER_FEATURES, *got);
	write32(v->common + COMMON_DRIVER_SELECT, 1);
	write32(v->common + COMMON_DRIVER_FEATURES, *got >> 32);
	status_add(v, STATUS_FEATURES_OK);
	if (!(read8(v->common + COMMON_STATUS) & STATUS_FEATURES_OK))
		return trace(-EOPNOTSUPP);
	write16(v->common + COMMON_CONFIG_VECTOR, NO_VECTOR);
	return 0;
}

void virtio_ready(struct virtio_device *v)
{
	status_add(v, STATUS_DRIVER_OK);
}

/* A field of 8 bytes is read as two halves; the generation tells whether it changed between. */
int virtio_config(struct virtio_device *v, u32 offset, void *out, u32 bytes)
{
	if (!v->config || offset > v->config_bytes || bytes > v->config_bytes - offset)
		return trace(-EINVAL);
	for (u32 tries = 0; tries < 16; tries++) {
		u8 generation = read8(v->common + COMMON_GENERATION);

		for (u32 i = 0; i < bytes; i += 4)
			((u32 *)out)[i / 4] = read32(v->config + offset + i);
		if (read8(v->common + COMMON_GENERATION) == generation)
			return 0;
	}
	return trace(-EINVAL);
}

/* ---- queues ---------------------------------------------------------------------------------- */

u16 virtio_queue_max(struct virtio_device *v, u16 index)
{
	write16(v->common + COMMON_QUEUE_SELECT, index);
	return read16(v->common + COMMON_QUEUE_SIZE);
}

int virtio_queue_start(struct virtio_device *v, u16 index, const struct virtio_queue_memory *m,
		       volatile u16 **notify)
{
	u64 at;

	write16(v->common + COMMON_QUEUE_SELECT, index);
	at = (u64)read16(v->common + COMMON_QUEUE_NOTIFY) * v->notify_multiplier;
	if (at % 2 || at + 2 > v->notify_bytes)
		return trace(-EINVAL);
	write16(v->common + COMMON_QUEUE_SIZE, m->size);
	write16(v->common + COMMON_QUEUE_VECTOR, 0);
	if (read16(v->common + COMMON_QUEUE_VECTOR) != 0)
		return trace(-EIO);
	write64(v->common + COMMON_QUEUE_DESC, m->desc);
	write64(v->common + COMMON_QUEUE_AVAIL, m->avail_ring);
	write64(v->common + COMMON_QUEUE_USED, m->used_ring);
	write16(v->common + COMMON_QUEUE_ENABLE, 1);
	*notify = (volatile u16 *)(v->notify + at);
	return 0;
}
