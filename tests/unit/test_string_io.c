/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/emulate.c kernel/vmm/emulate_string.c kernel/vmm/guest_mem.c kernel/vmm/decode.c
 * kernel/vmm/decode_tables.c kernel/vmm/io.c kernel/lib/pt_walk.c kernel/lib/pt_format.c
 * kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* INS and OUTS that the hypervisor carries out, with their repetitions, and what stands in
 * registers and memory when something goes wrong in the middle. */
#include "emulate_fixture.h"

/* Run string I/O at CODE: port PORT, @count elements, at @at. The exit tells width and direction, as by the
 * opcode, which is the last byte. */
static void string(const u8 *code, size_t nr, u64 at, u64 count)
{
	bool op16 = memchr(code, 0x66, nr), wide = code[nr - 1] & 1;

	vmm_host_code(v, CODE, code, nr);
	reg[REG_RDX] = 0xffff0000 | PORT;
	reg[REG_RCX] = count;
	reg[REG_RSI] = reg[REG_RDI] = at;
	v->exit = (struct vcpu_exit){.reason = EXIT_IO, .io = {.port = PORT, .string = true}};
	v->exit.io.in = code[nr - 1] < 0x6e;
	v->exit.io.bytes = !wide ? 1 : op16 ? 2 : 4;
	emulate_string_io(v);
}

static void fill(u64 at, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		*host_ram(at + i) = 'a' + i % 26;
}

static void one_element(unused void **state)
{
	fill(DATA, 8);
	string(B(0x6e), DATA, 5); /* outsb */
	assert_done(1);
	assert_int_equal(nr_sent, 1);
	assert_int_equal(sent[0], 'a');
	assert_int_equal(reg[REG_RSI], DATA + 1);
	assert_int_equal(reg[REG_RCX], 5); /* no REP: not a count */
	string(B(0x6f), DATA, 5); /* outsd */
	assert_int_equal(widest, 4);
	assert_int_equal(reg[REG_RSI], DATA + 4);
	string(B(0x66, 0x6f), DATA, 5); /* outsw */
	assert_int_equal(widest, 2);
	assert_memory_equal(sent, "aabcdab", 7);

	string(B(0x6d), DATA, 5); /* insd */
	assert_done(1);
	assert_memory_equal(host_ram(DATA), "\1\2\3\4e", 5);
	assert_int_equal(reg[REG_RDI], DATA + 4);
	assert_int_equal(reg[REG_RSI], DATA);
	string(B(0x6c), DATA, 5); /* insb */
	assert_memory_equal(host_ram(DATA), "\5\2", 2);
}

static void repeated(unused void **state)
{
	fill(DATA, 100);
	string(B(0xf3, 0x6e), DATA, 100);
	assert_done(2);
	assert_int_equal(nr_sent, 100);
	assert_memory_equal(sent, host_ram(DATA), 100);
	assert_int_equal(reg[REG_RSI], DATA + 100);
	assert_int_equal(reg[REG_RCX], 0);
	assert_int_equal(reg[REG_RDI], DATA);

	string(B(0xf3, 0x6d), DATA, 25); /* rep insd */
	assert_done(2);
	for (int i = 0; i < 100; i++)
		assert_int_equal(*host_ram(DATA + i), i + 1);
	assert_int_equal(reg[REG_RDI], DATA + 100);
	nr_sent = 0;
	string(B(0xf2, 0x6e), DATA, 3); /* F2 repeats as well */
	assert_int_equal(nr_sent, 3);
}

static void no_times(unused void **state)
{
	string(B(0xf3, 0x6c), DATA, 0);
	assert_done(2);
	assert_int_equal(nr_received, 0);
	assert_int_equal(reg[REG_RDI], DATA);
	/* The count is as wide as the address. */
	reg[REG_RCX] = 0;
	string(B(0xf3, 0x6c), DATA, 0xffffffff00000000);
	assert_int_equal(nr_received, 0);
}

static void downwards(unused void **state)
{
	fill(DATA, 8);
	v->rflags |= RFLAGS_DF;
	string(B(0xf3, 0x66, 0x6f), DATA + 6, 4);
	assert_done(3);
	assert_memory_equal(sent, "ghefcdab", 8);
	assert_int_equal(reg[REG_RSI], DATA - 2);
	string(B(0xf3, 0x6c), DATA + 3, 4);
	assert_memory_equal(host_ram(DATA), "\4\3\2\1e", 5);
}

/* A long one is done in pieces, between which the vCPU looks at its requests. */
static void long_ones_in_pieces(unused void **state)
{
	unsigned int rounds = 1;

	for (u64 at = DATA; at < DATA + 2000; at++)
		*host_ram(at) = at * 7;
	string(B(0xf3, 0x6e), DATA, 2000);
	assert_int_equal(v->rip, CODE);
	assert_true(reg[REG_RCX] > 0 && reg[REG_RCX] < 2000);
	assert_int_equal(reg[REG_RSI] - DATA + reg[REG_RCX], 2000);
	for (; v->rip == CODE && rounds < 100; rounds++)
		emulate_string_io(v);
	assert_done(2);
	assert_int_equal(nr_sent, 2000);
	assert_memory_equal(sent, host_ram(DATA), 2000);
}

static void address_sizes(unused void **state)
{
	/* 16-bit addresses wrap, and leave the upper halves alone. */
	string(B(0x67, 0xf3, 0x6c), 0x1234ffff, 0x56780002);
	assert_done(3);
	assert_int_equal(*host_ram(0xffff), 1);
	assert_int_equal(*host_ram(0), 2);
	assert_int_equal(reg[REG_RDI], 0x12340001);
	assert_int_equal(reg[REG_RCX], 0x56780000);

	/* 32-bit addresses in 64-bit code clear them. */
	vmm_host_mode(v, 64);
	string(B(0x67, 0xf3, 0x6c), 0x1234567800000000 | DATA, 0x1234567800000002);
	assert_done(3);
	assert_int_equal(*host_ram(DATA + 1), 4);
	assert_true(reg[REG_RDI] == DATA + 2);
	assert_true(reg[REG_RCX] == 0);
}

static void segments(unused void **state)
{
	fill(DATA, 16);
	cpu->segment[SEG_DS].base = 0x1000;
	cpu->segment[SEG_ES].base = 0x2000;
	cpu->segment[SEG_FS].base = 0x3000;
	string(B(0x6e), DATA - 0x1000, 0);
	assert_int_equal(sent[0], 'a');
	string(B(0x64, 0x6e), DATA - 0x3000 + 1, 0); /* fs outsb */
	assert_int_equal(sent[1], 'b');
	string(B(0x64, 0x6c), DATA - 0x2000 + 2, 0); /* insb: always ES */
	assert_int_equal(*host_ram(DATA + 2), 1);

	/* In 64-bit code only FS and GS have a base. */
	cpu->segment[SEG_CS].attr = 0xa9b;
	string(B(0x6e), DATA + 3, 0);
	assert_int_equal(sent[2], 'd');
	string(B(0x64, 0x6e), DATA - 0x3000 + 4, 0);
	assert_int_equal(sent[3], 'e');
	string(B(0x6c), DATA + 5, 0);
	assert_int_equal(*host_ram(DATA + 5), 2);
}

/* OUTS runs into a page that is not there: what was done is counted, the rest comes later. */
static void fault_in_the_middle_of_outs(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(5, 0);
	fill(0x4ff0, 16);
	string(B(0xf3, 0x6e), 0x4ff0, 100);
	assert_int_equal(nr_sent, 16);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(reg[REG_RSI], 0x5000);
	assert_int_equal(reg[REG_RCX], 84);
	assert_int_equal(cpu->vector, VEC_PF);
	assert_int_equal(cpu->error, 0);
	assert_int_equal(cpu->sregs.cr2, 0x5000);

	vmm_host_map(5, 0x5007); /* the guest's handler */
	emulate_string_io(v);
	assert_int_equal(v->rip, CODE + 2);
	assert_int_equal(nr_sent, 100);
	assert_int_equal(cpu->nr_exceptions, 1);
}

/* INS: the device has lost nothing that memory has not. */
static void fault_in_the_middle_of_ins(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(5, 0x5005); /* read-only */
	string(B(0xf3, 0x6c), 0x4ffe, 10);
	assert_int_equal(nr_received, 2);
	assert_int_equal(reg[REG_RDI], 0x5000);
	assert_int_equal(reg[REG_RCX], 8);
	assert_int_equal(cpu->error, PFEC_P | PFEC_W);
	assert_int_equal(cpu->sregs.cr2, 0x5000);
	assert_int_equal(v->rip, CODE);
}

/* One element that lies in two pages is all or nothing. */
static void element_over_a_page(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(5, 0);
	memset(host_ram(0x4ffe), 0xee, 2);
	string(B(0x6d), 0x4ffe, 0);
	assert_int_equal(nr_received, 0);
	assert_memory_equal(host_ram(0x4ffe), "\xee\xee", 2);
	assert_int_equal(reg[REG_RDI], 0x4ffe);
	assert_int_equal(cpu->vector, VEC_PF);
	assert_int_equal(cpu->sregs.cr2, 0x5000);
	string(B(0x6f), 0x4ffe, 0);
	assert_int_equal(nr_sent, 0);
	assert_int_equal(reg[REG_RSI], 0x4ffe);

	vmm_host_map(5, 0x6007); /* and its halves may lie far apart */
	cpu->nr_exceptions = 0;
	string(B(0x6d), 0x4ffe, 0);
	assert_done(1);
	assert_memory_equal(host_ram(0x4ffe), "\1\2", 2);
	assert_memory_equal(host_ram(0x6000), "\3\4", 2);
}

static void user_mode(unused void **state)
{
	vmm_host_paging(v);
	vmm_host_map(4, 0x4003); /* the kernel's */
	cpu->sregs.cpl = 3;
	string(B(0x6e), DATA, 0);
	assert_int_equal(nr_sent, 0);
	assert_int_equal(cpu->vector, VEC_PF);
	assert_int_equal(cpu->error, PFEC_P | PFEC_U);
	string(B(0x6c), DATA, 0);
	assert_int_equal(nr_received, 0);
	assert_int_equal(cpu->error, PFEC_P | PFEC_U | PFEC_W);
}

static void no_frame(unused void **state)
{
	vmm_host_no_frame(5, -ENOMEM);
	string(B(0xf3, 0x6c), 0x4ffe, 10);
	assert_int_equal(host_record.nr_out_of_memory, 1);
	assert_int_equal(host_record.nr_stopped, 0);
	assert_int_equal(cpu->nr_exceptions, 0);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(reg[REG_RDI], 0x5000);
	assert_int_equal(reg[REG_RCX], 8);
}

/* From a device's memory, and to it. */
static void beside_memory(unused void **state)
{
	string(B(0xf3, 0x6e), DEVICE + 8, 4);
	assert_done(2);
	assert_memory_equal(sent, "\x88\x89\x8a\x8b", 4);
	string(B(0xf3, 0x6d), DEVICE + 0x20, 2);
	assert_memory_equal(device + 0x20, "\1\2\3\4\5\6\7\x8", 8);
	string(B(0x6e), BEHIND, 0); /* nothing is there */
	assert_int_equal(sent[4], 0xff);
	assert_done(1);
}

static void tables_outside_of_memory(unused void **state)
{
	vmm_host_paging(v);
	cpu->sregs.cr3 = 0x7ffff000;
	string(B(0x6e), DATA, 10); /* its own bytes cannot be read either: entered again */
	assert_int_equal(host_record.nr_stopped, 0);
	cpu->sregs.cr3 = BEHIND - 2 * PAGE_SIZE;
	memcpy(host_ram(BEHIND - 2 * PAGE_SIZE + 4), &(u32){0x7ffff007}, 4);
	string(B(0xf3, 0x6e), 0x400000, 10);
	assert_int_equal(host_record.nr_stopped, 1);
	assert_string_equal(host_record.reason, "bad-page-table");
	assert_int_equal(reg[REG_RSI], 0x400000);
}

/* Another instruction stands there now: nothing is done, the guest is entered again. */
static void other_code(unused void **state)
{
	string(B(0xf3, 0xa4), DATA, 10); /* rep movsb */
	assert_int_equal(v->rip, CODE);
	string(B(0x0f, 0x6e, 0xc0), DATA, 10); /* movd: 6E of another map */
	assert_int_equal(v->rip, CODE);
	/* String I/O, but not that for which the processor allowed the ports. */
	string(B(0x90, 0xf3, 0x6f), DATA, 10);
	static const u8 others[][3] = {{0xf3, 0x6e}, {0xf3, 0x6d}, {0x66, 0xf3, 0x6f}};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		vmm_host_code(v, CODE, others[i], 3);
		emulate_string_io(v);
		assert_int_equal(v->rip, CODE);
	}
	assert_int_equal(nr_sent + nr_received, 0);
	assert_int_equal(reg[REG_RCX], 10);
	assert_int_equal(host_record.nr_stopped + cpu->nr_exceptions, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		emulate_test(one_element),
		emulate_test(repeated),
		emulate_test(no_times),
		emulate_test(downwards),
		emulate_test(long_ones_in_pieces),
		emulate_test(address_sizes),
		emulate_test(segments),
		emulate_test(fault_in_the_middle_of_outs),
		emulate_test(fault_in_the_middle_of_ins),
		emulate_test(element_over_a_page),
		emulate_test(user_mode),
		emulate_test(no_frame),
		emulate_test(beside_memory),
		emulate_test(tables_outside_of_memory),
		emulate_test(other_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
