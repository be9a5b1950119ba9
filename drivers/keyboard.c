/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller usually translates the keyboard's set 2 to set 1. Some boards do not: then bytes
 * of set 2 are brought to set 1 here, so that one table of characters serves both. Which of the two
 * it is, the controller's configuration says; a F0 in set 1, where no key has it, says otherwise.
 *
 * Sources: Intel 8042 data sheet, "Status Register"; IBM PS/2 Technical Reference, "Keyboard and
 * Auxiliary Device Controller" (commands), "Keyboard" (scan code sets). */
#include "drivers/keyboard.h"

#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/errno.h"

/* ---- scan codes ---------------------------------------------------------------------------- */

enum {
	SCAN_ENTER = 0x1c,
	SCAN_CTRL = 0x1d,
	SCAN_SHIFT_LEFT = 0x2a,
	SCAN_SLASH = 0x35,
	SCAN_SHIFT_RIGHT = 0x36,
	SCAN_CAPS = 0x3a,
	SCAN_RELEASED = 0x80, /* or'ed to the code when the key goes up */
};

/* Set 1 make codes, without E0: what the key types, plain and with shift. */
static const u8 plain[0x59] = {
	[0x01] = 27, '1', '2', '3', '4', '5', '6', '7', '8', '9', '0', '-', '=', '\b', '\t',
	'q', 'w', 'e', 'r', 't', 'y', 'u', 'i', 'o', 'p', '[', ']', '\n',
	[0x1e] = 'a', 's', 'd', 'f', 'g', 'h', 'j', 'k', 'l', ';', '\'', '`',
	[0x2b] = '\\', 'z', 'x', 'c', 'v', 'b', 'n', 'm', ',', '.', '/',
	[0x37] = '*', [0x39] = ' ', [0x4a] = '-', [0x4c] = '5', [0x4e] = '+', [0x56] = '\\',
};

static const u8 shifted[0x59] = {
	[0x01] = 27, '!', '@', '#', '$', '%', '^', '&', '*', '(', ')', '_', '+', '\b', '\t',
	'Q', 'W', 'E', 'R', 'T', 'Y', 'U', 'I', 'O', 'P', '{', '}', '\n',
	[0x1e] = 'A', 'S', 'D', 'F', 'G', 'H', 'J', 'K', 'L', ':', '"', '~',
	[0x2b] = '|', 'Z', 'X', 'C', 'V', 'B', 'N', 'M', '<', '>', '?',
	[0x37] = '*', [0x39] = ' ', [0x4a] = '-', [0x4c] = '5', [0x4e] = '+', [0x56] = '|',
};

/* Set 2 make codes as set 1 make codes; 0: no key that we know. */
static const u8 set2_to_set1[0x84] = {
	/* Tab and the row of digits */
	[0x0d] = 0x0f, [0x0e] = 0x29, [0x16] = 0x02, [0x1e] = 0x03, [0x26] = 0x04, [0x25] = 0x05,
	[0x2e] = 0x06, [0x36] = 0x07, [0x3d] = 0x08, [0x3e] = 0x09, [0x46] = 0x0a, [0x45] = 0x0b,
	[0x4e] = 0x0c, [0x55] = 0x0d, [0x66] = 0x0e,
	/* q to ], Enter */
	[0x15] = 0x10, [0x1d] = 0x11, [0x24] = 0x12, [0x2d] = 0x13, [0x2c] = 0x14, [0x35] = 0x15,
	[0x3c] = 0x16, [0x43] = 0x17, [0x44] = 0x18, [0x4d] = 0x19, [0x54] = 0x1a, [0x5b] = 0x1b,
	[0x5a] = 0x1c,
	/* a to ', backslash */
	[0x1c] = 0x1e, [0x1b] = 0x1f, [0x23] = 0x20, [0x2b] = 0x21, [0x34] = 0x22, [0x33] = 0x23,
	[0x3b] = 0x24, [0x42] = 0x25, [0x4b] = 0x26, [0x4c] = 0x27, [0x52] = 0x28, [0x5d] = 0x2b,
	/* z to /, space */
	[0x1a] = 0x2c, [0x22] = 0x2d, [0x21] = 0x2e, [0x2a] = 0x2f, [0x32] = 0x30, [0x31] = 0x31,
	[0x3a] = 0x32, [0x41] = 0x33, [0x49] = 0x34, [0x4a] = 0x35, [0x29] = 0x39, [0x61] = 0x56,
	/* Escape, shift, control, alt, caps */
	[0x76] = 0x01, [0x12] = 0x2a, [0x59] = 0x36, [0x14] = 0x1d, [0x11] = 0x38, [0x58] = 0x3a,
	/* keypad, with E0 the arrows and their neighbours */
	[0x7c] = 0x37, [0x6c] = 0x47, [0x75] = 0x48, [0x7d] = 0x49, [0x7b] = 0x4a, [0x6b] = 0x4b,
	[0x73] = 0x4c, [0x74] = 0x4d, [0x79] = 0x4e, [0x69] = 0x4f, [0x72] = 0x50, [0x7a] = 0x51,
	[0x70] = 0x52, [0x71] = 0x53,
};

/* The arrows and their neighbours; on the keypad, too, since nobody turns on NumLock. */
static const u16 navigation[] = {
	[0x47] = KEY_HOME, KEY_UP, KEY_PAGE_UP, [0x4b] = KEY_LEFT, [0x4d] = KEY_RIGHT,
	[0x4f] = KEY_END, KEY_DOWN, KEY_PAGE_DOWN, [0x53] = KEY_DELETE,
};

/* Shift, Ctrl and Caps Lock: true if @code was one of them. */
static bool take_modifier(struct keyboard_state *k, u8 code, bool extended, bool down)
{
	bool *key = code == SCAN_SHIFT_LEFT    ? &k->shift_left
		    : code == SCAN_SHIFT_RIGHT ? &k->shift_right
		    : code == SCAN_CTRL        ? (extended ? &k->ctrl_right : &k->ctrl_left)
					       : NULL;

	if (code == SCAN_CAPS)
		k->caps ^= down;
	else if (key && (code == SCAN_CTRL || !extended))
		*key = down; /* a shift with E0 is made up by the keyboard, around the arrows */
	return key || code == SCAN_CAPS;
}

/* Ctrl with a letter or one of [ \ ] is a control code; Enter and the like stay what they are. */
static int control_key(u8 ch)
{
	if ((ch >= 'a' && ch <= 'z') || (ch >= '[' && ch <= ']'))
		return ch & 0x1f;
	return ch && ch < ' ' ? ch : KEY_NONE;
}

static int typed_key(const struct keyboard_state *k, u8 code)
{
	bool shift = k->shift_left || k->shift_right;
	u8 ch;

	if (code >= sizeof(plain))
		return KEY_NONE;
	ch = plain[code];
	if (k->ctrl_left || k->ctrl_right)
		return control_key(ch);
	if (ch >= 'a' && ch <= 'z')
		shift ^= k->caps;
	if (shift)
		ch = shifted[code];
	return ch ? ch : KEY_NONE;
}

static int take_set1(struct keyboard_state *k, u8 code, bool extended, bool down)
{
	if (take_modifier(k, code, extended, down) || !down)
		return KEY_NONE;
	if (extended && (code == SCAN_ENTER || code == SCAN_SLASH))
		return code == SCAN_ENTER ? '\n' : '/';
	if (code < ARRAY_SIZE(navigation) && navigation[code])
		return navigation[code];
	return extended ? KEY_NONE : typed_key(k, code);
}

int keyboard_decode(struct keyboard_state *k, u8 byte)
{
	bool extended = k->extended, down;

	switch (byte) {
	case 0xe0:
		k->extended = true;
		return KEY_NONE;
	case 0xe1: /* Pause: this, then Ctrl and NumLock, down and up: all of it does nothing */
		return KEY_NONE;
	case 0xf0:
		k->set2 = true;
		k->released = true;
		return KEY_NONE;
	case 0x00: /* overrun */
	case 0xfa: /* acknowledge */
	case 0xfe: /* send again */
	case 0xff: /* overrun */
		k->extended = k->released = false;
		return KEY_NONE;
	}
	down = k->set2 ? !k->released : !(byte & SCAN_RELEASED);
	k->extended = k->released = false;
	if (!k->set2)
		return take_set1(k, byte & ~SCAN_RELEASED, extended, down);
	if (byte >= sizeof(set2_to_set1) || !set2_to_set1[byte])
		return KEY_NONE;
	return take_set1(k, set2_to_set1[byte], extended, down);
}

/* ---- the controller ------------------------------------------------------------------------ */

#define DATA_PORT    0x60
#define STATUS_PORT  0x64 /* written: commands */
#define STATUS_FULL  0x01 /* a byte waits for us */
#define STATUS_BUSY  0x02 /* our last byte has not been taken yet */
#define STATUS_AUX   0x20 /* the waiting byte is the mouse's */
#define STATUS_NONE  0xff

#define CMD_READ_CONFIG   0x20
#define CMD_WRITE_CONFIG  0x60
#define CMD_DISABLE_MOUSE 0xa7
#define CMD_DISABLE_KEYS  0xad
#define CMD_ENABLE_KEYS   0xae
#define CONFIG_IRQS       0x03
#define CONFIG_KEYS_OFF   0x10
#define CONFIG_TRANSLATE  0x40
#define KEYS_START        0xf4

/* About 20 ms on a real board: a keyboard answers within that or not at all. */
#define WAIT_POLLS 20000
#define DRAIN_MAX  64

static bool wait_status(u8 mask, u8 value)
{
	for (int i = 0; i < WAIT_POLLS; i++) {
		u8 status = inb(STATUS_PORT);

		if (status == STATUS_NONE)
			return false;
		if ((status & mask) == value)
			return true;
		cpu_relax();
	}
	return false;
}

static bool controller_write(u16 port, u8 value)
{
	if (!wait_status(STATUS_BUSY, 0))
		return false;
	outb(port, value);
	return true;
}

static void drain(void)
{
	for (int i = 0; i < DRAIN_MAX && (inb(STATUS_PORT) & STATUS_FULL); i++)
		(void)inb(DATA_PORT);
}

static bool config_read(u8 *config)
{
	if (!controller_write(STATUS_PORT, CMD_READ_CONFIG) ||
	    !wait_status(STATUS_FULL, STATUS_FULL))
		return false;
	*config = inb(DATA_PORT);
	return true;
}

static int keyboard_read(struct console_source *source)
{
	struct keyboard *k = container_of(source, struct keyboard, source);

	for (int i = 0; i < DRAIN_MAX; i++) {
		u8 status = inb(STATUS_PORT);
		u8 byte;
		int key;

		if (status == STATUS_NONE || !(status & STATUS_FULL))
			return KEY_NONE;
		byte = inb(DATA_PORT);
		if (status & STATUS_AUX)
			continue;
		key = keyboard_decode(&k->state, byte);
		if (key != KEY_NONE)
			return key;
	}
	return KEY_NONE;
}

int keyboard_init(struct keyboard *k)
{
	u8 config;

	*k = (struct keyboard){.source = {.name = "keyboard", .read = keyboard_read}};
	if (inb(STATUS_PORT) == STATUS_NONE)
		return -ENODEV;

	/* Quiet first, so that what we read is the answer to what we asked. */
	if (!controller_write(STATUS_PORT, CMD_DISABLE_KEYS) ||
	    !controller_write(STATUS_PORT, CMD_DISABLE_MOUSE))
		return -ENODEV;
	drain();
	if (!config_read(&config))
		return -ENODEV;

	config &= ~(CONFIG_IRQS | CONFIG_KEYS_OFF);
	config |= CONFIG_TRANSLATE;
	if (!controller_write(STATUS_PORT, CMD_WRITE_CONFIG) ||
	    !controller_write(DATA_PORT, config) || !config_read(&config))
		return -ENODEV;
	k->state.set2 = !(config & CONFIG_TRANSLATE);

	/* A keyboard that does not answer may be plugged in later: no error. */
	if (controller_write(STATUS_PORT, CMD_ENABLE_KEYS) &&
	    controller_write(DATA_PORT, KEYS_START))
		(void)wait_status(STATUS_FULL, STATUS_FULL);
	drain();
	return 0;
}
