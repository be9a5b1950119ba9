/* SPDX-License-Identifier: BSD-2-Clause */
/* Which RAM is ours, and the bump allocator over it until frames exist.
 *
 *	RAM   = usable entries of the memory map, less whatever another entry claims
 *	kept  = kernel image, modules, the boot information: in use already, counted under the cap
 *	free  = RAM - kept - page 0 - the AP page, cut off at the address where the cap is reached
 *
 * The cut takes the lowest frames, so that the array of struct page stays as short as the cap allows;
 * what is kept above the cut stays reachable.
 *
 * Locking: none; one CPU, until memory_boot_ranges ends it. */
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "lib/check.h"
#include "lib/mb2.h"

#define LOW_MEMORY_END MIB(1)
/* The boot tables show no more, and until memory_init ends they are all we have. */
#define REACHABLE_AT_BOOT GIB(4)

static struct range_set free_ram;
static bool ended;
static u64 ram_top, ram_bytes;
static u32 ap_page;

/* ---- which RAM ------------------------------------------------------------------------------- */

static void find_ram(const struct boot_info *info, struct range_set *ram)
{
	const u64 limit = 1ull << 46; /* what the direct map's half could show */

	for (u32 i = 0; i < info->nr_memory; i++) {
		const struct boot_memory *m = &info->memory[i];

		if (m->type == MB2_MEMORY_USABLE && m->base < limit)
			range_add(ram, page_up(m->base), page_down(MIN(m->base + m->bytes, limit)));
	}
	for (u32 i = 0; i < info->nr_memory; i++) {
		const struct boot_memory *m = &info->memory[i];

		if (m->type != MB2_MEMORY_USABLE && m->base < limit)
			range_remove(ram, page_down(m->base), page_up(MIN(m->base + m->bytes, limit)));
	}
}

/* GRUB may put the information into a gap between the image's parts: ranges unite. */
static void find_kept(const struct boot_info *info, u64 info_phys, struct range_set *kept)
{
	const u32 *info_bytes = phys_to_virt(info_phys);
	bool all = range_add(kept, image_to_phys(image_start), image_to_phys(image_end));

	all = range_add(kept, page_down(info_phys), page_up(info_phys + *info_bytes)) && all;
	for (u32 i = 0; i < info->nr_modules; i++)
		all = range_add(kept, page_down(info->modules[i].start),
				page_up(info->modules[i].end)) && all;
	CHECK(all, "%u ranges for %u modules", kept->nr, info->nr_modules);
}

/* The highest page below 1 MiB that is free. */
static void choose_ap_page(void)
{
	for (u32 i = 0; i < free_ram.nr && free_ram.r[i].start < LOW_MEMORY_END; i++)
		ap_page = MIN(free_ram.r[i].end, LOW_MEMORY_END) - PAGE_SIZE;
	if (ap_page)
		range_remove(&free_ram, ap_page, ap_page + PAGE_SIZE);
}

/* cut_at_cap - drop from free_ram what exceeds @budget bytes. Returns where the cut is. */
static u64 cut_at_cap(u64 budget)
{
	for (u32 i = 0; i < free_ram.nr; i++) {
		struct range *r = &free_ram.r[i];
		u64 bytes = r->end - r->start;

		if (bytes > budget) {
			u64 cut = r->start + page_down(budget);

			range_remove(&free_ram, cut, ~0ull);
			return cut;
		}
		budget -= bytes;
	}
	return ~0ull;
}

static u64 set_end(const struct range_set *s)
{
	return s->nr ? s->r[s->nr - 1].end : 0;
}

void bootmem_init(const struct boot_info *info, u64 info_phys, u64 cap, struct range_set *direct)
{
	struct range_set kept = {.nr = 0};
	u64 in_use, cut = ~0ull;

	direct->nr = 0;
	find_ram(info, direct);
	find_kept(info, info_phys, &kept);
	/* What a loader put outside of what it calls usable is RAM all the same. */
	for (u32 i = 0; i < kept.nr; i++)
		range_add(direct, kept.r[i].start, kept.r[i].end);

	free_ram = *direct;
	for (u32 i = 0; i < kept.nr; i++)
		range_remove(&free_ram, kept.r[i].start, kept.r[i].end);
	range_remove(&free_ram, 0, PAGE_SIZE);
	choose_ap_page();
	in_use = range_bytes(direct) - range_bytes(&free_ram);

	if (cap) {
		if (cap < in_use + MIB(1))
			panic("ram=%lu KiB is too little: kernel and modules take %lu KiB", cap / 1024,
			      in_use / 1024);
		cut = cut_at_cap(cap - in_use);
	}
	range_remove(direct, cut, ~0ull);
	for (u32 i = 0; i < kept.nr; i++)
		range_add(direct, kept.r[i].start, kept.r[i].end);
	ram_top = set_end(direct);
	ram_bytes = in_use + range_bytes(&free_ram);
}

u64 memory_ram_top(void)
{
	return ram_top;
}

u64 memory_ram_bytes(void)
{
	return ram_bytes;
}

u32 memory_ap_page(void)
{
	return ap_page;
}

/* ---- the bump allocator -------------------------------------------------------------------------- */

u64 memory_boot_pages(u64 n)
{
	CHECK(!ended && n, "boot allocation of %lu pages", n);
	for (u32 i = 0; i < free_ram.nr; i++) {
		struct range r = free_ram.r[i];

		if ((r.end - r.start) / PAGE_SIZE < n)
			continue;
		CHECK(kernel_cr3 || r.start + n * PAGE_SIZE <= REACHABLE_AT_BOOT,
		      "page tables at %#lx", r.start);
		range_remove(&free_ram, r.start, r.start + n * PAGE_SIZE);
		for (u64 k = 0; k < n; k++)
			memory_clear_page(phys_to_virt(r.start + k * PAGE_SIZE));
		return r.start;
	}
	panic("out of memory at boot: no %lu pages in a row", n);
}

void memory_boot_ranges(void (*add)(u64 start, u64 end))
{
	ended = true;
	for (u32 i = 0; i < free_ram.nr; i++)
		add(free_ram.r[i].start, free_ram.r[i].end);
}

void memory_release_boot(void (*add)(u64 start, u64 end))
{
	add(image_to_phys(init_start), image_to_phys(init_end));
	if (ap_page)
		add(ap_page, ap_page + PAGE_SIZE);
	ap_page = 0;
}
