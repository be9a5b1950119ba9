/* SPDX-License-Identifier: BSD-2-Clause */
/* AMD's side of struct hvm_ops. Source: AMD APM vol. 2, chapter "Secure Virtual Machine". */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"
#include "vmm/amd/vmcb.h"
#include "vmm/hvm.h"

extern const struct hvm_ops svm_ops;

enum svm_watch {
	WATCH_NOTHING,
	WATCH_STEP, /* TF is ours: one instruction */
	WATCH_KICK, /* an interrupt of our own, right behind the event that is injected */
};

struct svm_vcpu {
	struct vmcb *vmcb;  /* [o] */
	u64 vmcb_pa;        /* [o] */
	u64 serial;         /* [o] never used twice: names its ASID slots */
	u32 asid;           /* [t] the slot it had last, on some CPU: a hint */
	bool nmi_masked;    /* [t] until its handler's IRET */
	u64 nmi_iret_rip;   /* [t] that IRET, while it has not yet executed */
	enum svm_watch watch; /* [t] how the next exit is brought about for a waiting NMI */
	bool guest_tf;      /* [t] what TF was before */
};

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

enum { SVM_FEATURE_NPT = 1u << 0, SVM_FEATURE_NRIP = 1u << 3, SVM_FEATURE_FLUSH_ASID = 1u << 6 };

/* svm_decide - pure: may SVM be used? Return 0, or -ENODEV with one line for the operator in @why. */
int svm_decide(const struct svm_probe *p, char *why, size_t why_size);
void svm_probe_read(struct svm_probe *p);

/* svm_enter - the world switch (svm_entry.S): guest registers but rax, rsp from @regs, VMLOAD, VMRUN,
 * VMSAVE, and the host's hidden state from @host_pa. => GIF clear */
void svm_enter(u64 *regs, u64 vmcb_pa, u64 host_pa);

/* ---- svm_asid.c: who may use which ASID on a CPU ---- */
int must_check svm_asid_init_cpu(u32 nr_asids, bool flush_by_asid);
/* svm_asid_prepare - choose @v's ASID on this CPU and what VMRUN must flush, so that no translation
 * older than the VM's tlb_gen is used (rule 18). => GIF clear, after mode = IN_GUEST and a barrier */
void svm_asid_prepare(struct vcpu *v, struct svm_vcpu *s);

/* svm_exit_record - turn the VMCB's exit into v->exit. */
void svm_exit_record(struct vcpu *v, struct svm_vcpu *s);
