/* SPDX-License-Identifier: BSD-2-Clause */
/* The state machine behind key_decode: plain, behind ESC, in a CSI sequence (ESC [ 5 ~), behind
 * ESC O. */
#include "lib/keys.h"

#define ESC          27
#define MAX_SEQUENCE 16 /* a longer one is noise on the line */

enum { PLAIN, ESCAPE, CSI, SS3 };

static int key_of_final(u8 byte)
{
	static const u16 keys[] = {KEY_UP, KEY_DOWN, KEY_RIGHT, KEY_LEFT, 0, KEY_END, 0, KEY_HOME};

	return byte >= 'A' && byte <= 'H' && keys[byte - 'A'] ? keys[byte - 'A'] : KEY_NONE;
}

static int key_of_number(u8 number)
{
	static const u16 keys[] = {
		0, KEY_HOME, 0, KEY_DELETE, KEY_END, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_END,
	};

	return number < ARRAY_SIZE(keys) && keys[number] ? keys[number] : KEY_NONE;
}

static int decode_plain(struct key_decoder *d, u8 byte)
{
	bool after_cr = d->after_cr;

	d->state = PLAIN;
	d->after_cr = byte == '\r';
	if (byte == ESC) {
		d->state = ESCAPE;
		return KEY_NONE;
	}
	if (byte == '\r')
		return '\n';
	if ((byte == '\n' && after_cr) || byte == 0 || byte > 127)
		return KEY_NONE;
	return byte;
}

static int decode_csi(struct key_decoder *d, u8 byte)
{
	if (++d->length > MAX_SEQUENCE || byte < ' ')
		return decode_plain(d, byte);
	if (byte >= '0' && byte <= '9') {
		if (!d->second && d->param < 25)
			d->param = 10 * d->param + (byte - '0');
		return KEY_NONE;
	}
	if (byte == ';')
		d->second = true;
	if (byte < '@')
		return KEY_NONE;
	d->state = PLAIN;
	return byte == '~' ? key_of_number(d->param) : key_of_final(byte);
}

int key_decode(struct key_decoder *d, u8 byte)
{
	if (d->state == ESCAPE && (byte == '[' || byte == 'O')) {
		*d = (struct key_decoder){.state = byte == '[' ? CSI : SS3};
		return KEY_NONE;
	}
	if (d->state == CSI)
		return decode_csi(d, byte);
	if (d->state == SS3 && byte >= ' ') {
		d->state = PLAIN;
		return key_of_final(byte);
	}
	return decode_plain(d, byte); /* also behind a lone Escape key: it stands for itself */
}
