/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/amd/svm_asid.c kernel/vmm/tlb_oracle.c kernel/lib/mutant.c
 * kernel/lib/string.c */
/* ASIDs: is what VMRUN is told to flush enough, and no more? The judge is the oracle of the TLBs,
 * which is tested here as well: it must see each way to break rule 18, and an ASID with another's
 * translations. */
#include "host.h"

#include "lib/mutant.h"
#include "mm/frame.h"
#include "mm/page.h"
#include "vmm/amd/svm.h"
#include "vmm/tlb_oracle.h"
#include "vmm/vm.h"

#define NR_CPUS  3
#define NR_VMS   2
#define NR_VCPUS 3 /* of each */

static struct vm vms[NR_VMS];
static struct vcpu vcpus[NR_VMS][NR_VCPUS];
static struct svm_vcpu hw[NR_VMS][NR_VCPUS];
static struct vmcb vmcbs[NR_VMS][NR_VCPUS];

/* ---- processors and frames ------------------------------------------------------------------- */

static struct cpu processors[NR_CPUS];
_Thread_local struct cpu *host_cpu = &processors[0];
struct cpu *cpus[MAX_CPUS];
u32 nr_cpus = NR_CPUS;
u64 host_direct_map;
struct page *page_array;

struct page *frame_alloc(unused enum frame_owner owner, unsigned int flags)
{
	u64 phys = host_page_get(); /* zeroed */

	assert_true(flags & FRAME_ZERO);
	return phys ? phys_to_page(phys) : NULL;
}

static void on_cpu(u32 id)
{
	processors[id].id = id;
	host_cpu = &processors[id];
}

/* A machine whose CPUs have @nr_asids each, and VMs that have never run. */
static void machine(u32 nr_asids, bool flush_by_asid)
{
	static u64 serial;

	mutant_select(NULL);
	for (u32 cpu = 0; cpu < NR_CPUS; cpu++) {
		on_cpu(cpu);
		assert_int_equal(svm_asid_init_cpu(nr_asids, flush_by_asid), 0);
		assert_int_equal(tlb_oracle_init_cpu(), 0);
	}
	for (u32 m = 0; m < NR_VMS; m++) {
		vms[m] = (struct vm){.tlb_gen = 1, .serial = ++serial, .config.name = "guest"};
		for (u32 i = 0; i < NR_VCPUS; i++) {
			hw[m][i] = (struct svm_vcpu){.vmcb = &vmcbs[m][i]};
			vmcbs[m][i] = (struct vmcb){0};
			vcpus[m][i] = (struct vcpu){.vm = &vms[m], .index = i, .hw = &hw[m][i]};
			svm_asid_give_up(&hw[m][i]);
		}
	}
}

/* run - @v enters on @cpu and leaves, as svm_run does it. Returns what VMRUN was told. */
static u8 run(struct vcpu *v, u32 cpu, bool refused)
{
	struct svm_vcpu *s = v->hw;
	struct vmcb *b = s->vmcb;

	on_cpu(cpu);
	if (!svm_asid_is_good(v, s, cpu))
		svm_asid_renew(v, s);
	u8 told = b->tlb_control;
	tlb_oracle_enter(v, b->asid,
			 told == TLB_CONTROL_ALL    ? TLB_FORGET_ALL
			 : told == TLB_CONTROL_ASID ? TLB_FORGET_TAG
						    : TLB_FORGET_NOTHING,
			 *svm_asid_gen(s, s->slot));
	tlb_oracle_leave(refused);
	if (refused)
		svm_asid_refused(s);
	b->tlb_control = TLB_CONTROL_NONE;
	return told;
}

static void take_away(struct vm *vm)
{
	vm->tlb_gen++;
	tlb_oracle_flushed(vm, vm->tlb_gen);
}

/* ---- what VMRUN is told ---------------------------------------------------------------------- */

static void flush_by_asid(unused void **state)
{
	struct vcpu *v = &vcpus[0][0];

	machine(16, true);
	assert_int_equal(run(v, 0, false), TLB_CONTROL_ASID); /* who knows what boot left there */
	assert_int_equal(run(v, 0, false), TLB_CONTROL_NONE);
	take_away(&vms[1]);
	assert_int_equal(run(v, 0, false), TLB_CONTROL_NONE); /* another VM's */
	take_away(&vms[0]);
	u32 asid = vmcbs[0][0].asid;
	assert_int_equal(run(v, 0, false), TLB_CONTROL_ASID);
	assert_int_equal(vmcbs[0][0].asid, asid);
	assert_int_equal(run(v, 1, false), TLB_CONTROL_ASID);
	assert_int_equal(run(v, 0, false), TLB_CONTROL_NONE); /* it comes back to what is still true */
	assert_int_equal(v->flushes, 3);
}

/* Without FlushByAsid one full flush gives as many fresh ASIDs as there are. */
static void flush_all(unused void **state)
{
	struct vcpu *v = &vcpus[0][0];

	machine(4, false);
	assert_int_equal(run(v, 0, false), TLB_CONTROL_ALL);
	for (u32 round = 0; round < 5; round++) {
		assert_int_equal(vmcbs[0][0].asid, 1);
		assert_int_equal(run(v, 0, false), TLB_CONTROL_NONE);
		for (u32 asid = 2; asid < 4; asid++) {
			take_away(&vms[0]);
			assert_int_equal(run(v, 0, false), TLB_CONTROL_NONE);
			assert_int_equal(vmcbs[0][0].asid, asid);
		}
		take_away(&vms[0]);
		assert_int_equal(run(v, 0, false), TLB_CONTROL_ALL);
	}
}

static void init_forgets(void **state)
{
	struct vcpu *v = &vcpus[0][0];

	machine(8, *state != NULL);
	run(v, 0, false);
	run(v, 1, false);
	svm_asid_give_up(v->hw);
	u64 flushes = v->flushes;
	run(v, 1, false);
	run(v, 0, false);
	assert_int_equal(v->flushes, flushes + 2);
}

/* VMRUN that fails its checks has perhaps flushed nothing: nobody may rely on it. */
static void refused(void **state)
{
	machine(8, *state != NULL);
	run(&vcpus[0][0], 0, true);
	assert_int_not_equal(run(&vcpus[1][0], 0, false), TLB_CONTROL_NONE);
	assert_int_equal(run(&vcpus[1][0], 0, true), TLB_CONTROL_NONE); /* nothing was asked for */
	assert_int_equal(run(&vcpus[1][0], 0, false), TLB_CONTROL_NONE);
}

/* ---- at random ------------------------------------------------------------------------------- */

static void at_random(u32 nr_asids, bool by_asid, u32 steps)
{
	struct rng chance = rng_seeded(0xa51d);

	machine(nr_asids, by_asid);
	for (u32 i = 0; i < steps; i++) {
		u32 m = rng_below(&chance, NR_VMS);
		struct vcpu *v = &vcpus[m][rng_below(&chance, NR_VCPUS)];

		if (rng_percent(&chance, 20))
			take_away(&vms[m]);
		else if (rng_percent(&chance, 2))
			svm_asid_give_up(v->hw);
		else
			run(v, rng_below(&chance, NR_CPUS), rng_percent(&chance, 2));
	}
}

static void random_steps(unused void **state)
{
	for (u32 nr_asids = 2; nr_asids <= 16; nr_asids += 7) {
		at_random(nr_asids, false, 20000);
		at_random(nr_asids, true, 20000);
	}
}

/* ---- the oracle fires ------------------------------------------------------------------------- */

static void mutant_steps(void *ctx)
{
	machine(16, true);
	mutant_select(ctx);
	for (u32 i = 0; i < 1000; i++) {
		take_away(&vms[0]);
		for (u32 cpu = 0; cpu < 2; cpu++)
			for (u32 n = 0; n < 2; n++)
				run(&vcpus[0][n], cpu, false);
	}
}

static void mutants_are_caught(unused void **state)
{
	expect_panic("tlb_entry: rule 18", mutant_steps, "tlbgen_per_vcpu");
	expect_panic("tlb_entry: rule 18", mutant_steps, "tlbgen_per_cpu");
	mutant_select(NULL);
	mutant_steps(NULL);
}

static void no_frame(unused void **state)
{
	host_fail_every(1);
	assert_int_equal(svm_asid_init_cpu(16, true), -ENOMEM);
	assert_int_equal(tlb_oracle_init_cpu(), -ENOMEM);
	host_fail_every(0);
}

static void enter_foreign(unused void *ctx)
{
	tlb_oracle_enter(&vcpus[1][0], vmcbs[0][0].asid, TLB_FORGET_NOTHING, 1);
}

static void enter_sibling(unused void *ctx)
{
	tlb_oracle_enter(&vcpus[0][1], vmcbs[0][0].asid, TLB_FORGET_NOTHING, 1);
}

static void enter_never_flushed(unused void *ctx)
{
	tlb_oracle_enter(&vcpus[0][0], 15, TLB_FORGET_NOTHING, 1);
}

static void foreign_tags(unused void **state)
{
	machine(16, true);
	run(&vcpus[0][0], 0, false);
	expect_panic("tlb_owner: N3", enter_foreign, NULL);
	expect_panic("tlb_owner: N3", enter_sibling, NULL);
	expect_panic("tlb_owner: N3", enter_never_flushed, NULL);
}

static void enter_as_believed(void *ctx)
{
	struct vcpu *v = ctx;
	struct svm_vcpu *s = v->hw;

	tlb_oracle_enter(v, s->vmcb->asid, TLB_FORGET_NOTHING, s->slot->gen);
}

static void flush_again(unused void *ctx)
{
	tlb_oracle_flushed(&vms[0], vms[0].tlb_gen);
}

/* An entry and a flush: whoever comes second sees the other. */
static void races(unused void **state)
{
	struct vcpu *v = &vcpus[0][0];

	machine(16, true);
	run(v, 0, false);
	take_away(&vms[0]);
	expect_panic("tlb_missed: rule 18", enter_as_believed, v);
	tlb_oracle_leave(false);

	machine(16, true);
	run(v, 0, false);
	enter_as_believed(v);
	vms[0].tlb_gen++;
	expect_panic("tlb_returned: rule 18", flush_again, NULL);
	tlb_oracle_leave(false); /* kicked: now the flush may return */
	flush_again(NULL);
}

/* A rule that is broken while a test catches is noted, the first one. */
static void catching(unused void **state)
{
	machine(16, true);
	run(&vcpus[0][0], 0, false);
	tlb_oracle_catch();
	enter_foreign(NULL);
	tlb_oracle_leave(false);
	take_away(&vms[0]);
	enter_as_believed(&vcpus[0][0]);
	tlb_oracle_leave(false);
	assert_non_null(strstr(tlb_oracle_caught(), "tlb_owner"));
	tlb_oracle_catch();
	assert_string_equal(tlb_oracle_caught(), "");
}

#define both(fn) {#fn "/by_asid", fn, NULL, NULL, (void *)#fn}, {#fn "/all", fn, NULL, NULL, NULL}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flush_by_asid),
		cmocka_unit_test(flush_all),
		both(init_forgets),
		both(refused),
		cmocka_unit_test(random_steps),
		cmocka_unit_test(mutants_are_caught),
		cmocka_unit_test(foreign_tags),
		cmocka_unit_test(races),
		cmocka_unit_test(catching),
		cmocka_unit_test(no_frame),
	};

	host_direct_map = host_virt_offset();
	page_array = calloc((HOST_MEM_START + HOST_MEM_BYTES) >> PAGE_SHIFT, sizeof(*page_array));
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(page_array);
	return failed;
}
