/* SPDX-License-Identifier: BSD-2-Clause */
/* What does each event cost that leaves a guest, or might, counted by the guest's own TSC? Under
 * QEMU's -icount shift=0,sleep=off that counts instructions exactly.
 *
 * only=KEY      that row alone
 * iterations=N  of the rows that need no fresh memory (1000) */
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define WARM_UP     64
#define TOUCH_PAGES 4096u
#define UNCLAIMED   0x9999
#define NO_CALL     0xfffffff0u
#define RW          (PTE_P | PTE_W)
#define PAGES       256u /* of the test addresses that the paging rows take in turn */

typedef u64 (*event_fn)(u64 rdi, u64 rsi, u64 rdx);
u64 event_empty(u64 rdi, u64 rsi, u64 rdx);
u64 event_cpuid(u64 rdi, u64 rsi, u64 rdx);
u64 event_out(u64 rdi, u64 rsi, u64 rdx);
u64 event_vmmcall(u64 rdi, u64 rsi, u64 rdx);
u64 event_vmcall(u64 rdi, u64 rsi, u64 rdx);
u64 event_touch(u64 rdi, u64 rsi, u64 rdx);
u64 event_cr3(u64 rdi, u64 rsi, u64 rdx);
u64 event_invlpg(u64 rdi, u64 rsi, u64 rdx);
u64 event_newpte(u64 rdi, u64 rsi, u64 rdx);
u64 event_clearpte(u64 rdi, u64 rsi, u64 rdx);
u64 event_demand(u64 rdi, u64 rsi, u64 rdx);

/* One row. */
struct row {
	const char *key;
	u64 sum, min, max, nr, nr_skipped;
};

static u64 empty_cost; /* of the harness itself */
static u64 frame;      /* what the paging rows map */
static u64 iterations;

static void row_add(struct row *r, u64 ticks)
{
	u64 cost = ticks > empty_cost ? ticks - empty_cost : 0;

	if (r->nr_skipped < WARM_UP) {
		r->nr_skipped++;
		return;
	}
	r->min = !r->nr || cost < r->min ? cost : r->min;
	r->max = cost > r->max ? cost : r->max;
	r->sum += cost;
	r->nr++;
}

static void row_print(const struct row *r)
{
	print("BENCH key=%s value=%lu iterations=%lu min=%lu max=%lu\n", r->key,
	      (r->sum + r->nr / 2) / r->nr, r->nr, r->min, r->max);
}

static void run_plain(const char *key, event_fn event, u64 rdi)
{
	struct row r = {.key = key};

	for (u64 i = 0; i < iterations + WARM_UP; i++)
		row_add(&r, event(rdi, 0, 0));
	row_print(&r);
}

static void bench_cpuid(void)
{
	run_plain("cpuid", event_cpuid, 0);
}

static void bench_out(void)
{
	run_plain("out", event_out, UNCLAIMED);
}

static void call_once(void *event)
{
	((event_fn)event)(NO_CALL, 0, 0);
}

static void bench_hypercall(void)
{
	bool amd = cpuid(0, 0).ebx == 0x68747541; /* "Auth" */
	event_fn event = amd ? event_vmmcall : event_vmcall;

	if (try_call(call_once, (void *)event).vector != TRAP_NONE)
		print("SKIP: hypercall: no hypervisor takes it\n");
	else
		run_plain("hypercall", event, NO_CALL);
}

/* First writes to memory never touched. The first page of each 2 MiB is touched outside of the
 * measurement: what builds a table page there is not what is asked. */
static void bench_touch(void)
{
	u64 bytes = (TOUCH_PAGES + WARM_UP) * PAGE_SIZE + 12 * BIG_PAGE_SIZE, page, end;
	struct row r = {.key = "touch"};

	if (ram_left() < bytes + 2 * BIG_PAGE_SIZE) {
		print("SKIP: touch: the guest needs 64 MiB\n");
		return;
	}
	page = (u64)ram_alloc(bytes, BIG_PAGE_SIZE);
	for (end = page + bytes; page < end && r.nr < TOUCH_PAGES; page += PAGE_SIZE) {
		if (page % BIG_PAGE_SIZE)
			row_add(&r, event_touch(page, 0, 0));
		else
			*(volatile u64 *)page = 1;
	}
	row_print(&r);
}

static void bench_cr3(void)
{
	run_plain("cr3", event_cr3, 0);
}

static void bench_invlpg(void)
{
	page_map(TEST_VA, frame, RW);
	run_plain("invlpg", event_invlpg, TEST_VA);
}

static u64 test_va(u64 i)
{
	return TEST_VA + i % PAGES * PAGE_SIZE;
}

static void bench_newpte(void)
{
	struct row r = {.key = "newpte"};

	for (u64 i = 0; i < iterations + WARM_UP; i++) {
		volatile u64 *pte = page_map(test_va(i), 0, 0);

		row_add(&r, event_newpte(test_va(i), frame | RW, (u64)pte));
	}
	row_print(&r);
}

static void bench_clearpte(void)
{
	struct row r = {.key = "clearpte"};

	for (u64 i = 0; i < iterations + WARM_UP; i++) {
		volatile u64 *pte = page_map(test_va(i), frame, RW);

		(void)*(volatile u64 *)test_va(i);
		row_add(&r, event_clearpte(test_va(i), 0, (u64)pte));
	}
	row_print(&r);
}

/* For demand_fault, bench_events.S. */
volatile u64 *demand_table; /* the entries of the test addresses */
u64 demand_entry;
extern const char demand_fault[];

static void bench_demand(void)
{
	struct row r = {.key = "demand"};

	demand_table = pte_of(guest_pml4, TEST_VA, 1) - (TEST_VA >> 12 & 511);
	demand_entry = frame | RW;
	idt_entry_set(VEC_PF, demand_fault);
	for (u64 i = 0; i < iterations + WARM_UP; i++) {
		page_map(test_va(i), 0, 0);
		row_add(&r, event_demand(test_va(i), 0, 0));
	}
	idt_entry_set(VEC_PF, NULL);
	row_print(&r);
}

/* The least that the harness costs: cold, it may cost more. */
static void calibrate(void)
{
	empty_cost = ~0ull;
	for (unsigned int i = 0; i < 1000; i++) {
		u64 ticks = event_empty(0, 0, 0);

		empty_cost = ticks < empty_cost ? ticks : empty_cost;
	}
}

int guest_main(void)
{
	static const struct {
		const char *key;
		void (*run)(void);
	} rows[] = {
	    {"cpuid", bench_cpuid},   {"out", bench_out},           {"hypercall", bench_hypercall},
	    {"touch", bench_touch},   {"cr3", bench_cr3},           {"invlpg", bench_invlpg},
	    {"newpte", bench_newpte}, {"clearpte", bench_clearpte}, {"demand", bench_demand},
	};
	const char *only = guest_arg("only");

	iterations = guest_arg_number("iterations", 1000);
	if (!iterations) {
		print("%s: iterations= must not be 0\n", guest_name);
		return EXIT_USAGE;
	}
	calibrate();
	frame = (u64)ram_alloc(PAGE_SIZE, 0);
	*(volatile u64 *)frame = 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		if (!only || !strcmp(only, rows[i].key))
			rows[i].run();
	print("%s: done, %lu of harness taken off each\n", guest_name, empty_cost);
	return EXIT_PASS;
}
