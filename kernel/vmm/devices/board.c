/* SPDX-License-Identifier: BSD-2-Clause */
/* What is on the virtual board, and in which order it is taken apart. */
#include "vmm/devices/board.h"

#include "cpu/clock.h"
#include "cpu/cmos.h"
#include "lib/check.h"
#include "mm/objcache.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/lapic_timer.h"
#include "vmm/devices/pci_bus.h"
#include "vmm/devices/pic.h"
#include "vmm/devices/pit.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/simple.h"
#include "vmm/devices/uart.h"
#include "vmm/devices/vga_text.h"
#include "vmm/devices/virtio_disk.h"
#include "vmm/vm.h"

struct board {
	struct pic pic;
	struct ioapic ioapic;
	struct pit pit;
	struct pm pm;
	struct uart com1;
	struct rtc rtc;
	struct vga_text vga;
	struct fw_cfg fw_cfg;
	struct pci_bus pci;
	struct virtio_disk *disk; /* NULL: none */
	struct test_latch latch;
};

static struct objcache board_cache, disk_cache;
static u64 wall_at_boot; /* [o] seconds since 1970 when clock_ns() was 0 */

int board_create(struct vm *vm)
{
	static bool ready; /* VMs are made by one thread, the builder */

	if (!ready) {
		objcache_init(&board_cache, "board", sizeof(struct board));
		objcache_init(&disk_cache, "virtio_disk", sizeof(struct virtio_disk));
		wall_at_boot = cmos_wall_seconds() - clock_ns() / 1000000000;
	}
	ready = true;
	struct board *b = objcache_alloc(&board_cache);
	if (!b)
		return trace(-ENOMEM);
	vm->board = b;
	pic_attach(&b->pic, vm);
	pit_attach(&b->pit, vm);
	pm_attach(&b->pm, vm);
	uart_attach(&b->com1, vm, 0x3f8, IRQ_COM1);
	rtc_attach(&b->rtc, vm, wall_at_boot);
	vga_text_attach(&b->vga, vm);
	fw_cfg_attach(&b->fw_cfg, vm);
	pci_bus_attach(&b->pci, vm);
	simple_ports_attach(vm);
	if (vm->config.apic) {
		lapic_attach(vm);
		ioapic_attach(&b->ioapic, vm);
	}
	return vm->config.testdev ? test_device_attach(&b->latch, vm) : 0;
}

int board_add_disk(struct vm *vm, const struct guest_disk *disk)
{
	struct board *b = vm->board;

	b->disk = objcache_alloc(&disk_cache);
	if (!b->disk)
		return trace(-ENOMEM);
	virtio_disk_attach(b->disk, &b->pci, disk);
	return 0;
}

/* A board goes after its VM has ended, and that happens under the state lock. */
static bool board_hold(struct vm *vm)
{
	spin_lock(&vm->state_lock);
	if (vm->state == VM_RUNNING)
		return true;
	spin_unlock(&vm->state_lock);
	return false;
}

bool board_attach(struct vm *vm, bool on)
{
	if (!board_hold(vm))
		return false;
	guest_console_attach(&vm->board->com1.console, on);
	spin_unlock(&vm->state_lock);
	return true;
}

bool board_type(struct vm *vm, const u8 *bytes, u32 nr)
{
	if (!board_hold(vm))
		return false;
	uart_input(&vm->board->com1, bytes, nr);
	spin_unlock(&vm->state_lock);
	return true;
}

void board_serve(struct vcpu *v)
{
	if (v->vm->board->disk)
		virtio_dev_serve(&v->vm->board->disk->dev, v);
}

void board_interrupt_ended(struct vm *vm, u8 vector)
{
	if (ioapic_eoi(&vm->board->ioapic, vector))
		pit_irq_taken(&vm->board->pit);
}

void board_timer_rerouted(struct vm *vm)
{
	pit_forget(&vm->board->pit);
}

struct ioapic *board_ioapic(struct vm *vm)
{
	return vm->config.apic ? &vm->board->ioapic : NULL;
}

struct vga_text *board_screen(struct vm *vm)
{
	return &vm->board->vga;
}

struct pic *board_pic(struct vm *vm)
{
	return &vm->board->pic;
}

u8 board_pic_ack(struct vm *vm)
{
	struct board *b = vm->board;
	u8 vector = pic_ack(&b->pic);

	if (vector == b->pic.chip[0].base + IRQ_TIMER)
		pit_irq_taken(&b->pit);
	return vector;
}

void board_quiesce(struct vm *vm)
{
	pit_stop(&vm->board->pit);
	rtc_stop(&vm->board->rtc);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		lapic_timer_stop(lapic_timer(vm->vcpus[i]->lapic));
	guest_console_end(&vm->board->com1.console);
}

void board_destroy(struct vm *vm)
{
	struct virtio_disk *disk = vm->board->disk;

	if (disk) {
		guest_disk_close(&disk->disk);
		objcache_free(&disk_cache, disk);
	}
	objcache_free(&board_cache, vm->board);
	vm->board = NULL;
}
