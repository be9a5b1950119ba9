/* SPDX-License-Identifier: BSD-2-Clause */
/* MMU notifiers: brackets, and telling subscribers.
 *
 * Order inside a bracket (notifier.h has the why):
 *
 *	range_start   counters up, then the callbacks: a subscriber that installs under its lock
 *	              either did so before its callback took that lock, and is zapped, or sees the
 *	              counter
 *	range_end     sequences up, counters down (I1), then the callbacks: who is woken by one and
 *	              looks again does not find the bracket still open
 *
 * Not here: the locks that keep the list still (mm_take_all_locks, in mm). */
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "notifier/notifier.h"

static_assert(NOTIFIER_BUCKETS <= 32, "a set of buckets is a u32");

void notifier_head_init(struct notifier_head *h)
{
	*h = (struct notifier_head){0};
	list_init(&h->list);
}

/* ---- subscribers ----------------------------------------------------------------------------- */

static void head_update(struct notifier_head *h)
{
	struct mm_notifier *n;
	bool any_pinning = false;

	list_for_each(n, &h->list, link)
		any_pinning |= n->ops->pinning;
	WRITE_ONCE(h->any_pinning, any_pinning);
	WRITE_ONCE(h->any, !list_empty(&h->list));
}

int notifier_add(struct notifier_head *h, struct mm_notifier *n)
{
	const struct mm_notifier_ops *ops = n->ops;

	if (!ops->pinning && !ops->invalidate_range_start)
		return trace(-EINVAL);
	if (!list_empty(&h->list) && h->any_pinning != ops->pinning)
		return trace(-EINVAL);
	list_add_tail(&h->list, &n->link);
	head_update(h);
	return 0;
}

void notifier_remove(struct notifier_head *h, struct mm_notifier *n)
{
	list_del(&n->link);
	head_update(h);
}

/* ---- brackets -------------------------------------------------------------------------------- */

/* bucket_set - the buckets that [@start, @end) falls into, each once however long the range is. */
static always_inline u32 bucket_set(u64 start, u64 end)
{
	u64 first = start >> NOTIFIER_BUCKET_SHIFT;
	u64 last = (end - 1) >> NOTIFIER_BUCKET_SHIFT;
	u32 set = 1u << first % NOTIFIER_BUCKETS;

	last = MIN(last, first + NOTIFIER_BUCKETS - 1);
	while (unlikely(first < last))
		set |= 1u << ++first % NOTIFIER_BUCKETS;
	return set;
}

static void buckets_open(struct notifier_head *h, const struct mm_event *ev)
{
	for (u32 set = bucket_set(ev->start, ev->end); set; set &= set - 1) {
		if (!mutant("no_open_count"))
			atomic_add(&h->bucket[__builtin_ctz(set)].open, 1);
	}
}

static void buckets_close(struct notifier_head *h, const struct mm_event *ev)
{
	for (u32 set = bucket_set(ev->start, ev->end); set; set &= set - 1) {
		u32 b = __builtin_ctz(set);

		if (!mutant("no_seq_bump"))
			atomic_add(&h->bucket[b].sequence, 1);
		if (!mutant("no_open_count")) {
			u32 open = atomic_sub(&h->bucket[b].open, 1);
			CHECK(open != ~0u, "bracket [%#lx, %#lx) ended twice", ev->start, ev->end);
		}
	}
}

/* tell_end - range_end to the subscribers before @stop (NULL: to all). */
static void tell_end(struct notifier_head *h, const struct mm_event *ev, struct mm_notifier *stop)
{
	struct mm_notifier *n;

	list_for_each(n, &h->list, link) {
		if (n == stop)
			break;
		if (n->ops->invalidate_range_end)
			n->ops->invalidate_range_end(n, ev);
	}
}

int notifier_range_start_slow(struct notifier_head *h, struct mm_event *ev)
{
	struct mm_notifier *n;

	ASSERT(ev->start < ev->end, "bracket [%#lx, %#lx)", ev->start, ev->end);
	ev->refused_by = NULL;
	buckets_open(h, ev);
	race_point("notifier.start");
	list_for_each(n, &h->list, link) {
		int err = 0;

		if (n->ops->invalidate_range_start)
			err = n->ops->invalidate_range_start(n, ev);
		if (likely(err == 0))
			continue;
		CHECK(err == -EAGAIN && !ev->may_sleep,
		      "%s refused a bracket that may sleep: error %d", n->ops->name, err);
		ev->refused_by = n;
		buckets_close(h, ev);
		tell_end(h, ev, mutant("refuser_gets_end") ? NULL : n);
		return err;
	}
	return 0;
}

void notifier_range_end_slow(struct notifier_head *h, struct mm_event *ev)
{
	race_point("notifier.end");
	buckets_close(h, ev);
	tell_end(h, ev, NULL);
}

/* ---- single calls ---------------------------------------------------------------------------- */

int notifier_young_slow(struct notifier_head *h, struct mm *mm, u64 start, u64 end, int kind)
{
	struct mm_notifier *n;
	int young = 0;

	list_for_each(n, &h->list, link) {
		const struct mm_notifier_ops *ops = n->ops;
		int (*ask)(struct mm_notifier *, struct mm *, u64, u64) =
			kind == YOUNG_TEST ? ops->test_young : ops->clear_flush_young;

		if (ask)
			young |= ask(n, mm, start, end);
		if (young && kind == YOUNG_TEST)
			break;
	}
	return young;
}

u32 notifier_clear_young_slow(struct notifier_head *h, struct mm *mm, const u64 *at, u32 nr)
{
	struct mm_notifier *n;
	u32 young = 0;

	ASSERT(nr <= 32, "a batch of %u pages", nr);
	list_for_each(n, &h->list, link) {
		if (n->ops->clear_young)
			young |= n->ops->clear_young(n, mm, at, nr);
	}
	return young;
}

void notifier_change_pte_slow(struct notifier_head *h, struct mm *mm, u64 addr, u64 pfn_now)
{
	struct mm_notifier *n;

	/* Who asked mm before the PTE changed must not write down the old frame afterwards. */
	atomic_add(&h->bucket[notifier_sample(h, addr).bucket].sequence, 1);
	list_for_each(n, &h->list, link)
		n->ops->change_pte(n, mm, addr, pfn_now);
}

bool notifier_can_change_pte(const struct notifier_head *h)
{
	const struct mm_notifier *n;

	list_for_each(n, &h->list, link) {
		if (!n->ops->change_pte)
			return false;
	}
	return true;
}

void notifier_invalidate_page_slow(struct notifier_head *h, struct mm *mm, u64 addr)
{
	struct mm_notifier *n;

	list_for_each(n, &h->list, link) {
		if (n->ops->invalidate_page)
			n->ops->invalidate_page(n, mm, addr);
	}
}

void notifier_flush_slow(struct notifier_head *h, struct mm *mm)
{
	struct mm_notifier *n;

	list_for_each(n, &h->list, link) {
		if (n->ops->flush)
			n->ops->flush(n, mm);
	}
}

void notifier_release(struct notifier_head *h, struct mm *mm)
{
	while (!list_empty(&h->list)) {
		struct mm_notifier *n = list_first(&h->list, struct mm_notifier, link);

		if (n->ops->release)
			n->ops->release(n, mm);
		notifier_remove(h, n);
	}
}
