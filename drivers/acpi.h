/* SPDX-License-Identifier: BSD-2-Clause */
/* What Neap wants to know from the firmware's ACPI tables: processors, interrupt controllers,
 * timers, how to switch the machine off. No AML is run. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define ACPI_MAX_CPUS      64
#define ACPI_MAX_IOAPICS   8
#define ACPI_MAX_OVERRIDES 16

struct acpi_cpu {
	u32 apic_id;
	bool enabled; /* else: online-capable, absent for now */
};

struct acpi_ioapic {
	u8 id;
	u32 phys;
	u32 gsi_base;
};

/* ISA interrupt @irq arrives at global system interrupt @gsi. */
struct acpi_override {
	u8 irq;
	u32 gsi;
	u16 flags; /* polarity in bits 0..1, trigger in bits 2..3 */
};

/* Generic Address Structure. */
enum { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1 };
struct acpi_register {
	u8 space;
	u8 bits;
	u64 at; /* 0: there is none */
};

struct acpi_info {
	bool found; /* a valid RSDP and root table */

	u32 nr_cpus; /* in the firmware's order: the boot CPU usually first */
	struct acpi_cpu cpus[ACPI_MAX_CPUS];
	u32 cpus_left_out; /* past ACPI_MAX_CPUS */
	u64 lapic_phys;
	bool has_8259;
	u32 nr_ioapics;
	struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
	u32 nr_overrides;
	struct acpi_override overrides[ACPI_MAX_OVERRIDES];

	bool has_fadt;
	u16 sci; /* its ISA interrupt or GSI */
	u16 smi_command;
	u8 acpi_enable; /* what to write there, 0: ACPI mode is on for ever */
	u16 pm1a_control, pm1b_control; /* ports, 0: none */
	struct acpi_register pm_timer;
	bool pm_timer_is_32bit;
	struct acpi_register reset;
	u8 reset_value;
	bool has_s5; /* the sleep types below are the firmware's */
	u8 s5_type_a, s5_type_b;

	u64 hpet_phys; /* 0: none */
};

/* Make @bytes of physical memory readable; NULL if that is impossible. What it returns must stay
 * readable until acpi_init returns. */
typedef const void *(*acpi_map_fn)(u64 phys, u64 bytes);

/* acpi_init - read the tables into @info.
 * @rsdp, @rsdp_bytes: the boot loader's copy of the root pointer, or NULL, 0: then the BIOS areas
 * are searched.
 * => every byte is the firmware's and believed only within bounds and under a good checksum; a
 * damaged table costs one line and is left out
 * Return 0; -ENODEV without ACPI (then *@info is empty but valid). */
int must_check acpi_init(struct acpi_info *info, const void *rsdp, size_t rsdp_bytes,
			 acpi_map_fn map);

/* acpi_poweroff - switch the machine off. => interrupts off, nothing left to save
 * Return only in failure: -ENODEV if ACPI told no way; -EIO if the machine is still on. */
int acpi_poweroff(const struct acpi_info *info);

/* acpi_reset - reset the machine through the FADT's register, if it is a port.
 * Return only in failure: -ENODEV, -EIO. */
int acpi_reset(const struct acpi_info *info);
