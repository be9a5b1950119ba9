/* SPDX-License-Identifier: BSD-2-Clause */
/* What the operator wants of a module: "key=value ... -- the guest's command line". The keys are in
 * the virtual board's table. This checks each value and that they go together within one line; what
 * needs other lines (names used twice, an initrd of nobody) or the machine (an engine it lacks) is
 * the caller's business. */
#pragma once

#include "lib/gpt.h"
#include "lib/types.h"

#define VM_NAME_SIZE     32 /* with the NUL */
#define VM_CPUS_MAX      8
#define VM_MEM_DEFAULT   MIB(64)

enum vm_role {
	VM_ROLE_UNKNOWN, /* the line was refused */
	VM_ROLE_KERNEL,
	VM_ROLE_INITRD,
	VM_ROLE_DISK,
};

enum vm_mmu { VM_MMU_AUTO, VM_MMU_TDP, VM_MMU_SHADOW };
enum vm_pin { VM_PIN_OFF, VM_PIN_OLD, VM_PIN_NOTIFIED };
enum vm_reset { VM_RESET_UNSET, VM_RESET_OK, VM_RESET_STOP, VM_RESET_RESTART };

struct vm_part {
	bool named, rw;
	u8 guid[GUID_BYTES];
};

struct vm_config {
	enum vm_role role;
	char name[VM_NAME_SIZE];      /* KERNEL: the VM's name */
	char of[VM_NAME_SIZE];        /* INITRD, DISK: whose */
	char image[VM_NAME_SIZE];     /* take the file of the module with this name; "" own file */
	u64 mem_bytes;                /* whole pages, never 0 */
	unsigned int cpus;            /* 1 to VM_CPUS_MAX */
	enum vm_mmu mmu;
	u64 limit_bytes; /* whole pages; 0 none */
	enum vm_pin pin;
	enum vm_reset reset; /* UNSET: OK for Linux, else STOP */
	struct vm_part part; /* its disk */
	bool apic, testdev, msr_ignore;
	const char *cmdline; /* behind " -- ", within the caller's line; "" if nothing */
};

/* vm_config_parse - read a module's @line, the @index-th of the boot loader's modules.
 * GRUB does not tell a module's file name, so tools write vm= always; a line without vm=, initrd= or
 * disk= (a grub.cfg written by hand) names the guest "vm<index>".
 * => @line outlives *@out
 * @mem_max: most that mem= may be, in bytes.
 * Return 0; -EINVAL with one clear line in @why, which names key and value and says what to give;
 * then *@out holds the role UNKNOWN, and the name if one had been read. */
int must_check vm_config_parse(const char *line, unsigned int index, u64 mem_max,
			       struct vm_config *out, char *why, size_t why_size);
