/* SPDX-License-Identifier: BSD-2-Clause */
/* From SVM's exit codes to the one exit record. AMD APM vol. 2, appendix C "SVM Intercept Exit Codes";
 * "IOIO Intercept" and "Nested Page Faults" for the qualifying fields. */
#include "lib/pt_walk.h"
#include "vmm/amd/svm.h"
#include "vmm/vcpu.h"

static void record_io(struct vcpu *v, const struct vmcb *b)
{
	u64 info = b->exit_info1;

	v->exit.reason = EXIT_IO;
	v->exit.io.next_rip = b->exit_info2;
	v->exit.io.port = (u16)(info >> 16);
	v->exit.io.bytes = (info >> IOIO_SIZE_SHIFT) & 7;
	v->exit.io.addr_bytes = ((info >> IOIO_ADDR_SHIFT) & 7) << 1;
	v->exit.io.in = info & IOIO_IN;
	v->exit.io.string = info & IOIO_STRING;
	v->exit.io.rep = info & IOIO_REP;
	v->exit.io.segment = -1;
}

static void record_npf(struct vcpu *v, const struct vmcb *b)
{
	u64 info = b->exit_info1;

	v->exit.reason = EXIT_MMU;
	v->exit.mmu.gpa = gpa(b->exit_info2);
	v->exit.mmu.acc = info & PFEC_W ? ACC_W : info & PFEC_I ? ACC_X : ACC_R;
	v->exit.mmu.in_walk = info & NPF_WALK;
}

/* The end of our own single step (svm_want_nmi_window); the guest sees nothing of it. */
static void record_step(struct vcpu *v, struct svm_vcpu *s)
{
	s->nmi_iret_rip = 0;
	s->vmcb->dr6 &= ~(1ul << 14);
	v->exit.reason = EXIT_NONE; /* svm_run asks for another look at events */
}

static void record_exception(struct vcpu *v, struct svm_vcpu *s)
{
	const struct vmcb *b = s->vmcb;
	u8 vector = b->exit_code - SVM_EXIT_EXCP0;

	if (vector == VEC_DB && s->watch == WATCH_STEP && !s->guest_tf) {
		record_step(v, s);
		return;
	}

	v->exit.reason = vector == VEC_UD ? EXIT_UD : EXIT_EXCEPTION;
	v->exit.exception.vector = vector;
	v->exit.exception.has_error = vector == VEC_AC;
	v->exit.exception.error = b->exit_info1;
}

static enum exit_reason plain_reason(u64 code)
{
	switch (code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		return EXIT_NONE; /* taken by the host when GIF is set again */
	case SVM_EXIT_VINTR:
		return EXIT_IRQ_WINDOW;
	case SVM_EXIT_HLT:
		return EXIT_HLT;
	case SVM_EXIT_IRET:
		return EXIT_IRET;
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_INVD:
		return EXIT_CACHE;
	case SVM_EXIT_PAUSE:
		return EXIT_PAUSE;
	case SVM_EXIT_XSETBV:
		return EXIT_XSETBV;
	case SVM_EXIT_SHUTDOWN:
		return EXIT_TRIPLE_FAULT;
	case SVM_EXIT_RDPMC:
		return EXIT_RDPMC;
	case SVM_EXIT_RSM:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_MWAIT_ARMED:
		return EXIT_UNDEFINED;
	default:
		return EXIT_BROKEN;
	}
}

void svm_exit_record(struct vcpu *v, struct svm_vcpu *s)
{
	const struct vmcb *b = s->vmcb;
	u64 code = b->exit_code;

	v->exit.code = code;
	v->exit.insn_bytes = 0;
	switch (code) {
	case SVM_EXIT_NPF:
		record_npf(v, b);
		break;
	case SVM_EXIT_CPUID:
		v->exit.reason = EXIT_CPUID;
		break;
	case SVM_EXIT_IO:
		record_io(v, b);
		break;
	case SVM_EXIT_VMMCALL:
		v->exit.reason = EXIT_HYPERCALL;
		break;
	case SVM_EXIT_CR4_WRITE:
	case SVM_EXIT_CR8_WRITE:
		v->exit.reason = EXIT_CR_WRITE;
		v->exit.cr = code & 0xf;
		break;
	case SVM_EXIT_MSR:
		v->exit.reason = b->exit_info1 & 1 ? EXIT_WRMSR : EXIT_RDMSR;
		break;
	default:
		if (code >= SVM_EXIT_EXCP0 && code <= SVM_EXIT_EXCP31)
			record_exception(v, s);
		else if (code >= SVM_EXIT_DR0_READ && code <= SVM_EXIT_DR15_WRITE)
			v->exit.reason = EXIT_DR;
		else
			v->exit.reason = plain_reason(code);
	}
	/* Processors with nRIP save tell the length; zero elsewhere. */
	if (b->next_rip && b->next_rip - v->rip <= 15)
		v->exit.insn_bytes = b->next_rip - v->rip;
}
