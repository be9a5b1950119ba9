/* SPDX-License-Identifier: BSD-2-Clause */
/* Invariants
 *  I1. line[len] is NUL, cursor <= len < LINEEDIT_BYTES, all bytes of the line are printable ASCII.
 *  I2. The picture holds the cursor: scroll <= cursor <= scroll + room, where room is
 *      cols - prompt - 1 (the screen's last column stays free, so that no terminal wraps).
 *  I3. Of the history only the last LINEEDIT_HISTORY lines exist; none is empty, none equals the
 *      one before it. */
#include "lib/lineedit.h"

#include "lib/console.h"
#include "lib/string.h"

#define CTRL(letter) ((letter) & 0x1f)
#define DEL          127
#define MIN_ROOM     8

/* ---- the picture --------------------------------------------------------------------------- */

static size_t room(const struct lineedit *le)
{
	size_t taken = strlen(le->prompt) + 1;

	return le->cols > taken + MIN_ROOM ? le->cols - taken : MIN_ROOM;
}

static void show(struct lineedit *le)
{
	char text[LINEEDIT_COLS];
	size_t prompt = MIN(strlen(le->prompt), sizeof(text) - MIN_ROOM);
	size_t space = MIN(room(le), sizeof(text) - prompt);
	size_t shown;

	/* Slide by half a picture, so that one sees what one comes to. */
	if (le->cursor < le->scroll)
		le->scroll = le->cursor > space / 2 ? le->cursor - space / 2 : 0;
	if (le->cursor > le->scroll + space)
		le->scroll = le->cursor - space / 2;
	if (le->len <= space)
		le->scroll = 0;
	shown = MIN(le->len - le->scroll, space);
	memcpy(text, le->prompt, prompt);
	memcpy(text + prompt, le->line + le->scroll, shown);
	le->ops->show(le, text, prompt + shown, prompt + le->cursor - le->scroll);
}

/* ---- changing the line --------------------------------------------------------------------- */

void lineedit_insert(struct lineedit *le, const char *text, size_t len)
{
	for (size_t i = 0; i < len && le->len + 1 < LINEEDIT_BYTES; i++) {
		if (text[i] < ' ' || text[i] >= DEL)
			continue;
		memmove(le->line + le->cursor + 1, le->line + le->cursor, le->len - le->cursor + 1);
		le->line[le->cursor++] = text[i];
		le->len++;
	}
}

/* Take out the bytes [from, to) and leave the cursor there. */
static void cut(struct lineedit *le, size_t from, size_t to)
{
	memmove(le->line + from, le->line + to, le->len - to + 1);
	le->len -= to - from;
	le->cursor = from;
}

static size_t word_start(const struct lineedit *le)
{
	size_t at = le->cursor;

	while (at && le->line[at - 1] == ' ')
		at--;
	while (at && le->line[at - 1] != ' ')
		at--;
	return at;
}

static void set_line(struct lineedit *le, const char *text)
{
	str_copy(le->line, text, sizeof(le->line));
	le->len = le->cursor = strlen(le->line);
}

/* ---- history ------------------------------------------------------------------------------- */

static char *history_line(struct lineedit *le, u32 nth_last)
{
	return le->history[(le->nr_history - nth_last) % LINEEDIT_HISTORY];
}

static void history_add(struct lineedit *le)
{
	if (!le->len || (le->nr_history && strcmp(history_line(le, 1), le->line) == 0))
		return;
	str_copy(le->history[le->nr_history % LINEEDIT_HISTORY], le->line, LINEEDIT_BYTES);
	le->nr_history++;
}

static void history_browse(struct lineedit *le, int step)
{
	u32 held = MIN(le->nr_history, (u32)LINEEDIT_HISTORY);

	if ((step > 0 && le->browse == held) || (step < 0 && le->browse == 0))
		return;
	if (le->browse == 0)
		str_copy(le->kept, le->line, sizeof(le->kept));
	le->browse += step;
	set_line(le, le->browse ? history_line(le, le->browse) : le->kept);
}

/* ---- keys ---------------------------------------------------------------------------------- */

/* Keys that move, and those that delete; anything else may be a character. */
static void edit_key(struct lineedit *le, int key)
{
	switch (key) {
	case KEY_LEFT:
	case CTRL('B'): le->cursor -= le->cursor > 0; break;
	case KEY_RIGHT:
	case CTRL('F'): le->cursor += le->cursor < le->len; break;
	case KEY_HOME:
	case CTRL('A'): le->cursor = 0; break;
	case KEY_END:
	case CTRL('E'): le->cursor = le->len; break;
	case KEY_UP:
	case CTRL('P'): history_browse(le, 1); break;
	case KEY_DOWN:
	case CTRL('N'): history_browse(le, -1); break;
	case '\b':
	case DEL:
		if (le->cursor)
			cut(le, le->cursor - 1, le->cursor);
		break;
	case KEY_DELETE:
	case CTRL('D'):
		if (le->cursor < le->len)
			cut(le, le->cursor, le->cursor + 1);
		break;
	case CTRL('K'): cut(le, le->cursor, le->len); break;
	case CTRL('U'): cut(le, 0, le->cursor); break;
	case CTRL('W'): cut(le, word_start(le), le->cursor); break;
	case CTRL('L'): le->ops->clear(le); break;
	case '\t':
		if (le->ops->complete)
			le->ops->complete(le);
		break;
	default:
		if (key >= ' ' && key < DEL)
			lineedit_insert(le, &(char){(char)key}, 1);
		break;
	}
}

enum lineedit_result lineedit_key(struct lineedit *le, int key)
{
	if (key == '\n' || key == '\r') {
		history_add(le);
		le->cursor = le->len;
		show(le);
		return LINEEDIT_DONE;
	}
	if (key == CTRL('C')) {
		set_line(le, "");
		return LINEEDIT_QUIT;
	}
	edit_key(le, key);
	show(le);
	return LINEEDIT_MORE;
}

void lineedit_start(struct lineedit *le)
{
	set_line(le, "");
	le->browse = 0;
	le->scroll = 0;
	show(le);
}

void lineedit_init(struct lineedit *le, const struct lineedit_ops *ops, const char *prompt,
		   size_t cols)
{
	memset(le, 0, sizeof(*le));
	le->ops = ops;
	le->prompt = prompt;
	le->cols = MIN(cols, (size_t)LINEEDIT_COLS);
}
