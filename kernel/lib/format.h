/* SPDX-License-Identifier: BSD-2-Clause */
/* Text from values, without the C library: flags "-0#", width, precision, hh h l ll z, and
 * d u x c s p %. */
#pragma once

#include <stdarg.h>

#include "lib/types.h"

/* text_vformat - as C99 vsnprintf: at most @size bytes with the NUL; returns the full length. */
int text_vformat(char *buf, size_t size, const char *fmt, va_list ap);
int text_format(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);
