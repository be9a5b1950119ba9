/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/cpu/range.c */
/* Sets of ranges behave as sets of numbers, and stay sorted, disjoint and joined. */
#include "host.h"

#include "cpu/range.h"

#define MODEL_SIZE 600

static void expect_sound(const struct range_set *s)
{
	assert_true(s->nr <= RANGE_SET_MAX);
	for (u32 i = 0; i < s->nr; i++) {
		assert_true(s->r[i].start < s->r[i].end);
		assert_true(i == 0 || s->r[i - 1].end < s->r[i].start);
	}
}

static bool contains(const struct range_set *s, u64 v)
{
	for (u32 i = 0; i < s->nr; i++)
		if (v >= s->r[i].start && v < s->r[i].end)
			return true;
	return false;
}

static void neighbours_join(void **state)
{
	struct range_set s = {.nr = 0};

	(void)state;
	assert_true(range_add(&s, 30, 40));
	assert_true(range_add(&s, 10, 20));
	assert_true(range_add(&s, 50, 50));
	assert_int_equal(s.nr, 2);
	assert_true(range_add(&s, 20, 30));
	assert_int_equal(s.nr, 1);
	assert_int_equal(range_bytes(&s), 30);
	range_remove(&s, 15, 35);
	assert_int_equal(s.nr, 2);
	assert_int_equal(range_bytes(&s), 10);
	range_remove(&s, 0, ~0ull);
	assert_int_equal(s.nr, 0);
}

static void random_steps_agree_with_a_model(void **state)
{
	struct rng rng = rng_seeded(0x7a);
	struct range_set s = {.nr = 0};
	bool model[MODEL_SIZE] = {false};

	(void)state;
	for (u32 step = 0; step < 20000; step++) {
		u64 start = rng_below(&rng, MODEL_SIZE), end = start + rng_below(&rng, 8);
		bool add = rng_percent(&rng, 50);

		end = MIN(end, (u64)MODEL_SIZE);
		if (add && !range_add(&s, start, end))
			continue; /* no room */
		if (!add && s.nr == RANGE_SET_MAX)
			continue; /* may lose memory: the next test */
		if (!add)
			range_remove(&s, start, end);
		for (u64 v = start; v < end; v++)
			model[v] = add;
		expect_sound(&s);
		for (u64 v = 0; v < MODEL_SIZE; v++)
			assert_int_equal(contains(&s, v), model[v]);
	}
}

static void a_full_set_loses_but_never_invents(void **state)
{
	struct range_set s = {.nr = 0};

	(void)state;
	for (u64 i = 0; i < RANGE_SET_MAX; i++)
		assert_true(range_add(&s, i * 100, i * 100 + 50));
	assert_false(range_add(&s, 60, 70));
	assert_true(range_add(&s, 50, 60)); /* joins: needs no room */
	range_remove(&s, 220, 230);
	expect_sound(&s);
	assert_true(contains(&s, 219));
	assert_false(contains(&s, 225));
	assert_false(contains(&s, 240));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_join),
		cmocka_unit_test(random_steps_agree_with_a_model),
		cmocka_unit_test(a_full_set_loses_but_never_invents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
