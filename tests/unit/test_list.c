/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: */
/* Lists keep their order and their links. */
#include "host.h"

#include "lib/list.h"

struct item {
	int value;
	struct list link;
};

/* check - the list holds @nr items with these values, forwards and backwards. */
static void check(struct list *head, const int *values, int nr)
{
	struct item *it;
	int i = 0;

	list_for_each(it, head, link) {
		assert_true(i < nr);
		assert_int_equal(it->value, values[i]);
		assert_ptr_equal(it->link.next->prev, &it->link);
		i++;
	}
	assert_int_equal(i, nr);
	for (struct list *l = head->prev; l != head; l = l->prev)
		assert_int_equal(list_entry(l, struct item, link)->value, values[--i]);
	assert_int_equal(i, 0);
	assert_int_equal(list_empty(head), nr == 0);
}

static void add_at_both_ends(void **state)
{
	struct list head = LIST_INIT(head);
	struct item a = {.value = 1}, b = {.value = 2}, c = {.value = 3};

	(void)state;
	check(&head, NULL, 0);
	list_add(&head, &a.link);
	list_add(&head, &b.link);
	list_add_tail(&head, &c.link);
	check(&head, (int[]){2, 1, 3}, 3);
	assert_ptr_equal(list_first(&head, struct item, link), &b);
}

static void delete_twice_is_harmless(void **state)
{
	struct list head = LIST_INIT(head);
	struct item a = {.value = 1}, b = {.value = 2};

	(void)state;
	list_add_tail(&head, &a.link);
	list_add_tail(&head, &b.link);
	list_del(&a.link);
	assert_true(list_empty(&a.link));
	list_del(&a.link);
	check(&head, (int[]){2}, 1);
	list_del(&b.link);
	check(&head, NULL, 0);
}

static void random_steps_match_an_array(void **state)
{
	struct rng rng = rng_seeded(1);
	struct list head = LIST_INIT(head);
	struct item items[16];
	int model[16], nr = 0;

	(void)state;
	for (int i = 0; i < 16; i++) {
		items[i].value = i;
		list_init(&items[i].link);
	}
	for (int step = 0; step < 5000; step++) {
		int which = (int)rng_below(&rng, 16), at = 0;
		while (at < nr && model[at] != which)
			at++;
		if (at < nr) {
			list_del(&items[which].link);
			memmove(model + at, model + at + 1, (--nr - at) * sizeof(*model));
		} else if (rng_percent(&rng, 50)) {
			list_add_tail(&head, &items[which].link);
			model[nr++] = which;
		} else {
			list_add(&head, &items[which].link);
			memmove(model + 1, model, nr++ * sizeof(*model));
			model[0] = which;
		}
		check(&head, model, nr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(add_at_both_ends),
		cmocka_unit_test(delete_twice_is_harmless),
		cmocka_unit_test(random_steps_match_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
