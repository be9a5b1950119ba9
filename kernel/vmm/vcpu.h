/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtual processor: a thread whose work is to enter the guest and to answer its exits.
 *
 *	loop:  requests? -> events to inject -> hvm->run -> v->exit -> handler[reason]
 *
 * Others reach a vCPU by request bits and a kick: a bit is set, then, if the vCPU is in guest mode, an
 * IPI makes it exit. The pair is lossless (rule 18): entry sets `mode`, full barrier, then looks
 * at requests; who requests sets the bit, full barrier, then looks at `mode`. */
#pragma once

#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "sched/thread.h"
#include "sched/wait.h"
#include "vmm/hvm.h"

enum vcpu_request {
	VCPU_REQ_PAUSE = 1u << 0, /* stop at the gate until the VM goes on */
	VCPU_REQ_STOP = 1u << 1,  /* the VM ends */
	VCPU_REQ_EVENT = 1u << 2, /* an interrupt or NMI may be pending */
	VCPU_REQ_INIT = 1u << 3,  /* INIT arrived: reset and wait for SIPI */
	VCPU_REQ_BOARD = 1u << 4, /* a device of the board has work left for this vCPU's thread */
};

enum vcpu_mode { VCPU_OUTSIDE, VCPU_IN_GUEST };

/* What a vCPU is doing, for `vms` and for the "nobody can ever run again" check. */
enum vcpu_activity { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_SIPI };

#define SPARE_TABLES 4 /* as many as one install can need */

struct vcpu {
	u64 regs[NR_REGS]; /* [t] guest registers while outside; offset 0: assembly knows */
	u64 rip, rflags;   /* [t] */
	struct vcpu_exit exit; /* [t] */
	struct vm *vm;     /* [o] */
	u32 index;         /* [o] */
	u32 requests;      /* [a] enum vcpu_request */
	u32 mode;          /* [a] enum vcpu_mode */
	u32 cpu;           /* [a] the CPU in guest mode, valid while mode says so */
	u32 activity;      /* [a] enum vcpu_activity */
	bool nmi_pending;  /* [a] */
	u8 sipi_vector;    /* [a] valid once sipi_pending */
	bool sipi_pending; /* [a] */
	bool parked;       /* [a] at the pause gate */
	struct wait_queue wake; /* HLT, wait for SIPI, pause */
	struct fpu fpu;    /* [t] */
	u64 dr[4];         /* [t] debug registers 0..3 while not live */
	bool uses_dr;      /* [t] */
	struct lapic *lapic; /* [o] */
	void *hw;          /* [o] the vendor's state: struct svm_vcpu */
	u64 tsc_offset;    /* [t] */
	u64 tsc_adjust;    /* [t] of that, what the guest has written */
	bool osxsave;      /* [t] CR4.OSXSAVE, for CPUID */
	struct {           /* [t] where instruction bytes were found last (guest_mem.c) */
		u64 page, cr3, hva, gpte_hva, gpte;
		u32 mode;
	} fetch;
	u64 spare_tables[SPARE_TABLES]; /* [t] physical addresses, zeroed */
	u32 nr_spare_tables;
	u64 *fresh; /* [mmu_lock] the spte that its last fault installed (ept.c, I3) */
	struct thread thread;
	/* Statistics [t] */
	u64 exits[NR_EXIT_REASONS];
	u64 flushes;       /* ASID flushes asked at entry */
};

int must_check vcpu_create(struct vm *vm, u32 index);
void vcpu_destroy(struct vcpu *v);

/* vcpu_request - set @bits and make @v look. => any context */
void vcpu_request(struct vcpu *v, u32 bits);

/* vcpu_must_leave - is @v to end, or to stand at the gate? For what may take long: it goes on later. */
bool vcpu_must_leave(const struct vcpu *v);

/* vcpu_skip - the instruction that exited, of v->exit.insn_bytes, is done: rip moves past it.
 * vcpu_advance - the same, to @next_rip. */
void vcpu_step_ends(struct vcpu *v);
void vcpu_skip_wrapped(struct vcpu *v, u64 next);

static inline void vcpu_advance(struct vcpu *v, u64 next_rip)
{
	v->rip = next_rip;
	if (unlikely(v->rflags & (RFLAGS_TF | RFLAGS_RF)))
		vcpu_step_ends(v);
}

static inline void vcpu_skip(struct vcpu *v)
{
	u64 next = v->rip + v->exit.insn_bytes;

	if (unlikely(next >> 32))
		vcpu_skip_wrapped(v, next);
	else
		vcpu_advance(v, next);
}

/* Exceptions for the guest. */
enum { VEC_DE = 0, VEC_DB = 1, VEC_BP = 3, VEC_OF = 4, VEC_UD = 6, VEC_DF = 8, VEC_TS = 10, VEC_NP = 11,
       VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_AC = 17, VEC_MC = 18 };
void vcpu_inject_ud(struct vcpu *v);
void vcpu_inject_gp(struct vcpu *v, u32 error);
void vcpu_inject_pf(struct vcpu *v, u64 cr2, u32 error);

/* vcpu_set_reg - write @bytes of register @reg as x86 does: 4 bytes clear the upper half. */
static inline void vcpu_set_reg(struct vcpu *v, int reg, u64 value, unsigned int bytes)
{
	u64 keep = bytes >= 4 ? 0 : ~0ull << (8 * bytes);

	v->regs[reg] = (v->regs[reg] & keep) | (bytes >= 8 ? value : value & ~(~0ull << (8 * bytes)));
}

static inline u64 vcpu_get_reg(const struct vcpu *v, int reg, unsigned int bytes)
{
	return bytes >= 8 ? v->regs[reg] : v->regs[reg] & ~(~0ull << (8 * bytes));
}
