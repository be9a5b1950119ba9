/* SPDX-License-Identifier: BSD-2-Clause */
/* Which row of the generated table shows a character: the box, GLYPH_FULL, GLYPH_SHADE, then ASCII
 * from the space on. */
#include "drivers/font.h"

#include "gen/font_data.h"
#include "lib/console.h"

#define FIRST_ASCII 32
#define LAST_ASCII  126

enum { ROW_BOX, ROW_FULL, ROW_SHADE, ROW_ASCII, NR_ROWS = ROW_ASCII + LAST_ASCII - FIRST_ASCII + 1 };

static_assert(ARRAY_SIZE(font_data) == NR_ROWS, "tools/mkfont.py and this file count alike");

const u8 *font_glyph(u8 ch)
{
	if (ch >= FIRST_ASCII && ch <= LAST_ASCII)
		return font_data[ROW_ASCII + ch - FIRST_ASCII];
	return font_data[ch == GLYPH_FULL ? ROW_FULL : ch == GLYPH_SHADE ? ROW_SHADE : ROW_BOX];
}
