/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/guest_console.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* From a guest's bytes to the operator's lines: whole ones at once, unfinished ones after 100
 * ms. */
#include "vmm_host.h"

#include "vmm/devices/guest_console.h"

#define MS 1000000ull

static struct guest_console console;

static void put(const char *text)
{
	for (; *text; text++)
		guest_console_put(&console, *text);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	guest_console_init(&console, "vm1");
	return 0;
}

static int teardown(void **state)
{
	guest_console_end(&console);
	return vmm_host_teardown(state);
}

static void whole_lines(unused void **state)
{
	put("one\ntwo\n\nthree\n");
	assert_string_equal(host_log(), "vm1| one\nvm1| two\nvm1| \nvm1| three\n");
}

static void carriage_returns(unused void **state)
{
	put("one\r\n\rtwo\r\r\n\r\n");
	assert_string_equal(host_log(), "vm1| one\nvm1| two\nvm1| \n");
}

/* A guest cannot move the operator's cursor, nor end the line before its prefix. */
static void control_bytes(unused void **state)
{
	put("a\x1b[2Jb\tc\x07\x7f\x01\n");
	assert_string_equal(host_log(), "vm1| a.[2Jb\tc...\n");
	host_log_clear();
	guest_console_put(&console, 0);
	guest_console_put(&console, 0xc3);
	guest_console_put(&console, 0xa4);
	put("\n");
	assert_string_equal(host_log(), "vm1| .\xc3\xa4\n");
}

static void partial_line(unused void **state)
{
	put("login: ");
	assert_string_equal(host_log(), "");
	vmm_host_clock(99 * MS);
	assert_string_equal(host_log(), "");
	vmm_host_clock(2 * MS);
	assert_string_equal(host_log(), "vm1| login: \n");
	vmm_host_clock(1000 * MS);
	put("root\n"); /* goes on: the prefix again */
	assert_string_equal(host_log(), "vm1| login: \nvm1| root\n");
}

/* The time counts from the line's first byte. */
static void each_line_has_its_time(unused void **state)
{
	put("a");
	vmm_host_clock(60 * MS);
	put("b\n");
	assert_string_equal(host_log(), "vm1| ab\n");
	put("c");
	vmm_host_clock(60 * MS); /* 120 ms after a, 60 after c */
	assert_string_equal(host_log(), "vm1| ab\n");
	put("d");
	vmm_host_clock(45 * MS);
	assert_string_equal(host_log(), "vm1| ab\nvm1| cd\n");
}

static void nothing_to_show(unused void **state)
{
	put("done\n");
	host_log_clear();
	vmm_host_clock(1000 * MS);
	put("\r\r");
	vmm_host_clock(1000 * MS);
	guest_console_end(&console);
	assert_string_equal(host_log(), "");
}

/* Nothing is lost of a line that never ends, and it cannot fill any buffer. */
static void long_line(unused void **state)
{
	char back[1200];
	size_t nr = 0;

	for (int i = 0; i < 1000; i++)
		guest_console_put(&console, 'a' + i % 26);
	put("\n");
	for (const char *line = host_log(); *line; line = strchr(line, '\n') + 1) {
		size_t len = strchr(line, '\n') - line;
		assert_memory_equal(line, "vm1| ", 5);
		assert_true(len <= 5 + sizeof(console.line));
		memcpy(back + nr, line + 5, len - 5);
		nr += len - 5;
	}
	assert_int_equal(nr, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(back[i], 'a' + i % 26);
}

/* A line that is just as long as the buffer is not followed by an empty one of its own. */
static void full_buffer(unused void **state)
{
	for (size_t i = 0; i < sizeof(console.line) - 1; i++)
		guest_console_put(&console, 'x');
	assert_int_equal(strlen(host_log()), 5 + sizeof(console.line) - 1 + 1);
	host_log_clear();
	vmm_host_clock(1000 * MS);
	assert_string_equal(host_log(), "");
	put("y\n");
	assert_string_equal(host_log(), "vm1| y\n");
}

static void end_shows_the_rest(unused void **state)
{
	put("no newline at end");
	guest_console_end(&console);
	assert_string_equal(host_log(), "vm1| no newline at end\n");
	vmm_host_clock(1000 * MS); /* and no timer fires any more */
	assert_string_equal(host_log(), "vm1| no newline at end\n");
}

/* While the operator sits there he gets what the guest sends, as it comes. */
static void attached(unused void **state)
{
	put("log");
	guest_console_attach(&console, true);
	put("in: \x1b[1mroot\r\n");
	assert_string_equal(host_log(), "vm1| log\nin: \x1b[1mroot\r\n");
	guest_console_attach(&console, false);
	put("more\n");
	assert_string_equal(host_log(), "vm1| log\nin: \x1b[1mroot\r\nvm1| more\n");
}

#define console_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		console_test(whole_lines),
		console_test(carriage_returns),
		console_test(control_bytes),
		console_test(partial_line),
		console_test(each_line_has_its_time),
		console_test(nothing_to_show),
		console_test(long_line),
		console_test(full_buffer),
		console_test(attached),
		console_test(end_shows_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
