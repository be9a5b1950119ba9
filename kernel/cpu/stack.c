/* SPDX-License-Identifier: BSD-2-Clause */
/* Thread stacks: slots of a guard page and STACK_BYTES above it, one after the other, so that every
 * stack ends at a guard page on both sides. The lowest free slot is taken, so that the tables behind
 * stay few.
 *
 * Locking: host_pt_lock. A slot is marked free only after every CPU has forgotten its pages. */
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/spinlock.h"
#include "cpu/x86.h"
#include "lib/check.h"

#define STACK_PAGES (STACK_BYTES / PAGE_SIZE)
#define SLOT_BYTES  (STACK_BYTES + PAGE_SIZE)
#define NR_SLOTS    1024

static_assert(STACK_AREA + NR_SLOTS * SLOT_BYTES + PAGE_SIZE <= DEVICE_AREA, "room for all stacks");

static u64 slots_used[NR_SLOTS / 64]; /* [host_pt_lock] */

static u64 slot_bottom(u32 slot)
{
	return STACK_AREA + slot * SLOT_BYTES + PAGE_SIZE;
}

static bool slot_take(u32 *slot)
{
	for (u32 i = 0; i < ARRAY_SIZE(slots_used); i++) {
		if (~slots_used[i] == 0)
			continue;
		u32 bit = __builtin_ctzll(~slots_used[i]);

		slots_used[i] |= 1ull << bit;
		*slot = i * 64 + bit;
		return true;
	}
	return false;
}

static void slot_release(u32 slot)
{
	slots_used[slot / 64] &= ~(1ull << slot % 64);
}

/* Map @n pages of the slot, or none. Pages that nobody has touched since they were unmapped are in no
 * TLB: here nothing is flushed. */
static bool stack_map(u64 bottom)
{
	u32 n;

	for (n = 0; n < STACK_PAGES; n++) {
		u64 phys = host_page_get();

		if (!phys)
			break;
		if (host_pt_map(bottom + n * PAGE_SIZE, phys, ACC_R | ACC_W)) {
			host_page_put(phys);
			break;
		}
	}
	if (n == STACK_PAGES)
		return true;
	while (n-- > 0)
		host_page_put(host_pt_unmap(bottom + n * PAGE_SIZE));
	return false;
}

void *stack_alloc(void)
{
	void *top = NULL;
	u32 slot;

	spin_lock(&host_pt_lock);
	if (slot_take(&slot)) {
		if (stack_map(slot_bottom(slot)))
			top = (void *)(slot_bottom(slot) + STACK_BYTES);
		else
			slot_release(slot);
	}
	spin_unlock(&host_pt_lock);
	return top;
}

static void stack_forget(void *bottom)
{
	for (u32 i = 0; i < STACK_PAGES; i++)
		invlpg((u64)bottom + i * PAGE_SIZE);
}

void stack_free(void *top)
{
	u64 bottom = (u64)top - STACK_BYTES;
	u32 slot = (bottom - STACK_AREA) / SLOT_BYTES;
	u64 phys[STACK_PAGES];

	CHECK(bottom >= STACK_AREA && slot < NR_SLOTS && slot_bottom(slot) == bottom,
	      "%p is no stack", top);
	spin_lock(&host_pt_lock);
	for (u32 i = 0; i < STACK_PAGES; i++)
		phys[i] = host_pt_unmap(bottom + i * PAGE_SIZE);
	spin_unlock(&host_pt_lock);

	smp_call(cpu_online_mask(), stack_forget, (void *)bottom);

	spin_lock(&host_pt_lock);
	for (u32 i = 0; i < STACK_PAGES; i++)
		host_page_put(phys[i]);
	slot_release(slot);
	spin_unlock(&host_pt_lock);
}

bool stack_guard_hit(u64 va)
{
	if (va >= STACK_AREA && va < STACK_AREA + NR_SLOTS * SLOT_BYTES)
		return (va - STACK_AREA) % SLOT_BYTES < PAGE_SIZE;
	return va >= (u64)init_start && va < (u64)init_end;
}
