/* SPDX-License-Identifier: BSD-2-Clause */
/* A text screen on a linear framebuffer with direct colour, as the boot loader hands it over. */
#pragma once

#include "lib/console.h"
#include "lib/term.h"

struct framebuffer_mode {
	void *virt;           /* pitch * height bytes, mapped write-combining by the caller */
	u32 pitch;            /* bytes from one row of pixels to the next */
	u32 width, height;    /* pixels */
	u8 bpp;               /* 15, 16, 24 or 32 */
	u8 red_pos, red_bits; /* the lowest bit of the field and its width */
	u8 green_pos, green_bits;
	u8 blue_pos, blue_bits;
};

struct framebuffer_cell {
	u8 ch, attr;
};

#define FRAMEBUFFER_MAX_COLS 160
#define FRAMEBUFFER_MAX_ROWS 64
#define FRAMEBUFFER_COLOURS  16

struct framebuffer {
	struct console_sink sink;
	struct term term;
	struct framebuffer_mode mode;
	u32 pixel_bytes;
	u32 scale;                /* one pixel of the font is scale x scale on the screen */
	u32 left, top;            /* where the grid begins, in pixels */
	u32 pixels[FRAMEBUFFER_COLOURS];
	/* what each cell shall show, and what it shows now: video memory is never read */
	struct framebuffer_cell *want, *shown;
	u64 stale_rows;           /* bit r: row r may differ */
};

/* framebuffer_init - make a sink of the screen @mode; it is cleared.
 * @cells: @bytes of memory for the cells, zeroed or not, the framebuffer's for ever; the grid is
 * made as large as fits, at best FRAMEBUFFER_MAX_COLS x FRAMEBUFFER_MAX_ROWS, 4 bytes a cell. 32
 * KiB fill every usual screen. Return 0; -EINVAL if the mode makes no sense or has a palette;
 * -ENOMEM if @bytes do not give a row of cells. */
int must_check framebuffer_init(struct framebuffer *fb, const struct framebuffer_mode *mode,
				void *cells, size_t bytes);
