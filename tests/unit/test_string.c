/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/string.c */
/* Our memory and string functions do what the C library's do, and touch no byte beside. */
#include "host.h"

#include <sys/mman.h>

#include "lib/string.h"

/* Ours, as unit.mk renames them. */
void *kernel_memcpy(void *dst, const void *src, size_t n);
void *kernel_memmove(void *dst, const void *src, size_t n);
void *kernel_memset(void *dst, int c, size_t n);
int kernel_memcmp(const void *a, const void *b, size_t n);
size_t kernel_strlen(const char *s);
size_t kernel_strnlen(const char *s, size_t max);
int kernel_strcmp(const char *a, const char *b);
int kernel_strncmp(const char *a, const char *b, size_t n);
char *kernel_strchr(const char *s, int c);

#define AREA 4096

/* Memory whose last byte is followed, and whose first is preceded, by nothing: inline assembly is
 * out of the sanitizers' sight, the processor is not. */
static u8 *fenced_area(void)
{
	u8 *p = mmap(NULL, 3 * AREA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + AREA, AREA, PROT_READ | PROT_WRITE), 0);
	return p + AREA;
}

static void fill(struct rng *rng, u8 *p)
{
	for (size_t i = 0; i < AREA; i++)
		p[i] = (u8)rng_next(rng);
}

/* length - mostly small ones, where the special cases are. */
static size_t length(struct rng *rng)
{
	return rng_below(rng, rng_percent(rng, 80) ? 40 : 700);
}

/* place - anywhere, often at the very end or start. */
static size_t place(struct rng *rng, size_t n)
{
	switch (rng_below(rng, 4)) {
	case 0: return 0;
	case 1: return AREA - n;
	default: return rng_below(rng, AREA - n + 1);
	}
}

static void copies_like_libc(void **state)
{
	struct rng rng = rng_seeded(1);
	u8 *src = fenced_area(), *dst = fenced_area();
	u8 want[AREA];

	(void)state;
	fill(&rng, src);
	fill(&rng, dst);
	for (int i = 0; i < 20000; i++) {
		size_t n = length(&rng), from = place(&rng, n), to = place(&rng, n);
		memcpy(want, dst, AREA);
		memcpy(want + to, src + from, n);
		assert_ptr_equal(kernel_memcpy(dst + to, src + from, n), dst + to);
		assert_memory_equal(dst, want, AREA);
	}
}

static void moves_like_libc(void **state)
{
	struct rng rng = rng_seeded(2);
	u8 *p = fenced_area();
	u8 want[AREA];

	(void)state;
	fill(&rng, p);
	for (int i = 0; i < 20000; i++) {
		size_t n = length(&rng), from = place(&rng, n), to = place(&rng, n);
		if (rng_percent(&rng, 60)) /* make them overlap */
			to = MIN(from + rng_below(&rng, 40), AREA - n);
		if (rng_percent(&rng, 30)) {
			size_t swap = from;
			from = to;
			to = swap;
		}
		memcpy(want, p, AREA);
		memmove(want + to, want + from, n);
		assert_ptr_equal(kernel_memmove(p + to, p + from, n), p + to);
		assert_memory_equal(p, want, AREA);
	}
}

static void fills_like_libc(void **state)
{
	struct rng rng = rng_seeded(3);
	u8 *p = fenced_area();
	u8 want[AREA];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t n = length(&rng), to = place(&rng, n);
		int c = (int)rng_next(&rng);
		memcpy(want, p, AREA);
		memset(want + to, c, n);
		assert_ptr_equal(kernel_memset(p + to, c, n), p + to);
		assert_memory_equal(p, want, AREA);
	}
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

static void compares_like_libc(void **state)
{
	struct rng rng = rng_seeded(4);
	u8 *a = fenced_area(), *b = fenced_area();

	(void)state;
	fill(&rng, a);
	for (int i = 0; i < 20000; i++) {
		size_t n = length(&rng), x = place(&rng, n), y = place(&rng, n);
		memcpy(b + y, a + x, n);
		if (n && rng_percent(&rng, 70))
			b[y + rng_below(&rng, n)] ^= (u8)(1 << rng_below(&rng, 8));
		assert_int_equal(sign(kernel_memcmp(a + x, b + y, n)),
				 sign(memcmp(a + x, b + y, n)));
	}
}

static void random_text(struct rng *rng, char *text, size_t max)
{
	size_t n = rng_below(rng, max);

	for (size_t i = 0; i < n; i++)
		text[i] = "ab\xff"[rng_below(rng, 3)];
	text[n] = '\0';
}

static void strings_like_libc(void **state)
{
	struct rng rng = rng_seeded(5);
	char a[16], b[6];

	(void)state;
	for (int i = 0; i < 50000; i++) {
		size_t n = rng_below(&rng, 8);
		random_text(&rng, a, sizeof(a));
		random_text(&rng, b, sizeof(b));
		assert_int_equal(kernel_strlen(a), strlen(a));
		assert_int_equal(kernel_strnlen(a, n), strnlen(a, n));
		assert_int_equal(sign(kernel_strcmp(a, b)), sign(strcmp(a, b)));
		assert_int_equal(sign(kernel_strncmp(a, b, n)), sign(strncmp(a, b, n)));
		assert_ptr_equal(kernel_strchr(a, 'b'), strchr(a, 'b'));
		assert_ptr_equal(kernel_strchr(a, 0xff), strchr(a, 0xff));
		assert_ptr_equal(kernel_strchr(a, 0), strchr(a, 0));
		assert_int_equal(str_starts(a, b), strncmp(a, b, strlen(b)) == 0);
	}
}

static void str_copy_terminates(void **state)
{
	char buf[8];

	(void)state;
	memset(buf, 'x', sizeof(buf));
	assert_true(str_copy(buf, "1234567", 8));
	assert_string_equal(buf, "1234567");
	assert_false(str_copy(buf, "12345678", 8));
	assert_string_equal(buf, "1234567");
	assert_true(str_copy(buf, "", 1));
	assert_string_equal(buf, "");
	assert_false(str_copy(buf, "a", 1));
	assert_string_equal(buf, "");
	memset(buf, 'x', sizeof(buf));
	assert_false(str_copy(buf, "a", 0));
	assert_int_equal(buf[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_like_libc),
		cmocka_unit_test(moves_like_libc),
		cmocka_unit_test(fills_like_libc),
		cmocka_unit_test(compares_like_libc),
		cmocka_unit_test(strings_like_libc),
		cmocka_unit_test(str_copy_terminates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
