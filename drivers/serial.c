/* SPDX-License-Identifier: BSD-2-Clause */
/* Polled 16550. An absent port floats at FF, which looks like "ready" and like "a byte has come":
 * so the chip must prove itself, by its scratch register and by hearing itself in loopback, and
 * every wait is bounded. Source: PC16550D data sheet (National Semiconductor), "Registers". */
#include "drivers/serial.h"

#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/errno.h"

/* With LCR_DLAB the first two are the divisor's bytes. */
enum { DATA = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCRATCH = 7 };

#define LCR_8N1       0x03
#define LCR_DLAB      0x80
#define FCR_ON        0x07 /* enabled, both FIFOs emptied, interrupt at the first byte */
#define MCR_ON        0x0b /* DTR, RTS, OUT2 */
#define MCR_LOOPBACK  0x1e
#define LSR_READY     0x01
#define LSR_BREAK     0x10
#define LSR_SENT      0x20 /* the sender's FIFO is empty */
#define LSR_ABSENT    0xff

#define DIVISOR_115200 1
#define FIFO_BYTES     16

/* A full FIFO takes 1.4 ms to send; one port read takes about a microsecond on a real board. */
#define SEND_POLLS 50000
#define LOOP_POLLS 5000

static u8 reg_read(const struct serial *s, u16 reg)
{
	return inb(s->port + reg);
}

static void reg_write(const struct serial *s, u16 reg, u8 value)
{
	outb(s->port + reg, value);
}

/* ---- the sink ------------------------------------------------------------------------------ */

static bool wait_sent(struct serial *s)
{
	unsigned int polls = s->stuck ? 1 : SEND_POLLS;

	while (polls--) {
		u8 lsr = reg_read(s, LSR);

		if (lsr != LSR_ABSENT && (lsr & LSR_SENT)) {
			s->stuck = false;
			return true;
		}
		cpu_relax();
	}
	s->stuck = true;
	return false;
}

/* Send one byte; *@room is what the FIFO still takes. False: the port is stuck. */
static bool send(struct serial *s, u8 byte, unsigned int *room)
{
	if (*room == 0) {
		if (!wait_sent(s))
			return false;
		*room = FIFO_BYTES;
	}
	reg_write(s, DATA, byte);
	--*room;
	return true;
}

static void serial_write(struct console_sink *sink, const char *text, size_t len)
{
	struct serial *s = container_of(sink, struct serial, sink);
	unsigned int room = 0;

	for (size_t i = 0; i < len; i++) {
		u8 byte = (u8)text[i];

		if (byte == GLYPH_FULL)
			byte = '#';
		else if (byte == GLYPH_SHADE)
			byte = '.';
		if (byte == '\n' && !send(s, '\r', &room))
			return;
		if (!send(s, byte, &room))
			return;
	}
}

/* ---- the source ---------------------------------------------------------------------------- */

static int serial_read(struct console_source *source)
{
	struct serial *s = container_of(source, struct serial, source);

	/* Bounded by more than the FIFO holds: a line that never falls silent is noise. */
	for (int i = 0; i < 2 * FIFO_BYTES; i++) {
		u8 lsr = reg_read(s, LSR);
		u8 byte;
		int key;

		if (lsr == LSR_ABSENT || !(lsr & LSR_READY))
			return KEY_NONE;
		byte = reg_read(s, DATA);
		if (lsr & LSR_BREAK)
			continue;
		key = key_decode(&s->keys, byte);
		if (key != KEY_NONE)
			return key;
	}
	return KEY_NONE;
}

/* ---- probing ------------------------------------------------------------------------------- */

static bool scratch_works(const struct serial *s)
{
	reg_write(s, SCRATCH, 0x5a);
	if (reg_read(s, SCRATCH) != 0x5a)
		return false;
	reg_write(s, SCRATCH, 0xa5);
	return reg_read(s, SCRATCH) == 0xa5;
}

static bool loopback_works(const struct serial *s)
{
	bool heard = false;

	reg_write(s, MCR, MCR_LOOPBACK);
	reg_write(s, DATA, 0xae);
	for (int i = 0; i < LOOP_POLLS && !heard; i++) {
		heard = reg_read(s, LSR) & LSR_READY;
		cpu_relax();
	}
	heard = heard && reg_read(s, DATA) == 0xae;
	reg_write(s, MCR, MCR_ON);
	return heard;
}

int serial_init(u16 port, struct serial *s)
{
	*s = (struct serial){
		.sink = {.name = "serial", .write = serial_write},
		.source = {.name = "serial", .read = serial_read},
		.port = port,
	};
	if (!scratch_works(s))
		return -ENODEV;

	reg_write(s, IER, 0);
	reg_write(s, LCR, LCR_DLAB | LCR_8N1);
	reg_write(s, DATA, DIVISOR_115200);
	reg_write(s, IER, 0);
	reg_write(s, LCR, LCR_8N1);
	reg_write(s, FCR, FCR_ON);
	return loopback_works(s) ? 0 : -ENODEV;
}
