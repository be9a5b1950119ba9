/* SPDX-License-Identifier: BSD-2-Clause */
/* Rule 18 in the live kernel: vCPUs enter a guest step by step, on the CPUs that the test chooses, mm
 * takes a page from them at the worst moment, and the oracle of the TLBs (vmm/tlb_oracle.h) must
 * find nothing. Each of the ways in which the rule can be broken it must find. */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/format.h"
#include "lib/mutant.h"
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/vm_test.h"
#include "vmm/mmu.h"
#include "vmm/tlb_oracle.h"

#define PLACE   MIB(1)
#define PROGRAM PAGE_SIZE

/* start: mov eax, [1 MiB]; vmmcall; jmp start */
static const u8 program[] = {0xa1, 0x00, 0x00, 0x10, 0x00, 0x0f, 0x01, 0xd9, 0xeb, 0xf6};
#define VMMCALL_BYTES 3

static struct vm *vm;
static u32 value; /* what the guest must read at PLACE */

static void zap(void)
{
	rwsem_read_lock(&vm->mm->mmap_lock);
	mm_zap_range(vm->mm, test_hva(vm, PLACE), test_hva(vm, PLACE) + PAGE_SIZE);
	rwsem_read_unlock(&vm->mm->mmap_lock);
}

static void write_value(void)
{
	value++;
	if (hva_write(hva(test_hva(vm, PLACE)), &value, sizeof(value)))
		panic("no memory for the test of the TLBs");
}

static void move_to(u32 cpu)
{
	thread_set_affinity(thread_current(), 1ull << cpu);
}

/* step - @v runs here until it has read PLACE. Returns what it read.
 * => the thread stays on its CPU meanwhile */
static u32 step(struct vcpu *v)
{
	for (;;) {
		hvm->run(v);
		preempt_disable();
		fpu_save(&v->fpu); /* this is no vCPU's thread: nobody else would */
		preempt_enable();
		if (v->exit.reason == EXIT_HYPERCALL)
			break;
		CHECK(v->exit.reason == EXIT_NONE || v->exit.reason == EXIT_MMU,
		      "the test's guest left for reason %u", v->exit.reason);
		if (v->exit.reason == EXIT_MMU && mmu_fault(v, v->exit.mmu.gpa, v->exit.mmu.acc))
			panic("a fault of the test's guest failed");
	}
	v->rip += VMMCALL_BYTES;
	return (u32)v->regs[REG_RAX];
}

/* ---- the ways to break the rule ---------------------------------------------------------------- */

/* Between the last look of who enters and IN_GUEST, another CPU takes the page away. */
static void act_before_entry(unused void *arg)
{
	thread_use_space(vm->mm, &vm->mm->space);
	zap();
	write_value();
	thread_use_space(NULL, NULL);
}

static void before_guest_mode(unused void *ctx)
{
	worker_start_on(0, act_before_entry, nr_cpus > 1 ? ~1ull : 0, NULL);
	workers_join(1);
}

static u32 flush_before_entry(void)
{
	struct vcpu *v = vm->vcpus[0];

	(void)step(v);
	race_arm("svm.before_guest_mode", 0, before_guest_mode, NULL);
	u32 read = step(v);
	race_arm(NULL, 0, NULL, NULL);
	return read;
}

/* A vCPU leaves its tag behind on one CPU, hears of a flush on another, and comes back. */
static u32 flush_while_elsewhere(void)
{
	struct vcpu *v = vm->vcpus[0];

	(void)step(v);
	move_to(1);
	(void)step(v);
	zap();
	write_value();
	(void)step(v);
	move_to(0);
	return step(v);
}

/* Two vCPUs share a CPU; the first hears of the flush, the second must as well. */
static u32 flush_beside(void)
{
	(void)step(vm->vcpus[0]);
	(void)step(vm->vcpus[1]);
	zap();
	write_value();
	(void)step(vm->vcpus[0]);
	return step(vm->vcpus[1]);
}

/* One CPU stands right before VMRUN, where no interrupt reaches it, while another flushes. */
static struct {
	u64 gen;          /* before the flush */
	bool inside;      /* [a] it stands there */
	bool returned;    /* [a] the flush did */
	bool wait_return; /* it stays until then: only where nobody waits for it */
} at_entry;

static void before_vmrun(unused void *ctx)
{
	atomic_store(&at_entry.inside, true);
	while (atomic_load(&vm->tlb_gen) == at_entry.gen)
		cpu_relax();
	while (at_entry.wait_return && !atomic_load(&at_entry.returned))
		cpu_relax();
}

static void enter_once(void *arg)
{
	struct worker *w = arg;

	w->result = (int)step(vm->vcpus[0]);
}

static u32 flush_during_entry(void)
{
	(void)step(vm->vcpus[0]);
	at_entry.gen = vm->tlb_gen;
	at_entry.inside = at_entry.returned = false;
	at_entry.wait_return = mutant("flush_no_kick");
	race_arm("svm.before_vmrun", 0, before_vmrun, NULL);
	worker_start_on(0, enter_once, 2, NULL);
	while (!atomic_load(&at_entry.inside))
		cpu_relax();
	zap();
	atomic_store(&at_entry.returned, true);
	workers_join(1);
	race_arm(NULL, 0, NULL, NULL);
	write_value();
	return step(vm->vcpus[0]);
}

static const struct way {
	const char *what;
	const char *mutant;
	const char *names; /* what the oracle says of it */
	u32 (*run)(void);  /* returns what the guest read last */
	u32 cpus;          /* needs so many */
} ways[] = {
	{"a flush between compare and IN_GUEST", "tlbgen_before_barrier", "tlb_missed: rule 18",
	 flush_before_entry, 1},
	{"a vCPU that comes back to its old ASID", "tlbgen_per_vcpu", "tlb_entry: rule 18",
	 flush_while_elsewhere, 2},
	{"the second vCPU of a CPU", "tlbgen_per_cpu", "tlb_entry: rule 18", flush_beside, 1},
	{"a flush of who is in guest mode", "flush_no_kick", "tlb_returned: rule 18",
	 flush_during_entry, 2},
};

static void test_way(const struct way *w)
{
	char name[100];

	if (nr_cpus < w->cpus) {
		(void)text_format(name, sizeof(name), "mutant %s is caught", w->mutant);
		report_skip(name, "one CPU");
		return;
	}
	tlb_oracle_catch();
	u32 read = w->run();
	const char *caught = tlb_oracle_caught();
	report(!caught[0] && read == value, "%s: the guest reads %u of %u%s%s", w->what, read, value,
	       caught[0] ? "; " : "", caught);

	tlb_oracle_catch();
	mutant_select(w->mutant);
	(void)w->run();
	mutant_select(NULL);
	caught = tlb_oracle_caught();
	report(str_starts(caught, w->names), "mutant %s is caught: %s", w->mutant, caught);
}

/* An entry that needs no flush makes none: the rule is not kept by flushing always. */
static void test_no_idle_flush(void)
{
	struct vcpu *v = vm->vcpus[0];

	(void)step(v);
	u64 before = v->flushes;
	for (u32 i = 0; i < 10; i++)
		(void)step(v);
	report(v->flushes == before, "entries without a flush between make none: %lu",
	       v->flushes - before);
}

/* INIT empties a processor's TLB. */
static void test_init(void)
{
	struct vcpu *v = vm->vcpus[0];

	(void)step(v);
	u64 before = v->flushes;
	hvm->vcpu_reset(v);
	test_vcpu_flat32(v, PROGRAM);
	(void)step(v);
	report(v->flushes == before + 1, "after INIT a vCPU uses no old translation: %lu flushes",
	       v->flushes - before);
}

/* ---- everything at once -------------------------------------------------------------------------- */

static u64 entries(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < vm->nr_vcpus; i++)
		sum += vm->vcpus[i]->exits[EXIT_HYPERCALL];
	return sum;
}

static void test_storm(void)
{
	u64 end = clock_ns() + 500 * MS, chance = 54321;
	u64 gen = vm->tlb_gen;

	for (u32 i = 0; i < vm->nr_vcpus; i++)
		test_vcpu_flat32(vm->vcpus[i], PROGRAM);
	tlb_oracle_catch();
	vm_start(vm);
	while (clock_ns() < end) {
		chance = chance * 6364136223846793005 + 1442695040888963407;
		thread_set_affinity(&vm->vcpus[chance >> 63]->thread,
				    1ull << (chance >> 40) % nr_cpus);
		zap();
		if ((chance >> 50 & 15) == 0)
			thread_yield();
	}
	vm_pause(vm);
	vm_wait_parked(vm);
	const char *caught = tlb_oracle_caught(), *names = test_audits(vm);
	report(!caught[0] && !names[0], "vCPUs that are moved about while they are robbed stay sound: "
	       "%lu flushes, %lu steps %s%s", vm->tlb_gen - gen, entries(), caught, names);
	vm_resume(vm);
}

static void test_tlb(void)
{
	thread_set_affinity(thread_current(), 1);
	vm = test_vm_create_smp("tlb", MIB(8), 2);
	if (vm) {
		watchdog_start("vmm_tlb");
		if (hva_write(hva(test_hva(vm, PROGRAM)), program, sizeof(program)))
			panic("no memory for the test of the TLBs");
		for (u32 i = 0; i < vm->nr_vcpus; i++)
			test_vcpu_flat32(vm->vcpus[i], PROGRAM);
		for (u32 i = 0; i < ARRAY_SIZE(ways); i++)
			test_way(&ways[i]);
		test_no_idle_flush();
		test_init();
		test_storm();
		watchdog_stop();
		test_vm_destroy(vm);
	}
	thread_set_affinity(thread_current(), ~0ull);
}
KERNEL_SUITE(vmm_tlb, test_tlb);
