/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the board's interrupt lines lead: to the 8259s, and to the I/O APIC if there is one. */
#include "vmm/devices/irq.h"

#include "vmm/devices/board.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/pic.h"

void irq_set(struct vm *vm, u32 line, bool level)
{
	struct ioapic *ioapic = board_ioapic(vm);

	pic_set(board_pic(vm), line, level);
	if (ioapic)
		ioapic_set(ioapic, line == IRQ_TIMER ? IOAPIC_TIMER_INPUT : line, level);
}
