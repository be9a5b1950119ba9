/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: tests/unit/softmmu.c */
/* The soft MMU itself: sets A and D where and when a processor does, keeps stale translations until
 * told, and loses no dirty bit to another CPU that exchanges the entry. Tables are built by hand:
 * nothing of the walker under test helps. */
#include "host.h"

#include "softmmu.h"
#include "lib/atomic.h"

#define A  0x20ull
#define D  0x40ull
#define NX (1ull << 63)

/* The address with index 1, 2, 3, 4 from the top. */
#define VA 0x8080604000ull

/* A 4-level tree for VA, and two data pages. */
struct tree {
	struct softmmu mmu;
	u64 table[5]; /* [level] */
	u64 *entry[5];
	u64 page, other;
};

static void tree_init(struct tree *t, enum softmmu_kind kind)
{
	for (int level = 1; level <= 4; level++) {
		t->table[level] = host_page_get();
		t->entry[level] = (u64 *)host_virt(t->table[level]) + (5 - level);
	}
	t->page = host_page_get();
	t->other = host_page_get();
	for (int level = 4; level > 1; level--)
		*t->entry[level] = t->table[level - 1] | 7;
	*t->entry[1] = t->page | 7;
	softmmu_init(&t->mmu, kind, t->table[4]);
}

static void tree_destroy(struct tree *t)
{
	softmmu_destroy(&t->mmu);
	for (int level = 1; level <= 4; level++)
		host_page_put(t->table[level]);
	host_page_put(t->page);
	host_page_put(t->other);
	assert_int_equal(host_pages_in_use(), 0);
}

static void access_ok(struct tree *t, u64 va, unsigned int access, u64 want)
{
	u64 pa = 0;
	u32 pfec = 0;

	assert_int_equal(softmmu_access(&t->mmu, va, access, &pa, &pfec), 0);
	assert_true(pa == want);
}

static u32 access_fault(struct tree *t, u64 va, unsigned int access)
{
	u64 pa;
	u32 pfec = ~0u;

	assert_int_equal(softmmu_access(&t->mmu, va, access, &pa, &pfec), -EFAULT);
	return pfec;
}

static void accessed_and_dirty(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	access_ok(&t, VA + 8, ACC_R, t.page + 8);
	for (int level = 4; level >= 1; level--)
		assert_true((*t.entry[level] & (A | D)) == A);
	/* The cached translation was not dirty: a write goes back to the table. */
	access_ok(&t, VA, ACC_W, t.page);
	assert_true((*t.entry[1] & (A | D)) == (A | D));
	for (int level = 4; level > 1; level--)
		assert_false(*t.entry[level] & D);
	tree_destroy(&t);
}

static void faults_mark_nothing(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	*t.entry[1] = t.page | 1 | NX;
	assert_int_equal(access_fault(&t, VA, ACC_W), PFEC_P | PFEC_W);
	assert_int_equal(access_fault(&t, VA, ACC_X), PFEC_P | PFEC_I);
	assert_int_equal(access_fault(&t, VA, ACC_R | ACC_U), PFEC_P | PFEC_U);
	*t.entry[1] = 0;
	assert_int_equal(access_fault(&t, VA, ACC_W), PFEC_W);
	for (int level = 4; level >= 1; level--)
		assert_false(*t.entry[level] & (A | D));
	assert_false(softmmu_holds(&t.mmu, VA));
	tree_destroy(&t);
}

static void stale_until_flushed(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	access_ok(&t, VA, ACC_W, t.page);
	*t.entry[1] = 0;
	access_ok(&t, VA, ACC_W, t.page); /* the processor has not heard of it */
	assert_true(softmmu_reaches(&t.mmu, t.page + 4095));
	assert_false(softmmu_reaches(&t.mmu, t.other));
	softmmu_flush_page(&t.mmu, VA + PAGE_SIZE);
	access_ok(&t, VA, ACC_R, t.page);
	softmmu_flush_page(&t.mmu, VA + 77);
	assert_false(softmmu_reaches(&t.mmu, t.page));
	assert_int_equal(access_fault(&t, VA, ACC_R), 0);

	*t.entry[1] = t.other | 7;
	access_ok(&t, VA, ACC_R, t.other); /* not present is never cached */
	*t.entry[1] = t.page | 7;
	access_ok(&t, VA, ACC_R, t.other);
	softmmu_flush(&t.mmu);
	access_ok(&t, VA, ACC_R, t.page);
	*t.entry[1] = t.other | 7;
	softmmu_set_root(&t.mmu, t.table[4]);
	access_ok(&t, VA, ACC_R, t.other);
	tree_destroy(&t);
}

/* More rights than the TLB remembers are found without a flush; fewer are not. */
static void rights_widen_by_themselves(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	*t.entry[1] = t.page | 1;
	access_ok(&t, VA, ACC_R, t.page);
	*t.entry[1] |= 2;
	access_ok(&t, VA, ACC_W, t.page);
	*t.entry[1] &= ~2ull;
	access_ok(&t, VA, ACC_W, t.page);
	softmmu_flush(&t.mmu);
	assert_int_equal(access_fault(&t, VA, ACC_W), PFEC_P | PFEC_W);
	/* Write-protected while cached clean: the way to D goes by the table, which says no. */
	*t.entry[1] = t.page | 3;
	access_ok(&t, VA, ACC_R, t.page);
	*t.entry[1] = t.page | 1;
	assert_int_equal(access_fault(&t, VA, ACC_W), PFEC_P | PFEC_W);
	tree_destroy(&t);
}

static void nested_accesses_are_user_accesses(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_NPT);
	access_ok(&t, VA, ACC_R, t.page);
	softmmu_flush(&t.mmu);
	*t.entry[2] &= ~4ull;
	assert_int_equal(access_fault(&t, VA, ACC_R), PFEC_P | PFEC_U);
	tree_destroy(&t);
}

static void large_pages(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	*t.entry[2] = 0x40000000 | 0x87;
	access_ok(&t, VA, ACC_W, 0x40000000 + (VA & 0x1fffff));
	assert_true((*t.entry[2] & (A | D)) == (A | D));
	*t.entry[2] = t.table[1] | 7;
	/* One TLB entry is for all of it. */
	access_ok(&t, VA + 0x1000, ACC_R, 0x40000000 + (VA & 0x1fffff) + 0x1000);
	softmmu_flush_page(&t.mmu, VA + 0x10000);
	access_ok(&t, VA, ACC_R, t.page);
	*t.entry[3] = 0x80000000 | 0x87;
	softmmu_flush(&t.mmu);
	access_ok(&t, VA, ACC_R, 0x80000000 + (VA & 0x3fffffff));
	assert_true((*t.entry[3] & (A | D)) == A);
	tree_destroy(&t);
}

static void loads_and_stores(void **state)
{
	struct tree t;
	u64 value = 0;
	u32 pfec;

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	assert_int_equal(softmmu_store(&t.mmu, VA + 16, 0, 0x1122334455667788, &pfec), 0);
	assert_true(((u64 *)host_virt(t.page))[2] == 0x1122334455667788);
	assert_int_equal(softmmu_load(&t.mmu, VA + 16, ACC_U, &value, &pfec), 0);
	assert_true(value == 0x1122334455667788);
	*t.entry[1] = 0x10000000000 | 7; /* outside of memory */
	softmmu_flush(&t.mmu);
	assert_int_equal(softmmu_store(&t.mmu, VA, 0, 1, &pfec), 0);
	assert_int_equal(softmmu_load(&t.mmu, VA, 0, &value, &pfec), 0);
	assert_true(value == ~0ull);
	tree_destroy(&t);
}

/* The TLB holds any number of pages, through drops and flushes. */
static void tlb_forgets_nothing(void **state)
{
	struct tree t;
	struct rng rng = rng_seeded(1);
	bool cached[512] = {false};

	(void)state;
	tree_init(&t, SOFTMMU_HOST);
	u64 base = VA & ~0x1fffffull;
	u64 *table = host_virt(t.table[1]);
	for (int step = 0; step < 50000; step++) {
		u64 i = rng_below(&rng, 512);
		switch (rng_below(&rng, 8)) {
		case 0:
			softmmu_flush_page(&t.mmu, base + i * PAGE_SIZE);
			cached[i] = false;
			break;
		case 1:
			if (rng_percent(&rng, 1)) {
				softmmu_flush(&t.mmu);
				memset(cached, 0, sizeof(cached));
			}
			break;
		default:
			table[i] = 0x40000000 + i * PAGE_SIZE + 7;
			access_ok(&t, base + i * PAGE_SIZE, ACC_R, 0x40000000 + i * PAGE_SIZE);
			table[i] = 0;
			cached[i] = true;
		}
		i = rng_below(&rng, 512);
		assert_int_equal(softmmu_holds(&t.mmu, base + i * PAGE_SIZE), cached[i]);
		assert_int_equal(softmmu_reaches(&t.mmu, 0x40000000 + i * PAGE_SIZE), cached[i]);
	}
	assert_true(t.mmu.tlb_slots <= 4096);
	tree_destroy(&t);
}

/* One thread writes through the MMU, another takes the entry away by exchange: the value that comes
 * out, or the one after the flush, knows of each write that landed (rule 7 of the protocol). */
#define ROUNDS 3000

struct race_run {
	struct tree t;
	int stop;
	u64 written; /* the last value stored */
};

static void *writer(void *arg)
{
	struct race_run *r = arg;
	u64 value = 0;
	u32 pfec;

	while (!atomic_load(&r->stop)) {
		if (softmmu_store(&r->t.mmu, VA, 0, value + 1, &pfec) == 0)
			atomic_store(&r->written, ++value);
		else
			sched_yield();
	}
	return NULL;
}

static void no_dirty_bit_is_lost(void **state)
{
	struct race_run r = {.stop = 0};
	u64 *data, seen = 0, rounds_dirty = 0;
	pthread_t thread;

	(void)state;
	tree_init(&r.t, SOFTMMU_HOST);
	data = host_virt(r.t.page);
	*r.t.entry[1] = 0;
	assert_int_equal(pthread_create(&thread, NULL, writer, &r), 0);
	for (int round = 0; round < ROUNDS; round++) {
		atomic_store(r.t.entry[1], r.t.page | 3);
		for (u64 i = rng_below(&(struct rng){(u64)round + 1}, 200); i; i--)
			cpu_relax();
		u64 old = atomic_xchg(r.t.entry[1], 0);
		softmmu_flush(&r.t.mmu);
		u64 now = atomic_load(data);
		if (now != seen)
			assert_true(old & D);
		rounds_dirty += now != seen;
		seen = now;
	}
	atomic_store(&r.stop, 1);
	pthread_join(thread, NULL);
	printf("dirty in %lu of %d rounds\n", rounds_dirty, ROUNDS);
	tree_destroy(&r.t);
}

static void cause_panic(void *ctx)
{
	CHECK(ctx == NULL, "ctx %p", ctx);
}

static void free_twice(void *ctx)
{
	host_page_put(*(u64 *)ctx);
}

/* The harness itself: panics are caught and compared, log and failures work. */
static void harness(void **state)
{
	u64 page = host_page_get();

	(void)state;
	expect_panic("ctx 0x1", cause_panic, (void *)1);
	host_page_put(page);
	expect_panic("not in use", free_twice, &page);
	printk("vm %d stopped\n", 3);
	assert_true(host_log_contains("vm 3"));
	assert_false(host_log_contains("vm 4"));
	for (int i = 0; i < 10000; i++)
		printk("line %d of many\n", i);
	assert_true(host_log_contains("line 9999 of many\n"));
	assert_false(host_log_contains("vm 3"));
	host_fail_every(3);
	for (int i = 1; i <= 9; i++) {
		page = host_page_get();
		assert_int_equal(page == 0, i % 3 == 0);
		if (page)
			host_page_put(page);
	}
	host_fail_nth(2);
	for (int i = 1; i <= 5; i++) {
		page = host_page_get();
		assert_int_equal(page == 0, i == 2);
		if (page)
			host_page_put(page);
	}
	assert_int_equal(trace(-EIO), -EIO);
	assert_int_equal(host_last_error(), -EIO);
	assert_int_equal(host_pages_in_use(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(accessed_and_dirty, host_reset),
		cmocka_unit_test_setup(faults_mark_nothing, host_reset),
		cmocka_unit_test_setup(stale_until_flushed, host_reset),
		cmocka_unit_test_setup(rights_widen_by_themselves, host_reset),
		cmocka_unit_test_setup(nested_accesses_are_user_accesses, host_reset),
		cmocka_unit_test_setup(large_pages, host_reset),
		cmocka_unit_test_setup(loads_and_stores, host_reset),
		cmocka_unit_test_setup(tlb_forgets_nothing, host_reset),
		cmocka_unit_test_setup(no_dirty_bit_is_lost, host_reset),
		cmocka_unit_test_setup(harness, host_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
