/* SPDX-License-Identifier: BSD-2-Clause */
/* A PS/2 keyboard behind an i8042 (or behind firmware that plays one for USB), polled, US layout.
 */
#pragma once

#include "lib/console.h"

/* What the decoder remembers between bytes. */
struct keyboard_state {
	bool set2;     /* the bytes are scan code set 2; otherwise set 1 */
	bool extended; /* behind E0 */
	bool released; /* set 2, behind F0 */
	bool shift_left, shift_right, ctrl_left, ctrl_right, caps;
};

struct keyboard {
	struct console_source source;
	struct keyboard_state state;
};

/* keyboard_init - set the controller up and prepare k->source.
 * => bounded time on any board
 * Return 0; -ENODEV if there is no controller. */
int must_check keyboard_init(struct keyboard *k);

/* keyboard_decode - take the next scan code byte. Return a key as console_source->read does, or
 * KEY_NONE. Touches no hardware. */
int keyboard_decode(struct keyboard_state *k, u8 byte);
