/* SPDX-License-Identifier: BSD-2-Clause */
/* Time: nanoseconds since boot from the TSC. */
#pragma once

#include "lib/types.h"

/* clock_calibrate - find the TSC's and the APIC timer's frequency. Several references are used, none
 * trusted alone: the 8254, the ACPI PM timer (@pm_port, 0 if absent), the HPET (@hpet, NULL if
 * absent), CPUID leaf 15h. Two that agree within 1 % decide; else the median, with one line.
 * => boot CPU, after apic_init; waits 10 ms, three times if nothing agrees */
void clock_calibrate(u16 pm_port, volatile void *hpet);
u64 clock_tsc_hz(void);
u64 clock_ns(void);
/* clock_ticks - how often a counter of @hz has counted after @ns. Whole seconds apart from the rest, so that
 * no product overflows. */
static inline u64 clock_ticks(u64 ns, u64 hz)
{
	const u64 second = 1000000000;

	return ns / second * hz + ns % second * hz / second;
}
u64 clock_tsc_to_ns(u64 tsc_delta);
u64 clock_ns_to_tsc(u64 ns); /* rounded up */
/* clock_spin_us - busy wait. => any context; for drivers' bounded waits and AP start */
void clock_spin_us(u32 us);
