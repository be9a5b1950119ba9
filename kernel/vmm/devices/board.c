/* SPDX-License-Identifier: BSD-2-Clause */
/* What is on the virtual board, and in which order it is taken apart. */
#include "vmm/devices/board.h"

#include "lib/check.h"
#include "mm/objcache.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/simple.h"
#include "vmm/devices/uart.h"
#include "vmm/vm.h"

struct board {
	struct uart com1;
	struct fw_cfg fw_cfg;
	struct test_latch latch;
};

static struct objcache board_cache;

int board_create(struct vm *vm)
{
	static bool ready; /* VMs are made by one thread, the builder */

	if (!ready)
		objcache_init(&board_cache, "board", sizeof(struct board));
	ready = true;
	struct board *b = objcache_alloc(&board_cache);
	if (!b)
		return trace(-ENOMEM);
	vm->board = b;
	uart_attach(&b->com1, vm, 0x3f8);
	fw_cfg_attach(&b->fw_cfg, vm);
	simple_ports_attach(vm);
	if (vm->config.testdev)
		test_latch_attach(&b->latch, vm);
	if (vm->config.apic)
		lapic_attach(vm);
	return 0;
}

void board_quiesce(struct vm *vm)
{
	guest_console_end(&vm->board->com1.console);
}

void board_destroy(struct vm *vm)
{
	objcache_free(&board_cache, vm->board);
	vm->board = NULL;
}
