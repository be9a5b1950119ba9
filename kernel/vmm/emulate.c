/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that the hypervisor carries out for the guest, because their memory operand is a device's
 * register or nothing: moves, arithmetic and logic here, strings in emulate_string.c. What else touches
 * a device's memory stops the guest with the instruction's bytes: nothing is guessed.
 *
 * Order: what can fault (translating, the guest's memory) comes before what cannot be undone (writing to
 * a device), and registers and flags come last, so a fault leaves the guest as before the instruction.
 *
 * The instruction is the one that stands at rip now. If that is not the one that faulted, because
 * another vCPU has written code or tables, the guest is entered again and the processor does it.
 *
 * LOCK is accepted: a device's register changes only by what its own lock lets through, one access after
 * the other, and memory beside it, in an operand across the border, is changed without a bus lock.
 * Source: Intel SDM vol. 2, each instruction's page; vol. 1, "Status flags". */
#include "vmm/emulate.h"

#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/pt_walk.h"
#include "lib/string.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"
#include "vmm/io.h"
#include "vmm/vm.h"

/* ---- operands ----------------------------------------------------------------------------------- */

/* Byte registers without REX: 4 to 7 name the second bytes of the first four. */
static u64 reg_get(const struct vcpu *v, const struct insn *in, int reg, unsigned int bytes)
{
	if (bytes == 1 && !in->rex && reg >= 4 && reg < 8)
		return (v->regs[reg - 4] >> 8) & 0xff;
	return vcpu_get_reg(v, reg, bytes);
}

static void reg_set(struct vcpu *v, const struct insn *in, int reg, u64 value, unsigned int bytes)
{
	if (bytes == 1 && !in->rex && reg >= 4 && reg < 8)
		v->regs[reg - 4] = (v->regs[reg - 4] & ~0xff00ull) | (value & 0xff) << 8;
	else
		vcpu_set_reg(v, reg, value, bytes);
}

u64 operand_linear(struct vcpu *v, int which, u64 offset)
{
	bool flat = guest_insn_mode(v) == INSN_64;
	struct segment seg;

	hvm->get_segment(v, which, &seg);
	if (flat && which < SEG_FS)
		return offset;
	return flat ? offset + seg.base : (u32)(offset + seg.base);
}

/* Translate @va for @acc; a #PF that comes of it is injected. Errors as of guest_translate. */
static int translate(struct vcpu *v, u64 va, unsigned int acc, gpa_t *at)
{
	u32 pfec;
	int err = guest_translate(v, va, acc, at, &pfec);

	if (err == -EFAULT)
		vcpu_inject_pf(v, va, pfec);
	return err;
}

int operand_find(struct vcpu *v, u64 va, unsigned int bytes, unsigned int acc, struct operand *m)
{
	m->bytes = MIN(bytes, (unsigned int)(PAGE_SIZE - page_offset(va)));
	m->next_bytes = bytes - m->bytes;
	int err = translate(v, va, acc, &m->at);
	return err || !m->next_bytes ? err : translate(v, va + m->bytes, acc, &m->next);
}

static bool is_memory(struct vcpu *v, gpa_t at)
{
	return memslot_find(&v->vm->slots, gpa_to_gfn(at));
}

/* A piece of an operand that lies in one page: memory or device. */
static int piece_access(struct vcpu *v, gpa_t at, u8 *value, unsigned int bytes, bool write)
{
	u64 word = 0;

	if (is_memory(v, at))
		return write ? guest_write(v, at, value, bytes) : guest_read(v, value, at, bytes);
	if (write) {
		memcpy(&word, value, bytes);
		io_mmio_write(v, at, bytes, word);
	} else {
		word = io_mmio_read(v, at, bytes);
		memcpy(value, &word, bytes);
	}
	return 0;
}

int operand_reserve(struct vcpu *v, const struct operand *m)
{
	int err = is_memory(v, m->at) ? guest_reserve(v, m->at, m->bytes) : 0;

	return err || !m->next_bytes || !is_memory(v, m->next) ? err
							       : guest_reserve(v, m->next, m->next_bytes);
}

int operand_access(struct vcpu *v, const struct operand *m, u64 *value, bool write)
{
	u8 *p = (u8 *)value, *next = p + m->bytes;

	if (!m->next_bytes)
		return piece_access(v, m->at, p, m->bytes, write);
	if (is_memory(v, m->next))
		return piece_access(v, m->next, next, m->next_bytes, write)
		       ?: piece_access(v, m->at, p, m->bytes, write);
	return piece_access(v, m->at, p, m->bytes, write)
	       ?: piece_access(v, m->next, next, m->next_bytes, write);
}

/* @in's memory operand. If it lies in one page, where the processor says that the access was, at @at, that
 * saves a walk through the guest's tables. -EAGAIN: it is memory, so the processor can do it itself. */
static int operand_of(struct vcpu *v, const struct insn *in, gpa_t at, unsigned int bytes,
		      unsigned int acc, struct operand *m)
{
	bool stack = in->base == REG_RSP || in->base == REG_RBP;
	int which = in->segment >= 0 ? in->segment : stack ? SEG_SS : SEG_DS;
	u64 va = operand_linear(v, which, insn_effective_address(in, v->regs, v->rip + in->length));

	if (page_offset(va) == page_offset(at.v) && page_offset(va) + bytes <= PAGE_SIZE) {
		*m = (struct operand){.at = at, .bytes = bytes};
		return 0;
	}
	int err = operand_find(v, va, bytes, acc, m);
	if (err)
		return err;
	return is_memory(v, m->at) && (!m->next_bytes || is_memory(v, m->next)) ? -EAGAIN : 0;
}

/* ---- arithmetic --------------------------------------------------------------------------------- */

enum { FLAG_CF = 1 << 0, FLAG_PF = 1 << 2, FLAG_AF = 1 << 4, FLAG_SF = 1 << 7, FLAG_OF = 1 << 11,
       FLAGS_ALL = FLAG_CF | FLAG_PF | FLAG_AF | RFLAGS_ZF | FLAG_SF | FLAG_OF };

/* ALU_ADD to ALU_TEST. a - b - c is ~(~a + b + c), whose carries are the borrows: one adder does both.
 * Logic has no carries. */
static u64 alu_binary(enum alu_op op, u64 a, u64 b, unsigned int bytes, u64 *flags)
{
	bool minus = op == ALU_SUB || op == ALU_SBB || op == ALU_CMP;
	u64 carry = op == ALU_ADC || op == ALU_SBB ? *flags & FLAG_CF : 0;
	u64 x = minus ? ~a : a, sum = x + b + carry;
	u64 carries = (x & b) | ((x | b) & ~sum), overflows = (x ^ sum) & (b ^ sum);
	u64 result = minus ? ~sum : sum;
	unsigned int top = 8 * bytes - 1;

	if (op == ALU_OR || op == ALU_AND || op == ALU_XOR || op == ALU_TEST) {
		result = op == ALU_OR ? a | b : op == ALU_XOR ? a ^ b : a & b;
		carries = overflows = 0;
	}
	result <<= 63 - top;
	*flags &= ~(u64)FLAGS_ALL;
	*flags |= (carries >> top & 1 ? FLAG_CF : 0) | (carries >> 3 & 1 ? FLAG_AF : 0) |
		  (overflows >> top & 1 ? FLAG_OF : 0) | (result >> 63 ? FLAG_SF : 0) |
		  (result ? 0 : RFLAGS_ZF);
	result >>= 63 - top;
	*flags |= __builtin_parity(result & 0xff) ? 0 : FLAG_PF;
	return result;
}

u64 alu(enum alu_op op, u64 a, u64 b, unsigned int bytes, u64 *flags)
{
	unsigned int unused_bits = 64 - 8 * bytes;
	u64 carry = *flags & FLAG_CF;

	switch (op) {
	case ALU_MOV: return b;
	case ALU_MOVSX: return (u64)((s64)(b << unused_bits) >> unused_bits);
	case ALU_NOT: return ~a;
	case ALU_NEG: return alu_binary(ALU_SUB, 0, a, bytes, flags);
	case ALU_INC: /* these two leave the carry alone */
	case ALU_DEC:
		a = alu_binary(op == ALU_INC ? ALU_ADD : ALU_SUB, a, 1, bytes, flags);
		*flags = (*flags & ~(u64)FLAG_CF) | carry;
		return a;
	default: return alu_binary(op, a, b, bytes, flags);
	}
}

/* ---- instructions with a memory operand --------------------------------------------------------- */

enum { BY_OPCODE = 0x80, BY_GROUP, CMPXCHG }; /* @what: the ALU operation is in these three bits of it */
enum { REG, IMM, ACC };              /* the other operand */
enum { TO_REG, TO_MEM, SWAP };       /* SWAP: to memory, whose old value goes to the register */
enum { ANY = -1 };

static const struct op {
	u16 opcode;    /* map << 8 | opcode */
	u8 free;       /* its bits that may differ; the lowest is then the width */
	s8 group;      /* the three bits of modrm; ANY: they are a register */
	u8 what;       /* enum alu_op; operands in the order: destination, source */
	u8 other, to;
	u8 mem_bytes;  /* 0: as the register's */
} ops[] = {
	{0x088, 1, ANY, ALU_MOV, REG, TO_MEM, 0},
	{0x08a, 1, ANY, ALU_MOV, REG, TO_REG, 0},
	{0x0c6, 1, 0, ALU_MOV, IMM, TO_MEM, 0},
	{0x0a0, 1, ANY, ALU_MOV, ACC, TO_REG, 0},
	{0x0a2, 1, ANY, ALU_MOV, ACC, TO_MEM, 0},
	{0x1b6, 0, ANY, ALU_MOV, REG, TO_REG, 1},   /* MOVZX */
	{0x1b7, 0, ANY, ALU_MOV, REG, TO_REG, 2},
	{0x1be, 0, ANY, ALU_MOVSX, REG, TO_REG, 1},
	{0x1bf, 0, ANY, ALU_MOVSX, REG, TO_REG, 2},
	{0x063, 0, ANY, ALU_MOVSX, REG, TO_REG, 4}, /* MOVSXD */
	{0x000, 0x39, ANY, BY_OPCODE, REG, TO_MEM, 0},
	{0x002, 0x39, ANY, BY_OPCODE, REG, TO_REG, 0},
	{0x080, 3, ANY, BY_GROUP, IMM, TO_MEM, 0},
	{0x084, 1, ANY, ALU_TEST, REG, TO_MEM, 0},
	{0x0f6, 1, 0, ALU_TEST, IMM, TO_MEM, 0},
	{0x0f6, 1, 1, ALU_TEST, IMM, TO_MEM, 0},
	{0x0f6, 1, 2, ALU_NOT, IMM, TO_MEM, 0},
	{0x0f6, 1, 3, ALU_NEG, IMM, TO_MEM, 0},
	{0x0fe, 1, 0, ALU_INC, IMM, TO_MEM, 0},
	{0x0fe, 1, 1, ALU_DEC, IMM, TO_MEM, 0},
	{0x086, 1, ANY, ALU_MOV, REG, SWAP, 0},     /* XCHG */
	{0x1c0, 1, ANY, ALU_ADD, REG, SWAP, 0},     /* XADD */
	{0x1b0, 1, ANY, CMPXCHG, REG, TO_MEM, 0},
};

static const struct op *op_find(const struct insn *in, bool mode_64)
{
	u16 opcode = (u16)(in->map << 8 | in->opcode);

	for (const struct op *o = ops; o < ops + ARRAY_SIZE(ops); o++)
		if ((opcode & ~o->free) == o->opcode && (o->group == ANY || o->group == (in->modrm >> 3 & 7)))
			return opcode == 0x63 && !mode_64 ? NULL : o; /* ARPL elsewhere */
	return NULL;
}

/* CMPXCHG - @old is what memory holds; returns what it is to hold. */
static u64 compare_exchange(struct vcpu *v, u64 old, u64 new, unsigned int bytes, u64 *flags)
{
	alu(ALU_CMP, vcpu_get_reg(v, REG_RAX, bytes), old, bytes, flags);
	return *flags & RFLAGS_ZF ? new : old;
}

static int op_execute(struct vcpu *v, const struct insn *in, gpa_t at)
{
	const struct op *o = op_find(in, guest_insn_mode(v) == INSN_64);
	if (!o)
		return -EINVAL;
	unsigned int what = o->what == BY_OPCODE ? in->opcode >> 3 & 7
			    : o->what == BY_GROUP ? in->modrm >> 3 & 7 : o->what;
	unsigned int reg_bytes = o->mem_bytes || in->opcode & 1 ? in->op_bytes : 1;
	unsigned int bytes = o->mem_bytes ?: reg_bytes;
	int reg = o->other == ACC ? REG_RAX : in->reg;
	bool keeps = what != ALU_CMP && what != ALU_TEST;
	bool writes = keeps && o->to != TO_REG, reads = what != ALU_MOV || o->to != TO_MEM;
	u64 mem = 0, flags = v->rflags, result;
	u64 other = o->other == IMM ? in->imm : reg_get(v, in, reg, bytes);
	struct operand m;

	/* What has no memory operand, or has it for something else, or may have no LOCK, cannot be what
	 * brought us. */
	if (!in->is_mem || !(v->exit.mmu.acc & ACC_W ? writes : reads) ||
	    ((in->prefixes & PFX_LOCK) && !(reads && writes)))
		return -EAGAIN;
	int err = operand_of(v, in, at, bytes, writes ? ACC_W : ACC_R, &m);
	if (!err && reads)
		err = operand_access(v, &m, &mem, false);
	if (err)
		return err;
	if (what == CMPXCHG)
		result = compare_exchange(v, mem, other, bytes, &flags);
	else if (o->to == TO_REG)
		result = alu(what, other, mem, bytes, &flags);
	else
		result = alu(what, mem, other, bytes, &flags);
	if (writes)
		err = operand_access(v, &m, &result, true);
	if (err)
		return err;
	if (o->to == TO_REG && keeps)
		reg_set(v, in, reg, result, reg_bytes);
	if (o->to == SWAP)
		reg_set(v, in, reg, mem, bytes);
	if (what == CMPXCHG && !(flags & RFLAGS_ZF))
		vcpu_set_reg(v, REG_RAX, mem, bytes);
	v->rflags = flags;
	return 0;
}

/* ---- exits -------------------------------------------------------------------------------------- */

static void stop_unknown(struct vcpu *v, const u8 *code, unsigned int nr, gpa_t at)
{
	char text[64];
	size_t len = 0;

	for (unsigned int i = 0; i < nr && len < sizeof(text); i++)
		len += text_format(text + len, sizeof(text) - len, "%02x ", code[i]);
	vm_stop_guest(v, "not-emulated",
		      "an instruction that is not emulated touches a device or nothing at gpa %#lx; "
		      "its bytes: %s", at.v, text);
}

void emulate_end(struct vcpu *v, const struct insn *in, int err)
{
	if (err == -ENOMEM)
		vm_out_of_memory(v->vm);
	else if (err == -EIO)
		vm_stop_guest(v, "swap-read-error", "a page that it uses cannot be read back from swap");
	else if (err == -ENXIO)
		vm_stop_guest(v, "bad-page-table", "its page tables lie outside its memory");
	if (err)
		return;
	v->exit.insn_bytes = in->length;
	vcpu_skip(v);
}

void emulate_mmio(struct vcpu *v, gpa_t at)
{
	u8 code[16];
	struct insn in;
	unsigned int nr = guest_fetch(v, code);

	/* No bytes, or (-EAGAIN of the decoder) not all: another vCPU changed tables, or they are not to be
	 * had now. The guest is entered again, and the processor faults for them. */
	if (nr == 0)
		return;
	if (hvm->injection_pending(v)) {
		vm_stop_guest(v, "bad-stack", "an event's delivery touches a device or nothing at gpa %#lx",
			      at.v);
		return;
	}
	int err = insn_decode(code, nr, guest_insn_mode(v), &in);
	if (!err) {
		nr = in.length;
		err = string_is(&in) ? string_execute(v, &in) : op_execute(v, &in, at);
	}
	if (err == -EINVAL)
		stop_unknown(v, code, nr, at);
	emulate_end(v, &in, err);
}
