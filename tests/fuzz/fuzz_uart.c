/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/uart.c kernel/vmm/devices/guest_console.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The serial port. What is typed is a sequence of numbers, so that a byte that is read twice, too early or
 * out of its turn shows. */
#include "vm.h"

#include "vmm/devices/irq.h"
#include "vmm/devices/uart.h"

#define COM1 0x3f8
enum { DATA, IER, IIR, LCR, MCR };

static const struct fuzz_range ports[] = {{.start = COM1, .bytes = 8}};

static struct uart uart;
static bool line;
static u8 typed;    /* the next byte */
static u8 expected; /* the next to be read */
static bool known;  /* is it? Not after what may lose bytes, and loopback */
static bool gap;    /* somewhere in what has not been read yet bytes are missing */

void irq_set(struct vm *vm, u32 irq, bool level)
{
	CHECK(vm == host_vm && irq == IRQ_COM1, "line %u", irq);
	line = level;
}

/* Input in order, and what the header promises of the rings. */
static void check(void)
{
	u32 rx = uart.rx_in - uart.rx_out, waiting = uart.waiting_in - uart.waiting_out;
	u32 room = uart.fcr & 1 ? UART_FIFO_BYTES : 1;

	CHECK(rx <= room, "%u bytes in a FIFO of %u", rx, room);
	CHECK(waiting <= UART_WAITING_BYTES, "%u bytes wait", waiting);
	CHECK(!waiting || rx == room || (uart.mcr & 0x10), "%u bytes wait, %u received", waiting, rx);
	CHECK(line == uart.level, "the line is %u", line);
	CHECK(uart.console.len <= sizeof(uart.console.line), "a line of %u bytes", uart.console.len);
}

static void type(struct input *in)
{
	u8 bytes[300];
	u32 nr = take_below(in, sizeof(bytes) + 1);

	for (u32 i = 0; i < nr; i++)
		bytes[i] = typed++;
	uart_input(&uart, bytes, nr);
}

/* access - and is a byte that was read the one whose turn it was? */
static void access(struct input *in)
{
	bool ready = uart.rx_in != uart.rx_out;
	struct fuzz_access a;

	fuzz_access(in, ports, 1, &a);
	bool data = a.at == COM1 && a.bytes == 1 && !a.write && !(uart.lcr & 0x80);
	if (!data) /* FIFO control and loopback lose bytes, a wide access may read one */
		known &= a.at + a.bytes <= COM1 || a.at > COM1 + MCR ||
			 (a.bytes == 1 && (a.at == COM1 + LCR || a.at == COM1 + IER));
	if (!data || !ready)
		return;
	CHECK(!known || (u8)a.value == expected, "read %lu, not %u", a.value, expected);
	expected = a.value + 1;
	known = !gap && !(uart.mcr & 0x10);
}

/* IIR says what the line says. */
static void identify(void)
{
	bool was = line;
	u8 iir = io_port_read(host_vcpu(0), COM1 + IIR, 1);

	CHECK((iir & 1) == !was, "IIR is %x while the line is %u", iir, was);
	CHECK(!(iir & 0x30), "IIR is %x", iir);
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(10);
	uart_attach(&uart, host_vm, COM1, IRQ_COM1);
	line = known = gap = false;
	typed = 0;
	while (input_left(in)) {
		u32 lost = uart.nr_overruns;

		switch (take_below(in, 8)) {
		case 0: type(in); break;
		case 1: fuzz_time(in); break;
		case 2: identify(); break;
		case 3: guest_console_attach(&uart.console, take(in, 1) & 1); break;
		default: access(in);
		}
		gap |= lost != uart.nr_overruns;
		known &= !gap;
		gap &= uart.rx_in != uart.rx_out || uart.waiting_in != uart.waiting_out;
		fuzz_step_ended();
		check();
	}
	guest_console_end(&uart.console);
	fuzz_vm_end();
}
