/* SPDX-License-Identifier: BSD-2-Clause */
/* How a core enters a guest: the interface that intel/ and amd/ implement and that is chosen once, at
 * boot. Above it nobody knows a VMCB or a VMCS; below it nobody knows devices or memory slots. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vcpu;
struct vm;

/* Numbers in instruction-encoding order, as the decoder names registers. */
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, NR_REGS = 16 };

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, NR_SEGS };

struct segment {
	u16 selector;
	u16 attr;  /* descriptor bits 55:52 and 47:40 packed into 11:0, as SVM does */
	u32 limit; /* in bytes, granularity applied */
	u64 base;
};

enum { SEG_ATTR_L = 1u << 9, SEG_ATTR_DB = 1u << 10, SEG_ATTR_P = 1u << 7 };

/* The registers that decide how memory is reached; a snapshot. */
struct vcpu_sregs {
	u64 cr0, cr2, cr3, cr4, efer;
	u32 cpl;
};

/* Where the guest's program stands: all that matters for fetching its instruction, and no more, because
 * it is asked on the way of every exit whose length the processor does not tell. */
struct vcpu_where {
	u64 linear_rip;
	u64 cr3;
	u32 mode; /* whatever else changes the translation of rip, packed: equal or not is all */
};

/* Why the guest stopped running. One record for every engine and vendor. */
enum exit_reason {
	EXIT_NONE,       /* nothing to do but the checks of the loop: interrupt, NMI, not entered */
	EXIT_CPUID,
	EXIT_IO,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_HYPERCALL,
	EXIT_HLT,
	EXIT_MMU,        /* the secondary MMU does not map an address, or not for this access */
	EXIT_IRQ_WINDOW, /* the guest can take an interrupt now */
	EXIT_XSETBV,
	EXIT_CACHE,      /* WBINVD, INVD: nothing to do */
	EXIT_PAUSE,      /* it spins, perhaps for a vCPU that waits for this processor */
	EXIT_UNDEFINED,  /* an instruction that this virtual processor does not have: #UD */
	EXIT_RDPMC,      /* it has no performance counters: #GP */
	EXIT_UD,         /* #UD raised by the guest: perhaps the other vendor's hypercall */
	EXIT_EXCEPTION,  /* an intercepted exception that the guest gets as it came */
	EXIT_DR,         /* first use of a debug register */
	EXIT_IRET,       /* the end of an NMI handler */
	EXIT_CR_WRITE,   /* MOV to CR4 always, to CR8 while hvm->watch_tpr */
	EXIT_TRIPLE_FAULT,
	EXIT_BROKEN,     /* the processor refuses the guest's state; exit->code tells why */
	NR_EXIT_REASONS,
};

struct vcpu_exit {
	enum exit_reason reason;
	u8 insn_bytes; /* of the instruction that exited; 0: not told */
	u64 code;      /* the vendor's own exit code: for messages */
	union {
		struct {
			u64 next_rip; /* 0: not told */
			u16 port;
			u8 bytes;
			bool in, string, rep;
			u8 addr_bytes;
			s8 segment; /* of OUTS; -1: not told */
		} io;
		struct {
			gpa_t gpa;
			u8 acc;       /* ACC_*, what was tried */
			bool in_walk; /* while the guest's own tables were walked */
		} mmu;
		u8 cr; /* EXIT_CR_WRITE: which */
		struct {
			u8 vector;
			bool has_error;
			u32 error;
		} exception;
	};
};

struct hvm_ops {
	const char *name;     /* "svm", "vmx" */
	const char *tdp_name; /* "npt", "ept"; NULL: this processor has none */

	/* cpu_enable - make this CPU able to enter guests. => each CPU, at boot. 0 or -errno */
	int (*cpu_enable)(void);

	int (*vcpu_create)(struct vcpu *v); /* 0, -ENOMEM; state as after reset */
	void (*vcpu_destroy)(struct vcpu *v);
	void (*vcpu_reset)(struct vcpu *v); /* the state after INIT */

	/* run - enter the guest until it exits, or not at all if a request is pending; fills v->exit.
	 * => v's thread, interrupts on, preemption on */
	void (*run)(struct vcpu *v);

	/* where - what decides how the bytes at rip are found and read. */
	void (*where)(struct vcpu *v, struct vcpu_where *w);
	void (*get_sregs)(struct vcpu *v, struct vcpu_sregs *s);
	void (*set_sregs)(struct vcpu *v, const struct vcpu_sregs *s); /* not cpl */
	void (*get_segment)(struct vcpu *v, int seg, struct segment *s);
	void (*set_segment)(struct vcpu *v, int seg, const struct segment *s);

	void (*set_gdtr)(struct vcpu *v, u64 base, u16 limit);

	/* inject - deliver at next entry; replaces what was to be delivered. */
	void (*inject_exception)(struct vcpu *v, u8 vector, bool has_error, u32 error);
	void (*inject_interrupt)(struct vcpu *v, u8 vector);
	void (*inject_nmi)(struct vcpu *v);
	void (*inject_single_step)(struct vcpu *v); /* #DB with DR6.BS: an emulated step under TF */
	bool (*injection_pending)(const struct vcpu *v);
	void (*nmi_unmask)(struct vcpu *v); /* at EXIT_IRET */
	/* want_nmi_window - exit with EXIT_IRET or EXIT_IRQ_WINDOW once an NMI could be taken. */
	void (*want_nmi_window)(struct vcpu *v);
	bool (*nmi_allowed)(const struct vcpu *v);
	/* interrupt_allowed - IF set and no shadow of STI or MOV SS, which ends with the instruction that
	 * exited once rip has moved past it. */
	bool (*interrupt_allowed)(const struct vcpu *v);
	/* want_irq_window - exit with EXIT_IRQ_WINDOW as soon as an interrupt of @priority (vector / 16)
	 * could be taken; 0: no longer. */
	void (*want_irq_window)(struct vcpu *v, u8 priority);
	/* watch_tpr - exit when the guest writes CR8: an interrupt waits for that. */
	void (*watch_tpr)(struct vcpu *v, bool watch);
	void (*set_tpr)(struct vcpu *v, u8 tpr);
	u8 (*get_tpr)(const struct vcpu *v);
	/* read, write - MSRs whose value lives with the vendor's state. -EINVAL: not this one. */
	int (*msr_read)(struct vcpu *v, u32 msr, u64 *value);
	int (*msr_write)(struct vcpu *v, u32 msr, u64 value);
	/* leave_pause - no longer exit with EXIT_PAUSE, until v's thread comes to a CPU anew. */
	void (*leave_pause)(struct vcpu *v);
	void (*set_tsc_offset)(struct vcpu *v, u64 offset); /* guest's TSC less the host's */
	void (*allow_dr)(struct vcpu *v); /* stop intercepting debug registers */
	/* switch_in, switch_out - v's thread comes to or leaves this CPU. */
	void (*switch_in)(struct vcpu *v);
	void (*switch_out)(struct vcpu *v);
};

extern const struct hvm_ops *hvm; /* [o] NULL: no hardware virtualisation here */
extern char hvm_why_not[200];     /* then: one line for the operator */

/* hvm_init - choose by CPUID and the firmware's lock bits. => boot CPU */
void hvm_init(void);
