/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's own page tables, beyond the 4 GiB that are mapped one to one. */
#pragma once

#include "types.h"

#define PTE_P   (1ull << 0)
#define PTE_W   (1ull << 1)
#define PTE_U   (1ull << 2)
#define PTE_PCD (1ull << 4)
#define PTE_A   (1ull << 5)
#define PTE_D   (1ull << 6)
#define PTE_PS  (1ull << 7)
#define PTE_NX  (1ull << 63)

#define PTE_ADDRESS 0x000ffffffffff000ull

/* Where tests put their mappings: nothing is mapped from here to the end of the lower half. */
#define TEST_VA 0x1000000000ull

extern u64 guest_pml4[512];

/* pte_of - the entry that maps @va at @level (1: 4 KiB, 2: 2 MiB) below @pml4, the tables above it
 * made where they are missing: writable, user, never NX. */
volatile u64 *pte_of(u64 *pml4, u64 va, unsigned int level);

/* page_map - map one 4 KiB page and flush it; @bits are PTE_*, PTE_P included by the caller. */
volatile u64 *page_map(u64 va, u64 pa, u64 bits);
/* pte_write - change an entry and flush @va. */
void pte_write(volatile u64 *pte, u64 entry, u64 va);
/* table_alloc - a zeroed page. */
u64 *table_alloc(void);
