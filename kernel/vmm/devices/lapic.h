/* SPDX-License-Identifier: BSD-2-Clause */
/* A vCPU's local APIC: registers at FEE00000 or, in x2APIC mode, MSRs from 800 on; interrupt requests,
 * inter-processor interrupts. Intel SDM vol. 3A, "Advanced Programmable Interrupt Controller (APIC)". */
#pragma once

#include "lib/types.h"

struct lapic;
struct lapic_timer;
struct vcpu;
struct vm;

#define LAPIC_BASE    0xfee00000ul
#define LAPIC_VERSION 0x14u
#define MSR_X2APIC    0x800u /* the first of 256 */

struct lapic *lapic_create(struct vcpu *v); /* NULL without memory */
void lapic_destroy(struct lapic *l);
/* lapic_reset - as after INIT: the id stays. => v's thread, or before it runs */
void lapic_reset(struct lapic *l);

/* lapic_pending - the highest requested vector that is above what is in service and above @tpr's
 * class; 0 if none. => v's thread */
u8 lapic_pending(struct lapic *l, u8 tpr);
/* lapic_ack - @vector is being delivered: requested becomes in service. => v's thread */
void lapic_ack(struct lapic *l, u8 vector);

/* lapic_message - deliver to @dest of @vm what an I/O APIC's entry or an MSI says: the low 16 bits of @icr
 * are as an ICR's. With LAPIC_TELLS_END board_interrupt_ended hears of the end of this vector, as it does
 * for level-triggered ones. => any context */
#define LAPIC_TELLS_END (1u << 16)
bool lapic_message(struct vm *vm, u8 dest, u32 icr);

/* lapic_passes_extint - would the 8259s' request reach the processor? => v's thread */
bool lapic_passes_extint(const struct lapic *l);

struct lapic_timer *lapic_timer(struct lapic *l);

/* The APIC_BASE register. lapic_set_base: -EINVAL for what this APIC cannot do: move, and any change of
 * mode but off to xAPIC, xAPIC to x2APIC, either to off. */
u64 lapic_base(const struct lapic *l);
int must_check lapic_set_base(struct lapic *l, u64 value);

/* lapic_msr_read, lapic_msr_write - registers MSR_X2APIC to MSR_X2APIC + 255, which exist only if
 * lapic_is_x2apic. -EINVAL: #GP. => v's thread */
bool lapic_is_x2apic(const struct lapic *l);
int must_check lapic_msr_read(struct vcpu *v, u32 msr, u64 *value);
int must_check lapic_msr_write(struct vcpu *v, u32 msr, u64 value);

/* lapic_attach - put the registers on @vm's bus. One range serves all vCPUs: each sees its own. */
void lapic_attach(struct vm *vm);
