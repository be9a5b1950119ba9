/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/acpi_tables.c kernel/lib/string.c */
/* The guest's ACPI tables: found and followed as a guest does, sums right, each device where it is. */
#include "host.h"

#include "vmm/devices/pci_bus.h"
#include "vmm/loader/acpi_tables.h"

static u8 memory[0x10000];
static u32 written;
static int fail;

static int write_ram(unused struct guest_ram *ram, gpa_t at, const void *from, u64 bytes)
{
	assert_true(at.v == ACPI_TABLES_AT && bytes <= sizeof(memory));
	memcpy(memory, from, bytes);
	written = bytes;
	return fail;
}

static struct guest_ram ram = {.low_bytes = MIB(64), .write = write_ram};

static u32 word(const u8 *at, u32 offset)
{
	u32 v;

	memcpy(&v, at + offset, 4);
	return v;
}

static const u8 *at_phys(u64 phys)
{
	assert_true(phys >= ACPI_TABLES_AT && phys < ACPI_TABLES_AT + written);
	return memory + (phys - ACPI_TABLES_AT);
}

static u8 sum(const u8 *from, u32 nr)
{
	u8 total = 0;

	while (nr--)
		total += *from++;
	return total;
}

static const u8 *table(u64 phys, const char *signature)
{
	const u8 *t = at_phys(phys);

	assert_memory_equal(t, signature, 4);
	assert_true(word(t, 4) >= 36 && t + word(t, 4) <= memory + written);
	assert_int_equal(sum(t, word(t, 4)), 0);
	return t;
}

static void found_and_followed(unused void **state)
{
	for (u32 nr = 1; nr <= 8; nr++) {
		memset(memory, 0xaa, sizeof(memory));
		assert_int_equal(acpi_tables_write(&ram, nr), 0);
		assert_memory_equal(memory, "RSD PTR ", 8);
		assert_int_equal(memory[15], 2);
		assert_int_equal(sum(memory, 20) | sum(memory, 36), 0);
		const u8 *xsdt = table(word(memory, 24), "XSDT");
		assert_int_equal(word(xsdt, 4), 36 + 2 * 8);
		const u8 *rsdt = table(word(memory, 16), "RSDT"); /* the same tables */
		assert_int_equal(word(rsdt, 4), 36 + 2 * 4);
		for (u32 i = 0; i < 2; i++)
			assert_int_equal(word(rsdt, 36 + 4 * i), word(xsdt, 36 + 8 * i));

		const u8 *fadt = table(word(xsdt, 36), "FACP");
		assert_int_equal(word(fadt, 4), 276);
		assert_int_equal(word(fadt, 56), 0x600); /* PM1a event block, and its control block */
		assert_int_equal(word(fadt, 64), 0x604);
		assert_int_equal(word(fadt, 76), 0x608);
		assert_int_equal(fadt[88] | fadt[89] << 8 | fadt[91] << 16, 0x040204);
		assert_int_equal(fadt[108], 0x32);
		assert_int_equal(word(fadt, 116 + 4), 0xcf9);
		assert_int_equal(fadt[128], 6);
		const u8 *dsdt = table(word(fadt, 40), "DSDT");
		assert_int_equal(word(fadt, 140), word(fadt, 40));
		assert_memory_equal(dsdt + 36, "\x08_S5_\x12\x06\x04\0\0\0\0", 12);

		const u8 *madt = table(word(xsdt, 44), "APIC");
		u32 seen[5] = {0}, level_low = 0;
		assert_int_equal(word(madt, 36), 0xfee00000);
		for (u32 i = 44; i < word(madt, 4); i += madt[i + 1]) {
			assert_true(madt[i] < 5 && madt[i + 1] >= 6);
			if (madt[i] == 0)
				assert_true(madt[i + 3] == seen[0] && word(madt, i + 4) == 1);
			if (madt[i] == 1)
				assert_true(word(madt, i + 4) == 0xfec00000 && !word(madt, i + 8));
			if (madt[i] == 2 && madt[i + 3] == 0)
				assert_int_equal(word(madt, i + 4), 2);
			if (madt[i] == 2 && word(madt, i + 4) >= IRQ_PCI) {
				assert_int_equal(madt[i + 3], word(madt, i + 4));
				assert_int_equal(madt[i + 8] | madt[i + 9] << 8, 0xf);
				level_low |= 1u << madt[i + 3];
			}
			seen[madt[i]]++;
		}
		assert_true(seen[0] == nr && seen[1] == 1 && seen[2] == 4 && seen[4] == 1);
		assert_int_equal(level_low, 3u << IRQ_PCI);
	}
}

/* ---- the PCI bus, as an interpreter of AML reads it ------------------------------------------------ */

/* package - what the length at *@at spans, and *@at goes to its first byte; it ends where @end says. */
static u32 package(const u8 **at, const u8 *end)
{
	const u8 *p = *at;
	u32 more = p[0] >> 6, bytes = more ? p[0] & 15 : p[0];

	for (u32 i = 1; i <= more; i++)
		bytes |= p[i] << (8 * i - 4);
	assert_true(bytes > more && p + bytes <= end);
	*at += 1 + more;
	return bytes - 1 - more;
}

/* passed - @at is @what, of @nr bytes; returns what follows. */
static const u8 *passed(const u8 *at, const void *what, u32 nr)
{
	assert_memory_equal(at, what, nr);
	return at + nr;
}

/* A 16-bit address space descriptor: of @type, from @start to @end. */
static const u8 *word_space(const u8 *at, u8 type, u32 start, u32 end)
{
	const u16 want[] = {0, start, end, 0, end - start + 1};

	assert_true(at[0] == 0x88 && at[1] == 13 && at[2] == 0);
	assert_true(at[3] == type && at[4] == 0x0c);
	assert_memory_equal(at + 6, want, sizeof(want));
	return at + 16;
}

static void pci_windows(const u8 *at, const u8 *end)
{
	const u32 window[] = {0, PCI_WINDOW_START, PCI_WINDOW_END - 1, 0,
			      PCI_WINDOW_END - PCI_WINDOW_START};

	assert_true(at[0] == 0x0a && at + 2 + at[1] == end); /* the buffer's size */
	at = word_space(at + 2, 2, 0, 0);
	at = passed(at, "\x47\1\xf8\x0c\xf8\x0c\1\x8", 8);
	at = word_space(at, 1, 0, 0xcf7);
	at = word_space(at, 1, 0xd00, 0xffff);
	at = passed(at, "\x87\x17\0\0\x0c\1", 6);
	at = passed(at, window, sizeof(window));
	at = passed(at, "\x79", 2);
	assert_ptr_equal(at, end);
}

static void pci_routes(const u8 *at, const u8 *end)
{
	assert_int_equal(*at++, PCI_SLOTS - 1);
	for (u32 slot = 1; slot < PCI_SLOTS; slot++) {
		assert_int_equal(*at++, 0x12);
		u32 bytes = package(&at, end);
		const u8 *route_end = at + bytes;
		assert_int_equal(*at++, 4);
		assert_int_equal(*at, 0x0c);
		assert_int_equal(word(at, 1), slot << 16 | 0xffff);
		at = passed(at + 5, "\0\0\x0a", 3); /* INTA, wired */
		assert_int_equal(*at++, pci_slot_irq(slot));
		assert_ptr_equal(at, route_end);
	}
	assert_ptr_equal(at, end);
}

static void pci_is_described(unused void **state)
{
	assert_int_equal(acpi_tables_write(&ram, 1), 0);
	const u8 *fadt = table(word(table(word(memory, 24), "XSDT"), 36), "FACP");
	const u8 *dsdt = table(word(fadt, 40), "DSDT");
	const u8 *end = dsdt + word(dsdt, 4), *at = dsdt + 36 + 12; /* behind S5 */

	at = passed(at, "\x10", 1);
	u32 bytes = package(&at, end);
	assert_ptr_equal(at + bytes, end); /* the scope is the rest */
	at = passed(at, "\\_SB_\x5b\x82", 7);
	bytes = package(&at, end);
	assert_ptr_equal(at + bytes, end);
	at = passed(at, "PCI0\x08_HID\x0c\x41\xd0\x0a\x03\x08_BBN\0\x08_CRS\x11", 26);
	bytes = package(&at, end);
	pci_windows(at, at + bytes);
	at = passed(at + bytes, "\x08_PRT\x12", 6);
	bytes = package(&at, end);
	assert_ptr_equal(at + bytes, end);
	pci_routes(at, end);
}

static void no_memory(unused void **state)
{
	fail = -12;
	assert_int_equal(acpi_tables_write(&ram, 1), -12);
	fail = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_and_followed),
		cmocka_unit_test(pci_is_described),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
