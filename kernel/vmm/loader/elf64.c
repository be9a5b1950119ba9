/* SPDX-License-Identifier: BSD-2-Clause */
/* A bare 64-bit kernel: entered in long mode, the first 4 GiB and what RAM lies above them mapped one
 * to one with 2 MiB pages by tables that lie in memory it does not use at first, RDI = multiboot 1
 * information. There is no stack: RSP is 0, so that a kernel which forgets to set its own stops at
 * once. Linux' 64-bit entry gets the same tables.
 *
 *	+0 PML4 (one entry)   +1 PDPT (n = 4 and one per GiB above)   +2 to +1+n page directories
 *
 * Source: Intel SDM vol. 3A, "4-level paging and 5-level paging". */
#include "vmm/loader/loader_internal.h"

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITABLE (1ull << 1)
#define PTE_LARGE    (1ull << 7)

enum {
	DIRECTORIES_LOW = 4,
	DIRECTORIES_MAX = 512,
	TABLE_ENTRIES = 512,
	CHUNK = 64, /* entries on our stack at once */
};

static u64 nr_directories(const struct load *l)
{
	u64 high = (l->ram->high_bytes + GIB(1) - 1) / GIB(1);

	return MIN(DIRECTORIES_LOW + high, (u64)DIRECTORIES_MAX);
}

int identity_place(struct load *l, u64 *at)
{
	return load_find(l, (2 + nr_directories(l)) * PAGE_SIZE, PAGE_SIZE, "page tables", at);
}

/* @nr entries from @at on, each @step more than the one before. */
static int write_entries(struct load *l, u64 at, u64 entry, u64 step, u64 nr)
{
	u64 entries[CHUNK];
	int err = 0;

	for (u64 n; nr && !err; nr -= n, at += n * sizeof(u64)) {
		n = MIN(nr, (u64)CHUNK);
		for (u64 i = 0; i < n; i++, entry += step)
			entries[i] = entry;
		err = load_write(l, at, entries, n * sizeof(u64));
	}
	return err;
}

int identity_write(struct load *l, u64 at)
{
	const u64 bits = PTE_PRESENT | PTE_WRITABLE;
	u64 pointers = at + PAGE_SIZE, directories = at + 2 * PAGE_SIZE, nr = nr_directories(l);

	return load_zero(l, at, 2 * PAGE_SIZE)
	       ?: write_entries(l, at, pointers | bits, 0, 1)
	       ?: write_entries(l, pointers, directories | bits, PAGE_SIZE, nr)
	       ?: write_entries(l, directories, bits | PTE_LARGE, MIB(2), nr * TABLE_ENTRIES);
}

int elf64_load(struct load *l)
{
	struct elf_image image;
	u64 info, tables;
	int err = elf_read(l, &image)
		  ?: load_accept(l, &image)
		  ?: multiboot_info_place(l, &info)
		  ?: identity_place(l, &tables)
		  ?: load_copy(l, &image)
		  ?: multiboot_info_write(l, info)
		  ?: identity_write(l, tables);

	if (!err)
		*l->entry = (struct guest_entry){
			.mode = ENTRY_LONG64, .rip = image.entry, .rdi = info, .cr3 = tables,
			.kind = "elf64",
		};
	return err;
}
