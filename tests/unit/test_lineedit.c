/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/lineedit.c kernel/lib/console.c kernel/lib/format.c kernel/lib/string.c
 * kernel/lib/term.c */
/* Keys make the line that a person expects, and the screen shows that line. */
#include "host.h"

#include "grid.h"
#include "lib/lineedit.h"

#define PROMPT "$ "
#define COLS   40

static struct grid screen;
static struct lineedit le;
static int nr_clears;

static void on_show(struct lineedit *l, const char *text, size_t len, size_t cursor)
{
	(void)l;
	console_edit(text, len, cursor);
}

static void on_clear(struct lineedit *l)
{
	(void)l;
	nr_clears++;
	console_write("\33[2J\33[H\r", 8);
}

static void on_complete(struct lineedit *l)
{
	lineedit_insert(l, "<tab>", 5);
}

static const struct lineedit_ops ops = {on_show, on_clear, on_complete};

/* What the screen's row must show: prompt and as much of the line as fits, the cursor in its place.
 */
static void screen_shows_line(void)
{
	char want[COLS + 1];

	snprintf(want, sizeof(want), PROMPT "%.*s", COLS - 3, le.line + le.scroll);
	for (size_t n = strlen(want); n && want[n - 1] == ' ';)
		want[--n] = '\0';
	grid_row_is(&screen, screen.term.row, want);
	assert_int_equal(screen.term.col, strlen(PROMPT) + le.cursor - le.scroll);
	assert_true(le.cursor <= le.len && le.len < LINEEDIT_BYTES);
	assert_int_equal(strlen(le.line), le.len);
}

static enum lineedit_result press(int key)
{
	enum lineedit_result r = lineedit_key(&le, key);

	if (r == LINEEDIT_MORE)
		screen_shows_line();
	else
		console_edit_end();
	return r;
}

static void type(const char *text)
{
	for (; *text; text++)
		press(*text);
}

static void line_is(const char *before_cursor, const char *behind)
{
	assert_int_equal(le.cursor, strlen(before_cursor));
	assert_memory_equal(le.line, before_cursor, le.cursor);
	assert_string_equal(le.line + le.cursor, behind);
}

static void enter(const char *text)
{
	type(text);
	assert_int_equal(press('\n'), LINEEDIT_DONE);
	assert_string_equal(le.line, text);
	lineedit_start(&le);
}

static int start(void **state)
{
	(void)state;
	lineedit_init(&le, &ops, PROMPT, COLS);
	lineedit_start(&le);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	console_edit_end();
	return 0;
}

static void typing_and_moving(void **state)
{
	(void)state;
	type("vm lst");
	press(KEY_LEFT);
	press(KEY_LEFT);
	type("i");
	line_is("vm li", "st");
	press(KEY_HOME);
	press(KEY_LEFT);
	type("x");
	line_is("x", "vm list");
	press('E' & 31);
	press(KEY_RIGHT);
	type("!");
	line_is("xvm list!", "");
	press('A' & 31);
	line_is("", "xvm list!");
	press(KEY_END);
	press('B' & 31);
	press('F' & 31);
	line_is("xvm list!", "");
}

static void deleting(void **state)
{
	(void)state;
	type("one two  three");
	press('\b');
	press(127);
	line_is("one two  thr", "");
	press('W' & 31);
	line_is("one two  ", "");
	press('W' & 31);
	line_is("one ", "");
	type("x y z");
	press(KEY_LEFT);
	press(KEY_LEFT);
	press('K' & 31);
	line_is("one x y", "");
	press(KEY_HOME);
	press(KEY_DELETE);
	press('D' & 31);
	line_is("", "e x y");
	press('\b');
	line_is("", "e x y");
	press(KEY_RIGHT);
	press('U' & 31);
	line_is("", " x y");
	press(KEY_END);
	press(KEY_DELETE);
	press('U' & 31);
	line_is("", "");
	press('W' & 31);
	press('\b');
	line_is("", "");
}

static void history_goes_up_and_down(void **state)
{
	(void)state;
	enter("first");
	enter("second");
	enter("second");
	enter("");
	type("unfinished");
	press(KEY_UP);
	line_is("second", "");
	press(KEY_UP);
	line_is("first", "");
	press(KEY_UP);
	line_is("first", "");
	type("!");
	press(KEY_DOWN);
	line_is("second", "");
	press(KEY_DOWN);
	line_is("unfinished", "");
	press(KEY_DOWN);
	line_is("unfinished", "");
	press(KEY_UP);
	type(" again");
	assert_int_equal(press('\n'), LINEEDIT_DONE);
	assert_string_equal(le.line, "second again");
	lineedit_start(&le);
	press('P' & 31);
	line_is("second again", "");
	press('N' & 31);
	line_is("", "");
}

static void history_keeps_sixteen(void **state)
{
	char text[24];

	(void)state;
	for (int i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "line %d", i);
		enter(text);
	}
	for (int i = 0; i < 40; i++)
		press(KEY_UP);
	line_is("line 24", "");
}

static void long_lines_slide(void **state)
{
	(void)state;
	for (int i = 0; i < 500; i++)
		press('a' + i % 26);
	assert_int_equal(le.len, LINEEDIT_BYTES - 1);
	for (int i = 0; i < 300; i++)
		press(KEY_LEFT);
	assert_int_equal(le.scroll, 0);
	for (int i = 0; i < 300; i++)
		press(KEY_RIGHT);
	assert_int_equal(le.cursor, LINEEDIT_BYTES - 1);
	for (int i = 0; i < 300; i++)
		press('\b');
	line_is("", "");
}

static void clear_cancel_complete(void **state)
{
	(void)state;
	type("abc");
	press(KEY_LEFT);
	press('L' & 31);
	assert_int_equal(nr_clears, 1);
	assert_int_equal(screen.term.row, 0);
	line_is("ab", "c");
	press('\t');
	line_is("ab<tab>", "c");
	assert_int_equal(press('C' & 31), LINEEDIT_QUIT);
	assert_string_equal(le.line, "");
	lineedit_start(&le);
	press(KEY_UP);
	line_is("", "");
}

static void strange_keys_do_nothing(void **state)
{
	static const int keys[] = {KEY_NONE, 0, 1 << 20, KEY_PAGE_UP, KEY_PAGE_DOWN, 27, 128, 255};

	(void)state;
	type("ok");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		press(keys[i]);
	line_is("ok", "");
	lineedit_insert(&le, "a\tb\33c", 5);
	line_is("okabc", "");
}

static void random_keys(void **state)
{
	struct rng r = rng_seeded(5);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		int key = rng_percent(&r, 70) ? (int)(' ' + rng_below(&r, 95)) :
			  rng_percent(&r, 60) ? (int)(KEY_UP + rng_below(&r, 9)) :
						(int)rng_below(&r, 32);

		if (press(key) != LINEEDIT_MORE)
			lineedit_start(&le);
		if (rng_percent(&r, 5))
			console_write("vm| text\n", 9);
		screen_shows_line();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(typing_and_moving, start, stop),
		cmocka_unit_test_setup_teardown(deleting, start, stop),
		cmocka_unit_test_setup_teardown(history_goes_up_and_down, start, stop),
		cmocka_unit_test_setup_teardown(history_keeps_sixteen, start, stop),
		cmocka_unit_test_setup_teardown(long_lines_slide, start, stop),
		cmocka_unit_test_setup_teardown(clear_cancel_complete, start, stop),
		cmocka_unit_test_setup_teardown(strange_keys_do_nothing, start, stop),
		cmocka_unit_test_setup_teardown(random_keys, start, stop),
	};

	grid_init(&screen, COLS, 8);
	console_add_sink(&screen.sink);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
