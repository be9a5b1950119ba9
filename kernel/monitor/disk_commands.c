/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about disks: disks. */
#include "lib/blkdev.h"
#include "lib/disk_content.h"
#include "lib/printk.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"

static void show_disk(const struct blkdev *dev)
{
	char text[128];

	printk("  %-6s %9lu KiB  %s%s%s\n", dev->name, dev->nr_sectors / 2,
	       dev->content ? disk_content_text(dev->content, text, sizeof(text)) : "not looked at",
	       dev->read_only ? ", read-only" : "", blkdev_is_open(dev) ? ", in use" : "");
	printk("  %-6s %lu reads, %lu writes, %lu flushes, %lu errors, %u in flight\n", "", dev->reads,
	       dev->writes, dev->flushes, dev->errors, dev->inflight);
}

static int cmd_disks(unused int argc, unused char **argv)
{
	u32 nr = 0;

	for (const struct blkdev *dev = blkdev_next(NULL); dev; dev = blkdev_next(dev), nr++)
		show_disk(dev);
	if (!nr)
		printk("no disks: only virtio 1.x block devices are known\n");
	return 0;
}

static const struct shell_command commands[] = {
	{"disks", "", "what disks there are, and which carry a Neap swap area", cmd_disks, NULL},
	{"diskbench", "DEV", "how fast DEV is read, 128 KiB at a time; writes nothing",
	 monitor_disk_bench, NULL},
};

void monitor_disk_commands(void)
{
	shell_register(commands, ARRAY_SIZE(commands));
}
