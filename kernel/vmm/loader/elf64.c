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
	TABLE_ENTRIES = 512,
	CHUNK = 64, /* entries on our stack at once */
};

static int write_directory(struct load *l, u64 at, u64 first)
{
	u64 entries[CHUNK];
	unsigned int done, i;
	int err;

	for (done = 0; done < TABLE_ENTRIES; done += CHUNK) {
		for (i = 0; i < CHUNK; i++)
			entries[i] = (first + MIB(2) * (done + i)) | PTE_PRESENT | PTE_WRITABLE |
				     PTE_LARGE;
		err = load_write(l, at + done * sizeof(u64), entries, sizeof(entries));
		if (err)
			return err;
	}
	return 0;
}

static int write_tables(struct load *l, u64 at)
{
	u64 root = (at + PAGE_SIZE) | PTE_PRESENT | PTE_WRITABLE;
	u64 pointers[DIRECTORIES];
	unsigned int i;
	int err;

	for (i = 0; i < DIRECTORIES; i++) {
		u64 directory = at + (2 + i) * PAGE_SIZE;

		pointers[i] = directory | PTE_PRESENT | PTE_WRITABLE;
		err = write_directory(l, directory, GIB(1) * i);
		if (err)
			return err;
	}
	err = load_zero(l, at, 2 * PAGE_SIZE);
	if (err)
		return err;
	err = load_write(l, at, &root, sizeof(root));
	if (err)
		return err;
	return load_write(l, at + PAGE_SIZE, pointers, sizeof(pointers));
}

int elf64_load(struct load *l)
{
	struct elf_image image;
	char reason[128];
	u64 info, tables;
	int err;

	err = elf_read(l->img->data, l->img->size, &image, reason, sizeof(reason));
	if (err)
		return load_fail(l, err, "%s", reason);
	err = load_accept(l, &image);
	if (err)
		return err;
	err = multiboot_info_place(l, &info);
	if (err)
		return err;
	err = load_find(l, TABLE_PAGES * PAGE_SIZE, PAGE_SIZE, "page tables", &tables);
	if (err)
		return err;
	err = load_copy(l, &image);
	if (err)
		return err;
	err = multiboot_info_write(l, info);
	if (err)
		return err;
	err = write_tables(l, tables);
	if (err)
		return err;
	*l->entry = (struct guest_entry){
		.mode = ENTRY_LONG64,
		.rip = image.entry,
		.rdi = info,
		.cr3 = tables,
		.kind = "elf64",
	};
	return 0;
}
