/* SPDX-License-Identifier: BSD-2-Clause */
/* The registers of a VGA in text mode, for guests that set a cursor or probe: they read back what
 * was written. The text itself, at B8000, is guest memory like any other. */
#pragma once

#include "cpu/spinlock.h"

struct vm;

#define VGA_ROWS    25
#define VGA_COLUMNS 80

struct vga_text {
	struct vm *vm;        /* [o] */
	struct spinlock lock; /* RANK_DEVICE; guards what follows */
	struct {
		u8 index;
		u8 value[32];
	} group[4];           /* attribute, sequencer, graphics, CRT controller */
	bool attr_data;       /* the next write to 3C0 is data */
	u8 misc, feature, status;
	u8 dac_mask;
	u16 dac_read, dac_write; /* next byte; 3 a colour */
	u8 dac[768];
};

/* vga_text_attach - reset *@g to mode 3, 80x25 in colour, and put it on @vm's bus. */
void vga_text_attach(struct vga_text *g, struct vm *vm);
/* vga_text_row - what the guest shows in row @row, as ASCII without blanks at the end.
 * => thread context, no lock held, may sleep; the VM's parts are there
 * Return 0; -ENOMEM, -EINTR as mm_gup. */
int must_check vga_text_row(struct vga_text *g, u32 row, char text[VGA_COLUMNS + 1]);
