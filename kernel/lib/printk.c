/* SPDX-License-Identifier: BSD-2-Clause */
/* printk: a line is formatted on the stack and handed to the console in one piece, so that lines of
 * several CPUs do not mix. What does not fit is cut, visibly. */
#include "lib/printk.h"

#include "lib/console.h"
#include "lib/format.h"
#include "lib/string.h"

#define LINE_BYTES 512

void vprintk(const char *fmt, va_list ap)
{
	char line[LINE_BYTES];
	size_t len = text_vformat(line, sizeof(line), fmt, ap);

	if (len >= sizeof(line)) {
		const char *mark = fmt[strlen(fmt) - 1] == '\n' ? "...\n" : "...";

		len = sizeof(line) - 1;
		memcpy(line + len - strlen(mark), mark, strlen(mark));
	}
	console_print(line, len);
}

void printk(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintk(fmt, ap);
	va_end(ap);
}

size_t printk_log(char *buf, size_t size)
{
	return console_log(buf, size);
}
