/* SPDX-License-Identifier: BSD-2-Clause */
/* What the decoder must know of an opcode to find the end of its instruction and the size of its
 * operands: one u16 for each, read by decode.c alone. */
#pragma once

#include "lib/types.h"

enum {
	/* The immediate, one of: */
	OP_IMM_NONE,
	OP_IMM_8,     /* one byte, zero-extended */
	OP_IMM_S8,    /* one byte, sign-extended to the operand size */
	OP_IMM_16,    /* two bytes, zero-extended */
	OP_IMM_Z,     /* 2 or 4 bytes by operand size, sign-extended to it */
	OP_IMM_V,     /* 2, 4 or 8 bytes by operand size */
	OP_IMM_REL8,  /* a branch's distance, sign-extended to 64 bits */
	OP_IMM_RELZ,  /* the same, 2 or 4 bytes by operand size */
	OP_IMM_FAR,   /* offset of 2 or 4 bytes, then a selector */
	OP_IMM_ENTER, /* two bytes, then one */
	OP_IMM_MOFFS, /* an address, as wide as addresses are */
	OP_IMM_MASK = 15,

	OP_MODRM = 1 << 4,
	OP_UNDEFINED = 1 << 5,
	OP_PREFIX = 1 << 6,
	OP_ESCAPE = 1 << 7,   /* the first byte of another map's opcodes */
	OP_NOT_64 = 1 << 8,   /* undefined in 64-bit mode */
	OP_DEFAULT_64 = 1 << 9, /* in 64-bit mode operands have 8 bytes, or 2 with prefix 66 */
	OP_FORCE_64 = 1 << 10,  /* in 64-bit mode operands have 8 bytes whatever the prefixes */
	OP_MAX_32 = 1 << 11,    /* REX.W does not widen (ports) */
	OP_CONTROL = 1 << 12,   /* MOV to or from CR and DR: modrm.mod and prefix 66 are ignored */
	OP_BY_MODRM = 1 << 13,  /* modrm or a prefix decides the rest: opcode_refine() in decode.c */
};

/* The maps 0F38 and 0F3A need no table: each opcode has a modrm byte, those of 0F3A one byte of
 * immediate as well. */
extern const u16 opcode_map_1[256];
extern const u16 opcode_map_0f[256];
