/* SPDX-License-Identifier: BSD-2-Clause */
/* Assertions. CHECK is always on and cheap: it stands where going on would corrupt a guest.
 * ASSERT exists in debug builds only and may be slow. Neither is ever used on guest input: a guest's
 * misbehaviour is answered by a fault or by stopping that guest. Both show values:
 *
 *	CHECK(page->mapcount == 0, "pfn %#lx freed with mapcount %u", pfn, page->mapcount);
 */
#pragma once

#include "lib/errno.h"
#include "lib/types.h"

/* panic - stop every CPU, show the message, registers and a symbolised backtrace; never returns.
 * => any context; takes no lock that a panicking CPU could hold */
noreturn_fn cold void panic(const char *fmt, ...) printf_like(1, 2);
noreturn_fn cold void panic_at(const char *file, int line, const char *cond, const char *fmt, ...)
	printf_like(4, 5);

#define CHECK(cond, ...) \
	do { \
		if (unlikely(!(cond))) \
			panic_at(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

/* NEAP_DEBUG is 0 or 1 on every compiler command line, so that debug code is always compiled and
 * type-checked, and dropped by the optimiser in release builds. */
#define ASSERT(cond, ...) \
	do { \
		if (NEAP_DEBUG && unlikely(!(cond))) \
			panic_at(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

/* trace - pass a fresh error on; in debug builds the last one of each CPU is remembered with its
 * place, and the boot option `trace-errors` prints them all. */
int trace_error(int err, const char *file, int line);
#define trace(err) (NEAP_DEBUG ? trace_error((err), __FILE__, __LINE__) : (err))
