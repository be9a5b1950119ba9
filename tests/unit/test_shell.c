/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/lineedit.c kernel/lib/console.c kernel/lib/format.c kernel/lib/string.c
 * kernel/lib/term.c kernel/lib/errno.c */
/* A typed line reaches its command as words; what is not understood is answered in one line;
 * guests' output and typing do not disturb one another. */
#include "host.h"

#include "grid.h"

/* The real printk, so that what the shell says reaches the screen. */
#define printk     real_printk
#define vprintk    real_vprintk
#define printk_log real_printk_log
void printk(const char *fmt, ...) printf_like(1, 2);
void vprintk(const char *fmt, va_list ap);
size_t printk_log(char *buf, size_t size);
#include "kernel/lib/printk.c"
#include "kernel/monitor/complete.c"
#include "kernel/monitor/shell.c"

static struct grid screen;

/* ---- commands that remember --------------------------------------------------------------------
 */

static char ran[200];
static int result;

static int remember(int argc, char **argv)
{
	ran[0] = '\0';
	for (int i = 0; i < argc; i++)
		sprintf(ran + strlen(ran), "[%s]", argv[i]);
	assert_null(argv[argc]);
	return result;
}

static int quit(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	shell_stop();
	return 0;
}

static const char *vm_names(int arg, unsigned int nth)
{
	static const char *const names[] = {"linux", "linux-2", "lions"};

	return arg == 1 && nth < ARRAY_SIZE(names) ? names[nth] : NULL;
}

static const struct shell_command commands[] = {
	{.name = "vms", .args = "", .help = "list the guests", .run = remember},
	{.name = "vm", .args = "NAME [regs]", .help = "one guest", .run = remember,
	 .complete = vm_names},
};

static const struct shell_command more_commands[] = {
	{.name = "mem", .args = "", .help = "memory", .run = remember},
	{.name = "quit", .args = "", .help = "end", .run = quit},
};

static int execute(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "%s", text);
	ran[0] = '\0';
	grid_text(&screen, "\33[2J\33[H");
	return shell_execute(line);
}

static void words_and_quotes(void **state)
{
	(void)state;
	assert_int_equal(execute("  vm   a b "), 0);
	assert_string_equal(ran, "[vm][a][b]");
	assert_int_equal(execute("vm 'a b' \"c 'd'\" e\"f\"g ''"), 0);
	assert_string_equal(ran, "[vm][a b][c 'd'][efg][]");
	assert_int_equal(execute("\"vm\""), 0);
	assert_string_equal(ran, "[vm]");
	assert_int_equal(execute(""), 0);
	assert_int_equal(execute("   "), 0);
	assert_string_equal(ran, "");
	assert_int_equal(execute("vm 'a"), -EINVAL);
	grid_row_is(&screen, 0, "a quote is not closed");
	assert_int_equal(execute("vm 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"), 0);
	assert_int_equal(execute("vm 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"), -EINVAL);
	grid_row_is(&screen, 0, "more than 16 words");
}

static void unknown_commands_are_guessed(void **state)
{
	(void)state;
	assert_int_equal(execute("mme"), -ENOENT);
	grid_row_is(&screen, 0, "mme: no such command; did you mean \"mem\"?");
	execute("quitt now");
	grid_row_is(&screen, 0, "quitt: no such command; did you mean \"quit\"?");
	execute("xyzzy");
	grid_row_is(&screen, 0, "xyzzy: no such command; try \"help\"");
	execute("averyveryverylongwordindeed");
	grid_row_is(&screen, 0, "averyveryverylongwordindeed: no such command; try \"help\"");
	assert_string_equal(ran, "");
}

static void results_are_told(void **state)
{
	(void)state;
	result = -EINVAL;
	assert_int_equal(execute("vm"), -EINVAL);
	grid_row_is(&screen, 0, "usage: vm NAME [regs]");
	result = -ENOMEM;
	execute("vms");
	grid_row_is(&screen, 0, "vms: ENOMEM");
	result = 0;
}

static void help_lists_and_explains(void **state)
{
	(void)state;
	execute("help");
	grid_row_is(&screen, 0,
		    "  help     [COMMAND]                list the commands, or tell more of one");
	grid_row_is(&screen, 4, "  quit                              end");
	execute("help vm");
	grid_row_is(&screen, 0, "usage: vm NAME [regs]");
	grid_row_is(&screen, 1, "  one guest");
	assert_int_equal(execute("help nothing"), -ENOENT);
	assert_int_equal(execute("help a b"), -EINVAL);
}

static void completes(const char *line, const char *want)
{
	char out[32];

	grid_text(&screen, "\33[2J\33[H");
	if (want) {
		assert_true(shell_complete(line, strlen(line), out, sizeof(out)));
		assert_string_equal(out, want);
	} else {
		assert_false(shell_complete(line, strlen(line), out, sizeof(out)));
	}
}

static void completion(void **state)
{
	char tiny[4];

	(void)state;
	completes("q", "uit ");
	completes("  he", "lp ");
	completes("v", "m");
	completes("vm", NULL);
	grid_row_is(&screen, 0, "  vms");
	grid_row_is(&screen, 1, "  vm");
	completes("vms", " ");
	completes("z", NULL);
	completes("vm l", "i");
	completes("vm lin", "ux");
	completes("vm linux", NULL);
	grid_row_is(&screen, 1, "  linux-2");
	completes("vm linux-", "2 ");
	completes("vm lio", "ns ");
	completes("vm lions ", NULL);
	completes("vm lions l", NULL);
	completes("mem ", NULL);
	completes("nothing ", NULL);
	completes("help v", "m");
	assert_false(shell_complete("q", 1, tiny, sizeof(tiny)));
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static const char *script;
static int nr_idle;

static int script_read(struct console_source *s)
{
	(void)s;
	if (*script == '~') {
		script++;
		return KEY_NONE;
	}
	return (unsigned char)*script++;
}

/* While nobody types, a guest prints. */
static void idle(void)
{
	nr_idle++;
	printk("linux| line %d\n", nr_idle);
}

static void typed_lines_run(void **state)
{
	static struct console_source source = {.name = "script", .read = script_read};

	(void)state;
	console_add_source(&source);
	grid_text(&screen, "\33[2J\33[H");
	script = "vm li~o~\t --x\nmem\003 q\025quit\n";
	shell_run(idle);
	assert_int_equal(nr_idle, 2);
	assert_string_equal(ran, "[vm][lions][--x]");
	grid_row_is(&screen, 0, "linux| line 1");
	grid_row_is(&screen, 1, "linux| line 2");
	grid_row_is(&screen, 2, "neap> vm lions  --x");
	grid_row_is(&screen, 3, "neap> mem");
	grid_row_is(&screen, 4, "neap> quit");
	grid_row_is(&screen, 5, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_quotes),
		cmocka_unit_test(unknown_commands_are_guessed),
		cmocka_unit_test(results_are_told),
		cmocka_unit_test(help_lists_and_explains),
		cmocka_unit_test(completion),
		cmocka_unit_test(typed_lines_run),
	};

	grid_init(&screen, 100, 24);
	console_add_sink(&screen.sink);
	shell_register(commands, ARRAY_SIZE(commands));
	shell_register(more_commands, ARRAY_SIZE(more_commands));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
