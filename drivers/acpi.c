/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI tables. A table, once found, is a `struct table`: bytes and a length that were mapped and
 * summed. All further reading goes through get, which answers 0 outside of it: so no offset,
 * whatever the firmware wrote, leads out of what was checked.
 *
 * Source: ACPI Specification 6.5, "ACPI Software Programming Model" (tables), "ACPI Machine
 * Language (AML) Specification" (package encoding), "ACPI Hardware Specification" (PM1 control). */
#include "drivers/acpi.h"

#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"

#define HEADER_BYTES    36
#define MAX_TABLE_BYTES MIB(4)
#define MAX_ROOT_TABLES 256

struct table {
	const u8 *at;
	u32 len;
};

static u64 get(const struct table *t, u32 offset, u32 bytes)
{
	u64 v = 0;

	if (offset > t->len || bytes > t->len - offset)
		return 0;
	memcpy(&v, t->at + offset, bytes);
	return v;
}

static u8 get8(const struct table *t, u32 offset) { return get(t, offset, 1); }
static u32 get32(const struct table *t, u32 offset) { return get(t, offset, 4); }
static u64 get64(const struct table *t, u32 offset) { return get(t, offset, 8); }

static bool has_signature(const struct table *t, const char *signature)
{
	return t->len >= 4 && memcmp(t->at, signature, 4) == 0;
}

static bool sums_to_zero(const u8 *p, size_t n)
{
	u8 sum = 0;

	while (n--)
		sum += *p++;
	return sum == 0;
}

/* ---- finding tables ------------------------------------------------------------------------ */

/* Say why the table at @phys, with @header if that can be read, is not used. */
static bool left_out(u64 phys, const u8 *header, const char *why)
{
	char name[5] = "";

	for (int i = 0; header && i < 4; i++)
		name[i] = header[i] >= ' ' && header[i] < 127 ? (char)header[i] : '?';
	printk("acpi: table %s%sat %#lx %s, left out\n", name, header ? " " : "", phys, why);
	return false;
}

/* Map the table at @phys and check its sum. False, with a line: it is damaged. */
static bool table_open(acpi_map_fn map, u64 phys, struct table *t)
{
	const u8 *p = phys && phys <= UINT64_MAX - MAX_TABLE_BYTES ? map(phys, HEADER_BYTES) : NULL;
	u32 len;

	*t = (struct table){0};
	if (!p)
		return left_out(phys, p, "is out of reach");
	memcpy(&len, p + 4, 4);
	if (len < HEADER_BYTES || len > MAX_TABLE_BYTES)
		return left_out(phys, p, "has a bad length");
	p = map(phys, len);
	if (!p)
		return left_out(phys, p, "is out of reach");
	if (!sums_to_zero(p, len))
		return left_out(phys, p, "has a bad checksum");
	*t = (struct table){p, len};
	return true;
}

#define RSDP_BYTES  20 /* revision 0 */
#define RSDP2_BYTES 36

static bool rsdp_is_valid(const u8 *p, size_t bytes)
{
	return bytes >= RSDP_BYTES && memcmp(p, "RSD PTR ", 8) == 0 && sums_to_zero(p, RSDP_BYTES);
}

static const u8 *rsdp_search(acpi_map_fn map, u64 phys, u64 bytes)
{
	const u8 *p = map(phys, bytes);

	for (u64 i = 0; p && i + RSDP2_BYTES <= bytes; i += 16)
		if (rsdp_is_valid(p + i, RSDP2_BYTES))
			return p + i;
	return NULL;
}

/* The first KiB of the extended BIOS data area, then the BIOS itself. */
static const u8 *rsdp_search_bios(acpi_map_fn map)
{
	const u8 *bda = map(0x400, 0x100), *found = NULL;
	u16 ebda_segment = 0;

	if (bda)
		memcpy(&ebda_segment, bda + 0x0e, 2);
	if (ebda_segment >= 0x8000 && ebda_segment < 0xa000)
		found = rsdp_search(map, (u64)ebda_segment << 4, 1024);
	return found ? found : rsdp_search(map, 0xe0000, 0x20000);
}

/* The XSDT if there is a good one, else the RSDT. *@entry_bytes: 8 or 4. */
static bool root_open(acpi_map_fn map, const u8 *rsdp, size_t bytes, struct table *root,
		      u32 *entry_bytes)
{
	struct table r = {rsdp, (u32)bytes};

	if (get8(&r, 15) >= 2 && bytes >= RSDP2_BYTES && sums_to_zero(rsdp, RSDP2_BYTES) &&
	    get64(&r, 24) && table_open(map, get64(&r, 24), root) && has_signature(root, "XSDT")) {
		*entry_bytes = 8;
		return true;
	}
	*entry_bytes = 4;
	return table_open(map, get32(&r, 16), root) && has_signature(root, "RSDT");
}

/* ---- MADT: processors ---------------------------------------------------------------------- */

enum { MADT_LAPIC = 0, MADT_X2APIC = 9 };

#define CPU_ENABLED        1u
#define CPU_ONLINE_CAPABLE 2u
#define NO_APIC_ID         0xff /* in an 8-bit entry; 32-bit: all ones */

static void add_cpu(struct acpi_info *info, u32 apic_id, u32 flags)
{
	if (!(flags & (CPU_ENABLED | CPU_ONLINE_CAPABLE)))
		return;
	for (u32 i = 0; i < info->nr_cpus; i++)
		if (info->cpus[i].apic_id == apic_id)
			return; /* both kinds of entry may name it */
	if (info->nr_cpus == ACPI_MAX_CPUS) {
		info->cpus_left_out++;
		return;
	}
	info->cpus[info->nr_cpus++] = (struct acpi_cpu){apic_id, flags & CPU_ENABLED};
}

static void madt_entry(struct acpi_info *info, const struct table *e)
{
	u8 type = get8(e, 0);

	if (type == MADT_LAPIC && e->len >= 8 && get8(e, 3) != NO_APIC_ID)
		add_cpu(info, get8(e, 3), get32(e, 4));
	else if (type == MADT_X2APIC && e->len >= 16 && get32(e, 4) != UINT32_MAX)
		add_cpu(info, get32(e, 4), get32(e, 8));
}

static void read_madt(struct acpi_info *info, const struct table *t, unused acpi_map_fn map)
{
	u32 at = 44;

	if (info->nr_cpus)
		return; /* a second one: the first counts */
	while (at + 2 <= t->len) {
		u32 len = get8(t, at + 1);

		if (len < 2 || len > t->len - at) {
			printk("acpi: MADT entry at %u has a bad length, the rest is left out\n",
			       at);
			return;
		}
		madt_entry(info, &(struct table){t->at + at, len});
		at += len;
	}
}

/* ---- FADT: fixed hardware, and \_S5 in the DSDT -------------------------------------------- */

static struct acpi_register get_register(const struct table *t, u32 offset)
{
	struct acpi_register r = {.space = get8(t, offset), .at = get64(t, offset + 4)};

	if (r.space == ACPI_SPACE_IO && r.at > UINT16_MAX)
		r.at = 0; /* no such port */
	return r;
}

/* A port from the old field at @offset or, if that is empty, the extended one at @x_offset. */
static u16 get_port(const struct table *t, u32 offset, u32 x_offset)
{
	u64 port = get32(t, offset);

	if (!port) {
		struct acpi_register x = get_register(t, x_offset);

		port = x.space == ACPI_SPACE_IO ? x.at : 0;
	}
	return port <= UINT16_MAX ? (u16)port : 0;
}

/* One integer of an AML package; *@at moves behind it. Only constants are understood. */
static bool aml_integer(const struct table *t, u32 *at, u32 end, u8 *value)
{
	u8 op = get8(t, *at);
	/* Byte-, Word-, DWordPrefix; without one ZeroOp and OneOp, which are their own value. */
	u32 size = op == 0x0a ? 1 : op == 0x0b ? 2 : op == 0x0c ? 4 : 0;

	if (*at >= end || end - *at < 1 + size || (!size && op > 1))
		return false;
	*value = size ? get8(t, *at + 1) : op;
	*at += 1 + size;
	return true;
}

/* The package at @at, which follows the name: PackageOp, PkgLength, NumElements, elements. */
static bool aml_s5_package(const struct table *t, u32 at, u8 *type_a, u8 *type_b)
{
	u32 lead, more, len, end;

	if (get8(t, at) != 0x12)
		return false;
	at++;
	lead = get8(t, at);
	more = lead >> 6; /* bytes of PkgLength behind the first */
	len = more ? lead & 0xf : lead & 0x3f;
	for (u32 i = 0; i < more; i++)
		len |= (u32)get8(t, at + 1 + i) << (4 + 8 * i);
	if (at >= t->len || len > t->len - at || len < more + 2)
		return false;
	end = at + len; /* the length counts from its own first byte */
	at += 1 + more;
	if (get8(t, at++) < 1)
		return false;
	if (!aml_integer(t, &at, end, type_a) || *type_a > 7)
		return false;
	if (!aml_integer(t, &at, end, type_b))
		*type_b = *type_a; /* only one element: seen on small boards */
	return *type_b <= 7;
}

/* Look for Name(_S5_, Package(..)) or Name(\_S5_, ..). Bytes that only look like the name, in the
 * middle of something else, do not have a NameOp before and a whole package behind. */
static void find_s5(struct acpi_info *info, const struct table *t)
{
	for (u32 at = HEADER_BYTES + 1; at + 4 < t->len; at++) {
		u32 before = at - 1;

		if (memcmp(t->at + at, "_S5_", 4) != 0)
			continue;
		if (get8(t, before) == '\\')
			before--;
		if (get8(t, before) != 0x08)
			continue;
		if (aml_s5_package(t, at + 4, &info->s5_type_a, &info->s5_type_b)) {
			info->has_s5 = true;
			return;
		}
	}
}

static void read_fadt(struct acpi_info *info, const struct table *t, acpi_map_fn map)
{
	struct table dsdt;
	u64 dsdt_phys;

	if (info->has_fadt)
		return;
	info->has_fadt = true;
	info->smi_command = get32(t, 48) <= UINT16_MAX ? (u16)get32(t, 48) : 0;
	info->acpi_enable = get8(t, 52);
	info->pm1a_control = get_port(t, 64, 172);
	info->pm1b_control = get_port(t, 68, 184);

	info->pm_timer = get_register(t, 208);
	if (!info->pm_timer.at)
		info->pm_timer = (struct acpi_register){ACPI_SPACE_IO, get_port(t, 76, 208)};

	dsdt_phys = get64(t, 140);
	if (!dsdt_phys)
		dsdt_phys = get32(t, 40);
	if (dsdt_phys && table_open(map, dsdt_phys, &dsdt) && has_signature(&dsdt, "DSDT"))
		find_s5(info, &dsdt);
}

static void read_hpet(struct acpi_info *info, const struct table *t, unused acpi_map_fn map)
{
	struct acpi_register r = get_register(t, 40);

	if (!info->hpet_phys && r.space == ACPI_SPACE_MEMORY)
		info->hpet_phys = r.at;
}

/* ---- all together -------------------------------------------------------------------------- */

/* Tables that nobody reads are not opened: their damage is not our business. */
static void read_table(struct acpi_info *info, u64 phys, acpi_map_fn map)
{
	static const struct {
		const char *signature;
		void (*read)(struct acpi_info *info, const struct table *t, acpi_map_fn map);
	} readers[] = {{"APIC", read_madt}, {"FACP", read_fadt}, {"HPET", read_hpet}};
	struct table t = {phys && phys <= UINT64_MAX - PAGE_SIZE ? map(phys, HEADER_BYTES) : NULL, 4};

	for (u32 i = 0; t.at && i < ARRAY_SIZE(readers); i++) {
		if (!has_signature(&t, readers[i].signature))
			continue;
		if (table_open(map, phys, &t))
			readers[i].read(info, &t, map);
		return;
	}
}

int acpi_init(struct acpi_info *info, const void *rsdp, size_t rsdp_bytes, acpi_map_fn map)
{
	u32 entry_bytes, nr;
	struct table root;

	*info = (struct acpi_info){0};
	if (!rsdp || !rsdp_is_valid(rsdp, rsdp_bytes)) {
		rsdp = rsdp_search_bios(map);
		rsdp_bytes = RSDP2_BYTES;
	}
	if (!rsdp || !root_open(map, rsdp, rsdp_bytes, &root, &entry_bytes))
		return -ENODEV;
	info->found = true;

	nr = MIN((root.len - HEADER_BYTES) / entry_bytes, (u32)MAX_ROOT_TABLES);
	for (u32 i = 0; i < nr; i++)
		read_table(info, get(&root, HEADER_BYTES + i * entry_bytes, entry_bytes), map);
	if (info->cpus_left_out)
		printk("acpi: %u processors past the first %u are not used\n", info->cpus_left_out,
		       ACPI_MAX_CPUS);
	return 0;
}

/* ---- switching off ------------------------------------------------------------------------- */

#define PM1_SCI_EN     (1u << 0)
#define PM1_TYPE_SHIFT 10
#define PM1_TYPE_MASK  (7u << PM1_TYPE_SHIFT)
#define PM1_SLEEP      (1u << 13)

/* Up to three seconds are allowed for the firmware to hand over; boards that do are quick. */
#define ENABLE_POLLS 1000000
#define SLEEP_POLLS  1000000

/* The registers belong to the firmware until ACPI mode is on. */
static void enable_acpi_mode(const struct acpi_info *info)
{
	if (!info->smi_command || !info->acpi_enable || (inw(info->pm1a_control) & PM1_SCI_EN))
		return;
	outb(info->smi_command, info->acpi_enable);
	for (int i = 0; i < ENABLE_POLLS && !(inw(info->pm1a_control) & PM1_SCI_EN); i++)
		cpu_relax();
}

static void sleep_as(u16 port, u8 type)
{
	u16 v = (u16)((inw(port) & ~(PM1_TYPE_MASK | PM1_SLEEP)) | (u32)type << PM1_TYPE_SHIFT);

	/* Two writes: the type must stand before the switch is thrown. */
	outw(port, v);
	outw(port, v | PM1_SLEEP);
}

int acpi_poweroff(const struct acpi_info *info)
{
	/* Without \_S5: what Intel's chipsets, AMD's, and the PIIX4 of emulators call S5. A type
	 * that means nothing to a chipset does nothing. */
	static const u8 guesses[] = {7, 5, 0};

	if (!info->pm1a_control)
		return -ENODEV;
	enable_acpi_mode(info);
	for (unsigned int i = 0; i < (info->has_s5 ? 1 : ARRAY_SIZE(guesses)); i++) {
		sleep_as(info->pm1a_control, info->has_s5 ? info->s5_type_a : guesses[i]);
		if (info->pm1b_control)
			sleep_as(info->pm1b_control, info->has_s5 ? info->s5_type_b : guesses[i]);
		for (int k = 0; k < SLEEP_POLLS; k++)
			cpu_relax();
	}
	return -EIO;
}
