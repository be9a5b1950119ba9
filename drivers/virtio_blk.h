/* SPDX-License-Identifier: BSD-2-Clause */
/* Disks that are virtio 1.x block devices. Source: OASIS Virtual I/O Device (VIRTIO) 1.1, "Block
 * Device" and "Split Virtqueues". */
#pragma once

#include "drivers/pci.h"

#define VIRTIO_BLK_MAX 16 /* disks */

/* virtio_blk_found - if @d is a block device of virtio, start it and make it known by blkdev_add as
 * vda, vdb and so on. One that cannot be used is declined with one line.
 * => boot, thread context, interrupts on */
void virtio_blk_found(const struct pci_device *d);
