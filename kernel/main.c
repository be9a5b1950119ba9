/* SPDX-License-Identifier: BSD-2-Clause */
/* The boot order on one screen, and the only file that knows the drivers by name.
 *
 *	GRUB -> boot.S -> kernel_entry: console, boot information, memory, CPUs, mm, scheduler
 *	     -> first thread:           other CPUs, virtualisation, guests, monitor or batch */
#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/spinlock.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "drivers/acpi.h"
#include "drivers/framebuffer.h"
#include "drivers/keyboard.h"
#include "drivers/pci.h"
#include "drivers/serial.h"
#include "drivers/vga_text.h"
#include "drivers/virtio_blk.h"
#include "lib/check.h"
#include "lib/console.h"
#include "lib/errno.h"
#include "lib/kv.h"
#include "lib/mb2.h"
#include "lib/mutant.h"
#include "lib/printk.h"
#include "block/disk.h"
#include "mm/frame.h"
#include "mm/lru.h"
#include "mm/mm.h"
#include "mm/reclaim.h"
#include "mm/swap.h"
#include "monitor/meter.h"
#include "monitor/monitor.h"
#include "sched/thread.h"
#include "tests/kernel/kernel_test.h"
#include "vmm/build.h"
#include "vmm/config.h"
#include "vmm/hvm.h"
#include "vmm/vm.h"

#define NEAP_VERSION "0.1"

void kernel_entry(u32 magic, u64 info_phys);

struct options {
	u64 ram;        /* bytes; 0: no cap */
	u64 timeout_s;  /* batch: 0 none */
	bool meter;
	bool batch;
	bool trace_errors;
	enum vm_mmu mmu;
	char selftest[32];
	char mutant[32];
	char policy[16];
};

static struct options options;
static struct boot_info boot;
static struct acpi_info acpi;
static struct serial com1;
static struct vga_text vga;
static struct framebuffer framebuffer;
static struct keyboard keyboard;

/* ---- the kernel's command line --------------------------------------------------------------------- */

static void copy_value(char *to, size_t size, const struct kv *kv)
{
	size_t n = MIN(kv->value_len, size - 1);

	for (size_t i = 0; i < n; i++)
		to[i] = kv->value[i];
	to[n] = 0;
}

static int mmu_parse(const struct kv *kv, enum vm_mmu *mmu)
{
	static const char *const names[] = {
		[VM_MMU_AUTO] = "auto", [VM_MMU_TDP] = "tdp", [VM_MMU_SHADOW] = "shadow",
	};

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		if (kv_value_is(kv, names[i])) {
			*mmu = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int option_set(struct options *o, const struct kv *kv)
{
	if (kv_key_is(kv, "ram"))
		return kv_size(kv, &o->ram);
	if (kv_key_is(kv, "timeout"))
		return kv_uint(kv, 1000000, &o->timeout_s);
	if (kv_key_is(kv, "mmu"))
		return mmu_parse(kv, &o->mmu);
	if (kv_key_is(kv, "batch") && !kv->value)
		o->batch = true;
	else if (kv_key_is(kv, "meter") && !kv->value)
		o->meter = true;
	else if (kv_key_is(kv, "trace-errors") && !kv->value)
		o->trace_errors = true;
	else if (kv_key_is(kv, "selftest") && kv->value)
		copy_value(o->selftest, sizeof(o->selftest), kv);
	else if (kv_key_is(kv, "policy") && kv->value)
		copy_value(o->policy, sizeof(o->policy), kv);
	else if (kv_key_is(kv, "mutant") && kv->value)
		copy_value(o->mutant, sizeof(o->mutant), kv);
	else
		return -EINVAL;
	return 0;
}

static void options_parse(const char *cmdline)
{
	struct kv kv;

	while (kv_next(&cmdline, &kv))
		if (option_set(&options, &kv))
			printk("Neap: kernel option \"%.*s%s%.*s\" is not understood and left out\n",
			       (int)kv.key_len, kv.key, kv.value ? "=" : "",
			       kv.value ? (int)kv.value_len : 0, kv.value ? kv.value : "");
}

/* The structure that GRUB left is ours to write. */
static void boot_strings_unescape(void)
{
	mb2_unescape((char *)(u64)boot.cmdline);
	for (u32 i = 0; i < boot.nr_modules; i++)
		mb2_unescape((char *)(u64)boot.modules[i].string);
}

/* ---- the board ---------------------------------------------------------------------------------------- */

static struct spinlock console_spin = SPINLOCK_INIT(RANK_CONSOLE);

static void console_lock(u64 *flags)
{
	*flags = spin_lock_irqsave(&console_spin);
}

static void console_unlock(u64 flags)
{
	spin_unlock_irqrestore(&console_spin, flags);
}

static void serial_start(void)
{
	if (serial_init(SERIAL_COM1, &com1))
		return;
	console_add_sink(&com1.sink);
	console_add_source(&com1.source);
}

#define SCREEN_CELLS_BYTES KIB(32)

static void screen_start(void)
{
	const struct boot_framebuffer *fb = &boot.fb;

	if (fb->type == BOOT_FB_RGB) {
		u64 bytes = (u64)fb->pitch * fb->height;
		struct framebuffer_mode mode = {
			.virt = memory_map_device(fb->addr, bytes, MAP_WRITE_COMBINING),
			.pitch = fb->pitch, .width = fb->width, .height = fb->height, .bpp = fb->bpp,
			.red_pos = fb->red.shift, .red_bits = fb->red.bits,
			.green_pos = fb->green.shift, .green_bits = fb->green.bits,
			.blue_pos = fb->blue.shift, .blue_bits = fb->blue.bits,
		};
		void *cells = phys_to_virt(memory_boot_pages(SCREEN_CELLS_BYTES / PAGE_SIZE));
		if (mode.virt && framebuffer_init(&framebuffer, &mode, cells, SCREEN_CELLS_BYTES) == 0)
			console_add_sink(&framebuffer.sink);
	} else if (fb->type == BOOT_FB_TEXT) {
		void *cells = memory_map_device(fb->addr, PAGE_SIZE, MAP_UNCACHED);
		if (cells && vga_text_init(&vga, cells) == 0)
			console_add_sink(&vga.sink);
	}
}

static void keyboard_start(void)
{
	if (keyboard_init(&keyboard) == 0)
		console_add_source(&keyboard.source);
}

static const void *acpi_map(u64 phys, u64 bytes)
{
	return memory_map_device(phys, bytes, MAP_WRITE_BACK);
}

static void acpi_start(void)
{
	const void *rsdp = boot.rsdp_new ? boot.rsdp_new : boot.rsdp_old;
	u32 bytes = boot.rsdp_new ? boot.rsdp_new_bytes : boot.rsdp_old ? 20 : 0;

	if (acpi_init(&acpi, rsdp, bytes, acpi_map))
		printk("Neap: no ACPI tables: one CPU, and power-off only by the emulator\n");
}

static void clocks_start(void)
{
	u16 pm_timer = acpi.pm_timer.space == ACPI_SPACE_IO ? acpi.pm_timer.at : 0;
	void *hpet = acpi.hpet_phys ? memory_map_device(acpi.hpet_phys, PAGE_SIZE, MAP_UNCACHED) : NULL;

	clock_calibrate(pm_timer, hpet);
}

static void disks_start(void)
{
	pci_for_each(virtio_blk_found);
	disk_scan();
}

/* ---- the end ------------------------------------------------------------------------------------------- */

enum machine_status { MACHINE_GOOD = 0x10, MACHINE_GUEST_FAILED = 0x11, MACHINE_PANIC = 0x12 };

/* The exit port of QEMU's isa-debug-exit carries a status; on a real board F4 is not touched. */
static void emulator_exit(enum machine_status status)
{
	if (features.hypervisor)
		outl(0xf4, status);
}

static void panic_exit(void)
{
	emulator_exit(MACHINE_PANIC);
}

static noreturn_fn void machine_off(enum machine_status status, bool batch)
{
	if (batch)
		emulator_exit(status);
	irq_disable();
	(void)acpi_poweroff(&acpi);
	emulator_exit(status);
	printk("Neap has stopped; you may switch off now.\n");
	smp_stop_others();
	for (;;)
		cpu_halt();
}

static enum machine_status guests_status(void)
{
	struct vm_totals t;

	vm_totals(&t);
	return t.failed || t.refused ? MACHINE_GUEST_FAILED : MACHINE_GOOD;
}

/* ---- the first thread ----------------------------------------------------------------------------------- */

static noreturn_fn void run_batch(u64 started_ns)
{
	u64 limit = options.timeout_s * 1000 * 1000 * 1000;
	u64 spent = clock_ns() - started_ns;
	bool in_time = vm_wait_all_ended(limit ? (limit > spent ? limit - spent : 1) : 0);

	if (!in_time) {
		printk("TIMEOUT after %lu s\n", options.timeout_s);
		monitor_kill_all("timeout");
		vm_wait_all_ended(0);
	}
	if (NEAP_DEBUG) {
		int bad = mm_audit_quiet(printk) + frame_audit(printk);
		CHECK(bad == 0, "the audits found %d differences", bad);
	}
	monitor_tell_work();
	monitor_machine_summary();
	monitor_stat();
	machine_off(in_time ? guests_status() : MACHINE_GUEST_FAILED, true);
}

static noreturn_fn void run_selftest(void)
{
	unsigned int failed = NEAP_DEBUG ? kernel_test_run(options.selftest) : 1;

	if (!NEAP_DEBUG)
		printk("Neap: selftest= needs a debug build (make DEBUG=1)\n");
	machine_off(failed ? MACHINE_GUEST_FAILED : MACHINE_GOOD, true);
}

static void quit(void)
{
	machine_off(guests_status(), false);
}

static u32 cpus_ready; /* [a] beside the boot CPU */

static noreturn_fn void cpu_entry(void)
{
	if (hvm && hvm->cpu_enable()) /* all CPUs have it, or none may run guests */
		panic("cpu %u cannot do what the boot CPU can: %s", cpu_id(), hvm->name);
	atomic_add(&cpus_ready, 1);
	sched_idle();
}

static void start_cpus(void)
{
	u32 ids[ACPI_MAX_CPUS], nr = 0;

	for (u32 i = 0; i < acpi.nr_cpus; i++)
		if (acpi.cpus[i].enabled)
			ids[nr++] = acpi.cpus[i].apic_id;
	hvm_init();
	if (hvm && hvm->cpu_enable())
		hvm = NULL;
	smp_boot(ids, nr, cpu_entry);
	while (atomic_load(&cpus_ready) != nr_cpus - 1)
		cpu_relax(); /* they take their first frames: audits want them done */
	memory_release_boot(frame_add);
}

static void first_thread(unused void *arg)
{
	u64 started_ns = clock_ns();
	/* What the machine was sold with: some of its last MiB is the firmware's and Neap's own. */
	const struct build_options how = {
		.default_mmu = options.mmu,
		.mem_max = MAX(options.ram, (memory_ram_top() + MIB(1) - 1) & ~(MIB(1) - 1)),
		.keep = !options.batch, /* nobody could start more */
	};

	start_cpus();
	printk("Neap " NEAP_VERSION ": %u CPU%s, %lu MiB RAM, %s%s%s\n", nr_cpus, nr_cpus > 1 ? "s" : "",
	       (memory_ram_bytes() + MIB(1) - 1) >> 20, hvm ? hvm->name : "no hardware virtualisation",
	       hvm ? " with " : "", hvm ? hvm->tdp_name : "");
	if (!hvm)
		printk("Neap: no guests can run: %s\n", hvm_why_not);
	disks_start();
	reclaim_init();
	swap_add_all();
	monitor_note_overhead();
	if (options.selftest[0])
		run_selftest();
	vmm_init(options.batch);
	build_guests(&boot, &how);
	if (options.batch)
		run_batch(started_ns);
	meter_start(options.meter ? METER_STANDARD_MS : 0);
	monitor_run(quit);
}

void kernel_entry(u32 magic, u64 info_phys)
{
	static struct thread first;
	bool known = magic == MB2_BOOT_MAGIC;

	trap_init();
	features_init();
	serial_start();
	panic_set_exit(panic_exit);
	if (!known || mb2_parse(phys_to_virt(info_phys), MIB(1), &boot))
		panic("not started by a multiboot2 loader: boot the ISO with GRUB");
	boot_strings_unescape();
	options_parse(boot.cmdline);
	mutant_select(options.mutant);
	if (options.policy[0] && reclaim_policy_set(options.policy))
		printk("Neap: there is no policy \"%s\": lru2 is used\n", options.policy);
	trace_errors_print(options.trace_errors);
	memory_init(&boot, info_phys, options.ram);
	console_set_lock(console_lock, console_unlock);
	screen_start();
	keyboard_start();
	apic_init();
	acpi_start();
	clocks_start();
	fpu_init();
	frame_init();
	for (u32 i = 0; i < boot.nr_modules; i++)
		frame_reserve_range(boot.modules[i].start, boot.modules[i].end, FRAME_MODULE);
	mm_subsystem_init();
	sched_init();
	CHECK(thread_create(&first, "monitor", first_thread, NULL, NULL) == 0, "no stack for a thread");
	thread_start(&first);
	sched_idle();
}
