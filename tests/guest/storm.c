/* SPDX-License-Identifier: BSD-2-Clause */
/* Do vCPUs that write all over a memory that does not fit see each other's writes, each once made and
 * none lost? Every vCPU rewrites pages of its own share, in an order of chance, each time as the next
 * version; between two writes it looks at a page of somebody else.
 *
 * A page's version is odd while it is written. Who looks and finds something else than the version
 * that it read before asks again whether that is still the version: only then it is wrong.
 *
 * seed=N    contents and order
 * mem=SIZE  use that much RAM at most
 * writes=N  so many by each vCPU (4000), beside the first of every page */
#include "apic.h"
#include "guest.h"
#include "hypercall.h"
#include "pages.h"
#include "x86.h"

#define CPUS_MAX   8
#define TELL_EVERY 64

static u32 *versions; /* [index]; written by the page's owner alone */
static u64 nr_pages, writes;
static unsigned int cpus;
static u32 done, looked_in_vain;

static u32 version_read(u64 index)
{
	return __atomic_load_n(&versions[index], __ATOMIC_ACQUIRE);
}

static void rewrite(u64 index)
{
	u32 writing = version_read(index) | 1;

	__atomic_store_n(&versions[index], writing, __ATOMIC_SEQ_CST);
	page_write(index, writing + 1);
	__atomic_store_n(&versions[index], writing + 1, __ATOMIC_RELEASE);
}

static void look(u64 index)
{
	u32 version = version_read(index);

	if (version % 2 == 0 && page_is(index, version)) {
		__atomic_add_fetch(&pages_verified, 1, __ATOMIC_RELAXED);
		return;
	}
	if (version % 2 || version_read(index) != version)
		__atomic_add_fetch(&looked_in_vain, 1, __ATOMIC_RELAXED);
	else
		page_verify(index, version);
}

/* Page i is of the vCPU i % cpus: neighbours on the disk have different writers. */
static u64 own(u64 chance, unsigned int cpu)
{
	return chance % (nr_pages / cpus) * cpus + cpu;
}

static void storm(unsigned int cpu)
{
	u64 state = pages_mix(cpu, 0);

	for (u64 index = cpu; index < nr_pages; index += cpus)
		rewrite(index);
	for (u64 i = 0; i < writes && !__atomic_load_n(&pages_mismatches, __ATOMIC_RELAXED); i++) {
		u64 chance = random_next(&state), mine = own(chance, cpu);

		page_verify(mine, version_read(mine));
		rewrite(mine);
		look((chance >> 32) % nr_pages);
		if (cpu == 0 && i % TELL_EVERY == 0)
			hypercall_progress(i, writes);
	}
	for (u64 index = cpu; index < nr_pages; index += cpus)
		page_verify(index, version_read(index));
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

static bool start(void)
{
	cpus = (unsigned int)fw_cfg_read(FW_CFG_CPUS, 2);
	if (cpus < 1 || cpus > CPUS_MAX) {
		print("%s: %u CPUs: 1 to %u are meant\n", guest_name, cpus, CPUS_MAX);
		return false;
	}
	return true;
}

int guest_main(void)
{
	u64 bytes = guest_ram_end() / PAGE_SIZE * sizeof(*versions);
	unsigned int started;

	writes = guest_arg_number("writes", 4000);
	if (!start())
		return EXIT_USAGE;
	versions = ram_alloc(bytes, PAGE_SIZE);
	memset(versions, 0xff, bytes); /* odd: no page holds anything yet */
	nr_pages = pages_init(CPUS_MAX);
	print("%s: %lu pages, %u CPU%s\n", guest_name, nr_pages, cpus, cpus == 1 ? "" : "s");
	started = cpus > 1 ? ap_start(storm, cpus - 1) : 0;
	if (started != cpus - 1) {
		print("%s: %u of %u others started\n", guest_name, started, cpus - 1);
		return EXIT_FAIL;
	}
	storm(0);
	while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < cpus)
		cpu_relax();
	hypercall_progress(writes, writes);
	print("%s: %u looks met a writer\n", guest_name, looked_in_vain);
	return pages_summary();
}
