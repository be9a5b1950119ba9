/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of emulated instructions share: a vCPU, and two devices that remember. Included
 * by one file of a program. */
#pragma once

#include "vmm_host.h"

#include "cpu/x86.h"
#include "vmm/exit.h"

#define CODE   0x1000ul
#define DATA   0x4000ul
#define DEVICE 0xfee00000ul
#define PORT   0x3f8
#define BEHIND (VMM_HOST_PAGES * PAGE_SIZE) /* the first address that is no memory */

/* Code bytes and how many, as two arguments. */
#define B(...) (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__})

static struct vcpu *v;
static u64 *reg;
static struct host_processor *cpu;

/* ---- a device: its memory, and the bytes that came to and from its port ---------------------- */

static u8 device[0x100];
static u8 sent[2048];
static unsigned int nr_sent, nr_received, widest;

static u64 device_read(unused struct vcpu *who, unused void *dev, u64 offset, unsigned int bytes)
{
	u64 value = 0;

	memcpy(&value, device + offset, bytes);
	return value;
}

static void device_write(unused struct vcpu *who, unused void *dev, u64 offset, unsigned int bytes,
			 u64 value)
{
	memcpy(device + offset, &value, bytes);
}

/* Each byte received is one more than the last. */
static u64 port_read(unused struct vcpu *who, unused void *dev, unused u64 offset,
		     unsigned int bytes)
{
	u64 value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= (u64)(u8)++nr_received << (8 * i);
	widest = bytes;
	return value;
}

static void port_write(unused struct vcpu *who, unused void *dev, unused u64 offset,
		       unsigned int bytes, u64 value)
{
	memcpy(sent + nr_sent, &value, bytes);
	nr_sent += bytes;
	widest = bytes;
}

static const struct io_ops device_ops = {.name = "device", .read = device_read, .write = device_write};
static const struct io_ops port_ops = {.name = "port", .read = port_read, .write = port_write};

static int setup(void **state)
{
	vmm_host_setup(state);
	io_add_mmio(&host_vm->io, DEVICE, sizeof(device), &device_ops, NULL);
	io_add_ports(&host_vm->io, PORT, 8, &port_ops, NULL);
	for (size_t i = 0; i < sizeof(device); i++)
		device[i] = 0x80 + i;
	nr_sent = nr_received = widest = 0;
	v = host_vcpu(0);
	reg = v->regs;
	cpu = host_processor(v);
	return 0;
}

/* The instruction of @nr bytes at CODE was carried out. */
static unused void assert_done(size_t nr)
{
	if (host_record.nr_stopped)
		fail_msg("stopped: %s", host_record.text);
	assert_int_equal(v->rip, CODE + nr);
	assert_int_equal(cpu->nr_exceptions, 0);
}

#define emulate_test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)
