/* SPDX-License-Identifier: BSD-2-Clause */
/* The FPU registers and their owner. XSAVE where the processor has it, with every component that we
 * know and it has; FXSAVE else. Sources: Intel SDM vol. 1, "Managing State Using the XSAVE Feature
 * Set"; AMD APM vol. 2, "Saving Media and x87 State".
 *
 * While somebody saves or loads, XCR0 holds all components that we save; while a state is live it
 * holds what its guest chose.
 *
 * QEMU's TCG, up to 7.2 at least. To load an x87 status word without the summary bit withdraws IGNNE#,
 * which the emulator keeps among flags of CPU 0 and changes from the thread of whatever CPU loads, not
 * atomically: CPU 0, if it enters or leaves a guest at that moment, may lose or keep nested paging. So
 * there the word is loaded with the bit, and FNCLEX clears it. (A guest that restores its own
 * FPU on another CPU can still do this to CPU 0: docs/design.md, "Emulators".) */
#include "cpu/fpu.h"

#include "cpu/features.h"
#include "cpu/memory.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/string.h"

/* XCR0: x87, SSE, AVX, and the three of AVX-512, which come together or not at all. */
#define XCR0_KNOWN  0xe7ull
#define XCR0_AVX512 0xe0ull
#define XCR0_AVX    0x04ull

/* The FXSAVE part of an area. */
#define AREA_FCW     0
#define AREA_FSW     2
#define AREA_MXCSR   24
#define FXSAVE_BYTES 512

void clear_page_rep(void *page);
void clear_page_xmm0(void *page);
static void clear_page_sse(void *page);

void (*memory_clear_page)(void *page) = clear_page_rep;

static u64 xcr0_allowed; /* [o] */
static u32 area_bytes = FXSAVE_BYTES;
static bool leaks_pointers; /* AMD: the x87 pointers are restored only with an exception pending */

static void find_components(void)
{
	struct cpuid_regs r;

	if (!features.xsave)
		return;
	r = cpuid(0xd, 0);
	xcr0_allowed = (r.eax | (u64)r.edx << 32) & XCR0_KNOWN;
	if ((xcr0_allowed & XCR0_AVX512) != XCR0_AVX512 || !(xcr0_allowed & XCR0_AVX))
		xcr0_allowed &= ~XCR0_AVX512;
	xsetbv(0, xcr0_allowed);
	area_bytes = cpuid(0xd, 0).ebx; /* for what XCR0 holds now */
}

static bool processor_leaks_pointers(void)
{
	if (features.vendor != VENDOR_AMD)
		return false;
	return features.max_ext_leaf < 0x80000008 || !(cpuid(0x80000008, 0).ebx & 4);
}

void fpu_init(void)
{
	write_cr0((read_cr0() & ~(u64)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | (features.xsave ? CR4_OSXSAVE : 0));
	if (cpu_id() == 0) {
		find_components();
		leaks_pointers = processor_leaks_pointers();
		if (!features.erms)
			memory_clear_page = clear_page_sse;
	} else if (features.xsave) {
		xsetbv(0, xcr0_allowed);
	}
	__asm__ volatile("fninit");
}

u32 fpu_area_bytes(void)
{
	return area_bytes;
}

u64 fpu_xcr0_allowed(void)
{
	return xcr0_allowed;
}

void fpu_reset(struct fpu *f)
{
	u16 fcw = 0x37f;
	u32 mxcsr = 0x1f80;

	if (f->cpu >= 0) {
		CHECK(f->cpu == (s32)cpu_id(), "FPU state live on CPU %d is reset", f->cpu);
		this_cpu()->fpu_owner = NULL;
	}
	f->cpu = f->left = -1;
	f->xcr0 = 1;
	/* An XSAVE header of zeros means: all as after INIT; XRSTOR reads MXCSR even so. */
	memset(f->area, 0, area_bytes);
	memcpy((u8 *)f->area + AREA_FCW, &fcw, sizeof(fcw));
	memcpy((u8 *)f->area + AREA_MXCSR, &mxcsr, sizeof(mxcsr));
}

static void registers_save(void *area)
{
	u32 lo = xcr0_allowed, hi = xcr0_allowed >> 32;

	if (!features.xsave)
		__asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
	else if (features.xsaveopt)
		__asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
}

/* The exception flags that FNCLEX clears, and the summary of them, with what goes with it. */
#define FSW_FLAGS 0xffu
#define FSW_ES    0x80u

static void registers_load(void *area)
{
	static const u32 zero;
	u32 lo = xcr0_allowed, hi = xcr0_allowed >> 32;
	u16 *fsw = (u16 *)((u8 *)area + AREA_FSW);
	bool by_fnclex = features.tcg && !(*fsw & FSW_FLAGS);

	/* N7: give the x87 instruction and data pointers values of ours, or the last owner's stay. */
	if (leaks_pointers)
		__asm__ volatile("fnclex; emms; fildl %0" ::"m"(zero));
	*fsw |= by_fnclex ? FSW_ES : 0;
	if (!features.xsave)
		__asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
	else
		__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(lo), "d"(hi) : "memory");
	if (by_fnclex) {
		__asm__ volatile("fnclex");
		*fsw &= ~FSW_ES;
	}
}

void fpu_save(struct fpu *f)
{
	struct cpu *cpu = this_cpu();

	ASSERT((cpu->fpu_owner == f) == (f->cpu == (s32)cpu->id), "I1: owner %p, fpu %p of CPU %d",
	       cpu->fpu_owner, (void *)f, f->cpu);
	if (cpu->fpu_owner != f)
		return;
	if (features.xsave && f->xcr0 != xcr0_allowed)
		xsetbv(0, xcr0_allowed);
	registers_save(f->area);
	f->cpu = -1;
	f->left = (s32)cpu->id;
	cpu->fpu_owner = NULL;
	cpu->fpu_left = f;
}

void fpu_load(struct fpu *f)
{
	struct cpu *cpu = this_cpu();

	ASSERT(preempt_count() || !irq_enabled(), "FPU of %p loaded with preemption on", (void *)f);
	if (likely(cpu->fpu_owner == f))
		return;
	CHECK(f->cpu < 0, "FPU state is live on CPU %d", f->cpu);
	if (cpu->fpu_owner)
		fpu_save(cpu->fpu_owner);
	if (cpu->fpu_left != f || f->left != (s32)cpu->id)
		registers_load(f->area);
	if (features.xsave && f->xcr0 != xcr0_allowed)
		xsetbv(0, f->xcr0);
	f->cpu = cpu->id;
	f->left = -1;
	cpu->fpu_owner = f;
	cpu->fpu_left = NULL;
}

static void clear_page_sse(void *page)
{
	preempt_disable();
	clear_page_xmm0(page);
	preempt_enable();
}
