/* SPDX-License-Identifier: BSD-2-Clause */
/* Which device answers a port or a physical address. */
#include "vmm/io.h"

#include "lib/check.h"
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

void io_add_ports(struct io_bus *bus, u16 start, u32 nr, const struct io_ops *ops, void *dev)
{
	range_insert(bus->ports, &bus->nr_ports, IO_MAX_PORT_RANGES,
		     (struct io_range){start, start + nr, ops, dev});
}

void io_add_mmio(struct io_bus *bus, u64 start, u64 bytes, const struct io_ops *ops, void *dev)
{
	range_insert(bus->mmio, &bus->nr_mmio, IO_MAX_MMIO_RANGES,
		     (struct io_range){start, start + bytes, ops, dev});
}

static const struct io_range *range_find(const struct io_range *ranges, u32 nr, u64 at)
{
	u32 low = 0;

	while (nr > low) {
		u32 mid = (low + nr) / 2;
		if (at >= ranges[mid].end)
			low = mid + 1;
		else if (at < ranges[mid].start)
			nr = mid;
		else
			return &ranges[mid];
	}
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

/* An access that no single range covers is cut into bytes, as a bus would. */
static u64 access_read(struct vcpu *v, const struct io_range *ranges, u32 nr, u64 at,
		       unsigned int bytes, bool mmio)
{
	const struct io_range *r = range_find(ranges, nr, at);
	u64 value = 0;

	if (r && at + bytes <= r->end)
		return r->ops->read(v, r->dev, at - r->start, bytes) & all_ones(bytes);
	if (!r && (bytes == 1 || !range_find(ranges, nr, at + bytes - 1))) {
		count_stray(v->vm, at, mmio);
		return all_ones(bytes);
	}
	for (unsigned int i = 0; i < bytes; i++)
		value |= access_read(v, ranges, nr, at + i, 1, mmio) << (8 * i);
	return value;
}

static void access_write(struct vcpu *v, const struct io_range *ranges, u32 nr, u64 at,
			 unsigned int bytes, u64 value, bool mmio)
{
	const struct io_range *r = range_find(ranges, nr, at);

	if (r && at + bytes <= r->end) {
		r->ops->write(v, r->dev, at - r->start, bytes, value & all_ones(bytes));
		return;
	}
	if (!r && (bytes == 1 || !range_find(ranges, nr, at + bytes - 1))) {
		count_stray(v->vm, at, mmio);
		return;
	}
	for (unsigned int i = 0; i < bytes; i++)
		access_write(v, ranges, nr, at + i, 1, value >> (8 * i), mmio);
}

u64 io_port_read(struct vcpu *v, u16 port, unsigned int bytes)
{
	return access_read(v, v->vm->io.ports, v->vm->io.nr_ports, port, bytes, false);
}

void io_port_write(struct vcpu *v, u16 port, unsigned int bytes, u64 value)
{
	access_write(v, v->vm->io.ports, v->vm->io.nr_ports, port, bytes, value, false);
}

u64 io_mmio_read(struct vcpu *v, gpa_t at, unsigned int bytes)
{
	return access_read(v, v->vm->io.mmio, v->vm->io.nr_mmio, at.v, bytes, true);
}

void io_mmio_write(struct vcpu *v, gpa_t at, unsigned int bytes, u64 value)
{
	access_write(v, v->vm->io.mmio, v->vm->io.nr_mmio, at.v, bytes, value, true);
}
