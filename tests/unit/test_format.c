/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/format.c kernel/lib/string.c */
/* Formatted text is what the C library's vsnprintf makes of it, cut at the same byte. */
#include "host.h"

#include "lib/format.h"

/* The formats are made at run time here, so the compiler cannot check them. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

/* same - both formatters agree on text and length for every size of buffer that matters. */
static void same(const char *fmt, ...)
{
	char want[512], got[512];
	va_list ap;

	for (int size = 0; size < 2; size++) {
		size_t room = size ? sizeof(got) : 7;
		memset(want, 'w', sizeof(want));
		memset(got, 'w', sizeof(got));
		va_start(ap, fmt);
		int want_len = vsnprintf(want, room, fmt, ap);
		va_end(ap);
		va_start(ap, fmt);
		int got_len = text_vformat(got, room, fmt, ap);
		va_end(ap);
		if (want_len != got_len || memcmp(want, got, MIN((size_t)want_len + 1, room)) != 0)
			fail_msg("\"%s\": \"%s\" (%d), expected \"%s\" (%d)", fmt, got, got_len,
				 want, want_len);
		assert_int_equal(got[room == 7 ? 7 : 511], 'w');
	}
}

static void plain_cases(void **state)
{
	(void)state;
	same("");
	same("text 100%%");
	same("%d %u", -5, 4000000000u);
	same("[%5d|%-5d|%05d]", 42, 42, -42);
	same("%x %#x", 0xbeef, 0xbeef);
	same("%#x %.0d|%.0x", 0, 0, 0);
	same("%08lx %#018lx", 0xffffffff80100000ul, 0x1000ul);
	same("%lld %llu %lld", INT64_MIN, UINT64_MAX, INT64_MAX);
	same("%hhd %hhu %hd %hu", 300, 300, 70000, 70000);
	same("%zu %zd", (size_t)-1, (size_t)-2);
	same("%s|%10s|%-10s|%.2s|%.*s", "abc", "abc", "abc", "abc", 1, "xyz");
	same("%c%c %3c|%-3c|", 'a', 0x7f, 'b', 'c');
	same("%*d|%-*d|%*d", 6, 1, 6, 2, -6, 3);
	same("%.*d", -3, 5);
	same("%p", (void *)0x1234);
	same("%.10d %.5d %8.3x", 12345, 12, 10);
	same("%200d", 1);
}

static void what_libc_leaves_open(void **state)
{
	char buf[32], string[] = "%s";

	(void)state;
	assert_int_equal(text_format(buf, sizeof(buf), string, (char *)NULL), 6);
	assert_string_equal(buf, "(null)");
	assert_int_equal(text_format(NULL, 0, "%d", 12345), 5);
	/* a percent sign at the end, and one before what is no conversion, are text */
	char odd[] = "a%", unknown[] = "%y%d";
	assert_int_equal(text_format(buf, sizeof(buf), odd), 2);
	assert_string_equal(buf, "a%");
	assert_int_equal(text_format(buf, sizeof(buf), unknown, 3), 3);
	assert_string_equal(buf, "%y3");
}

/* A text may be longer than the buffer by any amount; nothing lands behind it. */
static void cut_at_every_size(void **state)
{
	char want[64];
	int len = snprintf(want, sizeof(want), "%-8s=%#06x;", "key", 0xab);

	(void)state;
	for (int size = 1; size < len + 3; size++) {
		char *buf = malloc(size);
		assert_int_equal(text_format(buf, size, "%-8s=%#06x;", "key", 0xab), len);
		assert_int_equal(strlen(buf), MIN(size - 1, len));
		assert_memory_equal(buf, want, MIN(size - 1, len));
		free(buf);
	}
}

static void random_specs(void **state)
{
	static const char *const lengths[] = {"", "h", "hh", "l", "ll", "z"};
	struct rng rng = rng_seeded(1);

	(void)state;
	for (int i = 0; i < 50000; i++) {
		char spec[32], *p = spec;
		const char *length = lengths[rng_below(&rng, ARRAY_SIZE(lengths))];
		u64 value = rng_next(&rng) >> rng_below(&rng, 64);

		*p++ = '%';
		for (u64 flags = rng_below(&rng, 4); flags; flags--)
			*p++ = "-0#"[rng_below(&rng, 3)];
		if (rng_percent(&rng, 50))
			p += sprintf(p, "%u", (unsigned int)rng_below(&rng, 30));
		if (rng_percent(&rng, 40))
			p += sprintf(p, ".%u", (unsigned int)rng_below(&rng, 30));
		sprintf(p, "%s%c", length, "dux"[rng_below(&rng, 3)]);
		if (length[0] == 'l' || length[0] == 'z')
			same(spec, rng_percent(&rng, 5) ? 0ul : value);
		else
			same(spec, rng_percent(&rng, 5) ? 0u : (unsigned int)value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_cases),
		cmocka_unit_test(what_libc_leaves_open),
		cmocka_unit_test(cut_at_every_size),
		cmocka_unit_test(random_specs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
