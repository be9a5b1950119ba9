/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's own address space.
 *
 *	0000_0000_0000_0000  lower half: the hva space of the VM whose thread runs (mm owns it)
 *	ffff_8000_0000_0000  direct map of all RAM under the cap, never executable; the kernel image in
 *			     it is read-only
 *	ffff_ffff_8000_0000  the kernel image: text RX, rodata R, data and bss RW
 *	ffff_ffff_a000_0000  thread stacks, each between unmapped guard pages
 *	ffff_ffff_c000_0000  device memory
 *
 * The last three share a top-level entry, and stacks share a table with the image: tables are memory
 * that guests do not get.
 *
 * The upper half's top-level entries are made once, at boot, before the first struct mm copies them:
 * what is mapped later is mapped below these, and so is seen by every address space at once.
 *
 * Before frames exist, pages come from a boot-time bump allocator over the boot map, afterwards from
 * whoever calls kernel_pages_set (mm/frame.c). Kernel mappings are never narrowed, and unmapped only
 * when a thread's stack goes (with a shoot-down). */
#pragma once

#include "lib/pt_walk.h"

#define DIRECT_MAP   0xffff800000000000ul
#define KERNEL_IMAGE 0xffffffff80000000ul
#define STACK_AREA   0xffffffffa0000000ul
#define DEVICE_AREA  0xffffffffc0000000ul
#define DEVICE_END   0xfffffffffffff000ul

#ifdef NEAP_HOST
extern u64 host_direct_map; /* the unit tests' fake RAM */
#undef DIRECT_MAP
#define DIRECT_MAP host_direct_map
#endif

static inline void *phys_to_virt(u64 phys)
{
	return (void *)(phys + DIRECT_MAP);
}

static inline u64 virt_to_phys(const void *virt)
{
	return (u64)virt - DIRECT_MAP;
}

enum map_cache { MAP_WRITE_BACK, MAP_WRITE_COMBINING, MAP_UNCACHED };

struct boot_info;

/* memory_init - leave the boot page tables for real ones: W^X, NX, guard pages, direct map.
 * => boot CPU, before anything else allocates; @info's memory map is trusted after clipping
 * => addresses from phys_to_virt that were in use before stay good; physical ones used as pointers
 *    do not
 * @info_phys: the Multiboot2 structure, kept like the modules: neither is ever handed out.
 * @cap: at most this many bytes of RAM are used in all, kernel and modules included, lowest first (0:
 * no cap). Panics with a clear line if kernel and modules alone need more. */
void memory_init(const struct boot_info *info, u64 info_phys, u64 cap);
/* memory_init_ap - the same tables and control bits on another CPU. */
void memory_init_ap(void);

extern struct pt kernel_pt; /* its upper half is what every address space shares */

/* memory_boot_pages - @n contiguous zeroed pages that are never freed. => before frames exist */
u64 memory_boot_pages(u64 n);
/* memory_boot_ranges - what the bump allocator has not used: usable RAM for mm to take over, as
 * physical page-aligned ranges. Ends the bump allocator. Calls @add for each. */
void memory_boot_ranges(void (*add)(u64 start, u64 end));
u64 memory_ram_top(void);      /* end of the highest usable byte under the cap */
u64 memory_ram_bytes(void);    /* usable bytes under the cap, kernel and modules included */

/* memory_release_boot - what only starting needed: boot tables, the page that other CPUs started on.
 * => once, after smp_boot, when frames exist; calls @add for each piece as above */
void memory_release_boot(void (*add)(u64 start, u64 end));
/* memory_ap_page - a page below 1 MiB for starting other CPUs, 0 if there is none. */
u32 memory_ap_page(void);

/* kernel_pages_set - single pages for tables and stacks come from here from now on.
 * => @pages->get and ->put are called with a lock of RANK_HOST_PT held: they never sleep */
void kernel_pages_set(struct pt_pages *pages);

/* memory_map_device - map @bytes at physical @phys. => may be called any time, thread context
 * Return the virtual address, or NULL without memory. Never unmapped. */
void *memory_map_device(u64 phys, u64 bytes, enum map_cache cache);

#define STACK_BYTES (4 * PAGE_SIZE)
/* stack_alloc - a thread stack of STACK_BYTES between two guard pages. Return its *top*, or NULL.
 * => any time after memory_init; never sleeps */
void *stack_alloc(void);
/* stack_free - give it back. => thread context, interrupts on (every CPU is told); nobody uses it */
void stack_free(void *top);
/* stack_guard_hit - true if @va lies in a guard page: for the panic's words. */
bool stack_guard_hit(u64 va);

/* memory_is_mapped - true if the kernel's tables let @va be read; asks only addresses of the upper
 * half. Never faults; for backtraces and audits. */
bool memory_is_mapped(u64 va);

/* memory_clear_page - fill a page with zeros. On processors without fast string operations by SSE
 * stores (one register borrowed and given back: FPU ownership is not touched).
 * => @page is page-aligned; preemption may be on; any context but NMI */
extern void (*memory_clear_page)(void *page);
