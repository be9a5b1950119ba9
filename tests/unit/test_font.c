/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: drivers/font.c */
/* Every character has a glyph of its own that keeps the font's lines and does not touch its
 * neighbours. */
#include "host.h"

#include "drivers/font.h"
#include "lib/console.h"

#define BASELINE 11

static unsigned int ink(const u8 *glyph)
{
	unsigned int n = 0;

	for (int row = 0; row < FONT_HEIGHT; row++)
		n += __builtin_popcount(glyph[row]);
	return n;
}

static int first_row(const u8 *glyph)
{
	int row = 0;

	while (row < FONT_HEIGHT && !glyph[row])
		row++;
	return row;
}

static int last_row(const u8 *glyph)
{
	int row = FONT_HEIGHT - 1;

	while (row >= 0 && !glyph[row])
		row--;
	return row;
}

static void glyphs_differ(void **state)
{
	(void)state;
	for (int a = ' '; a < 127; a++)
		for (int b = a + 1; b < 128; b++)
			if (memcmp(font_glyph(a), font_glyph(b), FONT_HEIGHT) == 0)
				fail_msg("%c and %c look alike", a, b);
}

static void blocks_and_boxes(void **state)
{
	(void)state;
	assert_int_equal(ink(font_glyph(' ')), 0);
	assert_int_equal(ink(font_glyph(GLYPH_FULL)), FONT_WIDTH * FONT_HEIGHT);
	assert_in_range(ink(font_glyph(GLYPH_SHADE)), 8, FONT_WIDTH * FONT_HEIGHT / 2);
	assert_ptr_equal(font_glyph(0), font_glyph(127));
	assert_ptr_equal(font_glyph(255), font_glyph(127));
	assert_ptr_not_equal(font_glyph(126), font_glyph(127));
}

static void letters_keep_the_lines(void **state)
{
	(void)state;
	for (int c = 'A'; c <= 'Z'; c++) {
		assert_int_equal(first_row(font_glyph(c)), 2);
		assert_int_equal(last_row(font_glyph(c)), BASELINE);
	}
	for (int c = '0'; c <= '9'; c++) {
		assert_int_equal(first_row(font_glyph(c)), 2);
		assert_int_equal(last_row(font_glyph(c)), BASELINE);
	}
	for (const char *c = "acemnorsuvwxz"; *c; c++) {
		assert_int_equal(first_row(font_glyph(*c)), 5);
		assert_int_equal(last_row(font_glyph(*c)), BASELINE);
	}
	for (const char *c = "gjpqy"; *c; c++)
		assert_int_equal(last_row(font_glyph(*c)), BASELINE + 3);
}

static void neighbours_do_not_touch(void **state)
{
	(void)state;
	for (int c = '!'; c < 127; c++)
		for (int row = 0; row < FONT_HEIGHT; row++)
			if (font_glyph(c)[row] & 0x80)
				fail_msg("%c has ink in column 0, row %d", c, row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(glyphs_differ),
		cmocka_unit_test(blocks_and_boxes),
		cmocka_unit_test(letters_keep_the_lines),
		cmocka_unit_test(neighbours_do_not_touch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
