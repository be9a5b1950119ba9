/* SPDX-License-Identifier: BSD-2-Clause */
/* The MP table, for guests that read no ACPI: a pointer that they search for in the last 64 KiB below
 * 1 MiB, and the configuration table behind it. Intel MultiProcessor Specification 1.4, chapter 4. */
#pragma once

#include "vmm/cpuid.h"
#include "vmm/loader/loader.h"

#define MP_TABLE_AT 0xf2000u /* beyond the ACPI tables */

/* mp_table_write - for a guest with @nr_vcpus processors whose CPUID leaf 1 is @leaf1. Returns 0 or what
 * the callback said. => RAM reaches 1 MiB */
int must_check mp_table_write(struct guest_ram *ram, u32 nr_vcpus, const struct cpuid_leaf *leaf1);
