/* SPDX-License-Identifier: BSD-2-Clause */
#include "cpu/range.h"

static void delete_at(struct range_set *s, u32 at, u32 count)
{
	s->nr -= count;
	for (u32 i = at; i < s->nr; i++)
		s->r[i] = s->r[i + count];
}

static bool insert_at(struct range_set *s, u32 at, u64 start, u64 end)
{
	if (s->nr == RANGE_SET_MAX)
		return false;
	for (u32 i = s->nr; i > at; i--)
		s->r[i] = s->r[i - 1];
	s->r[at] = (struct range){start, end};
	s->nr++;
	return true;
}

bool range_add(struct range_set *s, u64 start, u64 end)
{
	u32 first = 0, last;

	if (start >= end)
		return true;
	/* [first, last) are those that touch the new one. */
	while (first < s->nr && s->r[first].end < start)
		first++;
	for (last = first; last < s->nr && s->r[last].start <= end; last++)
		;
	if (first == last)
		return insert_at(s, first, start, end);
	s->r[first].start = MIN(s->r[first].start, start);
	s->r[first].end = MAX(s->r[last - 1].end, end);
	delete_at(s, first + 1, last - first - 1);
	return true;
}

void range_remove(struct range_set *s, u64 start, u64 end)
{
	u32 i = 0;

	if (start >= end)
		return;
	while (i < s->nr) {
		struct range *r = &s->r[i];

		if (r->end <= start || r->start >= end) {
			i++;
		} else if (r->start >= start && r->end <= end) {
			delete_at(s, i, 1);
		} else if (r->start < start) {
			u64 old_end = r->end;

			r->end = start;
			if (old_end > end)
				insert_at(s, i + 1, end, old_end);
			i++;
		} else {
			r->start = end;
			i++;
		}
	}
}

u64 range_bytes(const struct range_set *s)
{
	u64 sum = 0;

	for (u32 i = 0; i < s->nr; i++)
		sum += s->r[i].end - s->r[i].start;
	return sum;
}
