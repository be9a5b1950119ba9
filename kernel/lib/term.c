/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal model: plain text, control characters, and the CSI sequences of ECMA-48 that the
 * monitor uses. The cursor is always inside the grid, whatever the bytes say. */
#include "lib/term.h"

#include "lib/console.h"

#define ESC       27
#define UNKNOWN   127
#define PARAM_MAX 9999

enum { TEXT, ESCAPE, CSI };

static u8 current_attr(const struct term *t)
{
	return t->reverse ? (u8)(t->attr << 4 | t->attr >> 4) : t->attr;
}

static void move_to(struct term *t, unsigned int col, unsigned int row)
{
	t->col = MIN(col, t->cols - 1);
	t->row = MIN(row, t->rows - 1);
	t->wrap_pending = false;
}

/* ---- text ---------------------------------------------------------------------------------- */

static void new_line(struct term *t)
{
	if (t->row + 1 < t->rows)
		move_to(t, 0, t->row + 1);
	else {
		t->ops->scroll(t, current_attr(t));
		move_to(t, 0, t->row);
	}
}

static void put(struct term *t, u8 ch)
{
	if (t->wrap_pending)
		new_line(t);
	t->ops->put(t, t->col, t->row, ch, current_attr(t));
	if (t->col + 1 < t->cols)
		t->col++;
	else
		t->wrap_pending = true;
}

/* Blank the cells [from, to), counted from the top left. */
static void erase(struct term *t, unsigned int from, unsigned int to)
{
	for (; from < to; from++)
		t->ops->put(t, from % t->cols, from / t->cols, ' ', current_attr(t));
}

static void take_text(struct term *t, u8 byte)
{
	switch (byte) {
	case '\n': new_line(t); break;
	case '\r': move_to(t, 0, t->row); break;
	case '\b': move_to(t, t->col ? t->col - 1 : 0, t->row); break;
	case '\t': move_to(t, (t->col | 7) + 1, t->row); break;
	case ESC: t->state = ESCAPE; break;
	default:
		if ((byte >= ' ' && byte < UNKNOWN) || byte == GLYPH_FULL || byte == GLYPH_SHADE)
			put(t, byte);
		else if (byte >= 0xc0)
			put(t, UNKNOWN); /* its continuation bytes, 80..BF, show nothing */
	}
}

/* ---- escape sequences ---------------------------------------------------------------------- */

/* The @n-th number of the sequence, @standard if it is missing or 0. */
static unsigned int param(const struct term *t, unsigned int n, unsigned int standard)
{
	return n < t->nr_params && t->params[n] ? t->params[n] : standard;
}

static void set_colour(struct term *t, unsigned int n)
{
	unsigned int digit = n % 10;

	if (n == 0)
		t->reverse = false;
	if (n == 0)
		t->attr = TERM_ATTR_DEFAULT;
	else if (n == 1)
		t->attr |= 8;
	else if (n == 22)
		t->attr &= ~8;
	else if (n == 7 || n == 27)
		t->reverse = n == 7;
	else if (n >= 30 && n <= 37)
		t->attr = (t->attr & 0xf8) | digit;
	else if (n >= 90 && n <= 97)
		t->attr = (t->attr & 0xf0) | 8 | digit;
	else if ((n >= 40 && n <= 47) || (n >= 100 && n <= 107))
		t->attr = (t->attr & 0x0f) | (digit | (n >= 100 ? 8 : 0)) << 4;
	else if (n == 39)
		t->attr = (t->attr & 0xf0) | (TERM_ATTR_DEFAULT & 0x0f);
	else if (n == 49)
		t->attr = (t->attr & 0x0f) | (TERM_ATTR_DEFAULT & 0xf0);
}

/* Of the cells [start, end): those from the cursor on, those up to it, or all. */
static void erase_part(struct term *t, unsigned int start, unsigned int end)
{
	unsigned int here = t->row * t->cols + t->col, which = param(t, 0, 0);

	if (which <= 2)
		erase(t, which == 0 ? here : start, which == 1 ? here + 1 : end);
}

static void run_sequence(struct term *t, u8 final)
{
	unsigned int n = param(t, 0, 1);

	switch (final) {
	case 'A': move_to(t, t->col, t->row > n ? t->row - n : 0); break;
	case 'B': move_to(t, t->col, t->row + n); break;
	case 'C': move_to(t, t->col + n, t->row); break;
	case 'D': move_to(t, t->col > n ? t->col - n : 0, t->row); break;
	case 'H': move_to(t, param(t, 1, 1) - 1, n - 1); break;
	case 'J': erase_part(t, 0, t->rows * t->cols); break;
	case 'K': erase_part(t, t->row * t->cols, (t->row + 1) * t->cols); break;
	case 'm':
		for (unsigned int i = 0; i < t->nr_params; i++)
			set_colour(t, t->params[i]);
		break;
	}
}

static void take_sequence(struct term *t, u8 byte)
{
	if (byte >= '0' && byte <= '9') {
		u16 *p = &t->params[t->nr_params - 1];

		*p = MIN(10u * *p + (byte - '0'), (unsigned int)PARAM_MAX);
	} else if (byte == ';') {
		/* More numbers than we know end in the last one: nobody sends them. */
		if (t->nr_params < TERM_MAX_PARAMS)
			t->params[t->nr_params++] = 0;
	} else if (byte == '?') {
		t->private = true;
	} else if (byte >= '@' && byte <= '~') {
		t->state = TEXT;
		if (!t->private)
			run_sequence(t, byte);
	} else if (byte < ' ' || byte > '~') {
		t->state = TEXT; /* broken off */
		take_text(t, byte);
	}
}

static void take(struct term *t, u8 byte)
{
	if (t->state == CSI) {
		take_sequence(t, byte);
	} else if (t->state == ESCAPE && byte == '[') {
		t->state = CSI;
		t->nr_params = 1;
		t->params[0] = 0;
		t->private = false;
	} else if (t->state == TEXT || byte < ' ') {
		t->state = TEXT;
		take_text(t, byte);
	} else {
		t->state = TEXT;
	}
}

void term_write(struct term *t, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		take(t, (u8)text[i]);
	t->ops->done(t);
}

void term_clear(struct term *t)
{
	erase(t, 0, t->rows * t->cols);
	move_to(t, 0, 0);
	t->ops->done(t);
}

void term_init(struct term *t, const struct term_ops *ops, unsigned int cols, unsigned int rows)
{
	*t = (struct term){.ops = ops, .cols = cols, .rows = rows, .attr = TERM_ATTR_DEFAULT};
}
