/* SPDX-License-Identifier: BSD-2-Clause */
/* The modelled TLBs (tlb_oracle.h), and what must be true of them.
 *
 * A tag's generation is the VM's tlb_gen, read by the oracle itself when the processor forgot the
 * tag: whatever was taken away up to there had gone from the tables before it was counted, so that no
 * later walk can have found it. Nothing but forgetting makes a tag younger.
 *
 *	entry                                   flush (mmu.c)
 *	  mode = IN_GUEST; barrier                tlb_gen++; barrier; gen = tlb_gen
 *	  compare, tell the processor             who is IN_GUEST is made to leave, and waited for
 *	  running = (VM, tag's generation)        promised = gen
 *	  barrier                                 barrier
 *	  look at promised            (T3)        look at every CPU's running            (T4)
 *	  ... guest ...
 *	  running = nobody
 *	  interrupts again
 *
 * What must hold
 *  T1. A CPU enters without forgetting only under a tag that holds translations of this very vCPU, or
 *      none (N3).
 *  T2. The tag is as young as the entry believes (rule 18: the generation is kept per CPU and tag).
 *  T3. Who enters uses nothing older than what a flush has promised (rule 18: IN_GUEST and the
 *      barrier come before the compare).
 *  T4. When a flush returns, no CPU runs the VM with anything older (rule 18: the kick).
 * Of an entry and a flush that meet, one sees the other: T3 or T4 fires, never neither.
 *
 * Not broken is this: an entry compares, then the generation rises, then the guest is entered. It was
 * seen IN_GUEST and has an interrupt waiting, leaves at once, and `running` is nobody before the
 * interrupt is answered; only then does the flush return and promise.
 *
 * Locking: none. A CPU's tags are its own, touched where no interrupt comes; `running` is one word,
 * so that who looks at it sees a VM with its own generation. */
#include "vmm/tlb_oracle.h"

#include "cpu/percpu.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "mm/frame.h"
#include "mm/page.h"
#include "vmm/vm.h"

#define NOBODY  0ull
#define UNKNOWN (~0ull) /* anybody's: must be forgotten before it is used */

#define GEN_BITS 44 /* the rest of a word is the VM's serial number */
#define GEN_MASK ((1ull << GEN_BITS) - 1)

struct tag {
	u64 owner; /* whose translations stand under it: a vCPU's number, NOBODY, UNKNOWN */
	u64 gen;   /* of the oldest of them */
};

struct tlb {
	enum tlb_forget told; /* at the last entry */
	u32 last;             /* its tag */
	struct tag tag[TLB_ORACLE_TAGS];
};
static_assert(sizeof(struct tlb) <= PAGE_SIZE, "one frame a CPU");

static struct tlb *tlbs[MAX_CPUS]; /* [o] */
static u64 running[MAX_CPUS];      /* [a] serial << GEN_BITS | generation; 0: no guest */

static const char nothing[] = "";
static const char *caught = nothing; /* [a] the first since tlb_oracle_catch */
static bool catching;                /* [a] */

int tlb_oracle_init_cpu(void)
{
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_ZERO | FRAME_NOWAIT);

	if (!p)
		return trace(-ENOMEM);
	tlbs[cpu_id()] = page_to_virt(p);
	for (u32 i = 0; i < TLB_ORACLE_TAGS; i++)
		tlbs[cpu_id()]->tag[i].owner = UNKNOWN;
	return 0;
}

/* ---- what is broken is told --------------------------------------------------------------------- */

void tlb_oracle_catch(void)
{
	atomic_store(&caught, nothing);
	atomic_store(&catching, true);
}

const char *tlb_oracle_caught(void)
{
	atomic_store(&catching, false);
	return atomic_load(&caught);
}

/* rule_broken - @what is broken in @vm on @cpu: generation @have where @want is the least. */
static void rule_broken(const char *what, const struct vm *vm, u32 cpu, u64 have, u64 want)
{
	const char *none = nothing;

	if (atomic_load(&catching))
		(void)atomic_cas(&caught, &none, what);
	else
		panic("%s: vm %s on CPU %u uses translations of generation %lu, %lu is the least", what,
		      vm->config.name, cpu, have, want);
}

/* ---- entry and exit ------------------------------------------------------------------------------ */

static void forget(struct tlb *tlb, u32 tag, enum tlb_forget what, u64 owner)
{
	for (u32 i = 0; i < TLB_ORACLE_TAGS; i++)
		if (what == TLB_FORGET_ALL || (what == TLB_FORGET_TAG && i == tag))
			tlb->tag[i] = (struct tag){.owner = owner};
}

void tlb_oracle_enter(struct vcpu *v, u32 tag, enum tlb_forget what, u64 accepted)
{
	struct vm *vm = v->vm;
	u32 cpu = cpu_id();
	struct tlb *tlb = tlbs[cpu];
	u64 owner = vm->serial * VM_MAX_VCPUS + v->index + 1;
	u64 now = atomic_load(&vm->tlb_gen);

	CHECK(tag > 0 && tag < TLB_ORACLE_TAGS, "vm %s enters under tag %u", vm->config.name, tag);
	CHECK(now <= GEN_MASK && vm->serial <= ~0ull >> GEN_BITS, "VM %lu, generation %lu", vm->serial,
	      now);
	forget(tlb, tag, what, NOBODY);
	tlb->told = what;
	tlb->last = tag;

	struct tag *t = &tlb->tag[tag];
	if (t->owner == NOBODY)
		*t = (struct tag){owner, now};
	if (t->owner != owner)
		rule_broken("tlb_owner: N3: a tag with another's translations", vm, cpu, t->gen,
			    now);
	else if (t->gen < accepted)
		rule_broken("tlb_entry: rule 18: a tag older than the entry believes", vm, cpu, t->gen,
			  accepted);

	atomic_xchg(&running[cpu], vm->serial << GEN_BITS | t->gen); /* a full barrier */
	u64 promised = atomic_load(&vm->tlb_promised);
	if (t->gen < promised)
		rule_broken("tlb_missed: rule 18: an entry that a flush did not see, nor it the flush", vm,
			  cpu, t->gen, promised);
}

void tlb_oracle_leave(bool refused)
{
	struct tlb *tlb = tlbs[cpu_id()];

	atomic_store(&running[cpu_id()], 0);
	if (refused)
		forget(tlb, tlb->last, tlb->told, UNKNOWN);
}

/* ---- flush ----------------------------------------------------------------------------------------- */

static void promise(struct vm *vm, u64 gen)
{
	u64 was = atomic_load(&vm->tlb_promised);

	while (was < gen && !atomic_cas(&vm->tlb_promised, &was, gen))
		;
	smp_mb();
}

void tlb_oracle_flushed(struct vm *vm, u64 gen)
{
	promise(vm, gen);
	for (u32 cpu = 0; cpu < nr_cpus; cpu++) {
		u64 word = atomic_load(&running[cpu]);

		if (word && word >> GEN_BITS == vm->serial && (word & GEN_MASK) < gen)
			rule_broken("tlb_returned: rule 18: a flush returned before the guest had left", vm,
				  cpu, word & GEN_MASK, gen);
	}
}
