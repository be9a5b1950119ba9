/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/monitor/meter_text.c kernel/lib/format.c kernel/lib/string.c */
/* The meter's picture says what the samples say, and no figure, not even one that a guest made up,
 * makes a line wider than the screen. */
#include "host.h"

#include "lib/console.h"
#include "monitor/meter.h"

#define PAGES(mib) ((u64)(mib) * 256)

static char text[METER_BYTES];
static struct meter_sample before, now;

/* Two guests on a machine of 80 MiB, half a second apart. */
static int two_guests(void **state)
{
	(void)state;
	before = (struct meter_sample){
		.at_ns = 1000000000, .nr_vms = 2,
		.vm = {{.name = "pattern", .serial = 4, .faults = 1000, .swapins = 100, .swapouts = 90},
		       {.name = "gone", .serial = 5, .faults = 70000}},
	};
	now = (struct meter_sample){
		.at_ns = 1500000000, .nr_vms = 2,
		.ram = PAGES(80), .free = 448, .min = 230, .low = 346, .high = 461,
		.swap = PAGES(512), .swap_used = PAGES(181), .in_flight = 12,
		.vm = {{.name = "pattern", .serial = 4, .mem = PAGES(64), .resident = 4660,
			.swapped = 11546, .zero = 103, .faults = 2700, .swapins = 700,
			.swapouts = 680, .done = 57, .total = 100},
		       {.name = "pattern-2", .serial = 6, .mem = PAGES(64), .resident = 256,
			.faults = 50}},
	};
	return 0;
}

/* The picture's @n-th line, bars as a serial line shows them. */
static const char *line(unsigned int n)
{
	static char copy[METER_BYTES];
	char *at = copy, *end;
	size_t len = meter_picture(text, sizeof(text), &now, &before);

	assert_int_equal(len, strlen(text));
	strcpy(copy, text);
	for (char *c = copy; *c; c++)
		*c = *c == GLYPH_FULL ? '#' : *c == GLYPH_SHADE ? '.' : *c;
	while (n--) {
		at = strchr(at, '\n');
		assert_non_null(at);
		at++;
	}
	end = strchr(at, '\n');
	if (end)
		*end = '\0';
	return at;
}

static void one_line_a_guest(void **state)
{
	(void)state;
	assert_string_equal(line(0), "guest         mem resident swapped   zero faults/s  in/s out/s  "
				     "verified");
	assert_string_equal(line(1), "pattern     64.0M    18.2M   45.1M   0.4M     3400  1200  1180  "
				     "#####.....  57%");
	/* Born between the samples: all that it did counts; it never said how far it is. */
	assert_string_equal(line(2), "pattern-2   64.0M     1.0M    0.0M   0.0M      100     0     0  "
				     "-");
	assert_string_equal(line(5), "");
}

static void the_machine(void **state)
{
	(void)state;
	assert_string_equal(line(3), "RAM         80.0M #########.  free 1.7M (min 0.8M, low 1.3M, "
				     "high 1.8M)");
	assert_string_equal(line(4), "swap       512.0M ###.......  used 181.0M, disk queue 12");
	now.swap = now.swap_used = 0;
	assert_string_equal(line(4), "swap         0.0M ..........  used 0.0M, disk queue 12");
}

static void trouble_is_named(void **state)
{
	(void)state;
	now.vm[1].paused = true;
	assert_non_null(strstr(line(2), "  paused"));
	now.vm[0].mismatches = 3;
	assert_non_null(strstr(line(1), "  3 WRONG"));
}

static void without_guests_nothing(void **state)
{
	(void)state;
	now.nr_vms = 0;
	assert_int_equal(meter_picture(text, sizeof(text), &now, &before), 0);
}

static void percent_and_bar(void **state)
{
	static const struct {
		u64 done, total;
		const char *want;
	} cases[] = {
		{0, 1, "..........   0%"},
		{1, 1, "########## 100%"},
		{2, 1, "########## 100%"},
		{99, 100, "#########.  99%"},
		{1, 3, "###.......  33%"},
		{~0ull / 2, ~0ull, "#####.....  50%"},
		{~0ull, ~0ull, "########## 100%"},
		{5, 0, "-"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		now.vm[0].done = cases[i].done;
		now.vm[0].total = cases[i].total;
		assert_string_equal(line(1) + strlen(line(1)) - strlen(cases[i].want), cases[i].want);
	}
}

static void more_guests_than_rows(void **state)
{
	(void)state;
	now.nr_vms = 33;
	assert_string_equal(line(METER_VMS + 1), "and 23 more");
	assert_memory_equal(line(METER_VMS + 2), "RAM ", 4);
}

/* Real figures are bounded by what a machine can hold; a guest's own by nothing. */
static void no_line_is_too_wide(void **state)
{
	struct rng r = rng_seeded(7);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		now.nr_vms = (u32)rng_below(&r, 40);
		for (u32 i = 0; i < METER_VMS; i++) {
			u64 huge = round % 2 ? PAGES(99999) : rng_below(&r, PAGES(99999));
			u64 any = rng_next(&r) >> rng_below(&r, 64);

			now.vm[i] = (struct meter_vm){
				.serial = i, .mem = huge, .resident = huge, .swapped = huge,
				.zero = huge, .faults = any >> 20, .swapins = any >> 20,
				.swapouts = any >> 20, .done = rng_next(&r), .total = any,
				.mismatches = rng_percent(&r, 20) ? any : 0,
			};
			memset(now.vm[i].name, 'n', VM_NAME_SIZE - 1);
		}
		now.ram = now.free = now.swap = now.swap_used = PAGES(99999);
		now.min = now.low = now.high = PAGES(9999);
		now.in_flight = 9999;
		size_t len = meter_picture(text, sizeof(text), &now, &before);
		assert_true(len < sizeof(text) - 1);
		for (const char *at = text, *end; *at; at = end + 1) {
			end = strchr(at, '\n');
			assert_non_null(end);
			assert_in_range(end - at, 1, METER_COLS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_line_a_guest, two_guests),
		cmocka_unit_test_setup(the_machine, two_guests),
		cmocka_unit_test_setup(trouble_is_named, two_guests),
		cmocka_unit_test_setup(without_guests_nothing, two_guests),
		cmocka_unit_test_setup(percent_and_bar, two_guests),
		cmocka_unit_test_setup(more_guests_than_rows, two_guests),
		cmocka_unit_test_setup(no_line_is_too_wide, two_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
