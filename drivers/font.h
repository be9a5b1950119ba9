/* SPDX-License-Identifier: BSD-2-Clause */
/* The console font: 8 x 16 pixels, drawn in font.txt, turned into a table by tools/mkfont.py. */
#pragma once

#include "lib/types.h"

#define FONT_WIDTH  8
#define FONT_HEIGHT 16

/* font_glyph - the FONT_HEIGHT rows of @ch, top first, bit 7 leftmost: ASCII 32..126, GLYPH_FULL,
 * GLYPH_SHADE, and a box for everything else. */
const u8 *font_glyph(u8 ch);
