/* SPDX-License-Identifier: BSD-2-Clause */
/* MMU notifiers: the one seam between the primary MMU and everybody who keeps a second copy of its
 * translations.
 *
 * A *subscriber* (a secondary MMU) copies translations out of an mm: hva -> frame. Before mm takes
 * one away or narrows it, it opens a *bracket* over the range: invalidate_range_start .. _end. In
 * between, no subscriber may copy anything of that range. The trouble is a copy that began before
 * the bracket and is written down after it; two numbers catch it:
 *
 *	subscriber (a fault)                     mm (copy on write, reclaim)
 *	  s = notifier_sample()  ------------.
 *	  page = ask mm                       |   range_start: counter++, callbacks zap
 *	                                      |   the primary PTE changes
 *	  lock mmu_lock                       |   range_end:   sequence++, counter--
 *	  if (notifier_retry(s)) start again -'
 *	  write the secondary pte
 *	  unlock
 *
 * Retry says yes while a bracket over the address is open (counter), and if one was opened and
 * closed since the sample (sequence). Both are kept per bucket of hva, so that the brackets of one
 * part of an mm do not restart the faults of another.
 *
 * Invariants (docs/design.md, the rules)
 *  I1. range_end bumps the sequence before the counter falls (rule 4).
 *  I2. Every range_start is followed by one range_end over the same range, on every way out
 *      (rule 8).
 *  I3. A subscriber that was called at range_start is called at range_end, and no other
 *      (rules 20, 21).
 *
 * Locking: brackets are opened and closed, and every other call made, under a lock of the mm that
 * mm_take_all_locks takes (its mmap_lock, for read at least); subscribers come and go while all
 * those are held, so the list does not change under a walk, and no subscriber sees an end without
 * its start. The callbacks' own locks rank at RANK_MMU or above.
 *
 * Not here: who listens (vmm), what a page is (mm). The mm is a name only. */
#pragma once

#include "lib/compiler.h"
#include "lib/errno.h"
#include "lib/list.h"
#include "lib/types.h"

struct mm;
struct mm_notifier;

enum mm_event_reason {
	MM_EVENT_UNMAP,   /* a region goes */
	MM_EVENT_RECLAIM, /* the frame is wanted */
	MM_EVENT_COPY,    /* another frame comes in its place (zero page, copy on write, migration) */
	MM_EVENT_PROTECT, /* narrowed to read-only */
	MM_EVENT_RELEASE, /* the mm ends */
};

/* A bracket, from start to end the same object. */
struct mm_event {
	struct mm *mm;
	u64 start, end;  /* hva, page-aligned, half-open */
	enum mm_event_reason reason;
	bool may_sleep;  /* the caller can wait for a subscriber that sleeps */
	bool flush_later; /* the caller flushes once for several brackets, by notifier_flush */
	struct mm_notifier *refused_by; /* set by range_start on -EAGAIN */
};

/* What a subscriber is asked. Any op may be NULL except where said. */
struct mm_notifier_ops {
	const char *name;
	/* pinning - holds a reference on each page that it maps; else none. Never mixed (rule 19).
	 * A non-pinning subscriber must have invalidate_range_start. */
	bool pinning;

	/* release - the mm ends: drop every translation; nothing will be mapped again. Called once,
	 * by mm_exit, before its page tables go. => may sleep */
	void (*release)(struct mm_notifier *n, struct mm *mm);

	/* clear_flush_young, test_young - was [start, end) accessed through this subscriber since last
	 * cleared? The first also makes sure that the next access is seen (flush); the second clears
	 * nothing. => may not sleep */
	int (*clear_flush_young)(struct mm_notifier *n, struct mm *mm, u64 start, u64 end);
	int (*test_young)(struct mm_notifier *n, struct mm *mm, u64 start, u64 end);
	/* clear_young - the same of each of the @nr (at most 32) pages at @at, cleared without a flush: the
	 * next access may be missed. Reclaim asks for a batch at once, so the subscriber's lock is taken
	 * once. Returns a bit for each. => may not sleep */
	u32 (*clear_young)(struct mm_notifier *n, struct mm *mm, const u64 *at, u32 nr);

	/* change_pte - the primary PTE of @addr now maps @pfn read-only; update instead of zapping.
	 * Never inside a bracket (rule 16). */
	void (*change_pte)(struct mm_notifier *n, struct mm *mm, u64 addr, u64 pfn);

	/* invalidate_page - for pinning subscribers: drop the translation of @addr and the
	 * reference.
	 * => may not sleep */
	void (*invalidate_page)(struct mm_notifier *n, struct mm *mm, u64 addr);

	/* invalidate_range_start - a bracket opens: on return no translation of the range is in use
	 * by this subscriber's tables (its TLBs: flushed too unless ev->flush_later), dirty was
	 * handed to mm, and none will be made before range_end.
	 * => sleeps only if ev->may_sleep
	 * Return 0, or -EAGAIN if !ev->may_sleep and it would have to sleep: then it is
	 * unchanged. */
	int (*invalidate_range_start)(struct mm_notifier *n, const struct mm_event *ev);
	void (*invalidate_range_end)(struct mm_notifier *n, const struct mm_event *ev);

	/* flush - make good the flushes that range_start left for later (rule 9). */
	void (*flush)(struct mm_notifier *n, struct mm *mm);
};

struct mm_notifier {
	const struct mm_notifier_ops *ops; /* [o] */
	struct list link;                  /* under all the mm's locks */
};

#define NOTIFIER_BUCKETS 16
#define NOTIFIER_BUCKET_SHIFT 21 /* 2 MiB of hva fall into one bucket */

/* Embedded in struct mm. */
struct notifier_head {
	struct list list;   /* subscribers */
	bool any;           /* [a] the one branch (N8) */
	bool any_pinning;
	struct {
		u32 open;     /* [a] the counter */
		u32 sequence; /* [a] */
	} bucket[NOTIFIER_BUCKETS];
};

void notifier_head_init(struct notifier_head *h);

/* notifier_add, notifier_remove - the lower half of mm_notifier_register/unregister.
 * => the mm is locked by mm_take_all_locks
 * Return 0; -EINVAL for a non-pinning one without invalidate_range_start, or if pinning and
 * non-pinning ones would mix.
 * notifier_remove is harmless on one that is not listed (any more). */
int must_check notifier_add(struct notifier_head *h, struct mm_notifier *n);
void notifier_remove(struct notifier_head *h, struct mm_notifier *n);

struct notifier_sample {
	u32 sequence;
	u32 bucket;
};

/* notifier_sample - before asking mm (rule 1). */
static inline struct notifier_sample notifier_sample(const struct notifier_head *h, u64 hva)
{
	u32 b = (hva >> NOTIFIER_BUCKET_SHIFT) % NOTIFIER_BUCKETS;
	return (struct notifier_sample){
		.sequence = __atomic_load_n(&h->bucket[b].sequence, __ATOMIC_ACQUIRE),
		.bucket = b,
	};
}

/* notifier_retry - may what was learned since @s not be written down? => the subscriber's lock,
 * which its range_start takes too. The counter is read first, then the sequence (rule 4). */
static inline bool notifier_retry(const struct notifier_head *h, struct notifier_sample s)
{
	if (__atomic_load_n(&h->bucket[s.bucket].open, __ATOMIC_ACQUIRE))
		return true;
	return __atomic_load_n(&h->bucket[s.bucket].sequence, __ATOMIC_ACQUIRE) != s.sequence;
}

/* notifier_is_open - is a bracket open in @s's bucket now? A hint: whether to wait before trying again. */
static inline bool notifier_is_open(const struct notifier_head *h, struct notifier_sample s)
{
	return __atomic_load_n(&h->bucket[s.bucket].open, __ATOMIC_RELAXED);
}

/* The calls that mm makes. Each costs one branch without a subscriber (N8). */
int must_check notifier_range_start_slow(struct notifier_head *h, struct mm_event *ev);
void notifier_range_end_slow(struct notifier_head *h, struct mm_event *ev);
int notifier_young_slow(struct notifier_head *h, struct mm *mm, u64 start, u64 end, int kind);
u32 notifier_clear_young_slow(struct notifier_head *h, struct mm *mm, const u64 *at, u32 nr);
void notifier_change_pte_slow(struct notifier_head *h, struct mm *mm, u64 addr, u64 pfn);
void notifier_invalidate_page_slow(struct notifier_head *h, struct mm *mm, u64 addr);
void notifier_flush_slow(struct notifier_head *h, struct mm *mm);

/* notifier_release - tell everybody that the mm ends, and forget them. => all the mm's locks */
void notifier_release(struct notifier_head *h, struct mm *mm);

/* notifier_can_change_pte - has every subscriber change_pte? Else a bracket is used (rule 16). */
bool notifier_can_change_pte(const struct notifier_head *h);

#ifndef NOTIFIER
#define NOTIFIER 1 /* NOTIFIER=0 on the command line compiles every call away (N8) */
#endif

static inline bool notifier_any(const struct notifier_head *h)
{
	return NOTIFIER && READ_ONCE(h->any);
}

static inline int must_check notifier_range_start(struct notifier_head *h, struct mm_event *ev)
{
	return notifier_any(h) ? notifier_range_start_slow(h, ev) : 0;
}

static inline void notifier_range_end(struct notifier_head *h, struct mm_event *ev)
{
	if (notifier_any(h))
		notifier_range_end_slow(h, ev);
}

enum { YOUNG_TEST, YOUNG_CLEAR_FLUSH };

static inline int notifier_young(struct notifier_head *h, struct mm *mm, u64 start, u64 end, int kind)
{
	return notifier_any(h) ? notifier_young_slow(h, mm, start, end, kind) : 0;
}

static inline u32 notifier_clear_young(struct notifier_head *h, struct mm *mm, const u64 *at, u32 nr)
{
	return notifier_any(h) ? notifier_clear_young_slow(h, mm, at, nr) : 0;
}

static inline void notifier_change_pte(struct notifier_head *h, struct mm *mm, u64 addr, u64 pfn)
{
	if (notifier_any(h))
		notifier_change_pte_slow(h, mm, addr, pfn);
}

static inline void notifier_invalidate_page(struct notifier_head *h, struct mm *mm, u64 addr)
{
	if (notifier_any(h) && h->any_pinning)
		notifier_invalidate_page_slow(h, mm, addr);
}

static inline void notifier_flush(struct notifier_head *h, struct mm *mm)
{
	if (notifier_any(h))
		notifier_flush_slow(h, mm);
}
