/* SPDX-License-Identifier: BSD-2-Clause */
/* A bare 64-bit kernel: entered in long mode, the first 4 GiB mapped one to one with 2 MiB pages by
 * tables that lie in memory it does not use at first, RDI = multiboot 1 information. There is no
 * stack: RSP is 0, so that a kernel which forgets to set its own stops at once.
 *
 *	+0 PML4 (one entry)   +1 PDPT (four)   +2 to +5 page directories (512 each)
 *
 * Source: Intel SDM vol. 3A, "4-level paging and 5-level paging". */
#include "vmm/loader/loader_internal.h"

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITABLE (1ull << 1)
#define PTE_LARGE    (1ull << 7)

enum {
	DIRECTORIES = 4,
	TABLE_PAGES = 2 + DIRECTORIES,
	TABLE_ENTRIES = DIRECTORIES * 512, /* of all directories, which lie in a row */
	CHUNK = 64,                        /* entries on our stack at once */
};

static int write_tables(struct load *l, u64 at)
{
	const u64 bits = PTE_PRESENT | PTE_WRITABLE;
	u64 root = (at + PAGE_SIZE) | bits, directories = at + 2 * PAGE_SIZE;
	u64 pointers[DIRECTORIES], entries[CHUNK];
	int err = 0;

	for (u64 done = 0; done < TABLE_ENTRIES && !err; done += CHUNK) {
		for (u64 i = 0; i < CHUNK; i++)
			entries[i] = MIB(2) * (done + i) | bits | PTE_LARGE;
		err = load_write(l, directories + done * sizeof(u64), entries, sizeof(entries));
	}
	for (u64 i = 0; i < DIRECTORIES; i++)
		pointers[i] = (directories + i * PAGE_SIZE) | bits;
	return err ?: load_zero(l, at, 2 * PAGE_SIZE)
		   ?: load_write(l, at, &root, sizeof(root))
		   ?: load_write(l, at + PAGE_SIZE, pointers, sizeof(pointers));
}

int elf64_load(struct load *l)
{
	struct elf_image image;
	u64 info, tables;
	int err = elf_read(l, &image)
		  ?: load_accept(l, &image)
		  ?: multiboot_info_place(l, &info)
		  ?: load_find(l, TABLE_PAGES * PAGE_SIZE, PAGE_SIZE, "page tables", &tables)
		  ?: load_copy(l, &image)
		  ?: multiboot_info_write(l, info)
		  ?: write_tables(l, tables);

	if (!err)
		*l->entry = (struct guest_entry){
			.mode = ENTRY_LONG64, .rip = image.entry, .rdi = info, .cr3 = tables,
			.kind = "elf64",
		};
	return err;
}
