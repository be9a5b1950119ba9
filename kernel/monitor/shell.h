/* SPDX-License-Identifier: BSD-2-Clause */
/* The operator's shell: reads a line, finds the command, runs it. What commands there are, the
 * other files of monitor/ say. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define SHELL_MAX_ARGS 16

struct shell_command {
	const char *name;
	const char *args; /* for the help: "NAME [SIZE]"; "" if it takes none */
	const char *help; /* one line, begins small, no full stop */
	/* run - argv[0] is the name. => thread context, may sleep; argv is the shell's
	 * Return 0; -EINVAL: the usage line is shown; another errno: its name is shown. */
	int (*run)(int argc, char **argv);
	/* complete - the @nth word that may stand as argument @arg (1 is the first), NULL past the
	 * last. NULL: no completion. => may not sleep */
	const char *(*complete)(int arg, unsigned int nth);
};

/* shell_register - make @n commands known; the table lives for ever. => boot */
void shell_register(const struct shell_command *commands, size_t n);

/* shell_run - take keys and run commands until shell_stop.
 * @idle: called when no key is there; sleeps a little. => the monitor's thread */
void shell_run(void (*idle)(void));
/* shell_stop - shell_run returns after the command that now runs. => from a command */
void shell_stop(void);

/* shell_execute - run one line as if it had been typed; @line is cut up.
 * Return the command's result; -EINVAL if the line is not well formed; -ENOENT: no such command.
 * Each has told the operator why. */
int shell_execute(char *line);

/* shell_complete - what Tab does with @len bytes of @line before the cursor.
 * Return in @out, of @size bytes, what is to be inserted, and true; false: nothing fits, or several
 * do and they have been listed. => @out is terminated */
bool shell_complete(const char *line, size_t len, char *out, size_t size);

/* shell_command_nth - the commands in the order of registration, NULL past the last. */
const struct shell_command *shell_command_nth(size_t n);
const struct shell_command *shell_command_find(const char *name, size_t len);
