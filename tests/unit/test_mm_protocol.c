/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c
 * tests/unit/mm_secondary.c */
/* The races of docs/design.md, held open by race points: gup, brackets, subscribers, the end of an mm;
 * and each mutant caught. */
#include "mm_fixture.h"

#include "cpu/memory.h"
#include "lib/mutant.h"

/* ---- gup ------------------------------------------------------------------------------------- */

static void gup_takes_what_the_pte_allows(void **state)
{
	struct mm_page page;

	(void)state;
	assert_false(mm_gup_fast(mm, hva(at(0)), ACC_R, &page));
	assert_int_equal(mm_gup(mm, hva(at(0) + 5), ACC_R, &page), 0);
	assert_ptr_equal(page.page, zero_page);
	assert_false(page.writable);
	page_put(page.page);
	assert_false(mm_gup_fast(mm, hva(at(0)), ACC_W, &page));
	assert_int_equal(mm_gup(mm, hva(at(0)), ACC_W, &page), 0);
	assert_ptr_not_equal(page.page, zero_page);
	assert_true(page.writable);
	assert_int_equal(page.page->refcount, 2);
	page_put(page.page);
	assert_true(mm_gup_fast(mm, hva(at(0)), ACC_R, &page));
	assert_true(page.writable);
	page_put(page.page);
	assert_int_equal(zero_page->refcount, 1);
	assert_false(mm_gup_fast(mm, hva(KERNEL_IMAGE), ACC_R, &page));
	assert_int_equal(mm_gup(mm, hva(KERNEL_IMAGE), ACC_R, &page), -EFAULT);
	assert_false(mm_gup_fast(mm, hva(MM_HVA_END), ACC_R, &page));
}

static void a_reference_outlives_the_mapping(void **state)
{
	struct mm_page page;

	(void)state;
	assert_int_equal(mm_gup(mm, hva(at(0)), ACC_W, &page), 0);
	*(u64 *)page_to_virt(page.page) = 3;
	zap_locked(0, 1);
	assert_int_equal(page.page->refcount, 1);
	assert_int_equal(*(u64 *)page_to_virt(page.page), 3);
	page_put(page.page);
}

static struct mm *thief;
static u64 thief_at;

/* The frame goes to another mm between the look at the PTE and the reference (rule 3). */
static void zap_and_give_to_thief(void *ctx)
{
	u32 was = mm_host_cpu(1);

	(void)ctx;
	zap_locked(0, 64);
	assert_int_equal(mm_fault(thief, hva(thief_at), ACC_W), 0);
	mm_host_cpu(was);
}

static bool gup_fast_gives_no_foreign_page(void)
{
	struct mm_page page;
	hva_t start;

	thief = mm_create(&machine_counter);
	assert_int_equal(mm_region_add(thief, PAGE_SIZE, ACC_R | ACC_W, &start), 0);
	thief_at = start.v;
	assert_int_equal(mm_fault(thief, start, ACC_R), 0); /* has its tables */
	mm_host_cpu(1); /* so that CPU 1's cache gives out what it takes back */
	assert_int_equal(mm_fault(mm, hva(at(0)), ACC_W), 0);
	mm_host_cpu(0);
	u64 mine = pte_pfn(pte_at(at(0))).v;

	race_arm("gup.before_get", 0, zap_and_give_to_thief, NULL);
	bool got = mm_gup_fast(mm, hva(at(0)), ACC_W, &page);
	/* The race was run: the thief has it. */
	assert_int_equal(pte_pfn((pte_t){*mm_entry(thief, thief_at)}).v, mine);
	if (got)
		page_put(page.page);
	mm_exit(thief);
	return !got;
}

static void gup_fast_looks_again(void **state)
{
	(void)state;
	assert_true(gup_fast_gives_no_foreign_page());
	/* The same after the reference was taken: the frame stays, but is not of this hva. */
	struct mm_page page;
	assert_int_equal(mm_fault(mm, hva(at(0)), ACC_W), 0);
	race_arm("gup.after_get", 0, zap_as_cpu_1, NULL);
	assert_false(mm_gup_fast(mm, hva(at(0)), ACC_W, &page));
}

static void mutant_gup_no_recheck_is_caught(void **state)
{
	(void)state;
	mutant_select("gup_no_recheck");
	assert_false(gup_fast_gives_no_foreign_page());
}

/* ---- subscribers ----------------------------------------------------------------------------- */

static bool copy_on_write_zaps_the_secondary(void)
{
	u64 v;

	secondary_init(&sec, mm, base);
	assert_int_equal(secondary_load(&sec, at(0), &v), 0);
	assert_int_equal(mm_host_store(at(0), 11), 0);
	secondary_check(&sec);
	assert_int_equal(secondary_load(&sec, at(0), &v), 0);
	mm_notifier_unregister(mm, &sec.n);
	return mm_host_take() == 0 && v == 11;
}

static void copy_on_write_is_bracketed(void **state)
{
	(void)state;
	assert_true(copy_on_write_zaps_the_secondary());
	assert_int_equal(sec.reason[MM_EVENT_COPY], 1);
}

static void mutant_cow_no_bracket_is_caught(void **state)
{
	(void)state;
	mutant_select("cow_no_bracket");
	assert_false(copy_on_write_zaps_the_secondary());
	assert_true(host_log_contains("N1: "));
}

static void first_touch_needs_no_bracket(void **state)
{
	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(secondary_store(&sec, at(i), i), 0);
	assert_int_equal(sec.starts, 0);
	assert_int_equal(sec.retries, 0);
	secondary_check(&sec);
}

/* Rule 4: F was looked up, a bracket comes and goes, F must not be installed. */
static bool install_after_a_past_bracket_restarts(void)
{
	secondary_init(&sec, mm, base);
	race_arm("secondary.before_install", 0, zap_as_cpu_1, NULL);
	assert_int_equal(secondary_fault(&sec, at(0), ACC_W), 0);
	secondary_check(&sec);
	mm_notifier_unregister(mm, &sec.n);
	return mm_host_take() == 0 && sec.retries == 1;
}

static void past_brackets_restart_installs(void **state)
{
	(void)state;
	assert_true(install_after_a_past_bracket_restarts());
}

static void mutant_no_seq_bump_is_caught(void **state)
{
	(void)state;
	mutant_select("no_seq_bump");
	assert_false(install_after_a_past_bracket_restarts());
	assert_true(host_log_contains("N1: "));
}

/* The install comes while the bracket is open, zapped already, PTE not yet exchanged. */
static void fault_in_the_bracket(void *ctx)
{
	u32 was = mm_host_cpu(1);
	struct notifier_sample s = notifier_sample(&mm->notifiers, at(0));
	struct mm_page page;

	if (mm_gup_fast(mm, hva(at(0)), ACC_R, &page)) {
		*(bool *)ctx = notifier_retry(&mm->notifiers, s);
		page_put(page.page);
	}
	mm_host_cpu(was);
}

static bool installs_wait_for_open_brackets(void)
{
	bool refused = false;
	u64 v;

	secondary_init(&sec, mm, base);
	assert_int_equal(secondary_load(&sec, at(0), &v), 0);
	race_arm("fault.cow_before_exchange", 0, fault_in_the_bracket, &refused);
	assert_int_equal(mm_host_store(at(0), 1), 0);
	mm_notifier_unregister(mm, &sec.n);
	return refused;
}

static void open_brackets_stop_installs(void **state)
{
	(void)state;
	assert_true(installs_wait_for_open_brackets());
}

static void mutant_no_open_count_is_caught(void **state)
{
	(void)state;
	mutant_select("no_open_count");
	assert_false(installs_wait_for_open_brackets());
}

static void registration_can_be_refused(void **state)
{
	static const struct mm_notifier_ops bad = {.name = "bad"};
	struct mm_notifier n = {.ops = &bad};

	(void)state;
	assert_int_equal(mm_notifier_register(mm, &n), -EINVAL);
	thread_current()->kill = true;
	assert_int_equal(mm_notifier_register(mm, &sec.n), -EINTR);
	thread_current()->kill = false;
	assert_false(notifier_any(&mm->notifiers));
	assert_false(rwsem_is_held(&mm->mmap_lock));
}

static void exit_releases_first(void **state)
{
	u64 v;

	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 64; i += 2)
		assert_int_equal(secondary_store(&sec, at(i), i), 0);
	assert_int_equal(secondary_load(&sec, at(1), &v), 0);
	mm_host_cpu(2);
	mm_host_use(mm);
	assert_int_equal(mm_host_load(at(1), &v), 0);
	/* An idle CPU still has the tables in CR3. */
	thread_current()->mm = NULL;
	thread_current()->space = NULL;
	mm_host_cpu(0);
	mm_host_use(NULL);
	mm_exit(mm);
	mm = NULL;
	assert_int_equal(sec.released, 1);
	assert_int_equal(sec.starts, sec.ends);
	mm_host_cpu(2);
	assert_null(host_cpu->space);
}

static void a_ref_keeps_the_empty_mm(void **state)
{
	struct mm_page page;
	hva_t start;
	u16 id = mm->id;

	(void)state;
	assert_int_equal(mm_host_store(at(0), 1), 0);
	assert_ptr_equal(mm_get_by_id(id), mm);
	mm_host_use(NULL);
	mm_exit(mm);
	assert_int_equal(mm->nr_anon, 0);
	assert_false(mm_gup_fast(mm, hva(at(0)), ACC_R, &page));
	assert_int_equal(mm_gup(mm, hva(at(0)), ACC_W, &page), -EFAULT);
	assert_int_equal(mm_region_add(mm, 1, ACC_R, &start), -ENOMEM);
	assert_int_equal(mm_notifier_register(mm, &sec.n), -EINVAL);
	audit_clean();
	mm_put(mm);
	mm = NULL;
	assert_null(mm_get_by_id(id));
	assert_null(mm_get_by_id(0));
	assert_null(mm_get_by_id(0xffff));
}

/* rule 23: an rmap names an mm whose last ref has just gone. */
static void get_by_id(void *ctx)
{
	*(struct mm **)ctx = mm_get_by_id(mm->id);
}

static bool dying_mms_are_not_found(void)
{
	struct mm *found = mm;

	race_arm("mm.last_put", 0, get_by_id, &found);
	mm_host_use(NULL);
	mm_exit(mm);
	mm = NULL;
	return !found;
}

static void nobody_gets_a_dying_mm(void **state)
{
	(void)state;
	assert_true(dying_mms_are_not_found());
}

static void mutant_mm_get_dying_is_caught(void **state)
{
	(void)state;
	mutant_select("mm_get_dying");
	assert_false(dying_mms_are_not_found());
}

static void dirty_comes_from_the_exchanged_entry(void **state)
{
	struct mm_page page;

	(void)state;
	assert_int_equal(mm_gup(mm, hva(at(0)), ACC_W, &page), 0);
	/* Nothing of it was anywhere else: it is dirty by its flag, and the PTE says what the CPU did. */
	assert_true(page_test(page.page, PG_DIRTY));
	assert_false(pte_at(at(0)).v & (PTE_A | PTE_D));
	page_clear(page.page, PG_DIRTY);
	assert_int_equal(mm_host_store(at(0), 1), 0);
	assert_false(page_test(page.page, PG_DIRTY));
	zap_locked(0, 1);
	assert_true(page_test(page.page, PG_DIRTY));
	page_put(page.page);
}

static void large_zaps_take_everything(void **state)
{
	hva_t start;
	u64 free_now;

	(void)state;
	assert_int_equal(mm_region_add(mm, MIB(80), ACC_R | ACC_W, &start), 0);
	for (u64 i = 0; i < MIB(80); i += MIB(1) + PAGE_SIZE)
		assert_int_equal(mm_fault(mm, hva(start.v + i), ACC_W), 0);
	for (u64 i = 0; i < 300; i++)
		assert_int_equal(mm_fault(mm, hva(start.v + MIB(40) + i * PAGE_SIZE), ACC_W), 0);
	free_now = mm_host_free_frames();
	u64 pages = mm->nr_anon;
	rwsem_read_lock(&mm->mmap_lock);
	mm_zap_range(mm, start.v, start.v + MIB(80));
	rwsem_read_unlock(&mm->mmap_lock);
	assert_int_equal(mm->nr_anon, 0);
	assert_int_equal(mm_host_free_frames(), free_now + pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mm_test(gup_takes_what_the_pte_allows),
		mm_test(a_reference_outlives_the_mapping),
		mm_test(gup_fast_looks_again),
		mm_test(mutant_gup_no_recheck_is_caught),
		mm_test(copy_on_write_is_bracketed),
		mm_test(mutant_cow_no_bracket_is_caught),
		mm_test(first_touch_needs_no_bracket),
		mm_test(past_brackets_restart_installs),
		mm_test(mutant_no_seq_bump_is_caught),
		mm_test(open_brackets_stop_installs),
		mm_test(mutant_no_open_count_is_caught),
		mm_test(registration_can_be_refused),
		mm_test(exit_releases_first),
		mm_test(a_ref_keeps_the_empty_mm),
		mm_test(nobody_gets_a_dying_mm),
		mm_test(mutant_mm_get_dying_is_caught),
		mm_test(dirty_comes_from_the_exchanged_entry),
		mm_test(large_zaps_take_everything),
	};

	mm_host_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
