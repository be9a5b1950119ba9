/* SPDX-License-Identifier: BSD-2-Clause */
/* Where each CPU's struct cpu lives, and its descriptors: one page for both and the NMI's stack, one
 * for the stack of exceptions after which nothing goes on (#DF, #MC). The boot CPU's two are in the
 * image; boot.S points GS at the first before it calls C.
 *
 *	area		| struct cpu | GDT | TSS |   ... <- NMI stack |
 *	fatal stack	|                            ... <- #DF, #MC |
 */
#include "cpu/percpu.h"

#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "cpu/x86.h"
#include "lib/string.h"

enum { GDT_ENTRIES = SELECTOR_TSS / 8 + 2 }; /* the TSS's descriptor is two entries long */

/* Intel SDM vol. 3A, "64-Bit Task-State Segment". */
struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 ist[8]; /* [0] is reserved */
	u64 reserved1;
	u16 reserved2;
	u16 iomap;
} packed;
static_assert(offsetof(struct tss, ist[1]) == 0x24 && sizeof(struct tss) == 0x68, "as the manual has it");

struct cpu_area {
	struct cpu cpu;
	u64 gdt[GDT_ENTRIES];
	struct tss tss;
	u8 nmi_stack[] aligned(16);
};
#define NMI_STACK_MIN 2048
static_assert(sizeof(struct cpu_area) + NMI_STACK_MIN <= PAGE_SIZE, "room for the NMI's stack");

/* In the image, where linker.ld keeps pages together. */
#define WHOLE_PAGE aligned(PAGE_SIZE) __attribute__((section(".bss.whole_pages")))

extern u8 boot_cpu_area[PAGE_SIZE];
u8 boot_cpu_area[PAGE_SIZE] WHOLE_PAGE;
static u8 boot_fatal_stack[PAGE_SIZE] WHOLE_PAGE;

struct cpu *cpus[MAX_CPUS];
u32 nr_cpus;

static void area_init(struct cpu_area *a, u64 fatal_stack)
{
	u64 tss = (u64)&a->tss;

	a->cpu.self = &a->cpu;
	a->cpu.gdt = a->gdt;
	a->cpu.tss = &a->tss;
	a->gdt[SELECTOR_CODE / 8] = 0x00af9b000000ffff;
	a->gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	a->gdt[SELECTOR_TSS / 8] = (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 |
				   0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	a->gdt[SELECTOR_TSS / 8 + 1] = tss >> 32;
	a->tss.iomap = sizeof(struct tss); /* none */
	a->tss.ist[IST_NMI] = (u64)a + PAGE_SIZE;
	a->tss.ist[IST_FATAL] = fatal_stack + PAGE_SIZE;
}

struct cpu *cpu_area_create(void)
{
	u64 area, fatal = 0;

	spin_lock(&host_pt_lock);
	area = host_page_get();
	if (area)
		fatal = host_page_get();
	if (area && !fatal)
		host_page_put(area);
	spin_unlock(&host_pt_lock);
	if (!fatal)
		return NULL;
	memset(phys_to_virt(area), 0, PAGE_SIZE);
	area_init(phys_to_virt(area), (u64)phys_to_virt(fatal));
	return phys_to_virt(area);
}

/* On the boot CPU this is the first C that runs and needs a struct cpu: make it one. */
static void boot_cpu_init(void)
{
	struct cpu_area *a = (struct cpu_area *)boot_cpu_area;

	area_init(a, (u64)boot_fatal_stack);
	a->cpu.online = true;
	cpus[0] = &a->cpu;
	nr_cpus = 1;
}

void cpu_load_descriptors(void)
{
	struct {
		u16 limit;
		u64 base;
	} packed pointer;

	if (!nr_cpus)
		boot_cpu_init();
	pointer.limit = GDT_ENTRIES * 8 - 1;
	pointer.base = (u64)this_cpu()->gdt;
	/* CS keeps its selector, which means the same in the boot GDT; the others stay null. */
	static_assert(SELECTOR_CODE == 8, "as in boot.S and ap_trampoline.S");
	__asm__ volatile("lgdt %0\n\t"
			 "ltr %w1"
			 :
			 : "m"(pointer), "r"(SELECTOR_TSS)
			 : "memory");
}
