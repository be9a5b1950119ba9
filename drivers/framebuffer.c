/* SPDX-License-Identifier: BSD-2-Clause */
/* Text on pixels. Reading video memory is very slow, so the screen exists twice in ordinary memory:
 * `want` is what the terminal says, `shown` what the pixels say. The terminal changes only `want`;
 * at the end of each write the cells that differ are drawn. So ten lines that scroll by in one
 * write cost one redraw, and a scrolled screen costs only the cells that really changed.
 *
 * On large screens each pixel of the font becomes a square: the grid keeps at most 160 columns,
 * which is as much as one reads anyway, and its memory stays small. */
#include "drivers/framebuffer.h"

#include "drivers/font.h"
#include "lib/errno.h"
#include "lib/string.h"

#define MAX_SCALE 8
#define MAX_SIDE  16384 /* pixels; no screen is larger, and products stay small */
#define MAX_PIXEL_BYTES 4

static_assert(FRAMEBUFFER_MAX_ROWS <= 64, "stale_rows has a bit per row");

/* ---- cells to pixels ----------------------------------------------------------------------- */

static u8 *pixel_row(const struct framebuffer *fb, u32 y)
{
	return (u8 *)fb->mode.virt + (u64)y * fb->mode.pitch;
}

/* One row of a glyph as pixels, @scale times as wide; returns its bytes. */
static size_t render_row(const struct framebuffer *fb, u8 bits, u8 attr, u8 *out)
{
	u32 ink = fb->pixels[attr & 0xf], paper = fb->pixels[attr >> 4];
	u8 *p = out;

	for (int x = 0; x < FONT_WIDTH; x++, bits <<= 1) {
		u32 pixel = bits & 0x80 ? ink : paper;

		for (u32 i = 0; i < fb->scale; i++, p += fb->pixel_bytes)
			memcpy(p, &pixel, fb->pixel_bytes);
	}
	return p - out;
}

static void draw_cell(const struct framebuffer *fb, u32 col, u32 row, struct framebuffer_cell cell)
{
	u8 line[FONT_WIDTH * MAX_SCALE * MAX_PIXEL_BYTES];
	const u8 *glyph = font_glyph(cell.ch);
	u32 x = fb->left + col * FONT_WIDTH * fb->scale;
	u32 y = fb->top + row * FONT_HEIGHT * fb->scale;

	for (int r = 0; r < FONT_HEIGHT; r++) {
		size_t bytes = render_row(fb, glyph[r], cell.attr, line);

		for (u32 i = 0; i < fb->scale; i++, y++)
			memcpy(pixel_row(fb, y) + (u64)x * fb->pixel_bytes, line, bytes);
	}
}

/* ---- the terminal's device ----------------------------------------------------------------- */

static void framebuffer_put(struct term *t, unsigned int col, unsigned int row, u8 ch, u8 attr)
{
	struct framebuffer *fb = container_of(t, struct framebuffer, term);

	fb->want[row * t->cols + col] = (struct framebuffer_cell){ch, attr};
	fb->stale_rows |= 1ull << row;
}

static void framebuffer_scroll(struct term *t, u8 attr)
{
	struct framebuffer *fb = container_of(t, struct framebuffer, term);
	u32 kept = t->cols * (t->rows - 1);

	memmove(fb->want, fb->want + t->cols, kept * sizeof(*fb->want));
	for (u32 i = kept; i < kept + t->cols; i++)
		fb->want[i] = (struct framebuffer_cell){' ', attr};
	fb->stale_rows = ~0ull;
}

/* The cell under the cursor is shown with its colours exchanged. */
static struct framebuffer_cell visible_cell(const struct framebuffer *fb, u32 col, u32 row)
{
	const struct term *t = &fb->term;
	struct framebuffer_cell c = fb->want[row * t->cols + col];

	if (col == t->col && row == t->row)
		c.attr = (u8)(c.attr << 4 | c.attr >> 4);
	return c;
}

static void framebuffer_done(struct term *t)
{
	struct framebuffer *fb = container_of(t, struct framebuffer, term);

	fb->stale_rows |= 1ull << t->row;
	for (u32 row = 0; row < t->rows; row++) {
		if (!(fb->stale_rows & 1ull << row))
			continue;
		for (u32 col = 0; col < t->cols; col++) {
			struct framebuffer_cell c = visible_cell(fb, col, row);
			struct framebuffer_cell *shown = &fb->shown[row * t->cols + col];

			if (c.ch == shown->ch && c.attr == shown->attr)
				continue;
			draw_cell(fb, col, row, c);
			*shown = c;
		}
	}
	/* The cursor leaves this row when it moves: look at it again then. */
	fb->stale_rows = 1ull << t->row;
}

static const struct term_ops framebuffer_ops = {framebuffer_put, framebuffer_scroll, framebuffer_done};

static void framebuffer_write(struct console_sink *s, const char *text, size_t len)
{
	term_write(&container_of(s, struct framebuffer, sink)->term, text, len);
}

/* ---- setting up ---------------------------------------------------------------------------- */

static bool field_is_sane(u8 pos, u8 bits, u8 bpp)
{
	return bits >= 1 && bits <= 16 && pos + bits <= bpp;
}

static bool mode_is_sane(const struct framebuffer_mode *m)
{
	u32 pixel_bytes = (m->bpp + 7u) / 8;

	if (m->bpp != 15 && m->bpp != 16 && m->bpp != 24 && m->bpp != 32)
		return false;
	if (!m->virt || m->width > MAX_SIDE || m->height > MAX_SIDE)
		return false;
	if (m->width < FONT_WIDTH || m->height < FONT_HEIGHT || m->pitch < m->width * pixel_bytes)
		return false;
	return field_is_sane(m->red_pos, m->red_bits, m->bpp) &&
	       field_is_sane(m->green_pos, m->green_bits, m->bpp) &&
	       field_is_sane(m->blue_pos, m->blue_bits, m->bpp);
}

/* An 8-bit intensity in a field of @bits bits at @pos. */
static u32 colour_field(u32 intensity, u8 pos, u8 bits)
{
	return (intensity * ((1u << bits) - 1) + 127) / 255 << pos;
}

static void make_palette(struct framebuffer *fb)
{
	static const u8 dim = 0xaa, bright = 0xff, lift = 0x55;
	const struct framebuffer_mode *m = &fb->mode;

	for (unsigned int c = 0; c < FRAMEBUFFER_COLOURS; c++) {
		u32 on = c & 8 ? bright : dim, off = c & 8 ? lift : 0;

		fb->pixels[c] = colour_field(c & 1 ? on : off, m->red_pos, m->red_bits) |
				colour_field(c & 2 ? on : off, m->green_pos, m->green_bits) |
				colour_field(c & 4 ? on : off, m->blue_pos, m->blue_bits);
	}
}

static void black_screen(const struct framebuffer *fb)
{
	for (u32 y = 0; y < fb->mode.height; y++)
		memset(pixel_row(fb, y), 0, (size_t)fb->mode.width * fb->pixel_bytes);
}

int framebuffer_init(struct framebuffer *fb, const struct framebuffer_mode *mode, void *cells,
		     size_t bytes)
{
	u32 max_cells = MIN(bytes / (2 * sizeof(struct framebuffer_cell)), (size_t)65536);
	u32 cols, rows;

	if (!mode_is_sane(mode))
		return -EINVAL;
	*fb = (struct framebuffer){
		.sink = {.name = "framebuffer", .write = framebuffer_write},
		.mode = *mode,
		.pixel_bytes = (mode->bpp + 7u) / 8,
		.scale = 1,
	};
	while (mode->width / (FONT_WIDTH * fb->scale) > FRAMEBUFFER_MAX_COLS &&
	       mode->height >= FONT_HEIGHT * (fb->scale + 1) && fb->scale < MAX_SCALE)
		fb->scale++;
	cols = MIN(mode->width / (FONT_WIDTH * fb->scale), (u32)FRAMEBUFFER_MAX_COLS);
	rows = MIN(mode->height / (FONT_HEIGHT * fb->scale), (u32)FRAMEBUFFER_MAX_ROWS);
	rows = MIN(rows, max_cells / cols);
	if (!rows)
		return -ENOMEM;

	fb->left = (mode->width - cols * FONT_WIDTH * fb->scale) / 2;
	fb->top = (mode->height - rows * FONT_HEIGHT * fb->scale) / 2;
	fb->want = cells;
	fb->shown = fb->want + cols * rows;
	for (u32 i = 0; i < cols * rows; i++)
		fb->want[i] = fb->shown[i] = (struct framebuffer_cell){' ', 0};
	make_palette(fb);
	black_screen(fb);
	term_init(&fb->term, &framebuffer_ops, cols, rows);
	term_clear(&fb->term);
	return 0;
}
