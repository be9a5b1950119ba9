/* SPDX-License-Identifier: BSD-2-Clause */
/* Accounting of frames.
 *
 * A charge is one compare-and-swap a level, so a usage never exceeds its limit, not even for a
 * moment (a counter that is added to first and looked at afterwards refuses charges that would have
 * fitted). The maximum is brought up to date where usage falls: the highest usage ever is either
 * the present one or one that was left by a fall. Charging, which every fault does, needs not look
 * at it.
 *
 * The fall itself is the last touch of a counter: its mm may be waiting for just that, and go. */
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "mm/res_counter.h"

void res_counter_init(struct res_counter *c, struct res_counter *parent)
{
	*c = (struct res_counter){.limit = RES_UNLIMITED, .parent = parent};
}

static bool charge_one(struct res_counter *c, u64 pages)
{
	u64 usage = atomic_load_relaxed(&c->usage);

	do {
		/* The limit may have been lowered below the usage. */
		if (unlikely(usage + pages > atomic_load_relaxed(&c->limit)))
			return false;
	} while (!atomic_cas(&c->usage, &usage, usage + pages));
	return true;
}

int res_counter_charge(struct res_counter *c, u64 pages, struct res_counter **refused)
{
	for (struct res_counter *at = c; at; at = at->parent) {
		if (likely(charge_one(at, pages)))
			continue;
		atomic_add(&at->failcnt, 1);
		if (refused)
			*refused = at;
		for (struct res_counter *undo = c; undo != at; undo = undo->parent)
			atomic_sub(&undo->usage, pages);
		return trace(-ENOMEM);
	}
	return 0;
}

void res_counter_uncharge(struct res_counter *c, u64 pages)
{
	for (struct res_counter *parent; c; c = parent) {
		u64 usage = atomic_load_relaxed(&c->usage);

		parent = c->parent;
		do {
			u64 max = atomic_load_relaxed(&c->max);

			CHECK(usage >= pages, "%lu pages uncharged, but only %lu were charged", pages,
			      usage);
			while (usage > max && !atomic_cas(&c->max, &max, usage))
				;
		} while (!atomic_cas(&c->usage, &usage, usage - pages));
	}
}

u64 res_counter_max(const struct res_counter *c)
{
	return MAX(atomic_load_relaxed(&c->max), atomic_load_relaxed(&c->usage));
}
