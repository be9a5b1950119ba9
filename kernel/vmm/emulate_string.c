/* SPDX-License-Identifier: BSD-2-Clause */
/* String instructions: one engine for those with ports and those with memory that is a device.
 *
 * Each element is done, its registers written, before the next: a fault leaves them at the element that
 * faulted, rip on the instruction, as hardware does. The first element alone brought us here; the rest is
 * done wherever it lies. Both operands are translated before anything is read or written.
 * Not here: the check of port permissions. The processor made it for the port, width and direction of
 * the exit, so INS and OUTS go on only if the instruction still is that one. */
#include "vmm/emulate.h"

#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/pt_walk.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"
#include "vmm/io.h"
#include "vmm/vm.h"

/* At most so many elements before the loop of the vCPU has another look at its requests. */
#define STRING_BATCH 256

enum place { NOWHERE, PORT, ACC, SI, DI };

/* Indexed by the opcode without its lowest bit, which is the width. */
static const struct string_op {
	u8 from, to;
	bool compare; /* rather than move */
} string_ops[128] = {
	[0x6c / 2] = {PORT, DI, false},     /* INS */
	[0x6e / 2] = {SI, PORT, false},     /* OUTS */
	[0xa4 / 2] = {SI, DI, false},       /* MOVS */
	[0xa6 / 2] = {SI, DI, true},        /* CMPS */
	[0xaa / 2] = {ACC, DI, false},      /* STOS */
	[0xac / 2] = {SI, ACC, false},      /* LODS */
	[0xae / 2] = {ACC, DI, true},       /* SCAS */
};

static bool has_port(const struct string_op *op)
{
	return op->from == PORT || op->to == PORT;
}

bool string_is(const struct insn *in)
{
	return in->map == MAP_1 && string_ops[in->opcode / 2].from != NOWHERE &&
	       !(in->prefixes & PFX_LOCK);
}

static int find(struct vcpu *v, const struct insn *in, int segment, int reg, unsigned int bytes,
		unsigned int acc, struct operand *m)
{
	u64 offset = vcpu_get_reg(v, reg, in->addr_bytes);

	return operand_find(v, operand_linear(v, segment, offset), bytes, acc, m);
}

static void advance(struct vcpu *v, const struct insn *in, int reg, unsigned int bytes)
{
	u64 step = v->rflags & RFLAGS_DF ? -(u64)bytes : bytes;

	vcpu_set_reg(v, reg, v->regs[reg] + step, in->addr_bytes);
}

/* One element. Return 0; negative: as operand_find. */
static int string_step(struct vcpu *v, const struct insn *in, const struct string_op *op,
		       unsigned int bytes)
{
	u64 value = vcpu_get_reg(v, REG_RAX, bytes), other = 0;
	struct operand from, to;
	int err = 0;

	if (op->from == SI)
		err = find(v, in, in->segment >= 0 ? in->segment : SEG_DS, REG_RSI, bytes, ACC_R, &from);
	if (!err && op->to == DI)
		err = find(v, in, SEG_ES, REG_RDI, bytes, op->compare ? ACC_R : ACC_W, &to);
	if (!err && op->from == SI)
		err = operand_access(v, &from, &value, false);
	if (err)
		return err;
	if (op->to == DI && op->from != ACC && !op->compare) /* a frame, before what a device gives is gone */
		err = operand_reserve(v, &to);
	if (err)
		return err;
	if (op->from == PORT)
		value = io_port_read(v, v->exit.io.port, bytes);
	if (op->to == DI)
		err = operand_access(v, &to, op->compare ? &other : &value, !op->compare);
	if (err)
		return err;
	if (op->to == PORT)
		io_port_write(v, v->exit.io.port, bytes, value);
	if (op->to == ACC)
		vcpu_set_reg(v, REG_RAX, value, bytes);
	if (op->compare)
		alu(ALU_CMP, value, other, bytes, &v->rflags);
	if (op->from == SI)
		advance(v, in, REG_RSI, bytes);
	if (op->to == DI)
		advance(v, in, REG_RDI, bytes);
	return 0;
}

int string_execute(struct vcpu *v, const struct insn *in)
{
	const struct string_op *op = &string_ops[in->opcode / 2];
	bool rep = in->prefixes & (PFX_REP | PFX_REPNE);
	bool until = in->prefixes & PFX_REPNE; /* a comparison goes on while ZF is not that */
	unsigned int bytes = in->opcode & 1 ? in->op_bytes : 1;
	u64 left = rep ? vcpu_get_reg(v, REG_RCX, in->addr_bytes) : 1;

	if (has_port(op) && (v->exit.reason != EXIT_IO || v->exit.io.in != (op->from == PORT) ||
			     v->exit.io.bytes != bytes))
		return -EAGAIN;
	for (int i = 0; left && i < STRING_BATCH && !vcpu_must_leave(v); i++) {
		int err = string_step(v, in, op, bytes);
		if (err)
			return err;
		left--;
		if (rep)
			vcpu_set_reg(v, REG_RCX, left, in->addr_bytes);
		if (op->compare && !(v->rflags & RFLAGS_ZF) != until)
			return 0;
	}
	return left ? -EAGAIN : 0;
}

void emulate_string_io(struct vcpu *v)
{
	u8 code[16];
	struct insn in;
	unsigned int nr = guest_fetch(v, code);

	if (insn_decode(code, nr, guest_insn_mode(v), &in) || !string_is(&in) ||
	    !has_port(&string_ops[in.opcode / 2]))
		return; /* another instruction stands there now */
	emulate_end(v, &in, string_execute(v, &in));
}
