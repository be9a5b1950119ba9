/* SPDX-License-Identifier: BSD-2-Clause */
/* The board's smallest devices. */
#include "vmm/devices/simple.h"

#include "lib/atomic.h"
#include "lib/pt_walk.h"
#include "mm/mm.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "vmm/devices/irq.h"
#include "vmm/vm.h"

static void exit_write(struct vcpu *v, unused void *dev, unused u64 offset,
		       unused unsigned int bytes, u64 value)
{
	vm_end(v->vm, VM_EXITED, (u32)value, "exit-port");
}

static const struct io_ops exit_io = {.name = "exit port", .write = exit_write};
static const struct io_ops port80_io = {.name = "port 80"};

static u64 latch_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct test_latch *t = dev;

	return atomic_load(&t->value) >> (8 * offset);
}

static void latch_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct test_latch *t = dev;
	u32 mask = (bytes >= 4 ? ~0u : (1u << (8 * bytes)) - 1) << (8 * offset);
	u32 old = atomic_load(&t->value);

	while (!atomic_cas(&t->value, &old, (old & ~mask) | ((u32)(value << (8 * offset)) & mask)))
		;
}

/* The guest asks for one of its pages to be swapped out now, by its gpa; where that cannot be, it stays. */
static void evict_write(struct vcpu *v, unused void *dev, unused u64 offset, unsigned int bytes, u64 value)
{
	gfn_t f = gpa_to_gfn(gpa(value));
	const struct memslot *slot = memslot_find(&v->vm->slots, f);

	if (slot && bytes == 4)
		(void)!mm_evict(v->vm->mm, hva(memslot_hva(slot, f)));
}

static void line_write(struct vcpu *v, unused void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	if (offset != IRQ_CASCADE)
		irq_set(v->vm, offset, value & 1);
}

/* The area is memory of the VM's mm that no slot shows to the guest: it costs nothing until it is touched,
 * and may be swapped. */
static void area_lost(struct vcpu *v, u64 offset)
{
	vm_stop_guest(v, "no-memory", "the test device's memory at offset %#lx cannot be had", offset);
}

static u64 area_read(struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	const struct test_latch *t = dev;
	u64 value = 0;

	if (hva_read(&value, hva(t->area.v + offset), bytes))
		area_lost(v, offset);
	return value;
}

static void area_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	const struct test_latch *t = dev;

	if (hva_write(hva(t->area.v + offset), &value, bytes))
		area_lost(v, offset);
}

static const struct io_ops latch_io = {.name = "test latch", .read = latch_read, .write = latch_write};
static const struct io_ops evict_io = {.name = "test eviction", .write = evict_write};
static const struct io_ops lines_io = {.name = "test lines", .write = line_write};
static const struct io_ops area_io = {.name = "test area", .read = area_read, .write = area_write};

int test_device_attach(struct test_latch *t, struct vm *vm)
{
	int err = mm_region_add(vm->mm, KIB(64), ACC_R | ACC_W, &t->area);
	if (err)
		return err;
	io_add_ports(&vm->io, 0xe0, 4, &latch_io, t);
	io_add_ports(&vm->io, 0xe4, 4, &evict_io, NULL);
	io_add_ports(&vm->io, 0x2000, 16, &lines_io, NULL);
	io_add_mmio(&vm->io, 0xff000000, KIB(64), &area_io, t);
	return 0;
}

/* ---- ways to reset ----------------------------------------------------------------------------- */

static u64 kbd_status_read(unused struct vcpu *v, unused void *dev, unused u64 offset,
			   unused unsigned int bytes)
{
	return 0; /* no byte waits: some guests drain it for ever otherwise */
}

static void kbd_command_write(struct vcpu *v, unused void *dev, unused u64 offset,
			      unused unsigned int bytes, u64 value)
{
	if ((value & 0xff) == 0xfe)
		vm_guest_reset(v, "i8042");
}

static u64 port92_read(unused struct vcpu *v, unused void *dev, unused u64 offset,
		       unused unsigned int bytes)
{
	return 2; /* A20 is on */
}

static void port92_write(struct vcpu *v, unused void *dev, unused u64 offset,
			 unused unsigned int bytes, u64 value)
{
	if (value & 1)
		vm_guest_reset(v, "port-92");
}

static const struct io_ops kbd_io = {.name = "i8042", .read = kbd_status_read, .write = kbd_command_write};
static const struct io_ops port92_io = {.name = "port 92", .read = port92_read, .write = port92_write};

void simple_ports_attach(struct vm *vm)
{
	io_add_ports(&vm->io, 0xf4, 4, &exit_io, NULL);
	io_add_ports(&vm->io, 0x80, 1, &port80_io, NULL);
	io_add_ports(&vm->io, 0x64, 1, &kbd_io, NULL);
	io_add_ports(&vm->io, 0x92, 1, &port92_io, NULL);
}
