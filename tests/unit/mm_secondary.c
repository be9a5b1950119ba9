/* SPDX-License-Identifier: BSD-2-Clause */
/* A secondary MMU that keeps the rules: a table hva -> frame, filled by faults that sample, ask and
 * look again, zapped by brackets. It has no TLB: who uses an entry holds the lock meanwhile. */
#include "mm_host.h"

#include "lib/mutant.h"
#include "mm/mm_internal.h"

static struct spte *spte_of(struct secondary *s, u64 at)
{
	u64 i = (at - s->base) >> PAGE_SHIFT;

	return i < SPTES ? &s->spte[i] : NULL;
}

/* spte_zap - dirty goes to mm (N4). => s->lock */
static void spte_zap(struct spte *spte)
{
	if (spte->present && spte->dirty)
		mm_mark_dirty(pfn(spte->pfn));
	*spte = (struct spte){0};
}

static int range_start(struct mm_notifier *n, const struct mm_event *ev)
{
	struct secondary *s = container_of(n, struct secondary, n);

	if (s->refuse && !ev->may_sleep)
		return -EAGAIN;
	spin_lock(&s->lock);
	s->starts++;
	s->open++;
	s->reason[ev->reason]++;
	for (u64 i = 0; i < SPTES; i++) {
		u64 at = s->base + (i << PAGE_SHIFT);
		if (at >= ev->start && at < ev->end)
			spte_zap(&s->spte[i]);
	}
	spin_unlock(&s->lock);
	return 0;
}

static void range_end(struct mm_notifier *n, const struct mm_event *ev)
{
	struct secondary *s = container_of(n, struct secondary, n);

	(void)ev;
	spin_lock(&s->lock);
	if (s->open-- == 0)
		mm_host_violation("I3: range_end without range_start");
	s->ends++;
	spin_unlock(&s->lock);
}

static u32 clear_young(struct mm_notifier *n, struct mm *mm, const u64 *at, u32 nr)
{
	struct secondary *s = container_of(n, struct secondary, n);
	u32 young = 0;

	(void)mm;
	spin_lock(&s->lock);
	for (u32 i = 0; i < nr; i++) {
		struct spte *spte = spte_of(s, at[i]);

		young |= (u32)(spte && spte->young) << i;
		if (spte)
			spte->young = false;
	}
	spin_unlock(&s->lock);
	return young;
}

static void release(struct mm_notifier *n, struct mm *mm)
{
	struct secondary *s = container_of(n, struct secondary, n);

	(void)mm;
	spin_lock(&s->lock);
	s->released++;
	for (u64 i = 0; i < SPTES; i++)
		spte_zap(&s->spte[i]);
	spin_unlock(&s->lock);
}

static const struct mm_notifier_ops secondary_ops = {
	.name = "secondary",
	.release = release,
	.clear_young = clear_young,
	.invalidate_range_start = range_start,
	.invalidate_range_end = range_end,
};

void secondary_init(struct secondary *s, struct mm *mm, u64 base)
{
	*s = (struct secondary){.n.ops = &secondary_ops, .mm = mm, .base = base};
	spin_init(&s->lock, RANK_MMU);
	assert_int_equal(mm_notifier_register(mm, &s->n), 0);
}

int secondary_fault(struct secondary *s, u64 at, unsigned int acc)
{
	struct spte *spte = spte_of(s, at);
	bool again;

	if (!spte)
		return -EFAULT;
	do {
		struct notifier_sample sample = notifier_sample(&s->mm->notifiers, at); /* rule 1 */
		struct mm_page page;
		int err = mm_gup(s->mm, hva(at), acc, &page);

		if (err)
			return err;
		race_point("secondary.before_install");
		spin_lock(&s->lock);
		again = notifier_retry(&s->mm->notifiers, sample); /* rule 4 */
		if (again) {
			s->retries++;
		} else {
			spte_zap(spte);
			*spte = (struct spte){
				.pfn = page.pfn.v,
				.present = true,
				.writable = page.writable,
				.young = true,
			};
		}
		spin_unlock(&s->lock);
		page_put(page.page);
		if (again)
			cpu_relax();
	} while (again);
	return 0;
}

/* access_once - false: fault first. The lock makes flushes of its TLB unnecessary: it has none. */
static bool access_once(struct secondary *s, u64 at, bool write, u64 *value)
{
	struct spte *spte = spte_of(s, at);
	bool ok;

	spin_lock(&s->lock);
	ok = spte && spte->present && (spte->writable || !write);
	if (ok) {
		u64 *word = host_virt((spte->pfn << PAGE_SHIFT) + page_offset(at));

		spte->young = true;
		spte->dirty |= write;
		if (write)
			atomic_store(word, *value);
		else
			*value = atomic_load(word);
	}
	spin_unlock(&s->lock);
	return ok;
}

int secondary_load(struct secondary *s, u64 at, u64 *value)
{
	int err = 0;

	while (!err && !access_once(s, at, false, value))
		err = secondary_fault(s, at, ACC_R);
	return err;
}

int secondary_store(struct secondary *s, u64 at, u64 value)
{
	int err = 0;

	while (!err && !access_once(s, at, true, &value))
		err = secondary_fault(s, at, ACC_W);
	return err;
}

void secondary_check(struct secondary *s)
{
	if (s->starts != s->ends || s->open)
		mm_host_violation("rule 8: %u brackets opened, %u closed", s->starts, s->ends);
	for (u64 i = 0; i < SPTES; i++) {
		const struct spte *spte = &s->spte[i];
		u64 at = s->base + (i << PAGE_SHIFT);
		const u64 *entry = mm_entry(s->mm, at);
		pte_t pte = {entry ? atomic_load(entry) : 0};

		if (!spte->present)
			continue;
		if (!pte_present(pte) || pte_pfn(pte).v != spte->pfn)
			mm_host_violation("N1: hva %#lx: spte has frame %#lx, pte is %#lx", at,
					  spte->pfn, pte.v);
		else if (spte->writable && !pte_writable(pte))
			mm_host_violation("N2: hva %#lx: spte writable, pte %#lx", at, pte.v);
	}
}
