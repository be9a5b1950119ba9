/* SPDX-License-Identifier: BSD-2-Clause */
/* The real-time clock: Motorola MC146818 data sheet, "Registers", "Interrupts", "Update cycle". The
 * sizes of memory stand where a PC's firmware leaves them.
 *
 * Nothing ticks. The wall clock is base_ns + clock_ns(), and each access first brings the registers
 * up to it: the time, and in register C what happened since seen_ns (a second ended, the alarm's
 * second came, a period ended). Only when register B lets one of these interrupt, and none does so
 * yet, is the timer armed, for the earliest of them; nothing more can come to the line until the
 * guest reads C. A timer that is no longer wanted fires once more, finds nothing, and is not armed
 * again.
 *
 * While SET is on in B, or A holds the divider in reset, the time registers stand still and are the
 * guest's to write. When both are gone the clock goes on from what they say: with half a second to
 * the first tick if the divider was reset, else the second that runs ends as it would have.
 *
 * A time that makes no sense (month 13) is not taken over: the clock goes on as before.
 *
 * Invariants (at the lock's release):
 * I1  IRQF (C bit 7) is the level that irq_set was told; it implies an event in C that B enables.
 * I2  If an enabled event is in C or will come, and IRQF is not set, the timer is armed for it, or
 *     for earlier.
 *
 * Locking. r->lock (RANK_DEVICE_IRQ, irqsave: the timer's function takes it). Not here:
 * formats (cpu/cmos.c). */
#include "vmm/devices/rtc.h"

#include "cpu/clock.h"
#include "vmm/devices/irq.h"
#include "vmm/vm.h"

#define SECOND_NS   1000000000ull
#define UIP_NS      244000
#define DAY_SECONDS 86400
#define NEVER       (~0ull)
#define TICK_HZ     32768u
#define PCI_HOLE    GIB(3)

enum { A_RATE = 0x0f, A_DIVIDER_OFF = 0x60, A_32KHZ_1024HZ = 0x26 };
enum { B_SET = 0x80, B_UIE = 0x10 };
enum { EVENT_PERIOD = 0x40, EVENT_ALARM = 0x20, EVENT_UPDATE = 0x10, EVENTS = 0x70 }; /* B, C */
enum { C_IRQF = 0x80, D_VRT = 0x80, ALARM_ANY = 0xc0 };

static bool divider_runs(const struct rtc *r)
{
	return (r->reg[CMOS_A] & A_DIVIDER_OFF) != A_DIVIDER_OFF;
}

static bool time_runs(const struct rtc *r)
{
	return divider_runs(r) && !(r->reg[CMOS_B] & B_SET);
}

/* ---- when things happen: all in ns, or whole seconds, of the wall clock ---------------------- */

static bool alarm_is(const struct rtc *r, u8 reg, u8 value)
{
	return r->reg[reg] >= ALARM_ANY || r->reg[reg] == value;
}

/* The first second after @second that the alarm is set to. */
static u64 next_alarm(const struct rtc *r, u64 second)
{
	u8 b = r->reg[CMOS_B];

	for (u64 t = second + 1; t <= second + DAY_SECONDS;) {
		if (!alarm_is(r, CMOS_HOUR_ALARM, cmos_hour(b, t / 3600 % 24)))
			t = (t / 3600 + 1) * 3600;
		else if (!alarm_is(r, CMOS_MINUTE_ALARM, cmos_number(b, t / 60 % 60)))
			t = (t / 60 + 1) * 60;
		else if (!alarm_is(r, CMOS_SECOND_ALARM, cmos_number(b, t % 60)))
			t++;
		else
			return t;
	}
	return NEVER;
}

/* The end of the period in which @wall_ns is. The rates 1 and 2 are 256 and 128 Hz, others 32768 Hz
 * >> (rate - 1). */
static u64 next_period(const struct rtc *r, u64 wall_ns)
{
	u32 rate = r->reg[CMOS_A] & A_RATE, shift = rate < 3 ? rate + 6 : rate - 1;

	if (!rate || !divider_runs(r))
		return NEVER;
	u64 tick = wall_ns % SECOND_NS * TICK_HZ / SECOND_NS; /* periods divide the second */
	u64 end = ((tick >> shift) + 1) << shift;
	return wall_ns - wall_ns % SECOND_NS + (end * SECOND_NS + TICK_HZ - 1) / TICK_HZ;
}

/* The first event after @wall_ns of those in @events. */
static u64 next_event(const struct rtc *r, u8 events, u64 wall_ns)
{
	u64 second = wall_ns / SECOND_NS, next = NEVER;

	if (events & EVENT_PERIOD)
		next = next_period(r, wall_ns);
	if ((events & EVENT_UPDATE) && time_runs(r))
		next = MIN(next, (second + 1) * SECOND_NS);
	if ((events & EVENT_ALARM) && time_runs(r)) {
		u64 alarm = next_alarm(r, second);
		next = MIN(next, alarm == NEVER ? NEVER : alarm * SECOND_NS);
	}
	return next;
}

/* ---- registers ------------------------------------------------------------------------------- */

/* Bring the registers up to now. */
static u64 sync(struct rtc *r)
{
	u64 now = clock_ns(), wall = r->base_ns + now, seen = r->base_ns + r->seen_ns;

	for (u8 event = EVENT_UPDATE; event <= EVENT_PERIOD; event <<= 1)
		if (!(r->reg[CMOS_C] & event) && next_event(r, event, seen) <= wall)
			r->reg[CMOS_C] |= event;
	r->seen_ns = now;
	r->reg[CMOS_A] &= ~CMOS_A_UIP;
	if (time_runs(r)) {
		cmos_encode(r->reg, wall / SECOND_NS);
		r->reg[CMOS_A] |= wall % SECOND_NS >= SECOND_NS - UIP_NS ? CMOS_A_UIP : 0;
	}
	return wall;
}

/* Make I1 and I2 true. => after sync */
static void update(struct rtc *r)
{
	u8 enabled = r->reg[CMOS_B] & EVENTS, irqf = r->reg[CMOS_C] & enabled ? C_IRQF : 0;

	if ((r->reg[CMOS_C] ^ irqf) & C_IRQF) {
		r->reg[CMOS_C] ^= C_IRQF;
		irq_set(r->vm, IRQ_RTC, irqf);
	}
	u64 next = irqf ? NEVER : next_event(r, enabled, r->base_ns + r->seen_ns);
	if (next != NEVER)
		timer_arm(&r->timer, next - r->base_ns);
}

static void event_is_due(struct timer *t)
{
	struct rtc *r = container_of(t, struct rtc, timer);
	u64 flags = spin_lock_irqsave(&r->lock);

	sync(r);
	update(r);
	spin_unlock_irqrestore(&r->lock, flags);
}

static u8 data_read(struct rtc *r)
{
	sync(r);
	u8 reg = r->index % CMOS_BYTES, value = r->reg[reg];
	if (reg != CMOS_C)
		return value;
	r->reg[CMOS_C] &= C_IRQF; /* the flags go; update takes IRQF and the line along */
	update(r);
	return value | (value & r->reg[CMOS_B] & EVENTS ? C_IRQF : 0);
}

static void data_write(struct rtc *r, u8 value)
{
	u64 wall = sync(r), seconds;
	bool ran = time_runs(r), ticked = divider_runs(r);
	u8 reg = r->index % CMOS_BYTES;

	if (reg == CMOS_C || reg == CMOS_D)
		return;
	if (reg == CMOS_A)
		value &= ~CMOS_A_UIP;
	if (reg == CMOS_B && (value & B_SET))
		value &= ~B_UIE;
	r->reg[reg] = value;
	/* An alarm's byte changes nothing of the time. */
	bool sets = reg <= CMOS_YEAR || reg == CMOS_CENTURY || !ran;
	if (time_runs(r) && sets && cmos_decode(r->reg, &seconds))
		r->base_ns += seconds * SECOND_NS - wall +
			      (ticked ? wall % SECOND_NS : SECOND_NS / 2);
	update(r);
}

static u64 rtc_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct rtc *r = dev;
	u64 flags = spin_lock_irqsave(&r->lock);
	u8 value = offset ? data_read(r) : r->index;

	spin_unlock_irqrestore(&r->lock, flags);
	return value;
}

static void rtc_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	struct rtc *r = dev;
	u64 flags = spin_lock_irqsave(&r->lock);

	if (offset)
		data_write(r, value);
	else
		r->index = value;
	spin_unlock_irqrestore(&r->lock, flags);
}

static const struct io_ops rtc_io = {.name = "RTC", .read = rtc_read, .write = rtc_write, .bytewise = true};

static void word_set(struct rtc *r, u8 reg, u64 value)
{
	value = MIN(value, 0xffffull);
	r->reg[reg] = (u8)value;
	r->reg[reg + 1] = value >> 8;
}

void rtc_attach(struct rtc *r, struct vm *vm, u64 wall_seconds)
{
	u64 low = MIN(vm->config.mem_bytes, PCI_HOLE);

	*r = (struct rtc){.vm = vm, .base_ns = wall_seconds * SECOND_NS, .seen_ns = clock_ns()};
	r->reg[CMOS_A] = A_32KHZ_1024HZ;
	r->reg[CMOS_B] = CMOS_B_24H;
	r->reg[CMOS_D] = D_VRT;
	word_set(r, 0x15, 640); /* KiB below the first MiB's hole */
	word_set(r, 0x17, low > MIB(1) ? (low - MIB(1)) >> 10 : 0); /* KiB from 1 MiB on */
	word_set(r, 0x30, low > MIB(1) ? (low - MIB(1)) >> 10 : 0);
	word_set(r, 0x34, low > MIB(16) ? (low - MIB(16)) >> 16 : 0); /* 64 KiB from 16 MiB on */
	spin_init(&r->lock, RANK_DEVICE_IRQ);
	timer_setup(&r->timer, event_is_due);
	io_add_ports(&vm->io, CMOS_INDEX_PORT, 2, &rtc_io, r);
}

void rtc_stop(struct rtc *r)
{
	timer_cancel(&r->timer);
}
