/* SPDX-License-Identifier: BSD-2-Clause */
/* The state machine behind key_decode: plain, behind ESC, in a CSI sequence (ESC [ 5 ~), behind
 * ESC O. */
#include "lib/keys.h"

#define ESC          27
#define MAX_SEQUENCE 16 /* a longer one is noise on the line */

enum { PLAIN, ESCAPE, CSI, SS3 };

static int key_of_final(u8 byte)
{
	switch (byte) {
	case 'A': return KEY_UP;
	case 'B': return KEY_DOWN;
	case 'C': return KEY_RIGHT;
	case 'D': return KEY_LEFT;
	case 'H': return KEY_HOME;
	case 'F': return KEY_END;
	default: return KEY_NONE;
	}
}

static int key_of_number(u8 number)
{
	switch (number) {
	case 1:
	case 7: return KEY_HOME;
	case 4:
	case 8: return KEY_END;
	case 3: return KEY_DELETE;
	case 5: return KEY_PAGE_UP;
	case 6: return KEY_PAGE_DOWN;
	default: return KEY_NONE;
	}
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
	switch (d->state) {
	case ESCAPE:
		if (byte == '[') {
			*d = (struct key_decoder){.state = CSI};
			return KEY_NONE;
		}
		if (byte == 'O') {
			d->state = SS3;
			return KEY_NONE;
		}
		/* A lone Escape key: what follows stands for itself. */
		return decode_plain(d, byte);
	case CSI:
		return decode_csi(d, byte);
	case SS3:
		d->state = PLAIN;
		return byte < ' ' ? decode_plain(d, byte) : key_of_final(byte);
	default:
		return decode_plain(d, byte);
	}
}
