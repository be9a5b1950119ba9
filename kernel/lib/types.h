/* SPDX-License-Identifier: BSD-2-Clause */
/* Scalars and address types. Five kinds of address meet in a hypervisor, and mixing two of them is
 * the classic bug; here each is a struct of one field, so that mixing them does not compile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/compiler.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* gva: an address as a guest's program sees it. gpa, gfn: guest-physical address and its page
 * number. hva: an address in the VM's own struct mm, which is the lower half of the hypervisor's
 * address space while that VM's thread runs. hpa, pfn: what the memory bus sees, and its page
 * number. */
typedef struct { u64 v; } gva_t;
typedef struct { u64 v; } gpa_t;
typedef struct { u64 v; } gfn_t;
typedef struct { u64 v; } hva_t;
typedef struct { u64 v; } hpa_t;
typedef struct { u64 v; } pfn_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1ul << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

static inline gva_t gva(u64 v) { return (gva_t){v}; }
static inline gpa_t gpa(u64 v) { return (gpa_t){v}; }
static inline gfn_t gfn(u64 v) { return (gfn_t){v}; }
static inline hva_t hva(u64 v) { return (hva_t){v}; }
static inline hpa_t hpa(u64 v) { return (hpa_t){v}; }
static inline pfn_t pfn(u64 v) { return (pfn_t){v}; }

static inline gfn_t gpa_to_gfn(gpa_t a) { return gfn(a.v >> PAGE_SHIFT); }
static inline gpa_t gfn_to_gpa(gfn_t f) { return gpa(f.v << PAGE_SHIFT); }
static inline pfn_t hpa_to_pfn(hpa_t a) { return pfn(a.v >> PAGE_SHIFT); }
static inline hpa_t pfn_to_hpa(pfn_t f) { return hpa(f.v << PAGE_SHIFT); }

static inline u64 page_down(u64 v) { return v & PAGE_MASK; }
static inline u64 page_up(u64 v) { return (v + PAGE_SIZE - 1) & PAGE_MASK; }
static inline u64 page_offset(u64 v) { return v & (PAGE_SIZE - 1); }
