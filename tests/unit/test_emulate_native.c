/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/emulate.c kernel/vmm/emulate_string.c kernel/vmm/guest_mem.c
 * kernel/vmm/decode.c kernel/vmm/decode_tables.c kernel/vmm/io.c kernel/lib/pt_walk.c
 * kernel/lib/pt_format.c kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* Emulated instructions against the real ones: random instructions of every form that emulate.c knows, run
 * by the test's processor on plain memory and by the emulator on memory and a device behind it. Registers,
 * flags and all of the memory must come out the same.
 *
 *	ARENA          ARENA + HALF        ARENA + 2 * HALF
 *	| guest RAM    | device            |    emulated; natively all is memory
 */
#include "emulate_fixture.h"

#include "native_insn.h"

#define ARENA  0x50000000ul
#define HALF   (4 * PAGE_SIZE)
#define BORDER (ARENA + HALF)

enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, DF = 0x400, OF = 0x800 };
#define ALL (CF | PF | AF | ZF | SF | OF)

static u8 *native_arena;
static u8 behind[HALF]; /* the device */
static unsigned int nr_reads, nr_writes;
static struct rng chance;

static u64 behind_read(unused struct vcpu *who, unused void *dev, u64 offset, unsigned int bytes)
{
	u64 value = 0;

	nr_reads++;
	memcpy(&value, behind + offset, bytes);
	return value;
}

static void behind_write(unused struct vcpu *who, unused void *dev, u64 offset, unsigned int bytes,
			 u64 value)
{
	nr_writes++;
	memcpy(behind + offset, &value, bytes);
}

static const struct io_ops behind_ops = {.name = "behind", .read = behind_read, .write = behind_write};

static u8 *arena_ram(void)
{
	return host_ram(8 * PAGE_SIZE);
}

static u8 *arena_emulated(u64 at)
{
	return at < BORDER ? arena_ram() + (at - ARENA) : behind + (at - BORDER);
}

static int arena_setup(void **state)
{
	setup(state);
	host_vm->slots.slot[1] = (struct memslot){.gfn = ARENA >> PAGE_SHIFT, .nr_pages = HALF >> PAGE_SHIFT,
						  .hva = (u64)arena_ram()};
	host_vm->slots.slot[0].nr_pages = 8;
	host_vm->slots.nr = 2;
	io_add_mmio(&host_vm->io, BORDER, HALF, &behind_ops, NULL);
	vmm_host_mode(v, 64);
	native_arena = native_memory(ARENA, 2 * HALF);
	memset(behind, 0, sizeof(behind));
	chance = rng_seeded(0xe301);
	return 0;
}

static int arena_teardown(void **state)
{
	munmap(native_arena, 2 * HALF);
	return vmm_host_teardown(state);
}

/* Values where carries, signs and zeros are. */
static u64 value_any(void)
{
	static const u64 edges[] = {0, 1, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
				    0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull};

	if (rng_percent(&chance, 50))
		return edges[rng_below(&chance, ARRAY_SIZE(edges))] * (rng_percent(&chance, 50) ? 1 : 0x0101010101010101);
	return rng_next(&chance);
}

static void arena_fill(u64 at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		*arena_emulated(at + i) = *(u8 *)(at + i) = value_any();
}

/* ---- one instruction, both ways ----------------------------------------------------------------- */

struct code {
	u8 byte[16];
	size_t nr;
};

static void put(struct code *c, u64 value, size_t bytes)
{
	memcpy(c->byte + c->nr, &value, bytes);
	c->nr += bytes;
}

static void fail_both(const struct code *c, const char *what, u64 at, u64 emulated, u64 native)
{
	char text[64] = "";

	for (size_t i = 0; i < c->nr; i++)
		sprintf(text + 3 * i, "%02x ", c->byte[i]);
	fail_msg("%s: %s %#lx: emulated %#lx, native %#lx", text, what, at, emulated, native);
}

/* Registers and memory must be the same, and those flags that @flags says. */
static void compare_both(const struct code *c, const struct native *n, u64 flags)
{
	for (int r = 0; r < 16; r++)
		if (reg[r] != n->regs[r])
			fail_both(c, "register", r, reg[r], n->regs[r]);
	if ((v->rflags ^ n->flags) & flags)
		fail_both(c, "flags", flags, v->rflags & flags, n->flags & flags);
	if (!memcmp(arena_ram(), native_arena, HALF) && !memcmp(behind, native_arena + HALF, HALF))
		return;
	for (u64 at = ARENA; at < ARENA + 2 * HALF; at++)
		if (*arena_emulated(at) != *(u8 *)at)
			fail_both(c, "memory at", at, *arena_emulated(at), *(u8 *)at);
}

/* Returns in how many rounds the emulator was done. */
static unsigned int run_both(const struct code *c, struct native *n, u64 at, unsigned int acc, u64 flags)
{
	unsigned int rounds = 0;

	memcpy(reg, n->regs, sizeof(n->regs));
	v->rflags = RFLAGS_FIXED | RFLAGS_IF | n->flags;
	vmm_host_code(v, CODE, c->byte, c->nr);
	nr_reads = nr_writes = 0;
	for (; v->rip == CODE && rounds < 100 && !host_record.nr_stopped; rounds++) {
		v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(at), .acc = acc}};
		emulate_mmio(v, gpa(at));
	}
	if (v->rip != CODE + c->nr || cpu->nr_exceptions)
		fail_both(c, host_record.nr_stopped ? host_record.text : "not done", 0, v->rip - CODE, c->nr);
	native_run(n, c->byte, c->nr);
	compare_both(c, n, flags | DF);
	return rounds;
}

/* ---- instructions with a memory operand --------------------------------------------------------- */

enum { W = 1, R = 2, RW = W | R, LOCK = 4, MOFFS = 8, IMM = 16 };

static const struct form {
	u16 opcode;    /* 0x100: behind 0F; both widths */
	s8 group;      /* -1: any register */
	u8 how;
	u16 flags;     /* that are defined afterwards */
} forms[] = {
	{0x00, -1, RW | LOCK, ALL}, {0x08, -1, RW | LOCK, ALL & ~AF}, {0x10, -1, RW | LOCK, ALL},
	{0x18, -1, RW | LOCK, ALL}, {0x20, -1, RW | LOCK, ALL & ~AF}, {0x28, -1, RW | LOCK, ALL},
	{0x30, -1, RW | LOCK, ALL & ~AF}, {0x38, -1, R, ALL},
	{0x02, -1, R, ALL}, {0x0a, -1, R, ALL & ~AF}, {0x12, -1, R, ALL}, {0x1a, -1, R, ALL},
	{0x22, -1, R, ALL & ~AF}, {0x2a, -1, R, ALL}, {0x32, -1, R, ALL & ~AF}, {0x3a, -1, R, ALL},
	{0x80, 0, RW | LOCK | IMM, ALL}, {0x80, 1, RW | LOCK | IMM, ALL & ~AF},
	{0x80, 2, RW | LOCK | IMM, ALL}, {0x80, 3, RW | LOCK | IMM, ALL},
	{0x80, 4, RW | LOCK | IMM, ALL & ~AF}, {0x80, 5, RW | LOCK | IMM, ALL},
	{0x80, 6, RW | LOCK | IMM, ALL & ~AF}, {0x80, 7, R | IMM, ALL},
	{0x83, 0, RW | LOCK | IMM, ALL}, {0x83, 2, RW | LOCK | IMM, ALL}, {0x83, 3, RW | LOCK | IMM, ALL},
	{0x83, 4, RW | LOCK | IMM, ALL & ~AF}, {0x83, 7, R | IMM, ALL},
	{0x84, -1, R, ALL & ~AF}, {0x86, -1, RW | LOCK, ALL},
	{0x88, -1, W, ALL}, {0x8a, -1, R, ALL}, {0xa0, -1, R | MOFFS, ALL}, {0xa2, -1, W | MOFFS, ALL},
	{0xc6, 0, W | IMM, ALL},
	{0xf6, 0, R | IMM, ALL & ~AF}, {0xf6, 1, R | IMM, ALL & ~AF}, {0xf6, 2, RW | LOCK, ALL},
	{0xf6, 3, RW | LOCK, ALL}, {0xfe, 0, RW | LOCK, ALL}, {0xfe, 1, RW | LOCK, ALL},
	{0x63, -1, R, ALL}, {0x1b6, -1, R, ALL}, {0x1be, -1, R, ALL},
	{0x1b0, -1, RW | LOCK, ALL}, {0x1c0, -1, RW | LOCK, ALL},
};

struct made {
	struct code code;
	struct native n;
	u64 target;         /* the operand's address */
	unsigned int bytes; /* of it */
};

/* modrm, SIB and displacement for some addressing form; its registers are set so that it names the target. */
static void put_operand(struct made *m, u8 rex, u8 field, bool addr32)
{
	int base = rng_below(&chance, 8), index = rng_below(&chance, 8);
	bool sib = base == 4 || rng_percent(&chance, 40), disp8 = rng_percent(&chance, 50);
	s32 disp = disp8 ? (s8)rng_next(&chance) : (s32)(rng_next(&chance) % 0x20000) - 0x10000;
	u64 address = m->target - (s64)disp;
	u8 scale = rng_below(&chance, 4), mod = disp8 ? 0x40 : 0x80;

	base |= rex & 1 ? 8 : 0;
	index |= rex & 2 ? 8 : 0;
	index ^= index == base; /* one register cannot be both here */
	put(&m->code, mod | field << 3 | (sib ? 4 : base & 7), 1);
	if (sib)
		put(&m->code, scale << 6 | (index & 7) << 3 | (base & 7), 1);
	if (sib && index != 4) { /* 4: none */
		m->n.regs[index] = rng_next(&chance) % 0x1000;
		address -= m->n.regs[index] << scale;
	}
	m->n.regs[base] = addr32 ? (u32)address | rng_next(&chance) << 32 : address;
	put(&m->code, (u64)(s64)disp, disp8 ? 1 : 4);
}

static void make_instruction(struct made *m, const struct form *f, bool aligned)
{
	/* 80 stands for itself and 81, 83 and 63 for themselves alone. */
	bool one_width = f->opcode == 0x83 || f->opcode == 0x63;
	u16 opcode = f->opcode | (!one_width && rng_percent(&chance, 70));
	bool op16 = rng_percent(&chance, 25), addr32 = rng_percent(&chance, 15);
	u8 rex = rng_percent(&chance, 70) ? 0x40 | (rng_next(&chance) & 0xf) : 0;
	unsigned int op_bytes = rex & 8 ? 8 : op16 ? 2 : 4;
	u8 field = f->group >= 0 ? (u8)f->group : rng_next(&chance) & 7;

	m->bytes = opcode & 1 ? op_bytes : 1;
	if (opcode == 0x63)
		m->bytes = 4; /* with 66 as well, whatever becomes of the upper half */
	if (f->opcode == 0x1b6 || f->opcode == 0x1be)
		m->bytes = 1 + (opcode & 1);
	m->code.nr = 0;
	for (int r = 0; r < 16; r++)
		m->n.regs[r] = value_any();
	m->n.flags = rng_next(&chance) & (ALL | DF);
	m->target = BORDER + HALF - m->bytes; /* the device's end: nothing behind it is asked for */
	if (rng_percent(&chance, 90))
		m->target = BORDER + rng_below(&chance, HALF - 16);
	if (rng_percent(&chance, 30)) /* about the end of RAM, or of the device's first page */
		m->target = (rng_percent(&chance, 70) ? BORDER : BORDER + PAGE_SIZE) + 7 - rng_below(&chance, 14);
	m->target = MAX(m->target, BORDER + 1 - m->bytes);
	if (aligned)
		m->target = BORDER + 64;

	if ((f->how & LOCK) && rng_percent(&chance, 20))
		put(&m->code, 0xf0, 1);
	if (op16)
		put(&m->code, 0x66, 1);
	if (addr32)
		put(&m->code, 0x67, 1);
	if (rex)
		put(&m->code, rex, 1);
	if (opcode & 0x100)
		put(&m->code, 0x0f, 1);
	put(&m->code, opcode, 1);
	if (f->how & MOFFS)
		put(&m->code, m->target, addr32 ? 4 : 8);
	else
		put_operand(m, rex, field, addr32);
	if (f->how & IMM)
		put(&m->code, value_any(), opcode == 0x83 || !(opcode & 1) ? 1 : MIN(op_bytes, 4u));
}

static void one_instruction(const struct form *f, bool aligned)
{
	struct made m;

	make_instruction(&m, f, aligned);
	arena_fill(m.target, m.bytes);
	if (f->opcode == 0x1b0 && rng_percent(&chance, 50)) /* CMPXCHG finds what it looks for */
		for (unsigned int i = 0; i < m.bytes; i++)
			*arena_emulated(m.target + i) = *(u8 *)(m.target + i) = m.n.regs[REG_RAX] >> (8 * i);
	unsigned int acc = (f->how & RW) == RW ? rng_percent(&chance, 50) ? ACC_W : ACC_R
			   : f->how & W ? ACC_W : ACC_R;
	run_both(&m.code, &m.n, MAX(m.target, BORDER), acc, f->flags);
	if (aligned && (nr_reads != (f->how & R ? 1u : 0) || nr_writes != (f->how & W ? 1u : 0)))
		fail_both(&m.code, "reads and writes", 0, nr_reads, nr_writes);
}

static void every_form(unused void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (int k = 0; k < 300; k++)
			one_instruction(&forms[i], false);
	assert_int_equal(host_vm->nr_stray, 0);
}

/* A device sees one read, one write, or one of each: what the form says. */
static void accesses_are_counted(unused void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (int k = 0; k < 20; k++)
			one_instruction(&forms[i], true);
}

/* ---- strings ------------------------------------------------------------------------------------ */

/* An address from which @count elements, up or down, stay in the arena; often about the border. */
static u64 string_start(u64 length, bool down, unsigned int bytes)
{
	u64 first = ARENA + rng_below(&chance, 2 * HALF - length);

	if (rng_percent(&chance, 40))
		first = BORDER - rng_below(&chance, length + 1);
	return down ? first + length - bytes : first;
}

static void one_string(u8 opcode)
{
	static const u8 reps[] = {0, 0xf2, 0xf3, 0xf3};
	struct made m = {.n.flags = rng_next(&chance) & (ALL | DF)};
	bool op16 = rng_percent(&chance, 25), addr32 = rng_percent(&chance, 25), wide = opcode & 1;
	u8 rex = rng_percent(&chance, 40) ? 0x48 : 0, rep = reps[rng_below(&chance, 4)];
	u64 high = addr32 ? rng_next(&chance) << 32 : 0, flags = ALL;
	u64 count = rng_below(&chance, rng_percent(&chance, 20) ? 700 : 12);

	m.bytes = !wide ? 1 : rex ? 8 : op16 ? 2 : 4;
	for (int r = 0; r < 16; r++)
		m.n.regs[r] = value_any();
	u64 length = MAX(count, 1ul) * m.bytes;
	m.n.regs[REG_RSI] = high | string_start(length, m.n.flags & DF, m.bytes);
	m.n.regs[REG_RDI] = high | string_start(length, m.n.flags & DF, m.bytes);
	m.n.regs[REG_RCX] = high | count;
	if (addr32 && rep && !count) /* whether RCX keeps its upper half, processors do not agree */
		m.n.regs[REG_RCX] = 0;
	u8 fill = rng_next(&chance);
	for (u64 at = ARENA; at < ARENA + 2 * HALF; at++) /* long runs of equal elements, for comparisons */
		*arena_emulated(at) = *(u8 *)at = fill += rng_percent(&chance, 1);
	if (rng_percent(&chance, 60))
		memset(&m.n.regs[REG_RAX], fill, 8);

	if (op16)
		put(&m.code, 0x66, 1);
	if (addr32)
		put(&m.code, 0x67, 1);
	if (rep)
		put(&m.code, rep, 1);
	if (rex)
		put(&m.code, rex, 1);
	put(&m.code, opcode, 1);
	unsigned int rounds = run_both(&m.code, &m.n, BORDER, rng_percent(&chance, 50) ? ACC_R : ACC_W, flags);
	assert_in_range(rounds, 1, 1 + count / 100);
}

static void every_string(unused void **state)
{
	static const u8 opcodes[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		for (int k = 0; k < 150; k++)
			one_string(opcodes[i]);
	assert_int_equal(host_vm->nr_stray, 0);
}

#define native_test(fn) cmocka_unit_test_setup_teardown(fn, arena_setup, arena_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		native_test(every_form),
		native_test(accesses_are_counted),
		native_test(every_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
