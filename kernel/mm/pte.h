/* SPDX-License-Identifier: BSD-2-Clause */
/* The primary page-table entry: an x86-64 PTE while present, and what mm keeps in it when not.
 *
 *	63  62..52  51..12   11..9  8 7  6 5  4..3 2 1 0
 *	NX  -       frame    soft   G -  D A  -    U W P=1     present
 *	-   -       swap slot + 1                      P=0     swapped (0: nothing was ever here)
 *
 * Every primary PTE is a supervisor page (U = 0): guests never run on this table (N11). */
#pragma once

#include "lib/types.h"
#include "mm/slot.h"

typedef struct { u64 v; } pte_t;

#define PTE_P    (1ul << 0)
#define PTE_W    (1ul << 1)
#define PTE_A    (1ul << 5)
#define PTE_D    (1ul << 6)
#define PTE_PS   (1ul << 7) /* above level 1: a large leaf, which the primary table has none of */
#define PTE_ZERO (1ul << 9) /* soft: maps the zero page; not counted, no rmap */
#define PTE_SEEN (1ul << 10) /* soft: PTE_A was cleared without a flush */
#define PTE_IN_TLB (PTE_A | PTE_SEEN) /* none of them: the processor has not cached it */
#define PTE_NX   (1ul << 63)
#define PTE_ADDR 0x000ffffffffff000ul

static inline bool pte_present(pte_t p) { return p.v & PTE_P; }
static inline bool pte_none(pte_t p) { return p.v == 0; }
static inline bool pte_writable(pte_t p) { return p.v & PTE_W; }
static inline bool pte_is_zero(pte_t p) { return p.v & PTE_ZERO; }
static inline bool pte_is_swap(pte_t p) { return p.v && !(p.v & PTE_P); }
static inline slot_t pte_slot(pte_t p) { return (slot_t){(u32)((p.v >> PAGE_SHIFT) - 1)}; }
static inline pte_t pte_of_slot(slot_t s) { return (pte_t){((u64)s.v + 1) << PAGE_SHIFT}; }
static inline pfn_t pte_pfn(pte_t p) { return pfn((p.v & PTE_ADDR) >> PAGE_SHIFT); }
