/* SPDX-License-Identifier: BSD-2-Clause */
/* What we ask of gcc and clang beyond ISO C11. */
#pragma once

#define static_assert _Static_assert /* C11; <assert.h> is not for freestanding code */

#define must_check      __attribute__((warn_unused_result))
#define noreturn_fn     __attribute__((noreturn))
#define packed          __attribute__((packed))
#define aligned(n)      __attribute__((aligned(n)))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define unused          __attribute__((unused))
#define keep_symbol     __attribute__((used))
#define weak            __attribute__((weak))
#define noinline        __attribute__((noinline))
#define always_inline   inline __attribute__((always_inline))
#define cold            __attribute__((cold))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* One access, exactly here: for memory that another CPU, or a guest, may write meanwhile. Atomic, so
 * that the thread sanitizer knows it is meant; volatile, so that the compiler leaves it in its place. */
#define READ_ONCE(x) \
	__atomic_load_n((const volatile __typeof__(x) *)&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) \
	__atomic_store_n((volatile __typeof__(x) *)&(x), (v), __ATOMIC_RELAXED)

#define MIN(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define MAX(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ > b_ ? a_ : b_; })
