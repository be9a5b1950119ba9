/* SPDX-License-Identifier: BSD-2-Clause */
/* What all virtio 1.x devices of a guest have in common: the registers on PCI, the queues, interrupts.
 * A kind of device (virtio_disk.c) says what it offers and serves one request at a time; it sees buffers,
 * never rings.
 *
 * A request is served by the thread of the vCPU that notified, which may sleep for a page or a disk
 * meanwhile. What the guest says of its rings is read once and checked before it is used; a ring that
 * makes no sense sets DEVICE_NEEDS_RESET, and nothing is served until the guest resets the device.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.1: "Basic Facilities", "Virtio Over PCI Bus". */
#pragma once

#include "lib/virtio.h"
#include "sched/mutex.h"
#include "vmm/devices/pci_bus.h"

#define VIRTIO_QUEUE_ENTRIES 128 /* at most, and as offered */
#define VIRTIO_CHAIN_BUFFERS 66  /* of one request: 64 segments of data, a head and a tail */
#define VIRTIO_MAX_QUEUES    2

struct vcpu;
struct virtio_dev;

struct virtio_buffer {
	u64 at; /* guest-physical, as the guest said: not checked; guest_read and guest_write do */
	u32 bytes;
};

/* A request: first the buffers that the device reads, then those that it writes. Our copy. */
struct virtio_chain {
	u32 nr, nr_readable;
	struct virtio_buffer buffer[VIRTIO_CHAIN_BUFFERS];
};

struct virtio_kind {
	const char *name;
	u16 id;            /* virtio's number of the kind: 2 is a block device */
	u32 class_code;    /* PCI class, subclass, interface: 0x010000 */
	u32 nr_queues;
	u32 config_bytes;
	/* serve - carry out @c of queue @queue.
	 * => v's thread, d->lock held; may sleep
	 * Return how many bytes were written into its buffers, which ends the request; -EINVAL: the request
	 * makes no sense (DEVICE_NEEDS_RESET); -ENOMEM or -EINTR, as of guest_read: it is served once
	 * more, from its beginning, when the vCPU comes by again. That can also happen to a request that
	 * was carried out: when there was no frame for its used element. */
	int must_check (*serve)(struct virtio_dev *d, struct vcpu *v, u32 queue,
				const struct virtio_chain *c);
};

struct virtio_queue {
	u16 size, vector;            /* as the guest set them; vector: MSI-X, 0xffff none */
	bool enabled;
	bool kicked;                 /* notified, and not yet found empty */
	u16 next_avail, next_used;   /* free-running */
	u64 desc, avail, used;       /* guest-physical */
};

struct virtio_dev {
	struct pci_function pci;     /* first: the bus hands it back */
	struct mutex lock;           /* guards what follows but for [o] and [a]; may be held while a request
				      * sleeps */
	const struct virtio_kind *kind; /* [o] */
	const void *config;          /* [o] kind->config_bytes of the device's own configuration */
	u64 offered;                 /* [o] features, VIRTIO_F_VERSION1 among them */
	u64 accepted;
	u32 feature_select, driver_feature_select;
	u8 status;
	u8 isr;                      /* [a] */
	u16 queue_select, config_vector;
	struct virtio_queue queue[VIRTIO_MAX_QUEUES];
	struct virtio_chain chain;   /* of the request that is being served */
};

/* virtio_dev_attach - reset *@d and put it on @bus. => once, while the board is built */
void virtio_dev_attach(struct virtio_dev *d, struct pci_bus *bus, const struct virtio_kind *kind,
		       u64 features, const void *config);
/* virtio_dev_serve - go on with requests that were left. => v's thread, no lock held; may sleep */
void virtio_dev_serve(struct virtio_dev *d, struct vcpu *v);
