/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/emulate.c kernel/vmm/emulate_string.c kernel/vmm/guest_mem.c
 * kernel/vmm/decode.c kernel/vmm/decode_tables.c kernel/vmm/io.c kernel/lib/pt_walk.c kernel/lib/pt_format.c
 * kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* What test_emulate_native.c cannot show: code of 16 and 32 bits, segments, what is not emulated, and what
 * stands in registers when something goes wrong in the middle. */
#include "emulate_fixture.h"

/* Run one move at CODE that exits because of @acc at DEVICE + 0x10. */
static void move(unsigned int bits, unsigned int acc, const u8 *code, size_t nr)
{
	vmm_host_mode(v, bits);
	if (bits == 16)
		cpu->segment[SEG_DS].base = DEVICE; /* 16-bit offsets alone do not reach it */
	vmm_host_code(v, CODE, code, nr);
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU,
				     .mmu = {.gpa = gpa(DEVICE + 0x10), .acc = acc}};
	emulate_mmio(v, v->exit.mmu.gpa);
}

/* Loads: register @r held @before, and then @after. */
static void loads(unused void **state)
{
	static const struct {
		unsigned int bits;
		u8 code[8];
		size_t nr;
		int r;
		u64 before, after;
	} cases[] = {
		{32, {0x8b, 0x03}, 2, REG_RAX, ~0ull, 0x93929190},           /* mov eax, [ebx] */
		{32, {0x66, 0x8b, 0x03}, 3, REG_RAX, 0x11223344, 0x11229190}, /* mov ax, [ebx] */
		{32, {0x8a, 0x03}, 2, REG_RAX, 0x11223344, 0x11223390},      /* mov al, [ebx] */
		{32, {0x8a, 0x23}, 2, REG_RAX, 0x11223344, 0x11229044},      /* mov ah, [ebx] */
		{32, {0x8a, 0x33}, 2, REG_RDX, 0x11223344, 0x11229044},      /* mov dh, [ebx] */
		{32, {0x8b, 0x4b, 0x00}, 3, REG_RCX, 0, 0x93929190},
		{32, {0xa1, 0x10, 0, 0xe0, 0xfe}, 5, REG_RAX, 0, 0x93929190}, /* mov eax, [moffs] */
		{32, {0xa0, 0x10, 0, 0xe0, 0xfe}, 5, REG_RAX, ~0ull, 0xffffffffffffff90},
		{32, {0x0f, 0xb6, 0x03}, 3, REG_RAX, ~0ull, 0x90},           /* movzx eax, byte */
		{32, {0x0f, 0xb7, 0x03}, 3, REG_RAX, ~0ull, 0x9190},         /* movzx eax, word */
		{32, {0x66, 0x0f, 0xb6, 0x03}, 4, REG_RAX, 0x11223344, 0x11220090},
		{32, {0x0f, 0xb6, 0x23}, 3, REG_RSP, ~0ull, 0x90},           /* movzx esp: not AH */
		{32, {0x0f, 0xbe, 0x03}, 3, REG_RAX, 0, 0xffffff90},         /* movsx eax, byte */
		{32, {0x0f, 0xbf, 0x03}, 3, REG_RAX, 0, 0xffff9190},         /* movsx eax, word */
		{32, {0x66, 0x0f, 0xbe, 0x03}, 4, REG_RAX, 0x11220000, 0x1122ff90},
		{64, {0x8b, 0x03}, 2, REG_RAX, ~0ull, 0x93929190},           /* upper half: 0 */
		{64, {0x48, 0x8b, 0x03}, 3, REG_RAX, 0, 0x9796959493929190},
		{64, {0x4c, 0x8b, 0x03}, 3, REG_R8, 0, 0x9796959493929190},
		{64, {0x44, 0x8a, 0x03}, 3, REG_R8, 0x1122, 0x1190},         /* mov r8b, [rbx] */
		{64, {0x40, 0x8a, 0x23}, 3, REG_RSP, 0x1122, 0x1190},        /* mov spl, [rbx] */
		{64, {0x8a, 0x23}, 2, REG_RAX, 0x1122, 0x9022},              /* mov ah, [rbx] */
		{64, {0x48, 0x63, 0x03}, 3, REG_RAX, 0, 0xffffffff93929190}, /* movsxd */
		{64, {0x48, 0x0f, 0xbe, 0x03}, 4, REG_RAX, 0, 0xffffffffffffff90},
		{64, {0x48, 0x0f, 0xb7, 0x03}, 4, REG_RAX, ~0ull, 0x9190},
		{16, {0x8b, 0x07}, 2, REG_RAX, 0x11223344, 0x11229190},      /* mov ax, [bx] */
		{16, {0x66, 0x8b, 0x07}, 3, REG_RAX, 0, 0x93929190},
		{16, {0xa1, 0x10, 0x00}, 3, REG_RAX, 0, 0x9190},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		reg[REG_RBX] = cases[i].bits == 16 ? 0x10 : DEVICE + 0x10;
		reg[cases[i].r] = cases[i].before;
		move(cases[i].bits, ACC_R, cases[i].code, cases[i].nr);
		assert_done(cases[i].nr);
		if (reg[cases[i].r] != cases[i].after)
			fail_msg("case %zu: %#lx, not %#lx", i, reg[cases[i].r], cases[i].after);
	}
	assert_int_equal(host_vm->nr_stray, 0);
}

/* Stores: RCX holds 0x1122334455667788; the device has @after, and nothing beside. */
static void stores(unused void **state)
{
	static const struct {
		unsigned int bits;
		u8 code[11];
		size_t nr;
		u64 after;
		unsigned int bytes;
	} cases[] = {
		{32, {0x89, 0x0b}, 2, 0x55667788, 4},                  /* mov [ebx], ecx */
		{32, {0x66, 0x89, 0x0b}, 3, 0x7788, 2},
		{32, {0x88, 0x0b}, 2, 0x88, 1},                        /* mov [ebx], cl */
		{32, {0x88, 0x2b}, 2, 0x77, 1},                        /* mov [ebx], ch */
		{32, {0xc6, 0x03, 0xa5}, 3, 0xa5, 1},
		{32, {0xc7, 0x03, 1, 2, 3, 4}, 6, 0x04030201, 4},
		{32, {0x66, 0xc7, 0x03, 1, 2}, 5, 0x0201, 2},
		{32, {0xa3, 0x10, 0, 0xe0, 0xfe}, 5, 0x0badcafe, 4},   /* mov [moffs], eax */
		{32, {0xa2, 0x10, 0, 0xe0, 0xfe}, 5, 0xfe, 1},
		{64, {0x48, 0x89, 0x0b}, 3, 0x1122334455667788, 8},
		{64, {0x89, 0x0b}, 2, 0x55667788, 4},
		{64, {0x40, 0x88, 0x2b}, 3, 0x42, 1},                  /* mov [rbx], bpl */
		{64, {0x88, 0x2b}, 2, 0x77, 1},                        /* mov [rbx], ch */
		{64, {0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff}, 7, 0xfffffffffffffffe, 8},
		{64, {0x66, 0x89, 0x0b}, 3, 0x7788, 2},
		{16, {0x89, 0x0f}, 2, 0x7788, 2},                      /* mov [bx], cx */
		{16, {0x66, 0x89, 0x0f}, 3, 0x55667788, 4},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 value = 0;

		memset(device, 0xee, sizeof(device));
		reg[REG_RAX] = 0x0badcafe;
		reg[REG_RBX] = cases[i].bits == 16 ? 0x10 : DEVICE + 0x10;
		reg[REG_RCX] = 0x1122334455667788;
		reg[REG_RBP] = 0x42;
		move(cases[i].bits, ACC_W, cases[i].code, cases[i].nr);
		assert_done(cases[i].nr);
		memcpy(&value, device + 0x10, cases[i].bytes);
		if (value != cases[i].after)
			fail_msg("case %zu: %#lx, not %#lx", i, value, cases[i].after);
		for (size_t at = 0; at < sizeof(device); at++)
			if (at - 0x10 >= cases[i].bytes)
				assert_int_equal(device[at], 0xee);
	}
}

/* What is not emulated stops the guest, with its bytes; nothing has been done. */
static void not_emulated(unused void **state)
{
	static const struct {
		unsigned int acc;
		u8 code[6];
		size_t nr;
		const char *says;
	} cases[] = {
		{ACC_W, {0xd1, 0x23}, 2, "d1 23 "},                 /* shl dword [ebx], 1 */
		{ACC_R, {0xf7, 0x23}, 2, "f7 23 "},                 /* mul dword [ebx] */
		{ACC_W, {0xc7, 0x0b, 1, 2, 3, 4}, 6, "c7 0b "},     /* group 11, not a mov */
		{ACC_R, {0x0f, 0x6f, 0x03}, 3, "0f 6f 03 "},        /* movq mm0 */
		{ACC_R, {0x0f, 0x03, 0x03}, 3, "0f 03 03 "},        /* lsl, whose number is an add's */
		{ACC_R, {0xff, 0x33}, 2, "ff 33 "},                 /* push */
		{ACC_W, {0x63, 0x03}, 2, "63 03 "},                 /* arpl: movsxd in 64-bit code alone */
		{ACC_W, {0xf0, 0xa5}, 2, "f0 a5 "},                 /* lock movsd */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(reg, 0, sizeof(v->regs));
		memset(device, 0xee, sizeof(device));
		reg[REG_RBX] = DEVICE + 0x10;
		move(32, cases[i].acc, cases[i].code, cases[i].nr);
		assert_int_equal(host_record.nr_stopped, i + 1);
		assert_string_equal(host_record.reason, "not-emulated");
		if (!strstr(host_record.text, cases[i].says) ||
		    !strstr(host_record.text, "0xfee00010"))
			fail_msg("case %zu says: %s", i, host_record.text);
		assert_int_equal(v->rip, CODE);
		assert_int_equal(reg[REG_RAX], 0);
		for (size_t at = 0; at < sizeof(device); at++)
			assert_int_equal(device[at], 0xee);
	}
}

/* Another vCPU has written code: what stands at rip cannot have made that access. The guest is entered
 * again, and nothing has been done. */
static void another_instruction(unused void **state)
{
	static const struct {
		unsigned int acc;
		u8 code[4];
		size_t nr;
	} cases[] = {
		{ACC_W, {0x8b, 0x03}, 2},       /* a load, but it wrote */
		{ACC_R, {0x89, 0x03}, 2},       /* a store, but it read */
		{ACC_W, {0x39, 0x03}, 2},       /* cmp */
		{ACC_W, {0x85, 0x03}, 2},       /* test */
		{ACC_W, {0x8b, 0xc3}, 2},       /* no memory operand */
		{ACC_R, {0xf0, 0x8b, 0x03}, 3}, /* LOCK: the processor will refuse them */
		{ACC_W, {0xf0, 0x89, 0x03}, 3},
		{ACC_R, {0xf0, 0x39, 0x03}, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(reg, 0, sizeof(v->regs));
		memset(device, 0xee, sizeof(device));
		reg[REG_RBX] = DEVICE + 0x10;
		reg[REG_RDX] = PORT;
		v->rflags = RFLAGS_FIXED;
		move(32, cases[i].acc, cases[i].code, cases[i].nr);
		if (v->rip != CODE || reg[REG_RAX] || v->rflags != RFLAGS_FIXED)
			fail_msg("case %zu was done", i);
		for (size_t at = 0; at < sizeof(device); at++)
			assert_int_equal(device[at], 0xee);
	}
	assert_int_equal(host_record.nr_stopped, 0);

	reg[REG_RBX] = DATA; /* memory: add [ebx], eax must be one access there, which is the processor's */
	reg[REG_RAX] = 1;
	move(32, ACC_W, B(0x01, 0x03));
	assert_int_equal(v->rip, CODE);
	assert_int_equal(*host_ram(DATA), 0);
	reg[REG_RBX] = DATA + PAGE_SIZE - 1;
	move(32, ACC_W, B(0x01, 0x03));
	assert_int_equal(v->rip, CODE);
	reg[REG_RBX] = DEVICE + 0x20; /* another of the device's: that is as good as the first */
	move(32, ACC_W, B(0x88, 0x03));
	assert_done(2);
	assert_memory_equal(device + 0x10, "\xee\xee\xee\xee", 4);
	assert_memory_equal(device + 0x20, "\1\xee", 2);

	reg[REG_RBX] = DEVICE;
	vmm_host_code(v, CODE, B(0x8b, 0xc3)); /* no memory operand, not even one at 0 */
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE), .acc = ACC_R}};
	emulate_mmio(v, gpa(DEVICE));
	assert_int_equal(v->rip, CODE);
	vmm_host_code(v, CODE, B(0x6e)); /* a port that nobody has allowed, but an exit before did */
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .io = {.bytes = 1}};
	v->exit.mmu.gpa = gpa(DEVICE);
	emulate_mmio(v, gpa(DEVICE));
	assert_int_equal(v->rip, CODE);
	assert_int_equal(host_record.nr_stopped + nr_sent, 0);
}

/* Arithmetic in 16- and 32-bit code, by the table that the oracle has verified in 64-bit code. */
static void arithmetic_in_other_modes(unused void **state)
{
	memset(device, 0xff, sizeof(device));
	reg[REG_RBX] = 0x10;
	reg[REG_RAX] = 1;
	move(16, ACC_W, B(0x01, 0x07)); /* add [bx], ax */
	assert_done(2);
	assert_memory_equal(device + 0xf, "\xff\0\0\xff", 4);
	assert_int_equal(v->rflags & 0x8d5, 0x55); /* CF PF AF ZF */
	move(16, ACC_R, B(0x66, 0x80, 0x3f, 0x00)); /* cmp byte [bx], 0 */
	assert_done(4);
	assert_int_equal(v->rflags & 0x8d5, 0x44);

	reg[REG_RBX] = DEVICE + 0x10;
	cpu->segment[SEG_DS].base = 0;
	move(32, ACC_R, B(0xff, 0x0b)); /* dec dword [ebx]; read first is also right */
	assert_done(2);
	assert_memory_equal(device + 0x10, "\xff\xff\xfe\xff", 4);
	reg[REG_RCX] = 0x1234;
	move(32, ACC_W, B(0x86, 0x2b)); /* xchg [ebx], ch */
	assert_int_equal(reg[REG_RCX], 0xff34);
	assert_int_equal(device[0x10], 0x12);
}

/* Which base is added: DS, for EBP and ESP SS, the prefix before all; in 64-bit code FS and GS alone. */
static void segments(unused void **state)
{
	static const struct {
		unsigned int bits;
		u8 code[4];
		size_t nr;
		u8 low; /* of the segment's base: DS 0x20 and so on */
	} cases[] = {
		{32, {0x8a, 0x03}, 2, 0x20}, {32, {0x8a, 0x45, 0}, 3, 0x40}, {32, {0x8a, 0x04, 0x24}, 3, 0x40},
		{32, {0x3e, 0x8a, 0x45, 0}, 4, 0x20}, {32, {0x65, 0x8a, 0x03}, 3, 0x60},
		{64, {0x8a, 0x03}, 2, 0}, {64, {0x65, 0x8a, 0x03}, 3, 0x60}, {64, {0x36, 0x8a, 0x03}, 3, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 at = DEVICE + 4 + cases[i].low;

		vmm_host_mode(v, cases[i].bits);
		cpu->segment[SEG_DS].base = 0x20;
		cpu->segment[SEG_SS].base = 0x40;
		cpu->segment[SEG_GS].base = 0x60;
		reg[REG_RBX] = reg[REG_RBP] = reg[REG_RSP] = DEVICE + 4;
		vmm_host_code(v, CODE, cases[i].code, cases[i].nr);
		v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(at), .acc = ACC_R}};
		emulate_mmio(v, gpa(at));
		if (v->rip != CODE + cases[i].nr || vcpu_get_reg(v, REG_RAX, 1) != device[at - DEVICE])
			fail_msg("case %zu", i);
	}
}

/* Its code is being swapped in: no frame for it now, so the guest is entered again, and takes the fault
 * itself; later it goes on. The same for an instruction's second page. */
static void code_without_a_frame(unused void **state)
{
	reg[REG_RBX] = DEVICE + 0x10;
	vmm_host_code(v, 2 * PAGE_SIZE - 1, B(0x01, 0x03)); /* add [ebx], eax */
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE + 0x10), .acc = ACC_W}};
	for (u32 page = 1; page <= 2; page++) {
		vmm_host_no_frame(page, -ENOMEM);
		reg[REG_RAX] = 1;
		emulate_mmio(v, v->exit.mmu.gpa);
		assert_int_equal(v->rip, 2 * PAGE_SIZE - 1);
		assert_int_equal(device[0x10], 0x90);
		vmm_host_no_frame(page, 0);
	}
	assert_int_equal(host_record.nr_stopped + host_record.nr_out_of_memory, 0);
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_int_equal(v->rip, 2 * PAGE_SIZE + 1);
	assert_int_equal(device[0x10], 0x91);
}

/* The code is not there any more: the guest is entered again. */
static void code_has_gone(unused void **state)
{
	reg[REG_RBX] = DEVICE + 0x10;
	move(32, ACC_R, B(0x8b, 0x03));
	v->rip = 0x20000000;
	emulate_mmio(v, gpa(DEVICE + 0x10));
	assert_int_equal(v->rip, 0x20000000);
	vmm_host_code(v, BEHIND - 1, "\x8b", 1); /* its second byte is in no memory */
	emulate_mmio(v, gpa(DEVICE + 0x10));
	assert_int_equal(v->rip, BEHIND - 1);
	assert_int_equal(host_record.nr_stopped, 0);
}

static void stack_in_a_device(unused void **state)
{
	cpu->event = true;
	move(32, ACC_W, B(0x90));
	assert_int_equal(host_record.nr_stopped, 1);
	assert_string_equal(host_record.reason, "bad-stack");
}

static void single_step(unused void **state)
{
	v->rflags |= RFLAGS_TF | RFLAGS_RF;
	reg[REG_RBX] = DEVICE + 0x10;
	move(32, ACC_R, B(0x8b, 0x03));
	assert_done(2);
	assert_int_equal(cpu->nr_steps, 1);
	assert_int_equal(v->rflags & RFLAGS_RF, 0);
}

/* An operand whose first half is memory, and whose second is nothing. */
static void over_the_end_of_memory(unused void **state)
{
	memcpy(host_ram(BEHIND - 2), "\x34\x12", 2);
	reg[REG_RBX] = BEHIND - 2;
	vmm_host_code(v, CODE, B(0x8b, 0x03));
	v->exit = (struct vcpu_exit){.mmu = {.gpa = gpa(BEHIND), .acc = ACC_R}};
	emulate_mmio(v, gpa(BEHIND));
	assert_done(2);
	assert_int_equal(reg[REG_RAX], 0xffff1234);

	reg[REG_RCX] = 0x55667788;
	vmm_host_code(v, CODE, B(0x89, 0x0b));
	v->exit = (struct vcpu_exit){.mmu = {.gpa = gpa(BEHIND), .acc = ACC_W}};
	emulate_mmio(v, gpa(BEHIND));
	assert_done(2);
	assert_memory_equal(host_ram(BEHIND - 2), "\x88\x77", 2);
}

/* The same, its second page not mapped by the guest: the fault, and nothing written. */
static void over_into_a_fault(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(4, BEHIND | 7); /* page 4 is no memory */
	vmm_host_map(5, 0);
	reg[REG_RBX] = 0x4ffe;
	reg[REG_RCX] = 0x55667788;
	vmm_host_code(v, CODE, B(0x89, 0x0b));
	v->exit = (struct vcpu_exit){.mmu = {.gpa = gpa(BEHIND + 0xffe), .acc = ACC_W}};
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(cpu->vector, VEC_PF);
	assert_int_equal(cpu->error, PFEC_W);
	assert_int_equal(cpu->sregs.cr2, 0x5000);
	assert_int_equal(host_vm->nr_stray, 0);
}

static void no_frame_for_the_other_half(unused void **state)
{
	vmm_host_no_frame(VMM_HOST_PAGES - 1, -ENOMEM);
	reg[REG_RBX] = BEHIND - 2;
	reg[REG_RAX] = 7;
	vmm_host_code(v, CODE, B(0x8b, 0x03));
	v->exit = (struct vcpu_exit){.mmu = {.gpa = gpa(BEHIND), .acc = ACC_R}};
	emulate_mmio(v, gpa(BEHIND));
	assert_int_equal(host_record.nr_out_of_memory, 1);
	assert_int_equal(host_record.nr_stopped, 0);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(reg[REG_RAX], 7);
}

/* Half in a device, half in memory for which there is no frame: the device must not be written, or it would
 * be twice. */
static void device_is_written_last(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(4, DEVICE | 7);
	vmm_host_map(5, 0x6007);
	io_add_mmio(&host_vm->io, DEVICE + 0xf00, sizeof(device), &device_ops, NULL);
	reg[REG_RBX] = 0x4ffe;
	reg[REG_RAX] = 0x11223344;
	vmm_host_code(v, CODE, B(0x89, 0x03));
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE + 0xffe), .acc = ACC_W}};
	vmm_host_no_frame(6, -ENOMEM);
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_int_equal(v->rip, CODE);
	assert_memory_equal(device + 0xfe, "\x7e\x7f", 2);
	assert_int_equal(host_record.nr_out_of_memory, 1);
	vmm_host_no_frame(6, 0);
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_done(2);
	assert_memory_equal(device + 0xfe, "\x44\x33", 2);
	assert_memory_equal(host_ram(0x6000), "\x22\x11", 2);
}

/* A read-only page behind: arithmetic is a write, whatever the processor tried first. Flags stay. */
static void arithmetic_into_a_fault(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(4, DEVICE | 7);
	vmm_host_map(5, 0x5005);
	reg[REG_RBX] = 0x4ffe;
	vmm_host_code(v, CODE, B(0x83, 0x03, 0x01)); /* add dword [ebx], 1 */
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE + 0xffe), .acc = ACC_R}};
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(cpu->error, PFEC_P | PFEC_W);
	assert_int_equal(cpu->sregs.cr2, 0x5000);
	assert_int_equal(v->rflags, RFLAGS_FIXED);
	assert_int_equal(host_vm->nr_stray, 0);
}

/* The frame of the half in memory goes between reading and writing: flags and registers are as before. */
static u64 read_and_lose_frame(unused struct vcpu *who, unused void *dev, unused u64 offset,
			       unused unsigned int bytes)
{
	vmm_host_no_frame(5, -ENOMEM);
	return ~0ull;
}

static void frame_goes_before_the_write(unused void **state)
{
	static const struct io_ops thief = {.name = "thief", .read = read_and_lose_frame,
					    .write = device_write};

	io_add_mmio(&host_vm->io, DEVICE + 0xf00, sizeof(device), &thief, NULL);
	vmm_host_paging(v);
	vmm_host_map(4, DEVICE | 7);
	reg[REG_RBX] = 0x4ffe;
	reg[REG_RAX] = 1;
	vmm_host_code(v, CODE, B(0x0f, 0xc1, 0x03)); /* xadd [ebx], eax */
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE + 0xffe), .acc = ACC_W}};
	emulate_mmio(v, v->exit.mmu.gpa);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(v->rflags, RFLAGS_FIXED);
	assert_int_equal(reg[REG_RAX], 1);
	assert_memory_equal(device + 0xfe, "\x7e\x7f", 2);
	assert_int_equal(host_record.nr_out_of_memory, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		emulate_test(loads),
		emulate_test(stores),
		emulate_test(not_emulated),
		emulate_test(another_instruction),
		emulate_test(arithmetic_in_other_modes),
		emulate_test(segments),
		emulate_test(code_without_a_frame),
		emulate_test(code_has_gone),
		emulate_test(stack_in_a_device),
		emulate_test(single_step),
		emulate_test(over_the_end_of_memory),
		emulate_test(over_into_a_fault),
		emulate_test(no_frame_for_the_other_half),
		emulate_test(device_is_written_last),
		emulate_test(arithmetic_into_a_fault),
		emulate_test(frame_goes_before_the_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
