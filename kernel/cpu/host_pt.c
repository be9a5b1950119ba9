/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's own page tables: made once at boot, grown by stacks and device memory.
 *
 * Invariants
 *  I1. Nothing is both writable and executable, by any of its addresses: text is mapped R X in the
 *      image and R in the direct map; all else is never executable.
 *  I2. Leaves are global and born accessed and dirty; no processor writes to these tables.
 *  I3. Root entries are made in memory_init only: every address space has copies of them.
 *
 * Locking: host_pt_lock, for everything after memory_init; boot has one CPU. */
#include "cpu/cpu_internal.h"
#include "cpu/features.h"
#include "cpu/memory.h"
#include "cpu/spinlock.h"
#include "cpu/x86.h"
#include "lib/check.h"

enum { PTE_PWT = 1 << 3, PTE_PCD = 1 << 4, PTE_GLOBAL = 1 << 8 };
#define PTE_NX (1ull << 63)

/* The PAT as at reset, but entry 1, which PWT alone selects, is write-combining. Entry 3 (PCD and
 * PWT) is uncached. Intel SDM vol. 3A, "Page Attribute Table (PAT)". */
#define PAT_VALUE 0x0007040600070106ull

struct spinlock host_pt_lock = SPINLOCK_INIT(RANK_HOST_PT);
u64 kernel_cr3;
static u64 device_next = DEVICE_AREA;

static u64 boot_page_get(unused struct pt_pages *p)
{
	return memory_boot_pages(1);
}

static void boot_page_put(unused struct pt_pages *p, u64 phys)
{
	panic("page %#lx given back at boot", phys);
}

static struct pt_pages boot_pages = {boot_page_get, boot_page_put};

struct pt kernel_pt = {.fmt = &pt_format_host, .pages = &boot_pages};

void kernel_pages_set(struct pt_pages *pages)
{
	kernel_pt.pages = pages;
}

u64 host_page_get(void)
{
	return kernel_pt.pages->get(kernel_pt.pages);
}

void host_page_put(u64 phys)
{
	kernel_pt.pages->put(kernel_pt.pages, phys);
}

/* ---- leaves ------------------------------------------------------------------------------------ */

static u64 leaf_bits(unsigned int acc, int level)
{
	u64 bits = kernel_pt.fmt->leaf_bits(acc, level) | kernel_pt.fmt->accessed;

	if (acc & ACC_W)
		bits |= kernel_pt.fmt->dirty;
	if (features.pge)
		bits |= PTE_GLOBAL;
	return features.nx ? bits : bits & ~PTE_NX;
}

static int map_leaf(u64 va, u64 entry, int level)
{
	u64 *at;
	int err = pt_ensure(&kernel_pt, va, level, &at);

	if (err)
		return err;
	CHECK(!pt_is_present(kernel_pt.fmt, *at), "%#lx is mapped already: %#lx", va, *at);
	atomic_store(at, entry);
	return 0;
}

int host_pt_map(u64 va, u64 phys, unsigned int acc)
{
	return map_leaf(va, phys | leaf_bits(acc, 1), 1);
}

u64 host_pt_unmap(u64 va)
{
	u64 *at = pt_lookup_leaf(&kernel_pt, va);

	CHECK(at && pt_is_present(kernel_pt.fmt, *at), "%#lx is not mapped", va);
	return atomic_xchg(at, 0) & kernel_pt.fmt->addr;
}

bool memory_is_mapped(u64 va)
{
	int level;

	if (va < DIRECT_MAP)
		return false;
	if (!kernel_pt.root) /* on boot tables: what they show for sure */
		return va >= (u64)image_start && va < (u64)image_end;
	return pt_is_present(kernel_pt.fmt, READ_ONCE(*pt_lookup(&kernel_pt, va, 1, &level)));
}

/* ---- boot ---------------------------------------------------------------------------------------- */

/* biggest_level - the largest leaf that fits at @va and @phys and ends before @bytes are over. */
static int biggest_level(u64 va, u64 phys, u64 bytes)
{
	int level = features.page1g ? 3 : 2;

	while (level > 1 && (((va | phys) & (pt_level_size(level) - 1)) ||
			     bytes < pt_level_size(level)))
		level--;
	return level;
}

static void map_at_boot(u64 va, u64 phys, u64 bytes, unsigned int acc)
{
	while (bytes) {
		int level = biggest_level(va, phys, bytes);
		int err = map_leaf(va, phys | leaf_bits(acc, level), level);

		CHECK(!err, "mapping %#lx at boot: %d", va, err);
		va += pt_level_size(level);
		phys += pt_level_size(level);
		bytes -= pt_level_size(level);
	}
}

/* The image, by its linked addresses. The boot tables between data and stack are not mapped, which
 * makes them the guard pages below the boot stack. */
static void map_image(void)
{
	const struct {
		const u8 *start, *end;
		unsigned int acc;
	} parts[] = {
		{image_start, text_end, ACC_R | ACC_X},
		{text_end, data_start, ACC_R},
		{data_start, init_start, ACC_R | ACC_W},
		{init_end, image_end, ACC_R | ACC_W},
	};

	for (u32 i = 0; i < ARRAY_SIZE(parts); i++)
		map_at_boot((u64)parts[i].start, image_to_phys(parts[i].start),
			    page_up((u64)parts[i].end) - (u64)parts[i].start, parts[i].acc);
}

/* All RAM that is ours, writable but for the image up to the boot tables, which become frames. */
static void map_direct(struct range_set *ram)
{
	u64 image = image_to_phys(image_start), image_stop = image_to_phys(init_start);

	range_remove(ram, image, image_stop);
	for (u32 i = 0; i < ram->nr; i++)
		map_at_boot(ram->r[i].start + DIRECT_MAP, ram->r[i].start,
			    ram->r[i].end - ram->r[i].start, ACC_R | ACC_W);
	map_at_boot(image + DIRECT_MAP, image, image_stop - image, ACC_R);
}

void memory_init(const struct boot_info *info, u64 info_phys, u64 cap)
{
	struct range_set direct;

	kernel_pt.virt_offset = DIRECT_MAP;
	bootmem_init(info, info_phys, cap, &direct);
	kernel_pt.root = memory_boot_pages(1);
	map_image();
	map_direct(&direct);
	kernel_cr3 = kernel_pt.root;
	memory_init_ap();
}

void memory_init_ap(void)
{
	write_cr3(kernel_cr3);
	if (features.pat)
		wrmsr(MSR_PAT, PAT_VALUE);
	/* Also drops what was cached under the old PAT and from the boot tables. */
	if (features.pge)
		write_cr4(read_cr4() | CR4_PGE);
	write_cr3(kernel_cr3);
}

/* ---- device memory ------------------------------------------------------------------------------- */

static u64 cache_bits(enum map_cache cache)
{
	if (cache == MAP_WRITE_BACK)
		return 0;
	if (cache == MAP_WRITE_COMBINING && features.pat)
		return PTE_PWT;
	return PTE_PCD | PTE_PWT;
}

void *memory_map_device(u64 phys, u64 bytes, enum map_cache cache)
{
	u64 first = page_down(phys), size = page_up(phys + bytes) - first;
	u64 va, done = 0, in_large = first & (pt_level_size(2) - 1);
	void *mapped = NULL;
	int err = 0;

	if (!bytes || phys + bytes < phys || (phys + bytes) >> features.phys_bits)
		return NULL;
	spin_lock(&host_pt_lock);
	va = device_next;
	/* Same place within 2 MiB, if that gives large leaves. */
	if (size >= pt_level_size(2))
		va = ((va - in_large + pt_level_size(2) - 1) & ~(pt_level_size(2) - 1)) + in_large;
	if (va < device_next || size > DEVICE_END - va)
		goto out;
	device_next = va + size; /* also if it fails: what is mapped stays */
	while (done < size && !err) {
		int level = MIN(biggest_level(va + done, first + done, size - done), 2);

		err = map_leaf(va + done,
			       (first + done) | leaf_bits(ACC_R | ACC_W, level) | cache_bits(cache),
			       level);
		done += pt_level_size(level);
	}
	if (!err)
		mapped = (void *)(va + page_offset(phys));
out:
	spin_unlock(&host_pt_lock);
	return mapped;
}
