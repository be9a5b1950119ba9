/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share and nobody else needs. */
#pragma once

#include "cpu/memory.h"
#include "cpu/percpu.h"
#include "cpu/range.h"
#include "cpu/trap.h"

/* From linker.ld; see the picture there. Only the addresses mean something. */
extern const u8 image_start[], text_end[], data_start[], init_start[], init_end[], image_end[];
extern const struct ex_entry ex_table[], ex_table_end[];
extern const u8 symbols_start[], symbols_end[];
/* From boot/boot.S. */
extern const u8 boot_pml4[], boot_stack_top[];

static inline u64 image_to_phys(const void *in_image)
{
	return (u64)in_image - KERNEL_IMAGE;
}

/* ---- percpu.c ------------------------------------------------------------------------------ */

/* cpu_area_create - struct cpu, descriptors and special stacks of another CPU, or NULL. */
struct cpu *cpu_area_create(void);
/* cpu_load_descriptors - this CPU's GDT and TSS. */
void cpu_load_descriptors(void);
/* Which of the TSS's stacks a gate switches to; 0: none. */
enum { IST_NMI = 1, IST_FATAL = 2 };

/* ---- bootmem.c ----------------------------------------------------------------------------- */

struct boot_info;

/* bootmem_init - decide what RAM is ours. @direct gets what the direct map must show, in order. */
void bootmem_init(const struct boot_info *info, u64 info_phys, u64 cap, struct range_set *direct);

/* ---- host_pt.c ------------------------------------------------------------------------------- */

extern u64 kernel_cr3; /* [o] */

/* host_pt_map - let the page at @va be @phys. Return 0 or -ENOMEM. => host_pt_lock held, or boot */
int must_check host_pt_map(u64 va, u64 phys, unsigned int acc);
/* host_pt_unmap - take the leaf of @va away; returns its physical address. No flush. => as above */
u64 host_pt_unmap(u64 va);
u64 host_page_get(void); /* 0 without memory. => as above */
void host_page_put(u64 phys);
extern struct spinlock host_pt_lock;

/* ---- panic.c ------------------------------------------------------------------------------- */

/* panic_trap - as panic, with the registers of @f. */
noreturn_fn cold void panic_trap(const struct trap_frame *f, const char *fmt, ...) printf_like(2, 3);
/* panic_stop_here - halt if another CPU panics. => NMI */
void panic_stop_here(void);

/* ---- trap.c, call.c ---------------------------------------------------------------------------- */

/* The current thread's name; a word of its own if there is none. */
const char *trap_thread_name(void);
/* call_serve - run what other CPUs asked of this one. => interrupts off */
void call_serve(void);
