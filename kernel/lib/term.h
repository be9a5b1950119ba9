/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal without a screen: it follows the bytes of a console_sink, keeps the cursor, colours
 * and the escape parser, and tells a device what to put where. The VGA text driver and the
 * framebuffer driver are two such devices; the unit tests have a third. */
#pragma once

#include "lib/types.h"

/* A colour pair: foreground in bits 0..3, background in bits 4..7, each 1 red + 2 green + 4 blue
 * + 8 bright (the order of ECMA-48's SGR, not of VGA). */
#define TERM_ATTR_DEFAULT 0x07

#define TERM_MAX_PARAMS 4

struct term;

struct term_ops {
	/* put - show @ch (printable ASCII, GLYPH_*, or 127 for anything else) in a cell */
	void (*put)(struct term *t, unsigned int col, unsigned int row, u8 ch, u8 attr);
	/* scroll - every row goes up by one; the last becomes spaces in @attr */
	void (*scroll)(struct term *t, u8 attr);
	/* done - the end of a term_write: show the cursor at t->col, t->row */
	void (*done)(struct term *t);
};

struct term {
	const struct term_ops *ops;
	unsigned int cols, rows;
	unsigned int col, row;
	bool wrap_pending; /* the last column was filled: the next character begins a new row */
	u8 attr;
	bool reverse;

	u8 state; /* the escape parser's */
	u8 nr_params;
	bool private; /* ESC [ ?: understood to its end, and ignored */
	u16 params[TERM_MAX_PARAMS];
};

/* term_init - an empty terminal with the cursor at the top left. Shows nothing. => cols, rows > 0
 */
void term_init(struct term *t, const struct term_ops *ops, unsigned int cols, unsigned int rows);

/* term_clear - spaces everywhere, cursor at the top left. */
void term_clear(struct term *t);

/* term_write - follow @len bytes; ops->done comes last. What console.h lists is understood, and
 * ESC [ n A, ESC [ n B, tabulators; other sequences are skipped. A UTF-8 sequence is one 127. */
void term_write(struct term *t, const char *text, size_t len);
