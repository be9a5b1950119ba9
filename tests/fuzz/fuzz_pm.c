/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/pm.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* ACPI's fixed registers. Only a write of SLP_EN with the type of S5 powers off. */
#include "vm.h"

#include "vmm/devices/pm.h"

static const struct fuzz_range ports[] = {{.start = PM_EVENT_PORT, .bytes = 12}};

static struct pm pm;

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(1000);
	pm_attach(&pm, host_vm);
	while (input_left(in)) {
		unsigned int ended = host_record.nr_ended;
		struct fuzz_access a = {0};

		if (take_below(in, 4) == 0)
			fuzz_time(in);
		else
			fuzz_access(in, ports, 1, &a);
		fuzz_step_ended();
		bool off = a.write && a.at == PM_CONTROL_PORT && a.bytes >= 2 && (a.value & 0x3c00) == 0x2000;
		CHECK(host_record.nr_ended - ended == off, "%lx at %lx, and ended %u", a.value, a.at,
		      host_record.nr_ended);
		CHECK(pm.control & 1, "control is %x", pm.control);
		CHECK(io_port_read(host_vcpu(0), PM_TIMER_PORT, 4) < 1 << 24, "the timer has 24 bits");
	}
	fuzz_vm_end();
}
