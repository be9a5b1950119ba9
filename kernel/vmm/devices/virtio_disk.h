/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's disk: a virtio block device over what guest_disk.h opens. */
#pragma once

#include "vmm/devices/guest_disk.h"
#include "vmm/devices/virtio_dev.h"

struct virtio_disk {
	struct virtio_dev dev;
	struct virtio_blk_config config; /* [o] */
	struct guest_disk disk;           /* dev.lock: its buffer is the request's that is served */
};

/* virtio_disk_attach - reset *@b and put it on @bus, over the open @disk, which it has from now on.
 * => as virtio_dev_attach; who has *@b closes the disk when no vCPU runs any more */
void virtio_disk_attach(struct virtio_disk *b, struct pci_bus *bus, const struct guest_disk *disk);
