/* SPDX-License-Identifier: BSD-2-Clause */
/* One-instruction inlines and the architecture's bit names. Sources: Intel SDM vol. 3A "Control
 * Registers", vol. 4 "Model-Specific Registers"; AMD APM vol. 2, appendix A. */
#pragma once

#include "lib/types.h"

enum {
	CR0_PE = 1u << 0, CR0_MP = 1u << 1, CR0_EM = 1u << 2, CR0_TS = 1u << 3, CR0_ET = 1u << 4,
	CR0_NE = 1u << 5, CR0_WP = 1u << 16, CR0_AM = 1u << 18, CR0_NW = 1u << 29,
	CR0_CD = 1u << 30, CR0_PG = 1u << 31,
};
enum {
	CR4_PSE = 1u << 4, CR4_PAE = 1u << 5, CR4_MCE = 1u << 6, CR4_PGE = 1u << 7,
	CR4_OSFXSR = 1u << 9, CR4_OSXMMEXCPT = 1u << 10, CR4_LA57 = 1u << 12,
	CR4_FSGSBASE = 1u << 16, CR4_PCIDE = 1u << 17, CR4_OSXSAVE = 1u << 18,
	CR4_SMEP = 1u << 20, CR4_SMAP = 1u << 21,
};
enum {
	EFER_SCE = 1u << 0, EFER_LME = 1u << 8, EFER_LMA = 1u << 10, EFER_NXE = 1u << 11,
	EFER_SVME = 1u << 12, EFER_LMSLE = 1u << 13, EFER_FFXSR = 1u << 14,
};
enum {
	RFLAGS_FIXED = 1u << 1, RFLAGS_ZF = 1u << 6, RFLAGS_TF = 1u << 8,
	RFLAGS_IF = 1u << 9, RFLAGS_DF = 1u << 10, RFLAGS_RF = 1u << 16, RFLAGS_VM = 1u << 17,
	RFLAGS_AC = 1u << 18,
};

#define MSR_TSC            0x10u
#define MSR_TSC_ADJUST     0x3bu
#define MSR_APIC_BASE      0x1bu
#define MSR_SYSENTER_CS    0x174u
#define MSR_SYSENTER_ESP   0x175u
#define MSR_SYSENTER_EIP   0x176u
#define MSR_PAT            0x277u
#define MSR_TSC_DEADLINE   0x6e0u
#define MSR_X2APIC         0x800u
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_SFMASK         0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_VM_CR          0xc0010114u
#define MSR_VM_HSAVE_PA    0xc0010117u

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }

#define X86_IN(name, type) \
	static inline type name(u16 port) \
	{ \
		type v; \
		__asm__ volatile(#name " %1, %0" : "=a"(v) : "Nd"(port)); \
		return v; \
	}
X86_IN(inb, u8)
X86_IN(inw, u16)
X86_IN(inl, u32)

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r;
	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

#define X86_REG(reg) \
	static inline u64 read_##reg(void) \
	{ \
		u64 v; \
		__asm__ volatile("mov %%" #reg ", %0" : "=r"(v)); \
		return v; \
	} \
	static inline void write_##reg(u64 v) { __asm__ volatile("mov %0, %%" #reg ::"r"(v) : "memory"); }
X86_REG(cr0) X86_REG(cr2) X86_REG(cr3) X86_REG(cr4)
X86_REG(dr0) X86_REG(dr1) X86_REG(dr2) X86_REG(dr3)

static inline u64 read_rflags(void)
{
	u64 v;
	__asm__ volatile("pushfq; popq %0" : "=r"(v)::"memory");
	return v;
}

static inline void irq_enable(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void irq_disable(void) { __asm__ volatile("cli" ::: "memory"); }
static inline bool irq_enabled(void) { return read_rflags() & RFLAGS_IF; }

static inline u64 irq_save(void)
{
	u64 flags = read_rflags();
	irq_disable();
	return flags;
}

static inline void irq_restore(u64 flags)
{
	if (flags & RFLAGS_IF)
		irq_enable();
}

static inline void cpu_halt(void) { __asm__ volatile("hlt" ::: "memory"); }
/* cpu_idle_wait - enable interrupts and halt with no instruction between: no wake-up is lost. */
static inline void cpu_idle_wait(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
static inline void invlpg(u64 va) { __asm__ volatile("invlpg (%0)" ::"r"(va) : "memory"); }
static inline void xsetbv(u32 reg, u64 v)
{
	__asm__ volatile("xsetbv" ::"c"(reg), "a"((u32)v), "d"((u32)(v >> 32)));
}

/* rdmsr_safe - 0, or -EFAULT if the register does not exist (#GP). */
int must_check rdmsr_safe(u32 msr, u64 *v);
