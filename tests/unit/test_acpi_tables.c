/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/loader/acpi_tables.c kernel/lib/string.c */
/* The guest's ACPI tables: found and followed as a guest does, sums right, each device where it is. */
#include "host.h"

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
	for (u32 cpus = 1; cpus <= 8; cpus++) {
		memset(memory, 0xaa, sizeof(memory));
		assert_int_equal(acpi_tables_write(&ram, cpus), 0);
		assert_memory_equal(memory, "RSD PTR ", 8);
		assert_int_equal(memory[15], 2);
		assert_int_equal(sum(memory, 20) | sum(memory, 36), 0);
		const u8 *xsdt = table(word(memory, 24), "XSDT");
		assert_int_equal(word(xsdt, 4), 36 + 2 * 8);

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
		u32 seen[5] = {0};
		assert_int_equal(word(madt, 36), 0xfee00000);
		for (u32 i = 44; i < word(madt, 4); i += madt[i + 1]) {
			assert_true(madt[i] < 5 && madt[i + 1] >= 6);
			if (madt[i] == 0)
				assert_true(madt[i + 3] == seen[0] && word(madt, i + 4) == 1);
			if (madt[i] == 1)
				assert_true(word(madt, i + 4) == 0xfec00000 && !word(madt, i + 8));
			if (madt[i] == 2 && madt[i + 3] == 0)
				assert_int_equal(word(madt, i + 4), 2);
			seen[madt[i]]++;
		}
		assert_true(seen[0] == cpus && seen[1] == 1 && seen[2] == 2 && seen[4] == 1);
	}
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
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
