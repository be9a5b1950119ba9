/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* Frames: buddy, caches, watermarks, owners, and panics for who gives back what is not his. */
#include "mm_host.h"

#include "cpu/memory.h"
#include "lib/atomic.h"
#include "mm/mm_internal.h"

#define RAM   MIB(16)
#define BATCH 2048

static int check_clean(void **state)
{
	(void)state;
	assert_int_equal(frame_audit(mm_host_report), 0);
	return 0;
}

static void zeroed_frames_are_zero_and_distinct(void **state)
{
	static struct page *p[200];
	u64 before = mm_host_free_frames();

	(void)state;
	for (u32 round = 0; round < 2; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = frame_alloc(FRAME_GUEST, FRAME_ZERO);
			assert_non_null(p[i]);
			u64 *word = page_to_virt(p[i]);
			for (u32 w = 0; w < 512; w++)
				assert_int_equal(word[w], 0);
			word[0] = i + 1;
		}
		for (u32 i = 0; i < ARRAY_SIZE(p); i++)
			assert_int_equal(*(u64 *)page_to_virt(p[i]), i + 1);
		for (u32 i = 0; i < ARRAY_SIZE(p); i++)
			frame_free(p[i], 0);
	}
	assert_int_equal(mm_host_free_frames(), before);
}

static void blocks_are_aligned_and_merge_again(void **state)
{
	(void)state;
	for (unsigned int order = 0; order <= FRAME_MAX_ORDER; order++) {
		struct page *p = frame_alloc_order(FRAME_DMA, order, 0);
		assert_non_null(p);
		assert_int_equal(page_to_pfn(p).v & ((1u << order) - 1), 0);
		assert_int_equal(frame_owner(p + (1 << order) - 1), FRAME_DMA);
		assert_int_equal(frame_audit(mm_host_report), 0);
		frame_free(p, order);
	}
	frame_drain();
	/* RAM is 16 MiB from 1 MiB on, less what boot took: 2 blocks of 4 MiB are whole. */
	struct page *a = frame_alloc_order(FRAME_DMA, FRAME_MAX_ORDER, 0);
	struct page *b = frame_alloc_order(FRAME_DMA, FRAME_MAX_ORDER, 0);
	assert_non_null(a);
	assert_non_null(b);
	frame_free(a, FRAME_MAX_ORDER);
	frame_free(b, FRAME_MAX_ORDER);
}

static void random_blocks_keep_the_lists_whole(void **state)
{
	static struct { struct page *p; unsigned int order; } held[BATCH];
	struct rng r = rng_seeded(11);
	u64 before = mm_host_free_frames();
	u32 nr = 0;

	(void)state;
	for (u32 step = 0; step < 20000; step++) {
		mm_host_cpu(rng_below(&r, MM_HOST_CPUS));
		if (nr < BATCH && rng_percent(&r, 55)) {
			held[nr].order = rng_percent(&r, 80) ? 0 : rng_below(&r, 6);
			held[nr].p = frame_alloc_order(FRAME_KERNEL, held[nr].order, 0);
			if (held[nr].p)
				nr++;
		} else if (nr) {
			u32 i = rng_below(&r, nr);
			frame_free(held[i].p, held[i].order);
			held[i] = held[--nr];
		}
		if (step % 1000 == 0)
			assert_int_equal(frame_audit(mm_host_report), 0);
	}
	while (nr--)
		frame_free(held[nr].p, held[nr].order);
	for (u32 i = MM_HOST_CPUS; i-- > 0;) {
		mm_host_cpu(i);
		frame_drain();
	}
	assert_int_equal(mm_host_free_frames(), before);
}

/* ---- watermarks ------------------------------------------------------------------------------ */

static struct page *hoard[RAM / PAGE_SIZE];
static u32 nr_hoard, woken, asked;

static void wake(void)
{
	woken++;
}

static u64 give_three_then_none(void)
{
	if (asked++)
		return 0;
	for (u32 i = 0; i < 3; i++)
		frame_free(hoard[--nr_hoard], 0);
	frame_drain();
	return 3;
}

static void hoard_all(unsigned int flags)
{
	struct page *p;

	while ((p = frame_alloc(FRAME_KERNEL, flags)))
		hoard[nr_hoard++] = p;
}

static void free_hoard(void)
{
	while (nr_hoard)
		frame_free(hoard[--nr_hoard], 0);
	frame_drain();
}

static void marks_stop_all_but_the_reserve(void **state)
{
	static const struct frame_reclaimer reclaimer = {
		.wake = wake,
		.direct = give_three_then_none,
	};
	struct frame_stats s;
	u32 direct;

	(void)state;
	frame_set_reclaimer(&reclaimer);
	hoard_all(FRAME_NOWAIT);
	frame_stats(&s);
	assert_int_equal(s.free, s.min);
	assert_int_equal(s.low_water, s.min);
	assert_true(woken > 0);
	assert_int_equal(asked, 0);
	assert_null(frame_alloc_order(FRAME_KERNEL, 3, FRAME_NOWAIT));

	/* A caller that may wait reclaims, takes what came, and gives up when nothing comes. */
	direct = nr_hoard;
	hoard_all(0);
	assert_int_equal(nr_hoard, direct);
	assert_int_equal(asked, 2);

	hoard_all(FRAME_RESERVE);
	frame_stats(&s);
	assert_int_equal(s.free, 0);
	frame_set_reclaimer(NULL);
	free_hoard();
}

static void every_third_allocation_can_fail(void **state)
{
	(void)state;
	frame_fail_every(3);
	for (u32 i = 1; i <= 9; i++) {
		struct page *p = frame_alloc(FRAME_KERNEL, 0);
		assert_int_equal(p == NULL, i % 3 == 0);
		if (p)
			frame_free(p, 0);
	}
	frame_fail_every(0);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void owners_are_counted(void **state)
{
	struct frame_stats a, b;
	u64 sum = 0;

	(void)state;
	frame_stats(&a);
	struct page *p = frame_alloc(FRAME_SPTABLE, 0);
	struct page *q = frame_alloc_order(FRAME_DMA, 3, 0);
	frame_stats(&b);
	assert_int_equal(b.by_owner[FRAME_SPTABLE], a.by_owner[FRAME_SPTABLE] + 1);
	assert_int_equal(b.by_owner[FRAME_DMA], a.by_owner[FRAME_DMA] + 8);
	for (u32 i = 0; i < FRAME_OWNERS; i++)
		sum += b.by_owner[i];
	assert_int_equal(sum, b.total);

	/* Another CPU may give back what this one took. */
	mm_host_cpu(1);
	frame_free(p, 0);
	frame_free(q, 3);
	mm_host_cpu(0);
	frame_stats(&b);
	assert_memory_equal(a.by_owner, b.by_owner, sizeof(a.by_owner));
}

static void epochs_tell_one_use_from_the_next(void **state)
{
	struct page *p = frame_alloc(FRAME_KERNEL, 0);
	u32 epoch = frame_epoch(p);

	(void)state;
	assert_int_equal(epoch % 2, 1);
	frame_free(p, 0);
	assert_int_equal(frame_epoch(p), epoch + 1);
	assert_ptr_equal(frame_alloc(FRAME_KERNEL, 0), p);
	assert_int_equal(frame_epoch(p), epoch + 2);
	frame_free(p, 0);
}

/* A module lies in what boot kept back; the fake machine has its first pages there. */
static void modules_come_to_the_allocator_when_consumed(void **state)
{
	u64 at = kernel_pt.root;
	struct frame_stats a, b;

	(void)state;
	frame_stats(&a);
	frame_reserve_range(at, at + 1, FRAME_MODULE);
	frame_stats(&b);
	assert_int_equal(b.by_owner[FRAME_MODULE], a.by_owner[FRAME_MODULE] + 1);
	assert_int_equal(b.by_owner[FRAME_KERNEL], a.by_owner[FRAME_KERNEL] - 1);
	frame_add(at + 1, at + PAGE_SIZE); /* less than a page: nothing */
	frame_stats(&b);
	assert_int_equal(b.free, a.free);
	frame_add(at, at + PAGE_SIZE);
	frame_stats(&b);
	assert_int_equal(b.free, a.free + 1);
	assert_int_equal(b.by_owner[FRAME_MODULE], 0);
}

/* ---- panics ---------------------------------------------------------------------------------- */

static void free_it(void *p)
{
	frame_free(p, 0);
}

static void put_it(void *p)
{
	page_put(p);
}

static void wrong_frees_panic(void **state)
{
	struct page *p = frame_alloc(FRAME_KERNEL, 0);

	(void)state;
	page_get(p);
	expect_panic("freed with refcount 2", free_it, p);
	page_put(p);
	p->mapcount = 1;
	expect_panic("freed with mapcount 1", free_it, p);
	p->mapcount = 0;
	frame_free(p, 0);
	expect_panic("is not given out", free_it, p);
	frame_drain();
	expect_panic("is not given out", free_it, p);
	expect_panic("is not given out", free_it, &page_array[0]);
	expect_panic("a reference dropped that nobody had", put_it, p);
	p->refcount = 0;
}

static void add_it(void *p)
{
	frame_add(page_to_phys(p), page_to_phys(p) + PAGE_SIZE);
}

/* The panic leaves the frame lock held, so this test lets go of it. */
static void given_twice_panics(void **state)
{
	struct page *p = frame_alloc_order(FRAME_KERNEL, 1, 0);

	(void)state;
	expect_panic("given to the allocator twice", add_it, p);
	host_cpu->nr_ranks = host_cpu->preempt_count = 0;
}

static void *drop_soon(void *p)
{
	mm_host_cpu(3);
	for (volatile u32 i = 0; i < 100000; i++)
		;
	page_put(p);
	return NULL;
}

/* I3: a gup that came too late holds the frame for a moment; freeing waits. */
static void free_waits_for_a_late_gup(void **state)
{
	struct page *p = frame_alloc(FRAME_TABLE, 0);
	pthread_t t;

	(void)state;
	assert_true(page_get_unless_zero(p));
	assert_int_equal(pthread_create(&t, NULL, drop_soon, p), 0);
	frame_free(p, 0);
	pthread_join(t, NULL);
	assert_int_equal(p->refcount, 0);
	assert_false(page_get_unless_zero(p));
}

static void alloc_one(void *ctx)
{
	(void)ctx;
	(void)frame_alloc(FRAME_KERNEL, 0);
}

/* Last: the frame is lost. */
static void a_write_after_free_is_noticed(void **state)
{
	struct page *p = frame_alloc(FRAME_KERNEL, 0);
	u64 *word = page_to_virt(p);

	(void)state;
	frame_free(p, 0);
	word[77] = 42;
	expect_panic("was written after it was freed: 0x2a at 0x268", alloc_one, NULL);
}

#define clean_test(f) cmocka_unit_test_teardown(f, check_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		clean_test(zeroed_frames_are_zero_and_distinct),
		clean_test(blocks_are_aligned_and_merge_again),
		clean_test(random_blocks_keep_the_lists_whole),
		clean_test(marks_stop_all_but_the_reserve),
		clean_test(every_third_allocation_can_fail),
		clean_test(owners_are_counted),
		clean_test(epochs_tell_one_use_from_the_next),
		clean_test(modules_come_to_the_allocator_when_consumed),
		clean_test(wrong_frees_panic),
		clean_test(free_waits_for_a_late_gup),
		cmocka_unit_test(a_write_after_free_is_noticed),
		cmocka_unit_test(given_twice_panics),
	};

	mm_host_start(RAM);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
