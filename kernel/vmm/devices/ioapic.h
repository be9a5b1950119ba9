/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC: 24 inputs at FEC00000, each with a redirection entry that says as which message, to which
 * local APIC, it goes. Intel 82093AA data sheet. ISA lines arrive at the input of their number, but the
 * timer's at input 2, as on every PC (the tables that guests read say so). */
#pragma once

#include "cpu/spinlock.h"

struct vm;

#define IOAPIC_BASE   0xfec00000ul
#define IOAPIC_INPUTS 24
#define IOAPIC_TIMER_INPUT 2
#define IOAPIC_VERSION 0x11u

struct ioapic {
	struct spinlock lock; /* RANK_IRQ_CHIP */
	struct vm *vm;
	u8 select, id;
	u32 lines;                  /* [lock] as the devices drive them */
	u64 entry[IOAPIC_INPUTS];   /* [lock] */
};

/* ioapic_attach - reset *@a and put it on @vm's bus. */
void ioapic_attach(struct ioapic *a, struct vm *vm);
/* ioapic_set - input @pin is high or low. => any context */
void ioapic_set(struct ioapic *a, u32 pin, bool level);
/* ioapic_eoi - a local APIC has ended @vector, which came level-triggered or from the timer's input: level
 * inputs that are still high are sent again. Returns true if it is the timer's. => any context */
bool ioapic_eoi(struct ioapic *a, u8 vector);
