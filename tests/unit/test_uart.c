/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/uart.c kernel/vmm/devices/guest_console.c
 * tests/unit/vmm_host.c */
/* The 16550A as drivers probe and use it. */
#include "vmm_host.h"

#include "vmm/devices/irq.h"
#include "vmm/devices/uart.h"

#define COM1 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };
enum { OUT2 = 8, LOOP = 0x10 };

static struct uart uart;
static bool line;            /* the interrupt line as the board sees it */
static unsigned int nr_edges; /* how often it rose */

void irq_set(struct vm *vm, u32 irq, bool level)
{
	assert_ptr_equal(vm, host_vm);
	assert_int_equal(irq, IRQ_COM1);
	nr_edges += level && !line;
	line = level;
}

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
	line = false;
	nr_edges = 0;
	uart_attach(&uart, host_vm, COM1, IRQ_COM1);
	return 0;
}

static void type(const char *text)
{
	uart_input(&uart, (const u8 *)text, strlen(text));
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
		assert_int_equal(in(MSR) & 0xf0, want);
	}
	out(MSR, 0xff); /* read-only */
	out(LSR, 0xff);
	out(MCR, 0x0f);
	assert_int_equal(in(MSR) & 0xf0, 0xb0);
	assert_int_equal(in(LSR), 0x60);
}

/* Each line's change is noted until MSR is read; of RI only that it went. */
static void modem_deltas(unused void **state)
{
	out(MCR, LOOP);
	in(MSR);
	assert_int_equal(in(MSR), 0x00);
	out(MCR, LOOP | 0x0f);
	assert_int_equal(in(MSR), 0xfb);
	assert_int_equal(in(MSR), 0xf0);
	out(MCR, LOOP | 0x0b);
	assert_int_equal(in(MSR), 0xb4);
	out(MCR, LOOP | 0x0a); /* DTR goes and comes back */
	out(MCR, LOOP | 0x0b);
	assert_int_equal(in(MSR), 0xb2);
	out(MCR, 0x0b); /* the real lines are the same three */
	assert_int_equal(in(MSR), 0xb0);
	out(MCR, LOOP | OUT2);
	out(IER, 8);
	assert_true(line);
	assert_int_equal(in(IIR), 0x00);
	assert_true(line); /* the source is MSR */
	in(MSR);
	assert_false(line);
	assert_int_equal(in(IIR), 0x01);
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
	assert_int_equal(in(LSR), 0x63); /* without FIFO there is room for one */
	assert_int_equal(in(LSR), 0x61);
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

/* ---- interrupts
 * -------------------------------------------------------------------------------- */

/* What Linux asks to learn whether THRE interrupts can be trusted. */
static void transmitter_empty(unused void **state)
{
	out(MCR, OUT2);
	for (int i = 0; i < 2; i++) {
		out(IER, 2);
		assert_true(line); /* at once */
		out(IER, 0);
		assert_false(line);
		out(IER, 2);
		assert_int_equal(in(LSR), 0x60);
		assert_true(line);
		assert_int_equal(in(IIR), 0x02);
		assert_false(line);
		assert_int_equal(in(IIR), 0x01);
		out(IER, 2); /* was on: nothing new */
		assert_false(line);
		out(IER, 0);
	}
	out(IER, 2);
	in(IIR);
	out(DATA, 'x');
	assert_true(line);
	assert_int_equal(in(IIR), 0x02);
	out(DATA, '\n');
	assert_int_equal(in(IIR), 0x02);
	assert_string_equal(host_log(), "guest| x\n");
}

/* One source over the other; each goes in its own way. */
static void priorities(unused void **state)
{
	out(IIR, 0x41); /* FIFO, trigger 4 */
	out(MCR, LOOP | OUT2);
	out(IER, 0x0f);
	for (int i = 0; i < 17; i++)
		out(DATA, 'a' + i);
	assert_int_equal(in(IIR), 0xc6);
	assert_int_equal(in(IIR), 0xc6);
	assert_int_equal(in(LSR), 0x63);
	for (int i = 0; i < 13; i++) {
		assert_int_equal(in(IIR), 0xc4);
		assert_int_equal(in(DATA), 'a' + i);
	}
	for (int i = 13; i < 16; i++) {
		assert_int_equal(in(IIR), 0xcc);
		assert_int_equal(in(DATA), 'a' + i);
	}
	assert_int_equal(in(LSR), 0x60); /* the 17th is lost, those in the FIFO are not */
	assert_int_equal(in(IIR), 0xc2);
	assert_int_equal(in(IIR), 0xc0);
	assert_true(line);
	in(MSR);
	assert_int_equal(in(IIR), 0xc1);
	assert_false(line);
}

static void trigger_levels(unused void **state)
{
	static const u8 levels[] = {1, 4, 8, 14};

	out(MCR, OUT2);
	out(IER, 1);
	for (u32 i = 0; i < 4; i++) {
		out(IIR, i << 6 | 0x07);
		for (u32 n = 1; n <= 16; n++) {
			type("x");
			assert_int_equal(in(IIR), n >= levels[i] ? 0xc4 : 0xcc);
			assert_true(line);
		}
		out(IIR, i << 6 | 0x05); /* of the transmitter: nothing to do */
		assert_int_equal(in(LSR), 0x61);
		out(IIR, i << 6 | 0x03);
		assert_int_equal(in(LSR), 0x60);
		assert_false(line);
	}
	/* Without bit 0 the others are not programmed; its change empties the FIFO. */
	type("abc");
	out(IIR, 0xc0);
	assert_int_equal(in(LSR), 0x60);
	type("d");
	out(IIR, 0x02);
	assert_int_equal(in(IIR), 0x04);
	assert_int_equal(in(DATA), 'd');
	type("d");
	out(IIR, 0x01);
	assert_int_equal(in(LSR), 0x60);
}

/* A driver that fills 16 bytes an interrupt, as Linux' does: reads IIR, LSR and MSR, then
 * writes. */
static void exits_per_byte(unused void **state)
{
	u32 left = 1600, exits = 0, interrupts = 0;

	out(IIR, 0x01);
	out(MCR, OUT2 | 3);
	out(IER, 2);
	while (left) {
		interrupts++;
		assert_true(line);
		assert_int_equal(in(IIR), 0xc2);
		assert_int_equal(in(LSR), 0x60);
		in(MSR);
		for (int i = 0; i < 16; i++, left--)
			out(DATA, left % 16 == 1 ? '\n' : 'x');
		exits += 19;
	}
	assert_int_equal(interrupts, 100);
	assert_true(exits * 10 <= 1600 * 12);
	assert_int_equal(in(IIR), 0xc2);
	assert_false(line);
}

/* Behind an edge-triggered 8259: one byte an interrupt, IIR never read, and none gets stuck. */
static void an_edge_for_each_byte(unused void **state)
{
	for (u32 fcr = 0; fcr < 2; fcr++) {
		out(IIR, fcr);
		out(MCR, OUT2);
		out(IER, 1);
		nr_edges = 0;
		type("hello");
		for (u32 i = 0; i < 5; i++) {
			assert_int_equal(nr_edges, i + 1);
			assert_int_equal(in(DATA), "hello"[i]);
		}
		assert_false(line);
		assert_int_equal(nr_edges, 5);
		out(IER, 2);
		nr_edges = 0;
		for (u32 i = 0; i < 5; i++) {
			out(DATA, 'x');
			assert_int_equal(nr_edges, i + 1);
		}
		out(IER, 0);
	}
	out(DATA, '\n');
}

static void input_waits(unused void **state)
{
	u8 bytes[300];

	for (u32 i = 0; i < 300; i++)
		bytes[i] = i * 5;
	out(IIR, 0xc1);
	uart_input(&uart, bytes, 300);
	assert_int_equal(uart.nr_overruns, 300 - 16 - 256);
	assert_int_equal(in(LSR), 0x63);
	out(MCR, LOOP); /* cut off from the line, the FIFO stays */
	for (u32 i = 0; i < 16; i++)
		assert_int_equal(in(DATA), bytes[i]);
	assert_int_equal(in(LSR), 0x60);
	out(DATA, 'L');
	assert_int_equal(in(DATA), 'L');
	out(MCR, 0);
	for (u32 i = 16; i < 272; i++) {
		assert_int_equal(in(LSR), 0x61);
		assert_int_equal(in(DATA), bytes[i]);
	}
	assert_int_equal(in(LSR), 0x60);
	for (u32 round = 0; round < 1000; round++) { /* round the rings, in pieces */
		uart_input(&uart, bytes + round % 7, 1 + round % 40);
		for (u32 i = 0; i < 1 + round % 40; i++)
			assert_int_equal(in(DATA), bytes[round % 7 + i]);
	}
	assert_int_equal(uart.nr_overruns, 28);
	assert_int_equal(in(LSR), 0x60);
}

/* ---- probes
 * ------------------------------------------------------------------------------------ */

/* The order in which Linux' 8250 driver tells the variants apart. */
static void looks_like_a_plain_16550a(unused void **state)
{
	out(LCR, 0xbf); /* an EFR would be at IIR */
	out(IIR, 0);
	out(LCR, 0);
	out(IIR, 0x01);
	assert_int_equal(in(IIR) >> 6, 3);
	out(LCR, 0x80);
	assert_int_not_equal(in(IIR), 0); /* no EFR with DLAB */
	out(LCR, 0xbf);
	assert_int_not_equal(in(IIR), 0); /* no EFR at all: not a 16650 */
	out(LCR, 0);
	u8 mcr = in(MCR);
	out(LCR, 0xe0); /* National's bank 2 would show MCR's loop bit there */
	u8 bank = in(IIR);
	out(LCR, 0);
	out(MCR, mcr ^ LOOP);
	out(LCR, 0xe0);
	assert_int_equal(in(IIR), bank);
	out(LCR, 0);
	out(MCR, mcr);
	out(IIR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6);
	out(IIR, 0x01);
	out(LCR, 0x80);
	out(IIR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6); /* no 64-byte FIFO: not a 16750 */
	out(LCR, 0);
	out(IER, 0x40);
	assert_int_equal(in(IER), 0); /* no UUE: not an XScale */
	out(MCR, LOOP | 0x0a);
	assert_int_equal(in(MSR) & 0xf0, 0x90);
	assert_int_equal(io_port_read(host_vcpu(0), 0x2fd, 1), 0xff); /* and there is one only */
}

/* ---- chance
 * ------------------------------------------------------------------------------------ */

static void garbage(unused void **state)
{
	struct rng chance = rng_seeded(0x16550);

	for (int i = 0; i < 100000; i++) {
		u8 bytes[80];
		u32 nr = rng_below(&chance, sizeof(bytes)), reg = rng_below(&chance, 8);
		unsigned int width = 1u << rng_below(&chance, 3);
		if (rng_percent(&chance, 10))
			uart_input(&uart, memset(bytes, i, sizeof(bytes)), nr);
		else if (rng_percent(&chance, 50))
			io_port_write(host_vcpu(0), COM1 + reg, width, rng_next(&chance));
		else
			io_port_read(host_vcpu(0), COM1 + reg, width);
		/* The line says what IIR would, without a read that changes it. */
		const struct uart *u = &uart;
		u32 nr_rx = u->rx_in - u->rx_out, room = (u->fcr & 1 ? 16 : 1) - nr_rx;
		u32 waits = u->waiting_in - u->waiting_out;
		bool pending = ((u->ier & 4) && u->overrun) || ((u->ier & 1) && nr_rx) ||
			       ((u->ier & 2) && u->thre) || ((u->ier & 8) && u->modem_delta);
		assert_int_equal(line, pending);
		assert_true(room <= 16 && waits <= 256);
		assert_true(!room || !waits || (u->mcr & LOOP));
	}
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
		uart_test(modem_deltas),
		uart_test(transmitter_empty),
		uart_test(priorities),
		uart_test(trigger_levels),
		uart_test(exits_per_byte),
		uart_test(an_edge_for_each_byte),
		uart_test(input_waits),
		uart_test(looks_like_a_plain_16550a),
		uart_test(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
