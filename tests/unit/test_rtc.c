/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/rtc.c tests/unit/vmm_host.c */
/* The real-time clock keeps time, tells it in every format, and interrupts when it was asked to;
 * and what the hypervisor reads of its own clock (kernel/cpu/cmos.c) is what that clock, here the
 * model, says. */
#include "ports.h"

#include "kernel/cpu/cmos.c"

#include <time.h>

#include "vmm_host.h"

#include "cpu/clock.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/rtc.h"

#define MS     1000000ull
#define SECOND (1000 * MS)
#define START  1709164799ull /* 2024-02-28 23:59:59, a Wednesday, before a leap day */

enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10 };

static struct rtc rtc;
static bool line;
static unsigned int nr_edges;

void irq_set(struct vm *vm, u32 irq, bool level)
{
	assert_ptr_equal(vm, host_vm);
	assert_int_equal(irq, IRQ_RTC);
	nr_edges += level && !line;
	line = level;
}

static void set(u8 reg, u8 value)
{
	io_port_write(host_vcpu(0), 0x70, 1, reg);
	io_port_write(host_vcpu(0), 0x71, 1, value);
}

static u8 get(u8 reg)
{
	io_port_write(host_vcpu(0), 0x70, 1, reg);
	return io_port_read(host_vcpu(0), 0x71, 1);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	line = false;
	nr_edges = 0;
	vmm_host_clock(SECOND - clock_ns()); /* the clock says 1 s */
	rtc_attach(&rtc, host_vm, START - 1);
	return 0;
}

static int teardown(void **state)
{
	rtc_stop(&rtc);
	return vmm_host_teardown(state);
}

static void assert_time(const u8 want[8])
{
	static const u8 regs[] = {0x32, 9, 8, 7, 6, 4, 2, 0};

	for (u32 i = 0; i < 8; i++)
		if (get(regs[i]) != want[i])
			fail_msg("register %#x is %#x, not %#x", regs[i], get(regs[i]), want[i]);
}

#define assert_time_is(...) assert_time((const u8[]){__VA_ARGS__})

static void set_time(u8 century, u8 year, u8 month, u8 day, u8 hour, u8 minute, u8 second)
{
	set(0xb, get(0xb) | SET);
	set(0x32, century);
	set(9, year);
	set(8, month);
	set(7, day);
	set(4, hour);
	set(2, minute);
	set(0, second);
	set(0xb, get(0xb) & ~SET);
}

/* ---- registers ------------------------------------------------------------------------------- */

static void memory(unused void **state)
{
	for (u32 i = 0x0e; i < 0x80; i++)
		if (i != 0x32)
			set(i, i * 3);
	for (u32 i = 0x0e; i < 0x80; i++)
		if (i != 0x32)
			assert_int_equal(get(i), (u8)(i * 3));
	set(0x8e, 0x77); /* with the NMI masked it is the same byte */
	assert_int_equal(io_port_read(host_vcpu(0), 0x70, 1), 0x8e);
	assert_int_equal(get(0x0e), 0x77);
	io_port_write(host_vcpu(0), 0x70, 2, 0x550f);
	assert_int_equal(io_port_read(host_vcpu(0), 0x70, 2), 0x550f);
}

static void control_registers(unused void **state)
{
	assert_int_equal(get(0xa), 0x26);
	assert_int_equal(get(0xb), 0x02);
	assert_int_equal(get(0xc), 0x00);
	assert_int_equal(get(0xd), 0x80);
	set(0xc, 0xff);
	set(0xd, 0x00);
	assert_int_equal(get(0xc), 0x00);
	assert_int_equal(get(0xd), 0x80);
	set(0xa, 0xa6);
	assert_int_equal(get(0xa), 0x26); /* UIP is read-only */
	set(0xb, 0x92);
	assert_int_equal(get(0xb), 0x82); /* SET clears UIE */
}

static void memory_sizes(unused void **state)
{
	static const struct {
		u64 bytes;
		u32 kib, blocks;
	} sizes[] = {
		{MIB(1), 0, 0}, {MIB(5), 4096, 0}, {MIB(64), 64512, 768}, {MIB(80), 0xffff, 1024},
		{GIB(3), 0xffff, 48896}, {GIB(16), 0xffff, 48896},
	};

	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		io_bus_init(&host_vm->io);
		host_vm->config.mem_bytes = sizes[i].bytes;
		rtc_attach(&rtc, host_vm, START);
		assert_int_equal(get(0x15) | get(0x16) << 8, 640);
		assert_int_equal(get(0x17) | get(0x18) << 8, sizes[i].kib);
		assert_int_equal(get(0x30) | get(0x31) << 8, sizes[i].kib);
		assert_int_equal(get(0x34) | get(0x35) << 8, sizes[i].blocks);
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

static void goes_on(unused void **state)
{
	assert_time_is(0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x59);
	vmm_host_clock(SECOND - 1);
	assert_time_is(0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x59);
	vmm_host_clock(1);
	assert_time_is(0x20, 0x24, 0x02, 0x29, 5, 0x00, 0x00, 0x00);
	vmm_host_clock(86400 * SECOND);
	assert_time_is(0x20, 0x24, 0x03, 0x01, 6, 0x00, 0x00, 0x00);
	vmm_host_clock((306 * 86400 - 1) * SECOND);
	assert_time_is(0x20, 0x24, 0x12, 0x31, 3, 0x23, 0x59, 0x59);
	vmm_host_clock(SECOND);
	assert_time_is(0x20, 0x25, 0x01, 0x01, 4, 0x00, 0x00, 0x00);
}

static void formats(unused void **state)
{
	static const u8 bcd12[24] = {
		0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11,
		0x92, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91,
	};

	set(0xb, 0x06);
	assert_time_is(20, 24, 2, 28, 4, 23, 59, 59);
	vmm_host_clock(SECOND);
	for (u32 h = 0; h < 24; h++) {
		set(0xb, 0x02);
		assert_int_equal(get(4), h / 10 * 16 + h % 10);
		set(0xb, 0x06);
		assert_int_equal(get(4), h);
		set(0xb, 0x00);
		assert_int_equal(get(4), bcd12[h]);
		set(4, bcd12[h]); /* the way back */
		set(0xb, 0x04);
		assert_int_equal(get(4), (h + 11) % 12 + 1 + (h >= 12 ? 0x80 : 0));
		set(4, get(4));
		set(0xb, 0x06);
		assert_int_equal(get(4), h);
		vmm_host_clock(3600 * SECOND);
	}
}

/* Every day of all years, against the C library. */
static void calendar(unused void **state)
{
	u8 reg[CMOS_BYTES] = {[CMOS_B] = 0x06};

	for (u64 day = 0; day < 193500; day++) {
		time_t t = day * 86400 + day % 86400;
		struct tm tm;
		u64 back;
		gmtime_r(&t, &tm);
		cmos_encode(reg, t);
		assert_int_equal(reg[CMOS_CENTURY] * 100 + reg[CMOS_YEAR], tm.tm_year + 1900);
		assert_int_equal(reg[CMOS_MONTH], tm.tm_mon + 1);
		assert_int_equal(reg[CMOS_DAY], tm.tm_mday);
		assert_int_equal(reg[CMOS_WEEKDAY], tm.tm_wday + 1);
		assert_int_equal(reg[CMOS_HOUR], tm.tm_hour);
		assert_int_equal(reg[CMOS_MINUTE], tm.tm_min);
		assert_int_equal(reg[CMOS_SECOND], tm.tm_sec);
		assert_true(cmos_decode(reg, &back));
		assert_int_equal(back, t);
	}
}

static void senseless_times(unused void **state)
{
	static const struct {
		u8 reg, value;
	} bad[] = {{0, 60}, {2, 60}, {4, 24}, {4, 0x8c}, {7, 0}, {7, 30}, {8, 0},
		   {8, 13}, {9, 100}};
	u64 seconds;

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		u8 reg[CMOS_BYTES] = {[CMOS_B] = 0x06};
		cmos_encode(reg, START);
		assert_true(cmos_decode(reg, &seconds));
		reg[bad[i].reg] = bad[i].value;
		assert_false(cmos_decode(reg, &seconds));
	}
	u8 noon[CMOS_BYTES] = {[CMOS_B] = 0x04, [CMOS_DAY] = 1, [CMOS_MONTH] = 1};
	assert_false(cmos_decode(noon, &seconds)); /* hour 0 of twelve */
	noon[CMOS_HOUR] = 13;
	assert_false(cmos_decode(noon, &seconds));
	noon[CMOS_HOUR] = 0x8c;
	noon[CMOS_YEAR] = 70;
	noon[CMOS_CENTURY] = 0xff; /* a board without century: 1970 */
	assert_true(cmos_decode(noon, &seconds));
	assert_int_equal(seconds, 12 * 3600);
	noon[CMOS_YEAR] = 69;
	assert_true(cmos_decode(noon, &seconds));
	assert_int_equal(seconds, 3124224000 + 12 * 3600); /* 2069 */
	noon[CMOS_CENTURY] = 19;
	assert_true(cmos_decode(noon, &seconds));
	assert_int_equal(seconds, 3124224000 + 12 * 3600);
}

/* While SET, nothing moves; then it goes on from what was written, each second where it would
 * have ended. */
static void setting(unused void **state)
{
	vmm_host_clock(300 * MS);
	set(0xb, 0x82);
	vmm_host_clock(5 * SECOND);
	assert_time_is(0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x59);
	assert_int_equal(get(0xc) & 0x30, 0);
	set(7, 0x31); /* of February, for the moment */
	set(8, 0x12);
	set(9, 0x99);
	set(0x32, 0x19);
	assert_time_is(0x19, 0x99, 0x12, 0x31, 4, 0x23, 0x59, 0x59);
	set(0xb, 0x02);
	assert_time_is(0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59);
	vmm_host_clock(700 * MS - 1);
	assert_int_equal(get(0), 0x59);
	vmm_host_clock(1);
	assert_time_is(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00);
	/* One register alone, without SET. */
	vmm_host_clock(100 * MS);
	set(2, 0x30);
	vmm_host_clock(900 * MS);
	assert_time_is(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x30, 0x01);
	set(8, 0x13); /* makes no sense */
	assert_time_is(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x30, 0x01);
	set(1, 0x20); /* an alarm is no time */
	assert_time_is(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x30, 0x01);
	set_time(0x19, 0x70, 0x01, 0x01, 0x00, 0x00, 0x00); /* where all began */
	assert_time_is(0x19, 0x70, 0x01, 0x01, 5, 0x00, 0x00, 0x00);
}

/* As Linux does it: the divider in reset meanwhile, so that the first second ends after a half. */
static void divider_reset(unused void **state)
{
	vmm_host_clock(123 * MS);
	set(0xb, 0x82);
	set(0xa, 0x76);
	set(0, 0x30);
	set(0xb, 0x02);
	vmm_host_clock(10 * SECOND);
	assert_int_equal(get(0), 0x30);
	set(0xa, 0x26);
	vmm_host_clock(500 * MS - 1);
	assert_int_equal(get(0), 0x30);
	vmm_host_clock(1);
	assert_int_equal(get(0), 0x31);
	vmm_host_clock(SECOND);
	assert_int_equal(get(0), 0x32);
}

static void update_in_progress(unused void **state)
{
	vmm_host_clock(SECOND - 244001);
	assert_int_equal(get(0xa), 0x26);
	vmm_host_clock(1);
	assert_int_equal(get(0xa), 0xa6);
	set(0xb, 0x82); /* an update does not begin */
	assert_int_equal(get(0xa), 0x26);
	set(0xb, 0x02);
	assert_int_equal(get(0xa), 0xa6);
	vmm_host_clock(243999);
	assert_int_equal(get(0xa), 0xa6);
	vmm_host_clock(1);
	assert_int_equal(get(0xa), 0x26);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void flags_without_interrupts(unused void **state)
{
	vmm_host_clock(SECOND - 1);
	assert_int_equal(get(0xc), 0x40);
	vmm_host_clock(1);
	assert_int_equal(get(0xc) & ~0x40, 0x30); /* 00:00:00, as the alarm is after reset */
	assert_int_equal(get(0xc), 0x00);
	vmm_host_clock(SECOND);
	assert_int_equal(get(0xc), 0x50);
	assert_int_equal(nr_edges, 0);
	assert_true(list_empty(&rtc.timer.link)); /* nobody asked */
	vmm_host_clock(SECOND);
	set(0xb, 0x12); /* it happened already */
	assert_true(line);
	set(0xb, 0x02);
	assert_false(line);
	assert_int_equal(get(0xc), 0x50);
}

static void update_ended(unused void **state)
{
	get(0xc);
	set(0xb, 0x12);
	assert_false(line);
	vmm_host_clock(SECOND - 1);
	assert_false(line);
	for (int i = 0; i < 5; i++) {
		vmm_host_clock(1);
		assert_true(line);
		assert_int_equal(get(0), i); /* the new second can be read */
		assert_true(line);
		assert_int_equal(get(0xc) & 0x90, 0x90);
		assert_false(line);
		assert_int_equal(get(0xc), 0x00);
		vmm_host_clock(SECOND - 1);
		assert_false(line);
	}
	vmm_host_clock(10 * SECOND); /* until C is read there is nothing to add */
	assert_int_equal(nr_edges, 6);
	assert_true(list_empty(&rtc.timer.link));
	get(0xc);
	set(0xb, 0x02);
	vmm_host_clock(10 * SECOND);
	assert_int_equal(nr_edges, 6);
}

/* C is read just when the second has ended and before the timer comes. */
static void read_before_the_timer(unused void **state)
{
	set(0xb, 0x12);
	get(0xc);
	rtc_stop(&rtc); /* it is late */
	vmm_host_clock(SECOND);
	assert_int_equal(get(0xc) & 0x90, 0x90);
	assert_int_equal(nr_edges, 0);
	vmm_host_clock(SECOND);
	assert_true(line);
}

static void alarm_at(u8 b, u8 hour, u8 minute, u8 second, u64 after_seconds)
{
	set(0xb, b & ~AIE);
	set(5, hour);
	set(3, minute);
	set(1, second);
	get(0xc);
	set(0xb, b);
	u64 begin = clock_ns();
	vmm_host_clock(after_seconds * SECOND - 1);
	assert_false(line);
	vmm_host_clock(1);
	assert_true(line);
	assert_int_equal(get(0xc) & 0xa0, 0xa0);
	assert_int_equal(clock_ns() - begin, after_seconds * SECOND);
}

static void alarm(unused void **state)
{
	vmm_host_clock(SECOND); /* it is midnight */
	alarm_at(0x22, 0x00, 0x00, 0x01, 1);
	alarm_at(0x22, 0x00, 0x00, 0x01, 86400); /* this very second: tomorrow */
	alarm_at(0x22, 0xff, 0xff, 0xff, 1);
	alarm_at(0x22, 0xff, 0xff, 0x02, 60);
	alarm_at(0x22, 0xff, 0x00, 0xc0, 58 * 60 + 58); /* 00:01:02 to 01:00:00 */
	alarm_at(0x22, 0x23, 0x59, 0x59, 23 * 3600 - 1);
	alarm_at(0x22, 0x23, 0xff, 0xff, 23 * 3600 + 1);
	alarm_at(0x26, 13, 30, 15, 14 * 3600 + 30 * 60 + 15); /* binary; it was 23:00:00 */
	alarm_at(0x20, 0x92, 0x00, 0x00, 22 * 3600 + 29 * 60 + 45); /* 12 pm, BCD */
	alarm_at(0x24, 0x0c, 0, 0, 12 * 3600); /* 12 am, binary */
	set(5, 0x99 & 0x3f); /* never */
	set(0xb, 0x26);
	nr_edges = 0;
	vmm_host_clock(3 * 86400 * SECOND);
	assert_int_equal(nr_edges, 0);
}

static void periods(unused void **state)
{
	for (u32 rate = 1; rate < 16; rate++) {
		u32 hz = rate < 3 ? 512 >> rate : 65536 >> rate;
		set(0xa, 0x20 | rate);
		set(0xb, 0x42);
		vmm_host_clock(SECOND - clock_ns() % SECOND);
		get(0xc);
		nr_edges = 0;
		for (u64 at = 0; at < 4 * SECOND; at += 50000) { /* faster than the fastest */
			vmm_host_clock(50000);
			if (line)
				assert_int_equal(get(0xc) & 0xc0, 0xc0);
		}
		assert_int_equal(nr_edges, 4 * hz);
		set(0xb, 0x02);
	}
	set(0xa, 0x20); /* no rate */
	set(0xb, 0x42);
	get(0xc);
	vmm_host_clock(2 * SECOND);
	assert_false(line);
	set(0xa, 0x66); /* the divider stands */
	vmm_host_clock(2 * SECOND);
	assert_false(line);
	set(0xa, 0x26);
	vmm_host_clock(MS);
	assert_true(line);
}

/* A period is seen once, also in the very nanosecond in which the timer comes. */
static void each_period_once(unused void **state)
{
	set(0xa, 0x23);
	get(0xc);
	set(0xb, 0x42);
	for (int i = 0; i < 1000; i++) {
		vmm_host_clock(rtc.timer.deadline_ns - clock_ns());
		assert_int_equal(nr_edges, i + 1);
		assert_int_equal(get(0xc) & 0xc0, 0xc0);
		assert_int_equal(get(0xc) & 0xc0, 0);
	}
}

/* The time stands, the divider does not. */
static void periods_while_set(unused void **state)
{
	set(0xb, 0xf2);
	get(0xc);
	vmm_host_clock(3 * SECOND);
	assert_true(line);
	assert_int_equal(get(0xc), 0xc0);
}

/* All three, and the timer armed for the earliest. */
static void together(unused void **state)
{
	u64 nr[3] = {0};

	set(0xa, 0x2f); /* 2 Hz */
	set(5, 0xff);
	set(3, 0xff);
	set(1, 0x10);
	get(0xc);
	set(0xb, 0x72);
	for (u64 at = 0; at < 600; at++) {
		vmm_host_clock(500 * MS - 1);
		assert_false(line);
		vmm_host_clock(1);
		assert_true(line);
		u8 c = get(0xc);
		assert_true(c & 0x80);
		nr[0] += c >> 6 & 1;
		nr[1] += c >> 5 & 1;
		nr[2] += c >> 4 & 1;
	}
	assert_int_equal(nr[0], 600);
	assert_int_equal(nr[1], 5);
	assert_int_equal(nr[2], 300);
}

static void garbage(unused void **state)
{
	struct rng chance = rng_seeded(0x146818);

	for (int i = 0; i < 100000; i++) {
		u16 port = 0x6f + rng_below(&chance, 3);
		unsigned int bytes = 1u << rng_below(&chance, 3);
		if (rng_percent(&chance, 5))
			io_port_write(host_vcpu(0), 0x70, 1, 0x0c); /* C, read below */
		if (rng_percent(&chance, 50))
			io_port_write(host_vcpu(0), port, bytes,
				      rng_next(&chance) & rng_next(&chance));
		else
			io_port_read(host_vcpu(0), port, bytes);
		vmm_host_clock(rng_below(&chance, rng_percent(&chance, 1) ? SECOND : 200000));
		u8 b = rtc.reg[0xb], c = rtc.reg[0xc];
		assert_int_equal(line, c >> 7);
		assert_int_equal(line, (b & c & 0x70) != 0); /* without accesses: the timer */
		assert_int_equal(rtc.reg[0xd], 0x80);
	}
	set(0xa, 0x26);
	set(0xb, 0x02);
	set_time(0x20, 0x30, 0x06, 0x15, 0x12, 0x00, 0x00);
	assert_time_is(0x20, 0x30, 0x06, 0x15, 7, 0x12, 0x00, 0x00);
}

/* ---- the host's own clock -------------------------------------------------------------------- */

static u64 ns_per_access;  /* of the host's clock */
static bool absent;
static u32 tear_at;        /* the clock jumps by 1 h 1 min 1 s at this access; 0: never */
static u32 nr_accesses;

static void access(void)
{
	if (++nr_accesses == tear_at)
		vmm_host_clock(3661 * SECOND);
	vmm_host_clock(ns_per_access);
}

/* Silicon leaves 244 us from UIP on; then what the time registers say is anything. */
static bool updating(void)
{
	return io_port_read(host_vcpu(0), 0x70, 1) < CMOS_A &&
	       clock_ns() % SECOND >= SECOND - 100000;
}

static u32 port_read(u16 port, unused unsigned int bytes)
{
	access();
	return absent ? 0xff : updating() ? 0x11 : io_port_read(host_vcpu(0), port, 1);
}

static void port_write(u16 port, u32 value, unused unsigned int bytes)
{
	access();
	io_port_write(host_vcpu(0), port, 1, value);
}

static u64 wall(void)
{
	return START - 1 + clock_ns() / SECOND;
}

static void host_clock(unused void **state)
{
	static const u8 formats_of_b[] = {0, 2, 4, 6};

	absent = false;
	tear_at = 0;
	ns_per_access = 1000;
	for (u32 i = 0; i < 400; i++) {
		set(0xb, formats_of_b[i % 4]);
		u64 before = wall(), seconds = cmos_wall_seconds();
		assert_true(seconds >= before && seconds <= wall());
		vmm_host_clock(1234567 * MS + 12345);
	}
	/* Begun in the last microseconds before an update, it waits; during slow accesses, too. */
	for (u32 i = 0; i < 400; i++) {
		vmm_host_clock(SECOND - clock_ns() % SECOND - i * 1000);
		u64 before = wall(), seconds = cmos_wall_seconds();
		assert_true(seconds >= before && seconds <= wall());
	}
	/* It changes in the middle, whenever that is. */
	for (u32 at = 1; at < 60; at++) {
		nr_accesses = 0;
		tear_at = at;
		u64 before = wall(), seconds = cmos_wall_seconds();
		assert_true(seconds == before || seconds - before - 3661 < 2);
	}
}

static void no_host_clock(unused void **state)
{
	ns_per_access = 1000;
	tear_at = 0;
	absent = true;
	nr_accesses = 0;
	assert_int_equal(cmos_wall_seconds(), 0);
	assert_true(nr_accesses < 100000);
	absent = false;
	set(0xb, 0x82);
	set(8, 0x13); /* a dead battery leaves anything */
	assert_int_equal(cmos_wall_seconds(), 0);
	set(8, 0x12);
	assert_int_not_equal(cmos_wall_seconds(), 0);
	set(0xb, 0x02);
	ns_per_access = 400 * MS; /* never twice the same */
	assert_int_equal(cmos_wall_seconds(), 0);
}

#define rtc_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rtc_test(memory),
		rtc_test(control_registers),
		rtc_test(memory_sizes),
		rtc_test(goes_on),
		rtc_test(formats),
		rtc_test(calendar),
		rtc_test(senseless_times),
		rtc_test(setting),
		rtc_test(divider_reset),
		rtc_test(update_in_progress),
		rtc_test(flags_without_interrupts),
		rtc_test(update_ended),
		rtc_test(read_before_the_timer),
		rtc_test(alarm),
		rtc_test(periods),
		rtc_test(each_period_once),
		rtc_test(periods_while_set),
		rtc_test(together),
		rtc_test(garbage),
		rtc_test(host_clock),
		rtc_test(no_host_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
