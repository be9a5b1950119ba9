/* SPDX-License-Identifier: BSD-2-Clause */
/* What Neap wants to know from the firmware's ACPI tables: processors, timers, how to switch the
 * machine off. No AML is run. */
#pragma once

#include "lib/types.h"

#define ACPI_MAX_CPUS 64

struct acpi_cpu {
	u32 apic_id;
	bool enabled; /* else: online-capable, absent for now */
};

/* Generic Address Structure. */
enum { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1 };
struct acpi_register {
	u8 space;
	u64 at; /* 0: there is none */
};

struct acpi_info {
	bool found; /* a valid RSDP and root table */

	u32 nr_cpus; /* in the firmware's order: the boot CPU usually first */
	struct acpi_cpu cpus[ACPI_MAX_CPUS];
	u32 cpus_left_out; /* past ACPI_MAX_CPUS */

	bool has_fadt;
	u16 smi_command;
	u8 acpi_enable; /* what to write there, 0: ACPI mode is on for ever */
	u16 pm1a_control, pm1b_control; /* ports, 0: none */
	struct acpi_register pm_timer;
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
