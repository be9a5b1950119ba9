/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM around a device that is being fuzzed. */
#include "vm.h"

#include "cpu/percpu.h"

#define FILL   0xa5
#define AROUND 8

static u64 ns_left;

void fuzz_vm_begin(u32 seconds)
{
	vmm_host_setup(NULL);
	memset(host_ram(0), FILL, VMM_HOST_PAGES * PAGE_SIZE);
	ns_left = seconds * 1000000000ull;
}

void fuzz_vm_end(void)
{
	const u8 *ram = host_ram(0);

	CHECK(ram[0] == FILL && !memcmp(ram, ram + 1, VMM_HOST_PAGES * PAGE_SIZE - 1),
	      "the device wrote to guest memory");
	vmm_host_teardown(NULL);
}

void fuzz_step_ended(void)
{
	CHECK(!host_cpu->nr_ranks && !host_cpu->preempt_count, "a lock is held: %u, %u",
	      host_cpu->nr_ranks, host_cpu->preempt_count);
}

void fuzz_access(struct input *in, const struct fuzz_range *ranges, u32 nr, struct fuzz_access *seen)
{
	u8 how = take(in, 1);
	const struct fuzz_range *r = &ranges[take_below(in, nr)];
	u64 offset = take_below(in, r->bytes + AROUND);
	struct fuzz_access a = {
		.v = host_vcpu(how >> 2 & 3),
		.bytes = 1u << (how & 3),
		.mmio = r->mmio,
		.write = how & 0x20,
	};

	if (!r->mmio)
		a.bytes = MIN(a.bytes, 4u);
	if (r->step && (how & 0x10))
		offset &= ~(u64)(r->step - 1);
	a.at = offset < r->bytes ? r->start + offset : r->start - AROUND + (offset - r->bytes);
	if (a.write)
		a.value = take(in, a.bytes);
	if (a.mmio && a.write)
		io_mmio_write(a.v, gpa(a.at), a.bytes, a.value);
	else if (a.mmio)
		a.value = io_mmio_read(a.v, gpa(a.at), a.bytes);
	else if (a.write)
		io_port_write(a.v, a.at, a.bytes, a.value);
	else
		a.value = io_port_read(a.v, a.at, a.bytes);
	CHECK(a.bytes == 8 || !(a.value >> (8 * a.bytes)), "%u bytes are %#lx", a.bytes, a.value);
	if (seen)
		*seen = a;
}

void fuzz_time(struct input *in)
{
	u64 ns = (take(in, 1) + 1) << take_below(in, 40);

	ns = MIN(ns, ns_left);
	ns_left -= ns;
	vmm_host_clock(ns);
}
