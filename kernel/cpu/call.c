/* SPDX-License-Identifier: BSD-2-Clause */
/* Calling functions on other CPUs, and the TLB shoot-down built on it.
 *
 * Each CPU has one call of its own and one inbox: a mask of the CPUs whose call waits for it.
 *
 *	caller:  write call; pending = mask; inbox[t] |= me; IPI; wait until pending == 0
 *	target:  from = exchange(inbox, 0); for each: run its call, clear my bit in its pending
 *
 * Invariants
 *  I1. A call is written only while its pending is 0; so the target reads one call, whole.
 *  I2. A CPU that waits serves its own inbox: two CPUs that call each other both go on, even if one
 *      of them takes no interrupts.
 *
 * Locking: none. The caller keeps its CPU (preemption off) till the end. */
#include "cpu/apic.h"
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"

/* Beyond this many pages the whole TLB goes (the kernel's entries are global and stay). */
#define FLUSH_PAGES_MAX 32

static struct {
	void (*fn)(void *arg);
	void *arg;
	u64 pending; /* [a] mask of CPUs that have not run it */
} calls[MAX_CPUS];

static u64 inbox[MAX_CPUS]; /* [a] */

void call_serve(void)
{
	u32 me = cpu_id();
	u64 from;

	if (!atomic_load_relaxed(&inbox[me]))
		return;
	from = atomic_xchg(&inbox[me], 0);
	while (from) {
		u32 caller = __builtin_ctzll(from);

		from &= from - 1;
		calls[caller].fn(calls[caller].arg);
		atomic_and(&calls[caller].pending, ~(1ull << me));
	}
}

static void call_send(u64 mask, void (*fn)(void *), void *arg)
{
	u32 me = cpu_id();

	CHECK(!calls[me].pending, "a call from within a call");
	calls[me].fn = fn;
	calls[me].arg = arg;
	atomic_store(&calls[me].pending, mask);
	for (u64 left = mask; left; left &= left - 1) {
		u32 to = __builtin_ctzll(left);

		atomic_or(&inbox[to], 1ull << me);
		apic_ipi(cpus[to]->apic_id, VECTOR_CALL);
		this_cpu()->ipis_sent++;
	}
}

static void call_wait(void)
{
	u32 me = cpu_id();

	while (atomic_load(&calls[me].pending)) {
		u64 flags = irq_save();

		call_serve(); /* I2 */
		irq_restore(flags);
		cpu_relax();
	}
}

void smp_call(u64 mask, void (*fn)(void *arg), void *arg)
{
	u64 self, flags;

	preempt_disable();
	self = 1ull << cpu_id();
	if (mask & ~self) {
		ASSERT(irq_enabled(), "call to CPUs %#lx with interrupts off", mask);
		call_send(mask & ~self, fn, arg);
	}
	if (mask & self) {
		flags = irq_save();
		fn(arg);
		irq_restore(flags);
	}
	if (mask & ~self)
		call_wait();
	preempt_enable();
}

/* ---- address spaces in CR3 ----------------------------------------------------------------------- */

void space_switch(struct cpu_space *s)
{
	struct cpu *cpu = this_cpu();
	struct cpu_space *old = cpu->space;
	u64 bit = 1ull << cpu->id;

	if (s == old)
		return;
	/* The bit is seen before the first walk of the new tables: a flush that misses it has changed
	 * the entries before this CPU could read them. */
	if (s)
		atomic_or(&s->active, bit);
	cpu->space = s;
	write_cr3(s ? s->cr3 : kernel_cr3);
	if (old)
		atomic_and(&old->active, ~bit);
}

struct flush {
	struct cpu_space *space;
	u64 start, end;
};

static void flush_here(void *arg)
{
	const struct flush *f = arg;

	/* Who has left the space meanwhile has loaded CR3, and with it forgotten all of it. */
	if (this_cpu()->space != f->space)
		return;
	this_cpu()->tlb_flushes++;
	if (f->end - f->start > FLUSH_PAGES_MAX * PAGE_SIZE) {
		write_cr3(read_cr3());
		return;
	}
	for (u64 va = page_down(f->start); va < f->end; va += PAGE_SIZE)
		invlpg(va);
}

void space_flush(struct cpu_space *s, u64 start, u64 end)
{
	struct flush f = {s, start, end};

	if (start >= end)
		return;
	/* The caller's changes to the table before the look at who uses it: pairs with the locked
	 * atomic_or of space_switch. */
	smp_mb();
	smp_call(atomic_load(&s->active), flush_here, &f);
}
