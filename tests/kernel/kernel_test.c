/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner of the kernel's own tests. */
#include "tests/kernel/kernel_test.h"

#include "lib/atomic.h"
#include "lib/format.h"
#include "lib/printk.h"
#include "lib/string.h"

extern const struct kernel_suite kernel_suites[], kernel_suites_end[];

static struct {
	u32 passed, failed, skipped; /* [a] */
} count;

void report(bool pass, const char *fmt, ...)
{
	char what[200];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(what, sizeof(what), fmt, ap);
	va_end(ap);
	atomic_add(pass ? &count.passed : &count.failed, 1);
	printk("%s %s\n", pass ? "PASS" : "FAIL", what);
}

void report_skip(const char *what, const char *why)
{
	atomic_add(&count.skipped, 1);
	printk("SKIP %s: %s\n", what, why);
}

unsigned int kernel_test_run(const char *name)
{
	bool all = !strcmp(name, "all"), found = false;

	for (const struct kernel_suite *s = kernel_suites; s < kernel_suites_end; s++) {
		if (all ? str_starts(s->name, "panic_") : strcmp(s->name, name) != 0)
			continue;
		found = true;
		printk("SUITE %s\n", s->name);
		s->run();
	}
	if (!found)
		report(false, "there is no suite \"%s\"", name);
	printk("TESTS passed=%u failed=%u skipped=%u\n", count.passed, count.failed, count.skipped);
	return count.failed;
}
