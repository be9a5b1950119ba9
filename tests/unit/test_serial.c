/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/keys.c kernel/lib/term.c */
/* The serial port is found where it is and nowhere else, loses no byte, and does not hang when it
 * stops; VGA text shows what the terminal says. */
#include "ports.h"

#include "drivers/serial.c"

#include "drivers/vga_text.c"

/* ---- a 16550, and a CRT controller --------------------------------------------------------------
 */

static struct {
	enum { GOOD, ABSENT, NO_SCRATCH, NO_LOOPBACK, STUCK } kind;
	u8 lcr, mcr, fcr, ier, scratch, divisor_low, divisor_high;
	unsigned int in_fifo, polls_till_sent;
	bool overrun;
	char sent[4096];
	size_t nr_sent;
	const char *input;
	bool looped;
	u8 loop_byte, line_errors;
	unsigned int nr_reads;
} uart;

static u8 crtc_index, crtc[256];

static u8 uart_lsr(void)
{
	bool ready = uart.looped || (uart.input && *uart.input);

	if (uart.in_fifo && uart.kind != STUCK && uart.polls_till_sent++ == 3)
		uart.in_fifo = uart.polls_till_sent = 0;
	return (ready ? LSR_READY : 0) | (uart.in_fifo ? 0 : LSR_SENT | 0x40) | uart.line_errors;
}

static u8 uart_data(void)
{
	if (uart.looped) {
		uart.looped = false;
		return uart.loop_byte;
	}
	return uart.input && *uart.input ? (u8)*uart.input++ : 0;
}

static u32 port_read(u16 port, unsigned int bytes)
{
	assert_int_equal(bytes, 1);
	uart.nr_reads++;
	if (uart.kind == ABSENT)
		return 0xff;
	switch (port - SERIAL_COM1) {
	case DATA:
		return uart_data();
	case LSR:
		return uart_lsr();
	case SCRATCH:
		return uart.kind == NO_SCRATCH ? 0xff : uart.scratch;
	default:
		fail_msg("read of port %x", port);
		return 0;
	}
}

static void uart_send(u8 byte)
{
	if (uart.mcr & 0x10) {
		uart.looped = uart.kind != NO_LOOPBACK;
		uart.loop_byte = byte;
		return;
	}
	if (++uart.in_fifo > FIFO_BYTES)
		uart.overrun = true;
	assert_true(uart.nr_sent + 1 < sizeof(uart.sent));
	uart.sent[uart.nr_sent++] = (char)byte;
}

static void port_write(u16 port, u32 value, unsigned int bytes)
{
	bool latch = uart.lcr & LCR_DLAB;

	assert_int_equal(bytes, 1);
	if (port == 0x3d4)
		crtc_index = (u8)value;
	else if (port == 0x3d5)
		crtc[crtc_index] = (u8)value;
	else if (port == SERIAL_COM1 + DATA && !latch)
		uart_send((u8)value);
	else if (port == SERIAL_COM1 + DATA)
		uart.divisor_low = (u8)value;
	else if (port == SERIAL_COM1 + IER)
		*(latch ? &uart.divisor_high : &uart.ier) = (u8)value;
	else if (port == SERIAL_COM1 + FCR)
		uart.fcr = (u8)value;
	else if (port == SERIAL_COM1 + LCR)
		uart.lcr = (u8)value;
	else if (port == SERIAL_COM1 + MCR)
		uart.mcr = (u8)value;
	else if (port == SERIAL_COM1 + SCRATCH)
		uart.scratch = (u8)value;
	else
		fail_msg("write to port %x", port);
}

static int init_with(int kind, struct serial *s)
{
	memset(&uart, 0, sizeof(uart));
	uart.kind = kind;
	uart.divisor_high = uart.ier = 0xee;
	return serial_init(SERIAL_COM1, s);
}

/* ---- tests --------------------------------------------------------------------------------------
 */

static void port_is_set_up(void **state)
{
	struct serial s;

	(void)state;
	assert_int_equal(init_with(GOOD, &s), 0);
	assert_int_equal(uart.lcr, LCR_8N1);
	assert_int_equal(uart.divisor_low, 1);
	assert_int_equal(uart.divisor_high, 0);
	assert_int_equal(uart.ier, 0);
	assert_int_equal(uart.fcr & 1, 1);
	assert_int_equal(uart.mcr, MCR_ON);
	assert_int_equal(uart.nr_sent, 0);
}

static void absent_ports_are_not_found(void **state)
{
	struct serial s;

	(void)state;
	assert_int_equal(init_with(ABSENT, &s), -ENODEV);
	assert_in_range(uart.nr_reads, 1, 10);
	assert_int_equal(init_with(NO_SCRATCH, &s), -ENODEV);
	assert_int_equal(init_with(NO_LOOPBACK, &s), -ENODEV);
	assert_in_range(uart.nr_reads, 1, 2 * LOOP_POLLS);
	assert_int_equal(uart.mcr & 0x10, 0);
}

static void text_goes_out_whole(void **state)
{
	char text[1000], want[2100], *w = want;
	struct serial s;

	(void)state;
	assert_int_equal(init_with(GOOD, &s), 0);
	for (size_t i = 0; i < sizeof(text); i++) {
		text[i] = i % 11 == 3 ? '\n' : (char)('a' + i % 26);
		if (text[i] == '\n')
			*w++ = '\r';
		*w++ = text[i];
	}
	s.sink.write(&s.sink, text, sizeof(text));
	assert_int_equal(uart.nr_sent, w - want);
	assert_memory_equal(uart.sent, want, uart.nr_sent);
	assert_false(uart.overrun);
	uart.nr_sent = 0;
	s.sink.write(&s.sink, "\1\1\2|", 4);
	assert_memory_equal(uart.sent, "##.|", 4);
}

static void stuck_port_is_waited_for_once(void **state)
{
	struct serial s;

	(void)state;
	assert_int_equal(init_with(GOOD, &s), 0);
	uart.kind = STUCK;
	s.sink.write(&s.sink, "0123456789abcdefXYZ", 19);
	assert_int_equal(uart.nr_sent, 16);
	uart.nr_reads = 0;
	for (int i = 0; i < 100; i++)
		s.sink.write(&s.sink, "more text\n", 10);
	assert_in_range(uart.nr_reads, 100, 200);
	assert_int_equal(uart.nr_sent, 16);

	uart.kind = GOOD;
	uart.in_fifo = 0;
	s.sink.write(&s.sink, "0123456789abcdefXYZ", 19);
	assert_int_equal(uart.nr_sent, 16 + 19);
	uart.kind = ABSENT; /* a card pulled out */
	s.sink.write(&s.sink, "gone", 4);
	assert_int_equal(uart.nr_sent, 16 + 19);
}

static void keys_come_in(void **state)
{
	struct serial s;

	(void)state;
	assert_int_equal(init_with(GOOD, &s), 0);
	assert_int_equal(s.source.read(&s.source), KEY_NONE);
	uart.input = "v\33[A\r\n\33";
	assert_int_equal(s.source.read(&s.source), 'v');
	assert_int_equal(s.source.read(&s.source), KEY_UP);
	assert_int_equal(s.source.read(&s.source), '\n');
	assert_int_equal(s.source.read(&s.source), KEY_NONE);
	uart.input = "[B";
	assert_int_equal(s.source.read(&s.source), KEY_DOWN);
	uart.line_errors = LSR_BREAK;
	uart.input = "x";
	assert_int_equal(s.source.read(&s.source), KEY_NONE);
	uart.kind = ABSENT;
	uart.nr_reads = 0;
	assert_int_equal(s.source.read(&s.source), KEY_NONE);
	assert_int_equal(uart.nr_reads, 1);
}

static void vga_shows_text(void **state)
{
	static u16 cells[80 * 25];
	struct vga_text v;

	(void)state;
	assert_int_equal(vga_text_init(&v, cells), 0);
	assert_int_equal(cells[0], 0x0720);
	v.sink.write(&v.sink, "A\33[1;31;44mB\33[m\1\2\303\244", 19);
	assert_int_equal(cells[0], 0x0700 | 'A');
	assert_int_equal(cells[1], 0x1c00 | 'B');
	assert_int_equal(cells[2], 0x07db);
	assert_int_equal(cells[3], 0x07b0);
	assert_int_equal(crtc[CURSOR_LOW], 5);
	v.sink.write(&v.sink, "\33[25;80Hz\nlast", 14);
	assert_int_equal(cells[23 * 80 + 79], 0x0700 | 'z');
	assert_int_equal(cells[24 * 80], 0x0700 | 'l');
	assert_int_equal(cells[0], 0x0720);
	assert_int_equal(crtc[CURSOR_HIGH] << 8 | crtc[CURSOR_LOW], 24 * 80 + 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_is_set_up),
		cmocka_unit_test(absent_ports_are_not_found),
		cmocka_unit_test(text_goes_out_whole),
		cmocka_unit_test(stuck_port_is_waited_for_once),
		cmocka_unit_test(keys_come_in),
		cmocka_unit_test(vga_shows_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
