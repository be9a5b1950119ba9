/* SPDX-License-Identifier: BSD-2-Clause */
/* The console interface. A *sink* shows bytes (serial port, VGA text, framebuffer); a *source*
 * hands over key presses (serial port, keyboard). Drivers implement these; main.c alone registers
 * them; printk and the monitor use whatever is there. */
#pragma once

#include "lib/list.h"

/* Two bytes that draw bars; a serial sink shows '#' and '.'. */
enum { GLYPH_FULL = 1, GLYPH_SHADE = 2 };

struct console_sink {
	const char *name;
	/* write - show @len bytes. ASCII, '\n' means new line (a serial sink adds '\r'), '\r' the
	 * line's first column, '\b' moves left, and the escape sequences that the monitor uses:
	 * ESC [ K, ESC [ n A, ESC [ n C, ESC [ n D, ESC [ H, ESC [ r ; c H, ESC [ J, ESC [ 2 J,
	 * ESC [ ... m.
	 * The bytes GLYPH_FULL and GLYPH_SHADE are cells of a bar. A sink ignores, or shows as well
	 * as it can, what it cannot do.
	 * => called under the console lock, interrupts off; in a panic without the lock
	 * => never sleeps, never allocates, ends in bounded time if the device is absent or stuck
	 */
	void (*write)(struct console_sink *s, const char *text, size_t len);
	struct list link;
};

/* Bytes of a key: printable ASCII, control codes 1..31, 127, and these for keys without one. */
enum console_key {
	KEY_NONE = -1,
	KEY_UP = 0x100,
	KEY_DOWN,
	KEY_LEFT,
	KEY_RIGHT,
	KEY_HOME,
	KEY_END,
	KEY_DELETE,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
};

struct console_source {
	const char *name;
	/* read - the next key, or KEY_NONE; never waits. => thread context */
	int (*read)(struct console_source *s);
	struct list link;
};

/* console_add_sink - show text on @s, too, beginning with what printk said before.
 * => @s lives for ever */
void console_add_sink(struct console_sink *s);
/* => boot, one CPU; @s lives for ever */
void console_add_source(struct console_source *s);

/* console_set_lock - how writers exclude one another: @lock also turns interrupts off and keeps
 * their state in *@flags. Until this call nobody excludes anybody. => boot, one CPU */
void console_set_lock(void (*lock)(u64 *flags), void (*unlock)(u64 flags));

/* console_write - raw bytes to every sink, in one piece. => any context */
void console_write(const char *text, size_t len);
/* console_print - as console_write, and kept in the log. printk is the caller. */
void console_print(const char *text, size_t len);
/* console_log - copy the newest text of the log to @buf; see printk_log. */
size_t console_log(char *buf, size_t size);

/* console_edit - show @len bytes of @text, printable and at most CONSOLE_EDIT_MAX, as the line
 * being typed, with the cursor before byte @cursor. From now on whatever else is written appears
 * above it, and the line is drawn again below. Call again for each change.
 * => thread context; one editor at a time */
#define CONSOLE_EDIT_MAX 128
void console_edit(const char *text, size_t len, size_t cursor);
/* console_edit_end - the line is complete: it stays on the screen and output goes on below. */
void console_edit_end(void);

/* console_panel - show @text, whole lines that are narrower than the screen, above the line being
 * typed, and send only what differs from the panel before. It stays there below what else is written;
 * but if that is much, it is gone until the next call, so that a slow line does not carry it again and
 * again. "": no panel. Without a line being typed nothing is shown. => thread context */
#define CONSOLE_PANEL_MAX 1600
void console_panel(const char *text, size_t len);
/* console_read - the next key of any source, or KEY_NONE. => thread context, never waits */
int console_read(void);
/* console_panic - from now on writes take no lock: all other CPUs are stopped or soon will be. A
 * line being typed is given up. */
void console_panic(void);
