/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory and string functions.
 *
 * Copying and filling go by eight bytes with REP (one instruction an iteration, microcoded fast
 * strings in silicon); up to 16 bytes, where REP's start-up would cost more than the work, by two
 * moves that may overlap. The compiler would turn some of the plain loops into calls of the very
 * function that it compiles: a compiler_barrier() in the body keeps those loops loops. */
#include "lib/atomic.h"
#include "lib/string.h"

/* Words at any address, of any memory. */
typedef u64 aligned(1) __attribute__((may_alias)) word8;
typedef u32 aligned(1) __attribute__((may_alias)) word4;

/* copy_small - 16 bytes or fewer; all loads come before the stores, so overlap does no harm. */
static inline void copy_small(u8 *d, const u8 *s, size_t n)
{
	if (n >= 8) {
		u64 head = *(const word8 *)s, tail = *(const word8 *)(s + n - 8);
		*(word8 *)d = head;
		*(word8 *)(d + n - 8) = tail;
	} else if (n >= 4) {
		u32 head = *(const word4 *)s, tail = *(const word4 *)(s + n - 4);
		*(word4 *)d = head;
		*(word4 *)(d + n - 4) = tail;
	} else if (n) {
		u8 head = s[0], middle = s[n / 2], tail = s[n - 1];
		d[0] = head;
		d[n / 2] = middle;
		d[n - 1] = tail;
	}
}

/* copy_forward - at least 8 bytes; the last word, loaded before all stores, covers an odd end. */
static inline void copy_forward(u8 *d, const u8 *s, size_t n)
{
	size_t words = n / 8;
	u64 tail = *(const word8 *)(s + n - 8);
	word8 *end = (word8 *)(d + n - 8);

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	*end = tail;
}

void *memcpy(void *dst, const void *src, size_t n)
{
	if (n <= 16)
		copy_small(dst, src, n);
	else
		copy_forward(dst, src, n);
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	u8 *d = dst;
	const u8 *s = src;

	if (n <= 16) {
		copy_small(d, s, n);
	} else if ((uintptr_t)d - (uintptr_t)s >= n) {
		copy_forward(d, s, n); /* @dst lies before @src, or clear of it */
	} else {
		for (; n >= 8; n -= 8) {
			*(word8 *)(d + n - 8) = *(const word8 *)(s + n - 8);
			compiler_barrier();
		}
		/* The first bytes, fewer than 8, are still as they were. */
		copy_small(d, s, n);
	}
	return dst;
}

static inline void fill_small(u8 *d, u64 pattern, size_t n)
{
	if (n >= 8) {
		*(word8 *)d = pattern;
		*(word8 *)(d + n - 8) = pattern;
	} else if (n >= 4) {
		*(word4 *)d = (u32)pattern;
		*(word4 *)(d + n - 4) = (u32)pattern;
	} else if (n) {
		d[0] = d[n / 2] = d[n - 1] = (u8)pattern;
	}
}

void *memset(void *dst, int c, size_t n)
{
	u64 pattern = 0x0101010101010101ull * (u8)c;
	size_t words = n / 8;
	u8 *d = dst;

	if (n <= 16) {
		fill_small(d, pattern, n);
		return dst;
	}
	*(word8 *)(d + n - 8) = pattern;
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	/* Equal words are skipped; the word that differs is compared by bytes. */
	for (; n >= 8 && *(const word8 *)x == *(const word8 *)y; n -= 8) {
		x += 8;
		y += 8;
	}
	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

size_t strlen(const char *s)
{
	const char *end = s;

	while (*end) {
		end++;
		compiler_barrier();
	}
	return end - s;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			return NULL;
	}
}

bool str_copy(char *dst, const char *src, size_t size)
{
	size_t n = strnlen(src, size);

	if (size == 0)
		return false;
	memcpy(dst, src, MIN(n, size - 1));
	dst[MIN(n, size - 1)] = '\0';
	return n < size;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
