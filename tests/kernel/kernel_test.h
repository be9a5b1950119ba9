/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests that run inside the kernel, on the real processor: what host tests cannot ask. Debug builds
 * only; the boot option `selftest=NAME` runs the suite NAME, `selftest=all` every one but those
 * whose names begin with panic_: they end in a panic, which is what they test.
 *
 * Each check prints one line, "PASS what" or "FAIL what", in column 0; what cannot run here prints
 * "SKIP what: why". At the end comes "TESTS passed=N failed=N skipped=N". */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

/* report - one check and its outcome; the text says what must hold, with values if it does not.
 * => thread context, on any CPU */
void report(bool pass, const char *fmt, ...) printf_like(2, 3);
void report_skip(const char *what, const char *why);

struct kernel_suite {
	const char *name;
	void (*run)(void);
};

/* KERNEL_SUITE(cpu, test_cpu) - at file level: makes the suite known; the linker collects them. */
#define KERNEL_SUITE(name, fn) \
	static const struct kernel_suite suite_##name keep_symbol aligned(8) \
		__attribute__((section(".kernel_suites"))) = {#name, fn}

/* kernel_test_run - run the suite @name, or "all". => thread context
 * Return the number of checks that failed; 1 if there is no such suite. */
unsigned int kernel_test_run(const char *name);
