/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/emulate.c kernel/vmm/guest_mem.c kernel/vmm/decode.c
 * kernel/vmm/decode_tables.c kernel/vmm/io.c kernel/lib/pt_walk.c kernel/lib/pt_format.c
 * kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* Moves that the hypervisor carries out: each form of move to and from a device, and what stands in
 * registers when something goes wrong in the middle. */
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
		{ACC_W, {0x01, 0x03}, 2, "01 03 "},                 /* add [ebx], eax */
		{ACC_R, {0x03, 0x03}, 2, "03 03 "},                 /* add eax, [ebx] */
		{ACC_W, {0x87, 0x03}, 2, "87 03 "},                 /* xchg */
		{ACC_W, {0xc7, 0x0b, 1, 2, 3, 4}, 6, "c7 0b "},     /* group 11, not a mov */
		{ACC_R, {0x0f, 0x6f, 0x03}, 3, "0f 6f 03 "},        /* movq mm0 */
		{ACC_W, {0xa5}, 1, "a5 "},                          /* movsd */
		{ACC_W, {0x8b, 0x03}, 2, "8b 03 "},                 /* a load, but it wrote */
		{ACC_R, {0x89, 0x03}, 2, "89 03 "},                 /* a store, but it read */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		emulate_test(loads),
		emulate_test(stores),
		emulate_test(not_emulated),
		emulate_test(code_has_gone),
		emulate_test(stack_in_a_device),
		emulate_test(single_step),
		emulate_test(over_the_end_of_memory),
		emulate_test(over_into_a_fault),
		emulate_test(no_frame_for_the_other_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
