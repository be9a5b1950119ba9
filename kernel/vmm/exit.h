/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of exit handlers: one function a reason, whatever the vendor. */
#pragma once

#include "vmm/vcpu.h"

/* A handler answers v->exit: it advances rip or injects an exception, or leaves both alone so that the
 * instruction runs again. => v's thread, may sleep */
typedef void (*exit_handler)(struct vcpu *v);
extern const exit_handler exit_handlers[NR_EXIT_REASONS];

static inline void exit_handle(struct vcpu *v)
{
	v->exits[v->exit.reason]++;
	exit_handlers[v->exit.reason](v);
}

/* hypercall - number in rax, answer to rax; an unknown number returns -ENOSYS and never faults. */
void hypercall(struct vcpu *v);

/* emulate_mmio - carry out the instruction at rip, whose memory operand at guest-physical @at is no
 * memory. emulate_string_io - INS and OUTS, with and without REP. */
void emulate_mmio(struct vcpu *v, gpa_t at);
void emulate_string_io(struct vcpu *v);

/* msr_read, msr_write - Return 0, or -EINVAL: the guest gets #GP. */
int must_check msr_read(struct vcpu *v, u32 msr, u64 *value);
int must_check msr_write(struct vcpu *v, u32 msr, u64 value);
