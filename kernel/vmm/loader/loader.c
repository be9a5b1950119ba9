/* SPDX-License-Identifier: BSD-2-Clause */
/* Recognising images, and the steps that all loaders have in common. */
#include "vmm/loader/loader.h"

#include "lib/check.h"
#include "lib/format.h"
#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

enum {
	CONVENTIONAL_END = 0x9fc00, /* 639 KiB: the last one is the BIOS' data area */
	LEGACY_START = 0xa0000,     /* video memory and ROMs */
	BIOS_START = 0xe0000,       /* the board's ACPI and MP tables */
	LEGACY_END = 0x100000,

	LOADER_DATA = 0x9000, /* where QEMU puts it too: above what tiny kernels use to start CPUs */
};

int load_fail(struct load *l, int err, const char *fmt, ...)
{
	int name_bytes = text_format(l->why, l->why_size, "%s: ", l->img->name);
	va_list ap;

	if ((size_t)name_bytes < l->why_size) {
		va_start(ap, fmt);
		text_vformat(l->why + name_bytes, l->why_size - (size_t)name_bytes, fmt, ap);
		va_end(ap);
	}
	return err;
}

static int accept_segment(struct load *l, const struct elf_segment *s)
{
	const struct guest_ram *ram = l->ram;
	u64 end = s->paddr + s->mem_bytes;
	bool is_low = end <= ram->low_bytes;
	bool is_high = s->paddr >= GIB(4) && end - GIB(4) <= ram->high_bytes;

	if (!is_low && !is_high) {
		if (ram->high_bytes == 0 && end < RAM_BELOW_HOLE_MAX)
			/* One MiB more than it needs itself: for what we add. */
			return load_fail(l, trace(-ENOSPC), "segment %u needs memory up to %lu MiB: "
					 "give the VM mem=%luM or more", s->index, mib_up(end),
					 mib_up(end) + 1);
		return load_fail(l, trace(-ENOSPC), "segment %u lies at %#lx, where this VM has no "
				 "memory: link it lower", s->index, s->paddr);
	}
	/* A bss may span the legacy area: it is zero before the board fills in its part. */
	if (s->file_bytes && s->paddr < LEGACY_END && LEGACY_START < s->paddr + s->file_bytes)
		return load_fail(l, trace(-ENOSPC), "segment %u would overwrite the board's memory at "
				 "%#x to %#x: link it elsewhere", s->index, LEGACY_START, LEGACY_END);
	place_take(&l->place, s->paddr, end);
	if (is_low)
		l->image_end = MAX(l->image_end, end);
	return 0;
}

/* Kernels expect modules behind themselves, and many use what lies below 1 MiB without asking. */
static int accept_initrd(struct load *l)
{
	const struct guest_image *img = l->img;
	u64 ram_end = l->ram->low_bytes;
	u64 start = MAX(l->image_end, (u64)LEGACY_END);

	if (!img->initrd)
		return 0;
	if (place_find(&l->place, img->initrd_size, PAGE_SIZE, start, ram_end, &l->initrd_at) &&
	    place_find(&l->place, img->initrd_size, PAGE_SIZE, PAGE_SIZE, ram_end, &l->initrd_at))
		return load_fail(l, trace(-ENOSPC),
				 "no room for its initrd of %lu MiB: give the VM mem=%luM or more",
				 mib_up(img->initrd_size), mib_up(start) + mib_up(img->initrd_size) + 1);
	place_take(&l->place, l->initrd_at, l->initrd_at + img->initrd_size);
	return 0;
}

static int accept_entry(struct load *l, const struct elf_image *image)
{
	for (unsigned int i = 0; i < image->nr && image->entry < GIB(4); i++) {
		const struct elf_segment *s = &image->segment[i];

		if (image->entry >= s->paddr && image->entry - s->paddr < s->mem_bytes)
			return 0;
	}
	return load_fail(l, trace(-EINVAL),
			 "the entry point %#lx lies in no segment below 4 GiB: link it right", image->entry);
}

int load_accept(struct load *l, const struct elf_image *image)
{
	int err = 0;

	for (unsigned int i = 0; i < image->nr && !err; i++)
		err = accept_segment(l, &image->segment[i]);
	return err ?: accept_entry(l, image) ?: accept_initrd(l);
}

int load_find(struct load *l, u64 bytes, u64 align, const char *what, u64 *at)
{
	u64 ram_end = l->ram->low_bytes;
	u64 conventional_end = MIN(ram_end, (u64)CONVENTIONAL_END);

	if (place_find(&l->place, bytes, align, LOADER_DATA, conventional_end, at) &&
	    place_find(&l->place, bytes, align, PAGE_SIZE, ram_end, at))
		return load_fail(l, trace(-ENOSPC),
				 "no room for %s beside it: give the VM mem=%luM or more", what,
				 mib_up(ram_end) + mib_up(bytes));
	place_take(&l->place, *at, *at + bytes);
	return 0;
}

static int load_result(struct load *l, int err, u64 at)
{
	return err ? load_fail(l, err, "its VM's memory at %#lx cannot be filled (%s): "
			       "free memory or swap, and start it again", at, errno_name(err)) : 0;
}

int load_write(struct load *l, u64 at, const void *from, u64 bytes)
{
	return bytes ? load_result(l, l->ram->write(l->ram, gpa(at), from, bytes), at) : 0;
}

int load_zero(struct load *l, u64 at, u64 bytes)
{
	return load_result(l, l->ram->zero(l->ram, gpa(at), bytes), at);
}

int load_copy(struct load *l, const struct elf_image *image)
{
	const struct guest_image *img = l->img;
	const struct elf_segment *s = image->segment;
	int err = 0;

	for (; s < image->segment + image->nr && !err; s++)
		err = load_write(l, s->paddr, (const u8 *)img->data + s->offset, s->file_bytes);
	return err || !img->initrd ? err : load_write(l, l->initrd_at, img->initrd, img->initrd_size);
}

/* Source: Multiboot2 Specification version 2.0, "The layout of Multiboot2 header". */
static bool is_multiboot2(const struct guest_image *img)
{
	struct {
		u32 magic, architecture, length, checksum;
	} h;

	for (u64 at = 0; at + sizeof(h) <= MIN(img->size, (u64)32768); at += 8) {
		memcpy(&h, (const u8 *)img->data + at, sizeof(h));
		if (h.magic == 0xe85250d6 && h.magic + h.architecture + h.length + h.checksum == 0)
			return true;
	}
	return false;
}

/* Source: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header". */
static bool is_linux(const struct guest_image *img)
{
	const u8 *data = img->data;

	return img->size >= 0x206 && data[0x1fe] == 0x55 && data[0x1ff] == 0xaa &&
	       memcmp(data + 0x202, "HdrS", 4) == 0;
}

static int refuse_unknown(struct load *l, int multiboot_err)
{
	const struct guest_image *img = l->img;
	const char *reason = "no multiboot header, no ELF64";

	if (img->size == 0)
		reason = "the file is empty";
	else if (multiboot_err == -EINVAL)
		reason = "its multiboot header has a wrong checksum";
	else if (elf_class_of(img->data, img->size) == ELF_32)
		reason = "an ELF32 file without a multiboot header";
	text_format(l->why, l->why_size,
		    "%s is no guest image (%s): give a Linux bzImage, or an ELF file, 32-bit with a "
		    "multiboot header or 64-bit", img->name, reason);
	return trace(-ENOEXEC);
}

int loader_load(const struct guest_image *img, struct guest_ram *ram, struct guest_entry *entry,
		char *why, size_t why_size)
{
	struct load l = {
		.img = img, .ram = ram, .entry = entry, .why = why, .why_size = why_size};
	u64 header;
	int err = multiboot_find(img, &header);

	place_take(&l.place, CONVENTIONAL_END, LEGACY_END);
	if (!err)
		return multiboot_load(&l, header);
	if (is_multiboot2(img))
		return load_fail(&l, trace(-ENOEXEC), "multiboot 2 images come with Neap 0.3: "
				 "give one with a multiboot 1 header until then");
	if (is_linux(img))
		return bzimage_load(&l);
	if (elf_class_of(img->data, img->size) == ELF_64)
		return elf64_load(&l);
	return refuse_unknown(&l, err);
}

unsigned int loader_e820(const struct guest_ram *ram, struct e820_entry map[E820_MAX])
{
	unsigned int nr = 0;

	map[nr++] = (struct e820_entry){0, MIN(ram->low_bytes, (u64)CONVENTIONAL_END), E820_RAM};
	map[nr++] = (struct e820_entry){
		CONVENTIONAL_END, LEGACY_START - CONVENTIONAL_END, E820_RESERVED};
	map[nr++] = (struct e820_entry){BIOS_START, LEGACY_END - BIOS_START, E820_RESERVED};
	if (ram->low_bytes > LEGACY_END)
		map[nr++] = (struct e820_entry){LEGACY_END, ram->low_bytes - LEGACY_END, E820_RAM};
	if (ram->high_bytes)
		map[nr++] = (struct e820_entry){GIB(4), ram->high_bytes, E820_RAM};
	return nr;
}
