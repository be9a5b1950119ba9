/* SPDX-License-Identifier: BSD-2-Clause */
/* Any page, used or not: what a policy is worth shows beside this one.
 *
 * Lists cannot be entered in the middle, so a step of chance goes round first: that many pages from
 * the old end to the new one. */
#include "mm/lru.h"
#include "mm/page.h"

#define STEPS 64

static u64 state = 0x9e3779b97f4a7c15ull; /* a race only adds chance */

static u32 chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 32;
}

static void random_add(struct lru *l, struct page *p, bool refaulted, u32 distance)
{
	policy_clock.add(l, p, refaulted, distance);
}

static void random_keep(struct lru *l, struct page *p, unused bool young)
{
	policy_clock.add(l, p, false, 0);
}

static struct page *random_next(struct lru *l)
{
	for (u32 steps = chance() % STEPS; steps; steps--) {
		struct page *p = policy_clock.next(l);

		if (!p)
			return NULL;
		policy_clock.add(l, p, false, 0);
	}
	return policy_clock.next(l);
}

const struct reclaim_policy policy_random = {
	.name = "random",
	.blind = true,
	.add = random_add,
	.next = random_next,
	.keep = random_keep,
};
