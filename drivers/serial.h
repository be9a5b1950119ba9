/* SPDX-License-Identifier: BSD-2-Clause */
/* A 16550 serial port, 115200 baud, 8 bits, no parity, polled: the operator's line. */
#pragma once

#include "lib/console.h"
#include "lib/keys.h"

#define SERIAL_COM1 0x3f8

struct serial {
	struct console_sink sink;
	struct console_source source;
	u16 port;
	bool stuck; /* it stopped sending: do not wait for it again until it moves */
	struct key_decoder keys;
};

/* serial_init - probe and set up the port at @port, and prepare s->sink and s->source.
 * => bounded time on any board
 * Return 0; -ENODEV if there is no working 16550. */
int must_check serial_init(u16 port, struct serial *s);
