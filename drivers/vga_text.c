/* SPDX-License-Identifier: BSD-2-Clause */
/* A cell is a character (code page 437) and an attribute byte: foreground in bits 0..3, background
 * in bits 4..6, bit 7 makes it blink. VGA counts blue 1, green 2, red 4; the terminal the other way
 * round. Source: IBM VGA technical reference, "CRT Controller", cursor registers. */
#include "drivers/vga_text.h"

#include "cpu/x86.h"
#include "lib/errno.h"

#define COLS 80
#define ROWS 25

#define CRTC_INDEX  0x3d4
#define CRTC_DATA   0x3d5
#define CURSOR_TOP  0x0a
#define CURSOR_END  0x0b
#define CURSOR_HIGH 0x0e
#define CURSOR_LOW  0x0f

static void crtc_write(u8 index, u8 value)
{
	outb(CRTC_INDEX, index);
	outb(CRTC_DATA, value);
}

static u8 vga_colour(u8 colour)
{
	return (colour & 8) | (colour & 2) | (colour & 1) << 2 | (colour & 4) >> 2;
}

static u16 vga_cell(u8 ch, u8 attr)
{
	ch = ch == GLYPH_FULL ? 0xdb : ch == GLYPH_SHADE ? 0xb0 : ch == 127 ? 0xfe : ch;
	return (u16)(ch | vga_colour(attr & 0xf) << 8 | (vga_colour(attr >> 4) & 7) << 12);
}

static void vga_put(struct term *t, unsigned int col, unsigned int row, u8 ch, u8 attr)
{
	struct vga_text *v = container_of(t, struct vga_text, term);

	v->cells[row * COLS + col] = vga_cell(ch, attr);
}

static void vga_scroll(struct term *t, u8 attr)
{
	struct vga_text *v = container_of(t, struct vga_text, term);
	unsigned int i = 0;

	for (; i < COLS * (ROWS - 1); i++)
		v->cells[i] = v->cells[i + COLS];
	for (; i < COLS * ROWS; i++)
		v->cells[i] = vga_cell(' ', attr);
}

static void vga_done(struct term *t)
{
	unsigned int at = t->row * COLS + t->col;

	crtc_write(CURSOR_HIGH, (u8)(at >> 8));
	crtc_write(CURSOR_LOW, (u8)at);
}

static const struct term_ops vga_ops = {vga_put, vga_scroll, vga_done};

static void vga_write(struct console_sink *s, const char *text, size_t len)
{
	term_write(&container_of(s, struct vga_text, sink)->term, text, len);
}

int vga_text_init(struct vga_text *v, void *cells)
{
	v->cells = cells;
	v->cells[0] = 0x5aa5;
	v->cells[1] = 0xa55a;
	if (v->cells[0] != 0x5aa5 || v->cells[1] != 0xa55a)
		return -ENODEV;

	crtc_write(CURSOR_TOP, 13); /* an underline two rows high */
	crtc_write(CURSOR_END, 14);
	v->sink.name = "vga";
	v->sink.write = vga_write;
	term_init(&v->term, &vga_ops, COLS, ROWS);
	term_clear(&v->term);
	return 0;
}
