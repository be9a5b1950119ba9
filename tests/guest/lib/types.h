/* SPDX-License-Identifier: BSD-2-Clause */
/* The guests' scalars. They share no header with the kernel: a guest is somebody else's program. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define PAGE_SIZE     4096ul
#define BIG_PAGE_SIZE (2ul << 20)

#define ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define noreturn_fn       __attribute__((noreturn))
#define noinline          __attribute__((noinline))
#define aligned(n)        __attribute__((aligned(n)))

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

static inline unsigned long page_down(unsigned long v)
{
	return v & ~(PAGE_SIZE - 1);
}

static inline unsigned long page_up(unsigned long v)
{
	return (v + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}
