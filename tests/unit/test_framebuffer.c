/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: drivers/framebuffer.c drivers/font.c kernel/lib/term.c */
/* The pixels always show what the terminal says, in every format, without a byte outside of the
 * screen; nonsense from the boot loader is refused. */
#include "host.h"

#include "drivers/font.h"
#include "drivers/framebuffer.h"

static const struct framebuffer_mode rgb32 = {.bpp = 32, .red_pos = 16, .red_bits = 8,
	.green_pos = 8, .green_bits = 8, .blue_pos = 0, .blue_bits = 8};
static const struct framebuffer_mode bgr24 = {.bpp = 24, .red_pos = 0, .red_bits = 8,
	.green_pos = 8, .green_bits = 8, .blue_pos = 16, .blue_bits = 8};
static const struct framebuffer_mode rgb16 = {.bpp = 16, .red_pos = 11, .red_bits = 5,
	.green_pos = 5, .green_bits = 6, .blue_pos = 0, .blue_bits = 5};
static const struct framebuffer_mode rgb15 = {.bpp = 15, .red_pos = 10, .red_bits = 5,
	.green_pos = 5, .green_bits = 5, .blue_pos = 0, .blue_bits = 5};
static const struct framebuffer_mode rgb30 = {.bpp = 32, .red_pos = 20, .red_bits = 10,
	.green_pos = 10, .green_bits = 10, .blue_pos = 0, .blue_bits = 10};

#define CELLS_BYTES 32768
#define PAD_BYTE    0xc3

struct screen {
	struct framebuffer fb;
	void *cells;
	u8 *video;
};

/* A screen whose rows have @pad bytes behind them; the allocator's red zones lie around. */
static int screen_make(struct screen *s, const struct framebuffer_mode *kind, u32 width, u32 height,
		       u32 pad, size_t cells_bytes)
{
	struct framebuffer_mode m = *kind;

	m.width = width;
	m.height = height;
	m.pitch = width * ((m.bpp + 7u) / 8) + pad;
	s->video = m.virt = malloc((size_t)m.pitch * height);
	memset(m.virt, PAD_BYTE, (size_t)m.pitch * height);
	s->cells = malloc(cells_bytes);
	memset(s->cells, 0xff, cells_bytes);
	return framebuffer_init(&s->fb, &m, s->cells, cells_bytes);
}

static void screen_free(struct screen *s)
{
	free(s->video);
	free(s->cells);
}

static void say(struct screen *s, const char *text)
{
	s->fb.sink.write(&s->fb.sink, text, strlen(text));
}

static u32 pixel(const struct screen *s, u32 x, u32 y)
{
	u32 v = 0;

	memcpy(&v, s->video + (size_t)y * s->fb.mode.pitch + x * s->fb.pixel_bytes,
	       s->fb.pixel_bytes);
	return v;
}

static void cell_is_drawn(const struct screen *s, u32 col, u32 row, u8 ch, u32 ink, u32 paper)
{
	const u8 *glyph = font_glyph(ch);
	u32 scale = s->fb.scale;

	for (u32 y = 0; y < FONT_HEIGHT * scale; y++)
		for (u32 x = 0; x < FONT_WIDTH * scale; x++) {
			bool bit = glyph[y / scale] & 0x80 >> x / scale;

			assert_int_equal(pixel(s, s->fb.left + col * FONT_WIDTH * scale + x,
					       s->fb.top + row * FONT_HEIGHT * scale + y),
					 bit ? ink : paper);
		}
}

/* Every cell on the screen is what the terminal says; the bytes behind the rows are untouched. */
static void screen_is_right(const struct screen *s)
{
	const struct term *t = &s->fb.term;
	const struct framebuffer_mode *m = &s->fb.mode;

	for (u32 row = 0; row < t->rows; row++)
		for (u32 col = 0; col < t->cols; col++) {
			struct framebuffer_cell c = s->fb.want[row * t->cols + col];
			u32 ink = s->fb.pixels[c.attr & 0xf], paper = s->fb.pixels[c.attr >> 4];

			if (col == t->col && row == t->row)
				cell_is_drawn(s, col, row, c.ch, paper, ink);
			else
				cell_is_drawn(s, col, row, c.ch, ink, paper);
		}
	for (u32 y = 0; y < m->height; y++)
		for (u32 x = m->width * s->fb.pixel_bytes; x < m->pitch; x++)
			assert_int_equal(s->video[(size_t)y * m->pitch + x], PAD_BYTE);
}

static void colours_follow_the_masks(void **state)
{
	static const struct {
		const struct framebuffer_mode *mode;
		u32 red, grey;
	} cases[] = {
		{&rgb32, 0xff5555, 0xaaaaaa},
		{&bgr24, 0x5555ff, 0xaaaaaa},
		{&rgb16, 31 << 11 | 21 << 5 | 10, 21 << 11 | 42 << 5 | 21},
		{&rgb15, 31 << 10 | 10 << 5 | 10, 21 << 10 | 21 << 5 | 21},
		{&rgb30, 1023 << 20 | 341 << 10 | 341, 682 << 20 | 682 << 10 | 682},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct screen s;

		assert_int_equal(screen_make(&s, cases[i].mode, 83, 50, 13, CELLS_BYTES), 0);
		assert_int_equal(s.fb.term.cols, 10);
		assert_int_equal(s.fb.term.rows, 3);
		say(&s, "Q\33[91mR");
		cell_is_drawn(&s, 0, 0, 'Q', cases[i].grey, 0);
		cell_is_drawn(&s, 1, 0, 'R', cases[i].red, 0);
		screen_is_right(&s);
		screen_free(&s);
	}
}

static void pixels_follow_the_terminal(void **state)
{
	struct rng r = rng_seeded(11);

	(void)state;
	for (int round = 0; round < 60; round++) {
		static const struct framebuffer_mode *const kinds[] = {&rgb32, &bgr24, &rgb16,
								       &rgb15};
		struct screen s;

		assert_int_equal(screen_make(&s, kinds[rng_below(&r, 4)], 8 + rng_below(&r, 100),
					     16 + rng_below(&r, 100), rng_below(&r, 9), 512), 0);
		for (int i = 0; i < 30; i++) {
			static const char bytes[] = "abcXYZ   \n\n\r\b\33[\33[JKHmC;1234";
			char text[40];
			size_t n = rng_below(&r, sizeof(text));

			for (size_t k = 0; k < n; k++)
				text[k] = bytes[rng_below(&r, sizeof(bytes) - 1)];
			s.fb.sink.write(&s.fb.sink, text, n);
			screen_is_right(&s);
		}
		screen_free(&s);
	}
}

static void unchanged_cells_are_not_drawn(void **state)
{
	struct screen s;

	(void)state;
	assert_int_equal(screen_make(&s, &rgb32, 80, 48, 0, CELLS_BYTES), 0);
	say(&s, "same\nsame\nsame");
	memset(s.video, 0x11, (size_t)s.fb.mode.pitch * 48);
	say(&s, "\nsame");
	/* Rows 0 and 1 look as before: nothing was drawn there. */
	for (u32 y = 0; y < 2 * FONT_HEIGHT; y++)
		for (u32 x = 0; x < 80; x++)
			assert_int_equal(pixel(&s, x, y), 0x11111111);
	screen_free(&s);
}

static void large_screens_have_large_letters(void **state)
{
	struct screen s;

	(void)state;
	assert_int_equal(screen_make(&s, &rgb32, 1920, 1080, 0, CELLS_BYTES), 0);
	assert_int_equal(s.fb.scale, 2);
	assert_int_equal(s.fb.term.cols, 120);
	assert_int_equal(s.fb.term.rows, 33);
	say(&s, "big\33[33;120H.");
	screen_is_right(&s);
	screen_free(&s);

	assert_int_equal(screen_make(&s, &rgb16, 1024, 768, 0, CELLS_BYTES), 0);
	assert_int_equal(s.fb.scale, 1);
	assert_int_equal(s.fb.term.cols, 128);
	assert_int_equal(s.fb.term.rows, 48);
	screen_free(&s);
}

static void small_memory_makes_fewer_rows(void **state)
{
	struct screen s;

	(void)state;
	assert_int_equal(screen_make(&s, &rgb32, 80, 160, 0, 4 * 10 * 3 + 39), 0);
	assert_int_equal(s.fb.term.rows, 3);
	say(&s, "a\nb\nc\nd\33[3;10H!");
	screen_is_right(&s);
	screen_free(&s);
	assert_int_equal(screen_make(&s, &rgb32, 80, 160, 0, 39), -ENOMEM);
	screen_free(&s);
}

static void nonsense_is_refused(void **state)
{
	static u8 video[64 * 64 * 4], cells[4096];
	struct framebuffer_mode good = rgb32, m;
	struct framebuffer fb;

	(void)state;
	good.virt = video;
	good.width = good.height = 64;
	good.pitch = 64 * 4;
	assert_int_equal(framebuffer_init(&fb, &good, cells, sizeof(cells)), 0);
#define REFUSED(field, value) \
	m = good, m.field = (value), \
	assert_int_equal(framebuffer_init(&fb, &m, cells, sizeof(cells)), -EINVAL)
	REFUSED(virt, NULL);
	REFUSED(bpp, 8);
	REFUSED(bpp, 0);
	REFUSED(bpp, 64);
	REFUSED(pitch, 255);
	REFUSED(width, 0);
	REFUSED(width, 7);
	REFUSED(width, UINT32_MAX);
	REFUSED(height, 15);
	REFUSED(height, UINT32_MAX);
	REFUSED(red_bits, 0);
	REFUSED(red_bits, 17);
	REFUSED(red_pos, 25);
	REFUSED(green_pos, 255);
	REFUSED(blue_bits, 33);
#undef REFUSED
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(colours_follow_the_masks),
		cmocka_unit_test(pixels_follow_the_terminal),
		cmocka_unit_test(unchanged_cells_are_not_drawn),
		cmocka_unit_test(large_screens_have_large_letters),
		cmocka_unit_test(small_memory_makes_fewer_rows),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
