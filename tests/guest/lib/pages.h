/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages whose contents tell which page they are, and which version of it.
 *
 * A page's words are a sequence that seed, address and version begin, one multiplication a word: all
 * words of a page differ, and any two pages, or versions of one, differ in every word. So a page that
 * comes back in another's place, an older version of it, and a single changed bit are all found.
 *
 * Which pages: all RAM above the image, less what the loader left there, or the first `mem=SIZE` of
 * that. They are known by index, from 0. */
#pragma once

#include "types.h"

/* Totals, of all CPUs. pages_mismatches counts words. */
extern u64 pages_written, pages_verified, pages_mismatches;

/* pages_init - find the pages, beside what ram_alloc() gave until now; reads seed= and mem=. Returns
 * how many; ends the guest if there are fewer than @least. */
u64 pages_init(u64 least);
/* page_at - the address of page @index. */
u64 page_at(u64 index);
/* pages_longest - the longest run of pages that follow one another: the first's index, and *@nr. */
u64 pages_longest(u64 *nr);

void page_write(u64 index, u32 version);
/* page_verify - does it hold @version? If not it says so, the first few times. */
bool page_verify(u64 index, u32 version);
/* page_is - the same without a word; nothing is counted. */
bool page_is(u64 index, u32 version);

/* pages_shuffle - the @i-th of a repeatable course through 0 ... @nr - 1, each once; @which chooses
 * the course. i runs below pages_shuffle_end(nr); what comes out at or above @nr is to be left out. */
u64 pages_shuffle(u64 i, u64 nr, u64 which);
u64 pages_shuffle_end(u64 nr);

/* pages_mix - a number of chance made of the seed, @a and @b. */
u64 pages_mix(u64 a, u64 b);

/* pages_summary - the line `NAME: N pages written, M verified, mismatches=K`; the code for
 * guest_exit(). */
int pages_summary(void);
