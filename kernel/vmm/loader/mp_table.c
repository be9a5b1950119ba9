/* SPDX-License-Identifier: BSD-2-Clause */
/* It says what the MADT says, in the words of 1997, and where the PCI slots' interrupts lead. Entries stand
 * in the order of their types, as the specification wants them; but for processors they are 8 bytes. */
#include "vmm/loader/mp_table.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/pci_bus.h"
#include "vmm/devices/pm.h"

#define SPECIFICATION 4 /* 1.4 */

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum { BUS_PCI, BUS_ISA }; /* the number of PCI's is that of its bus */
enum { USABLE = 1, BOOT_PROCESSOR = 2 };
enum { MP_INT, MP_NMI, MP_EXTINT = 3 };
enum { AS_THE_BUS = 0, LEVEL_HIGH = 0xd, LEVEL_LOW = 0xf }; /* ISA's: by edges */

struct mp_table {
	struct { /* 4.1 */
		char signature[4];
		u32 table;
		u8 paragraphs, revision, checksum, features[5];
	} packed pointer;
	struct { /* 4.2 */
		char signature[4];
		u16 bytes;
		u8 revision, checksum;
		char name[20];
		u32 oem_table;
		u16 oem_bytes, nr_entries;
		u32 lapic, extended;
	} packed header;
	u8 entries[20 * 8 + 8 * 26]; /* of processors, and the rest */
} packed;
static_assert(offsetof(struct mp_table, header) == 16, "4.1");
static_assert(offsetof(struct mp_table, entries) == 60, "4.2");

static u8 sum(const void *from, u32 nr)
{
	u8 total = 0;

	for (u32 i = 0; i < nr; i++)
		total += ((const u8 *)from)[i];
	return total;
}

static void add(struct mp_table *t, const void *entry, u32 nr)
{
	u32 at = t->header.bytes - sizeof(t->header);

	CHECK(at + nr <= sizeof(t->entries), "MP table of %u bytes", at + nr);
	memcpy(t->entries + at, entry, nr);
	t->header.bytes += nr;
	t->header.nr_entries++;
}

/* An interrupt of @bus goes to the input @pin of the (I/O or local) @apic. */
static void add_interrupt(struct mp_table *t, u8 type, u8 kind, u8 flags, u8 bus, u8 irq, u8 apic, u8 pin)
{
	add(t, (const u8[]){type, kind, flags, 0, bus, irq, apic, pin}, 8);
}

/* Two lines are PCI's, and no ISA device's then. ISA lines arrive at the input of their number, the timer's
 * at that of the cascade, which needs none. Of the local ones the 8259s are vCPU 0's alone, and NMI is
 * everybody's. */
static void add_interrupts(struct mp_table *t, u8 ioapic)
{
	for (u8 slot = 1; slot < PCI_SLOTS; slot++)
		add_interrupt(t, MP_INTERRUPT, MP_INT, LEVEL_LOW, BUS_PCI, slot << 2, ioapic,
			      pci_slot_irq(slot));
	for (u32 irq = 0; irq < 16; irq++)
		if (irq != IRQ_CASCADE && irq - IRQ_PCI >= IRQ_NR_PCI)
			add_interrupt(t, MP_INTERRUPT, MP_INT, irq == PM_IRQ ? LEVEL_HIGH : AS_THE_BUS,
				      BUS_ISA, irq, ioapic, irq == IRQ_TIMER ? IOAPIC_TIMER_INPUT : irq);
	add_interrupt(t, MP_LOCAL_INTERRUPT, MP_EXTINT, AS_THE_BUS, BUS_ISA, 0, 0, 0);
	add_interrupt(t, MP_LOCAL_INTERRUPT, MP_NMI, AS_THE_BUS, BUS_ISA, 0, 0xff, 1);
}

int mp_table_write(struct guest_ram *ram, u32 nr_vcpus, const struct cpuid_leaf *leaf1)
{
	struct mp_table t = {
		.pointer = {"_MP_", MP_TABLE_AT + sizeof(t.pointer), 1, SPECIFICATION, 0, {0}},
		.header = {.signature = "PCMP", .bytes = sizeof(t.header), .revision = SPECIFICATION,
			   .name = "NEAP    BOARD       ", .lapic = LAPIC_BASE},
	};

	for (u32 i = 0; i < nr_vcpus; i++) {
		u32 flags = USABLE | (i == 0 ? BOOT_PROCESSOR : 0);
		add(&t, (const u32[5]){MP_PROCESSOR | i << 8 | LAPIC_VERSION << 16 | flags << 24, leaf1->eax,
				       leaf1->edx}, 20);
	}
	add(&t, (const u8[]){MP_BUS, BUS_PCI, 'P', 'C', 'I', ' ', ' ', ' '}, 8);
	add(&t, (const u8[]){MP_BUS, BUS_ISA, 'I', 'S', 'A', ' ', ' ', ' '}, 8);
	add(&t, (const u32[]){MP_IOAPIC | nr_vcpus << 8 | IOAPIC_VERSION << 16 | USABLE << 24, IOAPIC_BASE}, 8);
	add_interrupts(&t, nr_vcpus);
	t.header.checksum = -sum(&t.header, t.header.bytes);
	t.pointer.checksum = -sum(&t.pointer, sizeof(t.pointer));
	return ram->write(ram, gpa(MP_TABLE_AT), &t, sizeof(t.pointer) + t.header.bytes);
}
