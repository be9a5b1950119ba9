/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that looks like Neap to tools/gdb/neap.py: the kernel's own structs, and its way to leave
 * a thread, in a program that gdb can run. It has this file's name because the kernel's list of
 * threads is static in sched/thread.c.
 *
 * It stops in `look_here` with one CPU, on which "boot" runs; "sleeper" left it in `wait_inner`; the
 * VM "tide" has a vCPU. */
#define NEAP_HOST 1
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/vm.h"

struct cpu *cpus[MAX_CPUS];
u32 nr_cpus;
_Thread_local struct cpu *host_cpu;
u64 host_direct_map;
struct page *page_array;
u64 page_array_nr;

struct thread *context_switch(struct thread *prev, struct thread *next);
void look_here(void);

/* As in mm/rmap.c. */
struct rmap_node {
	struct rmap_node *next;
	u64 entry[7];
};

static struct list threads = LIST_INIT(threads);

static struct thread boot = {.name = "boot", .state = THREAD_RUNNABLE, .on_cpu = true};
static struct thread sleeper = {.name = "sleeper", .state = THREAD_SLEEPING};
static u64 sleeper_stack[1024];

static struct rmap_node chain_tail = {
	.entry = {0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000}};
static struct rmap_node chain_head = {.next = &chain_tail, .entry = {2ul << 48 | 0x8000}};

static struct page pages[] = {
	{.flags = PG_BUDDY | FRAME_FREE << PG_OWNER_SHIFT | 3u << PG_ORDER_SHIFT},
	{.refcount = 1, .mapcount = 1, .flags = PG_ANON | PG_DIRTY | FRAME_GUEST << PG_OWNER_SHIFT,
	 .rmap = 5ul << 48 | 0x400000 | 1},
	{.refcount = 8, .mapcount = 8, .flags = PG_ANON | PG_RMAP_CHAIN | FRAME_GUEST << PG_OWNER_SHIFT},
};

static void vcpu_loop(void *arg)
{
	((struct vcpu *)arg)->requests = 0;
}

static noinline void wait_inner(void)
{
	(void)context_switch(&sleeper, &boot);
	__asm__ volatile(""); /* no tail call: this frame is what the test looks for */
}

static noinline void wait_outer(void)
{
	wait_inner();
	__asm__ volatile("");
}

noinline void look_here(void)
{
	__asm__ volatile("" ::: "memory");
}

int main(void)
{
	static struct cpu cpu = {.current = &boot, .preempt_count = 2, .nr_ranks = 1, .ranks = {7}};
	static struct mm mm = {.nr_anon = 42};
	static struct vm vm = {
		.config = {.name = "tide", .mem_bytes = MIB(1)}, .state = VM_RUNNING, .mm = &mm,
	};
	static struct vcpu vcpu = {
		.vm = &vm, .rip = 0x7c00, .activity = VCPU_HALTED, .mode = VCPU_OUTSIDE,
		.exit.reason = EXIT_HLT,
		.thread = {.name = "tide/0", .fn = vcpu_loop, .arg = &vcpu, .state = THREAD_SLEEPING},
	};

	host_cpu = cpus[0] = &cpu;
	nr_cpus = 1;
	pages[2].rmap = (u64)&chain_head;
	page_array = pages;
	page_array_nr = sizeof(pages) / sizeof(pages[0]);
	list_add_tail(&threads, &boot.all);
	list_add_tail(&threads, &sleeper.all);
	list_add_tail(&threads, &vcpu.thread.all);

	/* As thread_stack_prepare does: six registers, then where to begin; RSP as after a call. */
	u64 *sp = sleeper_stack + 1022;
	*--sp = 0;
	*--sp = (u64)wait_outer;
	sp -= 6;
	sleeper.rsp = (u64)sp;
	(void)context_switch(&boot, &sleeper);
	vcpu.thread.rsp = sleeper.rsp;

	look_here();
	return 7;
}
