/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/decode.c kernel/vmm/decode_tables.c */
/* sources: kernel/lib/string.c */
/* The decoder against its own promises: never more than 15 bytes; what a prefix of the bytes decides, more
 * bytes do not change; what it says of operands is in range; no byte behind the given ones is read (the
 * sanitizer). */
#include "fuzz.h"

#include "vmm/decode.h"

/* A copy of exactly its size. */
static int decode(const u8 *bytes, size_t nr, enum insn_mode mode, struct insn *out)
{
	u8 *copy = malloc(nr ? nr : 1);

	memcpy(copy, bytes, nr);
	int err = insn_decode(copy, nr, mode, out);
	free(copy);
	return err;
}

static void check_insn(const struct insn *in, enum insn_mode mode)
{
	CHECK(in->length && in->length <= INSN_MAX_BYTES, "length %u", in->length);
	CHECK(in->map <= MAP_0F3A && in->reg < 16 && in->rm < 16, "reg %u, rm %u", in->reg, in->rm);
	CHECK(in->op_bytes == 2 || in->op_bytes == 4 || in->op_bytes == 8, "operands of %u", in->op_bytes);
	CHECK(in->addr_bytes == 2 || in->addr_bytes == 4 || in->addr_bytes == 8, "addresses of %u",
	      in->addr_bytes);
	CHECK(in->segment >= -1 && in->segment <= 5, "segment %d", in->segment);
	CHECK(in->base >= -1 && in->base <= 16 && in->index >= -1 && in->index < 16, "base %d, index %d",
	      in->base, in->index);
	CHECK(mode == INSN_64 || (in->op_bytes < 8 && in->addr_bytes < 8 && !in->rex), "64-bit in mode %u",
	      mode);
	CHECK(!in->has_modrm || in->is_mem == (in->modrm < 0xc0) || !in->is_mem, "modrm %x", in->modrm);
	CHECK(in->imm_bytes <= 8, "an immediate of %u", in->imm_bytes);
	CHECK(in->scale == 0 || in->scale == 1 || in->scale == 2 || in->scale == 4 || in->scale == 8,
	      "scale %u", in->scale);
}

void fuzz_one(struct input *in)
{
	enum insn_mode mode = take_below(in, 3);
	u8 code[INSN_MAX_BYTES + 2];
	u64 regs[16];
	struct insn whole = {0}, part;

	take_bytes(in, code, sizeof(code));
	int err = decode(code, sizeof(code), mode, &whole);
	CHECK(err == 0 || err == -EINVAL, "%d with more bytes than there can be", err);
	bool decided = false;
	for (size_t nr = 0; nr < sizeof(code); nr++) {
		memset(&part, 0, sizeof(part));
		int now = decode(code, nr, mode, &part);

		CHECK(now == -EAGAIN || now == err, "%d by %zu bytes, %d by all", now, nr, err);
		CHECK(!decided || now != -EAGAIN, "%zu bytes are not enough, and fewer were", nr);
		CHECK(now || (part.length == whole.length && part.opcode == whole.opcode &&
			      part.imm == whole.imm && part.disp == whole.disp), "another one by %zu bytes", nr);
		CHECK(now || nr >= part.length, "%u bytes out of %zu", part.length, nr);
		CHECK(err || now == (nr < whole.length ? -EAGAIN : 0), "%d by %zu bytes of %u", now, nr,
		      whole.length);
		decided = now != -EAGAIN;
	}
	if (err == 0) {
		check_insn(&whole, mode);
		take_bytes(in, regs, sizeof(regs));
		u64 at = insn_effective_address(&whole, regs, take(in, 8));
		CHECK(whole.addr_bytes == 8 || at >> (8 * whole.addr_bytes) == 0, "address %#lx of %u bytes", at,
		      whole.addr_bytes);
	}
	u8 opcode[3];
	take_bytes(in, opcode, sizeof(opcode));
	size_t opcode_len = 1 + take_below(in, sizeof(opcode)), nr = take_below(in, sizeof(code));
	unsigned int length = insn_matches(code, nr, mode, opcode, opcode_len);
	CHECK(length <= nr, "%u of %zu bytes match", length, nr);
	CHECK(!length || !memcmp(code + length - opcode_len, opcode, opcode_len), "it does not match");
}
