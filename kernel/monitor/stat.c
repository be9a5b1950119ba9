/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of the machine, as lines that scripts read. */
#include "cpu/memory.h"
#include "cpu/percpu.h"
#include "lib/printk.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "monitor/monitor.h"
#include "vmm/vm.h"

static u64 overhead_kib;

void monitor_note_overhead(void)
{
	struct frame_stats s;

	frame_stats(&s);
	u64 guests_can_hold = s.free - MIN(s.free, s.min) + s.by_owner[FRAME_MODULE];
	overhead_kib = (memory_ram_bytes() >> 10) - guests_can_hold * 4;
}

static void machine_ipis(u64 *ipis, u64 *flushes)
{
	*ipis = *flushes = 0;
	for (u32 i = 0; i < nr_cpus; i++) {
		*ipis += cpus[i]->ipis_sent;
		*flushes += cpus[i]->tlb_flushes;
	}
}

void monitor_machine_summary(void)
{
	u64 ipis, flushes;

	machine_ipis(&ipis, &flushes);
	printk("SUMMARY machine ram_kib=%lu overhead_kib=%lu swap_kib=0 swap_used_max_kib=0 scanned=0 "
	       "reclaimed=0 flushes=%lu ipis=%lu\n",
	       memory_ram_bytes() >> 10, overhead_kib, flushes, ipis);
}

static const char *const exit_names[NR_EXIT_REASONS] = {
	[EXIT_NONE] = "none", [EXIT_CPUID] = "cpuid", [EXIT_IO] = "io", [EXIT_RDMSR] = "rdmsr",
	[EXIT_WRMSR] = "wrmsr", [EXIT_HYPERCALL] = "hypercall", [EXIT_HLT] = "hlt",
	[EXIT_MMU] = "mmu", [EXIT_IRQ_WINDOW] = "irq_window", [EXIT_XSETBV] = "xsetbv",
	[EXIT_CACHE] = "cache", [EXIT_UNDEFINED] = "undefined", [EXIT_UD] = "ud", [EXIT_RDPMC] = "rdpmc",
	[EXIT_EXCEPTION] = "exception", [EXIT_DR] = "dr", [EXIT_IRET] = "iret",
	[EXIT_CR_WRITE] = "cr_write", [EXIT_PAUSE] = "pause",
	[EXIT_TRIPLE_FAULT] = "triple_fault", [EXIT_BROKEN] = "broken",
};

static void stat_vm(struct vm *vm, unused void *ctx)
{
	u64 exits[NR_EXIT_REASONS] = {0}, flushes = 0;

	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		for (u32 r = 0; r < NR_EXIT_REASONS; r++)
			exits[r] += vm->vcpus[i]->exits[r];
		flushes += vm->vcpus[i]->flushes;
	}
	for (u32 r = 0; r < NR_EXIT_REASONS; r++)
		if (exits[r])
			printk("STAT vm=%s exits_%s=%lu\n", vm->config.name, exit_names[r], exits[r]);
	printk("STAT vm=%s asid_flushes=%lu hypercalls=%lu stray=%lu\n", vm->config.name, flushes,
	       vm->hypercalls, vm->nr_stray);
	printk("STAT vm=%s refaults=%lu refaults_watched=%lu written=%lu verified=%lu mismatches=%lu\n",
	       vm->config.name, vm->watch.all_refaults, vm->watch.refaults, vm->progress.written,
	       vm->progress.verified, vm->progress.mismatches);
	printk("STAT vm=%s faults=%lu zero_faults=%lu cow_faults=%lu tables=%lu sptables=%lu\n",
	       vm->config.name, vm->mm->faults, vm->mm->zero_faults, vm->mm->cow_faults,
	       vm->mm->nr_tables, vm->nr_sptables);
}

void monitor_stat(void)
{
	struct frame_stats s;
	struct vm_totals t;
	u64 ipis, flushes;

	frame_stats(&s);
	vm_totals(&t);
	machine_ipis(&ipis, &flushes);
	printk("STAT ram_kib=%lu\nSTAT overhead_kib=%lu\nSTAT free_kib=%lu\nSTAT free_min_kib=%lu\n",
	       memory_ram_bytes() >> 10, overhead_kib, s.free * 4, s.low_water * 4);
	printk("STAT kernel_kib=%lu\nSTAT tables_kib=%lu\nSTAT sptables_kib=%lu\nSTAT guest_kib=%lu\n",
	       s.by_owner[FRAME_KERNEL] * 4, s.by_owner[FRAME_TABLE] * 4,
	       s.by_owner[FRAME_SPTABLE] * 4, s.by_owner[FRAME_GUEST] * 4);
	printk("STAT cpus=%u\nSTAT ipis=%lu\nSTAT flushes=%lu\n", nr_cpus, ipis, flushes);
	printk("STAT vms=%u\nSTAT vms_good=%u\nSTAT vms_failed=%u\nSTAT vms_refused=%u\n", t.live, t.ended,
	       t.failed, t.refused);
	vm_for_each(stat_vm, NULL);
}
