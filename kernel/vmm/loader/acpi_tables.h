/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables that a guest finds: RSDP, XSDT, FADT, MADT, DSDT, in the last 64 KiB below 1 MiB, where a
 * BIOS would have put them. ACPI specification 6.5, chapter 5. */
#pragma once

#include "vmm/loader/loader.h"

#define ACPI_TABLES_AT 0xf0000u /* the RSDP; the others follow */

/* acpi_tables_write - for a guest with @nr_vcpus processors. Returns 0 or what the callback said.
 * => RAM reaches 1 MiB */
int must_check acpi_tables_write(struct guest_ram *ram, u32 nr_vcpus);
