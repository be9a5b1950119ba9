/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop and the table of commands. Nothing here draws: the line editor makes the picture, the
 * console shows it and keeps it below whatever guests print meanwhile (lib/console.c). */
#include "monitor/shell.h"

#include "lib/check.h"
#include "lib/console.h"
#include "lib/errno.h"
#include "lib/lineedit.h"
#include "lib/printk.h"
#include "lib/string.h"

#define MAX_TABLES  8
#define PROMPT      "neap> "
#define SCREEN_COLS 80
#define CLEAR       "\33[2J\33[H\r"

static struct {
	const struct shell_command *commands;
	size_t n;
} tables[MAX_TABLES];
static size_t nr_tables;
static bool stopping;

/* ---- the commands -------------------------------------------------------------------------- */

void shell_register(const struct shell_command *commands, size_t n)
{
	CHECK(nr_tables < MAX_TABLES, "more than %d tables of commands", MAX_TABLES);
	tables[nr_tables].commands = commands;
	tables[nr_tables++].n = n;
}

static void show_usage(const struct shell_command *c)
{
	printk("usage: %s%s%s\n", c->name, c->args[0] ? " " : "", c->args);
}

static int help_run(int argc, char **argv)
{
	const struct shell_command *c;

	if (argc > 2)
		return -EINVAL;
	if (argc == 2) {
		c = shell_command_find(argv[1], strlen(argv[1]));
		if (!c)
			return -ENOENT;
		show_usage(c);
		printk("  %s\n", c->help);
		return 0;
	}
	for (size_t n = 0; (c = shell_command_nth(n)); n++)
		printk("  %-8s %-24s %s\n", c->name, c->args, c->help);
	return 0;
}

static const char *help_complete(int arg, unsigned int nth)
{
	const struct shell_command *c = shell_command_nth(nth);

	return arg == 1 && c ? c->name : NULL;
}

static const struct shell_command help_command = {
	.name = "help",
	.args = "[COMMAND]",
	.help = "list the commands, or tell more of one",
	.run = help_run,
	.complete = help_complete,
};

const struct shell_command *shell_command_nth(size_t n)
{
	if (n == 0)
		return &help_command;
	n--;
	for (size_t i = 0; i < nr_tables; n -= tables[i++].n)
		if (n < tables[i].n)
			return &tables[i].commands[n];
	return NULL;
}

const struct shell_command *shell_command_find(const char *name, size_t len)
{
	const struct shell_command *c;

	for (size_t n = 0; (c = shell_command_nth(n)); n++)
		if (strlen(c->name) == len && strncmp(c->name, name, len) == 0)
			return c;
	return NULL;
}

/* ---- the nearest command ------------------------------------------------------------------- */

#define MAX_NAME 16
#define FAR      100

/* How many letters must be put in, taken out, changed or swapped with their neighbour to make @a
 * into @b (Damerau's distance, without edits between swapped letters); FAR for long names. */
static unsigned int distance(const char *a, const char *b)
{
	u8 d[MAX_NAME + 1][MAX_NAME + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > MAX_NAME || lb > MAX_NAME)
		return FAR;
	for (size_t i = 0; i <= la; i++)
		d[i][0] = (u8)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (u8)j;
	for (size_t i = 1; i <= la; i++)
		for (size_t j = 1; j <= lb; j++) {
			u8 best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			best = MIN(best, (u8)(d[i - 1][j] + 1));
			best = MIN(best, (u8)(d[i][j - 1] + 1));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = MIN(best, (u8)(d[i - 2][j - 2] + 1));
			d[i][j] = best;
		}
	return d[la][lb];
}

static void tell_unknown(const char *name)
{
	const struct shell_command *c;
	const char *nearest = NULL;
	unsigned int least = 3; /* further than two letters is no typing error */

	for (size_t n = 0; (c = shell_command_nth(n)); n++) {
		unsigned int far = distance(name, c->name);

		if (far < least && far < strlen(c->name)) {
			least = far;
			nearest = c->name;
		}
	}
	if (nearest)
		printk("%s: no such command; did you mean \"%s\"?\n", name, nearest);
	else
		printk("%s: no such command; try \"help\"\n", name);
}

/* ---- one line ------------------------------------------------------------------------------ */

/* Take the next word at *@at, moving its bytes together as quotes go. NULL at the end of the line;
 * *@unclosed: a quote is not closed. */
static char *next_word(char **at, bool *unclosed)
{
	char *from = *at, *word, *to, quote = 0;

	while (*from == ' ' || *from == '\t')
		from++;
	if (!*from)
		return NULL;
	word = to = from;
	for (; *from && (quote || (*from != ' ' && *from != '\t')); from++) {
		if (quote && *from == quote)
			quote = 0;
		else if (!quote && (*from == '"' || *from == '\''))
			quote = *from;
		else
			*to++ = *from;
	}
	*unclosed = quote != 0;
	*at = *from ? from + 1 : from;
	*to = '\0';
	return word;
}

/* Return the number of words in @argv, or -EINVAL with a line. */
static int split(char *line, char **argv)
{
	bool unclosed = false;
	int argc = 0;
	char *word;

	while ((word = next_word(&line, &unclosed))) {
		if (unclosed) {
			printk("a quote is not closed\n");
			return -EINVAL;
		}
		if (argc == SHELL_MAX_ARGS) {
			printk("more than %d words\n", SHELL_MAX_ARGS);
			return -EINVAL;
		}
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	return argc;
}

int shell_execute(char *line)
{
	const struct shell_command *c;
	char *argv[SHELL_MAX_ARGS + 1];
	int argc = split(line, argv), err;

	if (argc <= 0)
		return argc;
	c = shell_command_find(argv[0], strlen(argv[0]));
	if (!c) {
		tell_unknown(argv[0]);
		return -ENOENT;
	}
	err = c->run(argc, argv);
	if (err == -EINVAL)
		show_usage(c);
	else if (err < 0)
		printk("%s: %s\n", c->name, errno_name(-err));
	return err;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void line_show(struct lineedit *le unused, const char *text, size_t len, size_t cursor)
{
	console_edit(text, len, cursor);
}

static void line_clear(struct lineedit *le unused)
{
	console_write(CLEAR, strlen(CLEAR));
}

static void line_complete(struct lineedit *le)
{
	char more[LINEEDIT_BYTES];

	if (shell_complete(le->line, le->cursor, more, sizeof(more)))
		lineedit_insert(le, more, strlen(more));
}

static const struct lineedit_ops line_ops = {
	.show = line_show,
	.clear = line_clear,
	.complete = line_complete,
};

void shell_stop(void)
{
	stopping = true;
}

void shell_run(void (*idle)(void))
{
	static struct lineedit le;

	stopping = false;
	lineedit_init(&le, &line_ops, PROMPT, SCREEN_COLS);
	lineedit_start(&le);
	while (!stopping) {
		int key = console_read();

		if (key == KEY_NONE) {
			idle();
			continue;
		}
		switch (lineedit_key(&le, key)) {
		case LINEEDIT_MORE:
			continue;
		case LINEEDIT_DONE:
			console_edit_end();
			(void)shell_execute(le.line);
			break;
		case LINEEDIT_QUIT:
			console_edit_end();
			break;
		}
		if (!stopping)
			lineedit_start(&le);
	}
}
