/* SPDX-License-Identifier: BSD-2-Clause */
/* Walking and growing the guest's own page tables. See paging.h. */
#include "paging.h"

#include "guest.h"
#include "x86.h"

u64 *table_alloc(void)
{
	u64 *t = ram_alloc(PAGE_SIZE, PAGE_SIZE);

	memset(t, 0, PAGE_SIZE);
	return t;
}

volatile u64 *pte_of(u64 *pml4, u64 va, unsigned int level)
{
	volatile u64 *table = pml4;

	for (unsigned int l = 4;; l--) {
		volatile u64 *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (l == level)
			return e;
		if (!(*e & PTE_P))
			*e = (u64)table_alloc() | PTE_P | PTE_W | PTE_U;
		table = (volatile u64 *)(*e & PTE_ADDRESS);
	}
}

void pte_write(volatile u64 *pte, u64 entry, u64 va)
{
	*pte = entry;
	invlpg((void *)va);
}

volatile u64 *page_map(u64 va, u64 pa, u64 bits)
{
	volatile u64 *pte = pte_of(guest_pml4, va, 1);

	pte_write(pte, pa | bits, va);
	return pte;
}
