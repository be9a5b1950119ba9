/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about memory that does not fit: limit, policy, swap. */
#include "lib/atomic.h"
#include "lib/blkdev.h"
#include "lib/console.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/kv.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/mm.h"
#include "mm/reclaim.h"
#include "mm/swap.h"
#include "monitor/meter.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"
#include "sched/thread.h"
#include "vmm/vm.h"

/* ---- limit --------------------------------------------------------------------------------------- */

static void show_limit(struct vm *vm, unused void *ctx)
{
	const struct res_counter *c = &vm->mm->counter;
	char limit[24] = "none";

	if (c->limit != RES_UNLIMITED)
		text_format(limit, sizeof(limit), "%lu KiB", c->limit * 4);
	printk("  %-20s limit %s, holds %lu KiB, %lu KiB swapped\n", vm->config.name, limit,
	       c->usage * 4, vm->mm->nr_swapped * 4);
}

static int cmd_limit(int argc, char **argv)
{
	u64 bytes = 0;

	if (argc == 1)
		vm_for_each(show_limit, NULL);
	if (argc != 3)
		return argc == 1 ? 0 : -EINVAL;
	const struct kv size = {.value = argv[2], .value_len = strlen(argv[2])};
	bool none = strcmp(argv[2], "none") == 0;
	if (!none && (kv_size(&size, &bytes) || bytes < PAGE_SIZE))
		return -EINVAL;
	struct vm *vm = monitor_vm_find(argv[1]);
	if (!vm)
		return 0;
	if (mm_set_limit(vm->mm, none ? RES_UNLIMITED : bytes >> PAGE_SHIFT))
		printk("vm %s: the limit is set, but it still holds %lu KiB: is there room in "
		       "swap (`swap`)?\n", vm->config.name, vm->mm->counter.usage * 4);
	vm_put(vm);
	return 0;
}

static const char *complete_limit(int arg, unsigned int nth)
{
	return arg == 1 ? monitor_vm_nth(nth) : arg == 2 && nth == 0 ? "none" : NULL;
}

/* ---- policy -------------------------------------------------------------------------------------- */

static int cmd_policy(int argc, char **argv)
{
	const char *name;

	if (argc > 2)
		return -EINVAL;
	if (argc == 2 && reclaim_policy_set(argv[1]))
		printk("there is no policy \"%s\"; these are:\n", argv[1]);
	for (u32 i = 0; (name = reclaim_policy_name(i)); i++)
		printk("%s %s\n", strcmp(name, reclaim_policy()->name) == 0 ? "*" : " ", name);
	return 0;
}

static const char *complete_policy(int arg, unsigned int nth)
{
	return arg == 1 ? reclaim_policy_name(nth) : NULL;
}

/* ---- swap ---------------------------------------------------------------------------------------- */

static void show_area(const struct swap_area_stats *a)
{
	printk("  %-8s %9lu KiB, %9lu KiB used, %lu KiB bad, priority %d%s\n", a->dev->name,
	       a->pages * 4, a->used * 4, a->bad * 4, a->priority, a->going ? ", going" : "");
}

static int show_swap(void)
{
	struct swap_area_stats a;
	struct swap_stats s;

	swap_stats(&s);
	for (u32 i = 0; swap_area_stats(i, &a); i++)
		show_area(&a);
	if (!s.pages)
		printk("no disk is used for swap; `disks` shows what there is, `swap add DEV` uses it\n");
	printk("in: %lu pages by %lu reads, %lu of them ahead, of which %lu were wanted\n", s.pages_in,
	       s.reads, s.readahead, s.readahead_hits);
	printk("out: %lu pages by %lu writes; in flight: %u\n", s.pages_out, s.writes, s.in_flight);
	printk("not for the disk: %lu same-filled out, %lu in; %lu clean ones dropped\n", s.same_out,
	       s.same_in, s.clean_drops);
	printk("most used: %lu KiB; errors: %lu reads, %lu writes\n", s.used_max * 4, s.read_errors,
	       s.write_errors);
	return 0;
}

/* Long work goes on in a thread of its own, so that this one can show how far it is, hear Ctrl-C and
 * draw the meter. */
static struct {
	struct thread thread;
	struct blkdev *dev;
	int (*fn)(struct blkdev *dev);
	u64 left;   /* [a] pages */
	int result; /* [a] 1: it goes on */
} work;

#define WORK_POLL_NS (50 * 1000 * 1000ull)
#define CTRL_C       3

static void work_thread(unused void *arg)
{
	atomic_store(&work.result, work.fn(work.dev));
}

static void wiped(u64 done_pages, u64 of)
{
	atomic_store(&work.left, of - done_pages);
}

static int wipe(struct blkdev *dev)
{
	return swap_wipe(dev, wiped);
}

/* The line that the operator would type into tells how much is left. */
static void work_show(void)
{
	struct swap_area_stats a;
	char text[CONSOLE_EDIT_MAX];

	for (u32 i = 0; swap_area_stats(i, &a); i++)
		if (a.dev == work.dev)
			work.left = a.used;
	int n = text_format(text, sizeof(text), "%s: %lu KiB left; Ctrl-C stops it", work.dev->name,
			    atomic_load(&work.left) * 4);
	console_edit(text, (size_t)n, (size_t)n);
	meter_tick();
}

static int do_long(struct blkdev *dev, int (*fn)(struct blkdev *dev))
{
	work.dev = dev;
	work.fn = fn;
	work.left = 0;
	work.result = 1;
	int err = thread_create(&work.thread, "swap", work_thread, NULL, NULL);
	if (err)
		return err;
	thread_start(&work.thread);
	while (thread_sleep_ns(WORK_POLL_NS) == 0 && atomic_load(&work.result) == 1) {
		if (console_read() == CTRL_C)
			thread_kill(&work.thread);
		work_show();
	}
	console_edit_end();
	thread_join(&work.thread);
	return work.result;
}

static const char *trouble(bool off, int err)
{
	switch (err) {
	case -EBUSY:
		return "it is in use, or a copy of it is (`swap`)";
	case -EINVAL:
		return "it has no Neap swap area, or is read-only (`disks`); `tools/neap mkswap` "
		       "makes one";
	case -EIO:
		return "the disk has errors";
	case -ENOSPC:
		return "no more areas can be in use: `swap off` one of them first";
	case -ENOENT:
		return "it is not in use (`swap`)";
	case -ENOMEM:
		return off ? "there is no room for all that it holds: `swap add` another disk, or "
			     "kill a VM"
			   : "no memory is left for that: kill a VM, or lower its limit";
	case -EINTR:
		return "stopped before its end";
	}
	return errno_name(-err);
}

static struct blkdev *find_disk(const char *name)
{
	for (struct blkdev *dev = blkdev_next(NULL); dev; dev = blkdev_next(dev))
		if (strcmp(dev->name, name) == 0)
			return dev;
	printk("there is no disk \"%s\"; `disks` lists them\n", name);
	return NULL;
}

static int cmd_swap(int argc, char **argv)
{
	const char *word = argc > 3 ? argv[3] : "0";
	const struct kv kv = {.value = word, .value_len = strlen(word)};
	u64 priority = 0;
	int err;

	if (argc == 1)
		return show_swap();
	if (argc < 3 || argc > 4)
		return -EINVAL;
	struct blkdev *dev = find_disk(argv[2]);
	if (!dev)
		return 0;
	if (strcmp(argv[1], "add") == 0 && kv_uint(&kv, 32767, &priority) == 0)
		err = swap_add(dev, (int)priority);
	else if (strcmp(argv[1], "off") == 0 && argc == 3)
		err = do_long(dev, swap_off);
	else if (strcmp(argv[1], "wipe") == 0 && strcmp(word, "yes") == 0)
		err = do_long(dev, wipe);
	else if (strcmp(argv[1], "wipe") != 0)
		return -EINVAL;
	else {
		printk("this writes zeros all over %s; to do so: swap wipe %s yes\n", argv[2], argv[2]);
		return 0;
	}
	printk("swap %s %s: %s\n", argv[1], argv[2], err ? trouble(argv[1][0] == 'o', err) : "done");
	return 0;
}

static const char *complete_swap(int arg, unsigned int nth)
{
	static const char *const verbs[] = {"add", "off", "wipe"};
	const struct blkdev *dev = blkdev_next(NULL);

	if (arg == 1)
		return nth < ARRAY_SIZE(verbs) ? verbs[nth] : NULL;
	while (dev && nth--)
		dev = blkdev_next(dev);
	return arg == 2 && dev ? dev->name : NULL;
}

static const struct shell_command commands[] = {
	{"limit", "[NAME SIZE|none]", "the most that VMs may hold; change it", cmd_limit, complete_limit},
	{"policy", "[NAME]", "which pages go first; change it", cmd_policy, complete_policy},
	{"swap", "[add|off|wipe DEV]", "areas, figures; add DEV [PRIORITY]", cmd_swap, complete_swap},
};

void monitor_swap_commands(void)
{
	shell_register(commands, ARRAY_SIZE(commands));
}
