/* SPDX-License-Identifier: BSD-2-Clause */
/* sources:
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c
 * tests/unit/mm_secondary.c */
/* One mm at a time: regions, faults and their races, failing allocations, access by hva, the
 * audit. */
#include "mm_fixture.h"

#include "cpu/memory.h"
#include "lib/mutant.h"
#include "mm/rmap.h"
#include "mm/uaccess.h"

/* ---- regions --------------------------------------------------------------------------------- */

static void regions_are_apart_and_gaps_are_reused(void **state)
{
	hva_t a, b, c;

	(void)state;
	assert_int_equal(mm_region_add(mm, MIB(2), ACC_R, &a), 0);
	assert_int_equal(mm_region_add(mm, 1, ACC_R | ACC_W, &b), 0);
	assert_int_equal(a.v % MIB(2), 0);
	assert_true(b.v >= a.v + MIB(2) + PAGE_SIZE);
	assert_int_equal(mm_fault(mm, hva(a.v + MIB(2)), ACC_R), -EFAULT);
	assert_int_equal(mm_region_remove(mm, hva(a.v + PAGE_SIZE)), -ENOENT);
	assert_int_equal(mm_fault(mm, a, ACC_R), 0);
	assert_int_equal(mm_region_remove(mm, a), 0);
	assert_null(mm->last_region); /* the hint that this region was */
	assert_int_equal(mm_region_remove(mm, a), -ENOENT);
	assert_int_equal(mm_region_add(mm, MIB(1), ACC_R, &c), 0);
	assert_int_equal(c.v, a.v);

	assert_int_equal(mm_region_add(mm, 0, ACC_R, &c), -EINVAL);
	assert_int_equal(mm_region_add(mm, PAGE_SIZE, ACC_W, &c), -EINVAL);
	assert_int_equal(mm_region_add(mm, ~0ul, ACC_R, &c), -ENOMEM);
	assert_int_equal(mm_region_add(mm, MM_HVA_END, ACC_R, &c), -ENOMEM);
	assert_int_equal(mm_region_add(mm, MM_HVA_END / 2, ACC_R, &c), 0);
	assert_int_equal(mm_region_add(mm, MM_HVA_END / 2, ACC_R, &c), -ENOMEM);
}

static void rights_of_regions_hold(void **state)
{
	hva_t ro;
	u64 v;

	(void)state;
	assert_int_equal(mm_region_add(mm, PAGE_SIZE, ACC_R, &ro), 0);
	assert_int_equal(mm_host_load(ro.v, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(mm_host_store(ro.v, 1), -EFAULT);
	assert_int_equal(mm_fault(mm, ro, ACC_R | ACC_W), -EFAULT);
	assert_int_equal(mm_fault(mm, hva(0), ACC_R), -EFAULT);
	assert_int_equal(mm_fault(mm, hva(MM_HVA_END), ACC_R), -EFAULT);
	assert_int_equal(mm_fault(mm, hva(KERNEL_IMAGE), ACC_R), -EFAULT);
	assert_int_equal(mm_fault(mm, hva(~0ul), ACC_W), -EFAULT);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void reading_untouched_memory_costs_no_frame(void **state)
{
	u64 v = 1, free_with_table;

	(void)state;
	assert_int_equal(mm_host_load(at(0), &v), 0);
	assert_int_equal(v, 0);
	free_with_table = mm_host_free_frames();
	for (u32 i = 1; i < 64; i++)
		assert_int_equal(mm_host_load(at(i), &v), 0);
	assert_int_equal(mm_host_free_frames(), free_with_table);
	assert_true(pte_is_zero(pte_at(at(5))) && !pte_writable(pte_at(at(5))));
	assert_int_equal(mm->nr_zero_mapped, 64);
	assert_int_equal(mm->zero_faults, 64);
	assert_int_equal(mm->counter.usage, mm->nr_tables);
}

static void first_write_gets_a_zeroed_frame(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(mm_host_store(at(3) + 8, 7), 0);
	pte_t pte = pte_at(at(3));
	assert_int_equal(pte.v & ~PTE_ADDR, PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX); /* the CPU's A, D */
	struct page *p = pfn_to_page(pte_pfn(pte));
	assert_true(page_test(p, PG_DIRTY) && page_test(p, PG_LRU));
	assert_int_equal(p->refcount, 1);
	assert_int_equal(p->mapcount, 1);
	assert_int_equal(frame_owner(p), FRAME_GUEST);
	assert_true(rmap_has(p, mm, hva(at(3))));
	assert_int_equal(mm->counter.usage, mm->nr_tables + 1);
	assert_int_equal(mm->nr_tables, 4);
	assert_int_equal(mm_host_load(at(3), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(mm_host_load(at(3) + 8, &v), 0);
	assert_int_equal(v, 7);
}

/* CPU 1 has the zero page in its TLB when CPU 0 writes. */
static bool others_see_a_copy_on_write(void)
{
	u64 v;

	mm_host_cpu(1);
	mm_host_use(mm);
	if (mm_host_load(at(9), &v) || v != 0)
		return false;
	mm_host_cpu(0);
	if (mm_host_store(at(9), 42))
		return false;
	mm_host_cpu(1);
	if (mm_host_load(at(9), &v))
		return false;
	mm_host_cpu(0);
	return v == 42;
}

static void zero_page_is_replaced_with_a_flush(void **state)
{
	(void)state;
	assert_true(others_see_a_copy_on_write());
	assert_int_equal(mm->cow_faults, 1);
}

static void mutant_cow_no_flush_is_caught(void **state)
{
	(void)state;
	mutant_select("cow_no_flush");
	assert_false(others_see_a_copy_on_write());
}

/* I4 of fault.c: what only a secondary MMU read is in no TLB of ours. */
static void what_no_tlb_has_is_not_flushed(void **state)
{
	u64 v, flushes = host_cpu->tlb_flushes;

	(void)state;
	secondary_init(&sec, mm, base);
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(secondary_load(&sec, at(i), &v), 0);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(secondary_store(&sec, at(i), 1), 0);
	zap_locked(2, 8);
	assert_int_equal(host_cpu->tlb_flushes, flushes);
	assert_int_equal(mm_host_load(at(0), &v), 0);
	zap_locked(0, 2);
	assert_int_equal(host_cpu->tlb_flushes, flushes + 1);
}

static void zapping_forgets_contents_everywhere(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(mm_host_store(at(1), 5), 0);
	mm_host_cpu(1);
	mm_host_use(mm);
	assert_int_equal(mm_host_load(at(1), &v), 0);
	zap_locked(0, 64);
	assert_int_equal(mm_host_load(at(1), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(mm->nr_anon, 0);
	mm_host_cpu(0);
	assert_int_equal(mm_host_load(at(1), &v), 0);
	assert_int_equal(v, 0);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void every_failed_allocation_leaves_nothing(void **state)
{
	u64 tables = mm->nr_tables, usage = mm->counter.usage, free_now = mm_host_free_frames();
	struct mm_page page;
	u32 failed = 0;

	(void)state;
	/* Three tables and a frame: k = 1 .. 4 fail, then it works. */
	for (u32 k = 1;; k++) {
		frame_fail_every(0);
		frame_fail_every(k);
		int err = mm_gup(mm, hva(at(0)), ACC_W, &page);
		frame_fail_every(0);
		if (!err)
			break;
		failed++;
		assert_int_equal(err, -ENOMEM);
		audit_clean();
		if (k <= 3) {
			assert_int_equal(mm->nr_tables, tables);
			assert_int_equal(mm->counter.usage, usage);
			assert_int_equal(mm_host_free_frames(), free_now);
		}
	}
	assert_int_equal(failed, 4);
	page_put(page.page);
}

static void mm_creation_can_fail_anywhere(void **state)
{
	(void)state;
	for (u32 k = 1; k <= 2; k++) {
		u64 free_now = mm_host_free_frames();
		frame_fail_every(k);
		struct mm *other = mm_create(&machine_counter);
		frame_fail_every(0);
		if (other)
			mm_exit(other);
		assert_int_equal(mm_host_free_frames(), free_now);
	}
}

static void the_limit_holds(void **state)
{
	(void)state;
	mm->counter.limit = 4 + 2;
	assert_int_equal(mm_host_store(at(0), 1), 0);
	assert_int_equal(mm_host_store(at(1), 1), 0);
	assert_int_equal(mm_fault(mm, hva(at(2)), ACC_W), -ENOMEM);
	assert_true(mm->counter.failcnt > 0);
	assert_int_equal(mm_fault(mm, hva(at(2)), ACC_R), 0);
	zap_locked(0, 1);
	assert_int_equal(mm_fault(mm, hva(at(2)), ACC_W), 0);
}

/* ---- races among faults ---------------------------------------------------------------------- */

static void write_as_cpu_1(void *ctx)
{
	u32 was = mm_host_cpu(1);
	u32 disabled = host_cpu->preempt_count;

	/* The hook runs with CPU 0's mmap_lock held for read: so does CPU 1's fault. */
	mm_host_use(mm);
	host_cpu->preempt_count = 0;
	assert_int_equal(mm_host_store((u64)ctx, 99), 0);
	host_cpu->preempt_count = disabled;
	mm_host_cpu(was);
}

static void quicker_fault_wins(void **state)
{
	struct mm_page page;
	u64 v;

	(void)state;
	race_arm("fault.before_pte", 0, write_as_cpu_1, (void *)at(4));
	assert_int_equal(mm_gup(mm, hva(at(4)), ACC_W, &page), 0);
	assert_int_equal(*(u64 *)page_to_virt(page.page), 99);
	page_put(page.page);
	assert_int_equal(mm->nr_anon, 1);

	/* A reader that would have mapped the zero page finds the frame. */
	race_arm("fault.before_pte", 0, write_as_cpu_1, (void *)at(5));
	assert_int_equal(mm_host_load(at(5), &v), 0);
	assert_int_equal(v, 99);
	assert_int_equal(mm->nr_zero_mapped, 0);

	/* Two copy the zero page at once: one frame, both brackets closed. */
	secondary_init(&sec, mm, base);
	assert_int_equal(mm_host_load(at(6), &v), 0);
	race_arm("fault.cow_before_exchange", 0, write_as_cpu_1, (void *)at(6));
	assert_int_equal(mm_host_store(at(6) + 8, 1), 0);
	assert_int_equal(mm_host_load(at(6), &v), 0);
	assert_int_equal(v, 99);
	assert_int_equal(mm->cow_faults, 1);
	assert_int_equal(sec.starts, 2);
	secondary_check(&sec);
}

static void zap_between_fault_and_install_restarts(void **state)
{
	struct mm_page page;
	u64 v;

	(void)state;
	assert_int_equal(mm_host_load(at(6), &v), 0);
	race_arm("fault.cow_before_exchange", 0, zap_as_cpu_1, NULL);
	assert_int_equal(mm_gup(mm, hva(at(6)), ACC_W, &page), 0);
	assert_ptr_equal(pfn_to_page(pte_pfn(pte_at(at(6)))), page.page);
	assert_int_equal(mm->cow_faults, 0);
	page_put(page.page);
}

static void killed_threads_do_not_go_round(void **state)
{
	(void)state;
	thread_current()->kill = true;
	race_arm("fault.before_pte", 0, write_as_cpu_1, (void *)at(4));
	assert_int_equal(mm_fault(mm, hva(at(4)), ACC_W), -EINTR);
	thread_current()->kill = false;
}

/* ---- guest memory by hva --------------------------------------------------------------------- */

static void hva_copies_cross_pages_and_stop_at_rights(void **state)
{
	u8 data[3 * 4096], back[3 * 4096];
	u32 word = 0;

	(void)state;
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = i * 7;
	assert_int_equal(hva_write(hva(at(1) + 100), data, sizeof(data)), 0);
	assert_int_equal(hva_read(back, hva(at(1) + 100), sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_int_equal(hva_zero(hva(at(2)), PAGE_SIZE), 0);
	assert_int_equal(hva_read(&word, hva(at(2) + 8), 4), 0);
	assert_int_equal(word, 0);

	assert_int_equal(hva_write(hva(at(63) + 4000), data, 200), -EFAULT);
	assert_int_equal(hva_read(back, hva(KERNEL_IMAGE), 8), -EFAULT);
	assert_int_equal(hva_read(back, hva(MM_HVA_END - 4), 8), -EFAULT);
	assert_int_equal(hva_write(hva(~0ul), data, 8), -EFAULT);
	assert_int_equal(hva_zero(hva(16), ~0ul), -EFAULT);
}

static void nofault_forms_do_not_fault(void **state)
{
	u64 v = 5, faults = mm->faults;

	(void)state;
	assert_int_equal(hva_read_nofault(&v, hva(at(0)), 8), -EFAULT);
	assert_int_equal(hva_write_nofault(hva(at(0)), &v, 8), -EFAULT);
	assert_int_equal(mm->faults, faults);
	assert_int_equal(hva_fault_in(hva(at(0) + 4090), 8, ACC_R), 0);
	assert_int_equal(hva_read_nofault(&v, hva(at(0) + 4090), 8), 0);
	assert_int_equal(v, 0);
	assert_int_equal(hva_write_nofault(hva(at(0)), &v, 8), -EFAULT);
	assert_int_equal(hva_fault_in(hva(at(0)), 8, ACC_W), 0);
	assert_int_equal(hva_write_nofault(hva(at(0)), &v, 8), 0);
	assert_int_equal(hva_fault_in(hva(at(63)), 8192, ACC_R), -EFAULT);
	assert_int_equal(thread_current()->pagefault_disabled, 0);

	mm_host_use(NULL);
	assert_int_equal(hva_fault_in(hva(at(0)), 1, ACC_R), -EFAULT);
	mm_host_use(mm);
	assert_int_equal(hva_fault_handler(at(0), PFEC_I), -EFAULT);
	preempt_disable();
	assert_int_equal(hva_fault_handler(at(9), 0), -EFAULT);
	preempt_enable();
}

/* ---- the audit sees each kind of difference -------------------------------------------------- */

static void audit_names(const char *name)
{
	host_log_clear();
	assert_true(mm_host_audit() > 0);
	if (!host_log_contains(name))
		fail_msg("expected %s, the audit says: %s", name, host_log());
}

static void the_audit_sees_differences(void **state)
{
	u64 v;
	hva_t ro;

	(void)state;
	assert_int_equal(mm_host_store(at(0), 1), 0);
	assert_int_equal(mm_host_load(at(1), &v), 0);
	assert_int_equal(mm_region_add(mm, PAGE_SIZE, ACC_R, &ro), 0);
	assert_int_equal(mm_host_load(ro.v, &v), 0);
	u64 *entry = mm_entry(mm, at(0)), *zero = mm_entry(mm, at(1));
	u64 *beyond = mm_entry(mm, at(70));
	struct page *p = pfn_to_page(pte_pfn(pte_at(at(0)))), *table = phys_to_page(mm->pt.root);
	u64 was = *entry, was_zero = *zero, was_rmap = p->rmap;
	u32 was_flags = p->flags;
	audit_clean();

	p->rmap = was_rmap + PAGE_SIZE;
	audit_names("audit: lost_rmap: ");
	audit_names("audit: extra_rmap: ");
	p->rmap = was_rmap ^ 5ul << 48;
	audit_names("entries name no mm");
	p->rmap = was_rmap;
	*entry = 0;
	audit_names("audit: extra_rmap: ");
	audit_names("audit: anon_count: ");
	*entry = (was & ~PTE_ADDR) | page_to_phys(&page_array[0]);
	audit_names("audit: foreign_frame_mapped: ");
	*entry = (was & ~PTE_ADDR) | page_to_phys(table);
	audit_names("audit: foreign_frame_mapped: ");
	*entry = was;
	p->flags = PG_CACHED;
	audit_names("audit: freed_frame_mapped: ");
	audit_names("audit: cache_count: ");
	p->flags = (was_flags & 0xffff) | FRAME_KERNEL << PG_OWNER_SHIFT;
	audit_names("audit: frame_owner: ");
	p->flags = was_flags;
	p->mapcount = 2;
	audit_names("audit: mapcount: ");
	audit_names("audit: refcount: ");
	p->mapcount = 1;
	p->refcount = 0;
	audit_names("audit: refcount: ");
	audit_names("audit: freed_frame_mapped: ");
	p->refcount = 1;
	*zero |= PTE_W;
	audit_names("audit: zero_page_writable: ");
	*zero = was_zero & ~PTE_ZERO;
	audit_names("audit: zero_page_mark: ");
	*zero = 0;
	audit_names("audit: zero_count: ");
	*zero = was_zero;
	*beyond = was_zero;
	audit_names("audit: region_outside: ");
	*beyond = 0;
	*mm_entry(mm, ro.v) |= PTE_W;
	audit_names("audit: region_outside: ");
	*mm_entry(mm, ro.v) &= ~PTE_W;
	mm->counter.usage++;
	audit_names("audit: charge: ");
	audit_names("audit: machine_charge: ");
	mm->counter.usage--;
	mm->nr_tables++;
	audit_names("audit: table_count: ");
	mm->nr_tables--;
	table->flags &= ~PG_TABLE;
	audit_names("audit: table_frame: ");
	table->flags |= PG_TABLE;
	audit_clean();
}

static void mutant_uncharge_lost_is_caught(void **state)
{
	(void)state;
	assert_int_equal(mm_host_store(at(0), 1), 0);
	mutant_select("uncharge_lost");
	zap_locked(0, 1);
	audit_names("audit: charge: ");
	res_counter_uncharge(&mm->counter, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		mm_test(regions_are_apart_and_gaps_are_reused),
		mm_test(rights_of_regions_hold),
		mm_test(reading_untouched_memory_costs_no_frame),
		mm_test(first_write_gets_a_zeroed_frame),
		mm_test(zero_page_is_replaced_with_a_flush),
		mm_test(mutant_cow_no_flush_is_caught),
		mm_test(what_no_tlb_has_is_not_flushed),
		mm_test(zapping_forgets_contents_everywhere),
		mm_test(every_failed_allocation_leaves_nothing),
		mm_test(mm_creation_can_fail_anywhere),
		mm_test(the_limit_holds),
		mm_test(quicker_fault_wins),
		mm_test(zap_between_fault_and_install_restarts),
		mm_test(killed_threads_do_not_go_round),
		mm_test(hva_copies_cross_pages_and_stop_at_rights),
		mm_test(nofault_forms_do_not_fault),
		mm_test(the_audit_sees_differences),
		mm_test(mutant_uncharge_lost_is_caught),
	};

	mm_host_start(MIB(16));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
