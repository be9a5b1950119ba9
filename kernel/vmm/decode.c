/* SPDX-License-Identifier: BSD-2-Clause */
/* The instruction decoder: legacy prefixes, REX, opcode, modrm, SIB, displacement, immediate, in
 * the order in which they stand. What an opcode looks like is in decode_tables.c; here is the
 * grammar around it.
 * Source: Intel SDM vol. 2A, "Instruction format". */
#include "vmm/decode.h"

#include "lib/check.h"
#include "vmm/decode_tables.h"

struct reader {
	const u8 *bytes;
	size_t nr;
	unsigned int at;
};

/* Too long goes before too short: no further byte makes a sixteenth one legal. */
static int reader_take(struct reader *r, unsigned int bytes, u64 *out)
{
	u64 value = 0;
	unsigned int i;

	*out = 0;
	if (r->at + bytes > INSN_MAX_BYTES)
		return trace(-EINVAL);
	if (r->at + bytes > r->nr)
		return -EAGAIN;
	for (i = 0; i < bytes; i++)
		value |= (u64)r->bytes[r->at + i] << (8 * i);
	r->at += bytes;
	*out = value;
	return 0;
}

static int reader_take_signed(struct reader *r, unsigned int bytes, s64 *out)
{
	unsigned int unused_bits = 64 - 8 * bytes;
	u64 value;
	int err;

	err = reader_take(r, bytes, &value);
	if (!err)
		*out = (s64)(value << unused_bits) >> unused_bits;
	return err;
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
	case 0xf0:
		in->prefixes |= PFX_LOCK;
		break;
	case 0xf2:
		in->prefixes = (u8)((in->prefixes & ~PFX_REP) | PFX_REPNE);
		break;
	case 0xf3:
		in->prefixes = (u8)((in->prefixes & ~PFX_REPNE) | PFX_REP);
		break;
	case 0x66:
		in->prefixes |= PFX_OPSIZE;
		break;
	case 0x67:
		in->prefixes |= PFX_ADDRSIZE;
		break;
	case 0x64:
	case 0x65:
		in->segment = (s8)(byte - 0x60);
		break;
	default: /* 26 2E 36 3E */
		if (mode != INSN_64)
			in->segment = (s8)(byte >> 3 & 3);
	}
}

/* Reads the prefixes and the first byte behind them. A REX that another prefix follows is void. */
static int decode_prefixes(struct reader *r, enum insn_mode mode, struct insn *in, u8 *opcode)
{
	u64 byte;
	int err;

	for (;;) {
		err = reader_take(r, 1, &byte);
		if (err)
			return err;
		if (byte_is_rex((u8)byte, mode)) {
			in->rex = (u8)byte;
			continue;
		}
		if (!(opcode_map_1[byte] & OP_PREFIX))
			break;
		in->rex = 0;
		note_prefix(in, (u8)byte, mode);
	}
	*opcode = (u8)byte;
	return 0;
}

/* Finds map and opcode behind the prefixes, and the opcode's shape. */
static int decode_opcode(struct reader *r, enum insn_mode mode, struct insn *in, u16 *shape)
{
	u64 byte;
	int err;

	err = decode_prefixes(r, mode, in, &in->opcode);
	if (err)
		return err;
	in->map = MAP_1;
	*shape = opcode_map_1[in->opcode];

	while (*shape & OP_ESCAPE) {
		err = reader_take(r, 1, &byte);
		if (err)
			return err;
		if (in->map == MAP_1) {
			in->map = MAP_0F;
			*shape = opcode_map_0f[byte];
		} else {
			in->map = in->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			*shape = OP_MODRM | (in->map == MAP_0F3A ? OP_IMM_8 : 0);
		}
		in->opcode = (u8)byte;
	}
	if ((*shape & OP_UNDEFINED) || ((*shape & OP_NOT_64) && mode == INSN_64))
		return trace(-EINVAL);
	return 0;
}

/* Base and index of the eight 16-bit forms; the sixth is an address alone when mod is 0.
 * Source: Intel SDM vol. 2A, "16-bit addressing forms with the ModR/M byte". */
static int decode_memory_16(struct reader *r, struct insn *in, unsigned int mod)
{
	static const s8 bases[8] = {3, 3, 5, 5, 6, 7, 5, 3};
	static const s8 indices[8] = {6, 7, 6, 7, -1, -1, -1, -1};
	unsigned int rm = in->modrm & 7;

	if (mod == 0 && rm == 6)
		return reader_take_signed(r, 2, &in->disp);
	in->base = bases[rm];
	in->index = indices[rm];
	return mod == 0 ? 0 : reader_take_signed(r, mod, &in->disp);
}

/* REX extends the register numbers, but what an encoding means (SIB follows, no base, no index with
 * REX.X clear) is decided by its three bits alone, or rip would be r13. */
static int decode_memory(struct reader *r, enum insn_mode mode, struct insn *in, unsigned int mod)
{
	unsigned int base = in->modrm & 7;
	u64 sib;
	int err;

	if (base == 4) {
		err = reader_take(r, 1, &sib);
		if (err)
			return err;
		base = sib & 7;
		in->index = (s8)((sib >> 3 & 7) | (in->rex & 2 ? 8 : 0));
		if (in->index == 4)
			in->index = -1;
		in->scale = (u8)(1 << (sib >> 6));
		if (base == 5 && mod == 0)
			return reader_take_signed(r, 4, &in->disp);
	} else if (base == 5 && mod == 0) {
		if (mode == INSN_64)
			in->base = 16;
		return reader_take_signed(r, 4, &in->disp);
	}
	in->base = (s8)(base | (in->rex & 1 ? 8 : 0));
	if (mod == 0)
		return 0;
	return reader_take_signed(r, mod == 1 ? 1 : 4, &in->disp);
}

static int decode_modrm(struct reader *r, enum insn_mode mode, u16 shape, struct insn *in)
{
	unsigned int mod;
	u64 byte;
	int err;

	err = reader_take(r, 1, &byte);
	if (err)
		return err;
	in->has_modrm = true;
	in->modrm = (u8)byte;
	in->reg = (u8)((byte >> 3 & 7) | (in->rex & 4 ? 8 : 0));
	in->rm = (u8)((byte & 7) | (in->rex & 1 ? 8 : 0));
	mod = (unsigned int)byte >> 6;
	if (mod == 3 || (shape & OP_CONTROL))
		return 0;
	in->is_mem = true;
	if (in->addr_bytes == 2)
		return decode_memory_16(r, in, mod);
	return decode_memory(r, mode, in, mod);
}

/* Opcodes whose shape hangs on the modrm byte (read, but nothing behind it) or on a prefix. */
static int opcode_refine(enum insn_mode mode, struct insn *in, u8 modrm, u16 *shape)
{
	unsigned int group = modrm >> 3 & 7;

	if (in->map == MAP_0F) { /* 78: VMREAD; with 66 or F2 EXTRQ, INSERTQ and two bytes */
		if (in->prefixes & (PFX_OPSIZE | PFX_REPNE))
			*shape = OP_MODRM | OP_IMM_16;
		return 0;
	}
	switch (in->opcode) {
	case 0x62: /* BOUND LES LDS exist outside of 64-bit mode and with memory; else EVEX, VEX */
	case 0xc4:
	case 0xc5:
		return mode == INSN_64 || modrm >= 0xc0 ? trace(-EINVAL) : 0;
	case 0x8f: /* POP; every XOP prefix would be another group */
		return group ? trace(-EINVAL) : 0;
	case 0xf6: /* TEST has an immediate, NOT NEG MUL DIV have none */
		if (group < 2)
			*shape |= OP_IMM_8;
		return 0;
	case 0xf7:
		if (group < 2)
			*shape |= OP_IMM_Z;
		return 0;
	default: /* FF: near CALL and JMP, PUSH */
		if (group == 2 || group == 4)
			*shape |= OP_FORCE_64;
		else if (group == 6)
			*shape |= OP_DEFAULT_64;
		return 0;
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
	case OP_IMM_REL8:
		return 1;
	case OP_IMM_16:
		return 2;
	case OP_IMM_Z:
	case OP_IMM_RELZ:
		return MIN(in->op_bytes, 4);
	case OP_IMM_V:
		return in->op_bytes;
	case OP_IMM_FAR:
		return in->op_bytes + 2;
	case OP_IMM_ENTER:
		return 3;
	default:
		return 0;
	}
}

static int decode_immediate(struct reader *r, u16 kind, struct insn *in)
{
	bool is_branch = kind == OP_IMM_REL8 || kind == OP_IMM_RELZ;
	s64 value;
	int err;

	if (kind == OP_IMM_NONE)
		return 0;
	if (kind == OP_IMM_MOFFS) {
		in->is_mem = true;
		return reader_take_signed(r, in->addr_bytes, &in->disp);
	}
	in->imm_bytes = (u8)immediate_size(kind, in);
	if (!is_branch && kind != OP_IMM_S8 && kind != OP_IMM_Z)
		return reader_take(r, in->imm_bytes, &in->imm);

	err = reader_take_signed(r, in->imm_bytes, &value);
	if (err)
		return err;
	in->imm = (u64)value;
	if (!is_branch && in->op_bytes < 8)
		in->imm &= (1ull << (8 * in->op_bytes)) - 1;
	return 0;
}

int insn_decode(const u8 *bytes, size_t nr, enum insn_mode mode, struct insn *out)
{
	struct reader r = {bytes, nr, 0};
	u16 shape;
	int err;

	*out = (struct insn){.segment = -1, .base = -1, .index = -1, .scale = 1};
	err = decode_opcode(&r, mode, out, &shape);
	if (err)
		return err;
	out->addr_bytes = address_size(mode, out->prefixes);

	if ((shape & OP_BY_MODRM) && r.at < nr) {
		err = opcode_refine(mode, out, bytes[r.at], &shape);
		if (err)
			return err;
	}
	if (shape & OP_MODRM) {
		err = decode_modrm(&r, mode, shape, out);
		if (err)
			return err;
	}
	out->op_bytes = operand_size(mode, shape, out);
	err = decode_immediate(&r, shape & OP_IMM_MASK, out);
	if (err)
		return err;
	out->length = (u8)r.at;
	return 0;
}

unsigned int insn_matches(const u8 *bytes, size_t nr, enum insn_mode mode, const u8 *opcode,
			  size_t opcode_len)
{
	size_t at = 0;
	size_t i;

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
	for (i = 1; i < opcode_len; i++)
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
