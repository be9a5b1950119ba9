/* SPDX-License-Identifier: BSD-2-Clause */
/* printk - a formatted line for the operator, to every console sink and to the log ring that
 * the monitor's `log` shows. Lines start with no prefix: SUMMARY and STAT lines are read by
 * scripts and begin in column 0. => any context */
#pragma once

#include <stdarg.h>

#include "lib/types.h"

void printk(const char *fmt, ...) printf_like(1, 2);
void vprintk(const char *fmt, va_list ap);

/* printk_log - copy up to @size - 1 bytes of the log ring's newest text to @buf, NUL-terminated;
 * returns their number. */
size_t printk_log(char *buf, size_t size);
