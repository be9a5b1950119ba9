/* SPDX-License-Identifier: BSD-2-Clause */
/* Which parts of a guest's memory are taken, and where there is room for more. */
#pragma once

#include "lib/types.h"

#define PLACE_MAX 48

struct place {
	unsigned int nr;
	struct {
		u64 start, end;
	} taken[PLACE_MAX];
};

/* place_take - [@start, @end) is used from now on. => at most PLACE_MAX times */
void place_take(struct place *p, u64 start, u64 end);

/* place_find - the lowest free [*@at, *@at + @bytes) in [@min, @max), aligned to @align, a power of
 * two; takes nothing. Return 0; -ENOSPC if there is none. */
int must_check place_find(const struct place *p, u64 bytes, u64 align, u64 min, u64 max, u64 *at);
