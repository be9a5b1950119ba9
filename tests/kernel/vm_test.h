/* SPDX-License-Identifier: BSD-2-Clause */
/* A real VM for tests inside the kernel: made by a configuration of their own, never of a
 * module. */
#pragma once

#include "mm/page.h"
#include "vmm/vm.h"

/* test_vm_create_smp - a VM of @mem_bytes with @nr_vcpus vCPUs, which do not run. The calling thread
 * reaches its memory by hva until test_vm_destroy. NULL where this processor runs no guests:
 * report_skip was told so. => one at a time */
struct vm *test_vm_create_smp(const char *name, u64 mem_bytes, u32 nr_vcpus);
static inline struct vm *test_vm_create(const char *name, u64 mem_bytes)
{
	return test_vm_create_smp(name, mem_bytes, 1);
}
/* test_vm_destroy - end it, however far it came, and wait until every frame is back. */
void test_vm_destroy(struct vm *vm);

/* test_vcpu_flat32 - @v stands at @rip in 32-bit code without paging, all segments flat. */
void test_vcpu_flat32(struct vcpu *v, u64 rip);

/* test_hva - where guest-physical @at lies in the VM's mm. */
u64 test_hva(const struct vm *vm, u64 at);
/* test_pte, test_spte - the primary and the secondary entry of @at; NULL while it has no table. */
u64 *test_pte(const struct vm *vm, u64 at);
u64 *test_spte(const struct vm *vm, u64 at);
/* test_page - the frame that the primary PTE of @at maps. => it maps one */
struct page *test_page(const struct vm *vm, u64 at);

/* test_audits - all audits over @vm and the machine. Their lines are kept, not shown.
 * Return the names of the differences, each once, in order, with a space between; "" if clean. */
const char *test_audits(struct vm *vm);
/* test_audits_show - the lines of the last call, for a test that failed. */
void test_audits_show(void);
