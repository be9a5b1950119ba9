/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about guests: vms, vm NAME with a verb, start. */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/lineedit.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/mm.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"
#include "vmm/build.h"
#include "vmm/vm.h"

/* ---- vms ------------------------------------------------------------------------------------------- */

static const char *state_word(const struct vm *vm)
{
	if (vm->state == VM_RUNNING && atomic_load(&vm->paused))
		return "paused";
	static const char *const names[] = {
		[VM_CREATED] = "created", [VM_RUNNING] = "running", [VM_ENDING] = "ending",
		[VM_ENDED] = "ended",
	};
	return names[vm->state];
}

static void show_vm(struct vm *vm, unused void *ctx)
{
	printk("  %-20s %-8s %6lu MiB %8lu KiB %8lu KiB %5u %8lu s\n", vm->config.name, state_word(vm),
	       vm->config.mem_bytes >> 20, vm->mm->counter.usage * 4, res_counter_max(&vm->mm->counter) * 4,
	       vm->nr_vcpus, (clock_ns() - vm->started_ns) / 1000000000);
}

static int cmd_vms(unused int argc, unused char **argv)
{
	struct vm_totals t;

	vm_totals(&t);
	if (t.live)
		printk("  %-20s %-8s %10s %12s %12s %5s %10s\n", "name", "state", "memory", "resident",
		       "most", "vCPUs", "up");
	vm_for_each(show_vm, NULL);
	printk("%u live, %u ended well, %u failed, %u refused\n", t.live, t.ended, t.failed, t.refused);
	return 0;
}

/* ---- vm NAME dump ------------------------------------------------------------------------------------- */

static void dump_vcpu(struct vcpu *v)
{
	static const char *const names[NR_REGS] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
						   "rsi", "rdi", "r8 ", "r9 ", "r10", "r11",
						   "r12", "r13", "r14", "r15"};
	static const char *const activities[] = {
		[VCPU_RUNNING] = "running", [VCPU_HALTED] = "halted", [VCPU_WAIT_SIPI] = "waits for SIPI",
	};
	struct vcpu_sregs s;
	struct segment cs;

	hvm->get_sregs(v, &s);
	hvm->get_segment(v, SEG_CS, &cs);
	printk("vCPU %u: %s, last exit code %#lx\n", v->index, activities[v->activity], v->exit.code);
	printk("  rip %016lx  rflags %08lx  cs %04x base %lx\n", v->rip, v->rflags, cs.selector, cs.base);
	printk("  cr0 %08lx  cr2 %lx  cr3 %lx  cr4 %lx  efer %lx\n", s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
	for (int i = 0; i < NR_REGS; i += 4)
		printk("  %s %016lx  %s %016lx  %s %016lx  %s %016lx\n", names[i], v->regs[i],
		       names[i + 1], v->regs[i + 1], names[i + 2], v->regs[i + 2], names[i + 3],
		       v->regs[i + 3]);
}

/* Registers are where we can read them only while the vCPUs stand at the gate. */
static int vm_dump(struct vm *vm)
{
	bool was_paused = atomic_load(&vm->paused);

	if (!was_paused)
		vm_pause(vm);
	vm_wait_parked(vm);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		dump_vcpu(vm->vcpus[i]);
	if (!was_paused)
		vm_resume(vm);
	return 0;
}

/* ---- vm NAME verb ---------------------------------------------------------------------------------------- */

static int verb_pause(struct vm *vm)
{
	vm_pause(vm);
	vm_wait_parked(vm);
	printk("vm %s paused; `vm %s resume` lets it go on\n", vm->config.name, vm->config.name);
	return 0;
}

static int verb_resume(struct vm *vm)
{
	vm_resume(vm);
	return 0;
}

static int verb_kill(struct vm *vm)
{
	vm_end(vm, VM_KILLED, 1, "operator");
	return 0;
}

static int verb_stray(struct vm *vm)
{
	printk("%lu accesses that no device claims\n", vm->nr_stray);
	for (u32 i = 0; i < ARRAY_SIZE(vm->stray); i++)
		if (vm->stray[i].count)
			printk("  %s %#lx: %lu\n", vm->stray[i].mmio ? "address" : "port",
			       vm->stray[i].addr, vm->stray[i].count);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct vm *vm);
} verbs[] = {
	{"pause", verb_pause}, {"resume", verb_resume}, {"kill", verb_kill},
	{"dump", vm_dump},     {"stray", verb_stray},
};

struct vm *monitor_vm_find(const char *name)
{
	struct vm *vm = vm_find(name);

	if (!vm)
		printk("there is no VM \"%s\"; `vms` lists them\n", name);
	return vm;
}

static int cmd_vm(int argc, char **argv)
{
	if (argc != 3)
		return -EINVAL;
	struct vm *vm = monitor_vm_find(argv[1]);
	if (!vm)
		return 0;
	int err = -EINVAL;
	for (u32 i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[2], verbs[i].name) == 0)
			err = verbs[i].run(vm);
	vm_put(vm);
	return err;
}

/* ---- completion -------------------------------------------------------------------------------------------- */

struct nth {
	unsigned int left;
	bool found;
	char *name;
};

static void find_nth(struct vm *vm, void *ctx)
{
	struct nth *n = ctx;

	if (!n->found && n->left-- == 0) {
		str_copy(n->name, vm->config.name, VM_NAME_SIZE);
		n->found = true;
	}
}

const char *monitor_vm_nth(unsigned int nth)
{
	static char name[VM_NAME_SIZE];
	struct nth n = {.left = nth, .name = name};

	vm_for_each(find_nth, &n);
	return n.found ? name : NULL;
}

static const char *complete_vm(int arg, unsigned int nth)
{
	if (arg == 1)
		return monitor_vm_nth(nth);
	return arg == 2 && nth < ARRAY_SIZE(verbs) ? verbs[nth].name : NULL;
}

/* ---- start: one more VM, from a file that came with the boot ----------------------------------------------- */

static int show_images(void)
{
	struct build_image image;
	u32 i;

	for (i = 0; build_image(i, &image); i++)
		printk("  %-20s %8lu KiB%s\n", image.name, (image.bytes + 1023) >> 10,
		       image.kept ? "" : "  not kept: only files of up to 1 MiB are");
	if (!i)
		printk("no guest's file came with the boot: tools/neap run --guest FILE\n");
	return 0;
}

/* The name of the image if no VM has it now, else that with -2, -3, ...: as tools/neap does. */
static void free_name(const char *image, char name[VM_NAME_SIZE])
{
	struct vm *vm;

	str_copy(name, image, VM_NAME_SIZE);
	for (u32 n = 2; (vm = vm_find(name)); n++) {
		vm_put(vm);
		text_format(name, VM_NAME_SIZE, "%.*s-%u", VM_NAME_SIZE - 6, image, n);
	}
}

static int cmd_start(int argc, char **argv)
{
	static char line[LINEEDIT_BYTES + VM_NAME_SIZE + 8];
	char why[200], name[VM_NAME_SIZE];
	bool named = false;
	size_t len = 0;

	if (argc == 1)
		return show_images();
	for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
		named |= strncmp(argv[i], "vm=", 3) == 0 || strncmp(argv[i], "initrd=", 7) == 0;
	free_name(argv[1], name);
	if (!named)
		len = (size_t)text_format(line, sizeof(line), "vm=%s", name);
	line[len] = 0;
	for (int i = 2; i < argc; i++)
		len += (size_t)text_format(line + len, sizeof(line) - len, " %s", argv[i]);
	if (build_start(argv[1], line, why, sizeof(why)))
		printk("start %s: %s\n", argv[1], why);
	return 0;
}

static const char *complete_start(int arg, unsigned int nth)
{
	struct build_image image;

	return arg == 1 && build_image(nth, &image) ? image.name : NULL;
}

/* ---- all of them -------------------------------------------------------------------------------------------- */

static void kill_one(struct vm *vm, void *ctx)
{
	vm_end(vm, VM_KILLED, 1, ctx);
}

void monitor_kill_all(const char *reason)
{
	vm_for_each(kill_one, (void *)(u64)reason);
}

static const struct shell_command commands[] = {
	{"vms", "", "list the VMs", cmd_vms, NULL},
	{"vm", "NAME VERB", "one VM: pause, resume, kill, dump (its registers), stray (unclaimed I/O)", cmd_vm,
	 complete_vm},
	{"start", "[IMAGE [KEY=VALUE]...]", "one more VM; \"-- TEXT\" is its command line",
	 cmd_start, complete_start},
};

void monitor_vm_commands(void)
{
	shell_register(commands, ARRAY_SIZE(commands));
}
