/* SPDX-License-Identifier: BSD-2-Clause */
/* A line editor: keys go in, a picture of the line comes out. It knows neither terminal nor
 * console: after each key it hands the visible part of prompt and line, and the place of the
 * cursor, to ->show. A line longer than the screen is wide slides sideways.
 *
 * Keys: arrows, Home, End, Delete, Backspace; Ctrl-A E B F P N as arrows and Home, End; Ctrl-K U W
 * delete to the end, to the start, the word before; Ctrl-D deletes; Ctrl-L clears the screen;
 * Ctrl-C gives the line up; Tab asks ->complete. */
#pragma once

#include "lib/types.h"

#define LINEEDIT_BYTES   224 /* a line with its NUL */
#define LINEEDIT_HISTORY 16
#define LINEEDIT_COLS    100 /* widest picture */

struct lineedit;

struct lineedit_ops {
	/* show - the line looks like this now: @len bytes of @text, cursor before byte @cursor */
	void (*show)(struct lineedit *le, const char *text, size_t len, size_t cursor);
	/* clear - empty the screen; show follows */
	void (*clear)(struct lineedit *le);
	/* complete - Tab was pressed; may call lineedit_insert. NULL: Tab does nothing */
	void (*complete)(struct lineedit *le);
};

struct lineedit {
	const struct lineedit_ops *ops;
	const char *prompt;
	size_t cols;   /* of the picture, prompt included */
	size_t scroll; /* bytes of the line that are left of the picture */

	char line[LINEEDIT_BYTES];
	size_t len, cursor;

	char history[LINEEDIT_HISTORY][LINEEDIT_BYTES]; /* a ring */
	u32 nr_history;                                 /* lines ever put in */
	u32 browse;                                     /* 0: the line itself, n: the n-th last */
	char kept[LINEEDIT_BYTES];                      /* the line, while browsing */
};

enum lineedit_result {
	LINEEDIT_MORE, /* still being edited */
	LINEEDIT_DONE, /* Enter: the line is in le->line */
	LINEEDIT_QUIT, /* Ctrl-C: the line is empty */
};

/* lineedit_init - @cols: width of the screen, at least prompt + 8; @prompt stays the caller's. */
void lineedit_init(struct lineedit *le, const struct lineedit_ops *ops, const char *prompt,
		   size_t cols);

/* lineedit_start - show an empty line. */
void lineedit_start(struct lineedit *le);

/* lineedit_key - take a key (enum console_key or a byte). After DONE or QUIT: lineedit_start. */
enum lineedit_result lineedit_key(struct lineedit *le, int key);

/* lineedit_insert - type @len bytes at the cursor; what does not fit or is not printable is left
 * out. Shows nothing by itself: for ->complete, after which the line is shown. */
void lineedit_insert(struct lineedit *le, const char *text, size_t len);
