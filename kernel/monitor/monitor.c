/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting the shell. Keys are polled 50 times a second: that works on every board, whatever became of
 * its interrupt routing, and costs nothing that a guest would notice. */
#include "monitor/monitor.h"

#include "lib/printk.h"
#include "monitor/meter.h"
#include "monitor/shell.h"
#include "sched/thread.h"

#define POLL_NS (20 * 1000 * 1000ull)

static void idle(void)
{
	monitor_tell_work();
	meter_tick();
	thread_sleep_ns(POLL_NS);
}

void monitor_run(void (*quit)(void))
{
	monitor_vm_commands();
	monitor_console_command();
	monitor_meter_commands();
	monitor_swap_commands();
	monitor_disk_commands();
	monitor_machine_commands(quit);
	printk("`help` lists the commands.\n");
	for (;;)
		shell_run(idle);
}
