/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM on the host for the tests of devices, registers and emulated instructions: struct vm and its
 * vCPUs, memory, a processor (struct hvm_ops) that is a few words, timers and a clock that the test
 * turns, and a record of what was asked of the rest of the hypervisor. */
#pragma once

#include "host.h"

#include "vmm/vm.h"

#define VMM_HOST_CPUS  4
#define VMM_HOST_PAGES 16 /* of guest memory, from gpa 0 on */

/* vmm_host_setup, vmm_host_teardown - for cmocka_unit_test_setup_teardown: a VM named "guest" with
 * VMM_HOST_CPUS vCPUs, memory and an empty bus; vCPUs as vmm_host_mode(v, 32) leaves them. The
 * teardown fails the test if a lock is held or an object was not freed. */
int vmm_host_setup(void **state);
int vmm_host_teardown(void **state);

extern struct vm *host_vm;
struct vcpu *host_vcpu(u32 index);

/* vmm_host_mode - @v runs code of 16, 32 or 64 bits, privileged, without paging, segments at 0. */
void vmm_host_mode(struct vcpu *v, unsigned int bits);
/* vmm_host_code - put @nr bytes of code at @at and let @v stand there. */
void vmm_host_code(struct vcpu *v, u64 at, const void *code, size_t nr);
/* vmm_host_paging - 32-bit paging for @v: the tables stand in the last two pages of memory, page
 * i of the first 4 MiB is mapped by pte @i. */
void vmm_host_paging(struct vcpu *v);
void vmm_host_map(u32 page, u32 pte);

u8 *host_ram(u64 at);
/* vmm_host_no_frame - accesses to @page of memory fail with @err from now on; 0: no longer. */
void vmm_host_no_frame(u32 page, int err);

/* vmm_host_clock - let the time go on by @ns; timers that are due fire, in order. */
void vmm_host_clock(u64 ns);

/* What the virtual processor was told; one per vCPU, at v->hw. */
struct host_processor {
	struct vcpu_sregs sregs;
	struct segment segment[NR_SEGS];
	u8 tpr;
	u64 pat, tsc_offset;
	bool event;           /* something waits to be injected */
	unsigned int nr_exceptions;
	u8 vector;            /* the last exception */
	bool has_error;
	u32 error;
	unsigned int nr_steps; /* single steps injected */
};

struct host_processor *host_processor(struct vcpu *v);

/* What the hypervisor was told. */
extern struct host_record {
	unsigned int nr_ended, nr_stopped, nr_reset, nr_out_of_memory, nr_requests;
	enum vm_status status; /* of vm_end */
	u32 code;
	char reason[32]; /* of the last of the first three */
	char text[256];  /* of vm_stop_guest */
	u32 requested;   /* bits of all vcpu_request */
	unsigned int nr_forgotten; /* mm_forget_swapped */
	u64 forgotten;   /* gpa of the last of them */
} host_record;
