/* SPDX-License-Identifier: BSD-2-Clause */
/* Terminal bytes to keys: what a serial line delivers when somebody presses an arrow is an escape
 * sequence (ECMA-48, "CSI", and the forms of the VT100 and of xterm). */
#pragma once

#include "lib/console.h"

struct key_decoder {
	u8 state;
	u8 param;   /* the first number of the sequence */
	u8 length;  /* bytes of it so far */
	bool second; /* behind a ';': modifiers, which nobody needs */
	bool after_cr;
};

/* key_decode - take the next byte. A carriage return is '\n'; a line feed behind it is dropped.
 * Unknown sequences and bytes above 127 are swallowed. A zeroed decoder is ready.
 * Return a key as console_source->read does, KEY_NONE if @byte completes none. */
int key_decode(struct key_decoder *d, u8 byte);
