/* SPDX-License-Identifier: BSD-2-Clause */
/* The oracle's part of the frame allocator: epochs, junk, failures on demand.
 *
 * A frame's epoch rises when it is given out and when it is freed, so it is odd while somebody has
 * it; who remembers a frame with its epoch can tell whether it is still the same one. A freed frame
 * is filled with junk; if the junk is not whole when the frame is given out again, somebody wrote
 * through a translation or pointer that he should have forgotten (N3, N7). */
#include "cpu/memory.h"
#include "lib/check.h"
#include "mm/mm_internal.h"

#define JUNK      0x6b6b6b6b6b6b6b6bull
#define PAGE_U64S (PAGE_SIZE / sizeof(u64))

static u32 *epochs; /* [o] the array; [a] its elements */

static unsigned int fail_every, fail_count; /* [a] */

void frame_debug_init(void)
{
	u64 pages = page_up(page_array_nr * sizeof(u32)) >> PAGE_SHIFT;

	epochs = phys_to_virt(memory_boot_pages(pages));
}

u32 frame_epoch(const struct page *p)
{
	return NEAP_DEBUG ? atomic_load(&epochs[p - page_array]) : 0;
}

/* junk_check - a frame that was never freed (epoch 0) holds what boot left in it. */
static void junk_check(const struct page *p)
{
	const u64 *word = page_to_virt(p);

	for (u32 i = 0; i < PAGE_U64S; i++)
		CHECK(word[i] == JUNK,
		      "frame %#lx was written after it was freed: %#lx at %#lx, epoch %u",
		      page_to_pfn(p).v, word[i], i * sizeof(u64), frame_epoch(p));
}

void frame_debug_alloc(struct page *p, unsigned int order)
{
	for (u32 i = 0; i < 1u << order; i++) {
		u32 *epoch = &epochs[p + i - page_array];

		CHECK(*epoch % 2 == 0, "frame %#lx given out twice, epoch %u", page_to_pfn(p + i).v,
		      *epoch);
		if (*epoch)
			junk_check(p + i);
		atomic_store(epoch, *epoch + 1);
	}
}

void frame_debug_free(struct page *p, unsigned int order)
{
	for (u32 i = 0; i < 1u << order; i++) {
		u32 *epoch = &epochs[p + i - page_array];
		u64 *word = page_to_virt(p + i);

		CHECK(*epoch % 2 == 1, "frame %#lx freed but not given out, epoch %u",
		      page_to_pfn(p + i).v, *epoch);
		for (u32 j = 0; j < PAGE_U64S; j++)
			word[j] = JUNK;
		atomic_store(epoch, *epoch + 1);
	}
}

void frame_fail_every(unsigned int k)
{
	atomic_store(&fail_count, 0);
	atomic_store(&fail_every, k);
}

bool frame_debug_should_fail(void)
{
	unsigned int k = atomic_load_relaxed(&fail_every);

	return k && atomic_add(&fail_count, 1) % k == 0;
}
