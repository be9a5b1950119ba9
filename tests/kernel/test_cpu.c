/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor as the kernel has set it up: rights of every mapping, guard pages, fix-ups, clocks,
 * cross calls, shoot-down, FPU ownership. */
#include "tests/kernel/kernel_test.h"

#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "sched/thread.h"

/* From linker.ld. */
extern const u8 image_start[], text_end[];

/* ---- probes: accesses that may fault ---------------------------------------------------------- */

static u64 probe_read(u64 va, u64 *value)
{
	u64 err, v = 0;

	__asm__ volatile("1:	movq (%2), %1\n\t"
			 "xorl %%eax, %%eax\n"
			 "2:\n\t" EX_TABLE("1b", "2b")
			 : "=&a"(err), "+&r"(v)
			 : "r"(va)
			 : "memory");
	*value = v;
	return err;
}

static u64 probe_write(u64 va, u64 value)
{
	u64 err;

	__asm__ volatile("1:	movq %2, (%1)\n\t"
			 "xorl %%eax, %%eax\n"
			 "2:\n\t" EX_TABLE("1b", "2b")
			 : "=&a"(err)
			 : "r"(va), "r"(value)
			 : "memory");
	return err;
}

static bool can_read(u64 va)
{
	u64 value;

	return probe_read(va, &value) == 0;
}

/* Writes back what stands there. */
static bool can_write(u64 va)
{
	u64 value;

	return probe_read(va, &value) == 0 && probe_write(va, value) == 0;
}

/* ---- rights ------------------------------------------------------------------------------------- */

struct leaf_count {
	u64 leaves, writable_and_executable, executable, executable_elsewhere, user;
};

static int count_leaf(void *ctx, u64 va, int level, u64 *entry)
{
	struct leaf_count *c = ctx;
	unsigned int acc = kernel_pt.fmt->rights(*entry);

	(void)level;
	c->leaves++;
	c->writable_and_executable += (acc & ACC_W) && (acc & ACC_X);
	c->executable += !!(acc & ACC_X);
	c->executable_elsewhere +=
		(acc & ACC_X) && (va < (u64)image_start || va >= (u64)text_end);
	c->user += !!(acc & ACC_U);
	return 0;
}

static void nothing_is_writable_and_executable(void)
{
	struct leaf_count c = {0};

	if (!features.nx) {
		report_skip("writable memory is not executable", "this processor has no NX");
		return;
	}
	pt_for_each(&kernel_pt, DIRECT_MAP, ~0ull, count_leaf, &c);
	report(c.leaves && !c.writable_and_executable,
	       "no mapping is writable and executable (%lu of %lu)", c.writable_and_executable,
	       c.leaves);
	report(c.executable && !c.executable_elsewhere, "only the image's text is executable");
	report(!c.user, "no mapping of the kernel is for user mode");
	report((rdmsr(MSR_EFER) & EFER_NXE) && (read_cr0() & CR0_WP), "NX and CR0.WP are on");
}

static void text_cannot_be_written(void)
{
	static const u64 constant = 5;
	static u64 variable = 5;
	u64 text = (u64)image_start, alias = text - KERNEL_IMAGE + DIRECT_MAP;

	report(can_read(text) && !can_write(text), "text can be read, not written");
	report(can_read(alias) && !can_write(alias), "nor by its alias in the direct map");
	report(can_read((u64)&constant) && !can_write((u64)&constant), "nor constants");
	report(can_write((u64)&variable), "variables can be written");
	report(!can_read((u64)&variable - KERNEL_IMAGE), "physical addresses are no pointers");
	report(!can_read(0), "page 0 is not mapped");
}

/* ---- stacks ------------------------------------------------------------------------------------- */

struct reach {
	u64 va;
	u32 cpus; /* [a] */
};

static void count_reach(void *arg)
{
	struct reach *r = arg;

	if (can_read(r->va))
		atomic_add(&r->cpus, 1);
}

static u32 cpus_that_reach(u64 va)
{
	struct reach r = {.va = va};

	smp_call(cpu_online_mask(), count_reach, &r);
	return r.cpus;
}

static void stacks_have_guard_pages(void)
{
	u8 *top = stack_alloc();
	u64 bottom = (u64)top - STACK_BYTES;

	if (!top) {
		report(false, "a stack is allocated");
		return;
	}
	memset((void *)bottom, 0x5a, STACK_BYTES);
	report(cpus_that_reach(bottom) == nr_cpus && cpus_that_reach((u64)top - 8) == nr_cpus,
	       "every CPU reaches a new stack");
	report(!can_read(bottom - 8) && stack_guard_hit(bottom - 8), "a guard page lies below");
	report(!can_read((u64)top) && stack_guard_hit((u64)top), "and one above");
	report(!stack_guard_hit(bottom) && !stack_guard_hit((u64)top - 1), "not in between");
	stack_free(top);
	report(cpus_that_reach(bottom) == 0, "no CPU reaches a freed stack");
	report(stack_guard_hit((u64)__builtin_frame_address(0)) == false, "we do not run in a guard");
}

/* ---- faults and interrupts ---------------------------------------------------------------------- */

static void bad_msrs_are_survived(void)
{
	u64 v = 0;

	if (rdmsr_safe(0x4fffffff, &v) == 0) {
		report_skip("an MSR that does not exist is survived", "this processor ignores them");
	} else {
		report(rdmsr_safe(0x4fffffff, &v) == -EFAULT, "reading a missing MSR says so");
	}
	report(rdmsr_safe(MSR_EFER, &v) == 0 && v == rdmsr(MSR_EFER), "an existing one is read");
	report(!can_read(0x123456789abcdefull << 4), "a non-canonical address is survived");
}

static u32 hits; /* [a] */

static void count_hit(void)
{
	atomic_add(&hits, 1);
}

static bool wait_for_hits(u32 want, u32 us)
{
	u64 end = clock_ns() + us * 1000ull;

	while (atomic_load(&hits) < want && clock_ns() < end)
		cpu_relax();
	return atomic_load(&hits) == want;
}

static void interrupts_arrive(void)
{
	int vector = irq_alloc(count_hit);
	u64 before;

	report(vector >= VECTOR_DEVICE, "a vector is allocated");
	if (vector < 0)
		return;
	atomic_store(&hits, 0);
	preempt_disable();
	before = this_cpu()->irqs;
	for (u32 i = 0; i < nr_cpus; i++) {
		apic_ipi(cpus[i]->apic_id, vector);
		report(wait_for_hits(i + 1, 100000), "CPU %u takes an interrupt, once", i);
	}
	report(this_cpu()->irqs > before, "and counts it");
	preempt_enable();
}

/* ---- time --------------------------------------------------------------------------------------- */

static u64 distance(u64 a, u64 b)
{
	return a > b ? a - b : b - a;
}

static u16 pit_channel2(void)
{
	u8 low;

	outb(0x43, 0x80);
	low = inb(0x42);
	return low | inb(0x42) << 8;
}

/* The 8254 at 1193182 Hz, from FFFF down: it wraps after 54 ms. */
#define PIT_WRAPS_NS 54000000

/* wait_measured - wait for 20 ms; how long that was by our clock and by the 8254. */
static void wait_measured(u64 *clock, u64 *pit)
{
	u64 flags = irq_save(), start;
	u16 first;

	outb(0x61, (inb(0x61) & ~2) | 1);
	outb(0x43, 0xb4);
	outb(0x42, 0xff);
	outb(0x42, 0xff);
	first = pit_channel2();
	start = clock_ns();
	clock_spin_us(20000);
	*clock = clock_ns() - start;
	*pit = (u16)(first - pit_channel2()) * 1000000000ull / 1193182;
	irq_restore(flags);
}

static void clock_runs_at_the_right_rate(void)
{
	u64 clock = 0, pit = 0;

	/* A host that has other work may let us wait for longer than the 8254 can tell. */
	for (u32 i = 0; i < 10 && (!clock || clock >= PIT_WRAPS_NS); i++)
		wait_measured(&clock, &pit);
	if (!pit || clock >= PIT_WRAPS_NS) {
		report_skip("the clock agrees with the 8254", pit ? "too busy a host" : "there is none");
		return;
	}
	report(clock >= 20000000, "a wait of 20 ms is not shorter (%lu ns)", clock);
	report(distance(clock, pit) < clock / 20, "the clock agrees with the 8254: %lu ns, %lu ns",
	       clock, pit);
}

static void clock_converts_both_ways(void)
{
	u64 tick_ns = 1000000000 / clock_tsc_hz() + 1, wrong = 0;

	for (u64 ns = 1; ns < 1ull << 50; ns = ns * 3 + 1)
		if (distance(clock_tsc_to_ns(clock_ns_to_tsc(ns)), ns) > tick_ns + ns / 100000)
			wrong = ns;
	report(!wrong, "ns to TSC and back is exact to a tick and 10 ppm (%lu)", wrong);
}

/* ---- calls -------------------------------------------------------------------------------------- */

/* Calls to one CPU at a time in all; each waits for all others, so a caller makes fewer where there are
 * more CPUs than the emulator's host has. */
#define STORM_WORK 10000

static u32 storm_calls; /* of each caller */

static u64 calls_run[MAX_CPUS]; /* by the CPU that runs it */
static u64 calls_made[MAX_CPUS];

static void note_call(void *arg)
{
	(void)arg;
	calls_run[cpu_id()]++;
}

static void calls_reach_exactly_their_cpus(void)
{
	u64 all = cpu_online_mask();
	bool exact = true;

	for (u64 mask = 1; mask <= MIN(all, 15ull); mask++) {
		memset(calls_run, 0, sizeof(calls_run));
		smp_call(mask & all, note_call, NULL);
		for (u32 i = 0; i < nr_cpus; i++)
			exact = exact && calls_run[i] == (mask >> i & 1);
	}
	report(exact, "a call runs once on each CPU of its mask, on no other");
}

static void storm(void *arg)
{
	u64 *made = arg;

	for (u32 i = 0; i < storm_calls; i++) {
		smp_call(cpu_online_mask(), note_call, NULL);
		++*made;
	}
}

/* One thread on each CPU calls all CPUs, itself included, all at once. */
static void storms_of_calls_end(void)
{
	static struct thread threads[4];
	u32 n = MIN(nr_cpus, (u32)ARRAY_SIZE(threads));
	bool complete = true;

	storm_calls = STORM_WORK / (n * n);
	memset(calls_run, 0, sizeof(calls_run));
	memset(calls_made, 0, sizeof(calls_made));
	for (u32 i = 0; i < n; i++) {
		int err = thread_create(&threads[i], "storm", storm, &calls_made[i], NULL);

		CHECK(!err, "thread: %d", err);
		threads[i].affinity = 1ull << i;
		thread_start(&threads[i]);
	}
	for (u32 i = 0; i < n; i++)
		thread_join(&threads[i]);
	for (u32 i = 0; i < nr_cpus; i++)
		complete = complete && calls_run[i] == n * storm_calls;
	report(complete, "%u CPUs call each other %u times", n, n * storm_calls);
}

/* ---- shoot-down --------------------------------------------------------------------------------- */

#define SPACE_VA 0x40000000ul

static struct cpu_space test_space;

struct space_look {
	u64 expected;
	u32 right; /* [a] */
};

static void space_enter_and_read(void *arg)
{
	struct space_look *look = arg;
	u64 value;

	space_switch(&test_space);
	if (probe_read(SPACE_VA, &value) == 0 && value == look->expected)
		atomic_add(&look->right, 1);
}

static void space_leave(void *old)
{
	space_switch(old);
}

static u32 cpus_that_see(u64 expected)
{
	struct space_look look = {.expected = expected};

	smp_call(cpu_online_mask(), space_enter_and_read, &look);
	return look.right;
}

static void every_cpu_forgets_what_is_flushed(void)
{
	struct pt_pages *pages = kernel_pt.pages;
	struct pt pt = {&pt_format_host, pages->get(pages), DIRECT_MAP, pages};
	u64 frame[2] = {pages->get(pages), pages->get(pages)};
	struct cpu_space *old;
	u64 *pte;

	memcpy((u64 *)phys_to_virt(pt.root) + 256, (u64 *)phys_to_virt(kernel_pt.root) + 256, 2048);
	for (u32 i = 0; i < 2; i++)
		*(u64 *)phys_to_virt(frame[i]) = 111 * (i + 1);
	CHECK(!pt_ensure(&pt, SPACE_VA, 1, &pte), "no memory");
	test_space = (struct cpu_space){.cr3 = pt.root};

	preempt_disable();
	old = this_cpu()->space;
	for (u32 pages_flushed = 1; pages_flushed <= 1000; pages_flushed *= 1000) {
		atomic_store(pte, frame[0] | pt.fmt->leaf_bits(ACC_R, 1));
		space_flush(&test_space, SPACE_VA, SPACE_VA + pages_flushed * PAGE_SIZE);
		report(cpus_that_see(111) == nr_cpus, "every CPU reads by the test's tables");
		atomic_store(pte, frame[1] | pt.fmt->leaf_bits(ACC_R, 1));
		space_flush(&test_space, SPACE_VA, SPACE_VA + pages_flushed * PAGE_SIZE);
		report(cpus_that_see(222) == nr_cpus, "after a flush of %u pages all see the change",
		       pages_flushed);
	}
	smp_call(cpu_online_mask() & ~(1ull << cpu_id()), space_leave, NULL);
	space_switch(old);
	preempt_enable();
	report(!test_space.active, "who left is no longer counted (%#lx)", test_space.active);
	atomic_store(pte, 0);
	pages->put(pages, frame[0]);
	pages->put(pages, frame[1]);
	pt_destroy(&pt, 0, 256);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static void device_memory_is_mapped(void)
{
	struct pt_pages *pages = kernel_pt.pages;
	u64 frame = pages->get(pages), *at;
	u64 *uncached = memory_map_device(frame + 16, 8, MAP_UNCACHED);
	u8 *large = memory_map_device(0x10000000000 - MIB(8) + 0x3000, MIB(6), MAP_WRITE_COMBINING);
	int level = 0;

	*(u64 *)phys_to_virt(frame + 16) = 77;
	report(uncached && *uncached == 77, "a mapped frame shows what it holds");
	if (uncached) {
		at = pt_lookup(&kernel_pt, (u64)uncached, 1, &level);
		report((*at & 0x18) == 0x18, "uncached is PCD and PWT");
	}
	if (large) {
		at = pt_lookup(&kernel_pt, (u64)large + MIB(3), 1, &level);
		report(level == 2 && (*at & 0x18) == 8, "the middle of a large area is a large leaf");
	} else {
		report(features.phys_bits < 40, "6 MiB of addresses are mapped");
	}
	report(!memory_map_device(1ull << 52, 4096, MAP_UNCACHED) &&
		       !memory_map_device(~0ull - 8, 4096, MAP_UNCACHED) &&
		       !memory_map_device(0x1000, 0, MAP_UNCACHED),
	       "what is no address is refused");
	/* The frame is mapped for ever: it is not given back. */
}

static void figures_make_sense(void)
{
	report(memory_ram_bytes() && memory_ram_bytes() <= memory_ram_top(),
	       "RAM %lu KiB, top %lu KiB", memory_ram_bytes() / 1024, memory_ram_top() / 1024);
	report(memory_is_mapped(DIRECT_MAP + 0x1000) && !memory_is_mapped(0x1000) &&
		       !memory_is_mapped(DIRECT_MAP + page_up(memory_ram_top())),
	       "the direct map ends with the RAM");
}

/* ---- FPU ------------------------------------------------------------------------------------------ */

static void xmm0_set(u64 v)
{
	__asm__ volatile("movq %0, %%xmm0" ::"r"(v));
}

static u64 xmm0_get(void)
{
	u64 v;
	__asm__ volatile("movq %%xmm0, %0" : "=r"(v));
	return v;
}

static void x87_set(u32 v)
{
	__asm__ volatile("fninit; fildl %0" ::"m"(v));
}

static u32 x87_get(void)
{
	u32 v;
	__asm__ volatile("fistl %0" : "=m"(v));
	return v;
}

/* fsw_comes_back - load @f, which is not live, with @fsw in its area, and look at the register. */
static bool fsw_comes_back(struct fpu *f, u16 fsw)
{
	u16 found, area;

	fpu_reset(f); /* forgets that it left here */
	*(u16 *)((u8 *)f->area + 2) = fsw;
	if (features.xsave)
		*(u64 *)((u8 *)f->area + 512) = 1; /* XSTATE_BV: x87 is not as after INIT */
	fpu_load(f);
	__asm__ volatile("fnstsw %0" : "=m"(found));
	area = *(u16 *)((u8 *)f->area + 2);
	fpu_save(f);
	return found == fsw && area == fsw;
}

static void fpu_state_follows_its_owner(void)
{
	static u8 area[2][4096] aligned(64);
	static u8 page[PAGE_SIZE] aligned(PAGE_SIZE);
	struct fpu f[2] = {{.area = area[0], .cpu = -1}, {.area = area[1], .cpu = -1}};
	bool kept = true, clear = true;

	if (fpu_area_bytes() > sizeof(area[0])) {
		report_skip("FPU state follows its owner", "its area is larger than the test's");
		return;
	}
	memset(page, 0xff, sizeof(page));
	preempt_disable();
	for (u32 i = 0; i < 2; i++) {
		fpu_reset(&f[i]);
		fpu_load(&f[i]);
		kept = kept && xmm0_get() == 0;
		xmm0_set(1000 + i);
		x87_set(2000 + i);
	}
	for (u32 i = 0; i < 6; i++) {
		fpu_load(&f[i % 2]);
		kept = kept && xmm0_get() == 1000 + i % 2 && x87_get() == 2000 + i % 2;
		memory_clear_page(page);
		kept = kept && xmm0_get() == 1000 + i % 2;
	}
	report(kept, "each of two owners finds its registers, page clearing in between");
	report(f[1].cpu == (s32)cpu_id() && f[0].cpu == -1, "one state is live");
	fpu_save(&f[1]);
	report(f[1].cpu == -1 && !this_cpu()->fpu_owner, "and none after it was saved");

	/* Back at once, nobody between: nothing needs to be loaded. With somebody between it does. */
	fpu_load(&f[1]);
	kept = xmm0_get() == 1001 && x87_get() == 2001;
	fpu_save(&f[1]);
	fpu_load(&f[0]);
	kept = kept && xmm0_get() == 1000 && x87_get() == 2000;
	xmm0_set(1002);
	fpu_save(&f[0]);
	fpu_load(&f[1]);
	kept = kept && xmm0_get() == 1001 && x87_get() == 2001;
	fpu_load(&f[0]);
	kept = kept && xmm0_get() == 1002;
	fpu_save(&f[0]);
	fpu_reset(&f[0]);
	fpu_load(&f[0]);
	report(kept && xmm0_get() == 0, "a state that left comes back, others between or not");
	fpu_save(&f[0]);
	report(fsw_comes_back(&f[0], 0x3d00) && fsw_comes_back(&f[0], 0x3d20),
	       "the x87 status word comes back, with an exception flag and without");
	preempt_enable();
	for (u32 i = 0; i < PAGE_SIZE; i++)
		clear = clear && !page[i];
	report(clear, "a cleared page is zero");
}

/* ---- names ---------------------------------------------------------------------------------------- */

static void functions_have_names(void)
{
	u64 offset = 0;
	const char *name = symbol_find((u64)thread_create + 3, &offset);

	report(name && !strcmp(name, "thread_create") && offset == 3, "an address in thread_create is %s",
	       name ? name : "nothing");
	report(!symbol_find((u64)image_start - 1, &offset), "what lies before the kernel has no name");
}

static void test_cpu(void)
{
	nothing_is_writable_and_executable();
	text_cannot_be_written();
	stacks_have_guard_pages();
	bad_msrs_are_survived();
	interrupts_arrive();
	clock_runs_at_the_right_rate();
	clock_converts_both_ways();
	calls_reach_exactly_their_cpus();
	storms_of_calls_end();
	every_cpu_forgets_what_is_flushed();
	device_memory_is_mapped();
	figures_make_sense();
	fpu_state_follows_its_owner();
	functions_have_names();
}
KERNEL_SUITE(cpu, test_cpu);
