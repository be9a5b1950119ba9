/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC in its memory window, and the other CPUs. */
#pragma once

#include "types.h"

#define APIC_BASE 0xfee00000ul

enum apic_reg {
	APIC_ID = 0x20,
	APIC_VERSION = 0x30,
	APIC_TPR = 0x80,
	APIC_PPR = 0xa0,
	APIC_EOI = 0xb0,
	APIC_LDR = 0xd0,
	APIC_DFR = 0xe0,
	APIC_SPIV = 0xf0,
	APIC_ISR = 0x100, /* eight of each, 16 bytes apart */
	APIC_TMR = 0x180,
	APIC_IRR = 0x200,
	APIC_ESR = 0x280,
	APIC_ICR_LOW = 0x300,
	APIC_ICR_HIGH = 0x310,
	APIC_LVT_TIMER = 0x320,
	APIC_LVT_THERMAL = 0x330,
	APIC_LVT_COUNTERS = 0x340,
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370,
	APIC_TIMER_INIT = 0x380,
	APIC_TIMER_NOW = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
	APIC_SELF_IPI = 0x3f0, /* x2APIC alone */
};

#define LVT_MASKED   (1u << 16)
#define LVT_EXTINT   (7u << 8)
#define LVT_PERIODIC (1u << 17)
#define LVT_DEADLINE (2u << 17)
#define DIVIDE_BY_1  0xbu

#define ICR_NMI       (4u << 8)
#define ICR_INIT      (5u << 8)
#define ICR_STARTUP   (6u << 8)
#define ICR_PENDING   (1u << 12)
#define ICR_LOGICAL   (1u << 11)
#define ICR_ASSERT    (1u << 14)
#define ICR_TO_SELF   (1u << 18)
#define ICR_TO_OTHERS (3u << 18)

static inline u32 apic_read(enum apic_reg reg)
{
	return *(volatile u32 *)(APIC_BASE + reg);
}

static inline void apic_write(enum apic_reg reg, u32 v)
{
	*(volatile u32 *)(APIC_BASE + reg) = v;
}

static inline u32 apic_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

/* apic_on - software-enable this CPU's APIC, spurious vector FF, and mask the 8259 pair, whose
 * vectors a BIOS left among the exceptions. */
void apic_on(void);
/* apic_send - write ICR and wait until it is idle; false if it never is. */
bool apic_send(u32 icr);

#define AP_MAX 31

/* ap_start - INIT and SIPI to all other CPUs; each calls @fn(index) on a stack of its own, index 1
 * and up in order of arrival, and halts when it returns. Wait for @expected of them, a few seconds
 * at most; returns how many came. */
unsigned int ap_start(void (*fn)(unsigned int index), unsigned int expected);

/* fw_cfg: the few things that the board tells about itself. */
enum fw_cfg_key { FW_CFG_SIGNATURE = 0, FW_CFG_RAM_BYTES = 3, FW_CFG_CPUS = 5, FW_CFG_ZERO = 0x11 };
/* fw_cfg_read - @bytes bytes of @key as a little-endian number. */
u64 fw_cfg_read(u16 key, unsigned int bytes);
