/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's registers and the routing of inter-processor interrupts.
 *
 * Requests (IRR) are set by any CPU with an atomic OR, so that raising an interrupt takes no lock;
 * all else belongs to the vCPU's own thread: it alone acknowledges, ends, and writes registers. The
 * task priority lives with the processor (CR8 is the same thing) and is asked of hvm.
 *
 * ICR is never seen busy: a message is delivered before the write returns.
 *
 * Modes: xAPIC has its registers in memory and destinations of 8 bits; x2APIC has them as MSRs, without
 * DFR, ICR's halves as one, an LDR that follows from the id, and destinations of 32 bits. vCPUs may
 * differ: who sends widens the destination as its mode says (I/O APIC and MSI: 8 bits), who receives
 * compares as its own mode says.
 *
 * Errors, which are illegal vectors alone, gather in `errors`, and the LVT's error entry tells of the
 * first; a write to ESR shows them there and begins anew.
 *
 * Not here: the timer (lapic_timer.c), remote reads, arbitration (lowest priority: the first that can).
 *
 * LINT0 of vCPU 0 is the output of the 8259s. It comes up as a firmware leaves it: let through, so that a
 * guest that knows no APIC has its interrupts ("virtual wire"). */
#include "vmm/devices/lapic.h"

#include "lib/errno.h"
#include "mm/objcache.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic_timer.h"
#include "vmm/io.h"
#include "vmm/vm.h"

enum lapic_register {
	REG_ID = 0x20, REG_VERSION = 0x30, REG_TPR = 0x80, REG_PPR = 0xa0, REG_EOI = 0xb0, REG_LDR = 0xd0,
	REG_DFR = 0xe0, REG_SPIV = 0xf0, REG_ISR = 0x100, REG_TMR = 0x180, REG_IRR = 0x200, REG_ESR = 0x280,
	REG_ICR = 0x300, REG_ICR_HIGH = 0x310, REG_LVT_TIMER = 0x320, REG_LVT_THERMAL = 0x330,
	REG_LVT_COUNTERS = 0x340, REG_LVT_LINT0 = 0x350, REG_LVT_LINT1 = 0x360, REG_LVT_ERROR = 0x370,
	REG_TIMER_INIT = 0x380, REG_TIMER_NOW = 0x390, REG_TIMER_DIVIDE = 0x3e0, REG_SELF_IPI = 0x3f0,
};

#define LVT_EXTINT (7u << 8)
#define LVT_NMI    (4u << 8)
#define LVT_STATUS (1u << 12 | 1u << 14) /* read-only: nothing is ever on its way here */
#define LEVEL_TRIGGERED (1u << 15) /* in messages */
#define TO_LOGICAL (1u << 11)
#define TO_SELF    (1u << 18)
#define BROADCAST  (~0u)
#define SPIV_ENABLED (1u << 8)
#define BASE_BSP    (1u << 8)
#define BASE_X2APIC (1u << 10)
#define BASE_ENABLED (1u << 11)
#define ESR_SENT     (1u << 5) /* an illegal vector: below 16 */
#define ESR_RECEIVED (1u << 6)

enum { LVT_TIMER, LVT_LINT0 = 3, LVT_LINT1, LVT_ERROR, NR_LVT }; /* and thermal, performance counters */

enum delivery { DELIVER_FIXED, DELIVER_LOWEST, DELIVER_SMI, DELIVER_NMI = 4, DELIVER_INIT, DELIVER_SIPI };

struct lapic {
	struct vcpu *vcpu; /* [o] */
	u32 irr[8];        /* [a] */
	u32 isr[8];        /* [t] */
	u32 tmr[8];        /* [a] which of them came level-triggered */
	u32 tells[8];      /* [a] of which the board hears the end: these, and LAPIC_TELLS_END */
	u32 ldr, dfr;      /* [a] others read them to route logical destinations */
	u32 spiv;          /* [a] */
	u8 tpr;            /* [t] as written; the processor keeps the class alone */
	u32 esr, icr_high, icr; /* [t] */
	u32 errors;        /* [a] since ESR was written */
	u32 lvt[NR_LVT];   /* [t]; the timer's and the error's [a] */
	struct lapic_timer timer;
	u32 base;          /* [a] two bits of APIC_BASE: the mode; 0: switched off */
};

/* What of a register can be written, and, as an MSR, which access it allows and that other bits are
 * reserved. Not as MSRs: DFR, ICR's upper half. Only as MSR: SELF IPI. */
enum { READ = 1, WRITE = 2 };
static const struct { u32 writable; u8 access; } registers[0x100] = {
	[REG_ID >> 4] = {0, READ}, [REG_VERSION >> 4] = {0, READ}, [REG_PPR >> 4] = {0, READ},
	[REG_TPR >> 4] = {0xff, READ | WRITE}, [REG_EOI >> 4] = {0, WRITE},
	[REG_LDR >> 4] = {0xff000000, READ}, [REG_DFR >> 4] = {0xf0000000, 0},
	[REG_SPIV >> 4] = {0x3ff, READ | WRITE}, [REG_ESR >> 4] = {0, READ | WRITE},
	[REG_ISR >> 4 ... (REG_ESR >> 4) - 1] = {0, READ},
	[REG_ICR >> 4] = {0xccfff, READ | WRITE}, [REG_ICR_HIGH >> 4] = {0xff000000, 0},
	[REG_LVT_TIMER >> 4] = {0x710ff, READ | WRITE}, [REG_LVT_ERROR >> 4] = {0x110ff, READ | WRITE},
	[REG_LVT_THERMAL >> 4 ... REG_LVT_COUNTERS >> 4] = {0x117ff, READ | WRITE},
	[REG_LVT_LINT0 >> 4 ... REG_LVT_LINT1 >> 4] = {0x1f7ff, READ | WRITE},
	[REG_TIMER_INIT >> 4] = {~0u, READ | WRITE}, [REG_TIMER_NOW >> 4] = {0, READ},
	[REG_TIMER_DIVIDE >> 4] = {0xb, READ | WRITE}, [REG_SELF_IPI >> 4] = {0xff, WRITE},
};

static struct objcache lapic_cache;

static void timer_fired(struct lapic_timer *t, u8 vector);

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
	l->base = v->vm->config.apic ? BASE_ENABLED : 0;
	lapic_timer_setup(&l->timer, &l->lvt[LVT_TIMER], timer_fired);
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
	lapic_timer_stop(&l->timer);
	objcache_free(&lapic_cache, l);
}

struct lapic_timer *lapic_timer(struct lapic *l)
{
	return &l->timer;
}

void lapic_reset(struct lapic *l)
{
	lapic_timer_reset(&l->timer);
	for (int i = 0; i < 8; i++) {
		atomic_store(&l->irr[i], 0);
		atomic_store(&l->tmr[i], 0);
		atomic_store(&l->tells[i], 0);
		l->isr[i] = 0;
	}
	atomic_store(&l->ldr, 0);
	atomic_store(&l->dfr, ~0u);
	atomic_store(&l->spiv, 0xff);
	l->tpr = 0;
	l->esr = l->icr = l->icr_high = 0;
	atomic_store(&l->errors, 0);
	for (int i = 0; i < NR_LVT; i++)
		atomic_store(&l->lvt[i], LVT_MASKED);
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

static bool request(struct lapic *l, u8 vector, u32 message);

/* An error entry with an illegal vector tells of nothing. => any context */
static void note_error(struct lapic *l, u32 error)
{
	u32 lvt = atomic_load(&l->lvt[LVT_ERROR]);

	if (!atomic_or(&l->errors, error) && !(lvt & LVT_MASKED) && (u8)lvt >= 16)
		request(l, (u8)lvt, 0);
}

static void bit_assign(u32 *word, u32 bit, bool on)
{
	atomic_or(word, on ? bit : 0);
	atomic_and(word, on ? ~0u : ~bit);
}

/* Request @vector, as @message says that it is triggered. Returns false if it is not taken.
 * => any context */
static bool request(struct lapic *l, u8 vector, u32 message)
{
	u32 i = vector / 32, bit = 1u << vector % 32;
	bool tells = message & (LEVEL_TRIGGERED | LAPIC_TELLS_END);

	if (!(atomic_load(&l->spiv) & SPIV_ENABLED))
		return false;
	if (vector < 16) {
		note_error(l, ESR_RECEIVED);
		return false;
	}
	if (tells || (atomic_load(&l->tells[i]) & bit)) {
		bit_assign(&l->tmr[i], bit, message & LEVEL_TRIGGERED);
		bit_assign(&l->tells[i], bit, tells);
	}
	atomic_or(&l->irr[i], bit);
	vcpu_request(l->vcpu, VCPU_REQ_EVENT);
	return true;
}

static void timer_fired(struct lapic_timer *t, u8 vector)
{
	request(container_of(t, struct lapic, timer), vector, 0);
}

static void end_of_interrupt(struct lapic *l)
{
	int vector = highest(l->isr);

	if (vector < 0)
		return;
	l->isr[vector / 32] &= ~(1u << vector % 32);
	if (unlikely(atomic_load(&l->tells[vector / 32]) & 1u << vector % 32))
		board_interrupt_ended(l->vcpu->vm, (u8)vector);
	atomic_or(&l->vcpu->requests, VCPU_REQ_EVENT); /* one of lower priority may wait */
}

bool lapic_passes_extint(const struct lapic *l)
{
	return !atomic_load(&l->base) || (l->lvt[LVT_LINT0] & (LVT_MASKED | LVT_EXTINT)) == LVT_EXTINT;
}

/* ---- messages between processors ------------------------------------------------------------------ */

bool lapic_is_x2apic(const struct lapic *l)
{
	return atomic_load(&l->base) & BASE_X2APIC;
}

static u32 logical_id(const struct lapic *l)
{
	u32 id = l->vcpu->index;

	return lapic_is_x2apic(l) ? id >> 4 << 16 | 1u << (id & 15) : atomic_load(&l->ldr);
}

/* A destination of 8 bits as one of 32: the physical FF is for all. */
static u32 widen(u8 dest, u32 icr)
{
	return dest == 0xff && !(icr & TO_LOGICAL) ? BROADCAST : dest;
}

static bool matches(const struct lapic *l, u32 dest, bool logical)
{
	u32 ldr = logical_id(l);

	if (dest == BROADCAST || !logical)
		return dest == BROADCAST || dest == l->vcpu->index;
	if (lapic_is_x2apic(l))
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	ldr >>= 24;
	if (atomic_load(&l->dfr) >> 28 == 0xf) /* flat */
		return dest <= 0xff && (ldr & dest);
	return (dest >> 4 == 0xf || dest >> 4 == ldr >> 4) && (dest & ldr & 0xf);
}

/* Returns false if @to does not take it. */
static bool deliver(struct lapic *to, u32 icr)
{
	struct vcpu *v = to->vcpu;

	switch ((icr >> 8) & 7) {
	case DELIVER_FIXED:
	case DELIVER_LOWEST:
		return request(to, (u8)icr, icr);
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
	return true;
}

/* send - @from: the sender's local APIC; NULL: an I/O APIC, which knows no shorthands.
 * Returns false if nobody takes it. */
static bool send(struct vm *vm, struct lapic *from, u32 dest, u32 icr)
{
	u32 shorthand = from ? (icr >> 18) & 3 : 0, mode = (icr >> 8) & 7;
	bool lowest = mode == DELIVER_LOWEST, taken = false;

	if (from && (u8)icr < 16 && (lowest || mode == DELIVER_FIXED)) {
		note_error(from, ESR_SENT);
		return false;
	}
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		struct lapic *to = vm->vcpus[i]->lapic;
		bool hit = shorthand ? shorthand == 2 || (shorthand == 1) == (to == from)
				     : matches(to, dest, icr & TO_LOGICAL);
		if (!hit || !atomic_load(&to->base) ||
		    (lowest && !(atomic_load(&to->spiv) & SPIV_ENABLED))) /* another one can take it */
			continue;
		taken |= deliver(to, icr);
		if (lowest)
			break;
	}
	return taken;
}

bool lapic_message(struct vm *vm, u8 dest, u32 icr)
{
	return send(vm, NULL, widen(dest, icr), icr | 1u << 14);
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
	case REG_ID: return lapic_is_x2apic(l) ? l->vcpu->index : l->vcpu->index << 24;
	case REG_VERSION: return (NR_LVT - 1) << 16 | LAPIC_VERSION;
	case REG_TPR:
		return l->tpr >> 4 == hvm->get_tpr(l->vcpu) >> 4 ? l->tpr : hvm->get_tpr(l->vcpu);
	case REG_PPR: return processor_priority(l);
	case REG_LDR: return logical_id(l);
	case REG_DFR: return l->dfr;
	case REG_SPIV: return l->spiv;
	case REG_ESR: return l->esr;
	case REG_ICR: return l->icr;
	case REG_ICR_HIGH: return l->icr_high;
	case REG_TIMER_INIT: return l->timer.init;
	case REG_TIMER_NOW: return lapic_timer_count(&l->timer);
	case REG_TIMER_DIVIDE: return l->timer.divide;
	default: return 0;
	}
}

static void spiv_write(struct lapic *l, u32 value)
{
	atomic_store(&l->spiv, value);
	if (value & SPIV_ENABLED)
		return;
	for (int i = 0; i < NR_LVT; i++) /* software-disabled: all masked */
		atomic_or(&l->lvt[i], LVT_MASKED);
}

static void lvt_write(struct lapic *l, u32 *lvt, u32 value)
{
	u32 old = *lvt, left = lapic_timer_count(&l->timer);

	atomic_store(lvt, (value & ~LVT_STATUS) | (l->spiv & SPIV_ENABLED ? 0 : LVT_MASKED));
	if (lvt == &l->lvt[LVT_TIMER] && ((old ^ value) & LVT_TIMER_MODE))
		lapic_timer_set_mode(&l->timer, left);
}

static void register_write(struct lapic *l, u32 reg, u32 value)
{
	u32 *lvt = lvt_of(l, reg);

	value &= registers[reg >> 4].writable;
	if (lvt) {
		lvt_write(l, lvt, value);
		return;
	}
	switch (reg) {
	case REG_TPR:
		l->tpr = value;
		hvm->set_tpr(l->vcpu, (u8)value);
		atomic_or(&l->vcpu->requests, VCPU_REQ_EVENT);
		break;
	case REG_EOI: end_of_interrupt(l); break;
	case REG_LDR: atomic_store(&l->ldr, value); break;
	case REG_DFR: atomic_store(&l->dfr, value | 0x0fffffff); break;
	case REG_SPIV: spiv_write(l, value); break;
	case REG_ESR: l->esr = atomic_xchg(&l->errors, 0); break;
	case REG_ICR:
		l->icr = value;
		send(l->vcpu->vm, l,
		     lapic_is_x2apic(l) ? l->icr_high : widen(l->icr_high >> 24, value), value);
		break;
	case REG_ICR_HIGH: l->icr_high = value; break;
	case REG_TIMER_INIT: lapic_timer_start(&l->timer, value); break;
	case REG_TIMER_DIVIDE: lapic_timer_set_divide(&l->timer, value); break;
	case REG_SELF_IPI:
		if (lapic_is_x2apic(l))
			send(l->vcpu->vm, l, 0, TO_SELF | value);
		break;
	default: break; /* read-only or reserved */
	}
}

static bool in_memory(const struct lapic *l)
{
	return atomic_load(&l->base) == BASE_ENABLED;
}

/* Registers are 32 bits on 16-byte boundaries; other accesses are undefined on silicon and read as
 * zero here, but for the bytes of a register. What is off or in x2APIC mode is not in memory at all. */
static u64 lapic_read(struct vcpu *v, unused void *dev, u64 offset, unsigned int bytes)
{
	u32 in = offset & 0xf;

	if (!in_memory(v->lapic))
		return ~0ull;
	if (in + bytes > 4)
		return 0;
	return register_read(v->lapic, offset & 0xff0) >> (8 * in);
}

static void lapic_write(struct vcpu *v, unused void *dev, u64 offset, unsigned int bytes, u64 value)
{
	if (in_memory(v->lapic) && (offset & 0xf) == 0 && bytes >= 4)
		register_write(v->lapic, offset & 0xff0, (u32)value);
}

static const struct io_ops lapic_io = {.name = "lapic", .read = lapic_read, .write = lapic_write};

void lapic_attach(struct vm *vm)
{
	io_add_mmio(&vm->io, LAPIC_BASE, PAGE_SIZE, &lapic_io, NULL);
}

int lapic_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	u32 reg = (msr & 0xff) << 4;

	if (!(registers[reg >> 4].access & READ))
		return -EINVAL;
	*value = register_read(v->lapic, reg) | (reg == REG_ICR ? (u64)v->lapic->icr_high << 32 : 0);
	return 0;
}

int lapic_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	u32 reg = (msr & 0xff) << 4;
	u64 writable = registers[reg >> 4].writable | (reg == REG_ICR ? ~0ull << 32 : 0);

	if (!(registers[reg >> 4].access & WRITE) || (value & ~writable))
		return -EINVAL;
	if (reg == REG_ICR)
		v->lapic->icr_high = value >> 32;
	register_write(v->lapic, reg, (u32)value);
	return 0;
}

u64 lapic_base(const struct lapic *l)
{
	return LAPIC_BASE | (l->vcpu->index == 0 ? BASE_BSP : 0) | atomic_load(&l->base);
}

/* Intel SDM vol. 3A, "x2APIC State Transitions". */
int lapic_set_base(struct lapic *l, u64 value)
{
	u32 had = l->base, mode = value & (BASE_ENABLED | BASE_X2APIC);

	if ((value & ~(u64)(BASE_BSP | BASE_ENABLED | BASE_X2APIC)) != LAPIC_BASE || mode == BASE_X2APIC ||
	    ((mode & BASE_X2APIC) && !had) || (mode == BASE_ENABLED && (had & BASE_X2APIC)))
		return -EINVAL;
	if (mode == had || !l->vcpu->vm->config.apic)
		return 0;
	atomic_store(&l->base, mode);
	l->icr_high = 0;
	if (!mode) {
		lapic_reset(l);
		hvm->set_tpr(l->vcpu, 0);
	}
	return 0;
}
