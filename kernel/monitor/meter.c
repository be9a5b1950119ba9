/* SPDX-License-Identifier: BSD-2-Clause */
/* The meter's figures, its clock, and the command `meter`. */
#include "monitor/meter.h"

#include "cpu/clock.h"
#include "cpu/memory.h"
#include "lib/console.h"
#include "lib/errno.h"
#include "lib/kv.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/swap.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"
#include "vmm/vm.h"

static_assert(METER_BYTES <= CONSOLE_PANEL_MAX, "a picture fits into the panel");

/* All of the monitor's thread alone. */
static u64 period_ns, next_ns; /* 0: off */
static struct meter_sample samples[2];
static u32 newest;

static void collect_vm(struct vm *vm, void *ctx)
{
	struct meter_sample *s = ctx;
	const struct mm *mm = vm->mm;

	if (s->nr_vms++ >= METER_VMS)
		return;
	struct meter_vm *m = &s->vm[s->nr_vms - 1];
	*m = (struct meter_vm){
		.serial = vm->serial, .paused = atomic_load(&vm->paused),
		.mem = vm->config.mem_bytes >> PAGE_SHIFT, .resident = mm->counter.usage,
		.swapped = mm->nr_swapped, .zero = mm->nr_zero_mapped,
		.faults = mm->faults, .swapins = mm->swapins, .swapouts = mm->swapouts,
		.done = vm->progress.done, .total = vm->progress.total,
		.mismatches = vm->progress.mismatches,
	};
	str_copy(m->name, vm->config.name, sizeof(m->name));
}

static void collect(struct meter_sample *s)
{
	struct frame_stats frames;
	struct swap_stats swap;

	frame_stats(&frames);
	swap_stats(&swap);
	*s = (struct meter_sample){
		.at_ns = clock_ns(), .ram = memory_ram_bytes() >> PAGE_SHIFT,
		.free = frames.free, .min = frames.min, .low = frames.low, .high = frames.high,
		.swap = swap.pages, .swap_used = swap.used, .in_flight = swap.in_flight,
	};
	vm_for_each(collect_vm, s);
}

void meter_start(u64 ms)
{
	period_ns = ms * 1000 * 1000;
	next_ns = clock_ns() + period_ns;
	if (period_ns)
		collect(&samples[newest]);
	else
		console_panel("", 0);
}

void meter_tick(void)
{
	static char text[METER_BYTES];
	const struct meter_sample *before = &samples[newest];

	if (!period_ns || clock_ns() < next_ns)
		return;
	next_ns = clock_ns() + period_ns;
	newest ^= 1;
	collect(&samples[newest]);
	console_panel(text, meter_picture(text, sizeof(text), &samples[newest], before));
}

static const char *const words[] = {"on", "off"};

static int cmd_meter(int argc, char **argv)
{
	const char *word = argc == 2 ? argv[1] : "";
	const struct kv kv = {.value = word, .value_len = strlen(word)};
	u64 seconds = 0;

	if (strcmp(word, "on") == 0)
		meter_start(METER_STANDARD_MS);
	else if (strcmp(word, "off") == 0 || kv_uint(&kv, 3600, &seconds) == 0)
		meter_start(seconds * 1000);
	else
		return -EINVAL;
	return 0;
}

static const char *complete(int arg, unsigned int nth)
{
	return arg == 1 && nth < ARRAY_SIZE(words) ? words[nth] : NULL;
}

static const struct shell_command commands[] = {
	{"meter", "on|off|SECONDS", "the VMs' memory, live above the prompt", cmd_meter, complete},
};

void monitor_meter_commands(void)
{
	shell_register(commands, ARRAY_SIZE(commands));
}
