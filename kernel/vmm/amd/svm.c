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
#include "lib/mutant.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/objcache.h"
#include "mm/page.h"
#include "vmm/amd/svm.h"
#include "vmm/tlb_oracle.h"
#include "vmm/vm.h"

#define IOPM_ORDER  2 /* 12 KiB and a byte are looked at: port 65535 with 4 bytes */
#define MSRPM_ORDER 1

static u64 iopm_pa, msrpm_pa; /* [o] */
static u64 host_save_pa[MAX_CPUS]; /* [o] the host's FS GS TR LDTR and MSRs, by VMSAVE */
static struct objcache vcpu_cache;
static u32 svm_features; /* [o] CPUID 8000000A EDX */

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
		svm_features = probe.features;
		err = bitmaps_create();
		if (err)
			return err;
	}
	struct page *hsave = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);
	struct page *host = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);
	if (!hsave || !host)
		return trace(-ENOMEM);
	err = svm_asid_init_cpu(probe.nr_asids, probe.features & SVM_FEATURE_FLUSH_ASID);
	if (NEAP_DEBUG && !err)
		err = tlb_oracle_init_cpu();
	if (err)
		return err;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, page_to_phys(hsave));
	host_save_pa[cpu_id()] = page_to_phys(host);
	__asm__ volatile("vmsave %%rax" ::"a"(page_to_phys(host)) : "memory");
	return 0;
}

/* ---- state -------------------------------------------------------------------------------------- */

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

/* Of this many PAUSEs, each within so many cycles of the one before, the last one exits: most locks are
 * free again by then. */
#define PAUSE_COUNT     3000
#define PAUSE_THRESHOLD 128

/* A vCPU may spin for another that waits for this very CPU: PAUSE shows it. Without a filter each one
 * exits, which is worth it only where it must happen, with more vCPUs than CPUs.
 * AMD APM vol. 2, "PAUSE Intercept Filtering". */
static void init_pause(struct svm_vcpu *s, u32 nr_vcpus)
{
	bool filter = svm_features & SVM_FEATURE_PAUSE_FILTER;
	struct vmcb *b = s->vmcb;

	if (nr_vcpus < 2 || (!filter && nr_vcpus <= nr_cpus))
		return;
	s->pause = INTERCEPT_PAUSE;
	b->pause_count = filter ? PAUSE_COUNT : 0;
	b->pause_threshold = svm_features & SVM_FEATURE_PAUSE_THRESHOLD ? PAUSE_THRESHOLD : 0;
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
	svm_asid_give_up(s); /* INIT empties the TLB */
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
	v->hw = s;

	struct vmcb *b = s->vmcb;
	set_intercepts(b);
	init_pause(s, v->vm->config.cpus);
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

static void svm_set_gdtr(struct vcpu *v, u64 base, u16 limit)
{
	vmcb_of(v)->gdtr = (struct vmcb_segment){.limit = limit, .base = base};
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

static void svm_leave_pause(struct vcpu *v)
{
	vmcb_of(v)->intercept1 &= ~INTERCEPT_PAUSE;
}

/* Another bit of the intercepts that was just being changed may take this one along: then the vCPU
 * spins to the end of its slice, once. */
static void svm_switch_in(struct vcpu *v)
{
	const struct svm_vcpu *s = v->hw;

	s->vmcb->intercept1 |= s->pause;
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

/* What VMRUN is told, in the oracle's words. */
static void oracle_enter(struct vcpu *v, struct svm_vcpu *s)
{
	u8 told = s->vmcb->tlb_control;
	enum tlb_forget what = TLB_FORGET_NOTHING;

	if (told == TLB_CONTROL_ALL)
		what = TLB_FORGET_ALL;
	else if (told == TLB_CONTROL_ASID)
		what = TLB_FORGET_TAG;
	else
		CHECK(told == TLB_CONTROL_NONE, "TLB_CONTROL %u", told);
	tlb_oracle_enter(v, s->vmcb->asid, what, *svm_asid_gen(s, s->slot));
	race_point("svm.before_vmrun");
}

/* QEMU's #VMEXIT changes its word of pending interrupts without a lock; one that comes from another thread at
 * that moment stays in the local APIC, and nobody knows. A write to the task priority makes the emulator look
 * there (docs/design.md, "Emulators"). */
static inline void ask_for_interrupts(void)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(0ul) : "memory");
}

static void svm_run(struct vcpu *v)
{
	struct svm_vcpu *s = v->hw;
	struct vmcb *b = s->vmcb;
	bool early = mutant("tlbgen_before_barrier") && svm_asid_is_good(v, s, cpu_id());

	race_point("svm.before_guest_mode");
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
	if (unlikely(!early && !svm_asid_is_good(v, s, cpu->id)))
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
	if (NEAP_DEBUG)
		oracle_enter(v, s);
	svm_enter(v->regs, s->vmcb_pa, host_save_pa[cpu->id]);
	if (NEAP_DEBUG)
		tlb_oracle_leave(b->exit_code == (u64)SVM_EXIT_INVALID);
	if (likely(b->exit_code != (u64)SVM_EXIT_INVALID)) {
		v->regs[REG_RAX] = b->rax;
		v->regs[REG_RSP] = b->rsp;
		v->rip = b->rip;
		v->rflags = b->rflags;
	} else {
		svm_asid_refused(s);
	}
	atomic_store(&v->mode, VCPU_OUTSIDE);

	b->event_inject = 0;
	b->tlb_control = TLB_CONTROL_NONE;
	if (unlikely(b->exit_int_info & EVENT_VALID))
		svm_redeliver(b);
	svm_exit_record(v, s);
	if (unlikely(s->watch))
		svm_watch_ends(v, s);
	if (features.tcg)
		ask_for_interrupts();
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
	.set_gdtr = svm_set_gdtr,
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
	.leave_pause = svm_leave_pause,
	.set_tsc_offset = svm_set_tsc_offset,
	.allow_dr = svm_allow_dr,
	.switch_in = svm_switch_in,
	.switch_out = svm_switch_out,
};
