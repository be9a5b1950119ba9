/* SPDX-License-Identifier: BSD-2-Clause */
/* The PCI transport of virtio 1.x devices ("modern"): registers, negotiation, queues. A legacy
 * interface is not used. Source: OASIS Virtual I/O Device (VIRTIO) 1.1, "Virtio Over PCI Bus". */
#pragma once

#include "drivers/pci.h"
#include "lib/virtio.h"

struct virtio_device {
	struct pci_device pci;
	struct pci_msix msix;
	volatile u8 *common; /* the common configuration */
	volatile u8 *notify;
	u64 notify_bytes;
	u32 notify_multiplier;
	volatile u8 *config; /* the kind of device's own; NULL: it has none */
	u32 config_bytes;
};

/* virtio_open - map the registers of @at and take its MSI-X table. => thread context
 * Return 0; -ENODEV: it has only the legacy interface; -EOPNOTSUPP: it has no MSI-X; -EINVAL: what
 * it says of its registers is wrong, or tables ran out. */
int must_check virtio_open(struct virtio_device *v, const struct pci_device *at);

/* virtio_reset - stop the device: it uses no queue and no memory any more. => any context
 * Return 0; -EIO if it does not answer in bounded time: its way to memory is closed then. */
int must_check virtio_reset(struct virtio_device *v);

/* virtio_negotiate - reset, then agree on those of @wanted that it offers; VERSION1 must be.
 * Return 0 with @got filled; -EIO; -EOPNOTSUPP: it does not agree. */
int must_check virtio_negotiate(struct virtio_device *v, u64 wanted, u64 *got);

/* virtio_config - copy @bytes (4 or 8) of the device's configuration at @offset, all of one moment.
 * Return 0, or -EINVAL if there is no such field. */
int must_check virtio_config(struct virtio_device *v, u32 offset, void *out, u32 bytes);

struct virtio_queue_memory {
	u64 desc, avail_ring, used_ring; /* physical */
	u16 size;              /* a power of 2, at most virtio_queue_max */
};

/* virtio_queue_max - entries that queue @index may have, 0: there is no such queue. */
u16 virtio_queue_max(struct virtio_device *v, u16 index);
/* virtio_queue_start - hand over the queue's memory; its interrupts come through MSI-X entry 0.
 * Return 0 with where to notify in @notify; -EINVAL if that is out of bounds; -EIO if the device
 * does not take the interrupt. */
int must_check virtio_queue_start(struct virtio_device *v, u16 index,
				  const struct virtio_queue_memory *m, volatile u16 **notify);

/* virtio_ready - the driver is set up: requests may come. */
void virtio_ready(struct virtio_device *v);
