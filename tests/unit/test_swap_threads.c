/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* Swap and reclaim with real threads: two CPUs, a guest behind a secondary MMU with a device, an operator,
 * the reclaim thread; memory for half of the pages. Each word has one writer, who knows what it must say. */
#include "swap_fixture.h"

#include <time.h>

#include "lib/atomic.h"

#define THREAD_PAGES 48
#define THREAD_MS    2000

static struct mm *shared;
static u64 shared_base;
static bool stop; /* [a] */

static u64 thread_place(u32 page, u32 word)
{
	return shared_base + page * PAGE_SIZE + word * 8;
}

static u64 stamp(u32 page, u64 n)
{
	return (u64)(page + 1) << 48 | n;
}

/* Writes its own word of each page by hva; what it reads back is that, always: nobody zaps here. */
static void *play_cpu(void *arg)
{
	u64 last[THREAD_PAGES] = {0}, n = 0, v;
	u32 word = (u64)arg;
	struct rng r = {word + 5};

	mm_host_cpu(word);
	mm_host_use(shared);
	while (!atomic_load(&stop)) {
		u32 i = rng_below(&r, rng_percent(&r, 50) ? 6 : THREAD_PAGES);

		if (rng_percent(&r, 40)) {
			if (mm_host_store(thread_place(i, word), stamp(i, ++n)))
				mm_host_violation("store to page %u: error %d", i, host_last_error());
			last[i] = stamp(i, n);
		} else if (mm_host_load(thread_place(i, word), &v)) {
			mm_host_violation("load of page %u: error %d", i, host_last_error());
		} else if (v != last[i]) {
			mm_host_violation("page %u word %u: %#lx, wrote %#lx", i, word, v, last[i]);
		}
	}
	mm_host_use(NULL);
	return NULL;
}

/* The guest: through the secondary; and a device now and then. */
static void *play_guest(void *arg)
{
	u64 last[THREAD_PAGES] = {0}, n = 0, v;
	struct rng r = {77};
	struct mm_page page;

	mm_host_cpu((u64)arg);
	while (!atomic_load(&stop)) {
		u32 i = rng_below(&r, THREAD_PAGES);

		if (rng_percent(&r, 10) && mm_gup(shared, hva(thread_place(i, 0)), ACC_W, &page) == 0) {
			u64 *word = (u64 *)host_virt(page_to_phys(page.page)) + 3;
			atomic_store(word, last[i] = stamp(i, ++n));
			mm_mark_dirty(page.pfn);
			page_put(page.page);
		} else if (rng_percent(&r, 40)) {
			if (secondary_store(&sec, thread_place(i, 3), stamp(i, ++n)))
				mm_host_violation("secondary: store: error %d", host_last_error());
			last[i] = stamp(i, n);
		}
		if (secondary_load(&sec, thread_place(i, 3), &v))
			mm_host_violation("secondary: load: error %d", host_last_error());
		else if (v != last[i])
			mm_host_violation("secondary: page %u has %#lx, wrote %#lx", i, v, last[i]);
	}
	return NULL;
}

/* The operator: evicts, limits, switches policies; and the disk's interrupts come in this thread, too. */
static void *play_operator(void *arg)
{
	struct rng r = {99};

	mm_host_cpu((u64)arg);
	while (!atomic_load(&stop)) {
		switch (rng_below(&r, 16)) {
		case 0:
			if (mm_set_limit(shared, shared->nr_tables + 24 + rng_below(&r, 40)) > 0)
				mm_host_violation("mm_set_limit");
			break;
		case 1:
			(void)!reclaim_policy_set(reclaim_policy_name(rng_below(&r, 3)));
			break;
		default:
			(void)!mm_evict(shared, hva(thread_place(rng_below(&r, THREAD_PAGES), 0)));
		}
		(void)pass_time();
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	return NULL;
}

static void threads_fault_and_reclaim(void **state)
{
	void *(*play[])(void *) = {play_cpu, play_cpu, play_guest, play_operator};
	static const u64 cpu[] = {0, 1, 2, 3};
	pthread_t t[ARRAY_SIZE(play)];
	hva_t start;

	(void)state;
	mm_host_threads = true;
	shared = mm_create(&machine_counter);
	assert_non_null(shared);
	assert_int_equal(mm_region_add(shared, THREAD_PAGES * PAGE_SIZE, ACC_R | ACC_W, &start), 0);
	shared_base = start.v;
	secondary_init(&sec, shared, shared_base);
	disk.reorder = true;
	disk.early = 50;
	disk.busy_every = 5;
	mm_host_daemon_start(4);
	for (u64 i = 0; i < ARRAY_SIZE(play); i++)
		assert_int_equal(pthread_create(&t[i], NULL, play[i], (void *)cpu[i]), 0);
	nanosleep(&(struct timespec){.tv_sec = THREAD_MS / 1000}, NULL);
	atomic_store(&stop, true);
	for (u32 i = 0; i < ARRAY_SIZE(play); i++)
		pthread_join(t[i], NULL);
	printf("%lu faults, %lu out, %lu in, %lu waited, %u restarts\n", shared->faults,
	       shared->swapouts, shared->swapins, shared->refaults_read, sec.retries);
	assert_true(shared->swapins > 50);
	secondary_check(&sec);
	mm_exit(shared);
	mm_host_daemon_stop();
	mm_host_threads = false;
	assert_int_equal(mm_host_audit(), 0);
	if (mm_host_take())
		fail_msg("%s", host_log());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(threads_fault_and_reclaim),
	};

	swap_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
