/* SPDX-License-Identifier: BSD-2-Clause */
/* The console: all sinks as one, all sources as one, a log of what was said, the line being typed,
 * and a panel of lines above it.
 *
 * The edit line is the last line of the screen while the operator types. Other text, from any CPU
 * at any time, is written above it: erase, write, draw again, all under the console lock. For that
 * the console keeps a copy of what the line shows (`edit`), so that no writer ever looks into the
 * line editor, whose state belongs to the monitor's thread alone.
 *
 * Invariants
 *  I1. While edit.active the sinks' cursor stands in the line that shows edit.text, in column
 *      edit.cursor.
 *  I2. While panel.lines != 0 the edit line is active, and the rows above it show panel.text.
 *  I3. log_ring holds the last min(log_total, LOG_BYTES) bytes that were printed; byte number n
 *      stands at n % LOG_BYTES.
 *
 * Locking: everything below is guarded by the hooks of console_set_lock, which belong to cpu/; none
 * before they are set (one CPU runs), none after console_panic. */
#include "lib/console.h"

#include "lib/format.h"
#include "lib/string.h"

#define LOG_BYTES 16384

static struct list sinks = LIST_INIT(sinks);
static struct list sources = LIST_INIT(sources);

static char log_ring[LOG_BYTES];
static u64 log_total;

static struct {
	bool active;
	size_t len, cursor;
	char text[CONSOLE_EDIT_MAX];
} edit;

#define PANEL_REDRAWS 4

static struct {
	size_t lines;         /* on the screen now */
	unsigned int redraws; /* that are left until the next call of console_panel */
	size_t len;
	char text[CONSOLE_PANEL_MAX];
} panel;

static void (*lock_hook)(u64 *flags);
static void (*unlock_hook)(u64 flags);
static bool in_panic;

struct guard {
	bool locked;
	u64 flags;
};

static struct guard console_lock(void)
{
	struct guard g = {.locked = lock_hook && !READ_ONCE(in_panic)};

	if (g.locked)
		lock_hook(&g.flags);
	return g;
}

/* A panic may begin while the lock is held: who took it gives it back all the same. */
static void console_unlock(struct guard g)
{
	if (g.locked)
		unlock_hook(g.flags);
}

void console_set_lock(void (*lock)(u64 *flags), void (*unlock)(u64 flags))
{
	unlock_hook = unlock;
	lock_hook = lock;
}

static void emit(const char *text, size_t len)
{
	struct console_sink *s;

	if (!len)
		return;
	list_for_each(s, &sinks, link)
		s->write(s, text, len);
}

/* Move the cursor from column @from to @to. */
static void emit_move(size_t from, size_t to)
{
	char seq[16];

	if (from != to)
		emit(seq, text_format(seq, sizeof(seq), "\33[%zu%c", from < to ? to - from : from - to,
				      from < to ? 'C' : 'D'));
}

/* ---- the edit line ------------------------------------------------------------------------- */

static void edit_draw(void)
{
	emit(edit.text, edit.len);
	emit_move(edit.len, edit.cursor);
}

/* From the edit line to the first column of the row @rows above it. */
static void emit_up(size_t rows)
{
	char seq[16];

	emit("\r", 1);
	if (rows)
		emit(seq, text_format(seq, sizeof(seq), "\33[%zuA", rows));
}

/* Erase the edit line and the panel: the cursor comes to stand where output goes. */
static void edit_erase(void)
{
	emit_up(panel.lines);
	emit(panel.lines ? "\33[J" : "\33[K", 3);
	panel.lines = 0;
}

/* The length of the line that @text begins with, with its end. */
static size_t line_length(const char *text, const char *end)
{
	const char *at = text;

	while (at < end && *at++ != '\n')
		;
	return at - text;
}

/* Over the panel that is there, if there is one: then it has as many lines. */
static void panel_draw(const char *text, size_t len)
{
	const char *old = panel.text, *old_end = old + (panel.lines ? panel.len : 0), *end = text + len;

	panel.lines = 0;
	for (size_t n, old_n; text < end; text += n, old += old_n, panel.lines++) {
		size_t same = 0;

		n = line_length(text, end);
		old_n = line_length(old, old_end);
		while (same < n - 1 && same < old_n && text[same] == old[same])
			same++;
		if (same < n - 1 || n < old_n)
			emit_move(0, same);
		emit(text + same, n - 1 - same);
		emit(n < old_n ? "\33[K\n" : "\n", n < old_n ? 4 : 1);
	}
}

static void write_around_edit(const char *text, size_t len)
{
	if (!len)
		return;
	if (!edit.active) {
		emit(text, len);
		return;
	}
	edit_erase();
	emit(text, len);
	if (text[len - 1] != '\n' && text[len - 1] != '\r')
		emit("\n", 1); /* a piece of a line: the edit line goes below it */
	if (panel.redraws) {
		panel.redraws--;
		panel_draw(panel.text, panel.len);
	}
	edit_draw();
}

void console_edit(const char *text, size_t len, size_t cursor)
{
	struct guard g = console_lock();
	size_t same = 0;

	len = MIN(len, (size_t)CONSOLE_EDIT_MAX);
	cursor = MIN(cursor, len);
	if (!edit.active)
		edit.len = edit.cursor = 0;
	edit.active = true;

	/* Only what differs is sent: over a slow line an echoed character costs one byte. */
	while (same < len && same < edit.len && text[same] == edit.text[same])
		same++;
	if (same < len || same < edit.len) {
		emit_move(edit.cursor, same);
		emit(text + same, len - same);
		if (len < edit.len)
			emit("\33[K", 3);
		edit.cursor = len;
	}
	emit_move(edit.cursor, cursor);
	memcpy(edit.text, text, len);
	edit.len = len;
	edit.cursor = cursor;
	console_unlock(g);
}

static void edit_end(void)
{
	if (panel.lines) { /* it would stay among the output */
		edit_erase();
		emit(edit.text, edit.len);
	}
	if (edit.active)
		emit("\n", 1);
	edit.active = false;
	panel.redraws = 0;
}

void console_edit_end(void)
{
	struct guard g = console_lock();

	edit_end();
	console_unlock(g);
}

void console_panel(const char *text, size_t len)
{
	struct guard g = console_lock();
	size_t lines = 0;

	len = MIN(len, (size_t)CONSOLE_PANEL_MAX);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	if (edit.active && (lines || panel.lines)) {
		if (lines == panel.lines)
			emit_up(lines);
		else
			edit_erase();
		panel_draw(text, len);
		edit_draw();
		memcpy(panel.text, text, len);
		panel.len = len;
		panel.redraws = PANEL_REDRAWS;
	}
	console_unlock(g);
}

/* ---- sinks, sources, log ------------------------------------------------------------------- */

static void log_replay(struct console_sink *s)
{
	size_t held = MIN(log_total, (u64)LOG_BYTES);
	size_t first = (log_total - held) % LOG_BYTES;
	size_t till_wrap = MIN(held, LOG_BYTES - first);

	s->write(s, log_ring + first, till_wrap);
	if (held > till_wrap)
		s->write(s, log_ring, held - till_wrap);
}

size_t console_log(char *buf, size_t size)
{
	struct guard g = console_lock();
	size_t held = MIN(log_total, (u64)LOG_BYTES), n = size ? MIN(held, size - 1) : 0;

	for (size_t i = 0; i < n; i++)
		buf[i] = log_ring[(log_total - n + i) % LOG_BYTES];
	console_unlock(g);
	if (size)
		buf[n] = '\0';
	return n;
}

void console_add_sink(struct console_sink *s)
{
	struct guard g = console_lock();

	log_replay(s);
	list_add_tail(&sinks, &s->link);
	console_unlock(g);
}

void console_add_source(struct console_source *s)
{
	list_add_tail(&sources, &s->link);
}

void console_write(const char *text, size_t len)
{
	struct guard g = console_lock();

	write_around_edit(text, len);
	console_unlock(g);
}

void console_print(const char *text, size_t len)
{
	struct guard g = console_lock();

	for (size_t i = 0; i < len; i++)
		log_ring[log_total++ % LOG_BYTES] = text[i];
	write_around_edit(text, len);
	console_unlock(g);
}

int console_read(void)
{
	struct console_source *s;

	list_for_each(s, &sources, link) {
		int key = s->read(s);

		if (key != KEY_NONE)
			return key;
	}
	return KEY_NONE;
}

void console_panic(void)
{
	WRITE_ONCE(in_panic, true);
	edit_end();
}
