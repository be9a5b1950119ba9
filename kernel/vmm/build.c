/* SPDX-License-Identifier: BSD-2-Clause */
/* The builder: module lines to configurations, images into memory, first registers.
 *
 * An image is written through hva by this thread, with the VM's mm in CR3, so a guest's memory comes
 * to be in exactly one way: by faults. */
#include "vmm/build.h"

#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/mb2.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "vmm/devices/board.h"
#include "vmm/devices/guest_disk.h"
#include "vmm/loader/acpi_tables.h"
#include "vmm/loader/loader.h"
#include "vmm/loader/mp_table.h"
#include "vmm/vm.h"

struct build {
	const struct boot_info *info;
	struct build_options how;
	struct vm_config config[MB2_MAX_MODULES];
};

static void refused(const char *name, const char *why)
{
	printk("Neap: vm %s refused: %s\n", name[0] ? name : "?", why);
	vm_note_refused();
}

/* ---- memory of the VM being made ------------------------------------------------------------------ */

struct vm_ram {
	struct guest_ram ram;
	struct vm *vm;
};

static int ram_pieces(struct guest_ram *ram, gpa_t at, const void *from, u64 bytes)
{
	struct vm *vm = container_of(ram, struct vm_ram, ram)->vm;

	while (bytes) {
		const struct memslot *slot = memslot_find(&vm->slots, gpa_to_gfn(at));
		CHECK(slot, "loader writes outside of RAM at %#lx", at.v);
		u64 start = memslot_hva(slot, gpa_to_gfn(at)) + page_offset(at.v);
		u64 n = MIN(bytes, slot->hva + (slot->nr_pages << PAGE_SHIFT) - start);
		int err = from ? hva_write(hva(start), from, n) : hva_zero(hva(start), n);
		if (err)
			return -ENOMEM; /* the range is memory, so only frames can be missing */
		from = from ? (const char *)from + n : NULL;
		at.v += n;
		bytes -= n;
	}
	return 0;
}

static int ram_zero(struct guest_ram *ram, gpa_t at, u64 bytes)
{
	return ram_pieces(ram, at, NULL, bytes);
}

/* ---- first registers ---------------------------------------------------------------------------------- */

static void enter_protected(struct vcpu *v, const struct guest_entry *e)
{
	bool long_mode = e->mode == ENTRY_LONG64;
	u16 selector = e->is_linux ? LINUX_CODE_SELECTOR : 0x08; /* the others follow */
	const struct segment code = {selector, long_mode ? 0xa9b : 0xc9b, ~0u, 0};
	const struct segment data = {selector + 0x08, 0xc93, ~0u, 0};
	const struct segment task = {selector + 0x10, 0x8b, 0x67, 0};
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	s.cr0 = CR0_PE | CR0_ET | (long_mode ? CR0_PG : 0);
	if (long_mode) {
		s.cr4 = CR4_PAE;
		s.cr3 = e->cr3;
		s.efer = EFER_LME | EFER_LMA;
	}
	hvm->set_sregs(v, &s);
	hvm->set_segment(v, SEG_CS, &code);
	for (int seg = SEG_ES; seg <= SEG_GS; seg++)
		if (seg != SEG_CS)
			hvm->set_segment(v, seg, &data);
	hvm->set_segment(v, SEG_TR, &task);
}

static void set_entry(struct vcpu *v, const struct guest_entry *e)
{
	enter_protected(v, e);
	if (e->gdt)
		hvm->set_gdtr(v, e->gdt, e->gdt_limit);
	v->rip = e->rip;
	v->rflags = RFLAGS_FIXED;
	memset(v->regs, 0, sizeof(v->regs));
	v->regs[REG_RAX] = e->rax;
	v->regs[REG_RBX] = e->rbx;
	v->regs[REG_RSI] = e->rsi;
	v->regs[REG_RDI] = e->rdi;
	v->regs[REG_RSP] = e->rsp;
}

/* ---- one guest -------------------------------------------------------------------------------------------- */

/* Too large for a stack; read after boot by build_start alone, in the same thread. */
static struct build build;

static int find_module(const struct build *b, const char *name, enum vm_role role)
{
	for (u32 i = 0; i < b->info->nr_modules; i++) {
		const struct vm_config *c = &b->config[i];
		if (c->role == role && strcmp(role == VM_ROLE_KERNEL ? c->name : c->of, name) == 0)
			return i;
	}
	return -1;
}

static const void *module_data(const struct build *b, int i)
{
	return phys_to_virt(b->info->modules[i].start);
}

static u64 module_bytes(const struct build *b, int i)
{
	return b->info->modules[i].end - b->info->modules[i].start;
}

static int load(struct vm *vm, const struct guest_image *image, char *why, size_t why_size)
{
	u64 low = MIN(vm->config.mem_bytes, GIB(3));
	struct vm_ram ram = {
		.ram = {.low_bytes = low, .high_bytes = vm->config.mem_bytes - low,
			.write = ram_pieces, .zero = ram_zero},
		.vm = vm,
	};
	struct guest_entry entry;

	thread_use_space(vm->mm, &vm->mm->space);
	int err = loader_load(image, &ram.ram, &entry, why, why_size);
	if (!err && vm->config.apic &&
	    (err = acpi_tables_write(&ram.ram, vm->nr_vcpus) ?:
		   mp_table_write(&ram.ram, vm->nr_vcpus, &vm->cpuid.basic[1])))
		text_format(why, why_size, "no memory for its ACPI and MP tables");
	thread_use_space(NULL, NULL);
	if (err)
		return err;
	vm->is_linux = entry.is_linux;
	set_entry(vm->vcpus[0], &entry);
	printk("vm %s: %s, %lu MiB, %u vCPU%s, %s\n", vm->config.name, entry.kind,
	       vm->config.mem_bytes >> 20, vm->nr_vcpus, vm->nr_vcpus > 1 ? "s" : "",
	       hvm->tdp_name);
	return 0;
}

static int cannot(char *why, size_t why_size, int err, const char *text)
{
	text_format(why, why_size, "%s", text);
	return err;
}

/* open_disk - what the lines say of @vm's disk; @index of a module, -1 none. It goes with the board. */
static int open_disk(const struct build *b, struct vm *vm, int index, char *why, size_t why_size)
{
	const struct vm_part *part = &vm->config.part;
	struct guest_disk disk;
	int err = 0;

	if (index < 0 && !part->named)
		return 0;
	if (index >= 0 && part->named)
		return cannot(why, why_size, -EINVAL,
			      "it has two disks: leave out part= or the disk= module");
	if (part->named && (err = guest_disk_open_part(&disk, part, why, why_size)))
		return err;
	if (!part->named)
		err = guest_disk_open_copy(&disk, vm->mm, module_data(b, index), module_bytes(b, index));
	if (!err && (err = board_add_disk(vm, &disk)))
		guest_disk_close(&disk);
	if (err)
		text_format(why, why_size, err == -EINVAL ? "the file of its disk is empty"
				: "no memory for its disk: give more RAM, swap or limit=");
	return err;
}

/* The module whose file the VM of @config is made from; -1: none. */
static int image_of(const struct build *b, const struct vm_config *config, int own)
{
	return config->image[0] ? find_module(b, config->image, VM_ROLE_KERNEL) : own;
}

static int build_vm(const struct build *b, const struct vm_config *config, int image_index,
		    int initrd_index, int disk_index, char *why, size_t why_size)
{
	struct vm *vm;
	int err = vm_create(config, &vm, why, why_size);

	if (err)
		return err;
	struct guest_image image = {
		.data = module_data(b, image_index),
		.size = module_bytes(b, image_index),
		.name = b->config[image_index].name,
		.cmdline = config->cmdline,
	};
	if (initrd_index >= 0) {
		image.initrd = module_data(b, initrd_index);
		image.initrd_size = module_bytes(b, initrd_index);
		const char *words = b->config[initrd_index].cmdline;
		image.initrd_name = words[0] ? words : "initrd";
	}
	err = open_disk(b, vm, disk_index, why, why_size);
	if (!err)
		err = load(vm, &image, why, why_size);
	if (err) {
		vm_discard(vm);
		return err;
	}
	vm_start(vm);
	return 0;
}

static void build_one(const struct build *b, int index)
{
	const struct vm_config *config = &b->config[index];
	int image_index = image_of(b, config, index);
	char why[200];

	if (image_index < 0)
		refused(config->name, "image= names no module: give the vm= name of one that has a file");
	else if (build_vm(b, config, image_index, find_module(b, config->name, VM_ROLE_INITRD),
			  find_module(b, config->name, VM_ROLE_DISK), why, sizeof(why)))
		refused(config->name, why);
}

/* ---- images, for VMs that are started later ---------------------------------------------------------- */

static bool is_image(const struct build *b, int i)
{
	const struct vm_config *c = &b->config[i];

	return c->role == VM_ROLE_KERNEL && !c->image[0] && find_module(b, c->name, c->role) == i;
}

static bool is_kept(const struct build *b, int i)
{
	return b->how.keep && is_image(b, i) && module_bytes(b, i) <= BUILD_KEEP_BYTES;
}

bool build_image(u32 i, struct build_image *out)
{
	const struct build *b = &build;

	for (u32 m = 0; m < b->info->nr_modules; m++) {
		if (!is_image(b, m) || i--)
			continue;
		*out = (struct build_image){b->config[m].name, module_bytes(b, m), is_kept(b, m)};
		return true;
	}
	return false;
}

int build_start(const char *image, const char *line, char *why, size_t why_size)
{
	const struct build *b = &build;
	struct vm_config config;
	int index = find_module(b, image, VM_ROLE_KERNEL);

	if (index >= 0)
		index = image_of(b, &b->config[index], index);
	if (index < 0)
		return cannot(why, why_size, -ENOENT, "there is no such image; `start` lists them");
	if (!is_kept(b, index))
		return cannot(why, why_size, -ENOENT, "its file is larger than 1 MiB and was not kept after "
			      "boot: name it once more by --guest at the next");
	int err = vm_config_parse(line, 0, b->how.mem_max, &config, why, why_size);
	if (err)
		return err;
	if (config.role != VM_ROLE_KERNEL || config.image[0])
		return cannot(why, why_size, -EINVAL,
			      "image=, initrd= and disk= are for the boot: leave them out");
	if (config.mmu == VM_MMU_AUTO)
		config.mmu = b->how.default_mmu;
	return build_vm(b, &config, index, -1, -1, why, why_size);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

void build_guests(const struct boot_info *info, const struct build_options *options)
{
	struct build *b = &build;
	char why[200];

	b->info = info;
	b->how = *options;
	if (info->nr_dropped)
		printk("Neap: %u modules or memory entries too many: %u modules are used\n",
		       info->nr_dropped, info->nr_modules);
	for (u32 i = 0; i < info->nr_dropped; i++)
		vm_note_refused();
	for (u32 i = 0; i < info->nr_modules; i++) {
		if (vm_config_parse(info->modules[i].string, i, options->mem_max, &b->config[i], why,
				    sizeof(why)))
			refused(b->config[i].name, why);
		else if (b->config[i].role == VM_ROLE_KERNEL && b->config[i].mmu == VM_MMU_AUTO)
			b->config[i].mmu = options->default_mmu;
	}
	for (u32 i = 0; i < info->nr_modules; i++) {
		struct vm_config *c = &b->config[i];
		if (c->role == VM_ROLE_KERNEL)
			build_one(b, i);
		else if (c->role != VM_ROLE_UNKNOWN && find_module(b, c->of, VM_ROLE_KERNEL) < 0)
			refused(c->of, "initrd= or disk= names no VM: give the vm= name of a guest");
		else if (c->role != VM_ROLE_UNKNOWN && find_module(b, c->of, c->role) != (int)i)
			refused(c->of, "initrd= or disk= names it twice: the first module counts");
	}
	for (u32 i = 0; i < info->nr_modules; i++)
		if (module_bytes(b, i) && !is_kept(b, i))
			frame_add(page_down(info->modules[i].start), page_up(info->modules[i].end));
}
