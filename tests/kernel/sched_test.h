/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of threads, locks and timers share. */
#pragma once

#include "lib/printk.h"
#include "sched/thread.h"

#define MS         1000000ull /* in ns */
#define NR_WORKERS 16u

struct worker {
	struct thread thread;
	u32 index;
	u64 count;   /* written by the thread itself */
	int result;  /* the same */
	bool inside; /* between switch_in and switch_out */
	bool ready;  /* [a] set by the thread */
};

extern struct worker workers[NR_WORKERS];

/* worker_start_on - run @fn(&workers[@i]) on the CPUs of @affinity (0: all). */
void worker_start_on(u32 i, void (*fn)(void *arg), u64 affinity, const struct thread_ops *ops);
/* workers_start, workers_join - the first @nr. */
void workers_start(u32 nr, void (*fn)(void *arg));
void workers_join(u32 nr);

/* watchdog_start - panic and show all threads unless watchdog_stop comes within two minutes. */
void watchdog_start(const char *what);
void watchdog_stop(void);
/* test_goes_on - false once five seconds have passed since watchdog_start: on a loaded emulator of
 * several CPUs each wake-up and each contended lock may take milliseconds. */
bool test_goes_on(void);

void busy_wait(u64 ns);
