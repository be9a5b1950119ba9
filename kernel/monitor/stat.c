/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of the machine, as lines that scripts read. */
#include "cpu/memory.h"
#include "cpu/percpu.h"
#include "lib/printk.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/reclaim.h"
#include "mm/swap.h"
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

/* The modules that are still there when guests run are kept for `start`. */
static u64 overhead_now(const struct frame_stats *s)
{
	return overhead_kib + s->by_owner[FRAME_MODULE] * 4;
}

void monitor_machine_summary(void)
{
	struct reclaim_stats reclaim;
	struct frame_stats frames;
	struct swap_stats swap;
	u64 ipis, flushes;

	frame_stats(&frames);
	swap_stats(&swap);
	reclaim_stats(&reclaim);
	machine_ipis(&ipis, &flushes);
	printk("SUMMARY machine ram_kib=%lu overhead_kib=%lu swap_kib=%lu swap_used_max_kib=%lu "
	       "scanned=%lu reclaimed=%lu flushes=%lu ipis=%lu\n",
	       memory_ram_bytes() >> 10, overhead_now(&frames), swap.pages * 4, swap.used_max * 4,
	       reclaim.scanned, reclaim.reclaimed, flushes, ipis);
}

void monitor_tell_work(void)
{
	static struct vm_work told;
	struct vm_totals t;

	vm_totals(&t);
	if (t.live || t.work.guests == told.guests)
		return;
	printk("%lu MiB of guests ran in %lu MiB: %lu pages written, %lu read back, %lu mismatches\n",
	       (t.work.mem_bytes - told.mem_bytes) >> 20,
	       (memory_ram_bytes() + MIB(1) - 1) >> 20, t.work.written - told.written,
	       t.work.verified - told.verified, t.work.mismatches - told.mismatches);
	told = t.work;
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
	printk("STAT vm=%s swapins=%lu swapouts=%lu refaults_read=%lu swapped=%lu zero=%lu\n",
	       vm->config.name, vm->mm->swapins, vm->mm->swapouts, vm->mm->refaults_read,
	       vm->mm->nr_swapped, vm->mm->nr_zero_mapped);
	printk("STAT vm=%s refaults=%lu refaults_watched=%lu written=%lu verified=%lu mismatches=%lu\n",
	       vm->config.name, vm->watch.all_refaults, vm->watch.refaults, vm->progress.written,
	       vm->progress.verified, vm->progress.mismatches);
	printk("STAT vm=%s faults=%lu zero_faults=%lu cow_faults=%lu tables=%lu sptables=%lu\n",
	       vm->config.name, vm->mm->faults, vm->mm->zero_faults, vm->mm->cow_faults,
	       vm->mm->nr_tables, vm->nr_sptables);
}

static void stat_swap(void)
{
	struct reclaim_stats r;
	struct swap_stats s;

	swap_stats(&s);
	reclaim_stats(&r);
	printk("STAT swap_kib=%lu\nSTAT swap_used_kib=%lu\nSTAT swap_used_max_kib=%lu\n"
	       "STAT swap_bad_kib=%lu\nSTAT swap_reads=%lu\nSTAT swap_writes=%lu\nSTAT swap_pages_in=%lu\n"
	       "STAT swap_pages_out=%lu\n", s.pages * 4, s.used * 4, s.used_max * 4, s.bad * 4, s.reads,
	       s.writes, s.pages_in, s.pages_out);
	printk("STAT swap_same_in=%lu\nSTAT swap_same_out=%lu\nSTAT swap_clean_drops=%lu\n"
	       "STAT swap_readahead=%lu\nSTAT swap_readahead_hits=%lu\nSTAT swap_read_errors=%lu\n"
	       "STAT swap_write_errors=%lu\nSTAT swap_in_flight=%u\n", s.same_in, s.same_out,
	       s.clean_drops, s.readahead, s.readahead_hits, s.read_errors, s.write_errors, s.in_flight);
	printk("STAT scanned=%lu\nSTAT reclaimed=%lu\nSTAT reclaim_young=%lu\nSTAT reclaim_busy=%lu\n"
	       "STAT reclaim_batches=%lu\nSTAT reclaim_direct=%lu\n", r.scanned, r.reclaimed, r.young,
	       r.busy, r.batches, r.direct);
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
	       memory_ram_bytes() >> 10, overhead_now(&s), s.free * 4, s.low_water * 4);
	printk("STAT kernel_kib=%lu\nSTAT tables_kib=%lu\nSTAT sptables_kib=%lu\nSTAT guest_kib=%lu\n",
	       s.by_owner[FRAME_KERNEL] * 4, s.by_owner[FRAME_TABLE] * 4,
	       s.by_owner[FRAME_SPTABLE] * 4, s.by_owner[FRAME_GUEST] * 4);
	printk("STAT cpus=%u\nSTAT ipis=%lu\nSTAT flushes=%lu\n", nr_cpus, ipis, flushes);
	printk("STAT vms=%u\nSTAT vms_good=%u\nSTAT vms_failed=%u\nSTAT vms_refused=%u\n", t.live, t.ended,
	       t.failed, t.refused);
	stat_swap();
	vm_for_each(stat_vm, NULL);
}
