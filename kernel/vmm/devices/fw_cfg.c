/* SPDX-License-Identifier: BSD-2-Clause */
/* Selecting a key copies its item; reading walks through it and then gives zeros. */
#include "vmm/devices/fw_cfg.h"

#include "lib/string.h"
#include "vmm/vm.h"

enum { FW_SIGNATURE = 0, FW_ID = 1, FW_RAM = 3, FW_CPUS = 5, FW_MAX_CPUS = 0xf, FW_KERNEL_DATA = 0x11 };

static void item_set(struct fw_cfg *f, u64 value, u32 bytes)
{
	memcpy(f->item, &value, sizeof(f->item));
	f->item_bytes = bytes;
}

static void select_key(struct fw_cfg *f, struct vm *vm, u16 key)
{
	f->key = key;
	f->offset = 0;
	switch (key) {
	case FW_SIGNATURE: item_set(f, 0x554d4551, 4); break; /* "QEMU" */
	case FW_ID: item_set(f, 1, 4); break; /* the port interface, no DMA */
	case FW_RAM: item_set(f, vm->config.mem_bytes, 8); break;
	case FW_CPUS:
	case FW_MAX_CPUS: item_set(f, vm->nr_vcpus, 2); break;
	case FW_KERNEL_DATA: item_set(f, 0, 8); break;
	default: f->item_bytes = 0;
	}
}

static u64 fw_cfg_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct fw_cfg *f = dev;
	u64 value = 0;

	spin_lock(&f->lock);
	if (offset == 0 && bytes == 2) {
		value = f->key;
	} else if (offset == 1) {
		value = f->offset < f->item_bytes ? f->item[f->offset] : 0;
		f->offset += f->offset < f->item_bytes;
	}
	spin_unlock(&f->lock);
	return value;
}

static void fw_cfg_write(struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct fw_cfg *f = dev;

	if (offset != 0 || bytes != 2)
		return; /* items are read-only */
	spin_lock(&f->lock);
	select_key(f, v->vm, (u16)value);
	spin_unlock(&f->lock);
}

static const struct io_ops fw_cfg_io = {.name = "fw_cfg", .read = fw_cfg_read, .write = fw_cfg_write};

void fw_cfg_attach(struct fw_cfg *f, struct vm *vm)
{
	*f = (struct fw_cfg){0};
	spin_init(&f->lock, RANK_DEVICE);
	io_add_ports(&vm->io, 0x510, 2, &fw_cfg_io, f);
}
