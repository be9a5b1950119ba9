/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC, xAPIC or x2APIC as the firmware handed it over. Intel SDM vol. 3A, "Advanced
 * Programmable Interrupt Controller". */
#pragma once

#include "lib/types.h"

/* apic_init - find, map and enable this CPU's; mask the 8259s. => boot CPU first */
void apic_init(void);
u32 apic_id(void);
void apic_eoi(void);
void apic_ipi(u32 apic_id, u8 vector);
void apic_nmi(u32 apic_id);
void apic_nmi_others(void);
/* apic_start_ap - INIT, SIPI, SIPI to start at physical @page (below 1 MiB). */
void apic_start_ap(u32 apic_id, u32 page);
/* apic_timer_set - interrupt VECTOR_TIMER after @ns; 0 stops it. */
void apic_timer_set(u64 ns);
/* apic_timer_ticks_raw - for calibration: start counting down from all ones, divide by 1. */
void apic_timer_start_raw(void);
u32 apic_timer_read_raw(void);
void apic_timer_calibrated(u64 hz);
