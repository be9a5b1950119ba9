/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/mm/res_counter.c */
/* Accounting: limits, hierarchy, the maximum, and many threads at once. */
#include "host.h"

#include "lib/atomic.h"
#include "mm/res_counter.h"

static void charge_counts_on_every_level(void **state)
{
	struct res_counter machine, vm;

	(void)state;
	res_counter_init(&machine, NULL);
	res_counter_init(&vm, &machine);
	assert_int_equal(res_counter_charge(&vm, 5, NULL), 0);
	assert_int_equal(res_counter_charge(&machine, 2, NULL), 0);
	assert_int_equal(vm.usage, 5);
	assert_int_equal(machine.usage, 7);
	res_counter_uncharge(&vm, 5);
	assert_int_equal(vm.usage, 0);
	assert_int_equal(machine.usage, 2);
}

static void refusal_undoes_the_lower_levels(void **state)
{
	struct res_counter machine, vm, *refused = NULL;

	(void)state;
	res_counter_init(&machine, NULL);
	res_counter_init(&vm, &machine);
	machine.limit = 10;
	vm.limit = 20;
	assert_int_equal(res_counter_charge(&vm, 10, NULL), 0);
	assert_int_equal(res_counter_charge(&vm, 1, &refused), -ENOMEM);
	assert_ptr_equal(refused, &machine);
	assert_int_equal(vm.usage, 10);
	assert_int_equal(machine.usage, 10);
	assert_int_equal(machine.failcnt, 1);
	assert_int_equal(vm.failcnt, 0);

	vm.limit = 10;
	assert_int_equal(res_counter_charge(&vm, 1, &refused), -ENOMEM);
	assert_ptr_equal(refused, &vm);
	assert_int_equal(vm.failcnt, 1);
}

static void limit_below_usage_refuses(void **state)
{
	struct res_counter c;

	(void)state;
	res_counter_init(&c, NULL);
	assert_int_equal(res_counter_charge(&c, 10, NULL), 0);
	c.limit = 3;
	assert_int_equal(res_counter_charge(&c, 1, NULL), -ENOMEM);
	res_counter_uncharge(&c, 8);
	assert_int_equal(res_counter_charge(&c, 1, NULL), 0);
}

static void maximum_is_the_highest_usage(void **state)
{
	struct res_counter c;

	(void)state;
	res_counter_init(&c, NULL);
	assert_int_equal(res_counter_charge(&c, 10, NULL), 0);
	assert_int_equal(res_counter_max(&c), 10);
	res_counter_uncharge(&c, 8);
	assert_int_equal(res_counter_charge(&c, 3, NULL), 0);
	assert_int_equal(res_counter_max(&c), 10);
	assert_int_equal(res_counter_charge(&c, 30, NULL), 0);
	assert_int_equal(res_counter_max(&c), 35);
}

static void uncharge_one(void *ctx)
{
	res_counter_uncharge(ctx, 1);
}

static void uncharging_too_much_panics(void **state)
{
	struct res_counter c;

	(void)state;
	res_counter_init(&c, NULL);
	expect_panic("1 pages uncharged, but only 0", uncharge_one, &c);
}

#define THREADS 4
#define ROUNDS  20000

static struct res_counter shared, own[THREADS];

static void *charge_often(void *arg)
{
	struct res_counter *c = arg;
	u64 passed = 0;

	for (int i = 0; i < ROUNDS; i++) {
		if (res_counter_charge(c, 3, NULL))
			continue;
		passed += atomic_load(&shared.usage) > shared.limit; /* never */
		res_counter_uncharge(c, 3);
	}
	return (void *)passed;
}

static void threads_never_pass_the_limit(void **state)
{
	pthread_t t[THREADS];
	u64 passed = 0;

	(void)state;
	res_counter_init(&shared, NULL);
	shared.limit = 7;
	for (int i = 0; i < THREADS; i++) {
		res_counter_init(&own[i], &shared);
		assert_int_equal(pthread_create(&t[i], NULL, charge_often, &own[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(t[i], &result);
		passed += (u64)result;
		assert_int_equal(own[i].usage, 0);
	}
	assert_int_equal(passed, 0);
	assert_int_equal(shared.usage, 0);
	assert_true(res_counter_max(&shared) <= 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charge_counts_on_every_level),
		cmocka_unit_test(refusal_undoes_the_lower_levels),
		cmocka_unit_test(limit_below_usage_refuses),
		cmocka_unit_test(maximum_is_the_highest_usage),
		cmocka_unit_test(uncharging_too_much_panics),
		cmocka_unit_test(threads_never_pass_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
