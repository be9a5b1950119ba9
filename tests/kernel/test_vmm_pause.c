/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that spins gives its processor away, but only where another vCPU may wait for it; and
 * PAUSE is done, however it is written. */
#include "cpu/x86.h"
#include "lib/check.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/vm_test.h"
#include "vmm/exit.h"
#include "vmm/mmu.h"

#define PROGRAM PAGE_SIZE

/* PAUSE in four ways of writing it; VMMCALL ends. */
static const struct form {
	const char *what;
	u8 bytes;
	u8 code[8];
} forms[] = {
	{"plain", 2, {0xf3, 0x90, 0x0f, 0x01, 0xd9}},
	{"with a prefix before it", 3, {0x66, 0xf3, 0x90, 0x0f, 0x01, 0xd9}},
	{"with a prefix within", 3, {0xf3, 0x66, 0x90, 0x0f, 0x01, 0xd9}},
	{"with its prefix twice", 3, {0xf3, 0xf3, 0x90, 0x0f, 0x01, 0xd9}},
};

static struct vm *vm;

/* run - until an exit that is neither an interrupt's nor a fault. */
static enum exit_reason run(struct vcpu *v)
{
	for (;;) {
		hvm->run(v);
		preempt_disable();
		fpu_save(&v->fpu); /* this is no vCPU's thread: nobody else would */
		preempt_enable();
		if (v->exit.reason != EXIT_NONE && v->exit.reason != EXIT_MMU)
			return v->exit.reason;
		exit_handle(v);
	}
}

static void begin(struct vcpu *v, const struct form *f)
{
	if (hva_write(hva(test_hva(vm, PROGRAM)), f->code, sizeof(f->code)))
		panic("no memory for the test of PAUSE");
	test_vcpu_flat32(v, PROGRAM);
	preempt_disable();
	hvm->switch_in(v); /* as if its thread came to this CPU */
	preempt_enable();
}

static void test_form(struct vcpu *v, const struct form *f)
{
	begin(v, f);
	enum exit_reason first = run(v);
	u64 at = v->rip;
	exit_handle(v);
	u64 next = v->rip;
	report(first == EXIT_PAUSE && at == PROGRAM && next == PROGRAM + f->bytes &&
	       run(v) == EXIT_HYPERCALL, "PAUSE %s exits and is done: from +%lu to +%lu", f->what,
	       at - PROGRAM, next - PROGRAM);
}

static void test_crowded(void)
{
	struct vcpu *v = vm->vcpus[0];

	for (u32 i = 0; i < ARRAY_SIZE(forms); i++)
		test_form(v, &forms[i]);
	v->rip = PROGRAM;
	report(run(v) == EXIT_HYPERCALL, "where nobody waits it does not exit again");
}

/* AMD APM vol. 3, appendix E, "SVM Features": a filter lets the first thousands pass. */
static bool has_filter(void)
{
	return hvm && (cpuid(0x8000000a, 0).edx & 1u << 10);
}

static void test_pause(void)
{
	if (nr_cpus >= VM_MAX_VCPUS || has_filter()) {
		report_skip("a guest that spins gives its processor away",
			    has_filter() ? "this processor filters PAUSE" : "no VM is so large");
		return;
	}
	thread_set_affinity(thread_current(), 1);
	vm = test_vm_create_smp("crowded", MIB(8), nr_cpus + 1);
	if (vm) {
		test_crowded();
		test_vm_destroy(vm);
		vm = test_vm_create("alone", MIB(8));
		begin(vm->vcpus[0], &forms[0]);
		report(run(vm->vcpus[0]) == EXIT_HYPERCALL, "a VM with one vCPU may spin");
		test_vm_destroy(vm);
	}
	thread_set_affinity(thread_current(), ~0ull);
}
KERNEL_SUITE(vmm_pause, test_pause);
