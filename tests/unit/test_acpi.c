/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables built by hand are read as they were meant; damaged ones, and hundreds of thousands that
 * chance has changed behind a good checksum, are never read beyond what was mapped. */
#include "ports.h"

#include "drivers/acpi.c"

/* ---- physical memory ----------------------------------------------------------------------------
 */

/* [0, 1 MiB) of fake memory. What acpi_init maps is a copy of exactly the bytes that it asked for,
 * so that the address sanitizer sees a step beyond. */
#define MEMORY_BYTES MIB(1)
#define MAX_COPIES   2000

static u8 memory[MEMORY_BYTES];
static void *copies[MAX_COPIES];
static size_t nr_copies;

static const void *map_copy(u64 phys, u64 bytes)
{
	void *copy;

	if (phys >= MEMORY_BYTES || bytes > MEMORY_BYTES - phys)
		return NULL;
	assert_true(nr_copies < MAX_COPIES);
	copy = malloc(bytes);
	memcpy(copy, memory + phys, bytes);
	copies[nr_copies++] = copy;
	return copy;
}

static int read_tables(struct acpi_info *info, const void *rsdp, size_t bytes)
{
	int err;

	host_log_clear();
	err = acpi_init(info, rsdp, bytes, map_copy);
	while (nr_copies)
		free(copies[--nr_copies]);
	return err;
}

/* ---- ports: a chipset that can be switched off
 * --------------------------------------------------- */

static struct {
	u16 pm1a, pm1a_before, pm1b;
	unsigned int smi, nr_sleeps;
	u16 slept_a, slept_b;
} chip;

static u32 port_read(u16 port, unsigned int bytes)
{
	assert_int_equal(bytes, 2);
	return port == 0x604 ? chip.pm1a : port == 0x704 ? chip.pm1b : 0xffff;
}

static void port_write(u16 port, u32 value, unsigned int bytes)
{
	if (port == 0x604 && bytes == 2) {
		chip.pm1a_before = chip.pm1a;
		chip.pm1a = (u16)value & ~PM1_SLEEP;
		if (value & PM1_SLEEP) {
			assert_int_equal(chip.pm1a_before & PM1_TYPE_MASK, value & PM1_TYPE_MASK);
			chip.slept_a = (u16)value;
			chip.nr_sleeps++;
		}
	} else if (port == 0x704 && bytes == 2) {
		chip.pm1b = (u16)value & ~PM1_SLEEP;
		if (value & PM1_SLEEP)
			chip.slept_b = (u16)value;
	} else if (port == 0xb2 && bytes == 1) {
		chip.smi = value;
		chip.pm1a |= PM1_SCI_EN;
	} else {
		fail_msg("write of %u bytes to port %x", bytes, port);
	}
}

/* ---- building tables
 * ------------------------------------------------------------------------------ */

static void put(u8 *p, u64 v, unsigned int bytes)
{
	memcpy(p, &v, bytes);
}

static void checksum(u8 *p, size_t n, size_t at)
{
	u8 sum = 0;

	p[at] = 0;
	for (size_t i = 0; i < n; i++)
		sum += p[i];
	p[at] = (u8)-sum;
}

static u8 *table_new(u64 phys, const char *signature, u32 len)
{
	u8 *p = memory + phys;

	memset(p, 0, len);
	memcpy(p, signature, 4);
	put(p + 4, len, 4);
	p[8] = 1;
	memcpy(p + 10, "NEAP  TESTS", 11);
	return p;
}

static void table_sum(u64 phys)
{
	u32 len;

	memcpy(&len, memory + phys + 4, 4);
	if (len <= MEMORY_BYTES - phys && len > 9)
		checksum(memory + phys, len, 9);
}

enum {
	RSDP = 0xf5000,
	RSDT = 0x10000,
	XSDT = 0x11000,
	MADT = 0x12000,
	FADT = 0x13000,
	DSDT = 0x14000,
	HPET = 0x15000,
	SSDT = 0x16000
};

static u8 *gas(u8 *p, u8 space, u8 bits, u64 at)
{
	p[0] = space;
	p[1] = bits;
	put(p + 4, at, 8);
	return p;
}

static void build_madt(void)
{
	static const u8 entries[] = {
		0, 8, 0, 0, 1, 0, 0, 0,             /* APIC 0 */
		0, 8, 1, 2, 1, 0, 0, 0,             /* APIC 2 */
		0, 8, 2, 3, 0, 0, 0, 0,             /* disabled */
		0, 8, 3, 4, 2, 0, 0, 0,             /* online-capable */
		0, 8, 4, 0xff, 1, 0, 0, 0,          /* no id */
		1, 12, 7, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0,
		2, 10, 0, 0, 2, 0, 0, 0, 0, 0,      /* IRQ 0 -> GSI 2 */
		2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0,
		4, 6, 0xff, 0, 0, 1,                /* NMI: not ours */
		9, 16, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, /* APIC 2 again */
		9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, /* APIC 256 */
		0x7f, 4, 1, 2,                      /* unknown */
	};
	u8 *p = table_new(MADT, "APIC", 44 + sizeof(entries));

	put(p + 36, 0xfee00000, 4);
	put(p + 40, 1, 4);
	memcpy(p + 44, entries, sizeof(entries));
	table_sum(MADT);
}

static void build_dsdt(const u8 *aml, size_t n)
{
	u8 *p = table_new(DSDT, "DSDT", (u32)(HEADER_BYTES + 20 + n));

	memcpy(p + HEADER_BYTES + 3, "xx_S5_y", 7); /* looks like it, is not */
	memcpy(p + HEADER_BYTES + 20, aml, n);
	table_sum(DSDT);
}

static void build_fadt(void)
{
	u8 *p = table_new(FADT, "FACP", 244);

	put(p + 40, DSDT, 4);
	put(p + 46, 9, 2);
	put(p + 48, 0xb2, 4);
	p[52] = 0xf1;
	put(p + 64, 0x604, 4);
	put(p + 68, 0x704, 4);
	put(p + 76, 0x608, 4);
	table_sum(FADT);
}

static void build_root(bool with_xsdt)
{
	static const u32 tables[] = {SSDT, MADT, FADT, HPET};
	u8 *p;

	p = table_new(RSDT, "RSDT", HEADER_BYTES + 4 * ARRAY_SIZE(tables));
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		put(p + HEADER_BYTES + 4 * i, tables[i], 4);
	table_sum(RSDT);
	p = table_new(XSDT, "XSDT", HEADER_BYTES + 8 * ARRAY_SIZE(tables));
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		put(p + HEADER_BYTES + 8 * i, tables[i], 8);
	table_sum(XSDT);

	p = memory + RSDP;
	memset(p, 0, RSDP2_BYTES);
	memcpy(p, "RSD PTR ", 8);
	put(p + 16, RSDT, 4);
	if (with_xsdt) {
		p[15] = 2;
		put(p + 20, RSDP2_BYTES, 4);
		put(p + 24, XSDT, 8);
	}
	checksum(p, RSDP_BYTES, 8);
	if (with_xsdt)
		checksum(p, RSDP2_BYTES, 32);
}

static const u8 aml_qemu[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x01, 0x00, 0x00};
static const u8 aml_board[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x0a, 0x04, 0x0a, 0x07, 0x0a,
			       0x05, 0x0a, 0x00, 0x0a, 0x00};

static int build(void **state)
{
	u8 *p;

	(void)state;
	memset(memory, 0, sizeof(memory));
	memset(&chip, 0, sizeof(chip));
	build_madt();
	build_fadt();
	build_dsdt(aml_board, sizeof(aml_board));
	p = table_new(HPET, "HPET", 56);
	gas(p + 40, ACPI_SPACE_MEMORY, 64, 0xfed00000);
	table_sum(HPET);
	table_new(SSDT, "SSDT", 100); /* bad checksum, but nobody asks */
	build_root(true);
	return 0;
}

/* ---- tests
 * ---------------------------------------------------------------------------------------- */

static void all_is_read(void **state)
{
	struct acpi_info i;

	(void)state;
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP2_BYTES), 0);
	assert_string_equal(host_log(), "");
	assert_true(i.found);
	assert_int_equal(i.nr_cpus, 4);
	assert_int_equal(i.cpus[0].apic_id, 0);
	assert_int_equal(i.cpus[1].apic_id, 2);
	assert_true(i.cpus[1].enabled);
	assert_int_equal(i.cpus[2].apic_id, 4);
	assert_false(i.cpus[2].enabled);
	assert_int_equal(i.cpus[3].apic_id, 256);
	assert_int_equal(i.pm1a_control, 0x604);
	assert_int_equal(i.pm1b_control, 0x704);
	assert_int_equal(i.pm_timer.at, 0x608);
	assert_int_equal(i.pm_timer.space, ACPI_SPACE_IO);
	assert_true(i.has_s5);
	assert_int_equal(i.s5_type_a, 7);
	assert_int_equal(i.s5_type_b, 5);
	assert_int_equal(i.hpet_phys, 0xfed00000);
}

static void root_pointer_is_found(void **state)
{
	struct acpi_info i;
	u8 damaged[RSDP2_BYTES];

	(void)state;
	/* In the BIOS. */
	assert_int_equal(read_tables(&i, NULL, 0), 0);
	assert_int_equal(i.nr_cpus, 4);
	/* The loader's copy is damaged: searched for, too. */
	memcpy(damaged, memory + RSDP, sizeof(damaged));
	damaged[17] ^= 1;
	assert_int_equal(read_tables(&i, damaged, sizeof(damaged)), 0);
	/* In the extended BIOS data area. */
	memmove(memory + 0x9fc30, memory + RSDP, RSDP2_BYTES);
	memset(memory + RSDP, 0, RSDP2_BYTES);
	assert_int_equal(read_tables(&i, NULL, 0), -ENODEV);
	assert_false(i.found);
	put(memory + 0x40e, 0x9fc0, 2);
	assert_int_equal(read_tables(&i, NULL, 0), 0);
	assert_true(i.found);
	/* A short copy, as multiboot2's old tag brings it. */
	build_root(false);
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP_BYTES), 0);
	assert_int_equal(i.nr_cpus, 4);
	assert_int_equal(read_tables(&i, memory + RSDP, 4), 0);
}

static void bad_root_falls_back(void **state)
{
	struct acpi_info i;

	(void)state;
	memory[XSDT + 20] ^= 1;
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP2_BYTES), 0);
	assert_string_equal(host_log(),
			    "acpi: table XSDT at 0x11000 has a bad checksum, left out\n");
	assert_int_equal(i.nr_cpus, 4);
	memory[RSDT + 20] ^= 1;
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP2_BYTES), -ENODEV);
	assert_false(i.found);
}

static void damaged_tables_are_left_out(void **state)
{
	struct acpi_info i;

	(void)state;
	memory[MADT + 50] ^= 4;
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP2_BYTES), 0);
	assert_string_equal(host_log(),
			    "acpi: table APIC at 0x12000 has a bad checksum, left out\n");
	assert_int_equal(i.nr_cpus, 0);
	assert_int_equal(i.pm1a_control, 0x604);

	put(memory + FADT + 4, 35, 4);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_true(host_log_contains("FACP at 0x13000 has a bad length"));
	put(memory + FADT + 4, 0xffffffff, 4);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_true(host_log_contains("FACP at 0x13000 has a bad length"));
	put(memory + FADT + 4, MEMORY_BYTES, 4);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_true(host_log_contains("table at 0x13000 is out of reach"));
	assert_int_equal(i.pm1a_control, 0);
	assert_int_equal(i.hpet_phys, 0xfed00000);
}

static void madt_entries_are_bounded(void **state)
{
	struct acpi_info i;
	u8 *p;

	(void)state;
	memory[MADT + 45] = 1; /* the first entry's length */
	table_sum(MADT);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_string_equal(host_log(),
			    "acpi: MADT entry at 44 has a bad length, the rest is left out\n");
	memory[MADT + 45] = 255;
	table_sum(MADT);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_int_equal(i.nr_cpus, 0);

	p = table_new(MADT, "APIC", 44 + 100 * 8);
	for (int n = 0; n < 100; n++) {
		p[44 + 8 * n + 1] = 8;
		p[44 + 8 * n + 3] = (u8)n;
		p[44 + 8 * n + 4] = 1;
	}
	table_sum(MADT);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_int_equal(i.nr_cpus, ACPI_MAX_CPUS);
	assert_int_equal(i.cpus_left_out, 36);
	assert_true(host_log_contains("36 processors past the first 64 are not used"));
}

static void s5_is(const u8 *aml, size_t n, int a, int b)
{
	struct acpi_info i;

	build_dsdt(aml, n);
	assert_int_equal(read_tables(&i, memory + RSDP, RSDP2_BYTES), 0);
	assert_int_equal(i.has_s5, a >= 0);
	if (a >= 0) {
		assert_int_equal(i.s5_type_a, a);
		assert_int_equal(i.s5_type_b, b);
	}
}

#define S5(a, b, ...) s5_is((const u8[]){0x08, '_', 'S', '5', '_', __VA_ARGS__}, \
			    5 + sizeof((const u8[]){__VA_ARGS__}), a, b)

static void s5_package_forms(void **state)
{
	(void)state;
	s5_is(aml_qemu, sizeof(aml_qemu), 0, 1);
	S5(5, 6, 0x12, 0x06, 2, 0x0a, 5, 0x0a, 6);
	S5(3, 4, 0x12, 0x08, 2, 0x0b, 3, 0, 0x0b, 4, 0);
	S5(3, 4, 0x12, 0x0c, 2, 0x0c, 3, 0, 0, 0, 0x0c, 4, 0, 0, 0);
	S5(1, 0, 0x12, 0x47, 0x00, 2, 0x01, 0x0a, 0, 0);      /* a length of two bytes */
	S5(1, 0, 0x12, 0x88, 0x00, 0x00, 2, 0x01, 0x00, 0, 0); /* of three */
	S5(5, 5, 0x12, 0x04, 1, 0x0a, 5);                     /* one element */
	S5(-1, 0, 0x12, 0x06, 2, 0x0a, 8, 0x0a, 0);           /* no sleep type */
	S5(-1, 0, 0x12, 0x20, 2, 0x0a, 5, 0x0a, 5);           /* longer than the table */
	S5(-1, 0, 0x12, 0x03, 2, 0x0a, 5);                    /* shorter than its element */
	S5(-1, 0, 0x12, 0x01);
	S5(-1, 0, 0x12);
	S5(-1, 0, 0x12, 0xff, 0xff, 0xff, 0xff, 2, 0, 0);
	S5(-1, 0, 0x13, 0x06, 2, 0x0a, 5, 0x0a, 6);           /* no package */
	S5(-1, 0, 0x12, 0x06, 0, 0x0a, 5, 0x0a, 6);           /* an empty one */
	s5_is((const u8 *)"", 0, -1, 0);
}

static void switching_off(void **state)
{
	struct acpi_info i, none = {0};

	(void)state;
	assert_int_equal(acpi_poweroff(&none), -ENODEV);

	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	chip.pm1a = 0x0082;
	assert_int_equal(acpi_poweroff(&i), -EIO); /* this chipset stays on */
	assert_int_equal(chip.smi, 0xf1);
	assert_int_equal(chip.nr_sleeps, 1);
	assert_int_equal(chip.slept_a, 0x0083 | 7 << 10 | PM1_SLEEP);
	assert_int_equal(chip.slept_b, 5 << 10 | PM1_SLEEP);

	/* ACPI mode is on already, and nobody knows S5. */
	build_dsdt((const u8 *)"", 0);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	memset(&chip, 0, sizeof(chip));
	chip.pm1a = PM1_SCI_EN;
	assert_int_equal(acpi_poweroff(&i), -EIO);
	assert_int_equal(chip.smi, 0);
	assert_int_equal(chip.nr_sleeps, 3);
	assert_int_equal(chip.slept_a, PM1_SCI_EN | PM1_SLEEP);
}

static void extended_fields_count(void **state)
{
	struct acpi_info i;
	u8 *p = memory + FADT;

	(void)state;
	put(p + 64, 0, 4);
	put(p + 68, 0x12345678, 4); /* no port */
	gas(p + 172, ACPI_SPACE_IO, 16, 0x1804);
	gas(p + 208, ACPI_SPACE_IO, 32, 0x1808);
	put(p + 140, DSDT, 8);
	put(p + 40, 0, 4);
	table_sum(FADT);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_int_equal(i.pm1a_control, 0x1804);
	assert_int_equal(i.pm1b_control, 0);
	assert_int_equal(i.pm_timer.at, 0x1808);
	assert_true(i.has_s5);

	/* ACPI 1.0: the table ends where revision 1 ended. */
	build_fadt();
	put(p + 4, 116, 4);
	table_sum(FADT);
	read_tables(&i, memory + RSDP, RSDP2_BYTES);
	assert_int_equal(i.pm1a_control, 0x604);
	assert_int_equal(i.pm_timer.at, 0x608);
}

static void chance_never_leads_outside(void **state)
{
	static const u32 tables[] = {RSDT, XSDT, MADT, FADT, DSDT, HPET};
	struct rng r = rng_seeded(77);

	(void)state;
	for (int round = 0; round < 30000; round++) {
		struct acpi_info i;
		u64 t = tables[rng_below(&r, ARRAY_SIZE(tables))];

		build(NULL);
		for (u64 n = 1 + rng_below(&r, 6); n; n--) {
			u64 at = t + 4 + rng_below(&r, rng_percent(&r, 30) ? 4 : 250);

			memory[at] = rng_percent(&r, 50) ? (u8)rng_next(&r) :
							   (u8)(memory[at] + rng_below(&r, 3) - 1);
		}
		if (rng_percent(&r, 60))
			put(memory + t + 4, 36 + rng_below(&r, 300), 4);
		if (rng_percent(&r, 90))
			table_sum(t);
		(void)!read_tables(&i, memory + RSDP, RSDP2_BYTES);
		assert_true(i.nr_cpus <= ACPI_MAX_CPUS);
		assert_true(!i.has_s5 || (i.s5_type_a <= 7 && i.s5_type_b <= 7));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_is_read, build),
		cmocka_unit_test_setup(root_pointer_is_found, build),
		cmocka_unit_test_setup(bad_root_falls_back, build),
		cmocka_unit_test_setup(damaged_tables_are_left_out, build),
		cmocka_unit_test_setup(madt_entries_are_bounded, build),
		cmocka_unit_test_setup(s5_package_forms, build),
		cmocka_unit_test_setup(switching_off, build),
		cmocka_unit_test_setup(extended_fields_count, build),
		cmocka_unit_test_setup(chance_never_leads_outside, build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
