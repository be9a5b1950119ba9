/* SPDX-License-Identifier: BSD-2-Clause */
/* The shapes of all opcodes of the one-byte and the 0F map, a row for each high digit.
 * Source: Intel SDM vol. 2D, "Opcode map"; AMD APM vol. 3, "Opcode and operand encodings" (for
 * FEMMS, 3DNow, EXTRQ, INSERTQ and what is invalid in 64-bit mode). */
#include "vmm/decode_tables.h"

enum {
	XX = OP_UNDEFINED,
	PX = OP_PREFIX,
	ES = OP_ESCAPE,

	NO = 0, /* nothing behind the opcode */
	N6 = OP_NOT_64,
	ND = OP_DEFAULT_64,
	NF = OP_FORCE_64,
	NP = OP_MAX_32,

	IB = OP_IMM_8,
	IW = OP_IMM_16,
	IZ = OP_IMM_Z,
	IV = OP_IMM_V,
	I6 = OP_IMM_8 | OP_NOT_64,
	IP = OP_IMM_8 | OP_MAX_32,
	SD = OP_IMM_S8 | OP_DEFAULT_64,
	ZD = OP_IMM_Z | OP_DEFAULT_64,
	WF = OP_IMM_16 | OP_FORCE_64,
	EN = OP_IMM_ENTER | OP_DEFAULT_64,
	FP = OP_IMM_FAR | OP_NOT_64,
	MO = OP_IMM_MOFFS,

	JB = OP_IMM_REL8 | OP_FORCE_64,
	JZ = OP_IMM_RELZ | OP_FORCE_64,

	MR = OP_MODRM,
	MB = OP_MODRM | OP_IMM_8,
	MS = OP_MODRM | OP_IMM_S8,
	MZ = OP_MODRM | OP_IMM_Z,
	M6 = OP_MODRM | OP_IMM_8 | OP_NOT_64,
	CR = OP_MODRM | OP_CONTROL,
	VM = OP_MODRM | OP_FORCE_64,

	GR = OP_MODRM | OP_BY_MODRM,
	GD = OP_MODRM | OP_BY_MODRM | OP_DEFAULT_64,
	GF = OP_MODRM | OP_BY_MODRM | OP_FORCE_64,
};

/* clang-format off */

/* GR and GD here: 62 C4 C5 (BOUND LES LDS, or EVEX VEX), 8F (POP, or XOP), F6 F7 FF. */
const u16 opcode_map_1[256] = {
/*        0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
/* 0 */	MR, MR, MR, MR, IB, IZ, N6, N6, MR, MR, MR, MR, IB, IZ, N6, ES,
/* 1 */	MR, MR, MR, MR, IB, IZ, N6, N6, MR, MR, MR, MR, IB, IZ, N6, N6,
/* 2 */	MR, MR, MR, MR, IB, IZ, PX, N6, MR, MR, MR, MR, IB, IZ, PX, N6,
/* 3 */	MR, MR, MR, MR, IB, IZ, PX, N6, MR, MR, MR, MR, IB, IZ, PX, N6,
/* 4 */	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* REX in 64-bit mode */
/* 5 */	ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND, ND,
/* 6 */	N6, N6, GR, MR, PX, PX, PX, PX, ZD, MZ, SD, MS, NP, NP, NP, NP,
/* 7 */	JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB,
/* 8 */	MB, MZ, M6, MS, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, GD,
/* 9 */	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, FP, NO, ND, ND, NO, NO,
/* a */	MO, MO, MO, MO, NO, NO, NO, NO, IB, IZ, NO, NO, NO, NO, NO, NO,
/* b */	IB, IB, IB, IB, IB, IB, IB, IB, IV, IV, IV, IV, IV, IV, IV, IV,
/* c */	MB, MB, WF, NF, GR, GR, MB, MZ, EN, ND, IW, NO, NO, IB, N6, NO,
/* d */	MR, MR, MR, MR, I6, I6, N6, NO, MR, MR, MR, MR, MR, MR, MR, MR,
/* e */	JB, JB, JB, JB, IP, IP, IP, IP, JZ, JZ, FP, JB, NP, NP, NP, NP,
/* f */	PX, NO, PX, PX, NO, NO, GR, GR, NO, NO, NO, NO, NO, NO, MR, GR,
};

/* GF here: 78 (VMREAD, or EXTRQ INSERTQ). FF and B9 (UD0, UD1) have a modrm byte, 0B (UD2) none. */
const u16 opcode_map_0f[256] = {
/*        0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
/* 0 */	MR, MR, MR, MR, XX, NO, NO, NO, NO, NO, XX, NO, XX, MR, NO, MB, /* 0F: 3DNow, suffix */
/* 1 */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* 2 */	CR, CR, CR, CR, XX, XX, XX, XX, MR, MR, MR, MR, MR, MR, MR, MR,
/* 3 */	NO, NO, NO, NO, NO, NO, XX, NO, ES, XX, ES, XX, XX, XX, XX, XX,
/* 4 */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* 5 */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* 6 */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* 7 */	MB, MB, MB, MB, MR, MR, MR, NO, GF, VM, XX, XX, MR, MR, MR, MR,
/* 8 */	JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ,
/* 9 */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* a */	ND, ND, NO, MR, MB, MR, XX, XX, ND, ND, NO, MR, MB, MR, MR, MR,
/* b */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MB, MR, MR, MR, MR, MR,
/* c */	MR, MR, MB, MR, MB, MB, MB, MR, NO, NO, NO, NO, NO, NO, NO, NO,
/* d */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* e */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
/* f */	MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR, MR,
};
