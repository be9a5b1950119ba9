/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/fw_cfg.c tests/unit/vmm_host.c */
/* The firmware configuration port as guests written for QEMU use it. */
#include "vmm_host.h"

#include "vmm/devices/fw_cfg.h"

#define SELECT 0x510
#define DATA   0x511

static struct fw_cfg fw_cfg;

static int setup(void **state)
{
	vmm_host_setup(state);
	host_vm->config.mem_bytes = 0x123456789000;
	fw_cfg_attach(&fw_cfg, host_vm);
	return 0;
}

static void choose(u16 key)
{
	io_port_write(host_vcpu(0), SELECT, 2, key);
}

static u64 item(unsigned int bytes)
{
	u64 value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= io_port_read(host_vcpu(0), DATA, 1) << (8 * i);
	return value;
}

static void keys(unused void **state)
{
	choose(0);
	assert_int_equal(item(4), 0x554d4551); /* QEMU */
	choose(1);
	assert_int_equal(item(4), 1);
	choose(3);
	assert_true(item(8) == 0x123456789000);
	choose(5);
	assert_int_equal(item(2), VMM_HOST_CPUS);
	choose(0xf);
	assert_int_equal(item(2), VMM_HOST_CPUS);
	choose(0x11);
	assert_int_equal(item(8), 0);
}

/* Behind an item there are zeros for ever, not the next bytes of something. */
static void behind_an_item(unused void **state)
{
	choose(0);
	assert_int_equal(item(4), 0x554d4551);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(item(1), 0);
	choose(5);
	assert_int_equal(item(8), VMM_HOST_CPUS);
}

static void selecting_begins_anew(unused void **state)
{
	choose(0);
	assert_int_equal(item(2), 0x4551);
	choose(0);
	assert_int_equal(item(4), 0x554d4551);
	choose(3);
	assert_int_equal(item(1), 0);
	assert_int_equal(item(1), 0x90);
	choose(3);
	assert_true(item(8) == 0x123456789000);
}

/* Guests that wait for something else than all ones must not wait for ever. */
static void unknown_keys(unused void **state)
{
	choose(3);
	for (u32 key = 0; key < 0x10000; key++) {
		if (key <= 1 || key == 3 || key == 5 || key == 0xf || key == 0x11)
			continue;
		choose(key);
		assert_int_equal(item(8), 0);
		assert_int_equal(io_port_read(host_vcpu(0), SELECT, 2), key);
	}
}

static void before_selecting(unused void **state)
{
	assert_int_equal(item(8), 0);
}

static void widths(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	choose(0);
	io_port_write(v, SELECT, 1, 3);         /* half a selection is none */
	io_port_write(v, DATA, 1, 0xff);        /* items are read-only */
	io_port_write(v, SELECT, 4, 0xffff0003); /* nor is this one: it is four bytes */
	assert_int_equal(io_port_read(v, SELECT, 2), 0);
	assert_int_equal(item(4), 0x554d4551);
	choose(0);
	assert_int_equal(io_port_read(v, DATA, 2), 0xff00 | 'Q');
	assert_int_equal(io_port_read(v, DATA, 4), 0xffffff00 | 'E');
	assert_int_equal(item(1), 'M');
}

#define fw_cfg_test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		fw_cfg_test(keys),
		fw_cfg_test(behind_an_item),
		fw_cfg_test(selecting_begins_anew),
		fw_cfg_test(unknown_keys),
		fw_cfg_test(before_selecting),
		fw_cfg_test(widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
