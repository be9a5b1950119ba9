/* SPDX-License-Identifier: BSD-2-Clause */
/* What the hypervisor does for each reason to leave the guest. */
#include "vmm/exit.h"

#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/pt_walk.h"
#include "lib/string.h"
#include "mm/swap.h"
#include "vmm/decode.h"
#include "vmm/guest_mem.h"
#include "vmm/io.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

/* Opcodes, first byte lowest, and their lengths: what vcpu_insn_length wants. */
#define OP_CPUID   0xa20f, 2
#define OP_RDMSR   0x320f, 2
#define OP_WRMSR   0x300f, 2
#define OP_HLT     0xf4, 1
#define OP_VMMCALL 0xd9010f, 3
#define OP_VMCALL  0xc1010f, 3
#define OP_XSETBV  0xd1010f, 3
#define OP_WBINVD  0x090f, 2
#define OP_INVD    0x080f, 2
#define OP_PAUSE   0x90f3, 2

static void exit_none(unused struct vcpu *v)
{
}

static void exit_cpuid(struct vcpu *v)
{
	if (unlikely(!vcpu_insn_length(v, OP_CPUID)))
		return;
	const struct cpuid_vcpu state = {
		.apic_id = v->index,
		.osxsave = v->osxsave,
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

	if (!vcpu_insn_length(v, OP_RDMSR))
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

	if (!vcpu_insn_length(v, OP_WRMSR))
		return;
	if (msr_write(v, (u32)v->regs[REG_RCX], value))
		vcpu_inject_gp(v, 0);
	else
		vcpu_skip(v);
}

/* Number in rax, answer there as well; arguments in rbx, rcx, rdx, rsi, rdi. Unknown numbers get
 * -ENOSYS.
 *	0 version
 *	1 progress: done, of, pages written, pages verified, mismatches: for the meter
 *	2 watch: count refaults of every rdx-th page of the gpa [rbx, rcx): STAT refaults_watched
 *	3 watched: rbx becomes the refaults of watched pages, rcx those of all, since the watch
 *	4 work: what the machine has done since boot, for benches: answer_work
 *	5 exits of this guest so far, of all kinds; rbx becomes the TSC ticks since it began */
enum {
	HYPERCALL_VERSION,
	HYPERCALL_PROGRESS,
	HYPERCALL_WATCH,
	HYPERCALL_WATCHED,
	HYPERCALL_WORK,
	HYPERCALL_EXITS,
};

/* answer_work - rax: TSC ticks outside of idle, of all CPUs together; rbx pages read from swap, rcx
 * in how many requests, rdx pages written; rsi TLB flushes, of all CPUs and of this guest; rdi IPIs. */
static noinline u64 answer_work(struct vcpu *v)
{
	u64 busy_ns = clock_ns() * nr_cpus, flushes = v->flushes, ipis = 0;
	struct swap_stats swap;

	swap_stats(&swap);
	for (u32 i = 0; i < nr_cpus; i++) {
		busy_ns -= cpus[i]->idle_ns;
		flushes += cpus[i]->tlb_flushes;
		ipis += cpus[i]->ipis_sent;
	}
	v->regs[REG_RBX] = swap.pages_in;
	v->regs[REG_RCX] = swap.reads;
	v->regs[REG_RDX] = swap.pages_out;
	v->regs[REG_RSI] = flushes;
	v->regs[REG_RDI] = ipis;
	return clock_ns_to_tsc(busy_ns);
}

static noinline u64 answer_exits(const struct vm *vm, u64 *regs)
{
	u64 all = 0;

	for (u32 i = 0; i < vm->nr_vcpus; i++)
		for (u32 r = 0; r < NR_EXIT_REASONS; r++)
			all += vm->vcpus[i]->exits[r];
	regs[REG_RBX] = clock_ns_to_tsc(clock_ns() - vm->started_ns);
	return all;
}

static u64 answer(struct vm *vm, u64 *regs)
{
	switch (regs[REG_RAX]) {
	case HYPERCALL_VERSION:
		return 0x0001;
	case HYPERCALL_PROGRESS:
		vm->progress = (struct vm_progress){regs[REG_RBX], regs[REG_RCX], regs[REG_RDX],
						    regs[REG_RSI], regs[REG_RDI]};
		return 0;
	case HYPERCALL_WATCH:
		vm->watch = (struct vm_watch){.start = regs[REG_RBX] >> PAGE_SHIFT,
					      .end = regs[REG_RCX] >> PAGE_SHIFT,
					      .stride = regs[REG_RDX]};
		return 0;
	case HYPERCALL_WATCHED:
		regs[REG_RBX] = vm->watch.refaults;
		regs[REG_RCX] = vm->watch.all_refaults;
		return 0;
	case HYPERCALL_EXITS:
		return answer_exits(vm, regs);
	default:
		return (u64)-ENOSYS;
	}
}

void hypercall(struct vcpu *v)
{
	v->vm->hypercalls++;
	v->regs[REG_RAX] = v->regs[REG_RAX] == HYPERCALL_WORK ? answer_work(v)
							      : answer(v->vm, v->regs);
	vcpu_skip(v);
}

static void exit_hypercall(struct vcpu *v)
{
	if (vcpu_insn_length(v, OP_VMMCALL))
		hypercall(v);
}

/* Guests written for the other vendor use its instruction, which is undefined here. */
static void exit_ud(struct vcpu *v)
{
	if (vcpu_insn_length(v, OP_VMCALL))
		hypercall(v);
	else
		vcpu_inject_ud(v);
}

static void exit_hlt(struct vcpu *v)
{
	if (!vcpu_insn_length(v, OP_HLT))
		return;
	vcpu_skip(v);
	atomic_store(&v->activity, VCPU_HALTED);
	atomic_or(&v->requests, VCPU_REQ_EVENT); /* to the gate */
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
	case -EIO:
		vm_stop_guest(v, "swap-read-error", "its page at gpa %#lx cannot be read back from swap",
			      at.v);
		break;
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
	atomic_or(&v->requests, VCPU_REQ_EVENT);
}

static void exit_xsetbv(struct vcpu *v)
{
	u64 value = v->regs[REG_RDX] << 32 | (u32)v->regs[REG_RAX];
	struct vcpu_sregs s;

	if (!vcpu_insn_length(v, OP_XSETBV))
		return;
	hvm->get_sregs(v, &s);
	if (!(s.cr4 & CR4_OSXSAVE)) {
		vcpu_inject_ud(v);
		return;
	}
	/* Intel SDM vol. 1, "XSAVE-supported features": x87 always, AVX only with SSE. */
	bool bad = (u32)v->regs[REG_RCX] != 0 || s.cpl != 0 || (value & ~v->vm->xcr0_allowed) ||
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

/* AMD APM vol. 2, "CR4 Register": a bit of a feature that the processor does not have is reserved. */
static u64 cr4_allowed(const struct cpuid_table *t)
{
	u32 c1 = t->basic[1].ecx, d1 = t->basic[1].edx, b7 = t->basic[7].ebx;
	u64 allowed = CR4_OSFXSR | CR4_OSXMMEXCPT | 0x10f; /* VME PVI TSD DE PCE */

	allowed |= CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE;
	allowed |= c1 & (1u << 26) ? CR4_OSXSAVE : 0;
	allowed |= d1 & (1u << 24) ? CR4_OSFXSR : 0;
	allowed |= b7 & (1u << 0) ? CR4_FSGSBASE : 0;
	allowed |= b7 & (1u << 7) ? CR4_SMEP : 0;
	allowed |= b7 & (1u << 20) ? CR4_SMAP : 0;
	return allowed;
}

/* Returns false if the guest must get #GP. */
static bool cr4_write(struct vcpu *v, u64 value)
{
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	if ((value & ~cr4_allowed(&v->vm->cpuid)) || (!(value & CR4_PAE) && (s.efer & EFER_LMA)))
		return false;
	s.cr4 = value;
	v->osxsave = value & CR4_OSXSAVE;
	hvm->set_sregs(v, &s);
	/* The processor would have flushed for itself: let every entry from here on do so. */
	atomic_add(&v->vm->tlb_gen, 1);
	return true;
}

static void exit_cr_write(struct vcpu *v)
{
	u8 code[16];
	struct insn in;
	unsigned int nr = guest_fetch(v, code);

	if (insn_decode(code, nr, guest_insn_mode(v), &in) || in.map != MAP_0F || in.opcode != 0x22 ||
	    in.reg != v->exit.cr)
		return; /* another instruction stands there now */
	u64 value = vcpu_get_reg(v, in.rm, guest_insn_mode(v) == INSN_64 ? 8 : 4);
	bool good = true;
	if (in.reg == 4) {
		good = cr4_write(v, value);
	} else if (value >> 4) {
		good = false;
	} else {
		hvm->set_tpr(v, (u8)(value << 4));
		atomic_or(&v->requests, VCPU_REQ_EVENT);
	}
	if (!good) {
		vcpu_inject_gp(v, 0);
		return;
	}
	v->exit.insn_bytes = in.length;
	vcpu_skip(v);
}

static void exit_cache(struct vcpu *v)
{
	if (vcpu_insn_length(v, OP_WBINVD) ||
	    vcpu_insn_length(v, OP_INVD))
		vcpu_skip(v);
}

/* PAUSE is NOP with a prefix, and the prefix may have others around it. */
static bool is_odd_pause(struct vcpu *v)
{
	u8 code[16];
	struct insn in;
	unsigned int nr = guest_fetch(v, code);

	if (insn_decode(code, nr, guest_insn_mode(v), &in) || in.map != MAP_1 || in.opcode != 0x90 ||
	    !(in.prefixes & PFX_REP) || (in.rex & 1)) /* REX.B makes it XCHG */
		return false;
	v->exit.insn_bytes = in.length;
	return true;
}

/* Who spins gives the processor away; the vCPU that it waits for may be in the same queue. If nobody is,
 * this returns at once, and it may spin in peace: who is queued here later makes the scheduler look,
 * and switch_in watches for PAUSE again. */
static void exit_pause(struct vcpu *v)
{
	if (unlikely(!vcpu_insn_length(v, OP_PAUSE) && !is_odd_pause(v)))
		return;
	vcpu_skip(v);
	hvm->leave_pause(v);
	thread_yield();
}

static void exit_undefined(struct vcpu *v)
{
	vcpu_inject_ud(v);
}

static void exit_rdpmc(struct vcpu *v)
{
	vcpu_inject_gp(v, 0);
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
	vm_stop_guest(v, "bad-state", "the processor refuses its state (exit code %#lx): a "
		      "combination in CR0, EFER or a segment that hardware does not have",
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
	[EXIT_PAUSE] = exit_pause,
	[EXIT_UNDEFINED] = exit_undefined,
	[EXIT_RDPMC] = exit_rdpmc,
	[EXIT_UD] = exit_ud,
	[EXIT_EXCEPTION] = exit_exception,
	[EXIT_DR] = exit_dr,
	[EXIT_IRET] = exit_iret,
	[EXIT_CR_WRITE] = exit_cr_write,
	[EXIT_TRIPLE_FAULT] = exit_triple_fault,
	[EXIT_BROKEN] = exit_broken,
};
