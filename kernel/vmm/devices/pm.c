/* SPDX-License-Identifier: BSD-2-Clause */
/* The PM registers. No event ever happens here: nobody presses a button, and the timer's overflow is not
 * told; status reads as zero. */
#include "vmm/devices/pm.h"

#include "cpu/clock.h"
#include "lib/atomic.h"
#include "vmm/vm.h"

#define TIMER_HZ 3579545ull /* 24 bits wide */

enum { OFFSET_STATUS, OFFSET_ENABLE = 2, OFFSET_CONTROL = 4, OFFSET_TIMER = 8 };
enum { CONTROL_SCI = 1, CONTROL_TYPE_SHIFT = 10, CONTROL_SLEEP = 1 << 13 };

static u32 timer_now(void)
{
	return clock_ticks(clock_ns(), TIMER_HZ) & 0xffffff;
}

static u64 pm_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	const struct pm *p = dev;
	u32 dword = 0;

	if (offset >= OFFSET_TIMER)
		dword = timer_now();
	else if (offset >= OFFSET_CONTROL)
		dword = atomic_load(&p->control);
	else
		dword = (u32)atomic_load(&p->enable) << 16;
	return dword >> (8 * (offset % 4));
}

static void pm_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct pm *p = dev;

	if (offset == OFFSET_STATUS && bytes == 4)
		atomic_store(&p->enable, (u16)(value >> 16));
	if (offset == OFFSET_ENABLE && bytes == 2)
		atomic_store(&p->enable, (u16)value);
	if (offset != OFFSET_CONTROL || bytes < 2)
		return;
	atomic_store(&p->control, (u16)(value & ~(u64)CONTROL_SLEEP) | CONTROL_SCI);
	if ((value & CONTROL_SLEEP) && (value >> CONTROL_TYPE_SHIFT & 7) == PM_SLEEP_OFF)
		vm_end(v->vm, VM_POWEROFF, 0, "acpi-s5");
}

static const struct io_ops pm_io = {.name = "acpi pm", .read = pm_read, .write = pm_write};

void pm_attach(struct pm *p, struct vm *vm)
{
	*p = (struct pm){.control = CONTROL_SCI}; /* there is no legacy mode to switch from */
	io_add_ports(&vm->io, PM_EVENT_PORT, 12, &pm_io, p);
}
