/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c tests/unit/mm_secondary.c
 * tests/unit/fault_blkdev.c */
/* The rules of swap and reclaim, each by the interleaving that breaks without it. A scenario plays the
 * race, held open by race points, and tells whether every byte is right. It must do so as things are, and
 * must not with the mutant that breaks the rule. Mutants leave ruins, so each run has a process of its own.
 *
 * CPU 0 reclaims. Others are actors: threads, because they have to wait where the rule wants it. */
#include "swap_fixture.h"

#include <time.h>

#include "lib/atomic.h"

/* keeps - @scenario goes well, and with @name on it is seen that @what. */
static void keeps(bool (*scenario)(void), const char *name, const char *what)
{
	const char *mishap;

	mutant_select(NULL);
	mishap = mm_host_mishap(scenario, what);
	if (mishap)
		fail_msg("without a mutant: %s", mishap);
	if (!name)
		return;
	mutant_select(name);
	mishap = mm_host_mishap(scenario, what);
	mutant_select(NULL);
	if (!mishap)
		fail_msg("nobody noticed the mutant %s", name);
	if (!strstr(mishap, what))
		fail_msg("%s was noticed, but as: %s", name, mishap);
}

/* ---- actors -------------------------------------------------------------------------------------- */

struct actor {
	pthread_t thread;
	u32 cpu, slept;
	void (*fn)(void);
	bool started, done; /* [a] */
};

static struct actor actor;
static bool arrived; /* [a] */

static void arrive(void *ctx)
{
	(void)ctx;
	atomic_store(&arrived, true);
}

static void *actor_run(void *arg)
{
	(void)arg;
	mm_host_cpu(actor.cpu);
	mm_host_use(mm);
	actor.fn();
	atomic_store(&actor.done, true);
	return NULL;
}

static void actor_start(u32 cpu, void (*fn)(void))
{
	mm_host_threads = true;
	actor = (struct actor){.cpu = cpu, .slept = atomic_load(&mm_host_sleeps[cpu]), .fn = fn,
			       .started = true};
	assert_int_equal(pthread_create(&actor.thread, NULL, actor_run, NULL), 0);
}

/* actor_stopped - it is done, sleeps, or has come to the race point that arrive() is armed for. */
static bool actor_stopped(void)
{
	return atomic_load(&actor.done) || atomic_load(&arrived) ||
	       atomic_load(&mm_host_sleeps[actor.cpu]) != actor.slept;
}

static void actor_await(u32 ms)
{
	for (u32 i = 0; i < ms * 10 && !actor_stopped(); i++)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void actor_join(void)
{
	if (actor.started)
		pthread_join(actor.thread, NULL);
	else
		mm_host_violation("the race was not run");
}

static u64 load_word(u32 i, u32 word)
{
	u64 v = ~0ull;

	if (mm_host_load(at(i) + word * 8, &v))
		mm_host_violation("load of page %u failed", i);
	return v;
}

static void store_word(u32 i, u32 word, u64 value)
{
	if (mm_host_store(at(i) + word * 8, value))
		mm_host_violation("store to page %u failed", i);
}

static bool all_is_well(void)
{
	finish();
	mm_host_check_tlbs(mm);
	if (mm_host_audit())
		mm_host_violation("the audit found something");
	return true;
}

/* A device: has a reference, writes through it, and dirties on release. */
static struct mm_page held;

static void device_takes(u32 i)
{
	if (mm_gup(mm, hva(at(i)), ACC_W, &held))
		mm_host_violation("gup of page %u failed", i);
}

static void device_writes(u64 value)
{
	*(u64 *)page_to_virt(held.page) = value;
	mm_mark_dirty(held.pfn);
	page_put(held.page);
}

/* ---- rule 2: PTEs are decided under the PT lock ------------------------------------------------------ */

static void write_page_0(void)
{
	store_word(0, 0, 2);
}

static void let_a_writer_come(void *ctx)
{
	(void)ctx;
	race_arm("fault.before_pte", 0, arrive, NULL);
	actor_start(1, write_page_0);
	while (!atomic_load(&arrived))
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static bool a_writer_meets_an_exchange(void)
{
	store_word(0, 0, 1);
	store_word(0, 1, 11);
	race_arm("reclaim.after_exchange", 0, let_a_writer_come, NULL);
	(void)!mm_evict(mm, hva(at(0))); /* the writer may have the page before it can go */
	actor_join();
	return load_word(0, 0) == 2 && load_word(0, 1) == 11 && all_is_well();
}

static void rule_2_none_without_lock(void **state)
{
	(void)state;
	keeps(a_writer_meets_an_exchange, "none_without_lock", "the page was lost");
}

/* ---- rule 5: no copy before the flush ---------------------------------------------------------------- */

static bool stale_store; /* was made */

static void store_if_stale(void *ctx)
{
	u32 was = mm_host_cpu(1);

	(void)ctx;
	stale_store = mm_host_holds(1, at(0));
	if (stale_store)
		store_word(0, 0, 77);
	mm_host_cpu(was);
}

static void write_word_1(void)
{
	store_word(0, 1, 22);
}

static void share_and_write(void *ctx)
{
	(void)ctx;
	share_slot(0, 1);
	race_arm("swap.after_copy", 0, store_if_stale, NULL);
	actor_start(2, write_word_1);
	actor_await(3000);
}

static bool a_copy_while_another_writes(void)
{
	mm_host_cpu(1);
	mm_host_use(mm);
	store_word(0, 0, 1);
	mm_host_cpu(0);
	race_arm("reclaim.before_flush", 0, share_and_write, NULL);
	(void)!mm_evict(mm, hva(at(0))); /* the writer has the page: it cannot leave memory now */
	actor_join();
	mm_host_cpu(1);
	if (!stale_store)
		store_word(0, 0, 77);
	mm_host_cpu(0);
	return load_word(0, 0) == 77 && load_word(0, 1) == 22 && load_word(1, 0) == 1 && all_is_well();
}

static void rule_5_unlock_before_flush(void **state)
{
	(void)state;
	keeps(a_copy_while_another_writes, "unlock_before_flush", "a store is lost in the copied page");
}

/* ---- rule 7: dirty comes from the value that came out ---------------------------------------------- */

static bool a_store_through_a_clean_pte(void)
{
	store_word(0, 0, 1);
	evict_all(0, 1);
	if (load_word(0, 0) != 1)
		return false;
	store_word(0, 0, 2);
	evict_all(0, 1);
	return load_word(0, 0) == 2 && all_is_well();
}

static void rule_7_unmap_drops_dirty(void **state)
{
	(void)state;
	keeps(a_store_through_a_clean_pte, "unmap_drops_dirty", "N4: the store is lost");
}

/* The secondary's dirty bit comes in the bracket; its flush may come later. */
static bool a_store_by_the_secondary(void)
{
	u64 v;

	secondary_init(&sec, mm, base);
	store_word(0, 0, 1);
	evict_all(0, 1);
	if (secondary_load(&sec, at(0), &v) || v != 1 || secondary_store(&sec, at(0), 2))
		return false;
	evict_all(0, 1);
	secondary_check(&sec);
	return load_word(0, 0) == 2 && all_is_well();
}

static void rule_7_secondaries_hand_dirty_over(void **state)
{
	(void)state;
	keeps(a_store_by_the_secondary, NULL, "N4: the store is lost");
}

/* ---- rule 8: the second test ------------------------------------------------------------------------- */

static bool got;

static void gup_fast_as_cpu_1(void *ctx)
{
	u32 was = mm_host_cpu(1);

	(void)ctx;
	got = mm_gup_fast(mm, hva(at(0)), ACC_W, &held);
	mm_host_cpu(was);
}

/* A device gets the page between the first test and the exchange. If it is unmapped all the same, a clone
 * takes its swap entry for all there is of it, and the next write copies. */
static bool a_reference_between_the_tests(void)
{
	store_word(0, 0, 1);
	race_arm("reclaim.before_exchange", 0, gup_fast_as_cpu_1, NULL);
	if (mm_evict(mm, hva(at(0))) < -EAGAIN || !got)
		return false;
	finish();
	if (is_out(0))
		share_slot(0, 1);
	store_word(0, 1, 11);
	device_writes(77);
	return load_word(0, 0) == 77 && load_word(0, 1) == 11 && all_is_well();
}

static void rule_8_unmap_one_test(void **state)
{
	(void)state;
	keeps(a_reference_between_the_tests, "unmap_one_test", "what the device wrote is lost");
}

/* ---- rule 9: one flush for the batch, but that ------------------------------------------------------- */

static bool others_have_it_in_their_tlbs(void)
{
	for (u32 cpu = 0; cpu < 3; cpu++) {
		mm_host_cpu(cpu);
		mm_host_use(mm);
		for (u32 i = 0; i < 8; i++)
			store_word(i, cpu, 1 + cpu);
	}
	mm_host_cpu(0);
	evict_all(0, 8);
	mm_host_check_tlbs(mm);
	mm_host_cpu(2);
	for (u32 i = 0; i < 8; i++)
		if (load_word(i, 2) != 3)
			return false;
	return all_is_well();
}

static void rule_9_batch_no_flush(void **state)
{
	(void)state;
	keeps(others_have_it_in_their_tlbs, "batch_no_flush", "N3: CPU ");
}

/* The range is zapped between the exchange and the batch's flush: who sees the zap done must not reach
 * the old page. */
static void zap_and_touch(void *ctx)
{
	u32 was = mm_host_cpu(2);

	(void)ctx;
	zap_locked(0, 1);
	mm_host_cpu(1);
	if (load_word(0, 0) != 0)
		mm_host_violation("N1: CPU 1 reads the page that was zapped");
	mm_host_cpu(was);
}

static bool a_zap_before_the_flush(void)
{
	mm_host_cpu(1);
	mm_host_use(mm);
	store_word(0, 0, 1);
	mm_host_cpu(0);
	race_arm("reclaim.before_flush", 0, zap_and_touch, NULL);
	evict(0);
	return load_word(0, 0) == 0 && all_is_well();
}

static void rule_9_a_zap_flushes_what_the_batch_has_not(void **state)
{
	(void)state;
	keeps(a_zap_before_the_flush, NULL, "the old page came back");
}

/* ---- rule 10: frozen --------------------------------------------------------------------------------- */

static void read_page_0(void)
{
	if (load_word(0, 0) != 1)
		mm_host_violation("rule 10: a fault found %lu, and 1 was written", load_word(0, 0));
}

static void let_a_reader_come(void *ctx)
{
	(void)ctx;
	actor_start(2, read_page_0);
	actor_await(3000);
}

/* Somebody has found the page in the cache, and waits for its lock. */
static bool a_fault_waits_for_the_page(void)
{
	store_word(0, 0, 1);
	evict_all(0, 1);
	if (load_word(0, 0) != 1)
		return false;
	race_arm("reclaim.before_flush", 0, let_a_reader_come, NULL);
	if (mm_evict(mm, hva(at(0))) != -EAGAIN)
		mm_host_violation("a page that somebody has was freed");
	actor_join();
	return load_word(0, 0) == 1 && all_is_well();
}

static void rule_10_free_without_freeze(void **state)
{
	(void)state;
	keeps(a_fault_waits_for_the_page, "free_without_freeze", "freed with refcount");
}

static void let_a_reader_spin(void *ctx)
{
	(void)ctx;
	race_arm("fault.before_pte", 0, arrive, NULL);
	actor_start(2, read_page_0);
	actor_await(200); /* it has no way to tell that it spins */
}

static bool a_fault_meets_a_frozen_page(void)
{
	store_word(0, 0, 1);
	race_arm("reclaim.frozen", 0, let_a_reader_spin, NULL);
	(void)!mm_evict(mm, hva(at(0)));
	actor_join();
	return load_word(0, 0) == 1 && all_is_well();
}

static void rule_10_frozen_is_a_miss(void **state)
{
	(void)state;
	keeps(a_fault_meets_a_frozen_page, "frozen_is_a_miss", "rule 10: a fault found 0");
}

/* ---- rule 11: dirty ---------------------------------------------------------------------------------- */

/* The disk has taken the old data, the write has not ended; a device writes the page. */
static bool a_page_dirtied_in_flight(void)
{
	disk.early = 100;
	store_word(0, 0, 1);
	evict(0);
	device_takes(0);
	device_writes(2);
	finish();
	evict_all(0, 1);
	return load_word(0, 0) == 2 && all_is_well();
}

static void rule_11_dirty_cleared_late(void **state)
{
	(void)state;
	keeps(a_page_dirtied_in_flight, "dirty_cleared_late", "N4: what the device wrote is lost");
}

static bool a_page_dirtied_again(void)
{
	store_word(0, 0, 1);
	evict_all(0, 1);
	if (load_word(0, 0) != 1)
		return false;
	device_takes(0);
	device_writes(2);
	evict_all(0, 1);
	return load_word(0, 0) == 2 && all_is_well();
}

static void rule_11_redirtied_is_clean(void **state)
{
	(void)state;
	keeps(a_page_dirtied_again, "redirtied_is_clean", "N4: what the device wrote is lost");
}

/* ---- rule 12: no slot is freed while a request on it is in flight ------------------------------------ */

static bool a_zap_while_it_is_written(void)
{
	store_word(0, 0, 1);
	store_word(1, 0, 2);
	evict(0);
	swap_areas[0].next = slot_index(slot_at(0));
	zap_locked(0, 1);
	evict(1);
	/* The later request is served first. */
	struct blk_request *first = disk.pending[0];
	if (disk.nr_pending != 2)
		return false;
	disk.pending[0] = disk.pending[1];
	disk.pending[1] = first;
	finish();
	return load_word(1, 0) == 2 && load_word(0, 0) == 0 && all_is_well();
}

static void rule_12_slot_freed_in_flight(void **state)
{
	(void)state;
	keeps(a_zap_while_it_is_written, "slot_freed_in_flight", "N7: another page's bytes");
}

/* ---- rule 13: the frame is in the cache before it is read ------------------------------------------ */

static slot_t the_slot;

/* Two rounds out, with new contents; after the second the page has its old slot. */
static void write_twice(void)
{
	(void)load_word(0, 0);
	store_word(0, 0, 2);
	evict_all(0, 1);
	(void)load_word(0, 0);
	store_word(0, 0, 3);
	swap_areas[0].next = slot_index(the_slot);
	evict_all(0, 1);
}

static void let_another_write_twice(void *ctx)
{
	(void)ctx;
	mutant_select(NULL);
	actor_start(2, write_twice);
	actor_await(5000);
}

static bool the_slot_is_reused_while_it_is_read(void)
{
	store_word(0, 0, 1);
	evict_all(0, 1);
	the_slot = slot_at(0);
	race_arm("fault.before_pte", 0, let_another_write_twice, NULL);
	(void)load_word(0, 0);
	actor_join();
	return load_word(0, 0) == 3 && all_is_well();
}

static void rule_13_swapin_private(void **state)
{
	(void)state;
	keeps(the_slot_is_reused_while_it_is_read, "swapin_private", "old bytes were mapped");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		swap_test(rule_2_none_without_lock),
		swap_test(rule_5_unlock_before_flush),
		swap_test(rule_7_unmap_drops_dirty),
		swap_test(rule_7_secondaries_hand_dirty_over),
		swap_test(rule_8_unmap_one_test),
		swap_test(rule_9_batch_no_flush),
		swap_test(rule_9_a_zap_flushes_what_the_batch_has_not),
		swap_test(rule_10_free_without_freeze),
		swap_test(rule_10_frozen_is_a_miss),
		swap_test(rule_11_dirty_cleared_late),
		swap_test(rule_11_redirtied_is_clean),
		swap_test(rule_12_slot_freed_in_flight),
		swap_test(rule_13_swapin_private),
	};

	swap_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
