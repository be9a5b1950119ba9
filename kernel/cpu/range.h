/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of physical addresses as sorted, disjoint, half-open ranges: the boot-time arithmetic of
 * memory maps. Pure; tested on the host. */
#pragma once

#include "lib/types.h"

#define RANGE_SET_MAX 128

struct range {
	u64 start, end;
};

/* Invariant I1: r[i].start < r[i].end < r[i + 1].start. */
struct range_set {
	u32 nr;
	struct range r[RANGE_SET_MAX];
};

/* range_add - unite @s with [@start, @end). Nothing for an empty range.
 * Return false if there is no room: then @s is unchanged. */
bool range_add(struct range_set *s, u64 start, u64 end);

/* range_remove - take [@start, @end) out of @s. Where a range would have to be split and there is no
 * room, its upper part goes, too: memory is lost, never given out wrongly. */
void range_remove(struct range_set *s, u64 start, u64 end);

u64 range_bytes(const struct range_set *s);
