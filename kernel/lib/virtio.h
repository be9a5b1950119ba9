/* SPDX-License-Identifier: BSD-2-Clause */
/* The numbers and layouts of virtio on which a driver and a device must agree: Neap's driver of the machine's
 * disks has one side of them, the guests' device the other.
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.1: "Virtio Over PCI Bus", "Split Virtqueues", "Block Device". */
#pragma once

#include "lib/types.h"

#define VIRTIO_VENDOR     0x1af4
#define VIRTIO_PCI_DEVICE 0x1040 /* plus the number of the kind */
enum { VIRTIO_KIND_BLOCK = 2 };

#define VIRTIO_F_INDIRECT (1ull << 28)
#define VIRTIO_F_VERSION1 (1ull << 32)

enum {
	STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 0x40,
};

/* Groups of registers, each told by a vendor capability. */
enum { BLOCK_COMMON = 1, BLOCK_NOTIFY = 2, BLOCK_ISR = 3, BLOCK_DEVICE = 4 };

/* The common configuration. */
enum {
	COMMON_DEVICE_SELECT = 0x00, COMMON_DEVICE_FEATURES = 0x04,
	COMMON_DRIVER_SELECT = 0x08, COMMON_DRIVER_FEATURES = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10, COMMON_NR_QUEUES = 0x12, COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15, COMMON_QUEUE_SELECT = 0x16, COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a, COMMON_QUEUE_ENABLE = 0x1c, COMMON_QUEUE_NOTIFY = 0x1e,
	COMMON_QUEUE_DESC = 0x20, COMMON_QUEUE_AVAIL = 0x28, COMMON_QUEUE_USED = 0x30,
	COMMON_BYTES = 0x38,
};

/* Rings. */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { USED_NO_NOTIFY = 1, AVAIL_NO_INTERRUPT = 1 };

struct vring_desc {
	u64 at;
	u32 bytes;
	u16 flags, next;
};

struct vring_used_element {
	u32 head, bytes;
};

/* A block device: features, configuration, requests. */
#define VIRTIO_BLK_F_SIZE_MAX (1ull << 1)
#define VIRTIO_BLK_F_SEG_MAX  (1ull << 2)
#define VIRTIO_BLK_F_RO       (1ull << 5)
#define VIRTIO_BLK_F_BLK_SIZE (1ull << 6)
#define VIRTIO_BLK_F_FLUSH    (1ull << 9)

struct virtio_blk_config {
	u64 capacity; /* sectors of 512 bytes, whatever blk_size says */
	u32 size_max, seg_max;
	u16 cylinders;
	u8 heads, sectors;
	u32 blk_size;
};
static_assert(sizeof(struct virtio_blk_config) == 24, "as drivers find it");

enum { REQUEST_IN = 0, REQUEST_OUT = 1, REQUEST_FLUSH = 4, REQUEST_GET_ID = 8 };
enum { REQUEST_OK = 0, REQUEST_IOERR = 1, REQUEST_UNSUPP = 2 };

struct virtio_blk_header {
	u32 type, reserved;
	u64 sector;
};
