/* SPDX-License-Identifier: BSD-2-Clause */
/* Mutants and race points, in debug builds.
 *
 * A race point that is armed is described by fields that several CPUs may look at while one arms
 * the next. `state` makes that safe: it counts generations, and who wants to count down or claim
 * must swap the very state that stood there before it read the fields.
 *
 *	state:  | generation 32 | arrivals to let pass, or NOT_ARMED 32 | */
#include "lib/atomic.h"
#include "lib/mutant.h"
#include "lib/string.h"

#define NOT_ARMED      0xffffffffu
#define ONE_GENERATION (1ull << 32)

static char selected[64];

void mutant_select(const char *name)
{
	/* A name that does not fit is none of ours: cut, it might look like one. */
	if (!name || !str_copy(selected, name, sizeof(selected)))
		selected[0] = '\0';
}

bool mutant_is(const char *name)
{
	return unlikely(selected[0]) && strcmp(selected, name) == 0;
}

static struct {
	u64 state;
	const char *name;
	void (*hook)(void *ctx);
	void *ctx;
} race = {.state = NOT_ARMED};

void race_arm(const char *name, unsigned int skip, void (*hook)(void *ctx), void *ctx)
{
	u64 generation = (atomic_load(&race.state) & ~(u64)NOT_ARMED) + ONE_GENERATION;

	/* From here on nobody claims; then the fields may change. */
	atomic_xchg(&race.state, generation | NOT_ARMED);
	if (!name || !hook)
		return;
	atomic_store_relaxed(&race.name, name);
	atomic_store_relaxed(&race.hook, hook);
	atomic_store_relaxed(&race.ctx, ctx);
	atomic_store(&race.state, generation | MIN(skip, NOT_ARMED - 1));
}

void race_hit(const char *name)
{
	u64 state = atomic_load(&race.state);

	while (unlikely((u32)state != NOT_ARMED)) {
		void (*hook)(void *) = atomic_load_relaxed(&race.hook);
		void *ctx = atomic_load_relaxed(&race.ctx);
		bool last = (u32)state == 0;

		if (strcmp(atomic_load_relaxed(&race.name), name) != 0)
			return;
		/* A failed swap reloads @state: another CPU arrived, or a point was armed. */
		if (!atomic_cas(&race.state, &state, last ? state | NOT_ARMED : state - 1))
			continue;
		if (last)
			hook(ctx);
		return;
	}
}
