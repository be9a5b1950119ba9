/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that the hypervisor carries out for the guest: a move whose memory operand is a
 * device's register, and string I/O. What else touches a device's memory stops the guest with the
 * instruction's bytes: nothing is guessed.
 *
 * Order: what can fault (reading the source from the guest's memory) comes before what cannot be
 * undone (writing to a device), so a fault leaves the guest as before the instruction. */
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/pt_walk.h"
#include "lib/string.h"
#include "vmm/decode.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"
#include "vmm/io.h"
#include "vmm/vm.h"

/* ---- moves to and from devices ------------------------------------------------------------------ */

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

/* Translate @va for @acc; a #PF that comes of it is injected. Errors as of guest_translate. */
static int translate(struct vcpu *v, u64 va, unsigned int acc, gpa_t *at)
{
	u32 pfec;
	int err = guest_translate(v, va, acc, at, &pfec);

	if (err == -EFAULT)
		vcpu_inject_pf(v, va, pfec);
	return err;
}

/* The linear address of @in's memory operand. */
static u64 operand_address(struct vcpu *v, const struct insn *in)
{
	bool stack = in->base == REG_RSP || in->base == REG_RBP;
	int which = in->segment >= 0 ? in->segment : stack ? SEG_SS : SEG_DS;
	bool flat = guest_insn_mode(v) == INSN_64;
	u64 va = insn_effective_address(in, v->regs, v->rip + in->length);
	struct segment seg;

	hvm->get_segment(v, which, &seg);
	if (flat && which < SEG_FS)
		return va;
	return flat ? va + seg.base : (u32)(va + seg.base);
}

/* A piece of an operand that lies in one page: memory or device. */
static int piece_access(struct vcpu *v, gpa_t at, u8 *value, unsigned int bytes, bool write)
{
	u64 word = 0;

	if (memslot_find(&v->vm->slots, gpa_to_gfn(at)))
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

/* An operand of which one page at least is no memory, at @at. One that lies in a page is just that; one
 * that crosses is cut at the page's end, and both translations are made before anything is done.
 * Return 0; -EFAULT: a #PF was injected; -EIO: not to be carried out; -ENOMEM, -EINTR: later. */
static int operand_access(struct vcpu *v, const struct insn *in, gpa_t at, u64 *value,
			  unsigned int bytes, bool write)
{
	u64 va = operand_address(v, in);
	unsigned int first = MIN(bytes, (unsigned int)(PAGE_SIZE - page_offset(va)));
	unsigned int acc = write ? ACC_W : ACC_R;
	u8 *p = (u8 *)value;
	gpa_t low, high;

	if (first == bytes)
		return piece_access(v, at, p, bytes, write);
	return translate(v, va, acc, &low) ?: translate(v, va + first, acc, &high)
	       ?: piece_access(v, low, p, first, write)
	       ?: piece_access(v, high, p + first, bytes - first, write);
}

/* What a move does: from where, to where, how wide. */
struct move {
	bool write;       /* to memory */
	bool sign;        /* sign-extend to the register */
	unsigned int bytes; /* in memory */
	unsigned int reg_bytes;
	int reg;          /* register; -1: the immediate */
};

/* Which move @in is; false if it is none of those that we know. */
static bool move_decode(const struct insn *in, struct move *m)
{
	unsigned int bytes = in->opcode & 1 ? in->op_bytes : 1;
	u8 kind = in->map == MAP_1 ? in->opcode & 0xfe : 0; /* both widths are one kind */

	*m = (struct move){.bytes = bytes, .reg_bytes = bytes, .reg = in->reg};
	if (in->map == MAP_0F || (in->map == MAP_1 && in->opcode == 0x63)) { /* movzx, movsx; movsxd */
		m->bytes = in->map == MAP_1 ? 4 : in->opcode & 1 ? 2 : 1;
		m->reg_bytes = in->op_bytes;
		m->sign = (in->opcode & 0xfe) != 0xb6;
		return in->map == MAP_1 || (in->opcode & 0xf6) == 0xb6;
	}
	/* 88: mov r/m, r; 8a: mov r, r/m; a0: mov rax, moffs; a2: mov moffs, rax; c6: mov r/m, imm */
	m->write = kind == 0x88 || kind == 0xa2 || kind == 0xc6;
	m->reg = kind == 0xa0 || kind == 0xa2 ? REG_RAX : kind == 0xc6 ? -1 : in->reg;
	return m->write ? kind != 0xc6 || !(in->modrm & 0x38) : kind == 0x8a || kind == 0xa0;
}

static int move_execute(struct vcpu *v, const struct insn *in, const struct move *m, gpa_t at)
{
	u64 value = 0;

	if (m->write)
		value = m->reg < 0 ? in->imm : reg_get(v, in, m->reg, m->bytes);
	int err = operand_access(v, in, at, &value, m->bytes, m->write);
	if (err || m->write)
		return err;
	unsigned int shift = m->sign ? 64 - 8 * m->bytes : 0;
	reg_set(v, in, m->reg, (u64)((s64)(value << shift) >> shift), m->reg_bytes);
	return 0;
}

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

void emulate_mmio(struct vcpu *v, gpa_t at)
{
	u8 code[16];
	struct insn in;
	unsigned int nr = guest_fetch(v, code);
	bool write = v->exit.mmu.acc & ACC_W;
	struct move m;

	/* No bytes, or bytes that make no memory access: another vCPU changed code or tables. */
	if (nr == 0)
		return;
	if (hvm->injection_pending(v)) {
		vm_stop_guest(v, "bad-stack", "an event's delivery touches a device or nothing at gpa %#lx",
			      at.v);
		return;
	}
	int err = insn_decode(code, nr, guest_insn_mode(v), &in);
	if (err == -EAGAIN)
		return; /* its second page is not to be had now */
	if (!err) {
		nr = in.length;
		err = move_decode(&in, &m) && m.write == write ? move_execute(v, &in, &m, at) : -EIO;
	}
	if (err == -EIO || err == -EINVAL)
		stop_unknown(v, code, nr, at);
	if (err == -ENOMEM)
		vm_out_of_memory(v->vm);
	if (err)
		return;
	v->exit.insn_bytes = in.length;
	vcpu_skip(v);
}

/* ---- INS, OUTS ------------------------------------------------------------------------------------- */

/* At most so many elements before the loop of the vCPU has another look at its requests. */
#define STRING_BATCH 256

struct string_io {
	unsigned int bytes;
	unsigned int addr_bytes;
	int reg;      /* RSI or RDI */
	u64 base;     /* of the segment */
	bool in, rep;
};

static u64 masked(u64 value, unsigned int bytes)
{
	return bytes >= 8 ? value : value & ((1ull << (8 * bytes)) - 1);
}

/* One element. Return 0; negative: a fault was injected or the guest stopped. */
static int string_step(struct vcpu *v, const struct string_io *s)
{
	u64 va = s->base + masked(v->regs[s->reg], s->addr_bytes);
	u64 step = v->rflags & RFLAGS_DF ? -(u64)s->bytes : s->bytes;
	u64 value = 0;
	gpa_t at;
	int err;

	if (guest_insn_mode(v) != INSN_64)
		va = (u32)va;
	if (s->in) {
		/* Will the store succeed, where it begins and where its last page does? A device is read
		 * only if so. */
		err = translate(v, va, ACC_W, &at)
		      ?: translate(v, MAX(va, page_down(va + s->bytes - 1)), ACC_W, &at);
		if (err)
			return err;
		value = io_port_read(v, v->exit.io.port, s->bytes);
		err = guest_write_virt(v, va, &value, s->bytes);
	} else {
		err = guest_read_virt(v, &value, va, s->bytes);
		if (!err)
			io_port_write(v, v->exit.io.port, s->bytes, value);
	}
	if (err)
		return err;
	vcpu_set_reg(v, s->reg, masked(v->regs[s->reg] + step, s->addr_bytes),
		     s->addr_bytes == 2 ? 2 : 8);
	return 0;
}

void emulate_string_io(struct vcpu *v)
{
	u8 code[16];
	struct insn in;
	struct segment seg;
	unsigned int nr = guest_fetch(v, code);

	if (insn_decode(code, nr, guest_insn_mode(v), &in) || in.map != MAP_1 ||
	    (in.opcode & 0xfc) != 0x6c)
		return; /* another instruction stands there now */
	struct string_io s = {
		.in = in.opcode < 0x6e,
		.bytes = in.opcode & 1 ? MIN(in.op_bytes, (u8)4) : 1,
		.addr_bytes = in.addr_bytes,
		.rep = in.prefixes & (PFX_REP | PFX_REPNE),
	};
	s.reg = s.in ? REG_RDI : REG_RSI;
	int which = s.in ? SEG_ES : in.segment >= 0 ? in.segment : SEG_DS;
	hvm->get_segment(v, which, &seg);
	if (guest_insn_mode(v) != INSN_64 || which == SEG_FS || which == SEG_GS)
		s.base = seg.base;
	v->exit.io.port = v->regs[REG_RDX];
	v->exit.insn_bytes = in.length;

	for (int i = 0; i < STRING_BATCH; i++) {
		u64 left = s.rep ? masked(v->regs[REG_RCX], s.addr_bytes) : i == 0;
		if (left == 0) {
			vcpu_skip(v);
			return;
		}
		int err = string_step(v, &s);
		if (err == -EIO)
			vm_stop_guest(v, "bad-string-io", "string I/O outside of its memory");
		if (err == -ENOMEM)
			vm_out_of_memory(v->vm);
		if (err)
			return;
		if (s.rep)
			vcpu_set_reg(v, REG_RCX, left - 1, s.addr_bytes == 2 ? 2 : 8);
	}
	/* Not done: rip still stands on it, and it goes on after the next entry. */
}
