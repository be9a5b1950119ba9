/* SPDX-License-Identifier: BSD-2-Clause */
/* Linux. A bzImage is a setup for the BIOS, whose header describes the kernel, and behind it the
 * kernel proper, which unpacks itself. We load the second and do what the first would do: fill in the
 * boot parameters. No BIOS is called. A kernel that has a 64-bit entry is entered there, others by the
 * 32-bit one.
 *
 *	boot parameters  +0: the page itself    +4096: GDT    behind it: the command line
 *	kernel           loaded at its preferred address if it is relocatable, else at 1 MiB, from where
 *	                 it moves itself; from the address it runs at on, init_size bytes are its own
 *	                 until it knows the memory map
 *	initrd           as high as RAM and the header let it: the kernel unpacks itself from below
 *
 * A kernel never runs below its preferred address, whatever relocatable_kernel says, so there is no
 * second place to try.
 *
 * Not here: recognition (loader.c), page tables (elf64.c), selectors (build.c).
 * Source: Linux, Documentation/arch/x86/boot.rst, "Details of Header Fields", "32-bit Boot Protocol",
 * "64-bit Boot Protocol". */
#include "vmm/loader/bzimage.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

#define LOAD_ADDRESS MIB(1)
/* What Debian's 6.1 wants beyond its init_size to come up (80 MiB in all): for advice only. */
#define SPARE_BYTES MIB(12)

enum { SECTOR = 512, SETUP_SECTS_DEFAULT = 4, PARAGRAPH = 16 };
enum { VERSION_MIN = 0x020c }; /* xloadflags */
enum { LOADED_HIGH = 1 << 0 };
enum { XLF_KERNEL_64 = 1 << 0 };
enum { LOADER_UNDEFINED = 0xff };
enum { ENTRY_64 = 0x200 }; /* from the load address */
enum { JUMP_FROM = 0x202, JUMP_BYTES_MIN = 0x264 - JUMP_FROM }; /* init_size is within the header */
enum { GDT_AT = PAGE_SIZE, GDT_ENTRIES = 4, CMDLINE_AT = GDT_AT + GDT_ENTRIES * 8 };

struct bzimage {
	struct setup_header h; /* zero behind its end */
	u64 setup_bytes;       /* of the file; the kernel follows */
	u64 kernel_bytes;
	u64 load;              /* where the kernel is put */
	u64 start, end;        /* where it will be when it runs */
	u64 entry32;
};

static bool is_64(const struct bzimage *k)
{
	return k->h.xloadflags & XLF_KERNEL_64;
}

static u64 initrd_bytes(const struct guest_image *img)
{
	return img->initrd ? img->initrd_size : 0;
}

/* => recognised: the file reaches at least to the magic's end */
static int read_header(struct load *l, struct bzimage *k)
{
	const u8 *from = (const u8 *)l->img->data + SETUP_HEADER_AT;
	u64 size = l->img->size;
	struct setup_header *h = &k->h;
	u64 sectors, header_bytes;

	memcpy(h, from, MIN(sizeof(*h), size - SETUP_HEADER_AT));
	sectors = h->setup_sects ? h->setup_sects : SETUP_SECTS_DEFAULT;
	k->setup_bytes = (1 + sectors) * SECTOR; /* the boot sector is not counted */
	if (size <= k->setup_bytes + ENTRY_64)
		return load_fail(l, trace(-EINVAL), "truncated: the kernel begins at byte %lu, the file "
				 "has %lu", k->setup_bytes, size);
	if (h->version < VERSION_MIN)
		return load_fail(l, trace(-ENOEXEC), "a Linux kernel of boot protocol %u.%02u: give one "
				 "of 2.12 or newer (Linux 3.8)", h->version >> 8, h->version & 0xff);
	header_bytes = JUMP_FROM + h->jump_bytes - SETUP_HEADER_AT;
	if (h->jump_bytes < JUMP_BYTES_MIN || header_bytes > sizeof(*h))
		return load_fail(l, trace(-EINVAL), "damaged: its setup header ends at byte %#x, not at "
				 "%#x to %#x", JUMP_FROM + h->jump_bytes, JUMP_FROM + JUMP_BYTES_MIN,
				 SETUP_HEADER_END);
	memset((u8 *)h + header_bytes, 0, sizeof(*h) - header_bytes);
	return 0;
}

static int check_header(struct load *l, struct bzimage *k)
{
	const struct setup_header *h = &k->h;
	u32 align = h->kernel_alignment;

	k->kernel_bytes = l->img->size - k->setup_bytes;
	/* Signatures may follow it; and not every builder fills up the last paragraph. */
	if (h->syssize > (k->kernel_bytes + PARAGRAPH - 1) / PARAGRAPH)
		return load_fail(l, trace(-EINVAL), "truncated: the kernel ends at byte %lu, the file "
				 "has %lu", k->setup_bytes + (u64)h->syssize * PARAGRAPH, l->img->size);
	if (!(h->loadflags & LOADED_HIGH))
		return load_fail(l, trace(-ENOEXEC), "a zImage, which is loaded below 1 MiB: "
				 "give a bzImage");
	if (h->code32_start - (u32)LOAD_ADDRESS >= k->kernel_bytes)
		return load_fail(l, trace(-EINVAL), "damaged: its 32-bit entry %#x is not in the %lu "
				 "bytes from %#lx", h->code32_start, k->kernel_bytes, LOAD_ADDRESS);
	if (h->relocatable_kernel && (align == 0 || (align & (align - 1))))
		return load_fail(l, trace(-EINVAL), "damaged: its alignment %#x is no power of two",
				 align);
	if (strlen(l->img->cmdline) > h->cmdline_size)
		return load_fail(l, trace(-EINVAL), "its command line has %zu bytes, this kernel takes "
				 "%u: shorten it", strlen(l->img->cmdline), h->cmdline_size);
	return 0;
}

static int place_kernel(struct load *l, struct bzimage *k)
{
	const struct setup_header *h = &k->h;
	u64 align = h->relocatable_kernel ? h->kernel_alignment : 1;
	u64 wanted = MAX(h->pref_address, LOAD_ADDRESS);
	u64 needed;

	/* There is no memory for it from 4 GiB on either, and so the sum does not overflow. */
	k->start = (MIN(wanted, GIB(4)) + align - 1) & ~(align - 1);
	k->end = k->start + h->init_size;
	k->load = h->relocatable_kernel ? k->start : LOAD_ADDRESS;
	k->entry32 = k->load + h->code32_start - LOAD_ADDRESS;
	needed = MAX(k->end, k->load + k->kernel_bytes);
	if (needed > RAM_BELOW_HOLE_MAX)
		return load_fail(l, trace(-ENOSPC), "it wants %lu MiB from %#lx on, where no VM has "
				 "memory: build it with a lower CONFIG_PHYSICAL_START",
				 mib_up(k->end - k->start), MAX(k->start, wanted));
	if (needed > l->ram->low_bytes)
		return load_fail(l, trace(-ENOSPC), "this kernel needs %lu MiB to unpack itself: give "
				 "the VM mem=%luM or more", mib_up(needed),
				 mib_up(needed + SPARE_BYTES));
	place_take(&l->place, k->load, k->load + k->kernel_bytes);
	place_take(&l->place, k->start, k->end);
	return 0;
}

static int place_initrd(struct load *l, const struct bzimage *k)
{
	u64 bytes = initrd_bytes(l->img);
	u64 max = MIN((u64)k->h.initrd_addr_max + 1, RAM_BELOW_HOLE_MAX);
	u64 top = MIN(max, l->ram->low_bytes);
	u64 mib = mib_up(bytes), kernel_mib = mib_up(k->end), mem;

	if (bytes == 0)
		return 0;
	/* 800,000 steps at worst; mostly one. */
	for (u64 at = bytes <= top ? page_down(top - bytes) : 0; at >= LOAD_ADDRESS; at -= PAGE_SIZE)
		if (place_find(&l->place, bytes, PAGE_SIZE, at, top, &l->initrd_at) == 0) {
			place_take(&l->place, l->initrd_at, l->initrd_at + bytes);
			return 0;
		}
	mem = kernel_mib + mib + mib_up(SPARE_BYTES);
	if (mem > max >> 20)
		return load_fail(l, trace(-ENOSPC), "its initrd of %lu MiB does not fit between the "
				 "kernel, up to %lu MiB, and the %lu MiB below which it must lie: "
				 "give a smaller one", mib, kernel_mib, max >> 20);
	return load_fail(l, trace(-ENOSPC), "no room for its initrd of %lu MiB beside the kernel, up to "
			 "%lu MiB: give the VM mem=%luM or more", mib, kernel_mib, mem);
}

static int write_params(struct load *l, const struct bzimage *k, u64 at)
{
	const u64 gdt[GDT_ENTRIES] = {
		[LINUX_CODE_SELECTOR / 8] = is_64(k) ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		[LINUX_DATA_SELECTOR / 8] = 0x00cf93000000ffff,
	};
	struct boot_params p = {
		.orig_video_mode = 3, .orig_video_cols = 80, .orig_video_lines = 25,
		.orig_video_is_vga = 1, .orig_video_points = 16,
		.hdr = k->h,
	};
	const char *cmdline = l->img->cmdline;

	p.hdr.type_of_loader = LOADER_UNDEFINED;
	p.hdr.code32_start = (u32)k->entry32;
	p.hdr.cmd_line_ptr = (u32)at + CMDLINE_AT;
	p.hdr.ramdisk_image = (u32)l->initrd_at;
	p.hdr.ramdisk_size = (u32)initrd_bytes(l->img);
	p.e820_entries = (u8)loader_e820(l->ram, p.e820_table);
	return load_zero(l, at, PAGE_SIZE)
	       ?: load_write(l, at, &p, sizeof(p))
	       ?: load_write(l, at + GDT_AT, gdt, sizeof(gdt))
	       ?: load_write(l, at + CMDLINE_AT, cmdline, strlen(cmdline) + 1);
}

int bzimage_load(struct load *l)
{
	const struct guest_image *img = l->img;
	struct bzimage k = {0};
	u64 params, tables = 0;
	int err = read_header(l, &k)
		  ?: check_header(l, &k)
		  ?: place_kernel(l, &k)
		  ?: place_initrd(l, &k)
		  ?: load_find(l, CMDLINE_AT + strlen(img->cmdline) + 1, PAGE_SIZE,
			       "the boot parameters", &params)
		  ?: (is_64(&k) ? identity_place(l, &tables) : 0)
		  ?: load_write(l, k.load, (const u8 *)img->data + k.setup_bytes, k.kernel_bytes)
		  ?: load_write(l, l->initrd_at, img->initrd, initrd_bytes(img))
		  ?: write_params(l, &k, params)
		  ?: (is_64(&k) ? identity_write(l, tables) : 0);

	if (!err)
		*l->entry = (struct guest_entry){
			.mode = is_64(&k) ? ENTRY_LONG64 : ENTRY_PROT32,
			.rip = is_64(&k) ? k.load + ENTRY_64 : k.entry32,
			.rsi = params, .cr3 = tables,
			.gdt = params + GDT_AT, .gdt_limit = GDT_ENTRIES * 8 - 1,
			.kind = "linux", .is_linux = true,
		};
	return err;
}
