/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/emulate.c kernel/vmm/emulate_string.c */
/* sources: kernel/vmm/guest_mem.c kernel/vmm/decode.c kernel/vmm/decode_tables.c kernel/vmm/io.c
 * kernel/lib/pt_walk.c kernel/lib/pt_format.c kernel/lib/format.c kernel/lib/string.c
 * tests/unit/vmm_host.c */
/* Moves to and from devices and string I/O: any code, any registers, any mode, memory that is not there at
 * the moment. What is carried out moves rip past the instruction; what is not leaves it. */
#include "fuzz.h"
#include "emulate_fixture.h"

#define IN_PAGE 0xfe0 /* near a page's end */

/* The first bytes of what is emulated, so that not all of the courses end in the decoder. */
static const u8 heads[][4] = {
	{0x89}, {0x8b}, {0x88}, {0x8a}, {0xa1}, {0xa3}, {0xa0}, {0xa2}, {0xc6}, {0xc7}, {0x0f, 0xb6},
	{0x0f, 0xb7}, {0x0f, 0xbe}, {0x0f, 0xbf}, {0x48, 0x63}, {0x48, 0x89}, {0x66, 0x8b}, {0x48, 0xc7},
	{0x6c}, {0x6d}, {0x6e}, {0x6f}, {0xf3, 0x6c}, {0xf3, 0x6d}, {0xf3, 0x6e}, {0xf3, 0x6f},
	{0x67, 0xf3, 0x6e}, {0x66, 0xf3, 0x6f}, {0x67, 0x8b}, {0x64, 0x8b}, {0x65, 0x89}, {0x41, 0x8a},
};

static u64 address(struct input *in)
{
	static const u64 places[] = {DATA, DEVICE, BEHIND, DATA + IN_PAGE, DEVICE - 8, CODE, 0, -32ull};

	return places[take_below(in, ARRAY_SIZE(places))] + take(in, 1) % 64;
}

/* The registers; those that an address is made of are mostly near something. */
static void registers(struct input *in)
{
	for (int i = 0; i < NR_REGS; i++)
		reg[i] = take_below(in, 4) ? address(in) : take(in, 8);
	v->rflags = RFLAGS_FIXED | (take(in, 1) & 1 ? RFLAGS_DF : 0);
	if (take_below(in, 2))
		reg[REG_RCX] = take(in, 2);
	for (int seg = 0; seg < NR_SEGS; seg++)
		if (take_below(in, 4) == 0 && seg != SEG_CS)
			cpu->segment[seg].base = address(in);
}

static void code(struct input *in)
{
	u8 bytes[16];
	u32 head = take_below(in, 2 * ARRAY_SIZE(heads)), nr = 0;

	for (; head < ARRAY_SIZE(heads) && nr < 4 && heads[head][nr]; nr++)
		bytes[nr] = heads[head][nr];
	take_bytes(in, bytes + nr, sizeof(bytes) - nr);
	vmm_host_code(v, take_below(in, 4) ? CODE : CODE + IN_PAGE + 16 + take(in, 1) % 16, bytes, sizeof(bytes));
}

static void step(struct input *in)
{
	static const int errors[] = {-EFAULT, -ENOMEM, -EINTR};
	struct host_processor before;
	u8 how = take(in, 1);
	u64 rip;

	code(in);
	registers(in);
	if (how & 2)
		vmm_host_map(take_below(in, VMM_HOST_PAGES - 2), take(in, 4));
	if ((how & 0x3c) == 4)
		vmm_host_no_frame(take_below(in, VMM_HOST_PAGES), errors[take_below(in, ARRAY_SIZE(errors))]);
	cpu->event = (how & 0xf8) == 8;
	before = *cpu;
	rip = v->rip;
	host_record.nr_stopped = host_record.nr_out_of_memory = 0;
	nr_sent = 0;
	v->exit = (struct vcpu_exit){.reason = how & 1 ? EXIT_MMU : EXIT_IO};
	if (how & 1) {
		v->exit.mmu.acc = how & 0x40 ? ACC_W : ACC_R;
		emulate_mmio(v, gpa(how & 0x80 ? DEVICE + take(in, 1) : BEHIND + take(in, 2)));
	} else {
		emulate_string_io(v);
	}

	u64 moved = v->rip - rip;
	unsigned int faults = cpu->nr_exceptions - before.nr_exceptions;
	CHECK(moved <= 15 || cpu->sregs.efer == 0, "rip moved by %lu", moved);
	CHECK(faults + host_record.nr_stopped + host_record.nr_out_of_memory + (moved != 0) <= 1,
	      "moved %lu, %u faults, %u stops, %u times out of memory", moved, faults,
	      host_record.nr_stopped, host_record.nr_out_of_memory);
	CHECK(v->exit.insn_bytes <= 15, "an instruction of %u bytes", v->exit.insn_bytes);
	CHECK(nr_sent <= 256 * 4, "%u bytes at one go", nr_sent);
	cpu->event = false;
}

void fuzz_one(struct input *in)
{
	static const unsigned int modes[] = {16, 32, 64, 32};
	u32 mode;

	setup(NULL);
	mode = take_below(in, ARRAY_SIZE(modes));
	vmm_host_mode(v, modes[mode]);
	if (mode == 3)
		vmm_host_paging(v);
	else if (mode == 2)
		cpu->sregs.efer = 0x500;
	for (int i = 0; i < 16 && input_left(in); i++)
		step(in);
	vmm_host_teardown(NULL);
}
