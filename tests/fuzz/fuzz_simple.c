/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/simple.c kernel/vmm/io.c */
/* sources: tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The devices of a register or two, and the bus, with accesses to every port. What is evicted is the
 * VM's own memory. */
#include "vm.h"

#include "mm/mm.h"
#include "mm/reclaim.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/simple.h"

static const struct fuzz_range ranges[] = {
	{.start = 0xe0, .bytes = 4}, {.start = 0xe4, .bytes = 4}, {.start = 0x2000, .bytes = 16},
	{.start = 0xf4, .bytes = 4}, {.start = 0x64, .bytes = 1}, {.start = 0x92, .bytes = 1},
	{.start = 0xcf8, .bytes = 4}, {.start = 0x80, .bytes = 1}, {.start = 8, .bytes = 0xfff0},
	{.start = 0xfff0, .bytes = 16}, {.start = GIB(4) - 4096, .bytes = 8192, .mmio = true},
	{.start = -64ull, .bytes = 48, .mmio = true}, {.start = 0xff000000, .bytes = KIB(64), .mmio = true},
};

static struct test_latch latch;
static u8 area[KIB(64)]; /* what was written to FF000000 */

int mm_evict(unused struct mm *mm, hva_t at)
{
	u64 offset = at.v - (u64)host_ram(0);

	CHECK(offset < VMM_HOST_PAGES * PAGE_SIZE && page_offset(offset) == 0, "evicts %#lx", at.v);
	return 0;
}

int mm_region_add(unused struct mm *mm, u64 bytes, unused unsigned int acc, hva_t *start)
{
	CHECK(bytes == sizeof(area), "a region of %lu bytes", bytes);
	*start = hva((u64)host_ram(0));
	return 0;
}

void irq_set(struct vm *vm, u32 irq, unused bool level)
{
	CHECK(vm == host_vm && irq < 16 && irq != IRQ_CASCADE, "line %u", irq);
}

void fuzz_one(struct input *in)
{
	struct fuzz_access a;

	fuzz_vm_begin(0);
	memset(area, 0xa5, sizeof(area));
	latch.value = 0;
	if (test_device_attach(&latch, host_vm))
		abort();
	simple_ports_attach(host_vm);
	io_add_mmio(&host_vm->io, GIB(4), 64, &(const struct io_ops){.name = "nothing"}, NULL);
	while (input_left(in)) {
		fuzz_access(in, ranges, ARRAY_SIZE(ranges), &a);
		fuzz_step_ended();
		if (a.write && !a.mmio && a.at >= 0xe0 && a.at + a.bytes <= 0xe4)
			CHECK(io_port_read(host_vcpu(0), a.at, a.bytes) == a.value, "the latch at %#lx", a.at);
		u64 offset = a.at - 0xff000000;
		for (u32 i = 0; a.mmio && a.write && i < a.bytes; i++)
			if (offset + i < sizeof(area))
				area[offset + i] = a.value >> (8 * i);
	}
	CHECK(!memcmp(area, host_ram(0), sizeof(area)), "the memory at FF000000 is not what was written");
	memset(host_ram(0), 0xa5, sizeof(area)); /* the fixture gave it the VM's pages */
	fuzz_vm_end();
}
