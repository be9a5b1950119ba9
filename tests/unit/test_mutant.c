/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/mutant.c kernel/lib/string.c */
/* One mutant at a time is on; a race point fires once, whoever and however many arrive. */
#include "host.h"

#include <sched.h>

#include "lib/atomic.h"
#include "lib/mutant.h"

static void one_mutant_is_on(void **state)
{
	char name[] = "no_seq_bump";
	char longest[100];

	(void)state;
	assert_false(mutant("no_seq_bump"));
	mutant_select(name);
	name[0] = 'x'; /* it keeps a copy */
	assert_true(mutant("no_seq_bump"));
	assert_false(mutant("no_seq"));
	assert_false(mutant(""));
	mutant_select("other");
	assert_false(mutant("no_seq_bump"));
	memset(longest, 'm', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	mutant_select(longest);
	longest[63] = '\0';
	assert_false(mutant(longest));
	mutant_select(NULL);
	assert_false(mutant("other"));
	assert_false(mutant(""));
}

static void count(void *ctx)
{
	atomic_add((int *)ctx, 1);
}

static void fires_once_after_skipped_arrivals(void **state)
{
	int fired = 0;

	(void)state;
	race_point("a");
	race_arm("a", 2, count, &fired);
	race_point("a");
	race_point("b");
	race_point("a");
	assert_int_equal(fired, 0);
	race_point("a");
	assert_int_equal(fired, 1);
	race_point("a");
	assert_int_equal(fired, 1);

	race_arm("a", 0, count, &fired);
	race_arm(NULL, 0, NULL, NULL);
	race_point("a");
	assert_int_equal(fired, 1);
}

static void rearm_b(void *ctx)
{
	race_arm("b", 0, count, ctx);
	race_point("a"); /* inside the hook: no longer armed */
}

static void hook_may_arm_the_next(void **state)
{
	int fired = 0;

	(void)state;
	race_arm("a", 0, rearm_b, &fired);
	race_point("a");
	assert_int_equal(fired, 0);
	race_point("b");
	assert_int_equal(fired, 1);
}

#define ROUNDS 5000

static int fired_a, fired_b, stop;

static void *arrive(void *arg)
{
	while (!atomic_load(&stop)) {
		for (int i = 0; i < 100; i++)
			race_hit(arg);
		sched_yield();
	}
	return NULL;
}

/* Points are armed in turn while threads arrive at both: each fires once, at its own point. */
static void once_among_many_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, arrive, i & 1 ? "a" : "b"), 0);
	for (int i = 0; i < ROUNDS; i++) {
		int *fired = i & 1 ? &fired_a : &fired_b;
		int before = atomic_load(fired);
		race_arm(i & 1 ? "a" : "b", i % 5, count, fired);
		/* Arrive as well, so that a loaded machine makes no difference. */
		while (atomic_load(fired) == before) {
			race_hit("a");
			race_hit("b");
		}
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(fired_a, ROUNDS / 2);
	assert_int_equal(fired_b, ROUNDS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_mutant_is_on),
		cmocka_unit_test(fires_once_after_skipped_arrivals),
		cmocka_unit_test(hook_may_arm_the_next),
		cmocka_unit_test(once_among_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
