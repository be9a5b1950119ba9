/* SPDX-License-Identifier: BSD-2-Clause */
/* Tab in the shell: the first word is a command, the others are what the command's ->complete
 * offers. One that fits is inserted, with a space behind; of several their common beginning, or,
 * when there is nothing in common to insert, they are listed. */
#include "lib/console.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "monitor/shell.h"

struct candidates {
	const struct shell_command *command; /* NULL: the candidates are the commands */
	int arg;
};

static const char *candidate_nth(const struct candidates *c, unsigned int nth)
{
	const struct shell_command *command;

	if (c->command)
		return c->command->complete ? c->command->complete(c->arg, nth) : NULL;
	command = shell_command_nth(nth);
	return command ? command->name : NULL;
}

/* Find where the word that ends at @len begins, and what may stand there. */
static size_t locate(const char *line, size_t len, struct candidates *c, bool *possible)
{
	size_t at = 0, start, first_len = 0, first = 0;
	int word = -1;

	for (;;) {
		while (at < len && line[at] == ' ')
			at++;
		start = at;
		while (at < len && line[at] != ' ')
			at++;
		word++;
		if (word == 0) {
			first = start;
			first_len = at - start;
		}
		if (at == len)
			break;
	}
	c->arg = word;
	c->command = word ? shell_command_find(line + first, first_len) : NULL;
	*possible = !word || c->command;
	return start;
}

static size_t common_length(const char *a, const char *b, size_t max)
{
	size_t n = 0;

	while (n < max && a[n] && a[n] == b[n])
		n++;
	return n;
}

static void list_candidates(const struct candidates *c, const char *prefix, size_t len)
{
	const char *s;

	for (unsigned int n = 0; (s = candidate_nth(c, n)); n++)
		if (strncmp(s, prefix, len) == 0)
			printk("  %s\n", s);
}

bool shell_complete(const char *line, size_t len, char *out, size_t size)
{
	const char *s, *first = NULL, *prefix;
	size_t common = 0, typed;
	struct candidates c;
	unsigned int fits = 0;
	bool possible;

	prefix = line + locate(line, len, &c, &possible);
	typed = line + len - prefix;
	if (!possible)
		return false;
	for (unsigned int n = 0; (s = candidate_nth(&c, n)); n++) {
		if (strncmp(s, prefix, typed) != 0)
			continue;
		if (!fits++) {
			first = s;
			common = strlen(s);
		}
		common = common_length(first, s, common);
	}
	if (fits > 1 && common == typed) {
		list_candidates(&c, prefix, typed);
		return false;
	}
	/* Room for the common part beyond what was typed, a space, a NUL. */
	if (!fits || common - typed + 2 > size)
		return false;
	memcpy(out, first + typed, common - typed);
	str_copy(out + common - typed, fits == 1 ? " " : "", 2);
	return true;
}
