/* SPDX-License-Identifier: BSD-2-Clause */
/* gup: a reference on the page behind an hva.
 *
 * Without locks a PTE may change between reading it and taking the reference; so it is read again
 * (rule 3). If the frame went meanwhile the reference was either refused (refcount 0) or is
 * on a frame that now belongs to somebody else; that one is dropped at once. Preemption is off as
 * long as such a reference is held, because who frees a frame waits for it (I3 of frame.c). */
#include "lib/errno.h"
#include "lib/mutant.h"
#include "mm/mm_internal.h"

/* What must be equal in both looks; the processor may set A and D between. */
#define PTE_SAME (PTE_ADDR | PTE_P | PTE_W | PTE_ZERO)

/* page_try_get - => @pte was read from @entry and is present */
static always_inline bool page_try_get(const u64 *entry, pte_t pte, struct mm_page *out)
{
	struct page *p = pfn_to_page(pte_pfn(pte));
	bool got;

	preempt_disable();
	race_point("gup.before_get");
	got = page_get_unless_zero(p);
	if (likely(got)) {
		race_point("gup.after_get");
		if (unlikely((pte_read(entry).v ^ pte.v) & PTE_SAME) && !mutant("gup_no_recheck")) {
			page_put(p);
			got = false;
		}
	}
	preempt_enable();
	*out = (struct mm_page){.page = p, .pfn = pte_pfn(pte), .writable = pte_writable(pte)};
	return got;
}

bool mm_gup_fast(struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out)
{
	const u64 *entry = mm_entry(mm, at.v);

	if (unlikely(!entry))
		return false;
	pte_t pte = pte_read(entry);
	return pte_allows(pte, acc) && page_try_get(entry, pte, out);
}

int mm_gup(struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out)
{
	u64 *entry = mm_entry(mm, at.v);

	if (likely(entry)) {
		pte_t pte = pte_read(entry);
		if (pte_allows(pte, acc) && page_try_get(entry, pte, out))
			return 0;
	}
	return fault_in(mm, entry, page_down(at.v), acc, out);
}
