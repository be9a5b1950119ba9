/* SPDX-License-Identifier: BSD-2-Clause */
/* A virtual machine: vCPUs, memory slots over one struct mm, a secondary MMU, a board of devices.
 *
 * Life:  vm_create -> (loader writes the image) -> vm_start -> ... -> vm_end(how) -> reaped
 *
 * Anybody may end a VM at any moment: vm_end notes the first reason and makes every vCPU leave. The
 * last vCPU to leave hands the VM to the reaper thread, which joins the threads, prints the SUMMARY
 * line, and returns every frame (N10). The struct lives while `refs` says so.
 *
 * Locking, outermost first: vm->state_lock (spin, RANK_VM); vm->mmu_lock (spin, RANK_MMU: secondary
 * tables and tlb_gen); the mm's locks are never taken under mmu_lock. */
#pragma once

#include "cpu/spinlock.h"
#include "lib/list.h"
#include "lib/pt_walk.h"
#include "notifier/notifier.h"
#include "sched/wait.h"
#include "vmm/config.h"
#include "vmm/cpuid.h"
#include "vmm/io.h"
#include "vmm/memslot.h"
#include "vmm/vcpu.h"

#define VM_MAX_VCPUS 8
#define XCR0_GUEST   7ull /* x87, SSE, AVX: what guests are offered of what the FPU code saves */

enum vm_state { VM_CREATED, VM_RUNNING, VM_ENDING, VM_ENDED };

enum vm_status { VM_EXITED, VM_RESET, VM_POWEROFF, VM_STOPPED, VM_KILLED };

struct mm;
struct mmu_ops;
struct board;

struct vm {
	struct vm_config config;  /* [o] */
	enum vm_state state;      /* [state_lock] */
	enum vm_status status;    /* [state_lock] valid from VM_ENDING */
	u32 code;                 /* [state_lock] */
	char reason[24];          /* [state_lock] one word */
	bool is_linux;            /* [o] */
	bool paused;              /* [a] */
	u32 reaped_seen;          /* [a] how many VMs had been reaped when memory was last short here */
	struct spinlock state_lock;
	struct list link;         /* the list of VMs */
	u32 refs;                 /* [a] */
	u32 live_vcpus;           /* [a] threads that have not left */

	struct vcpu *vcpus[VM_MAX_VCPUS]; /* [o] */
	u32 nr_vcpus;             /* [o] */

	struct mm *mm;            /* [o] */
	struct memslots slots;
	struct mm_notifier notifier;
	const struct mmu_ops *mmu; /* [o] */
	struct spinlock mmu_lock;
	struct pt pt;             /* [mmu_lock] nested page table */
	struct pt_pages pt_pages;
	struct vcpu *installer;   /* [mmu_lock] whose spare tables pt_pages hands out */
	u64 nr_sptables;          /* [mmu_lock] */
	u64 tlb_gen;              /* [a] raised when a translation was taken away; rule 18 */
	u64 tlb_promised;         /* [a] debug: up to which of them a flush has returned */

	struct io_bus io;         /* [o] after creation */
	struct board *board;      /* [o] its devices */
	struct cpuid_table cpuid; /* [o] */
	u64 xcr0_allowed;         /* [o] what a guest may set in XCR0 */
	u64 tsc_offset;           /* [o] */
	u64 started_ns;
	struct {                  /* unclaimed ports and addresses, for `vm NAME stray` */
		u64 addr;
		u64 count;
		bool mmio;
	} stray[16];
	u64 nr_stray;
	u64 hypercalls;
	struct vm_progress {      /* what the guest says of itself: hypercall 1; torn reads are harmless */
		u64 done, total;      /* of its work, in units of its own: a bar; total 0: never said */
		u64 written, verified; /* pages */
		u64 mismatches;
	} progress;
	struct vm_watch {         /* hypercall 2: every @stride-th page of [start, end) */
		u64 start, end;       /* gfn */
		u64 stride;           /* 0: none */
		u64 refaults;         /* of these, those of watched pages */
		u64 all_refaults;     /* since the watch was set */
	} watch;
	u64 serial;               /* [o] rises with each VM: the order of the list */
	bool silent;              /* [o] discarded before it ran: no SUMMARY line */
};

/* vm_create - a VM by @config with empty memory. On error @why holds one line.
 * => thread context, sleeps. Return 0, -ENOMEM, -ENODEV, -EEXIST, -EINVAL */
int must_check vm_create(const struct vm_config *config, struct vm **out, char *why, size_t why_size);
/* vm_start - let the vCPUs go: vCPU 0 runs, others wait for SIPI. */
void vm_start(struct vm *vm);
/* vm_discard - undo vm_create of a VM that was never started. */
void vm_discard(struct vm *vm);

/* vm_end - end it so. The first call counts; false if it was ending already. => any context */
bool vm_end(struct vm *vm, enum vm_status status, u32 code, const char *reason);
/* vm_stop_guest - the guest cannot go on: one line that says what, where and what to do, then end it
 * as stopped. => vCPU's thread */
void vm_stop_guest(struct vcpu *v, const char *reason, const char *fmt, ...) printf_like(3, 4);
/* vm_guest_reset - the guest reset itself or took a triple fault: config decides what that means. */
void vm_guest_reset(struct vcpu *v, const char *reason);

/* vm_vcpu_left - a vCPU's loop has ended; the last one calls the reaper. => vCPU's thread, at its end */
void vm_vcpu_left(struct vm *vm);

/* vm_out_of_memory - a fault of @vm found no frame, or its limit (N13). Interactive: pause it with one
 * line that says how to go on. Batch: the VM furthest above its share ends. => vCPU's thread, sleeps */
void vm_out_of_memory(struct vm *vm);

void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
/* vm_wait_parked - wait until every vCPU of a paused VM stands at the gate. => sleeps */
void vm_wait_parked(struct vm *vm);

/* vm_find - by name, with a reference, or NULL. */
struct vm *vm_find(const char *name);
void vm_put(struct vm *vm);
/* vm_for_each - visit every VM with a reference held; @fn may sleep. */
void vm_for_each(void (*fn)(struct vm *vm, void *ctx), void *ctx);

/* vmm_init - after mm: reaper thread. @batch: nobody is there to be asked (N13). */
void vmm_init(bool batch);
struct vm_work {
	u64 guests; /* that told of their work (hypercall 1) and have ended */
	u64 mem_bytes, written, verified, mismatches; /* of these, added up */
};
struct vm_totals {
	u32 live;    /* structs that exist */
	u32 ended;   /* with code 0 */
	u32 failed;  /* ended otherwise */
	u32 refused;
	struct vm_work work;
};
void vm_totals(struct vm_totals *t);
void vm_note_refused(void);
/* vm_wait_all_ended - sleep until no VM is live, or until @timeout_ns passed (0: for ever). True if
 * all ended. */
bool vm_wait_all_ended(u64 timeout_ns);
/* vm_wait_reaped - sleep until the frames of every VM that was told to end are back.
 * => no reference on a VM */
void vm_wait_reaped(void);
/* vm_print_summary - the SUMMARY line of docs/design.md. */
void vm_print_summary(struct vm *vm, const char *status_word);

const char *vm_status_name(enum vm_status s);
/* vm_check_stuck - a vCPU is about to wait: if no vCPU of @vm can ever run again, end it. */
void vm_check_stuck(struct vm *vm);
