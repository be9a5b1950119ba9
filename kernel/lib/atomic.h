/* SPDX-License-Identifier: BSD-2-Clause */
/* Atomics over plain integers, by the compiler's builtins. Where nothing else is said an operation
 * is a full barrier, as LOCK-prefixed instructions are on x86. */
#pragma once

#include "lib/types.h"

#define atomic_load(p)          __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atomic_load_relaxed(p)  __atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_store(p, v)      __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atomic_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_add(p, v)        __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST) /* the new value */
#define atomic_sub(p, v)        __atomic_sub_fetch((p), (v), __ATOMIC_SEQ_CST)
#define atomic_or(p, v)         __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST) /* the old value */
#define atomic_and(p, v)        __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define atomic_xchg(p, v)       __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* atomic_cas - store @want if *p is *@was; *@was is what was seen. True if stored. */
#define atomic_cas(p, was, want) \
	__atomic_compare_exchange_n((p), (was), (want), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

static inline void smp_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void compiler_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

#ifdef NEAP_HOST
int sched_yield(void); /* unit tests: who holds the lock may have lost its processor */
#endif

/* cpu_relax - in every spin loop; emulators with one thread for all CPUs depend on it. */
static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
#ifdef NEAP_HOST
	sched_yield();
#endif
}
