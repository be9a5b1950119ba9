/* SPDX-License-Identifier: BSD-2-Clause */
/* Address-space ids, and when a TLB must forget.
 *
 * A CPU tags guest translations with an ASID. Each CPU hands its ASIDs out on its own: slot i of the
 * CPU's array says which vCPU uses ASID i there, and up to which tlb_gen of its VM the translations
 * under that tag are true. A vCPU that comes back finds its slot, if nobody took it, with the
 * generation *of that (CPU, ASID)* and not its own last one: it may have run and flushed elsewhere
 * while this TLB went stale.
 *
 *	entry:  mode = IN_GUEST; full barrier; slot.gen == vm->tlb_gen ? enter : flush, then enter
 *	flush:  vm->tlb_gen++;   full barrier; mode == IN_GUEST ? kick
 *
 * Either the entry sees the new generation or the flusher sees the mode (rule 18). Idle slots
 * cost nobody an IPI: they are compared when they are used again.
 *
 * How to forget: with FlushByAsid, VMRUN is told to drop one tag. Without it (old parts, QEMU) a tag
 * is taken that was not used since the last full flush; when none is left, VMRUN flushes everything
 * and all slots are clean again.
 *
 * That all this is so, tlb_oracle.c checks in debug builds, from what VMRUN is told.
 *
 * Invariants
 *  I1. This CPU's TLB holds no translation under the tag of a slot that is `clean`.
 *  I2. Only this CPU, with GIF clear, touches its array. */
#include "cpu/percpu.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/frame.h"
#include "mm/page.h"
#include "vmm/amd/svm.h"
#include "vmm/vm.h"

#define MAX_ASIDS 128

struct asid_cpu {
	u32 nr; /* slot 0 is the host's and never used */
	u32 next_victim;
	bool flush_by_asid;
	struct asid_slot slot[MAX_ASIDS];
};
static_assert(sizeof(struct asid_cpu) <= PAGE_SIZE, "one frame a CPU");

static struct asid_cpu *asid_cpus[MAX_CPUS];
static u64 next_serial = 1; /* [a] */

int svm_asid_init_cpu(u32 nr_asids, bool flush_by_asid)
{
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);
	if (!p)
		return trace(-ENOMEM);
	struct asid_cpu *c = page_to_virt(p);
	c->nr = MIN(nr_asids, (u32)MAX_ASIDS);
	c->next_victim = 1;
	c->flush_by_asid = flush_by_asid;
	asid_cpus[cpu_id()] = c;
	return 0; /* no slot is clean: the first use of each flushes */
}

u64 *svm_asid_gen_mutated(struct svm_vcpu *s, struct asid_slot *slot)
{
	if (mutant("tlbgen_per_vcpu"))
		return &s->misplaced_gen;
	if (mutant("tlbgen_per_cpu"))
		return &asid_cpus[cpu_id()]->slot[0].gen;
	return &slot->gen;
}

static struct asid_slot *slot_find(struct asid_cpu *c, u64 serial)
{
	for (u32 i = 1; i < c->nr; i++)
		if (c->slot[i].serial == serial)
			return &c->slot[i];
	return NULL;
}

static struct asid_slot *slot_find_clean(struct asid_cpu *c)
{
	for (u32 i = 1; i < c->nr; i++)
		if (c->slot[i].clean)
			return &c->slot[i];
	return NULL;
}

/* Without FlushByAsid: leave the tag @old, if any, and take a clean one; flush all if none is left.
 * Returns what VMRUN must flush. */
static u8 slot_take_clean(struct asid_cpu *c, struct asid_slot *old, struct asid_slot **slot)
{
	if (old)
		*old = (struct asid_slot){.clean = false}; /* its tag stays dirty until the next full flush */
	*slot = slot_find_clean(c);
	if (*slot)
		return TLB_CONTROL_NONE;
	for (u32 i = 1; i < c->nr; i++)
		c->slot[i] = (struct asid_slot){.clean = true};
	*slot = &c->slot[1];
	return TLB_CONTROL_ALL;
}

static struct asid_slot *slot_victim(struct asid_cpu *c)
{
	struct asid_slot *slot = &c->slot[c->next_victim];

	c->next_victim = c->next_victim + 1 < c->nr ? c->next_victim + 1 : 1;
	return slot;
}

void svm_asid_renew(struct vcpu *v, struct svm_vcpu *s)
{
	struct asid_cpu *c = asid_cpus[cpu_id()];
	u64 gen = atomic_load(&v->vm->tlb_gen);
	struct asid_slot *slot = slot_find(c, s->serial);
	u8 control = TLB_CONTROL_NONE;

	if (!slot || *svm_asid_gen(s, slot) != gen) {
		v->flushes++;
		if (c->flush_by_asid) {
			slot = slot ? slot : slot_victim(c);
			control = TLB_CONTROL_ASID;
		} else {
			control = slot_take_clean(c, slot, &slot);
		}
		*slot = (struct asid_slot){.serial = s->serial};
		*svm_asid_gen(s, slot) = gen;
	}
	s->slot = slot;
	s->slot_cpu = cpu_id();
	s->vmcb->asid = slot - c->slot;
	s->vmcb->tlb_control = control;
}

void svm_asid_give_up(struct svm_vcpu *s)
{
	s->serial = atomic_add(&next_serial, 1);
	s->slot_cpu = ~0u;
}

/* The checks of VMRUN come before its flush: AMD APM vol. 3, "VMRUN". What was taken for clean or for
 * true on the strength of that flush is neither. */
void svm_asid_refused(const struct svm_vcpu *s)
{
	struct asid_cpu *c = asid_cpus[cpu_id()];

	if (s->vmcb->tlb_control == TLB_CONTROL_NONE)
		return;
	for (u32 i = 1; i < c->nr; i++)
		c->slot[i] = (struct asid_slot){.clean = false};
}
