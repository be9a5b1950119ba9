/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine on the host for the tests of mm and notifier: RAM from host.h's arena, a few CPUs with
 * a soft MMU each, host versions of what mm uses of cpu and sched, and a secondary MMU that
 * subscribes.
 *
 * One thread plays several CPUs in turn (mm_host_cpu): a race hook switches to another CPU and
 * back. With real threads each plays one CPU of its own. Where a sleeping lock is not free, one
 * thread alone would wait for ever: that is a failure; threads yield (mm_host_threads).
 *
 * What goes against a rule is noted by mm_host_violation, not failed at once, so that a test can
 * ask whether a mutant was noticed. */
#pragma once

#include "host.h"
#include "softmmu.h"

#include "cpu/spinlock.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "sched/thread.h"

#define MM_HOST_CPUS 5

/* mm_host_start - RAM of @bytes, frames, mm; the caller is CPU 0. => once per program */
void mm_host_start(u64 bytes);
extern bool mm_host_threads;

/* mm_host_cpu - the calling thread plays CPU @id from now on. Returns whom it played before. */
u32 mm_host_cpu(u32 id);
/* mm_host_use - the playing CPU's thread uses @mm, or none. */
void mm_host_use(struct mm *mm);

/* Accesses to hva by the playing CPU, through its TLB and the primary table; faults are served.
 * Return 0; -EFAULT if a fault could not be. */
int must_check mm_host_load(u64 at, u64 *value);
int must_check mm_host_store(u64 at, u64 value);

/* mm_host_violation - note that a rule was broken. mm_host_take - how many since the last take; the
 * first is in the log. */
void mm_host_violation(const char *fmt, ...) printf_like(1, 2);
unsigned int mm_host_take(void);

/* mm_host_audit - both audits, into the log; returns how many differences. */
int mm_host_audit(void);
void mm_host_report(const char *fmt, ...) printf_like(1, 2);

u64 mm_host_free_frames(void);

/* mm_host_holds - does the TLB of CPU @cpu still translate @at? */
bool mm_host_holds(u32 cpu, u64 at);
/* mm_host_check_tlbs - N3 and N1 for the processors: what their TLBs hold is what the primary table of
 * @mm says, with no right more. => nothing runs beside */
void mm_host_check_tlbs(struct mm *mm);

/* ---- waiting (mm_wait.c) --------------------------------------------------------------------- */

/* Called by who would sleep: true if something happened that he may have waited for. May be NULL. */
extern bool (*mm_host_pass_time)(void);
/* [a] how often each CPU has slept in vain: so that a race hook can wait until another thread waits for who
 * runs the hook, rather than for a disk. */
extern u32 mm_host_sleeps[MM_HOST_CPUS];

/* The kernel's own thread: what reclaim_init makes. */
struct mm_host_daemon {
	void (*fn)(void *arg);
	struct thread *thread;
	pthread_t pthread;
	jmp_buf end;
	bool stop; /* [a] */
};
extern struct mm_host_daemon mm_host_daemon;
/* mm_host_daemon_start - let it run, playing CPU @cpu. mm_host_daemon_stop - end it where it waits next.
 * => mm_host_threads */
void mm_host_daemon_start(u64 cpu);
void mm_host_daemon_stop(void);

/* ---- seeing a mutant ------------------------------------------------------------------------- */

/* mm_host_mishap - run @scenario in a process of its own, which it may leave in ruins: NULL if it returns
 * true, and no rule was broken; else what happened: the first violation, or the panic, or @wrong if it
 * returned false. The text is overwritten by the next call. */
const char *mm_host_mishap(bool (*scenario)(void), const char *wrong);

/* ---- a secondary MMU ------------------------------------------------------------------------- */

#define SPTES 1024

struct spte {
	u64 pfn;
	bool present, writable, dirty, young;
};

/* A subscriber that keeps the rules: a table of translations for [base, base + SPTES pages), and
 * what it was told. */
struct secondary {
	struct mm_notifier n;
	struct mm *mm;
	u64 base;
	struct spinlock lock;
	struct spte spte[SPTES];
	bool refuse;                /* -EAGAIN to brackets that may not sleep */
	unsigned int starts, ends, open, released, retries;
	unsigned int reason[MM_EVENT_RELEASE + 1];
};

/* secondary_init - and register. */
void secondary_init(struct secondary *s, struct mm *mm, u64 base);
/* secondary_fault - install the translation of @at for @acc. Errors as mm_gup. */
int must_check secondary_fault(struct secondary *s, u64 at, unsigned int acc);
/* An access by the secondary's own processor: faults are served. */
int must_check secondary_load(struct secondary *s, u64 at, u64 *value);
int must_check secondary_store(struct secondary *s, u64 at, u64 value);
/* secondary_check - N1 and N2 over the whole table. => nothing runs beside */
void secondary_check(struct secondary *s);
