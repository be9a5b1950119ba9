/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/uart.c kernel/vmm/devices/guest_console.c
 * tests/unit/vmm_host.c */
/* The 16550A as drivers probe and use it. */
#include "vmm_host.h"

#include "vmm/devices/uart.h"

#define COM1 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };

static struct uart uart;

static void out(u32 reg, u8 value)
{
	io_port_write(host_vcpu(0), COM1 + reg, 1, value);
}

static u8 in(u32 reg)
{
	return io_port_read(host_vcpu(0), COM1 + reg, 1);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	uart_attach(&uart, host_vm, COM1);
	return 0;
}

static int teardown(void **state)
{
	guest_console_end(&uart.console);
	return vmm_host_teardown(state);
}

/* What autoconfig of Linux and others looks at. */
static void is_there(unused void **state)
{
	for (u32 value = 0; value < 0x100; value++) {
		out(SCRATCH, value);
		assert_int_equal(in(SCRATCH), value);
	}
	assert_int_equal(in(LSR), 0x60); /* ready to send, nothing received */
	out(IER, 0xff);
	assert_int_equal(in(IER), 0x0f);
	out(IER, 0);
	assert_int_equal(in(IER), 0);
	out(MCR, 0xff);
	assert_int_equal(in(MCR), 0x1f);
}

static void divisor_behind_dlab(unused void **state)
{
	out(IER, 5);
	out(LCR, 0x83);
	assert_int_equal(in(DATA), 12); /* 9600 baud after reset */
	assert_int_equal(in(IER), 0);
	out(DATA, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(DATA), 0x34);
	assert_int_equal(in(IER), 0x12);
	out(LCR, 0x03);
	assert_int_equal(in(LCR), 0x03);
	assert_int_equal(in(IER), 5);
	assert_string_equal(host_log(), ""); /* the divisor is not printed */
}

static void fifo_bits(unused void **state)
{
	assert_int_equal(in(IIR), 0x01);
	out(IIR, 0x01);
	assert_int_equal(in(IIR), 0xc1); /* a 16550A: its FIFO works */
	out(IIR, 0x07);
	assert_int_equal(in(IIR), 0xc1);
	out(IIR, 0x00);
	assert_int_equal(in(IIR), 0x01);
}

static void modem_lines(unused void **state)
{
	assert_int_equal(in(MSR), 0xb0);
	for (u32 lines = 0; lines < 16; lines++) {
		out(MCR, 0x10 | lines);
		u32 want = (lines & 1 ? 0x20 : 0) | (lines & 2 ? 0x10 : 0) |
			   (lines & 4 ? 0x40 : 0) | (lines & 8 ? 0x80 : 0);
		assert_int_equal(in(MSR), want);
	}
	out(MSR, 0xff); /* read-only */
	out(LSR, 0xff);
	out(MCR, 0x0f);
	assert_int_equal(in(MSR), 0xb0);
	assert_int_equal(in(LSR), 0x60);
}

static void loopback(unused void **state)
{
	out(MCR, 0x10);
	out(DATA, 'A');
	assert_int_equal(in(LSR), 0x61);
	assert_int_equal(in(DATA), 'A');
	assert_int_equal(in(LSR), 0x60);
	out(DATA, 'B');
	out(DATA, '\n');
	assert_int_equal(in(DATA), '\n');
	assert_string_equal(host_log(), ""); /* nothing went out on the line */
	out(MCR, 0);
	out(DATA, 'C');
	out(DATA, '\n');
	assert_string_equal(host_log(), "guest| C\n");
}

static void prints(unused void **state)
{
	for (const char *s = "hello, world\r\n"; *s; s++) {
		while (!(in(LSR) & 0x20))
			;
		out(DATA, *s);
	}
	assert_string_equal(host_log(), "guest| hello, world\n");
}

/* A wide access is several registers. */
static void wide_accesses(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	io_port_write(v, COM1 + LCR, 2, 0x0b03);
	assert_int_equal(in(LCR), 0x03);
	assert_int_equal(in(MCR), 0x0b);
	assert_int_equal(io_port_read(v, COM1 + LCR, 2), 0x0b03);
	out(SCRATCH, 0x5a);
	assert_int_equal(io_port_read(v, COM1 + MCR, 4), 0x5ab0600b);
	assert_int_equal(io_port_read(v, COM1 + SCRATCH, 2), 0xff5a); /* over the edge */
	io_port_write(v, COM1 + DATA, 2, 0x0f00 | 'x');
	assert_int_equal(in(IER), 0x0f);
	out(DATA, '\n');
	assert_string_equal(host_log(), "guest| x\n");
}

#define uart_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		uart_test(is_there),
		uart_test(divisor_behind_dlab),
		uart_test(fifo_bits),
		uart_test(modem_lines),
		uart_test(loopback),
		uart_test(prints),
		uart_test(wide_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
