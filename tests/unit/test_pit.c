/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/pit.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* The 8254: counts and outputs against a model that goes tick by tick through the data sheet's
 * words, IRQ 0 over hours, what a guest that slept is given, and the ports as drivers use them. */
#include "vmm_host.h"

#include "cpu/clock.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/pit.h"

#define S  1000000000ull
#define MS 1000000ull
#define US 1000ull

enum { CH0 = 0x40, CH1, CH2, COMMAND, CONTROL = 0x61 };
enum { OUT2 = 0x20, REFRESH = 0x10 };

static struct pit pit;

static void out(u16 port, u8 value)
{
	io_port_write(host_vcpu(0), port, 1, value);
}

static u8 in(u16 port)
{
	return io_port_read(host_vcpu(0), port, 1);
}

/* ---- time ------------------------------------------------------------------------------------ */

static u64 tick(void)
{
	return (unsigned __int128)clock_ns() * PIT_HZ / S;
}

/* Let the time go on to a moment within @to. */
static void goto_tick(u64 to)
{
	u64 ns = ((unsigned __int128)to * S + PIT_HZ - 1) / PIT_HZ + 300;

	if (ns > clock_ns())
		vmm_host_clock(ns - clock_ns());
	assert_int_equal(tick(), to);
}

static void ticks(u64 nr)
{
	goto_tick(tick() + nr);
}

/* ---- the input of an 8259, and a guest behind it --------------------------------------------- */

static struct {
	struct spinlock lock;
	bool level, request;
	u64 edges, taken, fired;
} line;

void irq_set(struct vm *vm, u32 nr, bool level)
{
	assert_ptr_equal(vm, host_vm);
	assert_int_equal(nr, IRQ_TIMER);
	spin_lock(&line.lock); /* the rank is checked */
	line.edges += level && !line.level;
	line.request |= level && !line.level;
	line.level = level;
	spin_unlock(&line.lock);
}

static void take(void)
{
	assert_true(line.request);
	line.request = false;
	line.taken++;
	pit_irq_taken(&pit);
}

static bool armed(void)
{
	return !list_empty(&pit.timer.link);
}

/* Until @end a guest with interrupts on takes what comes. */
static void listen_until(u64 end)
{
	for (;;) {
		while (line.request)
			take();
		if (!armed() || pit.timer.deadline_ns > end)
			break;
		line.fired++;
		vmm_host_clock(pit.timer.deadline_ns > clock_ns() ? pit.timer.deadline_ns - clock_ns() : 0);
	}
	vmm_host_clock(end - clock_ns());
}

/* Until @end the guest's interrupts are off; @late: so are the host's. */
static void sleep_until(u64 end, bool late)
{
	while (!late && armed() && pit.timer.deadline_ns <= end) {
		line.fired++;
		vmm_host_clock(pit.timer.deadline_ns > clock_ns() ? pit.timer.deadline_ns - clock_ns() : 0);
	}
	if (late) {
		timer_cancel(&pit.timer);
		vmm_host_clock(end - clock_ns());
		pit.timer.fn(&pit.timer);
	} else {
		vmm_host_clock(end - clock_ns());
	}
}

/* ---- channels -------------------------------------------------------------------------------- */

static void program(u32 channel, u32 mode, u32 count)
{
	out(COMMAND, channel << 6 | 0x30 | mode << 1);
	out(CH0 + channel, count & 0xff);
	out(CH0 + channel, count >> 8 & 0xff);
}

static u32 pair(u32 channel)
{
	u8 low = in(CH0 + channel);

	return low | in(CH0 + channel) << 8;
}

static u32 count_of(u32 channel)
{
	out(COMMAND, channel << 6);
	return pair(channel);
}

static u8 status_of(u32 channel)
{
	out(COMMAND, 0xe0 | 2 << channel);
	return in(CH0 + channel);
}

static bool out2(void)
{
	return in(CONTROL) & OUT2;
}

static int setup(void **state)
{
	vmm_host_setup(state);
	memset(&line, 0, sizeof(line));
	spin_init(&line.lock, RANK_IRQ_CHIP);
	pit_attach(&pit, host_vm);
	ticks(1000);
	return 0;
}

static int teardown(void **state)
{
	pit_stop(&pit);
	return vmm_host_teardown(state);
}

/* ---- counts and outputs ---------------------------------------------------------------------- */

/* One channel, a clock pulse at a time. */
struct model {
	u32 mode, cr, n; /* as written; as loaded */
	u32 ce;
	bool bcd, gate, out, written, load, trigger, loaded, null, strobed;
};

static u32 model_modulus(const struct model *m)
{
	return m->bcd ? 10000 : 65536;
}

static void model_load(struct model *m)
{
	m->n = m->cr;
	m->ce = m->mode == 3 ? m->n & ~1u : m->n;
	m->load = m->trigger = m->null = m->strobed = false;
	m->loaded = true;
	m->out = m->mode > 1;
}

static void model_control(struct model *m, u32 mode, bool bcd)
{
	*m = (struct model){.mode = mode, .bcd = bcd, .gate = m->gate, .out = mode != 0, .null = true};
}

static void model_write(struct model *m, u32 count)
{
	m->cr = count ? count : model_modulus(m);
	m->null = m->written = true;
	if (m->mode == 0)
		m->out = false;
	if (m->mode == 0 || m->mode == 4 || ((m->mode & 2) && (!m->gate || !m->loaded)))
		m->load = true;
}

static void model_gate(struct model *m, bool gate)
{
	if (gate && !m->gate && m->written && m->mode != 0 && m->mode != 4)
		m->trigger = true;
	if (!gate && (m->mode & 2)) {
		m->out = true;
		m->null &= !m->written; /* a new rate that waited for the period's end waits no more */
	}
	m->gate = gate;
}

static void model_clock(struct model *m)
{
	if (m->load || m->trigger) {
		model_load(m);
		return;
	}
	if (!m->loaded || (!m->gate && m->mode != 1 && m->mode != 5))
		return;
	if (m->mode == 3) {
		if (m->ce > 2 || (m->ce == 2 && m->out && m->n % 2)) {
			m->ce -= 2;
			return;
		}
		bool high = !m->out;
		if (high)
			model_load(m);
		m->ce = m->n & ~1u;
		m->out = high;
		return;
	}
	m->ce = (m->ce + model_modulus(m) - 1) % model_modulus(m);
	switch (m->mode) {
	case 0:
	case 1:
		m->out |= m->ce == 0;
		break;
	case 2:
		if (m->ce == 0)
			model_load(m);
		m->out = m->ce != 1;
		break;
	default:
		m->out = m->ce != 0 || m->strobed;
		m->strobed |= m->ce == 0;
	}
}

static u32 to_bcd(u32 n)
{
	return n / 1000 % 10 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

static void compare(const struct model *m)
{
	u8 status = status_of(2);

	assert_int_equal(status, m->out << 7 | m->null << 6 | 0x30 | m->mode << 1 | m->bcd);
	assert_int_equal(out2(), m->out);
	if (!m->loaded || ((m->mode & 2) && !m->gate))
		return; /* not defined; stands still at a place that nobody needs */
	u32 ce = m->ce % model_modulus(m);
	assert_int_equal(count_of(2), m->bcd ? to_bcd(ce) : ce);
}

static void follows_the_data_sheet(unused void **state)
{
	struct rng r = rng_seeded(8254);
	struct model m = {0};

	model_control(&m, 0, false);
	out(COMMAND, 0xb0);
	for (int step = 0; step < 60000; step++) {
		if (rng_percent(&r, 6)) {
			u32 mode = rng_below(&r, 8);
			bool bcd = rng_percent(&r, 40);
			out(COMMAND, 0xb0 | mode << 1 | bcd);
			model_control(&m, mode > 5 ? mode - 4 : mode, bcd);
		} else if (rng_percent(&r, 12)) {
			bool periodic = m.mode & 2;
			u32 most = rng_percent(&r, 20) ? 2000 : 20;
			u32 count = rng_percent(&r, 5) ? 0 : 1 + periodic + rng_below(&r, most);
			u32 bytes = m.bcd ? to_bcd(count) : count;
			out(CH2, bytes & 0xff);
			out(CH2, bytes >> 8);
			model_write(&m, count);
		} else if (rng_percent(&r, 12)) {
			out(CONTROL, !m.gate);
			model_gate(&m, !m.gate);
		}
		u32 nr = 1 + (rng_percent(&r, 3) ? rng_below(&r, 3000) : rng_below(&r, 4));
		ticks(nr);
		while (nr--)
			model_clock(&m);
		compare(&m);
	}
}

/* The longest counts, and what lies beyond: the counter goes on from 0 to FFFF or 9999. */
static void wraps(unused void **state)
{
	for (u32 bcd = 0; bcd < 2; bcd++) {
		u32 n = bcd ? 10000 : 65536;
		out(CONTROL, 1);
		program(2, 0, 0);
		out(COMMAND, 0xb0 | bcd);
		out(CH2, 0);
		out(CH2, 0);
		ticks(1);
		assert_int_equal(count_of(2), 0);
		ticks(1);
		assert_int_equal(count_of(2), bcd ? 0x9999 : 0xffff);
		ticks(n - 2);
		assert_int_equal(count_of(2), 1);
		assert_false(out2());
		ticks(1);
		assert_int_equal(count_of(2), 0);
		assert_true(out2());
		ticks(1);
		assert_int_equal(count_of(2), bcd ? 0x9999 : 0xffff);
		ticks(5ull * n + 3);
		assert_int_equal(count_of(2), bcd ? 0x9996 : 0xfffc);
		assert_true(out2());
	}
}

/* ---- IRQ 0 ----------------------------------------------------------------------------------- */

static void no_drift(unused void **state)
{
	static const struct { u32 mode, count; u64 seconds; } all[] = {
		{2, 0, 4 * 3600}, {3, 0, 4 * 3600}, {2, 11932, 3 * 3600}, {3, 11931, 3600}, {3, 4773, 600},
		{2, 1193, 300}, {2, 119, 20}, {3, 120, 20},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		u64 n = all[i].count ? all[i].count : 65536, edges = line.edges, taken = line.taken;
		program(0, all[i].mode, all[i].count);
		u64 start = tick() + 1, end = clock_ns() + all[i].seconds * S;
		line.fired = 0;
		for (u64 at = start; clock_ns() < end; at += n) {
			assert_true(armed());
			u64 due = pit.timer.deadline_ns;
			/* The first nanosecond of the tick, and not one earlier. */
			assert_int_equal((unsigned __int128)due * PIT_HZ / S, at + n);
			assert_int_equal((unsigned __int128)(due - 1) * PIT_HZ / S, at + n - 1);
			listen_until(due);
			assert_int_equal(line.taken - taken, (tick() - start) / n);
		}
		assert_int_equal(line.edges - edges, (tick() - start) / n);
		assert_int_equal(line.fired, line.edges - edges);
		assert_true(line.taken - taken >= all[i].seconds * PIT_HZ / n);
	}
}

/* Faster than 100 us: the host's timer is not, and nothing is lost. */
static void fast_rates(unused void **state)
{
	static const u32 counts[] = {118, 60, 12, 3, 2, 1};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		u64 taken = line.taken;
		program(0, 2, counts[i]);
		u64 start = tick() + 1;
		line.fired = 0;
		for (int ms = 1; ms <= 300; ms++) {
			listen_until(clock_ns() + MS);
			/* All but those of the last step. */
			u64 due = (tick() - start) / counts[i], step = 119 / counts[i] + 1;
			assert_in_range(line.taken - taken, due - MIN(step, due), due);
		}
		assert_in_range(line.fired, 1, 300 * 11);
		sleep_until(clock_ns() + MS, false);
		while (line.request)
			take();
		assert_int_equal(line.taken - taken, (tick() - start) / counts[i]);
	}
}

/* A guest that was away gets all edges, one at each acknowledge; the host's timer was late or not. */
static void catches_up(unused void **state)
{
	static const u32 counts[] = {0, 11932, 1193, 50};

	for (u32 late = 0; late < 2; late++) {
		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			u64 n = counts[i] ? counts[i] : 65536, taken = line.taken;
			program(0, 2, counts[i]);
			line.request = false; /* the old rate's last edge */
			u64 start = tick() + 1;
			listen_until(clock_ns() + 500 * MS);
			sleep_until(clock_ns() + 1900 * MS, late);
			u64 due = (tick() - start) / n;
			u64 first = line.taken - taken;
			assert_true(line.request);
			assert_int_equal(pit.missed, due - first - 1);
			while (line.request)
				take();
			assert_int_equal(line.taken - taken, due);
			assert_int_equal(pit.missed, 0);
			listen_until(clock_ns() + S); /* and in step from here on */
			assert_in_range(line.taken - taken, (tick() - start) / n - (n < 119 ? 119 / n + 1 : 0),
					(tick() - start) / n);
		}
	}
}

static void owes_two_seconds_at_most(unused void **state)
{
	static const u32 counts[] = {0, 11932, 1193, 2};

	for (u32 late = 0; late < 2; late++) {
		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			u64 n = counts[i] ? counts[i] : 65536;
			program(0, 3, counts[i]);
			line.request = false;
			u64 start = tick() + 1;
			sleep_until(clock_ns() + 3 * S, late);
			sleep_until(clock_ns() + (late ? 3600 * S : 30 * S), late);
			assert_true(armed());
			assert_int_equal(pit.missed, 2ull * PIT_HZ / n);
			u64 taken = line.taken;
			while (line.request)
				take();
			/* Two seconds' worth, the one that waited, and one since the host's last look. */
			u64 given = 2ull * PIT_HZ / n + 1;
			assert_in_range(line.taken - taken, given, given + 1);
			u64 before = tick(); /* then in phase with before, at the full rate */
			taken = line.taken;
			listen_until(clock_ns() + 10 * S);
			u64 want = (tick() - start) / n - (before - start) / n;
			assert_in_range(line.taken - taken, want - (n < 119 ? 119 / n + 1 : 0), want);
		}
	}
}

/* A driver that initializes its 8259 while a request waits is not left without ticks. */
static void forgotten_request(unused void **state)
{
	program(0, 2, 11932);
	sleep_until(clock_ns() + 30 * MS, false);
	assert_true(line.request);
	line.request = false;
	sleep_until(clock_ns() + 11 * MS, false);
	assert_true(line.request);
	sleep_until(clock_ns() + 100 * S, false);
	line.request = false;
	sleep_until(clock_ns() + 11 * MS, false);
	assert_true(line.request);
}

/* Behind an I/O APIC nobody tells of acknowledges: the line itself has every edge. */
static void not_behind_an_8259(unused void **state)
{
	for (u32 mode = 2; mode <= 3; mode++) {
		u64 edges = line.edges;
		program(0, mode, 1193);
		u64 start = tick() + 1;
		sleep_until(clock_ns() + 60 * S, false);
		assert_int_equal(line.edges - edges, (tick() - start) / 1193);
	}
}

static void terminal_count(unused void **state)
{
	program(0, 0, 5000);
	u64 start = tick() + 1;
	goto_tick(start + 4999);
	assert_false(line.level);
	assert_false(line.request);
	goto_tick(start + 5000);
	assert_true(line.level);
	assert_int_equal(line.edges, 1);
	listen_until(clock_ns() + 10 * S);
	assert_int_equal(line.taken, 1); /* once, and it stays */
	assert_true(line.level);
	assert_false(armed());
	out(CH0, 10); /* half of a count is enough to lower it */
	assert_false(line.level);
	listen_until(clock_ns() + S);
	assert_int_equal(line.edges, 1);
	out(CH0, 0);
	ticks(12);
	assert_true(line.level);
	out(COMMAND, 0x10); /* low byte alone; the control word lowers it */
	assert_false(line.level);
	listen_until(clock_ns() + S);
	out(CH0, 200);
	sleep_until(clock_ns() + S, true); /* late: once */
	listen_until(clock_ns() + S);
	assert_int_equal(line.taken, 3);
	assert_int_equal(line.edges, 3);
}

static void software_strobe(unused void **state)
{
	for (u64 i = 1; i <= 1000; i++) {
		if (i == 1)
			out(COMMAND, 0x38);
		out(CH0, i & 0xff); /* as Linux does for each event */
		out(CH0, i >> 8);
		u64 start = tick() + 1;
		goto_tick(start + i);
		assert_int_equal(line.edges, i - 1);
		goto_tick(start + i + 1);
		assert_int_equal(line.edges, i);
		assert_true(line.level);
		ticks(70000);
		if (i % 3) /* the guest is not always there, and is owed nothing */
			listen_until(clock_ns());
		assert_int_equal(line.edges, i);
		assert_int_equal(pit.missed, 0);
		assert_false(armed());
	}
}

/* Without a gate they cannot begin. */
static void triggered_modes_are_still(unused void **state)
{
	for (u32 mode = 1; mode <= 5; mode += 4) {
		program(0, mode, 100);
		assert_false(armed());
		vmm_host_clock(10 * S);
		assert_int_equal(line.edges, 0);
		assert_int_equal(status_of(0), 0x80 | 0x40 | 0x30 | mode << 1);
	}
}

static void reprogrammed(unused void **state)
{
	program(0, 2, 1193);
	sleep_until(clock_ns() + S, false);
	assert_true(pit.missed > 900);
	out(COMMAND, 0x30); /* an earlier rate's debts are void */
	assert_int_equal(pit.missed, 0);
	assert_false(line.level);
	line.request = false;
	listen_until(clock_ns() + 10 * S); /* what was armed fires for nothing */
	assert_int_equal(line.taken, 0);
	out(CH0, 0);
	out(CH0, 0);
	listen_until(clock_ns() + 54 * MS);
	assert_int_equal(line.taken, 0);
	listen_until(clock_ns() + MS);
	assert_int_equal(line.taken, 1);
	program(0, 2, 11932); /* shorter than what is armed */
	listen_until(clock_ns() + 11 * MS);
	assert_int_equal(line.taken, 2);
}

/* A new count in mode 2 waits for the end of the period; no edge is lost or added. */
static void new_rate_at_the_periods_end(unused void **state)
{
	for (u32 mode = 2; mode <= 3; mode++) {
		u64 taken = line.taken;
		program(0, mode, 10000);
		u64 start = tick() + 1;
		listen_until(clock_ns() + 29 * MS); /* in the fourth period */
		out(CH0, 0x34);
		out(CH0, 0x12);
		out(CH0, 4000 & 0xff); /* once more within it */
		out(CH0, 4000 >> 8);
		assert_true(status_of(0) & 0x40);
		u64 then = start + 40000;
		assert_true(tick() < then);
		for (u64 at = tick(); at < then + 50000; at += 500) {
			goto_tick(at);
			listen_until(clock_ns());
			assert_int_equal(line.taken - taken, at < then ? 3 : 4 + (at - then) / 4000);
		}
		assert_false(status_of(0) & 0x40);
	}
}

/* The host's timer is late; what was due by the old rate is not lost with it. */
static void new_rate_before_the_edge_was_seen(unused void **state)
{
	out(COMMAND, 0x24); /* high byte alone: one write changes it */
	out(CH0, 11932 >> 8);
	timer_cancel(&pit.timer);
	vmm_host_clock(25 * MS);
	out(CH0, 0xff);
	assert_true(line.request);
	assert_int_equal(pit.missed, 1);
	assert_true(armed());
}

static void stopped(unused void **state)
{
	program(0, 2, 1193);
	pit_stop(&pit);
	assert_false(armed());
	vmm_host_clock(S);
	assert_int_equal(line.edges, 0);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void latch(unused void **state)
{
	program(1, 2, 0x8000);
	ticks(1 + 0x1234);
	out(COMMAND, 0x40);
	ticks(100);
	out(COMMAND, 0x40); /* ignored: one is latched */
	assert_int_equal(in(CH1), (0x8000 - 0x1234) & 0xff);
	ticks(100);
	assert_int_equal(in(CH1), (0x8000 - 0x1234) >> 8);
	assert_int_equal(pair(1), 0x8000 - 0x1234 - 200); /* live */
	out(COMMAND, 0x40);
	program(1, 2, 0x4000); /* a control word drops it */
	ticks(1);
	assert_int_equal(pair(1), 0x4000);
	in(CH1); /* a byte too many; the latch sets it right */
	assert_int_equal(count_of(1), 0x4000);
	assert_int_equal(in(COMMAND), 0xff);
}

static void access_modes(unused void **state)
{
	out(COMMAND, 0x54); /* low byte alone */
	out(CH1, 0x80);
	ticks(2);
	assert_int_equal(in(CH1), 0x7f);
	assert_int_equal(in(CH1), 0x7f);
	out(COMMAND, 0x40);
	ticks(1);
	assert_int_equal(in(CH1), 0x7f);
	assert_int_equal(in(CH1), 0x7e);
	assert_int_equal(status_of(1), 0x80 | 0x10 | 4);
	out(COMMAND, 0x64); /* high byte alone */
	out(CH1, 0x80);
	ticks(2);
	assert_int_equal(in(CH1), 0x7f);
	out(COMMAND, 0x40);
	ticks(0x200);
	assert_int_equal(in(CH1), 0x7f);
	assert_int_equal(in(CH1), 0x7d);
	assert_int_equal(status_of(1), 0x80 | 0x20 | 4);
	out(COMMAND, 0x54);
	out(CH1, 0); /* 256? no: 65536 */
	ticks(2);
	assert_int_equal(in(CH1), 0xff);
	out(COMMAND, 0x64);
	ticks(1);
	out(CH1, 0);
	ticks(2);
	assert_int_equal(in(CH1), 0xff);
}

/* Reading and writing have each their own place in the pair. */
static void independent_toggles(unused void **state)
{
	program(1, 4, 0x4321);
	ticks(1);
	assert_int_equal(in(CH1), 0x21);
	out(CH1, 0x65);
	assert_int_equal(in(CH1), 0x43);
	assert_int_equal(in(CH1), 0x21);
	out(CH1, 0x87);
	ticks(1);
	assert_int_equal(in(CH1), 0x87);
	assert_int_equal(in(CH1), 0x65);
	out(CH1, 0x11);
	out(COMMAND, 0x74); /* the control word: from the low byte on again */
	out(CH1, 0x22);
	out(CH1, 0x33);
	ticks(1);
	assert_int_equal(pair(1), 0x3322);
}

static void read_back(unused void **state)
{
	program(0, 2, 0x1000);
	program(1, 4, 0x2000);
	program(2, 1, 0x3000);
	out(COMMAND, 0xc0 | 2 | 4); /* status and count of channels 0 and 1 */
	ticks(50);
	out(COMMAND, 0xc0 | 2 | 4 | 8); /* of those two it is ignored */
	assert_int_equal(in(CH0), 0x80 | 0x40 | 0x34); /* status first: not loaded then */
	assert_int_equal(pair(0), 0x1000);
	assert_int_equal(in(CH1), 0x80 | 0x40 | 0x38);
	assert_int_equal(pair(1), 0x2000);
	assert_int_equal(in(CH2), 0x80 | 0x40 | 0x32);
	pair(2);
	assert_int_equal(pair(0), 0x1000 - 49);
	out(COMMAND, 0xe0 | 2); /* status alone */
	assert_int_equal(in(CH0), 0x80 | 0x34);
	out(COMMAND, 0xd0 | 4); /* count alone */
	ticks(1);
	assert_int_equal(pair(1), 0x2000 - 49);
	out(COMMAND, 0xf0 | 4); /* nothing */
	ticks(1);
	assert_int_equal(pair(1), 0x2000 - 51);
	out(COMMAND, 0xc0); /* of nobody */
	assert_int_equal(pair(1), 0x2000 - 51);
}

static void null_count(unused void **state)
{
	out(CONTROL, 0);
	out(COMMAND, 0xb2);
	assert_true(status_of(2) & 0x40);
	out(CH2, 100);
	out(CH2, 0);
	ticks(10);
	assert_true(status_of(2) & 0x40); /* waits for the gate */
	out(CONTROL, 1);
	ticks(1);
	assert_false(status_of(2) & 0x40);
	assert_false(out2());
	out(CH2, 200);
	out(CH2, 0);
	assert_true(status_of(2) & 0x40);
	ticks(100);
	assert_true(out2()); /* as the first count has it */
	assert_true(status_of(2) & 0x40);
	program(1, 0, 100);
	assert_true(status_of(1) & 0x40);
	ticks(1);
	assert_false(status_of(1) & 0x40);
}

/* No byte of a count, digit or not, does harm. */
static void bcd_garbage(unused void **state)
{
	out(CONTROL, 1);
	for (u32 count = 0; count < 0x10000; count += 0x0fd) {
		for (u32 mode = 0; mode < 6; mode++) {
			out(COMMAND, 0xb1 | mode << 1);
			out(CH2, count & 0xff);
			out(CH2, count >> 8);
			ticks(1 + count % 100);
			u32 now = count_of(2);
			for (u32 digit = 0; digit < 16; digit += 4)
				assert_true((now >> digit & 15) < 10);
		}
	}
}

/* ---- port 61 --------------------------------------------------------------------------------- */

static void control_port(unused void **state)
{
	assert_int_equal(in(CONTROL) & 3, 0);
	for (u32 value = 0; value < 0x100; value++) {
		out(CONTROL, value);
		assert_int_equal(in(CONTROL) & ~(OUT2 | REFRESH), value & 3);
	}
	u64 start = tick();
	int toggles = 0;
	u8 was = in(CONTROL) & REFRESH;
	while (tick() < start + 18000) {
		ticks(1);
		toggles += (in(CONTROL) & REFRESH) != was;
		was = in(CONTROL) & REFRESH;
	}
	assert_int_equal(toggles, 1000); /* each 15 us */
}

/* Linux: pit_calibrate_tsc waits until OUT rises. */
static void calibration_by_output(unused void **state)
{
	const u32 count = PIT_HZ / 20; /* 50 ms */

	out(CONTROL, (in(CONTROL) & ~2) | 1);
	out(COMMAND, 0xb0);
	out(CH2, count & 0xff);
	out(CH2, count >> 8);
	u64 start = clock_ns();
	while (!(in(CONTROL) & OUT2))
		vmm_host_clock(1500);
	assert_in_range(clock_ns() - start, 50 * MS - US, 50 * MS + 3 * US);
}

static bool msb_is(u8 value)
{
	in(CH2);
	u8 msb = in(CH2);
	vmm_host_clock(3 * US); /* what two exits cost */
	return msb == value;
}

/* Linux: quick_pit_calibrate sees each high byte in turn, for 215 us. */
static void calibration_by_high_byte(unused void **state)
{
	out(CONTROL, (in(CONTROL) & ~2) | 1);
	out(COMMAND, 0xb0);
	out(CH2, 0xff);
	out(CH2, 0xff);
	msb_is(0);
	u64 start = clock_ns();
	for (u32 value = 0xff; value > 0x80; value--) {
		int reads = 0;
		while (msb_is(value))
			reads++;
		assert_in_range(reads, 60, 75);
	}
	u64 want = 127 * 256 * S / PIT_HZ;
	assert_in_range(clock_ns() - start, want - 10 * US, want + 10 * US);
}

static void gate_holds_the_count(unused void **state)
{
	out(CONTROL, 1);
	program(2, 0, 1000);
	ticks(1 + 300);
	out(CONTROL, 0);
	ticks(5000);
	assert_int_equal(count_of(2), 700);
	assert_false(out2());
	out(CONTROL, 1);
	ticks(699);
	assert_false(out2());
	ticks(1);
	assert_true(out2());
	out(CONTROL, 1); /* no edge */
	out(CONTROL, 0);
	assert_true(out2());
	program(2, 3, 1000);
	out(CONTROL, 3);
	ticks(1 + 499);
	assert_true(out2());
	ticks(1);
	assert_false(out2());
	out(CONTROL, 2); /* high at once */
	assert_true(out2());
	out(CONTROL, 3); /* and from the start */
	ticks(1);
	assert_int_equal(count_of(2), 1000);
}

/* ---- everything ------------------------------------------------------------------------------ */

static void wide_accesses(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	out(COMMAND, 0x14);
	out(COMMAND, 0x54);
	out(COMMAND, 0x94);
	out(CONTROL, 1);
	io_port_write(v, CH0, 4, 0xe0102030); /* counts 30, 20, 10; then a read-back of nobody */
	ticks(2);
	assert_int_equal(io_port_read(v, CH0, 4), 0xff0f1f2f);
	assert_int_equal(io_port_read(v, CH1, 2), 0x0f1f);
	io_port_write(v, CH2, 2, 0x7040); /* count, then channel 1's control word */
	ticks(20);
	assert_true(status_of(1) & 0x40);
	assert_int_equal(io_port_read(v, COMMAND, 2), 0xffff); /* over the edge */
	assert_int_equal(io_port_read(v, CONTROL, 2) & 0xff03, 0xff01);
	io_port_write(v, CONTROL - 1, 2, 0x02ff);
	assert_int_equal(in(CONTROL) & 3, 2);
	io_port_write(v, CONTROL, 4, 0xffffff01);
	assert_int_equal(in(CONTROL) & 3, 1);
}

static void garbage(unused void **state)
{
	struct rng r = rng_seeded(40);
	u64 fired = 0;

	for (int step = 0; step < 200000; step++) {
		u16 port = rng_percent(&r, 20) ? CONTROL : CH0 - 1 + rng_below(&r, 6);
		unsigned int bytes = 1u << rng_below(&r, 3);
		u32 value = rng_percent(&r, 30) ? rng_next(&r) & 0x03030303 : rng_next(&r);
		if (rng_percent(&r, 50))
			io_port_write(host_vcpu(0), port, bytes, value);
		else
			io_port_read(host_vcpu(0), port, bytes);
		u64 end = clock_ns() + rng_below(&r, step % 1000 ? 200 * US : 3 * S);
		if (rng_percent(&r, 10)) {
			sleep_until(end, rng_percent(&r, 30));
		} else {
			while (armed() && pit.timer.deadline_ns <= end) {
				fired++;
				vmm_host_clock(MAX(pit.timer.deadline_ns, clock_ns()) - clock_ns());
				for (int i = 0; line.request && i < 3; i++)
					take();
			}
		}
		if (rng_percent(&r, 50) && line.request)
			take();
		const struct pit_channel *c = &pit.channel[0];
		assert_true(pit.missed <= ((c->mode & 2) ? 2 * PIT_HZ / c->loaded : 0));
		assert_true(pit.pending || !pit.missed);
		assert_true(line.request || !pit.missed); /* nothing is owed and not asked for */
	}
	assert_true(fired > 1000);
}

/* As far as 64 bits of nanoseconds reach. */
static void centuries(unused void **state)
{
	vmm_host_clock(500ull * 365 * 86400 * S);
	program(0, 2, 11932);
	u64 start = tick() + 1;
	listen_until(clock_ns() + 3600 * S);
	assert_int_equal(line.taken, (tick() - start) / 11932);
	program(0, 0, 1);
	program(2, 2, 0);
	out(CONTROL, 1);
	vmm_host_clock(80ull * 365 * 86400 * S);
	assert_true(count_of(2) <= 0xffff);
}

#define pit_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		pit_test(follows_the_data_sheet),
		pit_test(wraps),
		pit_test(no_drift),
		pit_test(fast_rates),
		pit_test(catches_up),
		pit_test(owes_two_seconds_at_most),
		pit_test(forgotten_request),
		pit_test(not_behind_an_8259),
		pit_test(terminal_count),
		pit_test(software_strobe),
		pit_test(triggered_modes_are_still),
		pit_test(reprogrammed),
		pit_test(new_rate_at_the_periods_end),
		pit_test(new_rate_before_the_edge_was_seen),
		pit_test(stopped),
		pit_test(latch),
		pit_test(access_modes),
		pit_test(independent_toggles),
		pit_test(read_back),
		pit_test(null_count),
		pit_test(bcd_garbage),
		pit_test(control_port),
		pit_test(calibration_by_output),
		pit_test(calibration_by_high_byte),
		pit_test(gate_holds_the_count),
		pit_test(wide_accesses),
		pit_test(garbage),
		pit_test(centuries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
