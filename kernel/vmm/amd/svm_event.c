/* SPDX-License-Identifier: BSD-2-Clause */
/* Events for a guest: injected by EVENTINJ at the next VMRUN, or awaited by an intercept that strikes
 * when they could be taken. AMD APM vol. 2, "Event Injection", "Interrupt and Local APIC Support". */
#include "vmm/amd/svm.h"

#include "cpu/x86.h"
#include "lib/atomic.h"
#include "vmm/vcpu.h"

/* Exceptions that are no faults: their frames carry RFLAGS.RF as it is. A fault's has it set, so that a
 * breakpoint on the instruction does not strike again. AMD APM vol. 2, "rFLAGS.RF". */
#define NO_FAULTS (1u << VEC_DB | 1u << VEC_BP | 1u << VEC_OF | 1u << VEC_DF | 1u << VEC_MC)

void svm_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	if (!(NO_FAULTS & 1u << vector))
		v->rflags |= RFLAGS_RF;
	vmcb_of(v)->event_inject = EVENT_VALID | (u64)EVENT_EXCEPTION << 8 | vector |
				   (has_error ? EVENT_HAS_ERROR | (u64)error << 32 : 0);
}

void svm_inject_interrupt(struct vcpu *v, u8 vector)
{
	vmcb_of(v)->event_inject = EVENT_VALID | (u64)EVENT_INTR << 8 | vector;
}

void svm_inject_nmi(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	s->vmcb->event_inject = EVENT_VALID | (u64)EVENT_NMI << 8 | 2;
	s->vmcb->intercept1 |= INTERCEPT_IRET;
	s->nmi_masked = true;
}

void svm_inject_single_step(struct vcpu *v)
{
	vmcb_of(v)->dr6 |= 1u << 14;
	svm_inject_exception(v, VEC_DB, false, 0);
}

bool svm_injection_pending(const struct vcpu *v)
{
	return vmcb_of(v)->event_inject & EVENT_VALID;
}

/* An NMI may come after the handler's IRET has executed, not at it: its frame is still in use. */
bool svm_nmi_allowed(const struct vcpu *v)
{
	const struct svm_vcpu *s = v->hw;

	return !s->nmi_masked && !(s->vmcb->interrupt_shadow & 1) && v->rip != s->nmi_iret_rip &&
	       !svm_injection_pending(v);
}

void svm_nmi_unmask(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	s->vmcb->intercept1 &= ~INTERCEPT_IRET;
	s->nmi_masked = false;
	s->nmi_iret_rip = v->rip;
}

/* While the handler runs, its IRET exits. Where another event goes first, the guest is made to leave
 * right behind it. Where only the IRET itself or an interrupt shadow stands in the way, one single step
 * over it is all that is needed; #DB exits always. */
void svm_want_nmi_window(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	if (s->nmi_masked || s->watch)
		return;
	if (svm_injection_pending(v)) {
		s->watch = WATCH_KICK;
		return;
	}
	s->watch = WATCH_STEP;
	s->guest_tf = v->rflags & RFLAGS_TF;
	v->rflags |= RFLAGS_TF;
}

bool svm_interrupt_allowed(const struct vcpu *v)
{
	const struct vmcb *b = vmcb_of(v);

	return (v->rflags & RFLAGS_IF) && !((b->interrupt_shadow & 1) && b->rip == v->rip) &&
	       !svm_injection_pending(v);
}

/* A virtual interrupt that exists only to be intercepted when the guest could take it. */
void svm_want_irq_window(struct vcpu *v, u8 priority)
{
	struct vmcb *b = vmcb_of(v);

	b->virq &= ~(VIRQ_PENDING | 0xfu << VIRQ_PRIO_SHIFT);
	if (priority) {
		b->virq |= VIRQ_PENDING | (u32)priority << VIRQ_PRIO_SHIFT;
		b->intercept1 |= INTERCEPT_VINTR;
	} else {
		b->intercept1 &= ~INTERCEPT_VINTR;
	}
}

void svm_watch_tpr(struct vcpu *v, bool watch)
{
	struct vmcb *b = vmcb_of(v);

	b->cr_write = watch ? b->cr_write | 1u << 8 : b->cr_write & ~(1u << 8);
}

void svm_set_tpr(struct vcpu *v, u8 tpr)
{
	struct vmcb *b = vmcb_of(v);

	b->virq = (b->virq & ~(u32)VIRQ_TPR_MASK) | tpr >> 4;
}

u8 svm_get_tpr(const struct vcpu *v)
{
	return (vmcb_of(v)->virq & VIRQ_TPR_MASK) << 4;
}

/* An event whose delivery was cut short by the exit is delivered again. A software interrupt is not:
 * rip still stands on its instruction, which raises it once more. */
noinline void svm_redeliver(struct vmcb *b)
{
	u64 event = b->exit_int_info;
	u8 vector = EVENT_VECTOR(event);

	if (EVENT_TYPE(event) == EVENT_SOFTWARE)
		return;
	if (EVENT_TYPE(event) == EVENT_EXCEPTION && (vector == VEC_BP || vector == VEC_OF))
		return;
	b->event_inject = event;
}

/* Whatever the exit was, the watch is over; events are looked at again and may set another. A step that
 * another exit came before has not happened: TF is taken back. */
noinline void svm_watch_ends(struct vcpu *v, struct svm_vcpu *s)
{
	if (s->watch == WATCH_STEP && !s->guest_tf)
		v->rflags &= ~(u64)RFLAGS_TF;
	s->watch = WATCH_NOTHING;
	atomic_or(&v->requests, VCPU_REQ_EVENT);
}
