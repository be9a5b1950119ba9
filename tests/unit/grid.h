/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal whose screen is an array: what an operator would see, for tests to compare. As a
 * console_sink it shows what the console writes. Needs lib/term.c. */
#pragma once

#include "host.h"

#include "lib/console.h"
#include "lib/term.h"

#define GRID_MAX_COLS 132
#define GRID_MAX_ROWS 50

struct grid {
	struct console_sink sink;
	struct term term;
	u8 ch[GRID_MAX_ROWS][GRID_MAX_COLS];
	u8 attr[GRID_MAX_ROWS][GRID_MAX_COLS];
};

static inline void grid_put(struct term *t, unsigned int col, unsigned int row, u8 ch, u8 attr)
{
	struct grid *g = container_of(t, struct grid, term);

	assert_true(col < t->cols && row < t->rows);
	g->ch[row][col] = ch;
	g->attr[row][col] = attr;
}

static inline void grid_scroll(struct term *t, u8 attr)
{
	struct grid *g = container_of(t, struct grid, term);

	memmove(g->ch[0], g->ch[1], sizeof(g->ch[0]) * (GRID_MAX_ROWS - 1));
	memmove(g->attr[0], g->attr[1], sizeof(g->attr[0]) * (GRID_MAX_ROWS - 1));
	for (unsigned int col = 0; col < t->cols; col++)
		grid_put(t, col, t->rows - 1, ' ', attr);
}

static inline void grid_done(struct term *t)
{
	assert_true(t->col < t->cols && t->row < t->rows);
}

static inline void grid_write(struct console_sink *s, const char *text, size_t len)
{
	term_write(&container_of(s, struct grid, sink)->term, text, len);
}

static inline void grid_init(struct grid *g, unsigned int cols, unsigned int rows)
{
	static const struct term_ops ops = {grid_put, grid_scroll, grid_done};

	assert_true(cols <= GRID_MAX_COLS && rows <= GRID_MAX_ROWS);
	g->sink = (struct console_sink){.name = "grid", .write = grid_write};
	term_init(&g->term, &ops, cols, rows);
	term_clear(&g->term);
}

static inline void grid_text(struct grid *g, const char *text)
{
	term_write(&g->term, text, strlen(text));
}

static inline u8 grid_at(const struct grid *g, unsigned int col, unsigned int row)
{
	return g->ch[row][col];
}

static inline u8 grid_attr(const struct grid *g, unsigned int col, unsigned int row)
{
	return g->attr[row][col];
}

/* The row shows @text, and spaces behind it. */
static inline void grid_row_is(const struct grid *g, unsigned int row, const char *text)
{
	char shown[GRID_MAX_COLS + 1];
	size_t len = g->term.cols;

	memcpy(shown, g->ch[row], len);
	while (len && shown[len - 1] == ' ')
		len--;
	shown[len] = '\0';
	assert_string_equal(shown, text);
}
