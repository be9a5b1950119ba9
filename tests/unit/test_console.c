/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/console.c kernel/lib/format.c kernel/lib/string.c kernel/lib/keys.c
 * kernel/lib/term.c */
/* Everything written reaches every sink, once and in one piece; the log keeps the newest 16 KiB;
 * the line being typed survives what others print. */
#include "host.h"

#include "grid.h"
#include "lib/keys.h"

/* The real printk beside the host's. */
#define printk     real_printk
#define vprintk    real_vprintk
#define printk_log real_printk_log
void printk(const char *fmt, ...) printf_like(1, 2);
void vprintk(const char *fmt, va_list ap);
size_t printk_log(char *buf, size_t size);
#include "kernel/lib/printk.c"

#define LOG_BYTES 16384

/* ---- a sink that remembers, a lock that counts ------------------------------------------------
 */

struct record {
	struct console_sink sink;
	size_t len;
	unsigned int nr_writes;
	char text[64 << 10];
};

static int locked, nr_locks;

static void lock_take(u64 *flags)
{
	assert_int_equal(locked, 0);
	locked = 1;
	nr_locks++;
	*flags = 0x246;
}

static void lock_drop(u64 flags)
{
	assert_int_equal(locked, 1);
	assert_int_equal(flags, 0x246);
	locked = 0;
}

static void record_write(struct console_sink *s, const char *text, size_t len)
{
	struct record *r = container_of(s, struct record, sink);

	assert_true(r->len + len < sizeof(r->text));
	memcpy(r->text + r->len, text, len);
	r->len += len;
	r->text[r->len] = '\0';
	r->nr_writes++;
}

static struct record first = {.sink = {.name = "first", .write = record_write}};
static struct record second = {.sink = {.name = "second", .write = record_write}};
static struct grid screen;

static void forget(struct record *r)
{
	r->len = r->nr_writes = 0;
	r->text[0] = '\0';
}

/* ---- tests, in this order: sinks cannot be taken away ------------------------------------------
 */

static void early_text_is_replayed(void **state)
{
	(void)state;
	printk("boot %d\n", 1);
	printk("boot 2\n");
	console_add_sink(&first.sink);
	assert_string_equal(first.text, "boot 1\nboot 2\n");
	printk("boot 3\n");
	assert_string_equal(first.text, "boot 1\nboot 2\nboot 3\n");
}

static void lines_come_in_one_piece_under_the_lock(void **state)
{
	(void)state;
	console_set_lock(lock_take, lock_drop);
	forget(&first);
	printk("vm=%s code=%d\n", "a", 7);
	assert_int_equal(first.nr_writes, 1);
	assert_int_equal(nr_locks, 1);
	assert_int_equal(locked, 0);
	console_write("raw", 3);
	assert_string_equal(first.text, "vm=a code=7\nraw");
}

static void long_lines_are_cut_visibly(void **state)
{
	char text[700];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	forget(&first);
	printk("%s\n", text);
	assert_int_equal(first.len, 511);
	assert_string_equal(first.text + 511 - 5, "x...\n");
	forget(&first);
	printk("%s", text);
	assert_string_equal(first.text + 511 - 4, "x...");
	forget(&first);
	printk("%.512s", text);
	assert_int_equal(first.len, 511);
	assert_string_equal(first.text + 511 - 4, "x...");
	forget(&first);
	printk("%.511s", text);
	assert_int_equal(first.len, 511);
	assert_string_equal(first.text + 511 - 4, "xxxx");
}

static void log_keeps_the_newest(void **state)
{
	static char log[2 * LOG_BYTES];
	char small[8];
	size_t n;

	(void)state;
	for (int i = 0; i < 3000; i++)
		printk("line %d\n", i);
	n = printk_log(log, sizeof(log));
	assert_int_equal(n, LOG_BYTES);
	assert_string_equal(log + n - 20, "line 2998\nline 2999\n");
	assert_int_equal(printk_log(small, sizeof(small)), 7);
	assert_string_equal(small, "e 2999\n");
	assert_int_equal(printk_log(small, 0), 0);

	console_add_sink(&second.sink);
	assert_int_equal(second.len, LOG_BYTES);
	assert_memory_equal(second.text, log, LOG_BYTES);
}

static void raw_text_is_not_logged(void **state)
{
	char log[16];

	(void)state;
	console_write("secret", 6);
	printk_log(log, sizeof(log));
	assert_null(strstr(log, "secret"));
}

static void edit_line_stays_below_output(void **state)
{
	(void)state;
	grid_init(&screen, 40, 6);
	console_add_sink(&screen.sink);
	grid_text(&screen, "\33[2J\33[H");

	console_edit("neap> vm lxst", 13, 10);
	printk("linux| booting\n");
	grid_row_is(&screen, 0, "linux| booting");
	grid_row_is(&screen, 1, "neap> vm lxst");
	assert_int_equal(screen.term.col, 10);
	console_edit("neap> vm list", 13, 11);
	grid_row_is(&screen, 1, "neap> vm list");
	assert_int_equal(screen.term.col, 11);

	console_write("no newline", 10);
	grid_row_is(&screen, 1, "no newline");
	grid_row_is(&screen, 2, "neap> vm list");
	assert_int_equal(screen.term.col, 11);

	console_edit("neap> ", 6, 6);
	grid_row_is(&screen, 2, "neap>");
	console_edit_end();
	printk("next\n");
	grid_row_is(&screen, 2, "neap>");
	grid_row_is(&screen, 3, "next");
}

static void edit_sends_only_what_changed(void **state)
{
	(void)state;
	console_edit("neap> a", 7, 7);
	forget(&first);
	console_edit("neap> ab", 8, 8);
	assert_string_equal(first.text, "b");
	forget(&first);
	console_edit("neap> ab", 8, 7);
	assert_string_equal(first.text, "\33[1D");
	console_edit_end();
}

static void random_edits_show_the_line(void **state)
{
	struct rng r = rng_seeded(3);
	char line[40], want[40];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		size_t len = rng_below(&r, 30), cursor = rng_below(&r, len + 1);

		forget(&first);
		forget(&second);
		for (size_t n = 0; n < len; n++)
			line[n] = "ab"[rng_below(&r, 2)];
		console_edit(line, len, cursor);
		if (rng_percent(&r, 30))
			printk("guest\n");
		memcpy(want, line, len);
		want[len] = '\0';
		grid_row_is(&screen, screen.term.row, want);
		assert_int_equal(screen.term.col, cursor);
	}
	console_edit_end();
}

static void panel(const char *text)
{
	console_panel(text, strlen(text));
}

static void panel_stands_above_the_edit_line(void **state)
{
	(void)state;
	grid_text(&screen, "\33[2J\33[H");
	panel("unseen: nobody types\n");
	grid_row_is(&screen, 0, "");
	console_edit("neap> vm", 8, 6);
	panel("guest  10\nfree   20\n");
	panel("guest  11\nfree   9\n");
	grid_row_is(&screen, 0, "guest  11");
	grid_row_is(&screen, 1, "free   9");
	grid_row_is(&screen, 2, "neap> vm");
	assert_int_equal(screen.term.col, 6);

	printk("linux| booting\n");
	grid_row_is(&screen, 0, "linux| booting");
	grid_row_is(&screen, 1, "guest  11");
	grid_row_is(&screen, 2, "free   9");
	grid_row_is(&screen, 3, "neap> vm");
	grid_row_is(&screen, 4, "");
	assert_int_equal(screen.term.col, 6);
	panel("guest  12\nfree   9\nswap   1\n");
	grid_row_is(&screen, 1, "guest  12");
	grid_row_is(&screen, 3, "swap   1");
	grid_row_is(&screen, 4, "neap> vm");
	panel("guest  13\n"); /* fewer lines */
	grid_row_is(&screen, 1, "guest  13");
	grid_row_is(&screen, 2, "neap> vm");
	grid_row_is(&screen, 3, "");

	console_edit("neap> vms", 9, 9);
	console_edit_end(); /* what was typed stays, the panel does not */
	printk("1 live\n");
	grid_row_is(&screen, 0, "linux| booting");
	grid_row_is(&screen, 1, "neap> vms");
	grid_row_is(&screen, 2, "1 live");
	console_edit("neap> ", 6, 6);
	panel("guest  14\n");
	panel("");
	grid_row_is(&screen, 3, "neap>");
	grid_row_is(&screen, 4, "");
	console_edit_end();
}

/* A slow line does not carry the panel again and again. */
static void panel_gives_way_to_much_output(void **state)
{
	(void)state;
	console_edit("neap> ", 6, 6);
	panel("guest  10\n");
	for (int i = 0; i < 100; i++) {
		forget(&first);
		printk("line\n");
	}
	assert_string_equal(first.text, "\r\33[Kline\nneap> ");
	grid_row_is(&screen, screen.term.row - 1, "line");
	panel("guest  11\n");
	grid_row_is(&screen, screen.term.row - 1, "guest  11");
	printk("line\n");
	grid_row_is(&screen, screen.term.row - 1, "guest  11");
	console_edit_end();
	console_edit("neap> ", 6, 6);
	printk("line\n"); /* nothing old comes back */
	grid_row_is(&screen, screen.term.row - 1, "line");
	console_edit_end();
}

static void panel_sends_only_what_changed(void **state)
{
	(void)state;
	console_edit("neap> vm", 8, 6);
	panel("guest  10\nfree   20\n");
	forget(&first);
	panel("guest  10\nfree   9\n");
	assert_string_equal(first.text, "\r\33[2A\n\33[7C9\33[K\nneap> vm\33[2D");
	console_edit_end();
}

/* Whatever is drawn and printed in whatever order: the last rows are the panel and the line. */
static void random_panels_scroll(void **state)
{
	struct rng r = rng_seeded(5);
	char text[40], row[16];

	(void)state;
	console_edit("neap> ", 6, 6);
	for (int i = 0; i < 5000; i++) {
		u64 lines = rng_below(&r, 5), n = rng_below(&r, 1000);

		forget(&first);
		forget(&second);
		text[0] = '\0';
		for (u64 k = 0; k < lines; k++)
			sprintf(text + strlen(text), "%u\n", (u32)(n + k));
		if (rng_percent(&r, 40))
			printk("guest\n");
		panel(text);
		for (u64 k = 0; k < lines; k++) {
			sprintf(row, "%u", (u32)(n + k));
			grid_row_is(&screen, screen.term.row - (u32)(lines - k), row);
		}
		grid_row_is(&screen, screen.term.row, "neap>");
		assert_int_equal(screen.term.col, 6);
	}
	console_edit_end();
}

static int next_key = KEY_NONE;

static int source_read(struct console_source *s)
{
	int key = next_key;

	(void)s;
	next_key = KEY_NONE;
	return key;
}

static int source_empty(struct console_source *s)
{
	(void)s;
	return KEY_NONE;
}

static void keys_come_from_any_source(void **state)
{
	static struct console_source silent = {.name = "silent", .read = source_empty};
	static struct console_source keys = {.name = "keys", .read = source_read};

	(void)state;
	assert_int_equal(console_read(), KEY_NONE);
	console_add_source(&silent);
	console_add_source(&keys);
	next_key = 'x';
	assert_int_equal(console_read(), 'x');
	assert_int_equal(console_read(), KEY_NONE);
}

/* Feed @bytes to a decoder; its keys, as text: one character each, arrows and the like as <n>. */
static void decodes(const char *bytes, const char *want)
{
	struct key_decoder d = {0};
	char got[100] = "";

	for (; *bytes; bytes++) {
		int key = key_decode(&d, (u8)*bytes);

		if (key >= KEY_UP)
			sprintf(got + strlen(got), "<%d>", key - KEY_UP);
		else if (key != KEY_NONE)
			sprintf(got + strlen(got), "%c", key);
	}
	assert_string_equal(got, want);
}

static void escape_sequences_are_keys(void **state)
{
	(void)state;
	decodes("a\33[A\33[B\33[C\33[Db", "a<0><1><3><2>b");
	decodes("\33[H\33[F\33OH\33OF\33[1~\33[4~\33[7~\33[8~", "<4><5><4><5><4><5><4><5>");
	decodes("\33[3~\33[5~\33[6~", "<6><7><8>");
	decodes("\33[1;5C\33[3;2~x", "<3><6>x");
	decodes("\33[15~\33[200~y\33[Zz", "yz");
	decodes("\33x\33\33[A", "x<0>");
	decodes("a\r\nb\nc\r\rd", "a\nb\nc\n\nd");
	decodes("\303\244q", "q");
	decodes("\33[11111111111111111111111q", "1111111q");
	decodes("\33[1\nx", "\nx");
}

/* The last: there is no way back from a panic. */
static void panic_takes_no_lock(void **state)
{
	(void)state;
	console_edit("neap> half", 10, 10);
	locked = 1; /* the panicking CPU, or a stopped one, holds it */
	console_panic();
	nr_locks = 0;
	printk("PANIC\n");
	assert_int_equal(nr_locks, 0);
	grid_row_is(&screen, screen.term.row - 1, "PANIC");
	grid_row_is(&screen, screen.term.row - 2, "neap> half");
	grid_row_is(&screen, screen.term.row, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(early_text_is_replayed),
		cmocka_unit_test(lines_come_in_one_piece_under_the_lock),
		cmocka_unit_test(long_lines_are_cut_visibly),
		cmocka_unit_test(log_keeps_the_newest),
		cmocka_unit_test(raw_text_is_not_logged),
		cmocka_unit_test(edit_line_stays_below_output),
		cmocka_unit_test(edit_sends_only_what_changed),
		cmocka_unit_test(random_edits_show_the_line),
		cmocka_unit_test(panel_stands_above_the_edit_line),
		cmocka_unit_test(panel_gives_way_to_much_output),
		cmocka_unit_test(panel_sends_only_what_changed),
		cmocka_unit_test(random_panels_scroll),
		cmocka_unit_test(keys_come_from_any_source),
		cmocka_unit_test(escape_sequences_are_keys),
		cmocka_unit_test(panic_takes_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
