/* SPDX-License-Identifier: BSD-2-Clause */
/* Who owns the FPU registers. The kernel itself computes without them, so a vCPU's state stays in
 * the registers across exits. It is saved when the vCPU's thread leaves its CPU, because the thread may
 * go on on another one, which cannot ask this one for its registers.
 *
 * Nobody else may have used them when it comes back to the same CPU: then nothing is loaded.
 *
 * Invariants
 *  I1. cpu->fpu_owner == f exactly if f->cpu is this CPU and f's state is in its registers.
 *  I2. If cpu->fpu_left == f and f->left is this CPU, its registers still hold what f's area does: the next
 *      load on this CPU, and of f anywhere, ends one of the two. */
#pragma once

#include "lib/types.h"

struct fpu {
	void *area;  /* [o] 64-byte aligned, fpu_area_bytes() */
	u64 xcr0;    /* the guest's XCR0; 1 at reset */
	s32 cpu;     /* where the state is live, -1: only in area */
	s32 left;    /* the CPU where it was saved last, -1: loaded or reset since (I2) */
};

void fpu_init(void);          /* once per CPU */
u32 fpu_area_bytes(void);     /* what XSAVE, or FXSAVE without it, needs */
u64 fpu_xcr0_allowed(void);   /* components that we save: 0 without XSAVE */
/* fpu_reset - @f as after INIT. => preemption off, by its own thread; or before that runs */
void fpu_reset(struct fpu *f);
/* fpu_load - make the registers hold @f, saving who had them; XCR0 is f->xcr0 afterwards.
 * => preemption off; @f is not live on another CPU
 * While @f is live here a guest's XSETBV is f->xcr0 = v, xsetbv(0, v). */
void fpu_load(struct fpu *f);
/* fpu_save - @f's state to its area, giving up ownership; nothing if it is not live here.
 * => preemption off; called when its thread is switched away */
void fpu_save(struct fpu *f);
