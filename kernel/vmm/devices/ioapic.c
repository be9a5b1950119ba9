/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC's inputs, entries and registers.
 *
 *	edge    a rising input is sent once, or not at all if it is masked then
 *	level   a high input is sent, and remote IRR stands until the EOI of its vector; then, if it is
 *	        still high, once more
 *
 * The timer's input, by edges, is told of as well: who counts ticks gets those that it slept through one
 * after the other, each after the end of the last (pit_irq_taken). Any write to its entry voids them.
 *
 * A message leaves without the lock: what a local APIC does with it may lead back here. */
#include "vmm/devices/ioapic.h"

#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"
#include "vmm/io.h"
#include "vmm/vm.h"

enum { WINDOW_SELECT = 0x00, WINDOW_DATA = 0x10 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_ENTRIES = 0x10 };

/* A redirection entry. */
#define ENTRY_STATUS     (1ull << 12) /* never seen: messages are delivered at once */
#define ENTRY_LOW        (1ull << 13) /* polarity: lines here are already as high as they mean */
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_LEVEL      (1ull << 15)
#define ENTRY_MASKED     (1ull << 16)
#define ENTRY_WRITABLE   (0xff000000000000ffull | 7ull << 8 | 1ull << 11 | ENTRY_LOW | ENTRY_LEVEL | ENTRY_MASKED)

/* may_send - is the input to be sent now? For a level one: it has been, from here on. => lock */
static bool may_send(struct ioapic *a, u32 pin)
{
	u64 *entry = &a->entry[pin];

	if (!(a->lines & 1u << pin) || (*entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
		return false;
	if (*entry & ENTRY_LEVEL)
		*entry |= ENTRY_REMOTE_IRR;
	return true;
}

static void send(struct ioapic *a, u32 pin, u64 entry)
{
	u32 tells = pin == IOAPIC_TIMER_INPUT ? LAPIC_TELLS_END : 0;

	if (lapic_message(a->vm, entry >> 56, (entry & 0xffff) | tells))
		return;
	u64 flags = spin_lock_irqsave(&a->lock); /* nobody took it, and nobody will end it */
	a->entry[pin] &= ~ENTRY_REMOTE_IRR;
	spin_unlock_irqrestore(&a->lock, flags);
}

void ioapic_set(struct ioapic *a, u32 pin, bool level)
{
	u32 bit = 1u << pin;
	u64 flags = spin_lock_irqsave(&a->lock);
	bool rises = level && !(a->lines & bit);

	a->lines = level ? a->lines | bit : a->lines & ~bit;
	u64 entry = a->entry[pin];
	bool out = (rises || (entry & ENTRY_LEVEL)) && may_send(a, pin);
	spin_unlock_irqrestore(&a->lock, flags);
	if (out)
		send(a, pin, entry);
}

bool ioapic_eoi(struct ioapic *a, u8 vector)
{
	for (u32 pin = 0; pin < IOAPIC_INPUTS; pin++) {
		if (!(atomic_load(&a->entry[pin]) & ENTRY_REMOTE_IRR)) /* it was sent under the lock */
			continue;
		u64 flags = spin_lock_irqsave(&a->lock);
		u64 entry = a->entry[pin];
		bool out = false;

		if ((entry & ENTRY_REMOTE_IRR) && (u8)entry == vector) {
			a->entry[pin] &= ~ENTRY_REMOTE_IRR;
			out = may_send(a, pin);
		}
		spin_unlock_irqrestore(&a->lock, flags);
		if (out)
			send(a, pin, entry);
	}
	return (u8)atomic_load(&a->entry[IOAPIC_TIMER_INPUT]) == vector;
}

/* ---- registers ------------------------------------------------------------------------------------- */

static u32 register_read(const struct ioapic *a)
{
	u32 i = a->select - REG_ENTRIES;

	if (a->select >= REG_ENTRIES && i / 2 < IOAPIC_INPUTS)
		return a->entry[i / 2] >> (32 * (i % 2));
	switch (a->select) {
	case REG_ID:
	case REG_ARBITRATION: return (u32)a->id << 24;
	case REG_VERSION: return (IOAPIC_INPUTS - 1) << 16 | IOAPIC_VERSION;
	default: return 0;
	}
}

/* register_write - Returns the entry that may have to be sent, as level inputs do when they are let
 * through; NULL: none. => lock */
static u64 *register_write(struct ioapic *a, u32 value)
{
	u32 i = a->select - REG_ENTRIES;

	if (a->select == REG_ID)
		a->id = value >> 24 & 0xf;
	if (a->select < REG_ENTRIES || i / 2 >= IOAPIC_INPUTS)
		return NULL;
	u64 *entry = &a->entry[i / 2], half = 0xffffffffull << (32 * (i % 2));
	u64 writable = ENTRY_WRITABLE & half;

	*entry = (*entry & ~writable) | ((u64)value << (32 * (i % 2)) & writable);
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR;
	return *entry & ENTRY_LEVEL ? entry : NULL;
}

static u64 ioapic_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct ioapic *a = dev;
	u64 value = 0;

	u64 flags = spin_lock_irqsave(&a->lock);
	if (offset == WINDOW_SELECT)
		value = a->select;
	else if (offset == WINDOW_DATA && bytes >= 4)
		value = register_read(a);
	spin_unlock_irqrestore(&a->lock, flags);
	return value;
}

static void ioapic_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct ioapic *a = dev;
	u64 *entry = NULL, out = 0;

	u64 flags = spin_lock_irqsave(&a->lock);
	if (offset == WINDOW_SELECT)
		a->select = value;
	else if (offset == WINDOW_DATA && bytes >= 4)
		entry = register_write(a, (u32)value);
	u32 pin = (a->select - REG_ENTRIES) / 2;
	bool sent = entry && may_send(a, pin);
	if (sent)
		out = *entry;
	spin_unlock_irqrestore(&a->lock, flags);
	if (sent)
		send(a, pin, out);
	if (offset == WINDOW_DATA && pin == IOAPIC_TIMER_INPUT)
		board_timer_rerouted(a->vm);
}

static const struct io_ops ioapic_io = {.name = "ioapic", .read = ioapic_read, .write = ioapic_write};

void ioapic_attach(struct ioapic *a, struct vm *vm)
{
	*a = (struct ioapic){.vm = vm, .id = vm->config.cpus}; /* as the tables say */
	spin_init(&a->lock, RANK_IRQ_CHIP);
	for (u32 i = 0; i < IOAPIC_INPUTS; i++)
		a->entry[i] = ENTRY_MASKED;
	io_add_mmio(&vm->io, IOAPIC_BASE, PAGE_SIZE, &ioapic_io, a);
}
