/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables are put together in one buffer, whose place in the guest's memory is known, and written at
 * once. Each is what the board is: devices at fixed places need no description beside this. */
#include "vmm/loader/acpi_tables.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/pci_bus.h"
#include "vmm/devices/pm.h"

#define TABLES_MAX 1024

struct header { /* 5.2.6 */
	char signature[4];
	u32 bytes;
	u8 revision, checksum;
	char oem[6], oem_table[8];
	u32 oem_revision;
	char creator[4];
	u32 creator_revision;
} packed;

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	u8 checksum;
	char oem[6];
	u8 revision;
	u32 rsdt, bytes;
	u64 xsdt;
	u8 checksum_all, reserved[3];
} packed;

struct address { /* 5.2.3.2, a register in I/O space */
	u8 space, bits, offset, access;
	u64 at;
} packed;
enum { SPACE_IO = 1 };

struct fadt { /* 5.2.9 */
	struct header h;
	u32 facs, dsdt;
	u8 reserved, profile;
	u16 sci;
	u32 smi_port;
	u8 enable, disable, s4bios, pstate;
	u32 event_a, event_b, control_a, control_b, control2, timer, gpe0, gpe1;
	u8 event_bytes, control_bytes, control2_bytes, timer_bytes, gpe0_bytes, gpe1_bytes, gpe1_base, cst;
	u16 c2_us, c3_us, flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alarm, month_alarm, century;
	u16 boot_flags;
	u8 reserved2;
	u32 flags;
	struct address reset;
	u8 reset_value;
	u16 arm_flags;
	u8 minor;
	u64 x_facs, x_dsdt;
	struct address x_event_a, x_event_b, x_control_a, x_control_b, x_control2, x_timer, x_gpe0, x_gpe1;
	struct address sleep_control, sleep_status;
	u64 hypervisor;
} packed;
static_assert(sizeof(struct fadt) == 276, "FADT revision 6");

/* FADT flags: WBINVD works, C1 works, no power button, no sleep button, the reset register works. */
#define FADT_FLAGS (1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 10)
#define BOOT_LEGACY 1u /* ISA devices are there; 8042: none */
#define CENTURY_REGISTER 0x32
#define RESET_PORT  0xcf9
#define RESET_VALUE 6

struct tables {
	u8 bytes[TABLES_MAX];
	u32 nr;
};

static u8 sum(const void *from, u32 nr)
{
	u8 total = 0;

	for (u32 i = 0; i < nr; i++)
		total += ((const u8 *)from)[i];
	return total;
}

/* table_begin - a table of @bytes or more, 16-byte aligned; zero but for its header. */
static void *table_begin(struct tables *t, const char *signature, u8 revision, u32 bytes)
{
	t->nr = (t->nr + 15) & ~15u;
	CHECK(t->nr + bytes <= TABLES_MAX, "ACPI tables of %u bytes", t->nr + bytes);
	struct header *h = (struct header *)(t->bytes + t->nr);

	*h = (struct header){.bytes = bytes, .revision = revision, .oem = "NEAP  ",
			     .oem_table = {'B', 'O', 'A', 'R', 'D', ' ', ' ', ' '}, .oem_revision = 1,
			     .creator = {'N', 'E', 'A', 'P'}, .creator_revision = 1};
	memcpy(h->signature, signature, sizeof(h->signature));
	t->nr += bytes;
	return h;
}

static u32 place_of(const struct tables *t, const void *table)
{
	return ACPI_TABLES_AT + (u32)((const u8 *)table - t->bytes);
}

static u32 table_end(const struct tables *t, struct header *h)
{
	h->checksum = -sum(h, h->bytes);
	return place_of(t, h);
}

static void add(struct tables *t, struct header *h, const void *from, u32 nr)
{
	CHECK(t->nr + nr <= TABLES_MAX, "ACPI tables of %u bytes", t->nr + nr);
	memcpy(t->bytes + t->nr, from, nr);
	t->nr += nr;
	h->bytes += nr;
}

/* Chapter 20, "AML": Name (\_S5, Package (4) {0, 0, 0, 0}). */
static const u8 s5[] = {0x08, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0};
static_assert(PM_SLEEP_OFF == 0, "the package says so");

/* A length in two bytes; it counts itself. */
#define LENGTH(n) 0x40 | ((n) & 15), (n) >> 4
/* Package (4) {0xSLOTffff, 0 (INTA), 0, IRQ}: an interrupt that is wired, level-triggered and active low
 * as PCI's are. */
#define ROUTE_BYTES 12
#define ROUTE(slot) \
	0x12, ROUTE_BYTES - 1, 4, 0x0c, 0xff, 0xff, slot, 0, 0, 0, 0x0a, IRQ_PCI + (slot) % IRQ_NR_PCI
#define ROUTES_BYTES ((PCI_SLOTS - 1) * ROUTE_BYTES + 3)
#define WINDOWS_BYTES 84
#define BUS_BYTES (2 + 4 + 10 + 6 + (5 + 1 + WINDOWS_BYTES + 4) + (5 + 1 + ROUTES_BYTES))

/* The PCI bus. Resource descriptors: chapter 6.4. Flags 0c: the range is fixed, and for what is behind the
 * bridge. */
static const u8 pci0[] = {
	0x10, LENGTH(2 + 5 + 2 + BUS_BYTES), '\\', '_', 'S', 'B', '_', /* Scope (\_SB) */
	0x5b, 0x82, LENGTH(BUS_BYTES), 'P', 'C', 'I', '0', /* Device (PCI0) */
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x03, /* EisaId ("PNP0A03") */
	0x08, '_', 'B', 'B', 'N', 0,
	0x08, '_', 'C', 'R', 'S', 0x11, LENGTH(2 + 2 + WINDOWS_BYTES), 0x0a, WINDOWS_BYTES, /* Buffer */
	0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, /* bus numbers 0 to 0 */
	0x47, 1, 0xf8, 0x0c, 0xf8, 0x0c, 1, 8, /* its own ports, CF8 to CFF */
	0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0, 0xf7, 0x0c, 0, 0, 0xf8, 0x0c, /* ports 0 to CF7 */
	0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3, /* ports D00 to FFFF */
	0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, /* memory, not cached, writable: start, end, 0, size */
	0, 0, 0, PCI_WINDOW_START >> 24, 0xff, 0xff, 0xff, (PCI_WINDOW_END - 1) >> 24,
	0, 0, 0, 0, 0, 0, 0, (PCI_WINDOW_END - PCI_WINDOW_START) >> 24,
	0x79, 0, /* the end, no checksum */
	0x08, '_', 'P', 'R', 'T', 0x12, LENGTH(ROUTES_BYTES), PCI_SLOTS - 1, /* Package (7) */
	ROUTE(1), ROUTE(2), ROUTE(3), ROUTE(4), ROUTE(5), ROUTE(6), ROUTE(7),
};
static_assert(sizeof(pci0) == 1 + 2 + 5 + 2 + BUS_BYTES, "the lengths are right");
static_assert(PCI_SLOTS == 8, "a route for each");
static_assert(!((PCI_WINDOW_START | PCI_WINDOW_END) & 0xffffff), "as the bytes have it");

static u32 dsdt(struct tables *t)
{
	struct header *h = table_begin(t, "DSDT", 2, sizeof(*h));

	add(t, h, s5, sizeof(s5));
	add(t, h, pci0, sizeof(pci0));
	return table_end(t, h);
}

static u32 fadt(struct tables *t, u32 dsdt_at)
{
	struct fadt *f = table_begin(t, "FACP", 6, sizeof(*f));

	f->dsdt = dsdt_at;
	f->x_dsdt = dsdt_at;
	f->sci = PM_IRQ;
	f->event_a = PM_EVENT_PORT;
	f->event_bytes = 4;
	f->control_a = PM_CONTROL_PORT;
	f->control_bytes = 2;
	f->timer = PM_TIMER_PORT;
	f->timer_bytes = 4;
	f->c2_us = f->c3_us = 0xffff; /* neither */
	f->century = CENTURY_REGISTER;
	f->boot_flags = BOOT_LEGACY;
	f->flags = FADT_FLAGS;
	f->reset = (struct address){SPACE_IO, 8, 0, 1, RESET_PORT};
	f->reset_value = RESET_VALUE;
	f->x_event_a = (struct address){SPACE_IO, 32, 0, 2, PM_EVENT_PORT};
	f->x_control_a = (struct address){SPACE_IO, 16, 0, 2, PM_CONTROL_PORT};
	f->x_timer = (struct address){SPACE_IO, 32, 0, 3, PM_TIMER_PORT};
	return table_end(t, &f->h);
}

/* 5.2.12: processors, the I/O APIC, where ISA lines go that do not go to the input of their number, and
 * LINT1 of all as NMI. */
static u32 madt(struct tables *t, u32 nr_vcpus)
{
	const struct { u32 lapic, flags; } packed base = {LAPIC_BASE, 1 /* 8259s are there, too */};
	const u8 timer[] = {2, 10, 0, 0, 2, 0, 0, 0, 0, 0};
	const u8 sci[] = {2, 10, 0, PM_IRQ, PM_IRQ, 0, 0, 0, 0xd, 0}; /* level, active high */
	const u8 pci[] = {2, 10, 0, IRQ_PCI, IRQ_PCI, 0, 0, 0, 0xf, 0,
			  2, 10, 0, IRQ_PCI + 1, IRQ_PCI + 1, 0, 0, 0, 0xf, 0}; /* level, active low */
	const u8 nmi[] = {4, 6, 0xff, 0, 0, 1};
	struct header *h = table_begin(t, "APIC", 5, sizeof(*h));

	add(t, h, &base, sizeof(base));
	for (u32 i = 0; i < nr_vcpus; i++)
		add(t, h, (const u8[]){0, 8, i, i, 1, 0, 0, 0}, 8);
	const struct {
		u8 type, bytes, id, reserved;
		u32 at, first;
	} packed ioapic = {1, 12, nr_vcpus, 0, IOAPIC_BASE, 0};
	add(t, h, &ioapic, sizeof(ioapic));
	add(t, h, timer, sizeof(timer));
	add(t, h, sci, sizeof(sci));
	add(t, h, pci, sizeof(pci));
	add(t, h, nmi, sizeof(nmi));
	return table_end(t, h);
}

int acpi_tables_write(struct guest_ram *ram, u32 nr_vcpus)
{
	struct tables t = {.nr = sizeof(struct rsdp)};
	u32 dsdt_at = dsdt(&t);
	const u64 tables[] = {fadt(&t, dsdt_at), madt(&t, nr_vcpus)};
	struct header *xsdt = table_begin(&t, "XSDT", 1, sizeof(*xsdt));

	add(&t, xsdt, tables, sizeof(tables));
	u64 xsdt_at = table_end(&t, xsdt);
	struct header *rsdt = table_begin(&t, "RSDT", 1, sizeof(*rsdt)); /* for those that know no other */

	for (u32 i = 0; i < ARRAY_SIZE(tables); i++)
		add(&t, rsdt, &tables[i], sizeof(u32));
	struct rsdp *r = (struct rsdp *)t.bytes;
	*r = (struct rsdp){.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '}, .oem = "NEAP  ",
			   .revision = 2, .bytes = sizeof(*r), .rsdt = table_end(&t, rsdt), .xsdt = xsdt_at};
	r->checksum = -sum(r, offsetof(struct rsdp, bytes));
	r->checksum_all = -sum(r, sizeof(*r));
	return ram->write(ram, gpa(ACPI_TABLES_AT), t.bytes, t.nr);
}
