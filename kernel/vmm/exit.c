/* SPDX-License-Identifier: BSD-2-Clause */
/* What the hypervisor does for each reason to leave the guest. */
#include "vmm/exit.h"

#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/pt_walk.h"
#include "lib/string.h"
#include "vmm/decode.h"
#include "vmm/guest_mem.h"
#include "vmm/io.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

static const u8 op_cpuid[] = {0x0f, 0xa2};
static const u8 op_rdmsr[] = {0x0f, 0x32};
static const u8 op_wrmsr[] = {0x0f, 0x30};
static const u8 op_hlt[] = {0xf4};
static const u8 op_vmmcall[] = {0x0f, 0x01, 0xd9};
static const u8 op_vmcall[] = {0x0f, 0x01, 0xc1};
static const u8 op_xsetbv[] = {0x0f, 0x01, 0xd1};
static const u8 op_wbinvd[] = {0x0f, 0x09};
static const u8 op_invd[] = {0x0f, 0x08};

static void exit_none(unused struct vcpu *v)
{
}

static void exit_cpuid(struct vcpu *v)
{
	if (unlikely(!vcpu_insn_length(v, op_cpuid, sizeof(op_cpuid))))
		return;
	struct vcpu_sregs s;
	hvm->get_sregs(v, &s);
	const struct cpuid_vcpu state = {
		.apic_id = v->index,
		.osxsave = s.cr4 & CR4_OSXSAVE,
		.xcr0 = v->fpu.xcr0,
	};
	struct cpuid_leaf r = cpuid_answer(&v->vm->cpuid, &state, (u32)v->regs[REG_RAX],
					   (u32)v->regs[REG_RCX]);
	v->regs[REG_RAX] = r.eax;
	v->regs[REG_RBX] = r.ebx;
	v->regs[REG_RCX] = r.ecx;
	v->regs[REG_RDX] = r.edx;
	vcpu_skip(v);
}

static void exit_io(struct vcpu *v)
{
	const struct vcpu_exit *e = &v->exit;

	if (unlikely(e->io.string)) {
		emulate_string_io(v);
		return;
	}
	if (e->io.in)
		vcpu_set_reg(v, REG_RAX, io_port_read(v, e->io.port, e->io.bytes), e->io.bytes);
	else
		io_port_write(v, e->io.port, e->io.bytes, vcpu_get_reg(v, REG_RAX, e->io.bytes));
	vcpu_advance(v, e->io.next_rip);
}

static void exit_rdmsr(struct vcpu *v)
{
	u64 value;

	if (!vcpu_insn_length(v, op_rdmsr, sizeof(op_rdmsr)))
		return;
	if (msr_read(v, (u32)v->regs[REG_RCX], &value)) {
		vcpu_inject_gp(v, 0);
		return;
	}
	v->regs[REG_RAX] = (u32)value;
	v->regs[REG_RDX] = value >> 32;
	vcpu_skip(v);
}

static void exit_wrmsr(struct vcpu *v)
{
	u64 value = v->regs[REG_RDX] << 32 | (u32)v->regs[REG_RAX];

	if (!vcpu_insn_length(v, op_wrmsr, sizeof(op_wrmsr)))
		return;
	if (msr_write(v, (u32)v->regs[REG_RCX], value))
		vcpu_inject_gp(v, 0);
	else
		vcpu_skip(v);
}

/* The one hypercall so far tells which hypervisor answers; unknown numbers get -ENOSYS. */
enum { HYPERCALL_VERSION = 0 };

void hypercall(struct vcpu *v)
{
	v->vm->hypercalls++;
	v->regs[REG_RAX] = v->regs[REG_RAX] == HYPERCALL_VERSION ? 0x0001 : (u64)-ENOSYS;
	vcpu_skip(v);
}

static void exit_hypercall(struct vcpu *v)
{
	if (vcpu_insn_length(v, op_vmmcall, sizeof(op_vmmcall)))
		hypercall(v);
}

/* Guests written for the other vendor use its instruction, which is undefined here. */
static void exit_ud(struct vcpu *v)
{
	if (vcpu_insn_length(v, op_vmcall, sizeof(op_vmcall)))
		hypercall(v);
	else
		vcpu_inject_ud(v);
}

static void exit_hlt(struct vcpu *v)
{
	if (!vcpu_insn_length(v, op_hlt, sizeof(op_hlt)))
		return;
	vcpu_skip(v);
	atomic_store(&v->activity, VCPU_HALTED);
}

/* A frame could not be had. Nothing is lost: the access has not happened. The operator can go on from
 * here (N13); a batch has no operator. */
static void out_of_memory(struct vcpu *v)
{
	struct vm *vm = v->vm;

	vm_out_of_memory(vm);
	if (!atomic_load(&vm->paused))
		thread_yield();
}

static void exit_mmu(struct vcpu *v)
{
	gpa_t at = v->exit.mmu.gpa;
	unsigned int acc = v->exit.mmu.acc;
	int err = mmu_fault(v, at, acc);

	if (likely(err == 0))
		return;
	switch (err) {
	case -ENOENT:
		if (v->exit.mmu.in_walk)
			vm_stop_guest(v, "bad-page-table",
				      "its page tables lie outside its memory, at gpa %#lx", at.v);
		else if (acc & ACC_X)
			vm_stop_guest(v, "bad-jump", "it runs code where no memory is, at gpa %#lx",
				      at.v);
		else
			emulate_mmio(v, at);
		break;
	case -ENOMEM:
		out_of_memory(v);
		break;
	case -EINTR:
		break; /* the request that killed us is pending */
	default:
		vm_stop_guest(v, "fault", "its memory at gpa %#lx cannot be had (%s)", at.v,
			      errno_name(err));
	}
}

static void exit_irq_window(struct vcpu *v)
{
	hvm->want_irq_window(v, 0);
	atomic_or(&v->requests, VCPU_REQ_EVENT);
}

static void exit_iret(struct vcpu *v)
{
	hvm->nmi_unmask(v);
	if (atomic_load(&v->nmi_pending))
		hvm->want_irq_window(v, 15);
}

static void exit_xsetbv(struct vcpu *v)
{
	u64 value = v->regs[REG_RDX] << 32 | (u32)v->regs[REG_RAX];
	struct vcpu_sregs s;

	if (!vcpu_insn_length(v, op_xsetbv, sizeof(op_xsetbv)))
		return;
	hvm->get_sregs(v, &s);
	if (!(s.cr4 & CR4_OSXSAVE)) {
		vcpu_inject_ud(v);
		return;
	}
	/* Intel SDM vol. 1, "XSAVE-supported features": x87 always, AVX only with SSE. */
	bool bad = (u32)v->regs[REG_RCX] != 0 || s.cpl != 0 || (value & ~fpu_xcr0_allowed()) ||
		   !(value & 1) || ((value & 4) && !(value & 2));
	if (bad) {
		vcpu_inject_gp(v, 0);
		return;
	}
	preempt_disable();
	fpu_load(&v->fpu); /* so that XCR0 is this guest's from here on */
	v->fpu.xcr0 = value;
	xsetbv(0, value);
	preempt_enable();
	vcpu_skip(v);
}

static void exit_cache(struct vcpu *v)
{
	if (vcpu_insn_length(v, op_wbinvd, sizeof(op_wbinvd)) ||
	    vcpu_insn_length(v, op_invd, sizeof(op_invd)))
		vcpu_skip(v);
}

static void exit_undefined(struct vcpu *v)
{
	vcpu_inject_ud(v);
}

static void exit_exception(struct vcpu *v)
{
	CHECK(v->exit.exception.vector != VEC_MC, "machine check while guest %s ran",
	      v->vm->config.name);
	hvm->inject_exception(v, v->exit.exception.vector, v->exit.exception.has_error,
			      v->exit.exception.error);
}

static void exit_dr(struct vcpu *v)
{
	hvm->allow_dr(v);
}

static void exit_triple_fault(struct vcpu *v)
{
	vm_guest_reset(v, "triple-fault");
}

static void exit_broken(struct vcpu *v)
{
	vm_stop_guest(v, "bad-state", "the processor refuses its state (exit code %#lx)",
		      v->exit.code);
}

const exit_handler exit_handlers[NR_EXIT_REASONS] = {
	[EXIT_NONE] = exit_none,
	[EXIT_CPUID] = exit_cpuid,
	[EXIT_IO] = exit_io,
	[EXIT_RDMSR] = exit_rdmsr,
	[EXIT_WRMSR] = exit_wrmsr,
	[EXIT_HYPERCALL] = exit_hypercall,
	[EXIT_HLT] = exit_hlt,
	[EXIT_MMU] = exit_mmu,
	[EXIT_IRQ_WINDOW] = exit_irq_window,
	[EXIT_XSETBV] = exit_xsetbv,
	[EXIT_CACHE] = exit_cache,
	[EXIT_UNDEFINED] = exit_undefined,
	[EXIT_UD] = exit_ud,
	[EXIT_EXCEPTION] = exit_exception,
	[EXIT_DR] = exit_dr,
	[EXIT_IRET] = exit_iret,
	[EXIT_TRIPLE_FAULT] = exit_triple_fault,
	[EXIT_BROKEN] = exit_broken,
};
