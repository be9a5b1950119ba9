/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1. The information structure says what QEMU's -kernel says, since that is what guests
 * have been tried with; the places differ, as no option ROM of ours sits in low memory. */
#include "vmm/loader/multiboot.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

#define BOOT_LOADER_NAME   "Neap"
#define BOOT_DEVICE        0x8000ffffu /* first disk, no partition */

int multiboot_find(const struct guest_image *img, u64 *offset)
{
	u64 end = MIN(img->size, (u64)MULTIBOOT_SEARCH_BYTES);
	struct multiboot_header h;
	int err = -ENOENT;

	for (u64 at = 0; at + MULTIBOOT_HEADER_MIN <= end; at += 4) {
		memcpy(&h, (const u8 *)img->data + at, MULTIBOOT_HEADER_MIN);
		if (h.magic != MULTIBOOT_HEADER_MAGIC)
			continue;
		if (h.magic + h.flags + h.checksum == 0) {
			*offset = at;
			return 0;
		}
		err = -EINVAL; /* look on: it may be a constant in the code */
	}
	return err;
}

/* The header's address fields describe one segment. The file is a run of bytes in which the header,
 * at @offset, goes to header_addr; what it is besides (an ELF file, say) does not matter.
 * Source: Multiboot Specification, "The address fields of Multiboot header". */
static int read_addresses(struct load *l, const struct multiboot_header *h, u64 offset,
			  struct elf_image *out)
{
	u64 before = (u64)h->header_addr - h->load_addr; /* bytes to load before the header */
	u64 size = l->img->size;
	u64 file_bytes, mem_bytes;

	if (h->header_addr < h->load_addr || before > offset)
		return load_fail(l, trace(-EINVAL), "its multiboot header says it goes to %#x in an "
				 "image from %#x, but stands at byte %lu: mend its address fields",
				 h->header_addr, h->load_addr, offset);
	file_bytes = size - (offset - before);
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr)
			return load_fail(l, trace(-EINVAL), "its multiboot header ends the image at %#x "
					 "before its start at %#x", h->load_end_addr, h->load_addr);
		if (h->load_end_addr - h->load_addr > file_bytes)
			return load_fail(l, trace(-EINVAL),
					 "truncated: the image ends at byte %lu, the file has %lu",
					 offset - before + h->load_end_addr - h->load_addr, size);
		file_bytes = h->load_end_addr - h->load_addr;
	}
	mem_bytes = file_bytes;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + file_bytes)
			return load_fail(l, trace(-EINVAL), "its multiboot header ends the bss at %#x "
					 "before the data at %#lx", h->bss_end_addr,
					 h->load_addr + file_bytes);
		mem_bytes = h->bss_end_addr - h->load_addr;
	}
	out->class = ELF_NONE;
	out->entry = h->entry_addr;
	out->nr = 1;
	out->segment[0] = (struct elf_segment){
		.paddr = h->load_addr, .mem_bytes = mem_bytes,
		.offset = offset - before, .file_bytes = file_bytes,
	};
	return 0;
}

static int read_image(struct load *l, u64 offset, struct elf_image *out)
{
	struct multiboot_header h = {0};
	const struct guest_image *img = l->img;
	u32 unknown;

	memcpy(&h, (const u8 *)img->data + offset, MIN(sizeof(h), img->size - offset));
	unknown = h.flags & MULTIBOOT_REQUIRED & ~(u32)MULTIBOOT_UNDERSTOOD;
	if (unknown)
		return load_fail(l, trace(-ENOEXEC), "its multiboot header requires feature bits %#x, "
				 "which nobody has defined: build it without", unknown);
	if (h.flags & MULTIBOOT_HAS_ADDRESSES) {
		if (img->size - offset < sizeof(h))
			return load_fail(l, trace(-EINVAL), "truncated: the multiboot header ends at "
					 "byte %lu, the file has %lu", offset + sizeof(h), img->size);
		return read_addresses(l, &h, offset, out);
	}
	if (elf_class_of(img->data, img->size) == ELF_NONE)
		return load_fail(l, trace(-ENOEXEC), "a multiboot header without address fields, but no "
				 "ELF file: set bit 16 of its flags or link it as ELF");
	return elf_read(l, out);
}

int multiboot_load(struct load *l, u64 offset)
{
	struct elf_image image;
	u64 info;
	int err = read_image(l, offset, &image)
		  ?: load_accept(l, &image)
		  ?: multiboot_info_place(l, &info)
		  ?: load_copy(l, &image)
		  ?: multiboot_info_write(l, info);

	if (!err)
		*l->entry = (struct guest_entry){
			.mode = ENTRY_PROT32, .rip = image.entry, .rax = MULTIBOOT_EAX, .rbx = info,
			.kind = "multiboot",
		};
	return err;
}

/* The structure, the list of modules, the memory map and the strings lie in one piece. */
struct info_layout {
	u64 info, module, mmap, cmdline, module_string, loader_name, end;
};

static const char *initrd_name(const struct guest_image *img)
{
	return img->initrd && img->initrd_name ? img->initrd_name : "";
}

static void layout_info(const struct guest_image *img, u64 at, struct info_layout *out)
{
	out->info = at;
	out->module = out->info + sizeof(struct multiboot_info);
	out->mmap = out->module + sizeof(struct multiboot_module);
	out->cmdline = out->mmap + E820_MAX * sizeof(struct multiboot_mmap);
	out->module_string = out->cmdline + strlen(img->name) + 1 + strlen(img->cmdline) + 1;
	out->loader_name = out->module_string + strlen(initrd_name(img)) + 1;
	out->end = out->loader_name + sizeof(BOOT_LOADER_NAME);
}

int multiboot_info_place(struct load *l, u64 *at)
{
	struct info_layout layout;

	layout_info(l->img, 0, &layout);
	return load_find(l, layout.end, 16, "the multiboot information", at);
}

static int write_mmap(struct load *l, u64 at, u32 *bytes)
{
	struct e820_entry map[E820_MAX];
	struct multiboot_mmap out[E820_MAX];
	unsigned int nr = loader_e820(l->ram, map);

	for (unsigned int i = 0; i < nr; i++)
		out[i] = (struct multiboot_mmap){
			.size = sizeof(out[i]) - sizeof(out[i].size),
			.base = map[i].base, .bytes = map[i].bytes, .type = map[i].type,
		};
	*bytes = nr * (u32)sizeof(out[0]);
	return load_write(l, at, out, *bytes);
}

/* The space is there even when nothing follows it: guests look for it to skip argv[0]. */
static int write_strings(struct load *l, const struct info_layout *at)
{
	const struct guest_image *img = l->img;
	const char *module = initrd_name(img);
	u64 space = at->cmdline + strlen(img->name);

	return load_write(l, at->cmdline, img->name, strlen(img->name))
	       ?: load_write(l, space, " ", 1)
	       ?: load_write(l, space + 1, img->cmdline, strlen(img->cmdline) + 1)
	       ?: load_write(l, at->module_string, module, strlen(module) + 1)
	       ?: load_write(l, at->loader_name, BOOT_LOADER_NAME, sizeof(BOOT_LOADER_NAME));
}

static int write_module(struct load *l, const struct info_layout *at)
{
	struct multiboot_module module = {
		.start = (u32)l->initrd_at,
		.end = (u32)(l->initrd_at + l->img->initrd_size),
		.string = (u32)at->module_string,
	};

	return l->img->initrd ? load_write(l, at->module, &module, sizeof(module)) : 0;
}

int multiboot_info_write(struct load *l, u64 at)
{
	u64 ram_bytes = l->ram->low_bytes;
	struct multiboot_info info;
	struct info_layout layout;

	layout_info(l->img, at, &layout);
	info = (struct multiboot_info){
		.flags = MULTIBOOT_INFO_GIVEN,
		.mem_lower = (u32)(MIN(ram_bytes, KIB(639)) >> 10),
		.mem_upper = ram_bytes > MIB(1) ? (u32)((ram_bytes - MIB(1)) >> 10) : 0,
		.boot_device = BOOT_DEVICE,
		.cmdline = (u32)layout.cmdline,
		.mods_count = l->img->initrd ? 1 : 0,
		.mods_addr = (u32)layout.module,
		.mmap_addr = (u32)layout.mmap,
		.boot_loader_name = (u32)layout.loader_name,
	};
	return write_mmap(l, layout.mmap, &info.mmap_length)
	       ?: write_module(l, &layout)
	       ?: write_strings(l, &layout)
	       ?: load_write(l, layout.info, &info, sizeof(info));
}
