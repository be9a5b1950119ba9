/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/term.c */
/* The terminal model shows what the bytes say, and never leaves its grid, whatever they say. */
#include "host.h"

#include "grid.h"

static void text_wraps_only_when_more_comes(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 10, 3);
	grid_text(&g, "0123456789");
	assert_int_equal(g.term.row, 0);
	grid_text(&g, "\nab");
	grid_row_is(&g, 0, "0123456789");
	grid_row_is(&g, 1, "ab");
	grid_text(&g, "cdefghijK");
	grid_row_is(&g, 1, "abcdefghij");
	grid_row_is(&g, 2, "K");
}

static void last_row_scrolls(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 10, 3);
	grid_text(&g, "one\ntwo\nthree\nfour");
	grid_row_is(&g, 0, "two");
	grid_row_is(&g, 1, "three");
	grid_row_is(&g, 2, "four");
}

static void cursor_sequences(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 10, 3);
	grid_text(&g, "abcdef\33[3DX\33[1CY\rZ\b\bQ");
	grid_row_is(&g, 0, "QbcXeY");
	grid_text(&g, "\33[2;4Hhere\33[Htop\33[99;99H!");
	grid_row_is(&g, 0, "topXeY");
	grid_row_is(&g, 1, "   here");
	grid_row_is(&g, 2, "         !");
	grid_text(&g, "\33[2;1H\tT\33[Au\33[Bd");
	grid_row_is(&g, 1, "   here Td");
	assert_int_equal(grid_at(&g, 9, 0), 'u');
}

static void erasing(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 6, 3);
	grid_text(&g, "aaaaaa\r\nbbbbbb\r\ncccccc\33[2;3H\33[K");
	grid_row_is(&g, 1, "bb");
	grid_text(&g, "\33[1K");
	grid_row_is(&g, 1, "");
	grid_row_is(&g, 0, "aaaaaa");
	grid_text(&g, "\33[J");
	grid_row_is(&g, 2, "");
	grid_row_is(&g, 0, "aaaaaa");
	grid_text(&g, "\33[2J");
	grid_row_is(&g, 0, "");
}

static void colours(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 20, 2);
	grid_text(&g, "a\33[1;31mb\33[44mc\33[7md\33[0me\33[97;101mf");
	assert_int_equal(grid_attr(&g, 0, 0), TERM_ATTR_DEFAULT);
	assert_int_equal(grid_attr(&g, 1, 0), 0x09);
	assert_int_equal(grid_attr(&g, 2, 0), 0x49);
	assert_int_equal(grid_attr(&g, 3, 0), 0x94);
	assert_int_equal(grid_attr(&g, 4, 0), TERM_ATTR_DEFAULT);
	assert_int_equal(grid_attr(&g, 5, 0), 0x9f);
}

static void unknown_things_show_nothing(void **state)
{
	struct grid g;

	(void)state;
	grid_init(&g, 20, 2);
	grid_text(&g, "a\33[?25lb\33[5nc\33(d\a\1e");
	grid_row_is(&g, 0, "abcd\1e");
	grid_text(&g, "\33[1\nx");
	grid_row_is(&g, 1, "x");
	grid_text(&g, "\33[0;0;0;0;0;0;0;0;41m\33[m");
	grid_row_is(&g, 0, "abcd\1e");
	grid_text(&g, "\r\303\244z");
	grid_row_is(&g, 1, "\177z");
}

static void random_bytes_stay_inside(void **state)
{
	struct rng r = rng_seeded(1);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		static const char likely_bytes[] = "\33[0123456789;;HJKmABCD\n\r\b\t?xy";
		struct grid g;
		char text[200];

		grid_init(&g, 1 + rng_below(&r, 12), 1 + rng_below(&r, 5));
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = rng_percent(&r, 80) ?
				likely_bytes[rng_below(&r, sizeof(likely_bytes))] :
				(char)rng_next(&r);
		term_write(&g.term, text, sizeof(text)); /* the grid asserts */
		assert_true(g.term.col < g.term.cols && g.term.row < g.term.rows);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_wraps_only_when_more_comes),
		cmocka_unit_test(last_row_scrolls),
		cmocka_unit_test(cursor_sequences),
		cmocka_unit_test(erasing),
		cmocka_unit_test(colours),
		cmocka_unit_test(unknown_things_show_nothing),
		cmocka_unit_test(random_bytes_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
