/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* Object caches: objects are zeroed, of one size, and their frames come back. */
#include "mm_host.h"

#include "mm/objcache.h"

static struct objcache cache;

static void objects_are_zeroed_and_do_not_overlap(void **state)
{
	u8 *object[300];
	u64 before = mm_host_free_frames();

	(void)state;
	for (u32 round = 0; round < 2; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(object); i++) {
			object[i] = objcache_alloc(&cache);
			assert_non_null(object[i]);
			assert_int_equal((u64)object[i] % 16, 0);
			for (u32 b = 0; b < 72; b++)
				assert_int_equal(object[i][b], 0);
			memset(object[i], i, 72);
		}
		for (u32 i = 0; i < ARRAY_SIZE(object); i++)
			assert_int_equal(object[i][71], (u8)i);
		assert_int_equal(cache.nr_used, ARRAY_SIZE(object));
		assert_int_equal(cache.nr_frames, (ARRAY_SIZE(object) + 49) / 50);
		for (u32 i = 0; i < ARRAY_SIZE(object); i++)
			objcache_free(&cache, object[(i * 7) % ARRAY_SIZE(object)]);
	}
	assert_int_equal(cache.nr_used, 0);
	assert_int_equal(cache.nr_frames, 0);
	assert_int_equal(mm_host_free_frames(), before);
}

static void freed_places_are_used_first(void **state)
{
	void *object[100];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(object); i++)
		object[i] = objcache_alloc(&cache);
	assert_int_equal(cache.nr_frames, 2); /* both full */
	for (u32 i = 0; i < ARRAY_SIZE(object); i += 3) {
		objcache_free(&cache, object[i]);
		object[i] = objcache_alloc(&cache);
		assert_int_equal(cache.nr_frames, 2);
	}
	for (u32 i = 0; i < ARRAY_SIZE(object); i++)
		objcache_free(&cache, object[i]);
}

static void random_order_leaks_nothing(void **state)
{
	static void *held[500];
	struct rng r = rng_seeded(5);
	u64 before = mm_host_free_frames();
	u32 nr = 0;

	(void)state;
	for (u32 step = 0; step < 20000; step++) {
		frame_fail_every(rng_percent(&r, 20) ? 1 : 0);
		if (nr < ARRAY_SIZE(held) && rng_percent(&r, 52)) {
			held[nr] = objcache_alloc(&cache);
			nr += held[nr] != NULL;
		} else if (nr) {
			u32 i = rng_below(&r, nr);
			objcache_free(&cache, held[i]);
			held[i] = held[--nr];
		}
		assert_int_equal(cache.nr_used, nr);
	}
	frame_fail_every(0);
	while (nr)
		objcache_free(&cache, held[--nr]);
	assert_int_equal(mm_host_free_frames(), before);
}

static void no_frame_no_object(void **state)
{
	(void)state;
	frame_fail_every(1);
	assert_null(objcache_alloc(&cache));
	frame_fail_every(0);
}

static void count_cache(struct objcache *c, void *ctx)
{
	*(u32 *)ctx += c == &cache;
}

static void every_cache_is_visited(void **state)
{
	u32 found = 0;

	(void)state;
	objcache_for_each(count_cache, &found);
	assert_int_equal(found, 1);
}

static void free_it(void *object)
{
	objcache_free(&cache, object);
}

static void alloc_one(void *ctx)
{
	(void)ctx;
	(void)objcache_alloc(&cache);
}

/* Last: the panic leaves the lock held. */
static void wrong_use_panics(void **state)
{
	u8 *keep = objcache_alloc(&cache), *object = objcache_alloc(&cache);
	struct objcache other;

	(void)state;
	objcache_init(&other, "other", 64);
	expect_panic("freed that is not its own", free_it, objcache_alloc(&other));
	objcache_free(&cache, object);
	object[20] = 1;
	expect_panic("was written after it was freed: 0x1 at 20", alloc_one, NULL);
	assert_int_equal(cache.nr_used, 2);
	objcache_free(&cache, object);
	(void)keep;
	expect_panic("freed twice", free_it, object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_zeroed_and_do_not_overlap),
		cmocka_unit_test(freed_places_are_used_first),
		cmocka_unit_test(random_order_leaks_nothing),
		cmocka_unit_test(no_frame_no_object),
		cmocka_unit_test(every_cache_is_visited),
		cmocka_unit_test(wrong_use_panics),
	};

	mm_host_start(MIB(4));
	objcache_init(&cache, "test", 72);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
