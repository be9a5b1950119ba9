/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ports, an address and a window: so a lock around each access. What devices say of themselves is
 * checked before it is used; chains end after as many steps as there is room for. */
#include "drivers/pci.h"

#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "cpu/x86.h"
#include "lib/check.h"

#define ADDRESS_PORT   0xcf8
#define DATA_PORT      0xcfc
#define ADDRESS_ENABLE (1u << 31)

enum {
	REG_VENDOR = 0x00, REG_COMMAND = 0x04, REG_STATUS = 0x06, REG_CLASS = 0x08,
	REG_HEADER_TYPE = 0x0e, REG_BAR = 0x10, REG_SECONDARY_BUS = 0x19, REG_CAPABILITIES = 0x34,
};

enum {
	COMMAND_IO = 1u << 0, COMMAND_MEMORY = 1u << 1, COMMAND_MASTER = 1u << 2,
	COMMAND_NO_INTX = 1u << 10,
};

#define STATUS_CAPABILITIES  (1u << 4)
#define HEADER_MULTIFUNCTION 0x80
#define NR_BARS              6
#define CAPABILITY_MSIX      0x11
#define MSIX_ENABLE          (1u << 15)
#define MSIX_MASK_ALL        (1u << 14)

static struct spinlock config_lock = SPINLOCK_INIT(RANK_DISK); /* the two ports */

/* ---- configuration space --------------------------------------------------------------------- */

static u32 address_of(const struct pci_device *d, u8 reg)
{
	return ADDRESS_ENABLE | (u32)d->bus << 16 | (u32)d->slot << 11 | (u32)d->function << 8 |
	       (reg & 0xfcu);
}

u32 pci_read32(const struct pci_device *d, u8 reg)
{
	u64 flags = spin_lock_irqsave(&config_lock);
	u32 value;

	outl(ADDRESS_PORT, address_of(d, reg));
	value = inl(DATA_PORT);
	spin_unlock_irqrestore(&config_lock, flags);
	return value;
}

u16 pci_read16(const struct pci_device *d, u8 reg)
{
	return pci_read32(d, reg) >> (reg & 2) * 8;
}

u8 pci_read8(const struct pci_device *d, u8 reg)
{
	return pci_read32(d, reg) >> (reg & 3) * 8;
}

void pci_write32(const struct pci_device *d, u8 reg, u32 value)
{
	u64 flags = spin_lock_irqsave(&config_lock);

	outl(ADDRESS_PORT, address_of(d, reg));
	outl(DATA_PORT, value);
	spin_unlock_irqrestore(&config_lock, flags);
}

void pci_write16(const struct pci_device *d, u8 reg, u16 value)
{
	u64 flags = spin_lock_irqsave(&config_lock);

	outl(ADDRESS_PORT, address_of(d, reg));
	outw(DATA_PORT + (reg & 2), value);
	spin_unlock_irqrestore(&config_lock, flags);
}

/* ---- enumeration ----------------------------------------------------------------------------- */

struct buses {
	u32 seen[8]; /* a bit each */
	u8 todo[256];
	u32 nr_todo;
};

static void bus_add(struct buses *b, u8 bus)
{
	if (b->seen[bus / 32] >> bus % 32 & 1)
		return;
	b->seen[bus / 32] |= 1u << bus % 32;
	b->todo[b->nr_todo++] = bus;
}

static bool function_read(struct pci_device *d)
{
	u32 id = pci_read32(d, REG_VENDOR), class = pci_read32(d, REG_CLASS);

	d->vendor = id;
	d->device = id >> 16;
	d->class = class >> 24;
	d->subclass = class >> 16;
	return d->vendor != 0xffff && d->vendor != 0;
}

static void function_visit(struct buses *b, const struct pci_device *d,
			   void (*found)(const struct pci_device *))
{
	/* A bridge leads on. A host bridge's function n leads to root bus n. */
	if ((pci_read8(d, REG_HEADER_TYPE) & 0x7f) == 1)
		bus_add(b, pci_read8(d, REG_SECONDARY_BUS));
	else if (d->class == 6 && d->subclass == 0 && d->bus == 0 && d->slot == 0)
		bus_add(b, d->function);
	found(d);
}

static void slot_visit(struct buses *b, u8 bus, u8 slot, void (*found)(const struct pci_device *))
{
	struct pci_device d = {.bus = bus, .slot = slot};
	bool many;

	if (!function_read(&d))
		return;
	many = pci_read8(&d, REG_HEADER_TYPE) & HEADER_MULTIFUNCTION;
	function_visit(b, &d, found);
	for (d.function = 1; many && d.function < 8; d.function++)
		if (function_read(&d))
			function_visit(b, &d, found);
}

void pci_for_each(void (*found)(const struct pci_device *d))
{
	struct buses b = {.nr_todo = 0};

	bus_add(&b, 0);
	for (u32 i = 0; i < b.nr_todo; i++)
		for (u8 slot = 0; slot < 32; slot++)
			slot_visit(&b, b.todo[i], slot, found);
}

u8 pci_capability(const struct pci_device *d, u8 id, u8 after)
{
	u8 at;

	if (!(pci_read16(d, REG_STATUS) & STATUS_CAPABILITIES))
		return 0;
	at = after ? pci_read8(d, after + 1) : pci_read8(d, REG_CAPABILITIES);
	for (u32 steps = 0; steps < 48; steps++) {
		at &= 0xfc;
		if (at < 0x40)
			return 0;
		if (pci_read8(d, at) == id)
			return at;
		at = pci_read8(d, at + 1);
	}
	return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* bar_read - address and size of a memory BAR. The size is found by writing all ones, which moves the
 * window: decoding is off meanwhile. */
static bool bar_read(const struct pci_device *d, u8 index, u64 *at, u64 *bytes)
{
	u8 reg = REG_BAR + index * 4;
	u32 low = pci_read32(d, reg), high = 0, mask_high = 0xffffffff, mask_low;
	bool is64 = (low & 6) == 4;
	u16 command;

	if (low & 1 || (is64 && index == NR_BARS - 1))
		return false;
	command = pci_read16(d, REG_COMMAND);
	pci_write16(d, REG_COMMAND, command & ~(COMMAND_IO | COMMAND_MEMORY));
	pci_write32(d, reg, 0xffffffff);
	mask_low = pci_read32(d, reg);
	pci_write32(d, reg, low);
	if (is64) {
		high = pci_read32(d, reg + 4);
		pci_write32(d, reg + 4, 0xffffffff);
		mask_high = pci_read32(d, reg + 4);
		pci_write32(d, reg + 4, high);
	}
	pci_write16(d, REG_COMMAND, command);
	*at = (u64)high << 32 | (low & ~0xfu);
	*bytes = ~((u64)mask_high << 32 | (mask_low & ~0xfu)) + 1;
	return *at && (mask_low & ~0xfu);
}

void *pci_map_bar(const struct pci_device *d, u8 index, u64 offset, u64 bytes)
{
	u64 at, size;

	if (index >= NR_BARS || bytes == 0 || !bar_read(d, index, &at, &size))
		return NULL;
	if (offset > size || bytes > size - offset)
		return NULL;
	return memory_map_device(at + offset, bytes, MAP_UNCACHED);
}

void pci_start(const struct pci_device *d)
{
	pci_write16(d, REG_COMMAND,
		    pci_read16(d, REG_COMMAND) | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX);
}

void pci_stop_dma(const struct pci_device *d)
{
	pci_write16(d, REG_COMMAND, pci_read16(d, REG_COMMAND) & ~COMMAND_MASTER);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

#define ENTRY_WORDS     4 /* address, high address, data, control */
#define ENTRY_MASKED    1u
#define MESSAGE_ADDRESS 0xfee00000u

int pci_msix_open(const struct pci_device *d, struct pci_msix *m)
{
	u8 at = pci_capability(d, CAPABILITY_MSIX, 0);
	u16 control;
	u32 place;

	if (!at)
		return trace(-ENODEV);
	control = pci_read16(d, at + 2);
	place = pci_read32(d, at + 4);
	m->capability = at;
	m->nr = (control & 0x7ff) + 1;
	m->table = pci_map_bar(d, place & 7, place & ~7u, m->nr * ENTRY_WORDS * 4);
	if (!m->table)
		return trace(-EINVAL);
	for (u32 i = 0; i < m->nr; i++)
		m->table[i * ENTRY_WORDS + 3] = ENTRY_MASKED;
	pci_write16(d, at + 2, (control | MSIX_ENABLE) & ~MSIX_MASK_ALL);
	return 0;
}

void pci_msix_route(const struct pci_msix *m, u32 index, u8 vector, u8 apic_id)
{
	volatile u32 *entry = m->table + index * ENTRY_WORDS;

	CHECK(index < m->nr, "MSI-X entry %u of %u", index, m->nr);
	entry[0] = MESSAGE_ADDRESS | (u32)apic_id << 12;
	entry[1] = 0;
	entry[2] = vector;
	entry[3] = 0;
}
