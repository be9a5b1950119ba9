/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/cpu/symbols.c */
/* Addresses find the names of their functions, in a table as tools/mksyms.py would make it. */
#include "host.h"

#include "cpu/cpu_internal.h"

/* Functions at 0, 1, 300 and 300 + 128 * 128; tokens "memory_" and "_page". */
const u8 symbols_start[] = {
	4, 0,
	[2] = 7, 5,
	[130] = 'm', 'e', 'm', 'o', 'r', 'y', '_', '_', 'p', 'a', 'g', 'e',
	[142] = 0, 5, 128, 'i', 'n', 'i', 't',             /* memory_init */
	1, 1, 'x',                                         /* x */
	0xab, 0x02, 6, 'c', 'l', 'e', 'a', 'r', 129,       /* clear_page, 299 further on */
	0x80, 0x80, 0x01, 4, 128, 'm', 'a', 'p',           /* memory_map */
};
const u8 image_start[20000];

static void expect_name(u64 place, const char *name, u64 offset)
{
	u64 at = ~0ull;

	assert_string_equal(symbol_find((u64)image_start + place, &at), name);
	assert_int_equal(at, offset);
}

static void addresses_find_their_functions(void **state)
{
	(void)state;
	expect_name(0, "memory_init", 0);
	expect_name(1, "x", 0);
	expect_name(299, "x", 298);
	expect_name(300, "clear_page", 0);
	expect_name(300 + 16383, "clear_page", 16383);
	expect_name(300 + 16384, "memory_map", 0);
	expect_name(19999, "memory_map", 19999 - 300 - 16384);
}

static void what_lies_before_has_no_name(void **state)
{
	u64 at;

	(void)state;
	assert_null(symbol_find((u64)image_start - 1, &at));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_find_their_functions),
		cmocka_unit_test(what_lies_before_has_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
