/* SPDX-License-Identifier: BSD-2-Clause */
/* The host side of unit tests: what kernel code finds around itself in the kernel. A test includes
 * this first (system headers do not bear compiler.h's macros before them), then the headers of
 * what it tests, and names the sources that it links near its top:
 *
 *	sources: kernel/lib/kv.c kernel/lib/string.c       (as one C comment)
 *
 * memcpy and the like are the C library's (with the sanitizers' eyes); lib/string.c is built with
 * those names changed to kernel_memcpy and so on, see unit.mk. */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/check.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "lib/pt_walk.h"
#include "lib/types.h"

/* host_reset - forget what an earlier test left: log, errors, pages in use, failures ordered. For
 * cmocka_unit_test_setup. */
int host_reset(void **state);

/* ---- the log -------------------------------------------------------------------------------- */

/* What printk wrote since the last clear; the newest 64 KiB of it. */
bool host_log_contains(const char *text);
const char *host_log(void);
void host_log_clear(void);

/* ---- panics --------------------------------------------------------------------------------- */

/* expect_panic - run @fn(@ctx), which must panic with @text in the message. fn is left by longjmp:
 * what it held stays held. An unexpected panic fails the test; in another thread it ends the
 * program. */
void expect_panic(const char *text, void (*fn)(void *ctx), void *ctx);

/* host_panics_are_told - from now on a panic writes its message to @report and ends the process. => a
 * process that a test has made for the purpose */
void host_panics_are_told(char *report, size_t bytes);

/* The last error that went through trace() in this thread, and how many did. */
int host_last_error(void);
unsigned int host_nr_errors(void);

/* ---- chance --------------------------------------------------------------------------------- */

/* Random steps are repeatable: the seed is in the environment's SEED, else @fallback, and is shown
 * when the program fails. The generator is xorshift64*. */
struct rng {
	u64 state;
};

struct rng rng_seeded(u64 fallback);
u64 rng_next(struct rng *r);

/* rng_below - evenly from [0, n). */
static inline u64 rng_below(struct rng *r, u64 n)
{
	return rng_next(r) % n;
}

/* rng_percent - true in @p of 100 cases. */
static inline bool rng_percent(struct rng *r, unsigned int p)
{
	return rng_below(r, 100) < p;
}

/* ---- physical memory ------------------------------------------------------------------------ */

/* An arena of the host's memory that plays physical memory: the byte at physical address p is at
 * p + host_virt_offset(). Page 0 does not exist. Free pages are poisoned for the sanitizer. */
#define HOST_MEM_START MIB(1)
#define HOST_MEM_BYTES MIB(256)

u64 host_virt_offset(void);
void *host_virt(u64 phys);

/* host_page_get - a zeroed page, or 0: by an injected failure or when the arena is full.
 * => any thread */
u64 host_page_get(void);
/* host_page_put - give it back; of a page that is not in use: panic. */
void host_page_put(u64 phys);

/* The same as a source of table pages. */
extern struct pt_pages host_pages;

/* host_run_get - @nr pages in one piece for a test that manages them itself; never fails by
 * injection. Given back by host_run_put. */
u64 host_run_get(size_t nr);
void host_run_put(u64 phys, size_t nr);

/* Pages in use now: 0 at a test's end, or it leaked. */
size_t host_pages_in_use(void);

/* host_fail_every - from now on every @k-th host_page_get fails; 0: none. Forgets host_fail_nth. */
void host_fail_every(unsigned int k);
/* host_fail_nth - only the @n-th from now on fails (1: the next); 0: none. */
void host_fail_nth(unsigned int n);
/* host_should_fail - the same counter, for allocators that a test brings along. */
bool host_should_fail(void);
