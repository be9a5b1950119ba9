/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/fw_cfg.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The firmware configuration port. */
#include "vm.h"

#include "vmm/devices/fw_cfg.h"

static const struct fuzz_range ports[] = {{.start = 0x510, .bytes = 2}};

static struct fw_cfg fw_cfg;

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(0);
	host_vm->config.mem_bytes = take(in, 8);
	fw_cfg_attach(&fw_cfg, host_vm);
	while (input_left(in)) {
		if (take_below(in, 4) == 0)
			io_port_write(host_vcpu(0), 0x510, 2, take(in, 1) & 0x1f);
		else
			fuzz_access(in, ports, 1, NULL);
		fuzz_step_ended();
		CHECK(fw_cfg.offset <= fw_cfg.item_bytes && fw_cfg.item_bytes <= sizeof(fw_cfg.item), "%u of %u",
		      fw_cfg.offset, fw_cfg.item_bytes);
	}
	fuzz_vm_end();
}
