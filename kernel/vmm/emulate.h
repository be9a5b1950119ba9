/* SPDX-License-Identifier: BSD-2-Clause */
/* What emulated instructions are made of: operands in memory or a device, and arithmetic with flags.
 * For emulate.c and emulate_string.c. => all: v's thread, may sleep (N11) */
#pragma once

#include "vmm/decode.h"
#include "vmm/vcpu.h"

/* An operand of up to 8 bytes; one that crosses a page's end goes on at @next. */
struct operand {
	gpa_t at, next;
	unsigned int bytes, next_bytes;
};

/* operand_linear - the linear address of @offset in segment @which: in 64-bit code only FS and GS have a
 * base, elsewhere addresses wrap at 4 GiB. Limits are not looked at. */
u64 operand_linear(struct vcpu *v, int which, u64 offset);

/* operand_find - translate the @bytes at linear @va for @acc, by the guest's CPL.
 * Return 0; -EFAULT: a #PF was injected; -ENXIO: its tables are no memory; -ENOMEM, -EINTR: later.
 * operand_access - read it to *@value, or write it, be it memory or device. A part that is memory comes
 * first: it may fail (-ENOMEM, -EINTR), and what a device was told cannot be taken back. */
int must_check operand_find(struct vcpu *v, u64 va, unsigned int bytes, unsigned int acc,
			    struct operand *m);
int must_check operand_access(struct vcpu *v, const struct operand *m, u64 *value, bool write);
/* operand_reserve - what of it is memory can be written now: a device may be read for it. */
int must_check operand_reserve(struct vcpu *v, const struct operand *m);

/* The first eight as opcodes number them. */
enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST, ALU_NOT,
	      ALU_NEG, ALU_INC, ALU_DEC, ALU_MOV, ALU_MOVSX };

/* alu - @a and @b, of @bytes with zeros above, by @op, which sets *@flags as it does on hardware. Of the
 * result only the lowest @bytes count, except that ALU_MOVSX extends @b to all 8. */
u64 alu(enum alu_op op, u64 a, u64 b, unsigned int bytes, u64 *flags);

/* string_is - is it MOVS, CMPS, STOS, LODS, SCAS, INS or OUTS?
 * string_execute - up to a batch of its elements. Return 0: done; -EAGAIN: registers say how far it is;
 * errors as operand_find, with the registers at the element that failed. */
bool string_is(const struct insn *in);
int must_check string_execute(struct vcpu *v, const struct insn *in);

/* emulate_end - what comes after @in, which returned @err: 0 moves rip past it, -ENOMEM asks for memory,
 * -EIO and -ENXIO end the guest; otherwise it is entered at the same instruction. */
void emulate_end(struct vcpu *v, const struct insn *in, int err);
