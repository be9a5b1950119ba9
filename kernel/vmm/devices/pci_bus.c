/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI bus 0. Configuration space is kept as it is read; a write changes the bits that `writable` tells.
 *
 *	CF8   the address, as a dword       CF9  as a byte: the reset register of PC chip sets
 *	CFC+n the dword addressed, in any width that stays within it
 *
 * Interrupts
 *	MSI-X on     pci_interrupt makes a vector pending, and what is pending goes out, once, as soon as
 *	             neither the vector nor the function is masked
 *	off          INTA, if the command register lets it out, ORed with that of the functions that share
 *	             its line; the line is brought up to date after every change of either
 *
 * A guest may write any message: one that is not addressed to local APICs would be a write to memory, and
 * goes nowhere. Bus mastering is a bit that reads back: devices here do not ask for it.
 *
 * Locking: one lock for the bus, with interrupts off. Lines and messages go out under it, in order: local
 * APICs and interrupt controllers rank above and do not call back. A device's registers are accessed
 * without it, as their owner may sleep.
 *
 * Not here: I/O ranges, expansion ROMs, other buses, power management, parity and abort bits (always 0).
 *
 * Source: PCI Local Bus Specification 3.0, "Configuration Space", "MSI-X Capability and Table Structures";
 * for messages Intel SDM vol. 3A, "Message Signalled Interrupts"; for CF9 Intel 82371AB, "Reset Control". */
#include "vmm/devices/pci_bus.h"

#include "lib/string.h"
#include "vmm/devices/lapic.h"
#include "vmm/vm.h"

enum { PORT_ADDRESS = 0xcf8, OFFSET_RESET = 1, OFFSET_DATA = 4, NR_PORTS = 8 };
#define RESET_NOW 0x04u

/* Port CF8. */
#define ADDRESS_ENABLE   (1u << 31)
#define ADDRESS_WRITABLE 0x80fffffcu
#define ADDRESS_FIXED    0x80ff0700u /* what is the same for all that is here: enable, bus, function */

/* Registers, as indices of dwords. */
enum { REG_ID, REG_COMMAND, REG_CLASS, REG_BAR = 4, REG_SUBSYSTEM = 11, REG_CAPABILITIES = 13,
       REG_INTERRUPT = 15, REG_FIRST_CAPABILITY = 16 };
#define COMMAND_MEMORY   (1u << 1)
#define COMMAND_MASTER   (1u << 2)
#define COMMAND_NO_INTX  (1u << 10)
#define STATUS_INTA      (1u << 19) /* status is the upper half */
#define STATUS_HAS_CAPS  (1u << 20)
#define REVISION         1u
#define PIN_INTA         (1u << 8)

/* The MSI-X capability: control, then where the table and the pending bits are. */
enum { MSIX_CONTROL, MSIX_TABLE, MSIX_PENDING, MSIX_DWORDS };
#define CAPABILITY_MSIX 0x11u
#define MSIX_ENABLE     (1u << 31)
#define MSIX_MASK_ALL   (1u << 30)
#define PENDING_AT      0x800u
enum { WORD_ADDRESS, WORD_ADDRESS_HIGH, WORD_DATA, WORD_CONTROL, NR_WORDS };
#define VECTOR_MASKED   1u

/* A message. */
#define MESSAGE_LOGICAL  (1u << 2)
#define MESSAGE_DATA     0x87ffu /* trigger, delivery mode, vector */
#define ICR_LOGICAL      (1u << 11)

#define BAR_SPACING MIB(1)

/* ---- interrupts ------------------------------------------------------------------------------------ */

static u32 msix_reg(const struct pci_function *f)
{
	return REG_FIRST_CAPABILITY + f->capability_bytes / 4;
}

static u32 msix_control(const struct pci_function *f)
{
	return f->nr_vectors ? f->config[msix_reg(f)] : 0;
}

static bool asserts_line(const struct pci_function *f)
{
	return (f->config[REG_COMMAND] & (STATUS_INTA | COMMAND_NO_INTX)) == STATUS_INTA &&
	       !(msix_control(f) & MSIX_ENABLE);
}

static void message_send(struct vm *vm, const struct pci_msix_vector *m)
{
	u32 address = m->word[WORD_ADDRESS], mode = address & MESSAGE_LOGICAL ? ICR_LOGICAL : 0;

	if (address >> 20 == LAPIC_BASE >> 20 && !m->word[WORD_ADDRESS_HIGH])
		lapic_message(vm, (u8)(address >> 12), (m->word[WORD_DATA] & MESSAGE_DATA) | mode);
}

/* The line of @f's slot is what the functions that share it make of it. => lock */
static void update_line(const struct pci_function *f)
{
	struct pci_bus *b = f->bus;
	bool level = false;

	assert_held(&b->lock);
	for (u32 i = 0; i < PCI_SLOTS; i++)
		level |= b->slot[i] && pci_slot_irq(i) == pci_slot_irq(f->slot) &&
			 asserts_line(b->slot[i]);
	irq_set(b->vm, pci_slot_irq(f->slot), level);
}

/* Let out the messages that can go. => lock */
static void send_pending(struct pci_function *f)
{
	assert_held(&f->bus->lock);
	if ((msix_control(f) & (MSIX_ENABLE | MSIX_MASK_ALL)) != MSIX_ENABLE)
		return;
	for (struct pci_msix_vector *m = f->vector; m < f->vector + f->nr_vectors; m++) {
		if (!m->pending || (m->word[WORD_CONTROL] & VECTOR_MASKED))
			continue;
		m->pending = false;
		message_send(f->bus->vm, m);
	}
}

bool pci_interrupt(struct pci_function *f, u16 vector)
{
	u64 flags = spin_lock_irqsave(&f->bus->lock);
	bool on = msix_control(f) & MSIX_ENABLE;

	if (on && vector < f->nr_vectors) {
		f->vector[vector].pending = true;
		send_pending(f);
	}
	spin_unlock_irqrestore(&f->bus->lock, flags);
	return on;
}

void pci_set_line(struct pci_function *f, bool level)
{
	u64 flags = spin_lock_irqsave(&f->bus->lock);
	u32 *command = &f->config[REG_COMMAND];

	*command = level ? *command | STATUS_INTA : *command & ~STATUS_INTA;
	update_line(f);
	spin_unlock_irqrestore(&f->bus->lock, flags);
}

/* ---- configuration space ------------------------------------------------------------------------------ */

static struct pci_function *addressed(struct pci_bus *b)
{
	u32 slot = b->address >> 11 & 31;

	return (b->address & ADDRESS_FIXED) == ADDRESS_ENABLE && slot < PCI_SLOTS ? b->slot[slot] : NULL;
}

static u32 writable(const struct pci_function *f, u32 reg)
{
	if (f->nr_vectors && reg == msix_reg(f))
		return MSIX_ENABLE | MSIX_MASK_ALL;
	switch (reg) {
	case REG_COMMAND: return COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX;
	case REG_BAR: return -f->bar_bytes; /* by its zeroes a guest learns the size */
	case REG_INTERRUPT: return 0xff; /* the line: a note from firmware to drivers */
	default: return 0;
	}
}

static u64 ports_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct pci_bus *b = dev;
	u64 value = ~0ull;

	if (offset == OFFSET_RESET && bytes == 1)
		return 0;
	u64 flags = spin_lock_irqsave(&b->lock);
	struct pci_function *f = addressed(b);
	if (offset == 0 && bytes == 4)
		value = b->address;
	else if (offset >= OFFSET_DATA && f)
		value = f->config[b->address % 256 / 4] >> 8 * (offset % 4);
	spin_unlock_irqrestore(&b->lock, flags);
	return value;
}

static void ports_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct pci_bus *b = dev;

	if (offset == OFFSET_RESET && bytes == 1 && (value & RESET_NOW))
		vm_guest_reset(v, "port-cf9");
	u64 flags = spin_lock_irqsave(&b->lock);
	struct pci_function *f = addressed(b);
	if (offset == 0 && bytes == 4) {
		b->address = value & ADDRESS_WRITABLE;
	} else if (offset >= OFFSET_DATA && f) {
		u32 reg = b->address % 256 / 4, shift = 8 * (offset % 4);
		u32 mask = (u32)((1ull << 8 * bytes) - 1) << shift & writable(f, reg);
		f->config[reg] = (f->config[reg] & ~mask) | ((u32)value << shift & mask);
		update_line(f);
		send_pending(f);
	}
	spin_unlock_irqrestore(&b->lock, flags);
}

/* ---- the MSI-X table -------------------------------------------------------------------------------- */

static u32 table_read(const struct pci_function *f, u32 offset)
{
	u32 pending = 0;

	for (u32 i = 0; i < f->nr_vectors; i++)
		pending |= f->vector[i].pending << i;
	if (offset / 16 < f->nr_vectors)
		return f->vector[offset / 16].word[offset / 4 % NR_WORDS];
	return offset == PENDING_AT ? pending : 0;
}

static void table_write(struct pci_function *f, u32 offset, u32 value)
{
	static const u32 may_set[NR_WORDS] = {~3u, ~0u, ~0u, VECTOR_MASKED};
	u32 word = offset / 4 % NR_WORDS;

	if (offset / 16 < f->nr_vectors)
		f->vector[offset / 16].word[word] = value & may_set[word];
	send_pending(f);
}

/* ---- the window ---------------------------------------------------------------------------------------- */

/* Who answers at *@at, which becomes the offset in its BAR; or NULL. => lock */
static struct pci_function *decode(struct pci_bus *b, u64 *at)
{
	for (u32 i = 0; i < PCI_SLOTS; i++) {
		struct pci_function *f = b->slot[i];
		if (!f || !(f->config[REG_COMMAND] & COMMAND_MEMORY))
			continue;
		u64 offset = *at - f->config[REG_BAR];
		if (offset >= f->bar_bytes)
			continue;
		*at = offset;
		return f;
	}
	return NULL;
}

/* Returns what was read, if not @write. The table takes aligned dwords and qwords only, so nothing
 * reaches over a BAR's end. */
static u64 window_access(struct vcpu *v, struct pci_bus *b, u64 offset, unsigned int bytes, u64 value,
			 bool write)
{
	u64 at = PCI_WINDOW_START + offset, result = 0;
	u64 flags = spin_lock_irqsave(&b->lock);
	struct pci_function *f = decode(b, &at);
	bool table = f && at >= f->bar_bytes - PAGE_SIZE;
	bool whole = table && bytes >= 4 && at % bytes == 0;

	for (u32 i = 0; whole && i < bytes; i += 4) {
		if (write)
			table_write(f, at % PAGE_SIZE + i, value >> 8 * i);
		else
			result |= (u64)table_read(f, at % PAGE_SIZE + i) << 8 * i;
	}
	spin_unlock_irqrestore(&b->lock, flags);
	if (!f || table)
		return whole ? result : ~0ull;
	if (!write)
		return f->ops->read(v, f, at, bytes);
	f->ops->write(v, f, at, bytes, value);
	return 0;
}

static u64 window_read(struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	return window_access(v, dev, offset, bytes, 0, false);
}

static void window_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	window_access(v, dev, offset, bytes, value, true);
}

/* ---- to the board ---------------------------------------------------------------------------------------- */

static const struct io_ops ports_io = {.name = "PCI ports", .read = ports_read, .write = ports_write};
static const struct io_ops window_io = {.name = "PCI window", .read = window_read, .write = window_write};

/* What configuration space holds after power-on, and what firmware does then. */
static void power_on(struct pci_function *f)
{
	u32 *c = f->config;

	c[REG_ID] = f->vendor | (u32)f->device << 16;
	c[REG_CLASS] = f->class_code << 8 | REVISION;
	c[REG_SUBSYSTEM] = f->vendor | (u32)f->subsystem << 16;
	if (!f->nr_vectors)
		return;
	c[REG_COMMAND] = STATUS_HAS_CAPS | COMMAND_MEMORY | COMMAND_MASTER;
	c[REG_BAR] = PCI_WINDOW_START + f->slot * BAR_SPACING;
	c[REG_INTERRUPT] = PIN_INTA | pci_slot_irq(f->slot);
	c[REG_CAPABILITIES] = 4 * REG_FIRST_CAPABILITY;
	memcpy(&c[REG_FIRST_CAPABILITY], f->capabilities, f->capability_bytes);
	u32 *msix = &c[msix_reg(f)];
	msix[MSIX_CONTROL] = (f->nr_vectors - 1) << 16 | CAPABILITY_MSIX;
	msix[MSIX_TABLE] = f->bar_bytes - PAGE_SIZE;
	msix[MSIX_PENDING] = f->bar_bytes - PAGE_SIZE + PENDING_AT;
	for (u32 i = 0; i < f->nr_vectors; i++)
		f->vector[i] = (struct pci_msix_vector){.word[WORD_CONTROL] = VECTOR_MASKED};
}

void pci_bus_add(struct pci_bus *b, struct pci_function *f)
{
	u32 slot = 0;

	while (slot < PCI_SLOTS && b->slot[slot])
		slot++;
	CHECK(slot < PCI_SLOTS && f->bar_bytes <= BAR_SPACING && f->nr_vectors <= PCI_MSIX_MAX &&
	      msix_reg(f) + MSIX_DWORDS <= ARRAY_SIZE(f->config),
	      "PCI function %x in slot %u", f->device, slot);
	f->bus = b;
	f->slot = slot;
	power_on(f);
	b->slot[slot] = f;
}

void pci_bus_attach(struct pci_bus *b, struct vm *vm)
{
	/* As an emulator's: it has nothing but its number. */
	*b = (struct pci_bus){
		.vm = vm, .bridge = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000},
	};
	spin_init(&b->lock, RANK_DEVICE_IRQ);
	pci_bus_add(b, &b->bridge);
	io_add_ports(&vm->io, PORT_ADDRESS, NR_PORTS, &ports_io, b);
	io_add_mmio(&vm->io, PCI_WINDOW_START, PCI_WINDOW_END - PCI_WINDOW_START, &window_io, b);
}
