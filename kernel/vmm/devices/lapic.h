/* SPDX-License-Identifier: BSD-2-Clause */
/* A vCPU's local APIC: registers at FEE00000, interrupt requests, inter-processor interrupts, the
 * timer. Intel SDM vol. 3A, "Advanced Programmable Interrupt
 * Controller (APIC)". */
#pragma once

#include "lib/types.h"

struct lapic;
struct vcpu;
struct vm;

#define LAPIC_BASE 0xfee00000ul

struct lapic *lapic_create(struct vcpu *v); /* NULL without memory */
void lapic_destroy(struct lapic *l);
/* lapic_reset - as after INIT: the id stays. => v's thread, or before it runs */
void lapic_reset(struct lapic *l);
/* lapic_stop - its timer fires no more. => thread context */
void lapic_stop(struct lapic *l);

/* lapic_pending - the highest requested vector that is above what is in service and above @tpr's
 * class; 0 if none. => v's thread */
u8 lapic_pending(struct lapic *l, u8 tpr);
/* lapic_ack - @vector is being delivered: requested becomes in service. => v's thread */
void lapic_ack(struct lapic *l, u8 vector);

/* lapic_message - deliver to @dest of @vm what an I/O APIC's entry says: its low 16 bits are as an ICR's.
 * => any context */
void lapic_message(struct vm *vm, u8 dest, u32 icr);

/* lapic_passes_extint - would the 8259s' request reach the processor? => v's thread */
bool lapic_passes_extint(const struct lapic *l);

/* The IA32_TSC_DEADLINE register; @now: the guest's TSC. */
u64 lapic_tsc_deadline(const struct lapic *l);
void lapic_set_tsc_deadline(struct lapic *l, u64 tsc, u64 now);

/* The APIC_BASE register. lapic_set_base: -EINVAL for what this APIC cannot do (move, x2APIC). */
u64 lapic_base(const struct lapic *l);
int must_check lapic_set_base(struct lapic *l, u64 value);

/* lapic_attach - put the registers on @vm's bus. One range serves all vCPUs: each sees its own. */
void lapic_attach(struct vm *vm);
