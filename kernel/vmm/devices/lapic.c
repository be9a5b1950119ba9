/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's registers and the routing of inter-processor interrupts.
 *
 * Requests (IRR) are set by any CPU with an atomic OR, so that raising an interrupt takes no lock;
 * all else belongs to the vCPU's own thread: it alone acknowledges, ends, and writes registers. The
 * task priority lives with the processor (CR8 is the same thing) and is asked of hvm.
 *
 * ICR is never seen busy: a message is delivered before the write returns.
 *
 * The timer counts nanoseconds, divided as the guest asks; a struct timer is armed for its end, and what
 * it shows is computed from the clock. The vCPU's thread stops it before it changes anything that its
 * function reads, so the two need no lock.
 *
 * LINT0 of vCPU 0 is the output of the 8259s. It comes up as a firmware leaves it: let through, so that a
 * guest that knows no APIC has its interrupts ("virtual wire"). */
#include "vmm/devices/lapic.h"

#include "cpu/clock.h"
#include "lib/errno.h"
#include "mm/objcache.h"
#include "sched/timer.h"
#include "vmm/devices/board.h"
#include "vmm/io.h"
#include "vmm/vm.h"

enum lapic_register {
	REG_ID = 0x20, REG_VERSION = 0x30, REG_TPR = 0x80, REG_APR = 0x90, REG_PPR = 0xa0,
	REG_EOI = 0xb0, REG_LDR = 0xd0, REG_DFR = 0xe0, REG_SPIV = 0xf0, REG_ISR = 0x100, REG_TMR = 0x180,
	REG_IRR = 0x200, REG_ESR = 0x280, REG_ICR = 0x300, REG_ICR_HIGH = 0x310,
	REG_LVT_TIMER = 0x320, REG_LVT_ERROR = 0x370, REG_TIMER_INIT = 0x380, REG_TIMER_NOW = 0x390,
	REG_TIMER_DIVIDE = 0x3e0,
};

#define LVT_MASKED (1u << 16)
#define LVT_EXTINT (7u << 8)
#define LVT_NMI    (4u << 8)
/* Two bits of the timer's LVT. */
enum timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };
#define TIMER_PERIOD_MIN_NS 20000 /* what is quicker is served at this pace */
#define LEVEL_TRIGGERED (1u << 15) /* in messages */
#define SPIV_ENABLED (1u << 8)
#define BASE_BSP    (1u << 8)
#define BASE_X2APIC (1u << 10)
#define BASE_ENABLED (1u << 11)

enum { LVT_TIMER, LVT_LINT0 = 3, LVT_LINT1, NR_LVT = 6 }; /* and thermal, performance, error */

enum delivery { DELIVER_FIXED, DELIVER_LOWEST, DELIVER_SMI, DELIVER_NMI = 4, DELIVER_INIT, DELIVER_SIPI };

struct lapic {
	struct vcpu *vcpu; /* [o] */
	u32 irr[8];        /* [a] */
	u32 isr[8];        /* [t] */
	u32 tmr[8];        /* [a] which of them came level-triggered: the I/O APIC hears of their end */
	u32 ldr, dfr;      /* [a] others read them to route logical destinations */
	u32 spiv;          /* [a] */
	u8 tpr;            /* [t] as written; the processor keeps the class alone */
	u32 esr, icr_high, icr, timer_init, timer_divide; /* [t] */
	u32 lvt[NR_LVT];   /* [t]; the timer's [a] */
	struct timer timer;
	u64 timer_start_ns, timer_end_ns; /* [t] while it is stopped, else its function's; end 0: stopped */
	u64 timer_period_ns; /* [t] 0: once */
	u64 tsc_deadline;    /* [t] as written, 0 when it has passed */
	bool enabled;      /* [a] by APIC_BASE */
};

static struct objcache lapic_cache;

static void timer_fires(struct timer *t);
static void timer_stop(struct lapic *l);

struct lapic *lapic_create(struct vcpu *v)
{
	static bool ready; /* VMs are made by one thread, the builder */

	if (!ready)
		objcache_init(&lapic_cache, "lapic", sizeof(struct lapic));
	ready = true;
	struct lapic *l = objcache_alloc(&lapic_cache);
	if (!l)
		return NULL;
	l->vcpu = v;
	l->enabled = v->vm->config.apic;
	timer_setup(&l->timer, timer_fires);
	lapic_reset(l);
	if (v->index == 0) {
		l->spiv |= SPIV_ENABLED;
		l->lvt[LVT_LINT0] = LVT_EXTINT;
		l->lvt[LVT_LINT1] = LVT_NMI;
	}
	return l;
}

void lapic_destroy(struct lapic *l)
{
	lapic_stop(l);
	objcache_free(&lapic_cache, l);
}

void lapic_stop(struct lapic *l)
{
	timer_stop(l);
}

void lapic_reset(struct lapic *l)
{
	timer_stop(l);
	for (int i = 0; i < 8; i++) {
		atomic_store(&l->irr[i], 0);
		atomic_store(&l->tmr[i], 0);
		l->isr[i] = 0;
	}
	atomic_store(&l->ldr, 0);
	atomic_store(&l->dfr, ~0u);
	atomic_store(&l->spiv, 0xff);
	l->tpr = 0;
	l->esr = l->icr = l->icr_high = l->timer_init = l->timer_divide = 0;
	for (int i = 0; i < NR_LVT; i++)
		l->lvt[i] = LVT_MASKED;
}

/* ---- requests --------------------------------------------------------------------------------- */

static int highest(const u32 set[8])
{
	for (int i = 7; i >= 0; i--) {
		u32 word = READ_ONCE(set[i]);
		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

u8 lapic_pending(struct lapic *l, u8 tpr)
{
	int request = highest(l->irr);

	if (likely(request < 0))
		return 0;
	int service = highest(l->isr);
	u8 class = MAX(tpr >> 4, service < 0 ? 0 : service >> 4);
	return request >> 4 > class ? request : 0;
}

void lapic_ack(struct lapic *l, u8 vector)
{
	atomic_and(&l->irr[vector / 32], ~(1u << vector % 32));
	l->isr[vector / 32] |= 1u << vector % 32;
}

/* Request @vector. => any context */
static void request(struct lapic *l, u8 vector, bool level)
{
	if (vector < 16 || !(atomic_load(&l->spiv) & SPIV_ENABLED))
		return;
	if (level)
		atomic_or(&l->tmr[vector / 32], 1u << vector % 32);
	else if (atomic_load(&l->tmr[vector / 32]) & 1u << vector % 32)
		atomic_and(&l->tmr[vector / 32], ~(1u << vector % 32));
	atomic_or(&l->irr[vector / 32], 1u << vector % 32);
	vcpu_request(l->vcpu, VCPU_REQ_EVENT);
}

static void end_of_interrupt(struct lapic *l)
{
	int vector = highest(l->isr);

	if (vector < 0)
		return;
	l->isr[vector / 32] &= ~(1u << vector % 32);
	if (unlikely(atomic_load(&l->tmr[vector / 32]) & 1u << vector % 32))
		board_level_ended(l->vcpu->vm, (u8)vector);
	atomic_or(&l->vcpu->requests, VCPU_REQ_EVENT); /* one of lower priority may wait */
}

bool lapic_passes_extint(const struct lapic *l)
{
	return !atomic_load(&l->enabled) || (l->lvt[LVT_LINT0] & (LVT_MASKED | LVT_EXTINT)) == LVT_EXTINT;
}

/* ---- the timer ------------------------------------------------------------------------------------ */

static u32 timer_divisor_log2(const struct lapic *l)
{
	u32 code = (l->timer_divide & 3) | (l->timer_divide >> 1 & 4);

	return (code + 1) & 7;
}

static enum timer_mode timer_mode(const struct lapic *l)
{
	return (atomic_load(&l->lvt[LVT_TIMER]) >> 17) & 3;
}

static void timer_stop(struct lapic *l)
{
	timer_cancel(&l->timer);
	l->timer_end_ns = l->timer_period_ns = 0;
	l->tsc_deadline = 0;
}

/* timer_fires - periods that nobody could be told of, because the CPU came late, are let go: the guest
 * reads the clock. */
static void timer_fires(struct timer *t)
{
	struct lapic *l = container_of(t, struct lapic, timer);
	u32 lvt = atomic_load(&l->lvt[LVT_TIMER]);

	if (!(lvt & LVT_MASKED))
		request(l, (u8)lvt, false);
	if (!l->timer_period_ns) {
		l->timer_end_ns = 0;
		l->tsc_deadline = 0;
		return;
	}
	u64 now = clock_ns();
	while (l->timer_end_ns <= now) {
		l->timer_start_ns = l->timer_end_ns;
		l->timer_end_ns += l->timer_period_ns;
		if (now - l->timer_start_ns > 1000 * l->timer_period_ns)
			l->timer_end_ns = now + l->timer_period_ns;
	}
	timer_arm(&l->timer, l->timer_end_ns);
}

/* timer_start - TIMER_INIT was written: count from there. */
static void timer_start(struct lapic *l, u32 count)
{
	u64 ns = (u64)count << timer_divisor_log2(l);

	timer_stop(l);
	l->timer_init = count;
	if (!count || timer_mode(l) == TIMER_DEADLINE)
		return;
	if (timer_mode(l) == TIMER_PERIODIC)
		l->timer_period_ns = ns = MAX(ns, (u64)TIMER_PERIOD_MIN_NS);
	l->timer_start_ns = clock_ns();
	l->timer_end_ns = l->timer_start_ns + ns;
	timer_arm(&l->timer, l->timer_end_ns);
}

static u32 timer_now(const struct lapic *l)
{
	u64 end = atomic_load(&l->timer_end_ns), now = clock_ns();

	return end > now && timer_mode(l) != TIMER_DEADLINE ? (end - now) >> timer_divisor_log2(l) : 0;
}

u64 lapic_tsc_deadline(const struct lapic *l)
{
	return atomic_load(&l->tsc_deadline);
}

void lapic_set_tsc_deadline(struct lapic *l, u64 tsc, u64 now)
{
	if (timer_mode(l) != TIMER_DEADLINE)
		return;
	timer_stop(l);
	if (!tsc)
		return;
	l->tsc_deadline = tsc;
	l->timer_end_ns = clock_ns() + (tsc > now ? clock_tsc_to_ns(tsc - now) : 0);
	timer_arm(&l->timer, l->timer_end_ns);
}

/* ---- messages between processors ------------------------------------------------------------------ */

static bool matches(const struct lapic *l, u32 dest, bool logical)
{
	if (!logical)
		return dest == 0xff || dest == l->vcpu->index;
	u32 ldr = atomic_load(&l->ldr) >> 24;
	if (atomic_load(&l->dfr) >> 28 == 0xf) /* flat */
		return ldr & dest;
	return (dest >> 4 == 0xf || dest >> 4 == ldr >> 4) && (dest & ldr & 0xf);
}

static void deliver(struct lapic *to, u32 icr)
{
	struct vcpu *v = to->vcpu;

	switch ((icr >> 8) & 7) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		request(to, (u8)icr, icr & LEVEL_TRIGGERED);
		break;
	case DELIVER_NMI:
		atomic_store(&v->nmi_pending, true);
		vcpu_request(v, VCPU_REQ_EVENT);
		break;
	case DELIVER_INIT:
		/* A level de-assert (the old handshake's second half) does nothing. */
		if ((icr & LEVEL_TRIGGERED) && !(icr & (1u << 14)))
			break;
		atomic_store(&v->sipi_pending, false);
		vcpu_request(v, VCPU_REQ_INIT);
		break;
	case DELIVER_SIPI:
		if (atomic_load(&v->activity) == VCPU_RUNNING &&
		    !(atomic_load(&v->requests) & VCPU_REQ_INIT))
			break; /* only who waits for one takes it */
		atomic_store(&v->sipi_vector, (u8)icr);
		atomic_store(&v->sipi_pending, true);
		vcpu_request(v, 0);
		break;
	}
}

/* send - @from: the sender's local APIC; NULL: an I/O APIC, which knows no shorthands. */
static void send(struct vm *vm, const struct lapic *from, u32 dest, u32 icr)
{
	u32 shorthand = from ? (icr >> 18) & 3 : 0;
	bool lowest = ((icr >> 8) & 7) == DELIVER_LOWEST;

	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		struct lapic *to = vm->vcpus[i]->lapic;
		bool hit = shorthand ? shorthand == 2 || (shorthand == 1) == (to == from)
				     : matches(to, dest, icr & (1u << 11));
		if (!hit || !atomic_load(&to->enabled) ||
		    (lowest && !(atomic_load(&to->spiv) & SPIV_ENABLED))) /* another one can take it */
			continue;
		deliver(to, icr);
		if (lowest)
			break;
	}
}

void lapic_message(struct vm *vm, u8 dest, u32 icr)
{
	send(vm, NULL, dest, icr | 1u << 14);
}

/* ---- registers --------------------------------------------------------------------------------------- */

static u32 *lvt_of(struct lapic *l, u32 reg)
{
	return reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR ? &l->lvt[(reg - REG_LVT_TIMER) >> 4] : NULL;
}

static u32 processor_priority(struct lapic *l)
{
	u8 tpr = hvm->get_tpr(l->vcpu);
	int service = highest(l->isr);

	return service >= 0 && service >> 4 >= tpr >> 4 ? service & 0xf0 : tpr;
}

static u32 register_read(struct lapic *l, u32 reg)
{
	if (lvt_of(l, reg))
		return *lvt_of(l, reg);
	if (reg >= REG_ISR && reg < REG_ISR + 0x80)
		return l->isr[(reg - REG_ISR) >> 4];
	if (reg >= REG_TMR && reg < REG_TMR + 0x80)
		return atomic_load(&l->tmr[(reg - REG_TMR) >> 4]);
	if (reg >= REG_IRR && reg < REG_IRR + 0x80)
		return atomic_load(&l->irr[(reg - REG_IRR) >> 4]);
	switch (reg) {
	case REG_ID: return l->vcpu->index << 24;
	case REG_VERSION: return (NR_LVT - 1) << 16 | 0x14;
	case REG_TPR:
		return l->tpr >> 4 == hvm->get_tpr(l->vcpu) >> 4 ? l->tpr : hvm->get_tpr(l->vcpu);
	case REG_PPR: return processor_priority(l);
	case REG_LDR: return l->ldr;
	case REG_DFR: return l->dfr;
	case REG_SPIV: return l->spiv;
	case REG_ESR: return l->esr;
	case REG_ICR: return l->icr;
	case REG_ICR_HIGH: return l->icr_high;
	case REG_TIMER_INIT: return l->timer_init;
	case REG_TIMER_NOW: return timer_now(l);
	case REG_TIMER_DIVIDE: return l->timer_divide;
	default: return 0;
	}
}

static void spiv_write(struct lapic *l, u32 value)
{
	atomic_store(&l->spiv, value & 0x1ff);
	if (value & SPIV_ENABLED)
		return;
	for (int i = 0; i < NR_LVT; i++) /* software-disabled: all masked */
		l->lvt[i] |= LVT_MASKED;
}

static void register_write(struct lapic *l, u32 reg, u32 value)
{
	u32 *lvt = lvt_of(l, reg);

	if (lvt) {
		u32 modes = reg == REG_LVT_TIMER ? 0x600ff : 0x0a7ff;
		u32 mask = l->spiv & SPIV_ENABLED ? value & LVT_MASKED : LVT_MASKED;
		bool other_mode = lvt == &l->lvt[LVT_TIMER] && ((*lvt ^ value) & 0x60000);

		if (other_mode) /* Intel SDM: a change to or from TSC-deadline disarms; so do all here */
			timer_stop(l);
		atomic_store(lvt, (value & modes) | mask);
		return;
	}
	switch (reg) {
	case REG_TPR:
		l->tpr = value;
		hvm->set_tpr(l->vcpu, (u8)value);
		atomic_or(&l->vcpu->requests, VCPU_REQ_EVENT);
		break;
	case REG_EOI: end_of_interrupt(l); break;
	case REG_LDR: atomic_store(&l->ldr, value & 0xff000000); break;
	case REG_DFR: atomic_store(&l->dfr, value | 0x0fffffff); break;
	case REG_SPIV: spiv_write(l, value); break;
	case REG_ESR: l->esr = 0; break;
	case REG_ICR:
		l->icr = value & 0x000cdfff & ~(1u << 12);
		send(l->vcpu->vm, l, l->icr_high >> 24, value);
		break;
	case REG_ICR_HIGH: l->icr_high = value & 0xff000000; break;
	case REG_TIMER_INIT: timer_start(l, value); break;
	case REG_TIMER_DIVIDE: l->timer_divide = value & 0xb; break;
	default: break; /* read-only or reserved */
	}
}

/* Registers are 32 bits on 16-byte boundaries; other accesses are undefined on silicon and read as
 * zero here, but for the bytes of a register. */
static u64 lapic_read(struct vcpu *v, unused void *dev, u64 offset, unsigned int bytes)
{
	u32 in = offset & 0xf;

	if (in + bytes > 4)
		return 0;
	return register_read(v->lapic, offset & 0xff0) >> (8 * in);
}

static void lapic_write(struct vcpu *v, unused void *dev, u64 offset, unsigned int bytes, u64 value)
{
	if ((offset & 0xf) == 0 && bytes >= 4)
		register_write(v->lapic, offset & 0xff0, (u32)value);
}

static const struct io_ops lapic_io = {.name = "lapic", .read = lapic_read, .write = lapic_write};

void lapic_attach(struct vm *vm)
{
	io_add_mmio(&vm->io, LAPIC_BASE, PAGE_SIZE, &lapic_io, NULL);
}

u64 lapic_base(const struct lapic *l)
{
	return LAPIC_BASE | (l->vcpu->index == 0 ? BASE_BSP : 0) |
	       (atomic_load(&l->enabled) ? BASE_ENABLED : 0);
}

int lapic_set_base(struct lapic *l, u64 value)
{
	const u64 may_set = BASE_BSP | BASE_ENABLED;

	if ((value & ~may_set) != LAPIC_BASE)
		return -EINVAL;
	bool enable = value & BASE_ENABLED;
	if (!enable && l->enabled)
		lapic_reset(l);
	atomic_store(&l->enabled, enable && l->vcpu->vm->config.apic);
	return 0;
}
