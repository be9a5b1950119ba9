/* SPDX-License-Identifier: BSD-2-Clause */
/* The VGA text screen: 80 x 25 cells at B8000 and the CRT controller's cursor. */
#pragma once

#include "lib/console.h"
#include "lib/term.h"

#define VGA_TEXT_PHYS  0xb8000ul
#define VGA_TEXT_BYTES 4000ul

struct vga_text {
	struct console_sink sink;
	struct term term;
	volatile u16 *cells;
};

/* vga_text_init - clear the screen whose cells are mapped at @cells and make a sink of it.
 * => the boot loader left the card in text mode
 * Return 0; -ENODEV if nothing there keeps what is written. */
int must_check vga_text_init(struct vga_text *v, void *cells);
