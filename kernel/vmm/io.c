/* SPDX-License-Identifier: BSD-2-Clause */
/* Which device answers a port or a physical address. */
#include "vmm/io.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/vm.h"

static void range_insert(struct io_range *ranges, u32 *nr, u32 max, struct io_range new)
{
	u32 at = *nr;

	CHECK(*nr < max, "no room for device %s", new.ops->name);
	while (at > 0 && ranges[at - 1].start > new.start) {
		ranges[at] = ranges[at - 1];
		at--;
	}
	ranges[at] = new;
	(*nr)++;
	CHECK(at == 0 || ranges[at - 1].end <= new.start, "device %s overlaps %s", new.ops->name,
	      ranges[at - 1].ops->name);
	CHECK(at + 1 == *nr || new.end <= ranges[at + 1].start, "device %s overlaps %s",
	      new.ops->name, ranges[at + 1].ops->name);
}

void io_bus_init(struct io_bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	memset(bus->first_in_block, IO_NO_RANGE, sizeof(bus->first_in_block));
}

void io_add_ports(struct io_bus *bus, u16 start, u32 nr, const struct io_ops *ops, void *dev)
{
	range_insert(bus->ports, &bus->nr_ports, IO_MAX_PORT_RANGES,
		     (struct io_range){start, start + nr, ops, dev});
	for (u32 i = bus->nr_ports; i-- > 0;)
		for (u32 b = bus->ports[i].start >> 8; b <= (bus->ports[i].end - 1) >> 8; b++)
			bus->first_in_block[b & 0xff] = i;
}

void io_add_mmio(struct io_bus *bus, u64 start, u64 bytes, const struct io_ops *ops, void *dev)
{
	range_insert(bus->mmio, &bus->nr_mmio, IO_MAX_MMIO_RANGES,
		     (struct io_range){start, start + bytes, ops, dev});
}

/* The first of the @nr ranges from @r on that ends past @at, and so holds it or lies behind it; NULL if
 * there is none. Boards have few devices: a short walk beats anything clever. */
static const struct io_range *range_from(const struct io_range *r, u32 nr, u64 at)
{
	for (; nr; r++, nr--)
		if (at < r->end)
			return r;
	return NULL;
}

/* Statistics only: two vCPUs at once may lose a count, never more. */
static void count_stray(struct vm *vm, u64 at, bool mmio)
{
	vm->nr_stray++;
	for (u32 i = 0; i < ARRAY_SIZE(vm->stray); i++) {
		if (vm->stray[i].count && (vm->stray[i].addr != at || vm->stray[i].mmio != mmio))
			continue;
		vm->stray[i].addr = at;
		vm->stray[i].mmio = mmio;
		vm->stray[i].count++;
		return;
	}
}

static u64 all_ones(unsigned int bytes)
{
	return bytes >= 8 ? ~0ull : (1ull << (8 * bytes)) - 1;
}

enum { IO_READ, IO_WRITE };

static u64 range_access(struct vcpu *v, const struct io_range *r, u64 at, unsigned int bytes, u64 value,
			int dir)
{
	if (dir == IO_READ)
		return (r->ops->read ? r->ops->read(v, r->dev, at - r->start, bytes) : ~0ull) &
		       all_ones(bytes);
	if (r->ops->write)
		r->ops->write(v, r->dev, at - r->start, bytes, value & all_ones(bytes));
	return 0;
}

/* @r: the first range that ends past @at, or NULL. An access that straddles the edge of a range, or is
 * too wide for its device, is cut into bytes, as a bus would. */
static u64 bus_access(struct vcpu *v, const struct io_range *r, const struct io_range *end, u64 at,
		      unsigned int bytes, u64 value, int dir, bool mmio)
{
	u64 result = 0;

	if (likely(!r || at + bytes <= r->start)) {
		count_stray(v->vm, at, mmio);
		return all_ones(bytes);
	}
	if (likely(at >= r->start && at + bytes <= r->end && (bytes == 1 || !r->ops->bytewise)))
		return range_access(v, r, at, bytes, value, dir);
	for (unsigned int i = 0; i < bytes; i++) {
		const struct io_range *next = range_from(r, end - r, at + i);
		result |= bus_access(v, next, end, at + i, 1, value >> (8 * i), dir, mmio) << (8 * i);
	}
	return result;
}

static u64 port_access(struct vcpu *v, u16 port, unsigned int bytes, u64 value, int dir)
{
	const struct io_bus *bus = &v->vm->io;
	const struct io_range *end = bus->ports + bus->nr_ports;
	/* An access may begin in the block before that of the range it touches. */
	u32 last = bus->first_in_block[((port + bytes - 1) >> 8) & 0xff];
	u32 first = MIN(last, bus->first_in_block[port >> 8]);

	if (likely(first == IO_NO_RANGE)) {
		count_stray(v->vm, port, false);
		return all_ones(bytes);
	}
	return bus_access(v, range_from(bus->ports + first, bus->nr_ports - first, port), end, port, bytes,
			  value, dir, false);
}

static u64 mmio_access(struct vcpu *v, u64 at, unsigned int bytes, u64 value, int dir)
{
	const struct io_bus *bus = &v->vm->io;

	return bus_access(v, range_from(bus->mmio, bus->nr_mmio, at), bus->mmio + bus->nr_mmio, at, bytes,
			  value, dir, true);
}

u64 io_port_read(struct vcpu *v, u16 port, unsigned int bytes)
{
	return port_access(v, port, bytes, 0, IO_READ);
}

void io_port_write(struct vcpu *v, u16 port, unsigned int bytes, u64 value)
{
	port_access(v, port, bytes, value, IO_WRITE);
}

u64 io_mmio_read(struct vcpu *v, gpa_t at, unsigned int bytes)
{
	return mmio_access(v, at.v, bytes, 0, IO_READ);
}

void io_mmio_write(struct vcpu *v, gpa_t at, unsigned int bytes, u64 value)
{
	mmio_access(v, at.v, bytes, value, IO_WRITE);
}
