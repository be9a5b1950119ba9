/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/crc32.c */
/* CRC-32 against the published check value, and piecewise. */
#include "host.h"

#include "lib/crc32.h"

static void known_values(void **state)
{
	(void)state;
	assert_int_equal(crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32(0, "", 0), 0);
	assert_int_equal(crc32(0, "a", 1), 0xe8b7be43);
}

static void pieces_make_the_whole(void **state)
{
	struct rng rng = rng_seeded(7);
	u8 data[333];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = rng_next(&rng);
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(crc32(crc32(0, data, cut), data + cut, sizeof(data) - cut),
				 crc32(0, data, sizeof(data)));
}

static void every_bit_counts(void **state)
{
	u8 data[64] = {0};
	u32 whole = crc32(0, data, sizeof(data));

	(void)state;
	for (size_t bit = 0; bit < sizeof(data) * 8; bit++) {
		data[bit / 8] ^= 1 << bit % 8;
		assert_int_not_equal(crc32(0, data, sizeof(data)), whole);
		data[bit / 8] ^= 1 << bit % 8;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(pieces_make_the_whole),
		cmocka_unit_test(every_bit_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
