/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC, xAPIC or x2APIC as the firmware handed it over. Intel SDM vol. 3A, "Advanced
 * Programmable Interrupt Controller". */
#pragma once

#include "lib/types.h"

/* apic_init - find, map and enable this CPU's; mask the 8259s.
 * => once per CPU, boot CPU first, after memory_init and trap_init */
void apic_init(void);
/* apic_id - this CPU's, as others must name it. */
u32 apic_id(void);
void apic_eoi(void);
/* What one processor may send to another, asserted: an interrupt, with its vector or'ed in; NMI; INIT,
 * which stops a processor and makes it wait; SIPI, which makes it run from the physical page whose
 * number, below 100h, is or'ed in. */
enum { APIC_FIXED = 0x4000, APIC_NMI = 0x4400, APIC_INIT = 0x4500, APIC_STARTUP = 0x4600 };
/* => any context */
void apic_send(u32 apic_id, u32 message);
static inline void apic_ipi(u32 apic_id, u8 vector) { apic_send(apic_id, APIC_FIXED | vector); }
/* apic_timer_set - one interrupt VECTOR_TIMER on this CPU, not before @ns from now; 0 stops it. Very
 * long times (seconds) may be cut short: who set it looks at the clock and sets it again. */
void apic_timer_set(u64 ns);
/* apic_timer_start_raw - for calibration: start counting down from all ones, divide by 1. */
void apic_timer_start_raw(void);
u32 apic_timer_read_raw(void);
void apic_timer_calibrated(u64 hz);
