/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets that are a device: a VM (tests/unit/vmm_host.h), accesses to ports and addresses in and around
 * what the device has, and time. */
#pragma once

#include "fuzz.h"
#include "vmm_host.h"

/* A piece of the device: ports, or guest-physical addresses. */
struct fuzz_range {
	u64 start;
	u32 bytes;
	bool mmio;
	u32 step; /* where registers begin; half of the accesses go there. 0: everywhere */
};

/* fuzz_vm_begin - a VM whose time goes on for @seconds at most. fuzz_vm_end - the device has stopped:
 * nothing is left behind, and guest memory is what it was. */
void fuzz_vm_begin(u32 seconds);
void fuzz_vm_end(void);

/* fuzz_access - read or write 1, 2, 4 bytes, of memory also 8, of one of @nr @ranges or 8 bytes around, by
 * any vCPU. What was done is told to @seen, if it is not NULL. */
struct fuzz_access {
	struct vcpu *v;
	u64 at, value; /* what was written or read */
	unsigned int bytes;
	bool mmio, write;
};

void fuzz_access(struct input *in, const struct fuzz_range *ranges, u32 nr, struct fuzz_access *seen);
/* fuzz_time - let time go on: from nanoseconds to days, less often the longer. */
void fuzz_time(struct input *in);
/* fuzz_step_ended - no lock is held. */
void fuzz_step_ended(void);
