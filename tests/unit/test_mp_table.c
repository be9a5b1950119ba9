/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/mp_table.c kernel/vmm/loader/loader.c kernel/vmm/loader/elf.c
 * kernel/vmm/loader/elf64.c kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c
 * kernel/vmm/loader/place.c kernel/lib/format.c kernel/lib/string.c kernel/lib/errno.c */
/* The guest's MP table: found and followed as a guest does, every entry against what it must be. */
#include "host.h"

#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/pci_bus.h"
#include "vmm/devices/pm.h"
#include "vmm/loader/acpi_tables.h"
#include "vmm/loader/mp_table.h"

#define BIOS 0xf0000u

static u8 bios[0x10000];
static int fail;

static int write_ram(unused struct guest_ram *ram, gpa_t at, const void *from, u64 bytes)
{
	assert_true(at.v >= BIOS && bytes <= sizeof(bios) && at.v + bytes <= BIOS + sizeof(bios));
	memcpy(bios + (at.v - BIOS), from, bytes);
	return fail;
}

static struct guest_ram ram = {.low_bytes = MIB(64), .write = write_ram};
static const struct cpuid_leaf leaf1 = {0x00800f12, 1, 2, 0x178bfbff};

static u32 word(const u8 *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (u32)at[3] << 24;
}

static u8 sum(const u8 *from, u32 nr)
{
	u8 total = 0;

	while (nr--)
		total += *from++;
	return total;
}

/* The pointer: on a paragraph's border, with a right sum. */
static const u8 *search(void)
{
	const u8 *found = NULL;

	for (u32 at = 0; at < sizeof(bios); at += 16)
		if (memcmp(bios + at, "_MP_", 4) == 0 && sum(bios + at, 16) == 0) {
			assert_null(found);
			found = bios + at;
		}
	assert_non_null(found);
	return found;
}

static void expect(const u8 **at, const void *want, u32 nr)
{
	assert_memory_equal(*at, want, nr);
	*at += nr;
}

#define entry(at, ...) expect(at, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

static void every_entry(unused void **state)
{
	for (u8 nr = 1; nr <= 8; nr++) {
		memset(bios, 0xaa, sizeof(bios));
		assert_int_equal(mp_table_write(&ram, nr, &leaf1), 0);
		const u8 *pointer = search();
		assert_true(pointer - bios + BIOS == MP_TABLE_AT);
		entry(&pointer, '_', 'M', 'P', '_');
		u32 table = word(pointer);
		assert_true(table >= MP_TABLE_AT + 16 && table < BIOS + sizeof(bios));
		pointer += 4;
		assert_true(pointer[0] == 1 && pointer[1] == 4);
		assert_true(word(pointer + 2) >> 8 == 0 && pointer[6] == 0 && pointer[7] == 0); /* no IMCR */

		const u8 *header = bios + (table - BIOS), *at = header;
		u32 bytes = header[4] | header[5] << 8, entries = header[34] | header[35] << 8;
		entry(&at, 'P', 'C', 'M', 'P');
		assert_int_equal(sum(header, bytes), 0);
		assert_int_equal(header[6], 4);
		assert_memory_equal(header + 8, "NEAP    BOARD       ", 20);
		assert_true(word(header + 28) == 0 && header[32] == 0 && header[33] == 0);
		assert_int_equal(word(header + 36), LAPIC_BASE);
		assert_int_equal(word(header + 40), 0);
		assert_int_equal(entries, nr + 2 + 1 + 7 + 13 + 2);
		assert_int_equal(bytes, 44 + 20 * nr + 8 * (entries - nr));

		at = header + 44;
		for (u8 id = 0; id < nr; id++)
			entry(&at, 0, id, LAPIC_VERSION, id ? 1 : 3, 0x12, 0x0f, 0x80, 0, 0xff, 0xfb, 0x8b, 0x17,
			      0, 0, 0, 0, 0, 0, 0, 0);
		entry(&at, 1, 0, 'P', 'C', 'I', ' ', ' ', ' ');
		entry(&at, 1, 1, 'I', 'S', 'A', ' ', ' ', ' ');
		entry(&at, 2, nr, 0x11, 1, 0, 0, 0xc0, 0xfe);
		for (u8 slot = 1; slot < 8; slot++)
			entry(&at, 3, 0, 0xf, 0, 0, slot << 2, nr, slot & 1 ? 11 : 10);
		for (u8 irq = 0; irq < 16; irq++)
			if (irq != 2 && irq != 10 && irq != 11)
				entry(&at, 3, 0, irq == 9 ? 0xd : 0, 0, 1, irq, nr, irq ? irq : 2);
		entry(&at, 4, 3, 0, 0, 1, 0, 0, 0);
		entry(&at, 4, 1, 0, 0, 1, 0, 0xff, 1);
		assert_true(at == header + bytes);
		for (; at < bios + sizeof(bios); at++)
			assert_int_equal(*at, 0xaa); /* nothing behind it was written */
	}
}

/* The numbers above are the board's. */
static void as_the_board_is(unused void **state)
{
	assert_int_equal(IOAPIC_BASE, 0xfec00000);
	assert_int_equal(IOAPIC_VERSION, 0x11);
	assert_int_equal(IOAPIC_TIMER_INPUT, 2);
	assert_true(IOAPIC_INPUTS >= 16);
	assert_int_equal(PM_IRQ, 9);
	assert_int_equal(PCI_SLOTS, 8);
}

/* Where it stands is nobody's memory: reserved in every map, and beyond the ACPI tables. */
static void place_is_reserved(unused void **state)
{
	static const u64 sizes[] = {MIB(2), MIB(64), GIB(3)};
	const u64 end = MP_TABLE_AT + 1024;

	assert_true(MP_TABLE_AT >= ACPI_TABLES_AT + 4096 && end <= BIOS + sizeof(bios));
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct guest_ram r = {.low_bytes = sizes[i], .high_bytes = i == 2 ? GIB(1) : 0};
		struct e820_entry map[E820_MAX];
		unsigned int entries = loader_e820(&r, map), covered = 0;
		for (unsigned int e = 0; e < entries; e++)
			if (map[e].base < end && MP_TABLE_AT < map[e].base + map[e].bytes) {
				assert_int_equal(map[e].type, E820_RESERVED);
				covered += map[e].base <= MP_TABLE_AT && map[e].base + map[e].bytes >= end;
			}
		assert_int_equal(covered, 1);
	}
}

static void no_memory(unused void **state)
{
	fail = -12;
	assert_int_equal(mp_table_write(&ram, 1, &leaf1), -12);
	fail = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_entry),
		cmocka_unit_test(as_the_board_is),
		cmocka_unit_test(place_is_reserved),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
