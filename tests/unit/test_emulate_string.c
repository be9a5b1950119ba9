/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/emulate.c kernel/vmm/emulate_string.c kernel/vmm/guest_mem.c
 * kernel/vmm/decode.c kernel/vmm/decode_tables.c kernel/vmm/io.c kernel/lib/pt_walk.c
 * kernel/lib/pt_format.c kernel/lib/format.c kernel/lib/string.c tests/unit/vmm_host.c */
/* String instructions whose memory is a device, where test_emulate_native.c does not reach: faults and
 * missing frames in the middle, batches, segments, 16-bit addresses, user mode. Page 4 is the device's
 * wherever paging is on. */
#include "emulate_fixture.h"

static void string(const u8 *code, size_t nr, u64 from, u64 to, u64 count)
{
	vmm_host_code(v, CODE, code, nr);
	reg[REG_RSI] = from;
	reg[REG_RDI] = to;
	reg[REG_RCX] = count;
	v->exit = (struct vcpu_exit){.reason = EXIT_MMU, .mmu = {.gpa = gpa(DEVICE), .acc = ACC_W}};
	emulate_mmio(v, v->exit.mmu.gpa);
}

static void paging(void)
{
	vmm_host_paging(v);
	vmm_host_map(4, DEVICE | 7);
}

static void assert_fault(u32 error, u64 cr2, u64 done_of, u64 left)
{
	assert_int_equal(v->rip, CODE);
	assert_int_equal(cpu->nr_exceptions, 1);
	assert_int_equal(cpu->vector, VEC_PF);
	assert_int_equal(cpu->error, error);
	assert_int_equal(cpu->sregs.cr2, cr2);
	assert_int_equal(reg[REG_RCX], left);
	assert_int_equal(reg[REG_RSI] & 0xfff, done_of);
	/* The guest's handler has come and gone. */
	cpu->nr_exceptions = 0;
	cpu->event = false;
}

/* To the device from a page that ends, and goes on when the guest has mapped the next. */
static void source_faults_in_the_middle(unused void **state)
{
	paging();
	vmm_host_map(7, 0);
	memcpy(host_ram(0x6ffc), "abcd", 4);
	memcpy(host_ram(0x7000), "efgh", 4);
	string(B(0xf3, 0xa4), 0x6ffc, 0x4000, 8);
	assert_fault(0, 0x7000, 0, 4);
	assert_int_equal(reg[REG_RDI], 0x4004);
	assert_memory_equal(device, "abcd\x84", 5);
	vmm_host_map(7, 0x7007);
	emulate_mmio(v, gpa(DEVICE + 4));
	assert_done(2);
	assert_memory_equal(device, "abcdefgh\x88", 9);
	assert_int_equal(reg[REG_RSI], 0x7004);
}

/* From the device to a page that is read-only: the device is not read for an element that has no place. */
static unsigned int nr_taken;

static u64 queue_read(unused struct vcpu *who, unused void *dev, unused u64 offset, unused unsigned int bytes)
{
	return ++nr_taken;
}

static void destination_faults_in_the_middle(unused void **state)
{
	static const struct io_ops queue = {.name = "queue", .read = queue_read};

	io_add_mmio(&host_vm->io, DEVICE + 0x800, 0x100, &queue, NULL);
	paging();
	vmm_host_map(7, 0x7005);
	nr_taken = 0;
	string(B(0xf3, 0xa5), 0x4800, 0x6ff6, 5); /* the third element lies in both pages */
	assert_fault(PFEC_P | PFEC_W, 0x7000, 0x808, 3);
	assert_int_equal(nr_taken, 2);
	assert_memory_equal(host_ram(0x6ff6), "\1\0\0\0\2\0\0\0\0", 9);
	vmm_host_map(7, 0x7007);
	emulate_mmio(v, gpa(DEVICE + 0x808));
	assert_done(2);
	assert_int_equal(nr_taken, 5);
	assert_memory_equal(host_ram(0x6ffe), "\3\0\0\0\4\0\0\0\5", 9);
}

/* If both would fault, the source does. */
static void source_faults_first(unused void **state)
{
	paging();
	vmm_host_map(6, 0);
	vmm_host_map(7, 0);
	string(B(0xa4), 0x6000, 0x7000, 0);
	assert_fault(0, 0x6000, 0, 0);
	string(B(0xaa), 0x6000, 0x7000, 0);
	assert_fault(PFEC_W, 0x7000, 0, 0);
	string(B(0xae), 0x6000, 0x7000, 0);
	assert_fault(0, 0x7000, 0, 0); /* SCAS reads there */
}

static void user_mode(unused void **state)
{
	paging();
	vmm_host_map(6, 0x6003); /* the kernel's */
	vmm_host_map(1, 0x1007);
	cpu->sregs.cpl = 3;
	string(B(0xa4), 0x6000, 0x4000, 0);
	assert_fault(PFEC_P | PFEC_U, 0x6000, 0, 0);
	string(B(0xa4), 0x4000, 0x6000, 0);
	assert_fault(PFEC_P | PFEC_U | PFEC_W, 0x6000, 0, 0);
	assert_int_equal(device[0], 0x80);
}

static void no_frame(unused void **state)
{
	vmm_host_no_frame(5, -ENOMEM);
	string(B(0xf3, 0xa4), DEVICE, 0x4ffe, 4);
	assert_int_equal(host_record.nr_out_of_memory, 1);
	assert_int_equal(host_record.nr_stopped + cpu->nr_exceptions, 0);
	assert_int_equal(v->rip, CODE);
	assert_int_equal(reg[REG_RCX], 2);
	assert_int_equal(reg[REG_RDI], 0x5000);
	vmm_host_no_frame(5, 0);
	emulate_mmio(v, gpa(DEVICE + 2));
	assert_done(2);
	assert_memory_equal(host_ram(0x4ffe), "\x80\x81\x82\x83", 4);
}

/* Its own code goes away between two batches: entered again, with all that was done. */
static void code_goes_between_batches(unused void **state)
{
	string(B(0xf3, 0xaa), 0, DEVICE, 2000);
	assert_int_equal(v->rip, CODE);
	u64 left = reg[REG_RCX];
	assert_true(left > 0 && left < 2000);
	vmm_host_no_frame(CODE / PAGE_SIZE, -ENOMEM);
	emulate_mmio(v, gpa(DEVICE));
	assert_int_equal(reg[REG_RCX], left);
	assert_int_equal(v->rip, CODE);
	vmm_host_no_frame(CODE / PAGE_SIZE, 0);
	for (int i = 0; i < 100 && v->rip == CODE; i++)
		emulate_mmio(v, gpa(DEVICE));
	assert_done(2);
	assert_int_equal(reg[REG_RDI], DEVICE + 2000);
}

static void segments(unused void **state)
{
	cpu->segment[SEG_DS].base = 0x1000;
	cpu->segment[SEG_ES].base = 0x2000;
	cpu->segment[SEG_FS].base = 0x3000;
	memcpy(host_ram(DATA), "abc", 3);
	string(B(0xa4), DATA - 0x1000, DEVICE - 0x2000, 0);
	string(B(0x64, 0xa4), DATA - 0x3000 + 1, DEVICE - 0x2000 + 1, 0);
	assert_memory_equal(device, "ab\x82", 3);
	string(B(0x64, 0xac), DATA - 0x3000 + 2, 0, 0); /* fs lodsb */
	assert_int_equal(vcpu_get_reg(v, REG_RAX, 1), 'c');
	string(B(0x64, 0xaa), 0, DEVICE - 0x2000 + 2, 0); /* stosb: always ES */
	assert_int_equal(device[2], 'c');

	cpu->segment[SEG_CS].attr = 0xa9b; /* 64-bit code: only FS and GS have a base */
	string(B(0xa4), DATA + 1, DEVICE + 4, 0);
	string(B(0x64, 0xa4), DATA - 0x3000, DEVICE + 5, 0);
	assert_memory_equal(device + 4, "ba", 2);
}

/* 16-bit addresses wrap, and leave the upper halves of their registers alone; so does the count's. */
static void addresses_of_16_bits(unused void **state)
{
	cpu->segment[SEG_ES].base = DEVICE;
	memcpy(host_ram(0xfffe), "yz", 2);
	memcpy(host_ram(0), "ab", 2);
	string(B(0x67, 0xf3, 0xa4), 0x1234fffe, 0x56780010, 0x9abc0004);
	assert_done(3);
	assert_memory_equal(device + 0x10, "yzab\x94", 5);
	assert_int_equal(reg[REG_RSI], 0x12340002);
	assert_int_equal(reg[REG_RDI], 0x56780014);
	assert_int_equal(reg[REG_RCX], 0x9abc0000);
}

/* Tables that lie nowhere. */
static void tables_outside_of_memory(unused void **state)
{
	paging();
	memcpy(host_ram(BEHIND - 2 * PAGE_SIZE + 4), &(u32){0x7ffff007}, 4);
	string(B(0xf3, 0xa4), 0x400000, 0x4000, 10);
	assert_int_equal(host_record.nr_stopped, 1);
	assert_string_equal(host_record.reason, "bad-page-table");
	assert_int_equal(reg[REG_RSI], 0x400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		emulate_test(source_faults_in_the_middle),
		emulate_test(destination_faults_in_the_middle),
		emulate_test(source_faults_first),
		emulate_test(user_mode),
		emulate_test(no_frame),
		emulate_test(code_goes_between_batches),
		emulate_test(segments),
		emulate_test(addresses_of_16_bits),
		emulate_test(tables_outside_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
