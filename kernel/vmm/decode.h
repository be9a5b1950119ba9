/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction decoder: from bytes to length, opcode and operands. Processors without nRIP save
 * and decode assists (every AMD one in emulation, old ones in silicon) leave this to us.
 *
 * It knows the shape of all one- and two-byte opcodes and of the 0F38 and 0F3A maps (length is
 * always right for what it accepts), and says for each what a caller needs; it executes nothing and
 * touches no guest memory: the caller hands in the bytes. VEX, EVEX and XOP are refused.
 *
 * Accepted does not mean legal: LOCK where it is not allowed, groups with holes, register forms of
 * what takes memory only and unassigned 0F38 and 0F3A opcodes get their length like any other.
 * Where vendors differ: near branches in 64-bit mode ignore prefix 66, as Intel's do (AMD's take a
 * 16-bit distance); UD0 and UD1 have a modrm byte, as Intel's; 0F 78 with prefix 66 or F2 has two
 * immediate bytes, as AMD's EXTRQ and INSERTQ (Intel: undefined). */
#pragma once

#include "lib/types.h"

enum insn_mode { INSN_16, INSN_32, INSN_64 }; /* default operand size of the code segment */

#define INSN_MAX_BYTES 15

enum insn_map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A };

enum {
	PFX_LOCK = 1,
	PFX_REPNE = 2, /* F2 */
	PFX_REP = 4,   /* F3 */
	PFX_OPSIZE = 8,
	PFX_ADDRSIZE = 16,
};

struct insn {
	u8 length;    /* bytes, prefixes included */
	u8 map;       /* enum insn_map */
	u8 opcode;
	u8 prefixes;  /* PFX_*; of F2 and F3 the last one */
	s8 segment;   /* override: 0 es, 1 cs, 2 ss, 3 ds, 4 fs, 5 gs (64-bit: only these two);
		       * -1 none */
	u8 rex;       /* 0, or 0x40..0x4f; one that another prefix follows does not count */
	u8 op_bytes;  /* 2, 4, 8: effective operand size (byte forms: the caller knows by opcode);
		       * never 8 for ports, and for MOV CR, DR what the mode says */
	u8 addr_bytes; /* 2, 4, 8 */
	bool has_modrm;
	u8 modrm;
	u8 reg;       /* modrm.reg with REX.R */
	u8 rm;        /* modrm.rm with REX.B; a register when mod == 3 */
	bool is_mem;  /* modrm names memory, or the opcode does by its own address (A0..A3) */
	s8 base, index; /* register numbers, -1 none; base 16 means rip */
	u8 scale;     /* 1, 2, 4, 8 */
	s64 disp;     /* sign-extended; moffs of A0..A3 as well */
	u64 imm;      /* sign-extended to op_bytes where the instruction does, zero above that; a
		       * branch's distance to 64 bits; ENTER, far pointers: their bytes as they stand */
	u8 imm_bytes;
};

/* insn_decode - decode the instruction at @bytes.
 * Return 0; -EAGAIN if @nr bytes do not hold it all (fetch more, 15 at most); -EINVAL if it is none
 * that we know, or longer than 15 bytes. */
int must_check insn_decode(const u8 *bytes, size_t nr, enum insn_mode mode, struct insn *out);

/* insn_matches - the cheap form for exits whose opcode the exit reason told: skip legacy and REX
 * prefixes, compare @opcode (@opcode_len bytes), and return the length up to its last byte; 0 if the
 * bytes are another instruction (someone wrote code meanwhile: enter the guest again), or if they do
 * not reach. => @opcode begins with no prefix */
unsigned int insn_matches(const u8 *bytes, size_t nr, enum insn_mode mode, const u8 *opcode,
			  size_t opcode_len);

/* insn_effective_address - the offset that @in's memory operand names, before segment base, wrapped
 * to the address size. @regs: 16 registers in encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..);
 * @next_rip: for rip-relative operands. */
u64 insn_effective_address(const struct insn *in, const u64 regs[16], u64 next_rip);
