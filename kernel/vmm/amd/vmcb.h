/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual machine control block: one page that tells the processor what to intercept and holds
 * the guest's state while it does not run. AMD APM vol. 2, appendix B "VMCB Layout"; appendix C
 * "SVM Intercept Exit Codes". */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vmcb_segment {
	u16 selector, attr;
	u32 limit;
	u64 base;
} packed;

struct vmcb {
	/* Control area */
	u16 cr_read, cr_write;     /* 000: intercepts, a bit per register */
	u16 dr_read, dr_write;     /* 004 */
	u32 exceptions;            /* 008 */
	u32 intercept1, intercept2; /* 00c, 010 */
	u8 reserved1[0x03c - 0x014];
	u16 pause_threshold, pause_count; /* 03c, 03e */
	u64 iopm_pa, msrpm_pa;     /* 040, 048 */
	u64 tsc_offset;            /* 050 */
	u32 asid;                  /* 058 */
	u8 tlb_control;            /* 05c */
	u8 reserved2[3];
	u32 virq;                  /* 060: V_TPR, V_IRQ, ... */
	u32 virq_vector;           /* 064 */
	u64 interrupt_shadow;      /* 068: bit 0 */
	u64 exit_code;             /* 070 */
	u64 exit_info1, exit_info2; /* 078, 080 */
	u64 exit_int_info;         /* 088 */
	u64 nested_control;        /* 090: bit 0 nested paging */
	u8 reserved3[0x0a8 - 0x098];
	u64 event_inject;          /* 0a8 */
	u64 nested_cr3;            /* 0b0 */
	u64 lbr_control;           /* 0b8 */
	u32 clean, reserved4;      /* 0c0 */
	u64 next_rip;              /* 0c8 */
	u8 insn_bytes_fetched;     /* 0d0 */
	u8 insn_bytes[15];
	u8 reserved5[0x400 - 0x0e0];
	/* State save area */
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 400 */
	u8 reserved6[0x4cb - 0x4a0];
	u8 cpl;                    /* 4cb */
	u32 reserved7;
	u64 efer;                  /* 4d0 */
	u8 reserved8[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip; /* 548 */
	u8 reserved9[0x5d8 - 0x580];
	u64 rsp;                   /* 5d8 */
	u8 reserved10[0x5f8 - 0x5e0];
	u64 rax;                   /* 5f8 */
	u64 star, lstar, cstar, sfmask, kernel_gs_base; /* 600 */
	u64 sysenter_cs, sysenter_esp, sysenter_eip;    /* 628 */
	u64 cr2;                   /* 640 */
	u8 reserved11[0x668 - 0x648];
	u64 g_pat, debugctl;       /* 668 */
	u8 reserved12[0x1000 - 0x678];
} packed;

static_assert(sizeof(struct vmcb) == 0x1000, "VMCB is a page");
static_assert(offsetof(struct vmcb, pause_count) == 0x03e, "layout");
static_assert(offsetof(struct vmcb, iopm_pa) == 0x040, "layout");
static_assert(offsetof(struct vmcb, asid) == 0x058, "layout");
static_assert(offsetof(struct vmcb, exit_code) == 0x070, "layout");
static_assert(offsetof(struct vmcb, event_inject) == 0x0a8, "layout");
static_assert(offsetof(struct vmcb, next_rip) == 0x0c8, "layout");
static_assert(offsetof(struct vmcb, es) == 0x400, "layout");
static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "layout");
static_assert(offsetof(struct vmcb, efer) == 0x4d0, "layout");
static_assert(offsetof(struct vmcb, cr4) == 0x548, "layout");
static_assert(offsetof(struct vmcb, rip) == 0x578, "layout");
static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "layout");
static_assert(offsetof(struct vmcb, rax) == 0x5f8, "layout");
static_assert(offsetof(struct vmcb, cr2) == 0x640, "layout");
static_assert(offsetof(struct vmcb, g_pat) == 0x668, "layout");

/* intercept1 */
enum {
	INTERCEPT_INTR = 1u << 0,
	INTERCEPT_NMI = 1u << 1,
	INTERCEPT_SMI = 1u << 2,
	INTERCEPT_INIT = 1u << 3,
	INTERCEPT_VINTR = 1u << 4,
	INTERCEPT_RDPMC = 1u << 15,
	INTERCEPT_CPUID = 1u << 18,
	INTERCEPT_RSM = 1u << 19,
	INTERCEPT_IRET = 1u << 20,
	INTERCEPT_INVD = 1u << 22,
	INTERCEPT_PAUSE = 1u << 23,
	INTERCEPT_HLT = 1u << 24,
	INTERCEPT_INVLPGA = 1u << 26,
	INTERCEPT_IO = 1u << 27,
	INTERCEPT_MSR = 1u << 28,
	INTERCEPT_FERR_FREEZE = 1u << 30,
	INTERCEPT_SHUTDOWN = 1u << 31,
};
/* intercept2 */
enum {
	INTERCEPT_VMRUN = 1u << 0,
	INTERCEPT_VMMCALL = 1u << 1,
	INTERCEPT_VMLOAD = 1u << 2,
	INTERCEPT_VMSAVE = 1u << 3,
	INTERCEPT_STGI = 1u << 4,
	INTERCEPT_CLGI = 1u << 5,
	INTERCEPT_SKINIT = 1u << 6,
	INTERCEPT_WBINVD = 1u << 9,
	INTERCEPT_MONITOR = 1u << 10,
	INTERCEPT_MWAIT = 1u << 11,
	INTERCEPT_MWAIT_ARMED = 1u << 12,
	INTERCEPT_XSETBV = 1u << 13,
};

enum {
	VIRQ_TPR_MASK = 0xf,
	VIRQ_PENDING = 1u << 8,
	VIRQ_IGNORE_TPR = 1u << 20,
	VIRQ_PRIO_SHIFT = 16,
	VIRQ_MASKING = 1u << 24,
};

enum { TLB_CONTROL_NONE = 0, TLB_CONTROL_ALL = 1, TLB_CONTROL_ASID = 3 };

#define EVENT_VALID      (1ul << 31)
#define EVENT_HAS_ERROR  (1ul << 11)
#define EVENT_VECTOR(e)  ((u8)(e))
#define EVENT_TYPE(e)    (((e) >> 8) & 7)
enum { EVENT_INTR = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFTWARE = 4 };

enum svm_exit_code {
	SVM_EXIT_CR4_WRITE = 0x014,
	SVM_EXIT_CR8_WRITE = 0x018,
	SVM_EXIT_DR0_READ = 0x020,
	SVM_EXIT_DR15_WRITE = 0x03f,
	SVM_EXIT_EXCP0 = 0x040,
	SVM_EXIT_EXCP31 = 0x05f,
	SVM_EXIT_INTR = 0x060,
	SVM_EXIT_NMI = 0x061,
	SVM_EXIT_SMI = 0x062,
	SVM_EXIT_INIT = 0x063,
	SVM_EXIT_VINTR = 0x064,
	SVM_EXIT_RDPMC = 0x06f,
	SVM_EXIT_CPUID = 0x072,
	SVM_EXIT_RSM = 0x073,
	SVM_EXIT_IRET = 0x074,
	SVM_EXIT_INVD = 0x076,
	SVM_EXIT_PAUSE = 0x077,
	SVM_EXIT_HLT = 0x078,
	SVM_EXIT_INVLPGA = 0x07a,
	SVM_EXIT_IO = 0x07b,
	SVM_EXIT_MSR = 0x07c,
	SVM_EXIT_FERR_FREEZE = 0x07e,
	SVM_EXIT_SHUTDOWN = 0x07f,
	SVM_EXIT_VMRUN = 0x080,
	SVM_EXIT_VMMCALL = 0x081,
	SVM_EXIT_VMLOAD = 0x082,
	SVM_EXIT_VMSAVE = 0x083,
	SVM_EXIT_STGI = 0x084,
	SVM_EXIT_CLGI = 0x085,
	SVM_EXIT_SKINIT = 0x086,
	SVM_EXIT_WBINVD = 0x089,
	SVM_EXIT_MONITOR = 0x08a,
	SVM_EXIT_MWAIT = 0x08b,
	SVM_EXIT_MWAIT_ARMED = 0x08c,
	SVM_EXIT_XSETBV = 0x08d,
	SVM_EXIT_NPF = 0x400,
	SVM_EXIT_INVALID = -1, /* VMRUN refused: no state was saved */
};

/* EXITINFO1 of SVM_EXIT_IO */
enum {
	IOIO_IN = 1u << 0,
	IOIO_STRING = 1u << 2,
	IOIO_REP = 1u << 3,
	IOIO_SIZE_SHIFT = 4, /* 3 bits: 1, 2, 4 bytes */
	IOIO_ADDR_SHIFT = 7, /* 3 bits: 2, 4, 8 bytes */
	IOIO_SEG_SHIFT = 10,
};

/* EXITINFO1 of SVM_EXIT_NPF: bits of a page-fault error code, and where the walk was. */
#define NPF_FINAL (1ul << 32)
#define NPF_WALK  (1ul << 33)
