/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory as the hypervisor reads and writes it: by guest-physical address through memslot and
 * hva, or by guest-virtual address through the guest's own page tables first.
 *
 * => all: v's thread (its mm is in CR3), no spinlock, interrupts on; may sleep (N11). */
#pragma once

#include "vmm/vcpu.h"

/* guest_read, guest_write - Return 0; -EFAULT if part of it is not memory; -ENOMEM, -EINTR as mm_fault.
 * A page that is swapped and written whole is not fetched before: after -ENOMEM it is zeros, until the
 * caller has written it at last. */
int must_check guest_read(struct vcpu *v, void *to, gpa_t from, size_t bytes);
int must_check guest_write(struct vcpu *v, gpa_t to, const void *from, size_t bytes);
/* guest_reserve - make the @bytes at @at, within a page, writable for the moment, before something is done
 * that cannot be taken back. Errors as guest_write. */
int must_check guest_reserve(struct vcpu *v, gpa_t at, size_t bytes);

/* guest_translate - @va for @acc (ACC_*; user or supervisor by the guest's CPL).
 * Return 0; -EFAULT with *@pfec for the guest's #PF; -ENXIO if its tables lie outside memory;
 * -ENOMEM, -EINTR. */
int must_check guest_translate(struct vcpu *v, u64 va, unsigned int acc, gpa_t *at, u32 *pfec);

/* guest_fetch - up to 15 instruction bytes at cs:rip into @to; returns how many could be had without
 * crossing into a page that is not there; 0 if none. Injects nothing: the processor fetched them just
 * now, so their absence means that the guest changed its tables meanwhile. */
unsigned int guest_fetch(struct vcpu *v, u8 to[16]);
/* guest_fetch8 - the quick form: the 8 bytes at cs:rip, if they lie in one page that is at hand.
 * Return false otherwise: use guest_fetch. */
bool guest_fetch8(struct vcpu *v, u64 *bytes);
/* vcpu_insn_length - how long is the instruction that exited? @opcode, of @opcode_bytes, is what the
 * exit reason says that it is; prefixes may stand before it. For processors that do not tell.
 * Return true with v->exit.insn_bytes set; false if the bytes at rip are another instruction now
 * (somebody wrote code meanwhile): change nothing, the guest is entered again. */
bool vcpu_insn_length_slow(struct vcpu *v, u32 opcode, unsigned int opcode_bytes);

static inline bool must_check vcpu_insn_length(struct vcpu *v, u32 opcode, unsigned int opcode_bytes)
{
	u64 word;

	if (v->exit.insn_bytes)
		return true;
	if (likely(guest_fetch8(v, &word) && (word & ((1ull << 8 * opcode_bytes) - 1)) == opcode)) {
		v->exit.insn_bytes = opcode_bytes; /* no prefix: the common case */
		return true;
	}
	return vcpu_insn_length_slow(v, opcode, opcode_bytes);
}

/* guest_insn_mode - 16, 32 or 64 bit code (enum insn_mode). */
unsigned int guest_insn_mode(struct vcpu *v);
