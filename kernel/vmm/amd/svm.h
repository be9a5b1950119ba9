/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD's side of struct hvm_ops. Source: AMD APM vol. 2, chapter "Secure Virtual Machine". */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "vmm/amd/vmcb.h"
#include "vmm/hvm.h"
#include "vmm/vm.h"

extern const struct hvm_ops svm_ops;

/* One ASID of one CPU: whose it is there, and up to which tlb_gen what the TLB holds under it is true. */
struct asid_slot {
	u64 serial; /* of the vCPU; 0: nobody */
	u64 gen;
	bool clean;
};

enum svm_watch {
	WATCH_NOTHING,
	WATCH_STEP, /* TF is ours: one instruction */
	WATCH_KICK, /* an interrupt of our own, right behind the event that is injected */
};

struct svm_vcpu {
	struct vmcb *vmcb;  /* [o] */
	u64 vmcb_pa;        /* [o] */
	u64 serial;         /* [t] never used twice: names its ASID slots */
	u32 slot_cpu;       /* [t] where it ran last */
	struct asid_slot *slot; /* [t] the slot that it had there; perhaps somebody else's by now */
	bool nmi_masked;    /* [t] until its handler's IRET */
	u64 nmi_iret_rip;   /* [t] that IRET, while it has not yet executed */
	enum svm_watch watch; /* [t] how the next exit is brought about for a waiting NMI */
	bool guest_tf;      /* [t] what TF was before */
	u32 pause;          /* [o] INTERCEPT_PAUSE, if PAUSE is to be watched in this VM, else 0 */
	u64 misplaced_gen;  /* [t] of mutant tlbgen_per_vcpu */
};

static inline struct vmcb *vmcb_of(const struct vcpu *v)
{
	return ((struct svm_vcpu *)v->hw)->vmcb;
}

/* What decides whether this processor's SVM can be used. */
struct svm_probe {
	bool vendor_amd_like;     /* the CPUID bit is what counts; the vendor only words the refusal */
	bool cpuid_svm;           /* CPUID 80000001 ECX bit 2 */
	bool vm_cr_readable;
	u64 vm_cr;                /* MSR C0010114: bit 3 LOCK, bit 4 SVMDIS */
	u32 max_ext_leaf;
	u32 nr_asids;             /* CPUID 8000000A EBX */
	u32 features;             /* CPUID 8000000A EDX */
};

enum {
	SVM_FEATURE_NPT = 1u << 0,
	SVM_FEATURE_NRIP = 1u << 3,
	SVM_FEATURE_FLUSH_ASID = 1u << 6,
	SVM_FEATURE_PAUSE_FILTER = 1u << 10,
	SVM_FEATURE_PAUSE_THRESHOLD = 1u << 12,
};

/* svm_decide - pure: may SVM be used? Return 0, or -ENODEV with one line for the operator in @why. */
int svm_decide(const struct svm_probe *p, char *why, size_t why_size);
void svm_probe_read(struct svm_probe *p);

/* svm_enter - the world switch (svm_entry.S): guest registers but rax, rsp from @regs, VMLOAD, VMRUN,
 * VMSAVE, and the host's hidden state from @host_pa. => GIF clear */
void svm_enter(u64 *regs, u64 vmcb_pa, u64 host_pa);

/* ---- svm_asid.c: who may use which ASID on a CPU ---- */
int must_check svm_asid_init_cpu(u32 nr_asids, bool flush_by_asid);
/* svm_asid_renew - give @v an ASID on this CPU and tell VMRUN what to flush, so that no translation
 * older than the VM's tlb_gen is used (rule 18). => GIF clear, after mode = IN_GUEST and a barrier */
void svm_asid_renew(struct vcpu *v, struct svm_vcpu *s);
/* svm_asid_give_up - @s uses none of its ASIDs again: what stands under them, on any CPU, is no longer
 * its. => @s is not in guest mode */
void svm_asid_give_up(struct svm_vcpu *s);
/* svm_asid_refused - VMRUN did not enter, and perhaps flushed nothing of what it was told.
 * => GIF clear, on the CPU of svm_asid_renew */
void svm_asid_refused(const struct svm_vcpu *s);

/* svm_asid_gen - where the generation of @slot stands, which @s has on this CPU: with the slot, or
 * where a mutant keeps it. => GIF clear */
u64 *svm_asid_gen_mutated(struct svm_vcpu *s, struct asid_slot *slot);
static inline u64 *svm_asid_gen(struct svm_vcpu *s, struct asid_slot *slot)
{
	return NEAP_DEBUG ? svm_asid_gen_mutated(s, slot) : &slot->gen;
}

/* svm_asid_is_good - may @v run on @cpu with what it had last? => as svm_asid_renew */
static inline bool svm_asid_is_good(const struct vcpu *v, struct svm_vcpu *s, u32 cpu)
{
	return s->slot_cpu == cpu && s->slot->serial == s->serial &&
	       *svm_asid_gen(s, s->slot) == atomic_load(&v->vm->tlb_gen);
}

/* ---- svm_event.c: struct hvm_ops' part of events ---- */
void svm_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error);
void svm_inject_interrupt(struct vcpu *v, u8 vector);
void svm_inject_nmi(struct vcpu *v);
void svm_inject_single_step(struct vcpu *v);
bool svm_injection_pending(const struct vcpu *v);
bool svm_nmi_allowed(const struct vcpu *v);
void svm_nmi_unmask(struct vcpu *v);
void svm_want_nmi_window(struct vcpu *v);
bool svm_interrupt_allowed(const struct vcpu *v);
void svm_want_irq_window(struct vcpu *v, u8 priority);
void svm_watch_tpr(struct vcpu *v, bool watch);
void svm_set_tpr(struct vcpu *v, u8 tpr);
u8 svm_get_tpr(const struct vcpu *v);
/* svm_redeliver - the exit came while an event was delivered: it is owed. => GIF clear
 * svm_watch_ends - an exit came while s->watch was set. => GIF clear */
void svm_redeliver(struct vmcb *b);
void svm_watch_ends(struct vcpu *v, struct svm_vcpu *s);

/* svm_exit_record - turn the VMCB's exit into v->exit. */
void svm_exit_record(struct vcpu *v, struct svm_vcpu *s);
