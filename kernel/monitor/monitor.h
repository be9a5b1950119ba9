/* SPDX-License-Identifier: BSD-2-Clause */
/* The operator's side: commands of the shell, and the lines that a batch prints at its end. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* monitor_run - the shell on every console source; `quit` calls @quit. => the first thread */
noreturn_fn void monitor_run(void (*quit)(void));

/* monitor_kill_all - end every VM with status killed and @reason. */
void monitor_kill_all(const char *reason);

/* monitor_note_overhead - remember how much memory the hypervisor itself keeps: what guests can
 * never hold. => once, before the first VM; the modules count as guests', until it is known which are
 * kept */
void monitor_note_overhead(void);

/* monitor_machine_summary, monitor_stat - the SUMMARY machine line; STAT lines. Stable formats. */
void monitor_machine_summary(void);
void monitor_stat(void);

/* monitor_tell_work - when the last of the guests that told of their work has ended: in words what
 * they did since the last telling. */
void monitor_tell_work(void);

struct vm;

/* monitor_vm_find - by name, with a reference; NULL, and a line for the operator.
 * monitor_vm_nth - a name for ->complete, NULL past the last. */
struct vm *monitor_vm_find(const char *name);
const char *monitor_vm_nth(unsigned int nth);

/* The command tables, one a file. */
void monitor_vm_commands(void);
void monitor_console_command(void);
void monitor_meter_commands(void);
void monitor_swap_commands(void);
void monitor_disk_commands(void);
/* monitor_disk_bench - the command `diskbench DEV` (disk_bench.c). */
int monitor_disk_bench(int argc, char **argv);
void monitor_machine_commands(void (*quit)(void));
