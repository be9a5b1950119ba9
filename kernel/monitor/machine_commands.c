/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about the machine: mem, cpus, threads, stat, log, audit, quit. */
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/objcache.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

static void (*quit_hook)(void);

static void show_cache(struct objcache *c, unused void *ctx)
{
	printk("  %-20s %6lu objects of %4u bytes in %lu KiB\n", c->name, c->nr_used, c->bytes,
	       c->nr_frames * 4);
}

static int cmd_mem(unused int argc, unused char **argv)
{
	static const char *const owners[FRAME_OWNERS] = {
		[FRAME_FREE] = "free", [FRAME_KERNEL] = "kernel", [FRAME_TABLE] = "primary tables",
		[FRAME_SPTABLE] = "secondary tables", [FRAME_GUEST] = "guest memory",
		[FRAME_MODULE] = "modules", [FRAME_DMA] = "drivers' buffers",
	};
	struct frame_stats s;

	frame_stats(&s);
	printk("RAM in use under the cap: %lu KiB\n", s.total * 4);
	printk("  %-20s %8lu KiB (least so far %lu)\n", "free", s.free * 4, s.low_water * 4);
	for (int i = FRAME_KERNEL; i < FRAME_OWNERS; i++)
		printk("  %-20s %8lu KiB\n", owners[i], s.by_owner[i] * 4);
	printk("Watermarks: min %lu, low %lu, high %lu KiB\n", s.min * 4, s.low * 4, s.high * 4);
	printk("Object caches:\n");
	objcache_for_each(show_cache, NULL);
	return 0;
}

static void show_thread(struct thread *t, unused void *ctx)
{
	static const char *const states[] = {
		[THREAD_NEW] = "new", [THREAD_RUNNABLE] = "runnable", [THREAD_SLEEPING] = "sleeping",
		[THREAD_DEAD] = "dead",
	};

	printk("  %-24s cpu %2u  %-9s %10lu us\n", t->name, t->cpu, states[t->state], t->run_ns / 1000);
}

static int cmd_threads(unused int argc, unused char **argv)
{
	sched_for_each(show_thread, NULL);
	return 0;
}

static int cmd_cpus(unused int argc, unused char **argv)
{
	u64 now = MAX(clock_ns(), 1ull);

	for (u32 i = 0; i < nr_cpus; i++)
		printk("  cpu %2u  apic id %3u  idle %3lu %%  interrupts %lu  IPIs sent %lu  flushes %lu\n", i,
		       cpus[i]->apic_id, cpus[i]->idle_ns / (now / 100 + 1), cpus[i]->irqs,
		       cpus[i]->ipis_sent, cpus[i]->tlb_flushes);
	return 0;
}

static int cmd_stat(unused int argc, unused char **argv)
{
	monitor_stat();
	return 0;
}

static int cmd_log(unused int argc, unused char **argv)
{
	static char text[4096];

	printk_log(text, sizeof(text));
	for (char *line = text, *end; *line; line = end) {
		for (end = line; *end && *end != '\n'; end++)
			;
		printk("%.*s\n", (int)(end - line), line);
		end += *end == '\n';
	}
	return 0;
}

/* ---- audit: everybody holds still, everything is counted again ------------------------------------ */

struct paused_by_us {
	struct vm *vm[32];
	u32 nr;
};

static void pause_one(struct vm *vm, void *ctx)
{
	struct paused_by_us *p = ctx;

	if (vm->paused || p->nr == ARRAY_SIZE(p->vm))
		return;
	vm_pause(vm);
	vm_wait_parked(vm);
	p->vm[p->nr++] = vm_find(vm->config.name);
}

static void audit_one(struct vm *vm, void *ctx)
{
	*(int *)ctx += mmu_audit(vm, printk);
}

static int cmd_audit(unused int argc, unused char **argv)
{
	struct paused_by_us p = {.nr = 0};
	int bad = 0;

	vm_wait_reaped(); /* what is being taken apart does not add up */
	vm_for_each(pause_one, &p);
	vm_for_each(audit_one, &bad);
	bad += mm_audit_quiet(printk) + frame_audit(printk);
	for (u32 i = 0; i < p.nr; i++) {
		if (!p.vm[i])
			continue;
		vm_resume(p.vm[i]);
		vm_put(p.vm[i]);
	}
	printk("audit: %d difference%s\n", bad, bad == 1 ? "" : "s");
	return 0;
}

static int cmd_quit(unused int argc, unused char **argv)
{
	monitor_kill_all("quit");
	vm_wait_all_ended(0);
	monitor_machine_summary();
	quit_hook();
	return 0;
}

static const struct shell_command commands[] = {
	{"mem", "", "who has the frames", cmd_mem, NULL},
	{"cpus", "", "what each processor does", cmd_cpus, NULL},
	{"threads", "", "all threads", cmd_threads, NULL},
	{"stat", "", "figures as STAT lines, for scripts", cmd_stat, NULL},
	{"log", "", "the newest output again", cmd_log, NULL},
	{"audit", "", "count every reference, mapping and table again and compare", cmd_audit, NULL},
	{"quit", "", "end all VMs and switch the machine off", cmd_quit, NULL},
};

void monitor_machine_commands(void (*quit)(void))
{
	quit_hook = quit;
	shell_register(commands, ARRAY_SIZE(commands));
}
