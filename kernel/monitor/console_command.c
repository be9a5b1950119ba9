/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands by which the operator sees a guest as who sits before it would. `console`: its serial
 * line; its bytes go out as they come, his keys go in, until Ctrl-] or the guest's end; other guests'
 * lines still show, with their names. `screen`: the text that a display would show now. */
#include "lib/console.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "monitor/monitor.h"
#include "monitor/shell.h"
#include "sched/thread.h"
#include "vmm/devices/board.h"
#include "vmm/devices/vga_text.h"
#include "vmm/vm.h"

#define KEY_LEAVE 0x1d /* Ctrl-] */
#define POLL_NS   (5 * 1000 * 1000ull)

/* type_key - as a VT100 sends it. Returns false if the guest runs no more. */
static bool type_key(struct vm *vm, int key)
{
	static const char *const sequences[] = {
		[KEY_UP - KEY_UP] = "\033[A", [KEY_DOWN - KEY_UP] = "\033[B", [KEY_LEFT - KEY_UP] = "\033[D",
		[KEY_RIGHT - KEY_UP] = "\033[C", [KEY_HOME - KEY_UP] = "\033[H", [KEY_END - KEY_UP] = "\033[F",
		[KEY_DELETE - KEY_UP] = "\033[3~", [KEY_PAGE_UP - KEY_UP] = "\033[5~",
		[KEY_PAGE_DOWN - KEY_UP] = "\033[6~",
	};
	u8 byte = key;

	if (key < KEY_UP)
		return board_type(vm, &byte, 1);
	const char *s = sequences[key - KEY_UP];
	return board_type(vm, (const u8 *)s, strlen(s));
}

static int cmd_console(int argc, char **argv)
{
	if (argc != 2)
		return -EINVAL;
	struct vm *vm = monitor_vm_find(argv[1]);
	if (!vm)
		return 0;
	printk("The console of %s; Ctrl-] leaves.\n", argv[1]);
	bool runs = board_attach(vm, true);
	while (runs) {
		int key = console_read();

		if (key == KEY_LEAVE)
			break;
		if (key == KEY_NONE)
			thread_sleep_ns(POLL_NS);
		else
			runs = type_key(vm, key);
		runs = runs && READ_ONCE(vm->state) == VM_RUNNING;
	}
	(void)board_attach(vm, false);
	vm_put(vm);
	printk("\nBack at the monitor.\n");
	return 0;
}

static int cmd_screen(int argc, char **argv)
{
	char text[VGA_COLUMNS + 1];
	u32 blank = 0;

	if (argc != 2)
		return -EINVAL;
	struct vm *vm = monitor_vm_find(argv[1]);
	if (!vm)
		return 0;
	for (u32 row = 0; row < VGA_ROWS; row++) {
		if (vga_text_row(board_screen(vm), row, text)) {
			printk("no memory to look at it: see `mem`\n");
			break;
		}
		if (!text[0]) {
			blank++;
			continue;
		}
		for (; blank; blank--)
			printk("\n");
		printk("%s\n", text);
	}
	if (blank == VGA_ROWS)
		printk("the screen of %s is empty\n", argv[1]);
	vm_put(vm);
	return 0;
}

static const char *complete_console(int arg, unsigned int nth)
{
	return arg == 1 ? monitor_vm_nth(nth) : NULL;
}

static const struct shell_command commands[] = {
	{"console", "NAME", "sit at a guest's serial console; Ctrl-] leaves", cmd_console, complete_console},
	{"screen", "NAME", "show the text on a guest's VGA", cmd_screen, complete_console},
};

void monitor_console_command(void)
{
	shell_register(commands, ARRAY_SIZE(commands));
}
