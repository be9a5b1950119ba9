/* SPDX-License-Identifier: BSD-2-Clause */
/* One way to register a device: ranges of ports and of guest-physical addresses, each with one read
 * and one write function. Ranges are registered while the board is built and do not change while the
 * VM runs, so lookups need no lock; a device guards its own state (RANK_DEVICE). */
#pragma once

#include "lib/types.h"

struct vcpu;
struct vm;

struct io_ops {
	const char *name;
	/* read, write - @bytes (1, 2, 4; MMIO also 8) at @offset from the range's start. Accesses never
	 * cross the range's end: what does is cut into bytes. NULL: reads all ones, ignores writes.
	 * => v's thread */
	u64 (*read)(struct vcpu *v, void *dev, u64 offset, unsigned int bytes);
	void (*write)(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value);
	bool bytewise; /* registers of 8 bits: wider accesses come as bytes, the lowest first */
};

struct io_range {
	u64 start, end; /* half-open */
	const struct io_ops *ops;
	void *dev;
};

#define IO_MAX_PORT_RANGES 32
#define IO_MAX_MMIO_RANGES 12

#define IO_NO_RANGE 0xff

struct io_bus {
	u8 first_in_block[256]; /* by port / 256: the first range that reaches there; IO_NO_RANGE */
	u32 nr_ports, nr_mmio;
	struct io_range ports[IO_MAX_PORT_RANGES]; /* sorted, disjoint */
	struct io_range mmio[IO_MAX_MMIO_RANGES];
};

void io_bus_init(struct io_bus *bus);

/* io_add_ports, io_add_mmio - CHECK that there is room and no overlap: the board is ours. */
void io_add_ports(struct io_bus *bus, u16 start, u32 nr, const struct io_ops *ops, void *dev);
void io_add_mmio(struct io_bus *bus, u64 start, u64 bytes, const struct io_ops *ops, void *dev);

/* An access that nobody claims reads all ones, ignores writes, and is counted (`stray`). */
u64 io_port_read(struct vcpu *v, u16 port, unsigned int bytes);
void io_port_write(struct vcpu *v, u16 port, unsigned int bytes, u64 value);
u64 io_mmio_read(struct vcpu *v, gpa_t at, unsigned int bytes);
void io_mmio_write(struct vcpu *v, gpa_t at, unsigned int bytes, u64 value);
