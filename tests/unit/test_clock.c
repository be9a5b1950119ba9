/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock is right whatever of its references is absent, wrong, or read while the host looks away.
 *
 * A board is simulated: each access takes a little time, now and then very much, and counters tell the
 * time that it is. */
#include "ports.h"

#include "cpu/features.h"

static u64 fake_tsc(void);
#define rdtsc()      fake_tsc()
#define irq_save()   0ull
#define irq_restore(f) (void)(f)
#define inl(port)    port_read((port), 4)
#include "kernel/cpu/clock.c"

#define FAKE_PM_PORT 0x608
#define FAKE_APIC_HZ 200000000ull

static struct {
	double now_s;
	double tsc_hz;
	double pause_s;       /* how long the host looks away */
	u32 pauses_left;      /* how often it still will, once in 40 accesses */
	bool pit, pm, hpet;   /* there are such */
	double pit_error;     /* by which factor it is wrong */
	double pit_start_s;
	u32 latched, latch_reads;
	u32 accesses;
	u64 apic_hz_told;
} board;

static u32 fake_hpet[0x100 / 4];
struct cpu_features features;

static void pass(double s)
{
	board.now_s += s;
	if (++board.accesses % 40 == 0 && board.pauses_left) {
		board.pauses_left--;
		board.now_s += board.pause_s;
	}
	if (board.hpet)
		fake_hpet[HPET_COUNTER / 4] = (u64)(board.now_s * 1e8);
}

static u64 fake_tsc(void)
{
	pass(20e-9);
	return board.now_s * board.tsc_hz;
}

static u32 port_read(u16 port, unsigned int bytes)
{
	(void)bytes;
	pass(1e-6);
	if (port == FAKE_PM_PORT)
		return (u64)(board.now_s * PM_HZ) & 0xffffff;
	if (port == PIT_CH2 && board.pit)
		return board.latch_reads++ & 1 ? board.latched >> 8 : board.latched & 0xff;
	return 0xff;
}

static void port_write(u16 port, u32 value, unsigned int bytes)
{
	(void)bytes;
	pass(1e-6);
	if (port == PIT_COMMAND && value == 0xb4)
		board.pit_start_s = board.now_s;
	if (port == PIT_COMMAND && value == 0x80) {
		double ticks = (board.now_s - board.pit_start_s) * PIT_HZ * board.pit_error;

		board.latched = 0xffff - (u64)ticks % 0xffff;
		board.latch_reads = 0;
	}
}

void apic_timer_start_raw(void)
{
}

u32 apic_timer_read_raw(void)
{
	pass(100e-9);
	return ~(u32)(u64)(board.now_s * FAKE_APIC_HZ);
}

void apic_timer_calibrated(u64 hz)
{
	board.apic_hz_told = hz;
}

/* board_calibrate - the error, in parts per million, of what clock_calibrate finds. */
static double board_calibrate(double true_hz)
{
	board.tsc_hz = true_hz;
	memset(fake_hpet, 0, sizeof(fake_hpet));
	fake_hpet[HPET_PERIOD / 4] = 10000000; /* fs */
	tsc_base = ns_mult = tsc_mult = 0;
	host_log_clear();
	clock_calibrate(board.pm ? FAKE_PM_PORT : 0, board.hpet ? fake_hpet : NULL);
	return (clock_tsc_hz() / true_hz - 1) * 1e6;
}

static void board_make(bool with_pit, bool with_pm, bool with_hpet)
{
	memset(&board, 0, sizeof(board));
	board.now_s = 0.3;
	board.pit = with_pit;
	board.pm = with_pm;
	board.hpet = with_hpet;
	board.pit_error = 1;
}

static void expect_exact(double ppm)
{
	assert_true(ppm > -1000 && ppm < 1000);
	double apic = board.apic_hz_told / (double)FAKE_APIC_HZ;
	assert_true(apic > 0.995 && apic < 1.005);
}

static void any_two_references_do(void **state)
{
	(void)state;
	for (u32 set = 1; set < 8; set++) {
		for (double hz = 4e6; hz < 6e9; hz *= 3.7) {
			board_make(set & 1, set & 2, set & 4);
			expect_exact(board_calibrate(hz));
		}
	}
}

/* One of 80 ms makes the 8254 wrap in the middle of a measurement. */
static void pauses_of_the_host_do_not_matter(void **state)
{
	(void)state;
	for (u32 first = 1; first < 800; first += 13) {
		board_make(true, first & 1, false);
		board.accesses = first;
		board.pause_s = 80e-3;
		board.pauses_left = 1;
		expect_exact(board_calibrate(2.6e9));
	}
}

/* Short ones, all the time, each inside some reading. */
static void interruptions_do_not_matter(void **state)
{
	(void)state;
	for (u32 first = 0; first < 40; first++) {
		board_make(true, true, false);
		board.accesses = first;
		board.pause_s = 300e-6;
		board.pauses_left = ~0u;
		expect_exact(board_calibrate(2.6e9));
	}
}

static void one_wrong_reference_is_outvoted(void **state)
{
	(void)state;
	board_make(true, true, true);
	board.pit_error = 1.5;
	expect_exact(board_calibrate(3e9));
	assert_false(host_log_contains("clock:"));
}

static void without_any_reference_it_says_so(void **state)
{
	(void)state;
	board_make(false, false, false);
	board_calibrate(3e9);
	assert_true(host_log_contains("no reference runs"));
	assert_true(board.now_s < 1.5); /* and has not waited for ever */
}

static void a_wrong_one_does_not_win_alone(void **state)
{
	(void)state;
	board_make(true, true, false);
	board.pit_error = 1.5;
	board_calibrate(3e9);
	/* Each agrees with itself at the next measurement: the better one counts. */
	expect_exact((clock_tsc_hz() / 3e9 - 1) * 1e6);
}

static void conversions_are_exact(void **state)
{
	(void)state;
	board_make(true, true, true);
	board_calibrate(2.4e9);
	for (u64 ns = 1; ns < 1ull << 50; ns = ns * 3 + 1) {
		u64 back = clock_tsc_to_ns(clock_ns_to_tsc(ns));
		u64 off = back > ns ? back - ns : ns - back;

		assert_true(off <= 2 + ns / 100000);
		assert_true(clock_ns_to_tsc(ns) * 1e9 / clock_tsc_hz() >= ns * (1 - 1e-9));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_two_references_do),
		cmocka_unit_test(pauses_of_the_host_do_not_matter),
		cmocka_unit_test(interruptions_do_not_matter),
		cmocka_unit_test(one_wrong_reference_is_outvoted),
		cmocka_unit_test(without_any_reference_it_says_so),
		cmocka_unit_test(a_wrong_one_does_not_win_alone),
		cmocka_unit_test(conversions_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
