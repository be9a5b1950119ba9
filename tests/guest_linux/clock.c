/* SPDX-License-Identifier: BSD-2-Clause */
/* The measuring rod of the Linux guest: what a step costs, as a program inside sees it.
 *
 * `tools/neap debian` puts it beside work.c as /bin/clock; `-- clock KEY=VALUE...` at the end of the
 * kernel's command line makes it the guest's work. It runs on any Linux; under Neap it knows more.
 *
 * Each argument is a step, in their order:
 *     now=1          nothing: where the clocks stand
 *     spin=SECONDS   compute
 *     sleep=SECONDS  wait
 *     print=BYTES    write, and wait until the console has it all
 *     watch=SECONDS  every 100 ms, a line of its own: what time it is
 *
 * and after each comes a line of totals since the machine began:
 *     CLOCK step=NAME tsc= mono_ms= idle_ms= ticks= work= exits= age=
 * tsc        the processor's time-stamp counter
 * mono_ms    CLOCK_MONOTONIC
 * idle_ms    of that, how long the first CPU was idle, in the kernel's own opinion
 * ticks      interrupts of timers: I/O line 0, and local ones, of all CPUs
 * work       time-stamp ticks that the whole machine was not idle, Neap included; 0 elsewhere
 * exits      how often this guest was left; 0 elsewhere
 * age        time-stamp ticks since its first instruction; elsewhere since the machine was reset
 *
 * Exit code: 0, or 2 if it was asked for something else. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "neap.h"

typedef uint64_t u64;

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void sleep_ns(u64 ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};

	nanosleep(&t, NULL);
}

/* The first CPU's: user nice system idle, in hundredths of a second. */
static u64 idle_ms(void)
{
	FILE *file = fopen("/proc/stat", "r");
	char line[256];
	u64 idle = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "cpu0 %*u %*u %*u %lu", &idle) == 1)
			break;
	if (file)
		fclose(file);
	return idle * 10;
}

static u64 timer_ticks(void)
{
	FILE *file = fopen("/proc/interrupts", "r");
	char line[1024];
	u64 sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *word = strtok(line, " ");

		if (!word || (strcmp(word, "0:") && strcmp(word, "LOC:")))
			continue;
		while ((word = strtok(NULL, " ")) && *word >= '0' && *word <= '9')
			sum += strtoull(word, NULL, 10);
	}
	if (file)
		fclose(file);
	return sum;
}

static void tell(const char *step)
{
	u64 tsc = __rdtsc(), machine[5] = {0}, guest[5] = {tsc};
	u64 work = neap_call(HYPERCALL_WORK, machine), exits = neap_call(HYPERCALL_EXITS, guest);

	printf("CLOCK step=%s tsc=%lu mono_ms=%lu idle_ms=%lu ticks=%lu work=%lu exits=%lu age=%lu\n",
	       step, tsc, now_ns() / 1000000, idle_ms(), timer_ticks(), work, exits, guest[0]);
	fflush(stdout);
}

static void spin(u64 seconds)
{
	u64 end = now_ns() + seconds * 1000000000;

	while (now_ns() < end)
		;
}

static void wait_seconds(u64 seconds)
{
	sleep_ns(seconds * 1000000000);
}

/* Blocks without an end of line: a driver of a serial port gets each as a whole. */
static void print(u64 bytes)
{
	char block[2048];

	memset(block, '.', sizeof(block));
	for (u64 n; bytes; bytes -= n) {
		n = bytes < sizeof(block) ? bytes : sizeof(block);
		if (write(STDOUT_FILENO, block, n) != (ssize_t)n)
			exit(2);
		tcdrain(STDOUT_FILENO);
	}
	puts("");
}

static void watch(u64 seconds)
{
	u64 end = now_ns() + seconds * 1000000000;

	while (now_ns() < end) {
		printf("CLOCK now_ns=%lu\n", now_ns());
		fflush(stdout);
		sleep_ns(100000000);
	}
}

static const struct {
	const char *name;
	void (*run)(u64 amount); /* NULL: nothing */
} steps[] = {
	{"now", NULL}, {"spin", spin}, {"sleep", wait_seconds}, {"print", print}, {"watch", watch},
};

static int step(const char *word)
{
	size_t length = strcspn(word, "=");

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		char *end;

		if (strlen(steps[i].name) != length || strncmp(word, steps[i].name, length) || !word[length])
			continue;
		u64 amount = strtoull(word + length + 1, &end, 10);
		if (end == word + length + 1 || *end)
			break;
		if (steps[i].run)
			steps[i].run(amount);
		tell(steps[i].name);
		return 0;
	}
	printf("clock: %s: not an argument (see clock.c)\n", word);
	return 2;
}

int main(int argc, char **argv)
{
	int err = 0;

	for (int i = 1; i < argc && !err; i++)
		err = step(argv[i]);
	return err;
}
