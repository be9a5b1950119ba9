/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/simple.c tests/unit/vmm_host.c */
/* Which device answers: whole accesses, accesses over an edge, nobody's, the last port, random
 * boards against a plain search; and the board's smallest devices. */
#include "vmm_host.h"

#include "mm/mm.h"
#include "vmm/devices/simple.h"

/* A device that answers each byte with its offset, and notes what came. */
struct echo {
	u8 first;
	unsigned int nr_reads, nr_writes, widest;
	u8 bytes[256];
};

static u64 evicted;    /* hva of the page that was to go last */
static u32 lines_high; /* interrupt lines that the test device drives */

int mm_evict(unused struct mm *mm, hva_t at)
{
	evicted = at.v;
	return 0;
}

/* The VM's memory, all of it, is the region. */
int mm_region_add(unused struct mm *mm, u64 bytes, unused unsigned int acc, hva_t *start)
{
	assert_int_equal(bytes, VMM_HOST_PAGES * PAGE_SIZE);
	*start = hva((u64)host_ram(0));
	return host_should_fail() ? -ENOMEM : 0;
}

void irq_set(unused struct vm *vm, u32 line, bool level)
{
	lines_high = level ? lines_high | 1u << line : lines_high & ~(1u << line);
}

static u64 echo_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct echo *e = dev;
	u64 value = 0;

	e->nr_reads++;
	e->widest = MAX(e->widest, bytes);
	for (unsigned int i = 0; i < bytes; i++)
		value |= (u64)(u8)(e->first + offset + i) << (8 * i);
	return bytes < 8 ? value | ~0ull << (8 * bytes) : value; /* the bus cuts what is too much */
}

static void echo_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct echo *e = dev;

	assert_true(bytes == 8 || value >> (8 * bytes) == 0);
	e->nr_writes++;
	memcpy(e->bytes + offset, &value, bytes);
}

static const struct io_ops echo_ops = {.name = "echo", .read = echo_read, .write = echo_write};
static struct echo a, b;

static const struct io_ops bytes_ops = {.name = "bytes", .read = echo_read, .write = echo_write, .bytewise = true};

static struct vcpu *bus_with_a_and_b(void)
{
	a = (struct echo){.first = 0x10};
	b = (struct echo){.first = 0x40};
	io_add_ports(&host_vm->io, 0x3f8, 8, &echo_ops, &a);
	io_add_ports(&host_vm->io, 0x510, 2, &echo_ops, &b);
	return host_vcpu(0);
}

static void claimed(unused void **state)
{
	struct vcpu *v = bus_with_a_and_b();

	assert_int_equal(io_port_read(v, 0x3f8, 1), 0x10);
	assert_int_equal(io_port_read(v, 0x3fc, 4), 0x17161514);
	assert_int_equal(io_port_read(v, 0x510, 2), 0x4140);
	io_port_write(v, 0x3fa, 2, 0xffffbeef);
	assert_memory_equal(a.bytes + 2, "\xef\xbe\0", 3);
	assert_int_equal(a.nr_reads, 2);
	assert_int_equal(a.widest, 4);
	assert_int_equal(host_vm->nr_stray, 0);
}

static void unclaimed(unused void **state)
{
	struct vcpu *v = bus_with_a_and_b();

	assert_int_equal(io_port_read(v, 0x2f8, 1), 0xff);
	assert_int_equal(io_port_read(v, 0x2f8, 2), 0xffff);
	assert_int_equal(io_port_read(v, 0x1234, 4), 0xffffffff);
	io_port_write(v, 0x400, 1, 1); /* right behind a */
	io_port_write(v, 0x3f7, 1, 1); /* right before it, in the same block */
	assert_int_equal(a.nr_reads + a.nr_writes + b.nr_reads + b.nr_writes, 0);
	assert_int_equal(host_vm->nr_stray, 5);
	assert_int_equal(host_vm->stray[0].addr, 0x2f8);
	assert_int_equal(host_vm->stray[0].count, 2);
	assert_int_equal(host_vm->stray[1].addr, 0x1234);
	assert_false(host_vm->stray[0].mmio);
}

/* A device of bytes sees bytes, the lowest first; others see what the guest did. */
static void bytewise(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	a = (struct echo){.first = 0x10};
	io_add_ports(&host_vm->io, 0x40, 4, &bytes_ops, &a);
	io_add_mmio(&host_vm->io, 0xf0000000, 16, &bytes_ops, &a);
	assert_int_equal(io_port_read(v, 0x40, 4), 0x13121110);
	assert_int_equal(io_port_read(v, 0x42, 2), 0x1312);
	assert_int_equal(io_port_read(v, 0x42, 4), 0xffff1312);
	io_port_write(v, 0x41, 2, 0xbeef);
	assert_memory_equal(a.bytes, "\0\xef\xbe\0", 4);
	io_mmio_write(v, gpa(0xf0000008), 8, 0x8877665544332211);
	assert_int_equal(io_mmio_read(v, gpa(0xf0000008), 8), 0x1f1e1d1c1b1a1918);
	assert_memory_equal(a.bytes + 8, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	assert_int_equal(a.widest, 1);
	assert_int_equal(a.nr_writes, 10);
}

/* What straddles an edge is cut into bytes; those outside read all ones. */
static void straddling(unused void **state)
{
	struct vcpu *v = bus_with_a_and_b();

	assert_int_equal(io_port_read(v, 0x3f6, 4), 0x1110ffff);
	assert_int_equal(a.nr_reads, 2);
	assert_int_equal(a.widest, 1);
	assert_int_equal(io_port_read(v, 0x3ff, 2), 0xff17);
	assert_int_equal(io_port_read(v, 0x50e, 4), 0x4140ffff);
	io_port_write(v, 0x511, 4, 0x44332211);
	assert_int_equal(b.bytes[1], 0x11);
	assert_int_equal(b.nr_writes, 1);
	assert_int_equal(b.bytes[0], 0);
}

/* An access that begins in the block of 256 ports before that of the device. */
static void straddling_blocks(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	a = (struct echo){.first = 0x10};
	io_add_ports(&host_vm->io, 0x700, 4, &echo_ops, &a);
	assert_int_equal(io_port_read(v, 0x6fe, 4), 0x1110ffff);
	assert_int_equal(io_port_read(v, 0x6fd, 2), 0xffff);
	assert_int_equal(a.nr_reads, 2);
}

/* Above port FFFF there is nothing; the count does not begin again at 0. */
static void last_port(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	a = (struct echo){.first = 0x10};
	b = (struct echo){.first = 0x40};
	io_add_ports(&host_vm->io, 0, 4, &echo_ops, &a);
	assert_int_equal(io_port_read(v, 0xffff, 4), 0xffffffff);
	assert_int_equal(io_port_read(v, 0xfffd, 4), 0xffffffff);
	assert_int_equal(a.nr_reads, 0);
	io_add_ports(&host_vm->io, 0xffff, 1, &echo_ops, &b);
	assert_int_equal(io_port_read(v, 0xffff, 1), 0x40);
	assert_int_equal(io_port_read(v, 0xffff, 4), 0xffffff40);
	assert_int_equal(io_port_read(v, 0xfffe, 2), 0x40ff);
	io_port_write(v, 0xffff, 4, 0x55443322);
	assert_int_equal(b.bytes[0], 0x22);
	assert_int_equal(a.nr_reads + a.nr_writes, 0);
}

static void mmio(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	a = (struct echo){.first = 0};
	io_add_mmio(&host_vm->io, 0xfee00000, 0x100, &echo_ops, &a);
	assert_true(io_mmio_read(v, gpa(0xfee00008), 8) == 0x0f0e0d0c0b0a0908ull);
	assert_int_equal(io_mmio_read(v, gpa(0xfee000ff), 2), 0xffff);
	assert_true(io_mmio_read(v, gpa(0xfec00000), 8) == ~0ull);
	assert_true(io_mmio_read(v, gpa(0xfedffffc), 8) == 0x03020100ffffffffull);
	io_mmio_write(v, gpa(0xfee00010), 8, 0x1122334455667788ull);
	assert_memory_equal(a.bytes + 0x10, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
	io_mmio_write(v, gpa(0xffffffffff000), 4, 1);
	bool found = false;
	for (u32 i = 0; i < ARRAY_SIZE(host_vm->stray); i++)
		found |= host_vm->stray[i].mmio && host_vm->stray[i].addr == 0xffffffffff000;
	assert_true(found);
}

/* A guest that tries every port fills the counters and no more. */
static void stray_counters(unused void **state)
{
	struct vcpu *v = bus_with_a_and_b();

	for (u32 port = 0; port < 0x10000; port++)
		for (unsigned int bytes = 1; bytes <= 4; bytes *= 2)
			io_port_write(v, port, bytes, 0);
	assert_true(host_vm->nr_stray > 3 * 0xff00);
	for (u32 i = 0; i < ARRAY_SIZE(host_vm->stray); i++) {
		assert_int_equal(host_vm->stray[i].addr, i);
		assert_true(host_vm->stray[i].count >= 3);
	}
}

static void add_overlap(unused void *ctx)
{
	io_add_ports(&host_vm->io, 0x3ff, 1, &echo_ops, &b);
}

static void add_over_all(unused void *ctx)
{
	io_add_ports(&host_vm->io, 0x3f0, 0x20, &echo_ops, &b);
}

static void overlaps_are_ours(unused void **state)
{
	bus_with_a_and_b();
	expect_panic("overlaps", add_overlap, NULL);
	vmm_host_teardown(state);
	vmm_host_setup(state);
	bus_with_a_and_b();
	expect_panic("overlaps", add_over_all, NULL);
}

static void add_too_many(unused void *ctx)
{
	for (u32 i = 0; i <= IO_MAX_PORT_RANGES; i++)
		io_add_ports(&host_vm->io, 4 * i, 1, &echo_ops, &a);
}

static void board_is_full(unused void **state)
{
	expect_panic("no room", add_too_many, NULL);
}

/* Random boards, random accesses, against a map of every port. */
static void random_boards(unused void **state)
{
	static u8 owner[0x10010];
	static struct echo dev[IO_MAX_PORT_RANGES];
	struct rng chance = rng_seeded(0xb05);

	for (int round = 0; round < 200; round++) {
		u32 start[IO_MAX_PORT_RANGES];

		memset(owner, 0, sizeof(owner));
		io_bus_init(&host_vm->io);
		for (u32 i = 0; i < IO_MAX_PORT_RANGES; i++) {
			u32 nr = 1 + rng_below(&chance, rng_percent(&chance, 20) ? 700 : 9);
			u32 at = rng_below(&chance, rng_percent(&chance, 50) ? 0x800 : 0x10000);
			bool taken = at + nr > 0x10000;
			for (u32 p = at; p < at + nr && !taken; p++)
				taken = owner[p];
			start[i] = at;
			if (taken)
				continue;
			memset(owner + at, i + 1, nr);
			dev[i] = (struct echo){.first = rng_next(&chance)};
			io_add_ports(&host_vm->io, at, nr, &echo_ops, &dev[i]);
		}
		for (int i = 0; i < 2000; i++) {
			u32 port = rng_below(&chance, i % 2 ? 0x900 : 0x10000);
			unsigned int bytes = 1u << rng_below(&chance, 3);
			u32 want = 0;
			for (unsigned int k = 0; k < bytes; k++) {
				u8 who = owner[port + k], byte = 0xff;
				if (who)
					byte = dev[who - 1].first + port + k - start[who - 1];
				want |= (u32)byte << (8 * k);
			}
			assert_int_equal(io_port_read(host_vcpu(0), port, bytes), want);
		}
	}
}

/* ---- the smallest devices -------------------------------------------------------------------- */

static void exit_port(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	simple_ports_attach(host_vm);
	assert_int_equal(io_port_read(v, 0xf4, 1), 0xff);
	io_port_write(v, 0xf4, 1, 0xffffff07);
	assert_int_equal(host_record.code, 7);
	assert_int_equal(host_record.status, VM_EXITED);
	assert_string_equal(host_record.reason, "exit-port");
	io_port_write(v, 0xf4, 2, 0x1234);
	assert_int_equal(host_record.code, 0x1234);
	io_port_write(v, 0xf4, 4, 0xdeadbeef);
	assert_int_equal(host_record.code, 0xdeadbeef);
}

static void latch(unused void **state)
{
	struct vcpu *v = host_vcpu(0);
	struct test_latch t = {0};

	assert_int_equal(test_device_attach(&t, host_vm), 0);
	io_port_write(v, 0xe0, 4, 0x44332211);
	assert_int_equal(io_port_read(v, 0xe0, 4), 0x44332211);
	assert_int_equal(io_port_read(v, 0xe1, 2), 0x3322);
	io_port_write(v, 0xe2, 1, 0xffff99);
	assert_int_equal(io_port_read(v, 0xe0, 4), 0x44992211);
	io_port_write(v, 0xe2, 2, 0xaabb);
	assert_int_equal(io_port_read(v, 0xe0, 4), 0xaabb2211);
	io_port_write(v, 0xe3, 2, 0x5577); /* its second byte is no whole address for E4 */
	assert_int_equal(io_port_read(v, 0xe0, 4), 0x77bb2211);
}

static void reset_ports(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	simple_ports_attach(host_vm);
	assert_int_equal(io_port_read(v, 0x64, 1) & 1, 0); /* or some guests drain it for ever */
	assert_int_equal(io_port_read(v, 0x60, 1), 0xff);
	io_port_write(v, 0x64, 1, 0xd1);
	io_port_write(v, 0x92, 1, 2);
	assert_int_equal(host_record.nr_reset, 0);
	io_port_write(v, 0x64, 1, 0xfe);
	assert_string_equal(host_record.reason, "i8042");
	io_port_write(v, 0x92, 1, 3);
	assert_string_equal(host_record.reason, "port-92");
	assert_int_equal(host_record.nr_reset, 2);
}

#define bus_test(fn) cmocka_unit_test_setup_teardown(fn, vmm_host_setup, vmm_host_teardown)

static void test_device(unused void **state)
{
	struct test_latch t = {0};
	struct vcpu *v = host_vcpu(0);

	assert_int_equal(test_device_attach(&t, host_vm), 0);
	io_port_write(v, 0xe4, 4, 3 * PAGE_SIZE + 5);
	assert_int_equal(evicted, memslot_hva(&host_vm->slots.slot[0], gfn(3)));
	evicted = 0;
	io_port_write(v, 0xe4, 4, 0xfff00000);
	assert_int_equal(evicted, 0);
	io_port_write(v, 0x2004, 1, 1);
	io_port_write(v, 0x200f, 1, 1);
	io_port_write(v, 0x2002, 1, 1); /* the second 8259's place */
	assert_int_equal(lines_high, 1u << 4 | 1u << 15);
	io_port_write(v, 0x2004, 1, 0);
	assert_int_equal(lines_high, 1u << 15);
}

/* Plain memory to its last byte, and none behind. */
static void test_area(unused void **state)
{
	struct test_latch t = {0};
	struct vcpu *v = host_vcpu(0);

	host_fail_nth(1);
	assert_int_equal(test_device_attach(&t, host_vm), -ENOMEM);
	assert_int_equal(host_vm->io.nr_ports + host_vm->io.nr_mmio, 0);
	assert_int_equal(test_device_attach(&t, host_vm), 0);
	io_mmio_write(v, gpa(0xff00fff8), 8, 0x1122334455667788);
	io_mmio_write(v, gpa(0xff00fffa), 2, 0xaabb);
	io_mmio_write(v, gpa(0xff00ffff), 2, 0xddcc); /* its second byte is nobody's */
	assert_true(io_mmio_read(v, gpa(0xff00fff8), 8) == 0xcc223344aabb7788);
	assert_int_equal(io_mmio_read(v, gpa(0xff00fffb), 1), 0xaa);
	assert_int_equal(io_mmio_read(v, gpa(0xff000000), 4), 0);
	assert_int_equal(io_mmio_read(v, gpa(0xff010000), 1), 0xff);
	assert_int_equal(host_record.nr_stopped, 0);
	vmm_host_no_frame(15, -ENOMEM);
	io_mmio_read(v, gpa(0xff00fff8), 8);
	io_mmio_write(v, gpa(0xff00fff8), 8, 0);
	assert_int_equal(host_record.nr_stopped, 2);
	assert_string_equal(host_record.reason, "no-memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bus_test(claimed),
		bus_test(unclaimed),
		bus_test(bytewise),
		bus_test(straddling),
		bus_test(straddling_blocks),
		bus_test(last_port),
		bus_test(mmio),
		bus_test(stray_counters),
		bus_test(overlaps_are_ours),
		bus_test(board_is_full),
		bus_test(random_boards),
		bus_test(exit_port),
		bus_test(latch),
		bus_test(test_device),
		bus_test(test_area),
		bus_test(reset_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
