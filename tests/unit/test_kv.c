/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/kv.c kernel/lib/errno.c kernel/lib/string.c */
/* Command lines fall apart into the right words, and numbers into the right values. */
#include "host.h"

#include "lib/kv.h"

static void next(const char **cursor, const char *key, const char *value)
{
	struct kv kv;

	assert_true(kv_next(cursor, &kv));
	assert_true(kv_key_is(&kv, key));
	if (value)
		assert_true(kv_value_is(&kv, value));
	else
		assert_null(kv.value);
}

static void words_in_order(void **state)
{
	const char *cursor = "  vm=a mem=64M\tdebug x= =y a=b=c  ";
	struct kv kv;

	(void)state;
	next(&cursor, "vm", "a");
	next(&cursor, "mem", "64M");
	next(&cursor, "debug", NULL);
	next(&cursor, "x", "");
	next(&cursor, "", "y");
	next(&cursor, "a", "b=c");
	assert_false(kv_next(&cursor, &kv));
	assert_string_equal(cursor, "");
	assert_false(kv_next(&cursor, &kv));
}

static void rest_behind_two_dashes(void **state)
{
	const char *cursor = "vm=a --  console=ttyS0 -- init=/x";
	const char *bare = "a --", *glued = "--x --=1 -- ";
	struct kv kv;

	(void)state;
	next(&cursor, "vm", "a");
	assert_false(kv_next(&cursor, &kv));
	assert_string_equal(cursor, " console=ttyS0 -- init=/x");

	next(&bare, "a", NULL);
	assert_false(kv_next(&bare, &kv));
	assert_string_equal(bare, "");

	next(&glued, "--x", NULL);
	next(&glued, "--", "1");
	assert_false(kv_next(&glued, &kv));
	assert_string_equal(glued, "");
}

static void keys_match_whole(void **state)
{
	const char *cursor = "mem=64";
	struct kv kv;

	(void)state;
	assert_true(kv_next(&cursor, &kv));
	assert_false(kv_key_is(&kv, "me"));
	assert_false(kv_key_is(&kv, "memo"));
	assert_false(kv_value_is(&kv, "6"));
	assert_false(kv_value_is(&kv, "640"));
}

static int size_of(const char *value, u64 *bytes)
{
	struct kv kv = {.key = "k", .key_len = 1, .value = value, .value_len = strlen(value)};

	return kv_size(&kv, bytes);
}

static int uint_of(const char *value, u64 max, u64 *out)
{
	struct kv kv = {.key = "k", .key_len = 1, .value = value, .value_len = strlen(value)};

	return kv_uint(&kv, max, out);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int err;
		u64 bytes;
	} cases[] = {
		{"0", 0, 0},
		{"4096", 0, 4096},
		{"64K", 0, 64 << 10},
		{"64M", 0, 64 << 20},
		{"3G", 0, 3ull << 30},
		{"1m", 0, 1 << 20},
		{"0x1000", 0, 4096},
		{"0x10K", 0, 16 << 10},
		{"9223372036854775808", 0, 1ull << 63},
		{"9223372036854775809", -ERANGE, 0},
		{"18446744073709551616", -ERANGE, 0},
		{"8589934592G", 0, 1ull << 63},
		{"8589934593G", -ERANGE, 0},
		{"99999999999999999999999999", -ERANGE, 0},
		{"99999999999999999999999999x", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"M", -EINVAL, 0},
		{"0x", -EINVAL, 0},
		{"0xM", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"1MM", -EINVAL, 0},
		{"1T", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"12a", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 bytes = 0;
		int err = size_of(cases[i].text, &bytes);
		if (err != cases[i].err || bytes != cases[i].bytes)
			fail_msg("\"%s\": %d, %lu", cases[i].text, err, bytes);
	}
}

static void numbers(void **state)
{
	struct kv bare = {.key = "k", .key_len = 1};
	u64 n = 7;

	(void)state;
	assert_int_equal(uint_of("0", 0, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(uint_of("16", 16, &n), 0);
	assert_int_equal(n, 16);
	assert_int_equal(uint_of("17", 16, &n), -ERANGE);
	assert_int_equal(n, 16); /* untouched */
	assert_int_equal(uint_of("0xfF", 255, &n), 0);
	assert_int_equal(n, 255);
	assert_int_equal(uint_of("18446744073709551615", ~0ull, &n), 0);
	assert_true(n == ~0ull);
	assert_int_equal(uint_of("0x1ffffffffffffffff", ~0ull, &n), -ERANGE);
	assert_int_equal(uint_of("1K", ~0ull, &n), -EINVAL);
	assert_int_equal(kv_uint(&bare, 1, &n), -EINVAL);
	assert_int_equal(kv_size(&bare, &n), -EINVAL);
}

/* Text that ends anywhere, in a block of exactly its size: a byte read past it is seen. */
static void random_text_stays_in_bounds(void **state)
{
	static const char alphabet[] = "a=0x9KMG- \t,\"";
	struct rng rng = rng_seeded(1);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t len = rng_below(&rng, 24), consumed = 0;
		char *text = malloc(len + 1);
		const char *cursor = text;
		struct kv kv;
		u64 n;

		for (size_t j = 0; j < len; j++)
			text[j] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
		text[len] = '\0';
		while (kv_next(&cursor, &kv)) {
			assert_ptr_equal(cursor, kv.value ? kv.value + kv.value_len :
							    kv.key + kv.key_len);
			consumed += kv.key_len + kv.value_len;
			if (kv_size(&kv, &n) == 0)
				assert_true(n <= 1ull << 63);
			if (kv_uint(&kv, 99, &n) == 0)
				assert_true(n <= 99);
		}
		assert_true(consumed <= len && cursor <= text + len);
		free(text);
	}
}

static void errno_names(void **state)
{
	(void)state;
	assert_string_equal(errno_name(-ENOMEM), "ENOMEM");
	assert_string_equal(errno_name(EINVAL), "EINVAL");
	assert_string_equal(errno_name(0), "OK");
	assert_string_equal(errno_name(-77777), "E?");
	assert_string_equal(errno_name(INT32_MIN), "E?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_in_order),
		cmocka_unit_test(rest_behind_two_dashes),
		cmocka_unit_test(keys_match_whole),
		cmocka_unit_test(sizes),
		cmocka_unit_test(numbers),
		cmocka_unit_test(random_text_stays_in_bounds),
		cmocka_unit_test(errno_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
