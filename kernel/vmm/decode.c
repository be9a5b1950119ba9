/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction decoder: legacy prefixes, REX, opcode, modrm, SIB, displacement, immediate, in
 * the order in which they stand. What an opcode looks like is in decode_tables.c; here is the
 * grammar around it.
 * Source: Intel SDM vol. 2A, "Instruction format". */
#include "vmm/decode.h"

#include "lib/check.h"
#include "vmm/decode_tables.h"

/* What was wrong first stays in ->err; then every further byte reads as zero. */
struct reader {
	const u8 *bytes;
	size_t nr;
	unsigned int at;
	int err;
};

static void reader_refuse(struct reader *r)
{
	if (!r->err)
		r->err = trace(-EINVAL);
}

/* Too long goes before too short: no further byte makes a sixteenth one legal. */
static u64 reader_take(struct reader *r, unsigned int bytes)
{
	u64 value = 0;

	if (r->at + bytes > INSN_MAX_BYTES)
		reader_refuse(r);
	else if (!r->err && r->at + bytes > r->nr)
		r->err = -EAGAIN;
	for (unsigned int i = 0; i < bytes && !r->err; i++)
		value |= (u64)r->bytes[r->at++] << (8 * i);
	return value;
}

static s64 reader_take_signed(struct reader *r, unsigned int bytes)
{
	unsigned int unused_bits = 64 - 8 * bytes;

	return bytes ? (s64)(reader_take(r, bytes) << unused_bits) >> unused_bits : 0;
}

static bool byte_is_rex(u8 byte, enum insn_mode mode)
{
	return mode == INSN_64 && (byte & 0xf0) == 0x40;
}

/* Of contradicting prefixes the last one counts. 64-bit mode knows no segments but FS and GS: the
 * other overrides have no effect there, not even on an FS before them. */
static void note_prefix(struct insn *in, u8 byte, enum insn_mode mode)
{
	switch (byte) {
	case 0xf0: in->prefixes |= PFX_LOCK; break;
	case 0xf2: in->prefixes = (u8)((in->prefixes & ~PFX_REP) | PFX_REPNE); break;
	case 0xf3: in->prefixes = (u8)((in->prefixes & ~PFX_REPNE) | PFX_REP); break;
	case 0x66: in->prefixes |= PFX_OPSIZE; break;
	case 0x67: in->prefixes |= PFX_ADDRSIZE; break;
	case 0x64:
	case 0x65: in->segment = (s8)(byte - 0x60); break;
	default: /* 26 2E 36 3E */
		if (mode != INSN_64)
			in->segment = (s8)(byte >> 3 & 3);
	}
}

/* Reads the prefixes and the first byte behind them. A REX that another prefix follows is void. */
static u8 decode_prefixes(struct reader *r, enum insn_mode mode, struct insn *in)
{
	for (;;) {
		u8 byte = reader_take(r, 1);

		if (byte_is_rex(byte, mode)) {
			in->rex = byte;
			continue;
		}
		if (!(opcode_map_1[byte] & OP_PREFIX))
			return byte;
		in->rex = 0;
		note_prefix(in, byte, mode);
	}
}

/* Finds map and opcode behind the prefixes, and the opcode's shape. */
static u16 decode_opcode(struct reader *r, enum insn_mode mode, struct insn *in)
{
	u16 shape;

	in->opcode = decode_prefixes(r, mode, in);
	in->map = MAP_1;
	shape = opcode_map_1[in->opcode];
	while (shape & OP_ESCAPE) {
		u8 byte = reader_take(r, 1);

		if (in->map == MAP_1) {
			in->map = MAP_0F;
			shape = opcode_map_0f[byte];
		} else {
			in->map = in->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			shape = OP_MODRM | (in->map == MAP_0F3A ? OP_IMM_8 : 0);
		}
		in->opcode = byte;
	}
	if ((shape & OP_UNDEFINED) || ((shape & OP_NOT_64) && mode == INSN_64))
		reader_refuse(r);
	return shape;
}

/* Base and index of the eight 16-bit forms; the sixth is an address alone when mod is 0.
 * Source: Intel SDM vol. 2A, "16-bit addressing forms with the ModR/M byte". */
static void decode_memory_16(struct reader *r, struct insn *in, unsigned int mod)
{
	static const s8 bases[8] = {3, 3, 5, 5, 6, 7, 5, 3};
	static const s8 indices[8] = {6, 7, 6, 7, -1, -1, -1, -1};
	unsigned int rm = in->modrm & 7;
	bool address_alone = mod == 0 && rm == 6;

	if (!address_alone) {
		in->base = bases[rm];
		in->index = indices[rm];
	}
	in->disp = reader_take_signed(r, address_alone ? 2 : mod);
}

/* REX extends the register numbers, but what an encoding means (SIB follows, no base, no index with
 * REX.X clear) is decided by its three bits alone, or rip would be r13. */
static void decode_memory(struct reader *r, enum insn_mode mode, struct insn *in, unsigned int mod)
{
	unsigned int base = in->modrm & 7;
	bool has_sib = base == 4;

	if (has_sib) {
		u8 sib = reader_take(r, 1);

		base = sib & 7;
		in->index = (s8)((sib >> 3 & 7) | (in->rex & 2 ? 8 : 0));
		if (in->index == 4)
			in->index = -1;
		in->scale = (u8)(1 << (sib >> 6));
	}
	if (base != 5 || mod != 0)
		in->base = (s8)(base | (in->rex & 1 ? 8 : 0));
	else if (!has_sib && mode == INSN_64)
		in->base = 16;
	in->disp = reader_take_signed(r, mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0);
}

static void decode_modrm(struct reader *r, enum insn_mode mode, u16 shape, struct insn *in)
{
	u8 byte = reader_take(r, 1), mod = byte >> 6;

	in->has_modrm = true;
	in->modrm = byte;
	in->reg = (u8)((byte >> 3 & 7) | (in->rex & 4 ? 8 : 0));
	in->rm = (u8)((byte & 7) | (in->rex & 1 ? 8 : 0));
	in->is_mem = mod != 3 && !(shape & OP_CONTROL);
	if (in->is_mem && in->addr_bytes == 2)
		decode_memory_16(r, in, mod);
	else if (in->is_mem)
		decode_memory(r, mode, in, mod);
}

/* Opcodes whose shape hangs on the modrm byte (seen, not yet taken) or on a prefix. */
static u16 opcode_refine(struct reader *r, enum insn_mode mode, const struct insn *in, u16 shape)
{
	u8 modrm = r->bytes[r->at], group = modrm >> 3 & 7;

	if (in->map == MAP_0F) /* 78: VMREAD; with 66 or F2 EXTRQ, INSERTQ and two bytes */
		return in->prefixes & (PFX_OPSIZE | PFX_REPNE) ? OP_MODRM | OP_IMM_16 : shape;
	switch (in->opcode) {
	case 0x62: /* BOUND LES LDS exist outside of 64-bit mode and with memory; else EVEX, VEX */
	case 0xc4:
	case 0xc5:
		if (mode == INSN_64 || modrm >= 0xc0)
			reader_refuse(r);
		return shape;
	case 0x8f: /* POP; every XOP prefix would be another group */
		if (group)
			reader_refuse(r);
		return shape;
	case 0xf6: /* TEST has an immediate, NOT NEG MUL DIV have none */
		return group < 2 ? shape | OP_IMM_8 : shape;
	case 0xf7:
		return group < 2 ? shape | OP_IMM_Z : shape;
	default: /* FF: near CALL and JMP, PUSH */
		return shape | (group == 2 || group == 4 ? OP_FORCE_64 : group == 6 ? OP_DEFAULT_64 : 0);
	}
}

static u8 address_size(enum insn_mode mode, u8 prefixes)
{
	bool other = prefixes & PFX_ADDRSIZE;

	if (mode == INSN_64)
		return other ? 4 : 8;
	return (mode == INSN_32) == other ? 2 : 4;
}

static u8 operand_size(enum insn_mode mode, u16 shape, const struct insn *in)
{
	bool other = in->prefixes & PFX_OPSIZE;

	if (shape & OP_CONTROL)
		return mode == INSN_64 ? 8 : 4;
	if (mode != INSN_64)
		return (mode == INSN_32) == other ? 2 : 4;
	if (shape & OP_FORCE_64)
		return 8;
	if ((in->rex & 8) && !(shape & OP_MAX_32))
		return 8;
	if (other)
		return 2;
	return shape & OP_DEFAULT_64 ? 8 : 4;
}

static unsigned int immediate_size(u16 kind, const struct insn *in)
{
	switch (kind) {
	case OP_IMM_8:
	case OP_IMM_S8:
	case OP_IMM_REL8: return 1;
	case OP_IMM_16: return 2;
	case OP_IMM_Z:
	case OP_IMM_RELZ: return MIN(in->op_bytes, 4);
	case OP_IMM_V: return in->op_bytes;
	case OP_IMM_FAR: return in->op_bytes + 2;
	case OP_IMM_ENTER: return 3;
	default: return 0;
	}
}

static void decode_immediate(struct reader *r, u16 kind, struct insn *in)
{
	bool is_branch = kind == OP_IMM_REL8 || kind == OP_IMM_RELZ;

	if (kind == OP_IMM_MOFFS) {
		in->is_mem = true;
		in->disp = reader_take_signed(r, in->addr_bytes);
		return;
	}
	in->imm_bytes = (u8)immediate_size(kind, in);
	if (!is_branch && kind != OP_IMM_S8 && kind != OP_IMM_Z) {
		in->imm = reader_take(r, in->imm_bytes);
		return;
	}
	in->imm = (u64)reader_take_signed(r, in->imm_bytes);
	if (!is_branch && in->op_bytes < 8)
		in->imm &= (1ull << (8 * in->op_bytes)) - 1;
}

int insn_decode(const u8 *bytes, size_t nr, enum insn_mode mode, struct insn *out)
{
	struct reader r = {.bytes = bytes, .nr = nr};
	u16 shape;

	*out = (struct insn){.segment = -1, .base = -1, .index = -1, .scale = 1};
	shape = decode_opcode(&r, mode, out);
	out->addr_bytes = address_size(mode, out->prefixes);
	if ((shape & OP_BY_MODRM) && r.at < nr)
		shape = opcode_refine(&r, mode, out, shape);
	if (shape & OP_MODRM)
		decode_modrm(&r, mode, shape, out);
	out->op_bytes = operand_size(mode, shape, out);
	decode_immediate(&r, shape & OP_IMM_MASK, out);
	out->length = (u8)r.at;
	return r.err;
}

unsigned int insn_matches(const u8 *bytes, size_t nr, enum insn_mode mode, const u8 *opcode,
			  size_t opcode_len)
{
	size_t at = 0;

	nr = MIN(nr, (size_t)INSN_MAX_BYTES);
	/* An opcode's first byte is no prefix: this loop ends at once for most instructions, and
	 * before the tables are touched. */
	while (at < nr && bytes[at] != opcode[0]) {
		if (!(opcode_map_1[bytes[at]] & OP_PREFIX) && !byte_is_rex(bytes[at], mode))
			return 0;
		at++;
	}
	if (unlikely(at + opcode_len > nr))
		return 0;
	for (size_t i = 1; i < opcode_len; i++)
		if (bytes[at + i] != opcode[i])
			return 0;
	return (unsigned int)(at + opcode_len);
}

u64 insn_effective_address(const struct insn *in, const u64 regs[16], u64 next_rip)
{
	u64 address = (u64)in->disp;

	if (in->base == 16)
		address += next_rip;
	else if (in->base >= 0)
		address += regs[in->base];
	if (in->index >= 0)
		address += regs[in->index] * in->scale;

	if (in->addr_bytes == 2)
		return (u16)address;
	if (in->addr_bytes == 4)
		return (u32)address;
	return address;
}
