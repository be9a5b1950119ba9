/* SPDX-License-Identifier: BSD-2-Clause */
/* Room in a guest's memory. A few dozen ranges at most: no order is kept, none is needed. */
#include "vmm/loader/place.h"

#include "lib/check.h"

void place_take(struct place *p, u64 start, u64 end)
{
	CHECK(p->nr < PLACE_MAX && start <= end, "range %u: %#lx to %#lx", p->nr, start, end);
	p->taken[p->nr].start = start;
	p->taken[p->nr++].end = end;
}

/* The end of a range that [at, at + bytes) meets, or 0. */
static u64 blocked_until(const struct place *p, u64 at, u64 bytes)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (at < p->taken[i].end && p->taken[i].start < at + bytes)
			return p->taken[i].end;
	return 0;
}

int place_find(const struct place *p, u64 bytes, u64 align, u64 min, u64 max, u64 *at)
{
	u64 candidate = min;
	u64 next;

	for (;;) {
		/* The last align - 1 bytes below 2^64 cannot be aligned up. */
		if (candidate > ~(align - 1))
			return -ENOSPC;
		candidate = (candidate + align - 1) & ~(align - 1);
		if (candidate > max || bytes > max - candidate)
			return -ENOSPC;
		next = blocked_until(p, candidate, bytes);
		if (next == 0)
			break;
		candidate = next; /* above the old one, so this ends */
	}
	*at = candidate;
	return 0;
}
