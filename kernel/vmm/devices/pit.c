/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254 counts without ticking: a channel keeps the tick at which its count was loaded, and count
 * and output follow from the clock when somebody looks. Ticks are counted from boot, not from the
 * load, so there is nothing to round twice and no drift. As on the chip, what is written is loaded by
 * the next tick. While a channel of mode 2 or 3 runs, a new count waits for the period's end: `start`
 * then lies ahead, and until there `prior` is what it counts down from.
 *
 * Channel 0's rising edges go to IRQ 0. `edges` is how many of those since `start` were seen to; the
 * difference to how many there should be is what is new. An edge that finds the last one not
 * acknowledged is owed (`missed`) and follows when that happens; the line pulses nevertheless: a guest
 * that initializes its 8259 makes it forget a request, and a masked entry of the I/O APIC an edge. Two
 * requests at once are one, so nothing is given twice. One-shots (modes 0 and 4) are never owed: a late
 * one merges with the one before, as on a board.
 *
 * Invariants:
 * I1  missed > 0 only while pending, in modes 2 and 3, and at most OWED_TICKS' worth: who slept
 *     longer has lost the rest.
 * I2  The timer is armed while channel 0 has an edge ahead: for that edge, or for STEP_TICKS from now
 *     if that is later and the period shorter. It may also be armed for an edge that was reprogrammed
 *     away: then it fires for nothing. So it need not be cancelled under the lock.
 *
 * Locking. One lock for everything, which the timer's function takes as well; it is held over irq_set
 * and timer_arm.
 *
 * Not here: loads of mode 3 at the half of a period (it is the whole), sound, port 61's parity bits.
 *
 * Sources: Intel 8254 data sheet, "Mode Definitions", "Read Operations"; Intel 82371AB (PIIX4) data
 * sheet, "NMI Status and Control Register" for port 61. */
#include "vmm/devices/pit.h"

#include "cpu/clock.h"
#include "vmm/devices/irq.h"
#include "vmm/vm.h"

#define NS_PER_S   1000000000ull
#define NEVER      (~0ull)
#define OWED_TICKS (2 * PIT_HZ)
#define STEP_TICKS 119u         /* 100 us */
#define REFRESH_TICKS 18        /* what firmware gives channel 1: 15 us */

enum { PORT_COMMAND = 3 };
enum { ACCESS_LOW = 1, ACCESS_HIGH, ACCESS_BOTH };
enum { READ_BACK = 3, READ_BACK_NO_COUNT = 0x20, READ_BACK_NO_STATUS = 0x10 };
enum { STATUS_OUT = 0x80, STATUS_NULL_COUNT = 0x40 };
enum { CONTROL_GATE2 = 1, CONTROL_SPEAKER = 2, CONTROL_REFRESH = 0x10, CONTROL_OUT2 = 0x20 };

static u64 ticks_now(void)
{
	return clock_ticks(clock_ns(), PIT_HZ);
}

/* The first nanosecond of @tick. */
static u64 tick_to_ns(u64 tick)
{
	return tick / PIT_HZ * NS_PER_S + (tick % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

/* ---- one channel ----------------------------------------------------------------------------- */

static bool is_periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Modes 1 and 5: only the gate's rise starts them. */
static bool is_triggered(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

/* How many ticks have been counted since @*n was loaded. */
static u64 position(const struct pit_channel *c, u64 now, u32 *n)
{
	*n = c->loaded;
	if (!c->running)
		return c->elapsed;
	if (now >= c->start)
		return now - c->start;
	if (!c->prior)
		return 0;
	*n = c->prior;
	return c->prior - (c->start - now);
}

static bool channel_out(const struct pit_channel *c, u64 now)
{
	u32 n;
	u64 at = position(c, now, &n);

	switch (c->mode) {
	case 0: return at >= n;
	case 1: return !c->running || at >= n;
	case 2: return !c->running || at % n != n - 1;
	case 3: return !c->running || at % n < (n + 1) / 2;
	default: return at != n; /* low for one tick */
	}
}

/* The counting element as it is read. */
static u16 channel_count(const struct pit_channel *c, u64 now)
{
	const u32 modulus = c->bcd ? 10000 : 0x10000;
	u32 n;
	u64 at = position(c, now, &n);
	u32 half = (n + 1) / 2, left;

	if (c->mode == 2)
		left = n - at % n;
	else if (c->mode == 3) /* down by two, once in each half */
		left = (n & ~1u) - 2 * (u32)(at % n < half ? at % n : at % n - half);
	else
		left = n + modulus - at % modulus;
	left %= modulus;
	return c->bcd ? left / 1000 << 12 | left / 100 % 10 << 8 | left / 10 % 10 << 4 | left % 10 : left;
}

/* Count down from what was written, beginning with the next tick. */
static void channel_load(struct pit_channel *c, u64 now)
{
	c->loaded = c->count;
	c->null_count = false;
	c->running = c->gate;
	c->start = now + 1;
	c->prior = c->elapsed = c->edges = 0;
}

/* The same, but from the end of the period on that is being counted. */
static void channel_load_later(struct pit_channel *c, u64 now)
{
	if (now >= c->start) {
		c->prior = c->loaded;
		c->start += ((now - c->start) / c->loaded + 1) * c->loaded;
		c->edges = 0;
	}
	c->loaded = c->count;
}

/* It stands still, output low in mode 0 and else high, until a count is written. */
static void channel_control(struct pit_channel *c, u8 value, bool gate)
{
	*c = (struct pit_channel){
		.mode = value >> 1 & (value & 4 ? 3 : 7), /* 6 and 7 are 2 and 3 */
		.access = value >> 4 & 3,
		.bcd = value & 1,
		.gate = gate,
		.null_count = true,
		.loaded = 0x10000,
	};
}

static void channel_write(struct pit_channel *c, u8 value, u64 now)
{
	if (c->access == ACCESS_BOTH && !c->write_high) {
		c->low = value;
		c->write_high = true;
		if (c->mode == 0) { /* stops, and the output falls */
			c->running = false;
			c->count = c->elapsed = c->edges = 0;
		}
		return;
	}
	u32 count = c->access == ACCESS_LOW ? value : value << 8;
	if (c->write_high)
		count |= c->low;
	c->write_high = false;
	if (c->bcd)
		count = (count >> 12) * 1000 + (count >> 8 & 15) * 100 + (count >> 4 & 15) * 10 + (count & 15);
	c->count = count ? count : c->bcd ? 10000 : 0x10000;
	if (is_triggered(c))
		c->null_count = true;
	else if (is_periodic(c) && c->running)
		channel_load_later(c, now);
	else
		channel_load(c, now);
}

static void channel_gate(struct pit_channel *c, bool gate, u64 now)
{
	u32 n;

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (gate && c->count && (is_triggered(c) || is_periodic(c))) {
		channel_load(c, now);
	} else if (!is_triggered(c)) {
		c->elapsed = position(c, now, &n);
		c->running = gate && c->count;
		c->start = now - c->elapsed;
	}
}

/* What is latched already stays. The bytes begin anew, so that a driver that lost count is right. */
static void latch_count(struct pit_channel *c, u64 now)
{
	if (c->nr_latched)
		return;
	c->latch = channel_count(c, now);
	c->nr_latched = c->access == ACCESS_BOTH ? 2 : 1;
	c->read_high = false;
}

static void latch_status(struct pit_channel *c, u64 now)
{
	if (c->status_latched)
		return;
	c->status_latched = true;
	c->status = c->access << 4 | c->mode << 1 | c->bcd | (channel_out(c, now) ? STATUS_OUT : 0);
	if (c->null_count || (c->running && now < c->start))
		c->status |= STATUS_NULL_COUNT;
}

static u8 channel_read(struct pit_channel *c, u64 now)
{
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	u16 count = c->nr_latched ? c->latch : channel_count(c, now);
	bool high = c->access == ACCESS_HIGH || c->read_high;
	c->nr_latched -= c->nr_latched != 0;
	c->read_high = c->access == ACCESS_BOTH && !high;
	return high ? count >> 8 : count;
}

/* ---- channel 0 and IRQ 0 --------------------------------------------------------------------- */

/* The first rising edge from `start` on; if a period's end was waited for, it is that end. */
static u64 first_edge(const struct pit_channel *c)
{
	if (!c->running || is_triggered(c))
		return NEVER;
	return c->prior ? c->start : c->start + c->loaded + (c->mode == 4);
}

/* How many of them there have been. */
static u64 edges_until(const struct pit_channel *c, u64 now)
{
	u64 first = first_edge(c);

	return now < first ? 0 : is_periodic(c) ? (now - first) / c->loaded + 1 : 1;
}

/* When to look again (I2). */
static u64 next_look(const struct pit_channel *c, u64 now)
{
	u64 edge = first_edge(c);

	if (edge == NEVER || !is_periodic(c))
		return c->edges ? NEVER : edge;
	edge += c->edges * c->loaded;
	return c->loaded < STEP_TICKS ? MAX(edge, now + STEP_TICKS) : edge;
}

/* See to the edges until @now, give one if the guest can take it, and arm for the next. */
static void update_locked(struct pit *p, u64 now)
{
	struct pit_channel *c = &p->channel[0];
	u64 edges = MAX(edges_until(c, now), c->edges);
	u64 owed = p->missed + edges - c->edges;
	bool pulse = edges != c->edges;

	assert_held(&p->lock);
	c->edges = edges;
	if (owed && !p->pending) {
		p->pending = pulse = true;
		owed--;
	}
	p->missed = is_periodic(c) ? MIN(owed, OWED_TICKS / c->loaded) : 0;
	if (pulse || (c->mode == 0 && !edges))
		irq_set(p->vm, IRQ_TIMER, false);
	if (pulse)
		irq_set(p->vm, IRQ_TIMER, true);
	u64 next = next_look(c, now);
	if (next != NEVER)
		timer_arm(&p->timer, tick_to_ns(next));
}

static void edge_due(struct timer *t)
{
	struct pit *p = container_of(t, struct pit, timer);
	u64 flags = spin_lock_irqsave(&p->lock);

	update_locked(p, ticks_now());
	spin_unlock_irqrestore(&p->lock, flags);
}

void pit_irq_taken(struct pit *p)
{
	u64 flags = spin_lock_irqsave(&p->lock);

	p->pending = false;
	update_locked(p, ticks_now());
	spin_unlock_irqrestore(&p->lock, flags);
}

void pit_forget(struct pit *p)
{
	u64 flags = spin_lock_irqsave(&p->lock);

	p->pending = false;
	p->missed = 0;
	spin_unlock_irqrestore(&p->lock, flags);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void command_write(struct pit *p, u8 value, u64 now)
{
	u8 select = value >> 6;

	if (select != READ_BACK && value & 0x30) {
		channel_control(&p->channel[select], value, p->channel[select].gate);
		if (select == 0) { /* what an earlier rate owed is void */
			p->pending = false;
			p->missed = 0;
		}
		return;
	}
	if (select != READ_BACK) /* the latch command: one count */
		value = READ_BACK_NO_STATUS | 2 << select;
	for (int i = 0; i < 3; i++) {
		if (value & 2 << i && !(value & READ_BACK_NO_COUNT))
			latch_count(&p->channel[i], now);
		if (value & 2 << i && !(value & READ_BACK_NO_STATUS))
			latch_status(&p->channel[i], now);
	}
}

static u64 pit_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct pit *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);
	u8 value = offset == PORT_COMMAND ? 0xff : channel_read(&p->channel[offset], ticks_now());

	spin_unlock_irqrestore(&p->lock, flags);
	return value;
}

static void pit_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	struct pit *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);
	u64 now = ticks_now();

	update_locked(p, now); /* by the old count, until now */
	if (offset == PORT_COMMAND)
		command_write(p, value, now);
	else
		channel_write(&p->channel[offset], value, now);
	update_locked(p, now);
	spin_unlock_irqrestore(&p->lock, flags);
}

static u64 control_read(unused struct vcpu *v, void *dev, unused u64 offset,
			unused unsigned int bytes)
{
	struct pit *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);
	const struct pit_channel *c = &p->channel[2];
	u64 now = ticks_now();
	u8 value = (c->gate ? CONTROL_GATE2 : 0) | (p->speaker ? CONTROL_SPEAKER : 0) |
		   (now / REFRESH_TICKS % 2 ? CONTROL_REFRESH : 0) |
		   (channel_out(c, now) ? CONTROL_OUT2 : 0);

	spin_unlock_irqrestore(&p->lock, flags);
	return value;
}

static void control_write(unused struct vcpu *v, void *dev, unused u64 offset,
			  unused unsigned int bytes, u64 value)
{
	struct pit *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);

	channel_gate(&p->channel[2], value & CONTROL_GATE2, ticks_now());
	p->speaker = value & CONTROL_SPEAKER;
	spin_unlock_irqrestore(&p->lock, flags);
}

static const struct io_ops pit_io = {.name = "8254", .read = pit_read, .write = pit_write, .bytewise = true};
static const struct io_ops control_io = {.name = "port 61", .read = control_read, .write = control_write};

void pit_attach(struct pit *p, struct vm *vm)
{
	*p = (struct pit){.vm = vm};
	spin_init(&p->lock, RANK_DEVICE_IRQ);
	timer_setup(&p->timer, edge_due);
	for (int i = 0; i < 3; i++)
		channel_control(&p->channel[i], 0x36, i != 2);
	io_add_ports(&vm->io, 0x40, 4, &pit_io, p);
	io_add_ports(&vm->io, 0x61, 1, &control_io, p);
}

void pit_stop(struct pit *p)
{
	timer_cancel(&p->timer);
}
