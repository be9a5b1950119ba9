/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a virtual processor: its loop, what others may ask of it, and the small things that
 * every exit handler needs. */
#include "vmm/vcpu.h"

#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/decode.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/pic.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"
#include "vmm/vm.h"

/* ---- requests ----------------------------------------------------------------------------------- */

void vcpu_request(struct vcpu *v, u32 bits)
{
	atomic_or(&v->requests, bits); /* a full barrier: the other half is in hvm->run */
	if (atomic_load(&v->mode) == VCPU_IN_GUEST)
		smp_kick(atomic_load_relaxed(&v->cpu));
	wait_wake_all(&v->wake);
}

/* ---- interrupts ------------------------------------------------------------------------------------- */

/* extint_pending - the 8259s have something for @v. It is asked for the vector only when @v can take it. */
static bool extint_pending(struct vcpu *v)
{
	return v->index == 0 && pic_pending(board_pic(v->vm)) && lapic_passes_extint(v->lapic);
}

/* Deliver one event if the guest can take one now; else arrange to be told when it can. */
static void deliver_events(struct vcpu *v)
{
	if (atomic_load(&v->nmi_pending)) {
		if (hvm->nmi_allowed(v)) {
			atomic_store(&v->nmi_pending, false);
			hvm->inject_nmi(v);
		} else {
			hvm->want_nmi_window(v);
		}
	}
	u8 tpr = hvm->get_tpr(v);
	u8 vector = lapic_pending(v->lapic, tpr);
	if (vector && hvm->interrupt_allowed(v)) {
		lapic_ack(v->lapic, vector);
		hvm->inject_interrupt(v, vector);
	} else if (unlikely(extint_pending(v)) && hvm->interrupt_allowed(v)) {
		hvm->inject_interrupt(v, board_pic_ack(v->vm));
	}
	/* What still waits needs a window, or that the task priority falls. */
	vector = lapic_pending(v->lapic, tpr);
	hvm->want_irq_window(v, extint_pending(v) ? 0xf : vector >> 4);
	hvm->watch_tpr(v, !vector && lapic_pending(v->lapic, 0));
}

/* ---- the gate: everything that is not entering the guest -------------------------------------------- */

static void do_init(struct vcpu *v)
{
	hvm->vcpu_reset(v);
	preempt_disable();
	fpu_reset(&v->fpu);
	preempt_enable();
	v->uses_dr = v->osxsave = false;
	v->fetch.hva = 0;
	lapic_reset(v->lapic);
}

static void do_sipi(struct vcpu *v)
{
	u8 vector = atomic_load(&v->sipi_vector);
	struct segment cs;

	hvm->get_segment(v, SEG_CS, &cs);
	cs.selector = (u16)(vector << 8);
	cs.base = (u64)vector << 12;
	hvm->set_segment(v, SEG_CS, &cs);
	v->rip = 0;
	atomic_store(&v->activity, VCPU_RUNNING); /* first: vm_check_stuck */
	atomic_store(&v->sipi_pending, false);
}

/* An interrupt wakes a halted vCPU only if it can be taken; what is masked leaves it asleep. */
static bool wakes_from_halt(struct vcpu *v)
{
	if (atomic_load(&v->nmi_pending) && hvm->nmi_allowed(v))
		return true;
	return (lapic_pending(v->lapic, hvm->get_tpr(v)) || extint_pending(v)) &&
	       (v->rflags & RFLAGS_IF);
}

bool vcpu_must_leave(const struct vcpu *v)
{
	return (atomic_load(&v->requests) & VCPU_REQ_STOP) || atomic_load(&v->vm->paused);
}

static bool may_go_on(struct vcpu *v)
{
	u32 requests = atomic_load(&v->requests);

	if (requests & VCPU_REQ_STOP)
		return true;
	if (atomic_load(&v->vm->paused))
		return !atomic_load(&v->parked); /* go round, to say that it stands at the gate */
	switch (atomic_load(&v->activity)) {
	case VCPU_RUNNING:
		return true;
	case VCPU_HALTED:
		return (requests & VCPU_REQ_INIT) || wakes_from_halt(v);
	default:
		return (requests & VCPU_REQ_INIT) || atomic_load(&v->sipi_pending);
	}
}

static void wait_at_gate(struct vcpu *v)
{
	if (atomic_load(&v->vm->paused)) {
		atomic_store(&v->parked, true);
		wait_wake_all(&v->wake); /* vm_wait_parked */
	}
	wait_event(&v->wake, may_go_on(v));
	atomic_store(&v->parked, false);
}

/* Answer every request. Returns false when the vCPU shall leave. */
static bool serve(struct vcpu *v)
{
	bool board = false;

	for (;;) {
		u32 requests = atomic_load(&v->requests);
		/* A SIPI right behind an INIT must find who waits for it: this comes before the
		 * request is taken off. */
		if (requests & VCPU_REQ_INIT)
			atomic_store(&v->activity, VCPU_WAIT_SIPI);
		atomic_and(&v->requests, ~requests | VCPU_REQ_STOP); /* only what was seen */
		if (requests & VCPU_REQ_STOP)
			return false;
		board |= requests & VCPU_REQ_BOARD;
		if (requests & VCPU_REQ_INIT)
			do_init(v);
		if (atomic_load(&v->activity) == VCPU_WAIT_SIPI && atomic_load(&v->sipi_pending))
			do_sipi(v);
		if (atomic_load(&v->activity) == VCPU_HALTED && wakes_from_halt(v))
			atomic_store(&v->activity, VCPU_RUNNING);
		bool paused = atomic_load(&v->vm->paused);
		if (board && !paused) { /* it may sleep: look again */
			board = false;
			board_serve(v);
			continue;
		}
		if (paused || atomic_load(&v->activity) != VCPU_RUNNING) {
			vm_check_stuck(v->vm);
			wait_at_gate(v);
			continue;
		}
		deliver_events(v);
		return true;
	}
}

static void vcpu_loop(void *arg)
{
	struct vcpu *v = arg;
	struct vm *vm = v->vm;

	thread_use_space(vm->mm, &vm->mm->space);
	while (serve(v)) {
		do {
			hvm->run(v);
			if (unlikely(need_resched()))
				preempt_schedule();
			exit_handle(v);
		} while (likely(!atomic_load_relaxed(&v->requests)));
	}
	preempt_disable();
	fpu_save(&v->fpu);
	preempt_enable();
	thread_use_space(NULL, NULL);
	vm_vcpu_left(vm);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static struct vcpu *vcpu_of(struct thread *t)
{
	return container_of(t, struct vcpu, thread);
}

static void vcpu_switch_in(struct thread *t)
{
	hvm->switch_in(vcpu_of(t));
}

/* The thread may run on another CPU next, which cannot ask this one for its registers. */
static void vcpu_switch_out(struct thread *t)
{
	struct vcpu *v = vcpu_of(t);

	fpu_save(&v->fpu);
	hvm->switch_out(v);
}

static const struct thread_ops vcpu_thread_ops = {
	.switch_in = vcpu_switch_in,
	.switch_out = vcpu_switch_out,
};

int vcpu_create(struct vm *vm, u32 index)
{
	unsigned int order = frame_order(sizeof(struct vcpu));
	struct page *p = frame_alloc_order(FRAME_KERNEL, order, FRAME_ZERO);
	struct page *fpu = frame_alloc_order(FRAME_KERNEL, frame_order(fpu_area_bytes()), FRAME_ZERO);
	struct vcpu *v = p ? page_to_virt(p) : NULL;
	char name[32];
	int err = -ENOMEM;

	if (!p || !fpu)
		goto out_frames;
	v->vm = vm;
	v->index = index;
	v->fpu.area = page_to_virt(fpu);
	v->fpu.cpu = -1;
	wait_init(&v->wake);
	fpu_reset(&v->fpu);
	v->lapic = lapic_create(v);
	if (!v->lapic)
		goto out_frames;
	err = hvm->vcpu_create(v);
	if (err)
		goto out_lapic;
	text_format(name, sizeof(name), "%s/%u", vm->config.name, index);
	err = thread_create(&v->thread, name, vcpu_loop, v, &vcpu_thread_ops);
	if (err)
		goto out_hw;
	v->activity = index == 0 ? VCPU_RUNNING : VCPU_WAIT_SIPI;
	vm->vcpus[index] = v;
	return 0;
out_hw:
	hvm->vcpu_destroy(v);
out_lapic:
	lapic_destroy(v->lapic);
out_frames:
	if (fpu)
		frame_free(fpu, frame_order(fpu_area_bytes()));
	if (p)
		frame_free(p, order);
	return trace(err);
}

void vcpu_destroy(struct vcpu *v)
{
	hvm->vcpu_destroy(v);
	lapic_destroy(v->lapic);
	frame_free(phys_to_page(virt_to_phys(v->fpu.area)), frame_order(fpu_area_bytes()));
	frame_free(phys_to_page(virt_to_phys(v)), frame_order(sizeof(*v)));
}

/* ---- what exit handlers need ------------------------------------------------------------------------------ */

bool vcpu_insn_length_slow(struct vcpu *v, u32 opcode, unsigned int opcode_bytes)
{
	u8 code[16];
	u8 want[4] = {opcode, opcode >> 8, opcode >> 16, opcode >> 24};
	unsigned int have = guest_fetch(v, code);

	v->exit.insn_bytes = insn_matches(code, have, guest_insn_mode(v), want, opcode_bytes);
	return v->exit.insn_bytes != 0;
}

void vcpu_step_ends(struct vcpu *v)
{
	if ((v->rflags & RFLAGS_TF) && !hvm->injection_pending(v))
		hvm->inject_single_step(v);
	v->rflags &= ~(u64)RFLAGS_RF;
}

void vcpu_skip_wrapped(struct vcpu *v, u64 next)
{
	vcpu_advance(v, guest_insn_mode(v) == INSN_64 ? next : (u32)next);
}

void vcpu_inject_ud(struct vcpu *v)
{
	hvm->inject_exception(v, VEC_UD, false, 0);
}

void vcpu_inject_gp(struct vcpu *v, u32 error)
{
	hvm->inject_exception(v, VEC_GP, true, error);
}

void vcpu_inject_pf(struct vcpu *v, u64 cr2, u32 error)
{
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	s.cr2 = cr2;
	hvm->set_sregs(v, &s);
	hvm->inject_exception(v, VEC_PF, true, error);
}
