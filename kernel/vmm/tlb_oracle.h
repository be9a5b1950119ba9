/* SPDX-License-Identifier: BSD-2-Clause */
/* The oracle of rule 18, in debug builds: what could this CPU's TLB still hold of a guest?
 *
 * Emulators forget all translations at each world switch, so a flush that was forgotten shows
 * nowhere. The oracle keeps a TLB that forgets nothing but what the processor was told to: for each
 * (CPU, tag) whose translations stand under the tag, and of which generation of the VM the oldest
 * of them may be. A tag is an ASID (AMD) or a VPID (Intel). It looks at what the processor is told,
 * never at the bookkeeping of who tells it.
 *
 * Callers write `if (NEAP_DEBUG)` before each call: release builds do nothing of this. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct vcpu;
struct vm;

#define TLB_ORACLE_TAGS 128

enum tlb_forget { TLB_FORGET_NOTHING, TLB_FORGET_TAG, TLB_FORGET_ALL };

/* tlb_oracle_init_cpu - this CPU's TLB from here on. Return 0, -ENOMEM. => each CPU, at boot */
int must_check tlb_oracle_init_cpu(void);

/* tlb_oracle_enter - this CPU is about to enter @v under @tag and was told to forget @what first; the
 * entry takes what stands under the tag for true up to generation @accepted.
 * => no interrupt comes before the entry; v->mode is IN_GUEST
 * tlb_oracle_leave - it has left. @refused: the processor did not enter; perhaps it forgot nothing. */
void tlb_oracle_enter(struct vcpu *v, u32 tag, enum tlb_forget what, u64 accepted);
void tlb_oracle_leave(bool refused);

/* tlb_oracle_flushed - a flush of @vm returns, and so promises that nobody uses translations older
 * than generation @gen from here on. */
void tlb_oracle_flushed(struct vm *vm, u64 gen);

/* tlb_oracle_catch - from now on a broken rule is noted and no panic.
 * tlb_oracle_caught - the end of that. Return the first that was broken, a word and its rule ("tlb_entry:
 * rule 18: ..."); "" if none. => tests only */
void tlb_oracle_catch(void);
const char *tlb_oracle_caught(void);
