/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD SVM: the processor's side of running a guest.
 *
 * A guest runs on a VMCB; what we intercept is what our virtual board must answer, and every way in
 * which a guest could otherwise hold the CPU or touch the host's state. One I/O bitmap and one MSR
 * bitmap serve all guests: every port exits; of the MSRs only those exit that VMLOAD/VMSAVE and the
 * VMCB do not keep apart.
 *
 * GIF is clear from before the checks of entry until after the host's hidden state is back: nothing
 * interrupts in between, so a request that arrives is either seen by the checks or exits the guest at
 * once. Interrupts stay enabled in RFLAGS: with V_INTR_MASKING that is what lets a physical
 * interrupt end the guest's run.
 *
 * Invariants
 *  I1. VMRUN with EFER.SVME set in the save area always: the guest cannot clear it (EFER writes exit).
 *  I2. After svm_run returns, GIF is set and GS, TR are the host's.
 *  I3. v->regs, rip, rflags are the truth while outside, the VMCB's copies are stale. */
#include "cpu/apic.h"
#include "cpu/features.h"
#include "cpu/percpu.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/objcache.h"
#include "mm/page.h"
#include "vmm/amd/svm.h"
#include "vmm/vm.h"

#define IOPM_ORDER  2 /* 12 KiB and a byte are looked at: port 65535 with 4 bytes */
#define MSRPM_ORDER 1

static u64 iopm_pa, msrpm_pa; /* [o] */
static u64 host_save_pa[MAX_CPUS]; /* [o] the host's FS GS TR LDTR and MSRs, by VMSAVE */
static struct objcache vcpu_cache;
static u64 next_serial = 1; /* [a] */

static inline void clgi(void)
{
	__asm__ volatile("clgi" ::: "memory");
}

static inline void stgi(void)
{
	__asm__ volatile("stgi" ::: "memory");
}

void svm_probe_read(struct svm_probe *p)
{
	*p = (struct svm_probe){.vendor_amd_like = features.vendor == VENDOR_AMD};
	p->max_ext_leaf = cpuid(0x80000000, 0).eax;
	p->cpuid_svm = p->max_ext_leaf >= 0x80000001 && (cpuid(0x80000001, 0).ecx & (1u << 2));
	if (p->cpuid_svm && p->max_ext_leaf >= 0x8000000a) {
		struct cpuid_regs r = cpuid(0x8000000a, 0);
		p->nr_asids = r.ebx;
		p->features = r.edx;
	}
	p->vm_cr_readable = p->cpuid_svm && rdmsr_safe(MSR_VM_CR, &p->vm_cr) == 0;
}

/* ---- per machine and per CPU ------------------------------------------------------------------ */

/* The MSR bitmap: two bits an MSR (read, write), three ranges of 8192, 2 KiB each. */
static void msrpm_allow(u8 *map, u32 msr)
{
	u32 base = msr < 0x2000 ? 0 : msr < 0xc0002000 ? 0x800 : 0x1000;
	u32 n = (msr & 0x1fff) * 2;

	map[base + n / 8] &= ~(3u << (n % 8));
}

static int bitmaps_create(void)
{
	static const u32 allowed[] = {
		MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR, MSR_CSTAR,
		MSR_SFMASK, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
	};
	struct page *io = frame_alloc_order(FRAME_KERNEL, IOPM_ORDER, FRAME_NOWAIT);
	struct page *msr = frame_alloc_order(FRAME_KERNEL, MSRPM_ORDER, FRAME_NOWAIT);

	if (!io || !msr)
		return trace(-ENOMEM); /* at boot, fatal to SVM only */
	memset(page_to_virt(io), 0xff, PAGE_SIZE << IOPM_ORDER);
	memset(page_to_virt(msr), 0xff, PAGE_SIZE << MSRPM_ORDER);
	for (u32 i = 0; i < ARRAY_SIZE(allowed); i++)
		msrpm_allow(page_to_virt(msr), allowed[i]);
	iopm_pa = page_to_phys(io);
	msrpm_pa = page_to_phys(msr);
	return 0;
}

static int svm_cpu_enable(void)
{
	struct svm_probe probe;
	char why[200];
	int err;

	svm_probe_read(&probe);
	err = svm_decide(&probe, why, sizeof(why));
	if (err) {
		printk("cpu %u: %s\n", cpu_id(), why);
		return err;
	}
	if (cpu_id() == 0) {
		objcache_init(&vcpu_cache, "svm_vcpu", sizeof(struct svm_vcpu));
		err = bitmaps_create();
		if (err)
			return err;
	}
	struct page *hsave = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);
	struct page *host = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);
	if (!hsave || !host)
		return trace(-ENOMEM);
	err = svm_asid_init_cpu(probe.nr_asids, probe.features & SVM_FEATURE_FLUSH_ASID);
	if (err)
		return err;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, page_to_phys(hsave));
	host_save_pa[cpu_id()] = page_to_phys(host);
	__asm__ volatile("vmsave %%rax" ::"a"(page_to_phys(host)) : "memory");
	return 0;
}

/* ---- state -------------------------------------------------------------------------------------- */

static struct vmcb *vmcb_of(const struct vcpu *v)
{
	return ((struct svm_vcpu *)v->hw)->vmcb;
}

static void set_intercepts(struct vmcb *b)
{
	/* CR4 is ours to check, or a guest could switch on what CPUID hides from it and nobody saves. CR8
	 * stays with the guest (V_TPR); other control registers need no help under nested paging.
	 * #DB and #AC exit because a guest can otherwise loop in their delivery for ever with
	 * interrupts shut out; #MC is the host's; #UD may be the other vendor's hypercall. */
	b->cr_write = 1u << 4;
	b->dr_read = b->dr_write = 0xffff;
	b->exceptions = 1u << VEC_DB | 1u << VEC_UD | 1u << VEC_AC | 1u << VEC_MC;
	b->intercept1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT |
			INTERCEPT_RDPMC | INTERCEPT_CPUID | INTERCEPT_RSM | INTERCEPT_INVD |
			INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO | INTERCEPT_MSR |
			INTERCEPT_SHUTDOWN;
	b->intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
			INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |
			INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV;
}

/* AMD APM vol. 2, "Processor Initialization State". */
static void svm_vcpu_reset(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;
	struct vmcb *b = s->vmcb;
	const struct vmcb_segment data = {.attr = 0x93, .limit = 0xffff};

	b->es = b->ss = b->ds = b->fs = b->gs = data;
	b->cs = (struct vmcb_segment){.selector = 0xf000, .attr = 0x9b, .limit = 0xffff, .base = 0xffff0000};
	b->gdtr = b->idtr = (struct vmcb_segment){.limit = 0xffff};
	b->ldtr = (struct vmcb_segment){.attr = 0x82, .limit = 0xffff};
	b->tr = (struct vmcb_segment){.attr = 0x8b, .limit = 0xffff};
	b->cpl = 0;
	b->efer = EFER_SVME;
	b->cr0 = CR0_ET | CR0_CD | CR0_NW;
	b->cr2 = b->cr3 = b->cr4 = 0;
	b->dr6 = 0xffff0ff0;
	b->dr7 = 0x400;
	b->event_inject = 0;
	b->interrupt_shadow = 0;
	b->virq = VIRQ_MASKING;
	b->intercept1 &= ~(INTERCEPT_VINTR | INTERCEPT_IRET);
	s->nmi_masked = false;
	s->watch = WATCH_NOTHING;
	b->dr_read = b->dr_write = 0xffff;
	memset(v->dr, 0, sizeof(v->dr));
	s->nmi_iret_rip = 0;
	memset(v->regs, 0, sizeof(v->regs));
	v->regs[REG_RDX] = v->vm->cpuid.basic[1].eax;
	v->rip = 0xfff0;
	v->rflags = RFLAGS_FIXED;
}

static int svm_vcpu_create(struct vcpu *v)
{
	struct svm_vcpu *s = objcache_alloc(&vcpu_cache);
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_ZERO);

	if (!s || !p)
		goto out_free;
	s->vmcb = page_to_virt(p);
	s->vmcb_pa = page_to_phys(p);
	s->serial = atomic_add(&next_serial, 1);
	s->slot_cpu = ~0u;
	v->hw = s;

	struct vmcb *b = s->vmcb;
	set_intercepts(b);
	b->iopm_pa = iopm_pa;
	b->msrpm_pa = msrpm_pa;
	b->tsc_offset = v->tsc_offset = v->vm->tsc_offset;
	b->nested_control = 1;
	b->nested_cr3 = v->vm->pt.root;
	b->g_pat = 0x0007040600070406; /* reset value */
	svm_vcpu_reset(v);
	return 0;
out_free:
	if (p)
		frame_free(p, 0);
	if (s)
		objcache_free(&vcpu_cache, s);
	return trace(-ENOMEM);
}

static void svm_vcpu_destroy(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	frame_free(phys_to_page(s->vmcb_pa), 0);
	objcache_free(&vcpu_cache, s);
	v->hw = NULL;
}

static void svm_get_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
	const struct vmcb *b = vmcb_of(v);

	*s = (struct vcpu_sregs){.cr0 = b->cr0, .cr2 = b->cr2, .cr3 = b->cr3, .cr4 = b->cr4,
				 .efer = b->efer & ~(u64)EFER_SVME, .cpl = b->cpl};
}

static void svm_where(struct vcpu *v, struct vcpu_where *w)
{
	const struct vmcb *b = vmcb_of(v);

	w->linear_rip = b->cs.attr & SEG_ATTR_L ? v->rip : (u32)(b->cs.base + v->rip);
	w->cr3 = b->cr3;
	w->mode = (u32)((b->cr0 & CR0_PG) | (b->cr4 & (CR4_PAE | CR4_PSE | CR4_SMEP)) |
			(b->efer & EFER_NXE) | (b->efer & EFER_LMA) >> 1 | b->cpl);
}

static void svm_set_sregs(struct vcpu *v, const struct vcpu_sregs *s)
{
	struct vmcb *b = vmcb_of(v);

	b->cr0 = s->cr0;
	b->cr2 = s->cr2;
	b->cr3 = s->cr3;
	b->cr4 = s->cr4;
	b->efer = s->efer | EFER_SVME;
}

static struct vmcb_segment *segment_of(struct vmcb *b, int seg)
{
	struct vmcb_segment *const table[NR_SEGS] = {
		[SEG_ES] = &b->es, [SEG_CS] = &b->cs, [SEG_SS] = &b->ss, [SEG_DS] = &b->ds,
		[SEG_FS] = &b->fs, [SEG_GS] = &b->gs, [SEG_LDTR] = &b->ldtr, [SEG_TR] = &b->tr,
	};
	return table[seg];
}

static void svm_get_segment(struct vcpu *v, int seg, struct segment *s)
{
	const struct vmcb_segment *from = segment_of(vmcb_of(v), seg);

	*s = (struct segment){from->selector, from->attr, from->limit, from->base};
}

static void svm_set_segment(struct vcpu *v, int seg, const struct segment *s)
{
	*segment_of(vmcb_of(v), seg) =
		(struct vmcb_segment){s->selector, s->attr, s->limit, s->base};
}

/* ---- events --------------------------------------------------------------------------------------- */

/* Exceptions that are no faults: their frames carry RFLAGS.RF as it is. A fault's has it set, so that a
 * breakpoint on the instruction does not strike again. AMD APM vol. 2, "rFLAGS.RF". */
#define NO_FAULTS (1u << VEC_DB | 1u << VEC_BP | 1u << VEC_OF | 1u << VEC_DF | 1u << VEC_MC)

static void svm_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	if (!(NO_FAULTS & 1u << vector))
		v->rflags |= RFLAGS_RF;
	vmcb_of(v)->event_inject = EVENT_VALID | (u64)EVENT_EXCEPTION << 8 | vector |
				   (has_error ? EVENT_HAS_ERROR | (u64)error << 32 : 0);
}

static void svm_inject_interrupt(struct vcpu *v, u8 vector)
{
	vmcb_of(v)->event_inject = EVENT_VALID | (u64)EVENT_INTR << 8 | vector;
}

static void svm_inject_nmi(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	s->vmcb->event_inject = EVENT_VALID | (u64)EVENT_NMI << 8 | 2;
	s->vmcb->intercept1 |= INTERCEPT_IRET;
	s->nmi_masked = true;
}

static void svm_inject_single_step(struct vcpu *v)
{
	vmcb_of(v)->dr6 |= 1u << 14;
	svm_inject_exception(v, VEC_DB, false, 0);
}

static bool svm_injection_pending(const struct vcpu *v)
{
	return vmcb_of(v)->event_inject & EVENT_VALID;
}

/* An NMI may come after the handler's IRET has executed, not at it: its frame is still in use. */
static bool svm_nmi_allowed(const struct vcpu *v)
{
	const struct svm_vcpu *s = v->hw;

	return !s->nmi_masked && !(s->vmcb->interrupt_shadow & 1) && v->rip != s->nmi_iret_rip &&
	       !svm_injection_pending(v);
}

static void svm_nmi_unmask(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;

	s->vmcb->intercept1 &= ~INTERCEPT_IRET;
	s->nmi_masked = false;
	s->nmi_iret_rip = v->rip;
}

/* While the handler runs, its IRET exits. Where another event goes first, the guest is made to leave
 * right behind it. Where only the IRET itself or an interrupt shadow stands in the way, one single step
 * over it is all that is needed; #DB exits always. */
static void svm_want_nmi_window(struct vcpu *v)
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

static bool svm_interrupt_allowed(const struct vcpu *v)
{
	const struct vmcb *b = vmcb_of(v);

	return (v->rflags & RFLAGS_IF) && !((b->interrupt_shadow & 1) && b->rip == v->rip) &&
	       !svm_injection_pending(v);
}

/* A virtual interrupt that exists only to be intercepted when the guest could take it. */
static void svm_want_irq_window(struct vcpu *v, u8 priority)
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

static void svm_watch_tpr(struct vcpu *v, bool watch)
{
	struct vmcb *b = vmcb_of(v);

	b->cr_write = watch ? b->cr_write | 1u << 8 : b->cr_write & ~(1u << 8);
}

static void svm_set_tpr(struct vcpu *v, u8 tpr)
{
	struct vmcb *b = vmcb_of(v);

	b->virq = (b->virq & ~(u32)VIRQ_TPR_MASK) | tpr >> 4;
}

static u8 svm_get_tpr(const struct vcpu *v)
{
	return (vmcb_of(v)->virq & VIRQ_TPR_MASK) << 4;
}

/* ---- registers that live in the VMCB --------------------------------------------------------------- */

static int svm_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_PAT:
		*value = vmcb_of(v)->g_pat;
		return 0;
	default:
		return -EINVAL;
	}
}

static int svm_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_PAT:
		vmcb_of(v)->g_pat = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static void svm_set_tsc_offset(struct vcpu *v, u64 offset)
{
	vmcb_of(v)->tsc_offset = offset;
}

static void svm_dr_load(struct vcpu *v)
{
	write_dr0(v->dr[0]);
	write_dr1(v->dr[1]);
	write_dr2(v->dr[2]);
	write_dr3(v->dr[3]);
}

static void svm_allow_dr(struct vcpu *v)
{
	u64 flags = irq_save();
	vmcb_of(v)->dr_read = vmcb_of(v)->dr_write = 0;
	v->uses_dr = true;
	svm_dr_load(v);
	irq_restore(flags);
}

static void svm_switch_in(struct vcpu *v)
{
	if (v->uses_dr)
		svm_dr_load(v);
}

static void svm_switch_out(struct vcpu *v)
{
	if (!v->uses_dr)
		return;
	v->dr[0] = read_dr0();
	v->dr[1] = read_dr1();
	v->dr[2] = read_dr2();
	v->dr[3] = read_dr3();
}

/* ---- running ---------------------------------------------------------------------------------------- */

/* An event whose delivery was cut short by the exit is delivered again. A software interrupt is not:
 * rip still stands on its instruction, which raises it once more. */
static noinline void redeliver(struct vmcb *b)
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
static noinline void watch_ends(struct vcpu *v, struct svm_vcpu *s)
{
	if (s->watch == WATCH_STEP && !s->guest_tf)
		v->rflags &= ~(u64)RFLAGS_TF;
	s->watch = WATCH_NOTHING;
	atomic_or(&v->requests, VCPU_REQ_EVENT);
}

static void svm_run(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;
	struct vmcb *b = s->vmcb;

	clgi();
	struct cpu *cpu = this_cpu();
	atomic_store_relaxed(&v->cpu, cpu->id);
	atomic_xchg(&v->mode, VCPU_IN_GUEST); /* the full barrier of rule 18 */
	if (unlikely(atomic_load_relaxed(&v->requests) || cpu->need_resched)) {
		atomic_store(&v->mode, VCPU_OUTSIDE);
		stgi();
		v->exit.reason = EXIT_NONE;
		return;
	}
	if (unlikely(cpu->fpu_owner != &v->fpu)) {
		preempt_disable();
		fpu_load(&v->fpu);
		preempt_enable_no_resched();
	}
	if (unlikely(!svm_asid_is_good(v, s, cpu->id)))
		svm_asid_renew(v, s);
	if (unlikely(s->watch == WATCH_KICK))
		apic_ipi(cpu->apic_id, VECTOR_RESCHED); /* held until VMRUN sets GIF */

	b->rax = v->regs[REG_RAX];
	b->rsp = v->regs[REG_RSP];
	if (b->rip != v->rip) {
		b->rip = v->rip;
		b->interrupt_shadow = 0; /* it ended with the instruction that we carried out */
	}
	b->rflags = v->rflags;
	svm_enter(v->regs, s->vmcb_pa, host_save_pa[cpu->id]);
	if (likely(b->exit_code != (u64)SVM_EXIT_INVALID)) {
		v->regs[REG_RAX] = b->rax;
		v->regs[REG_RSP] = b->rsp;
		v->rip = b->rip;
		v->rflags = b->rflags;
	}
	atomic_store(&v->mode, VCPU_OUTSIDE);

	b->event_inject = 0;
	b->tlb_control = TLB_CONTROL_NONE;
	if (unlikely(b->exit_int_info & EVENT_VALID))
		redeliver(b);
	svm_exit_record(v, s);
	if (unlikely(s->watch))
		watch_ends(v, s);
	stgi();
}

const struct hvm_ops svm_ops = {
	.name = "svm",
	.tdp_name = "npt",
	.cpu_enable = svm_cpu_enable,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.run = svm_run,
	.where = svm_where,
	.get_sregs = svm_get_sregs,
	.set_sregs = svm_set_sregs,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.inject_exception = svm_inject_exception,
	.inject_interrupt = svm_inject_interrupt,
	.inject_nmi = svm_inject_nmi,
	.inject_single_step = svm_inject_single_step,
	.injection_pending = svm_injection_pending,
	.nmi_allowed = svm_nmi_allowed,
	.nmi_unmask = svm_nmi_unmask,
	.want_nmi_window = svm_want_nmi_window,
	.interrupt_allowed = svm_interrupt_allowed,
	.want_irq_window = svm_want_irq_window,
	.watch_tpr = svm_watch_tpr,
	.set_tpr = svm_set_tpr,
	.get_tpr = svm_get_tpr,
	.msr_read = svm_msr_read,
	.msr_write = svm_msr_write,
	.set_tsc_offset = svm_set_tsc_offset,
	.allow_dr = svm_allow_dr,
	.switch_in = svm_switch_in,
	.switch_out = svm_switch_out,
};
