/* SPDX-License-Identifier: BSD-2-Clause */
/* mm on the real processor: threads on all CPUs fault one address space through hva, while another
 * takes pages away and a third looks at them by gup. Contents, audit and the number of frames are
 * compared. */
#include "cpu/clock.h"
#include "lib/atomic.h"
#include "lib/errno.h"
#include "lib/printk.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"
#include "sched/wait.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"

#define PAGES      512u
#define NR_TOUCHER 4u
#define LOOKER     NR_TOUCHER
#define ZAPPER     (NR_TOUCHER + 1)
#define NR_ACTORS  (NR_TOUCHER + 2)
#define RUN_NS     (1500 * 1000 * 1000ull)

static struct mm *mm;
static u64 base;
static u32 nr_wrong;  /* [a] */
static u32 nr_active; /* [a] touchers still at work */

static u64 place(u32 page, u32 word)
{
	return base + page * PAGE_SIZE + word * 8;
}

static u32 random_next(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 20;
}

static u64 stamp(u32 page, u64 n)
{
	return (u64)(page + 1) << 40 | n;
}

static void wrong(const char *what, u32 page, u64 value)
{
	if (atomic_add(&nr_wrong, 1) <= 3)
		printk("%s: page %u, %#lx\n", what, page, value);
}

static void mm_begin(void)
{
	hva_t start = {0};

	mm = mm_create(&machine_counter);
	if (!mm || mm_region_add(mm, PAGES * PAGE_SIZE, ACC_R | ACC_W, &start))
		panic("no memory for the test of mm");
	base = start.v;
	nr_wrong = 0;
}

static void mm_end(void)
{
	mm_exit(mm);
	mm = NULL;
}

/* ---- everything at once ---------------------------------------------------------------------- */

/* Writes its own word of random pages, and reads there what it wrote last, or 0 after a zap. */
static void toucher(void *arg)
{
	static u64 last[NR_TOUCHER][PAGES];
	struct worker *me = arg;
	u64 chance = me->index + 1, end = clock_ns() + RUN_NS, v;

	thread_use_space(mm, &mm->space);
	for (u32 i = 0; i < PAGES; i++)
		last[me->index][i] = 0;
	for (u64 n = 1; clock_ns() < end; n++) {
		u32 page = random_next(&chance) % PAGES;
		u64 *mine = &last[me->index][page];

		if (hva_read(&v, hva(place(page, me->index)), 8) || (v && v != *mine))
			wrong("read", page, v);
		*mine = stamp(page, n);
		if (n % 2 && hva_write(hva(place(page, me->index)), mine, 8))
			wrong("write", page, n);
		else if (n % 2 == 0)
			*mine = v;
	}
	thread_use_space(NULL, NULL);
	atomic_sub(&nr_active, 1);
}

/* What stands in a page names the page, or is 0: in nobody's frame else. */
static void looker(void *arg)
{
	u64 chance = 99;

	(void)arg;
	while (atomic_load(&nr_active)) {
		u32 index = random_next(&chance) % PAGES;
		u32 word = random_next(&chance) % NR_TOUCHER;
		struct mm_page page;
		hva_t at = hva(place(index, 0));

		if (!mm_gup_fast(mm, at, ACC_R, &page) && mm_gup(mm, at, ACC_R, &page)) {
			wrong("gup", index, 0);
			continue;
		}
		u64 v = READ_ONCE(((u64 *)page_to_virt(page.page))[word]);
		if (v && v >> 40 != index + 1)
			wrong("behind a reference", index, v);
		page_put(page.page);
	}
}

static void zapper(void *arg)
{
	u64 chance = 7;

	(void)arg;
	while (atomic_load(&nr_active)) {
		u32 from = random_next(&chance) % PAGES;
		u32 to = MIN(from + 1 + random_next(&chance) % 40, PAGES);

		rwsem_read_lock(&mm->mmap_lock);
		mm_zap_range(mm, place(from, 0), place(to, 0));
		rwsem_read_unlock(&mm->mmap_lock);
		thread_yield();
	}
}

static void test_all_at_once(void)
{
	watchdog_start("mm");
	mm_begin();
	nr_active = NR_TOUCHER;
	for (u32 i = 0; i < NR_ACTORS; i++)
		worker_start_on(i, i == LOOKER ? looker : i == ZAPPER ? zapper : toucher, 0, NULL);
	workers_join(NR_ACTORS);
	report(nr_wrong == 0, "%u threads on %u CPUs find what they wrote: %u wrong", NR_ACTORS,
	       nr_cpus, nr_wrong);
	report(mm->cow_faults > 0 && mm->zero_faults > 0,
	       "%lu faults, %lu of the zero page, %lu copies", mm->faults, mm->zero_faults,
	       mm->cow_faults);
	report(mm_audit(printk) == 0, "the audit of mm is clean while pages are mapped");
	mm_end();
	watchdog_stop();
}

/* ---- the TLB of another CPU ------------------------------------------------------------------ */

static u32 turn; /* [a] whose step is next */

static void wait_turn(u32 n)
{
	while (atomic_load(&turn) != n)
		thread_yield();
}

/* Reads zeroes, so that its CPU's TLB has the zero page; then must see what the other wrote. */
static void tlb_reader(void *arg)
{
	struct worker *me = arg;
	u64 v;

	thread_use_space(mm, &mm->space);
	for (u32 i = 0; i < PAGES; i++) {
		wait_turn(2 * i);
		if (hva_read(&v, hva(place(i, 0)), 8) || v)
			me->count++;
		atomic_store(&turn, 2 * i + 1);
		while (atomic_load(&turn) != 2 * i + 2)
			cpu_relax();
		if (hva_read(&v, hva(place(i, 0)), 8) || v != stamp(i, 1))
			me->count++;
	}
	thread_use_space(NULL, NULL);
}

static void tlb_writer(void *arg)
{
	struct worker *me = arg;

	thread_use_space(mm, &mm->space);
	for (u32 i = 0; i < PAGES; i++) {
		u64 v = stamp(i, 1);

		wait_turn(2 * i + 1);
		if (hva_write(hva(place(i, 0)), &v, 8))
			me->count++;
		atomic_store(&turn, 2 * i + 2);
	}
	thread_use_space(NULL, NULL);
}

static void test_shootdown(void)
{
	if (nr_cpus < 2) {
		report_skip("a copied zero page is flushed from the other CPU's TLB", "one CPU");
		return;
	}
	watchdog_start("mm: TLB");
	mm_begin();
	turn = 0;
	workers[0].count = workers[1].count = 0;
	worker_start_on(0, tlb_reader, 1, NULL);
	worker_start_on(1, tlb_writer, 2, NULL);
	workers_join(2);
	report(workers[0].count + workers[1].count == 0 && mm->cow_faults == PAGES,
	       "a copied zero page is flushed from the other CPU's TLB: %lu of %lu seen wrongly",
	       workers[0].count, mm->cow_faults);
	mm_end();
	watchdog_stop();
}

/* ---- fix-up ---------------------------------------------------------------------------------- */

/* In a thread of its own, since the mm of the caller is its business. */
static void fixup_user(void *arg)
{
	struct worker *me = arg;
	u64 v = 1, beyond = place(PAGES, 0);
	u32 half = 0;
	u8 bytes[24];

	thread_use_space(mm, &mm->space);
	me->result = hva_read(&v, hva(beyond), 8) != -EFAULT ||
		     hva_write(hva(beyond), &v, 4) != -EFAULT ||
		     hva_read(bytes, hva(beyond - 11), 24) != -EFAULT ||
		     hva_zero(hva(beyond - PAGE_SIZE), 2 * PAGE_SIZE) != -EFAULT ||
		     hva_read(&v, hva(DIRECT_MAP), 8) != -EFAULT ||
		     hva_read(&v, hva(0), 8) != -EFAULT;
	me->result += 2 * (hva_read_nofault(&v, hva(place(7, 0)), 8) != -EFAULT ||
			   hva_fault_in(hva(place(7, 0)), 8, ACC_R) ||
			   hva_read_nofault(&v, hva(place(7, 0)), 8) || v != 0 ||
			   hva_write_nofault(hva(place(7, 0)), &v, 8) != -EFAULT);
	v = 0x1122334455667788;
	me->result += 4 * (hva_write(hva(place(9, 0) - 3), &v, 8) ||
			   hva_read(&half, hva(place(9, 0) - 1), 4) || half != 0x33445566 ||
			   hva_zero(hva(place(9, 0) - 1), 3) ||
			   hva_read(&v, hva(place(9, 0) - 3), 8) ||
			   v != 0x1122330000007788);
	thread_use_space(NULL, NULL);
}

static void test_fixup(void)
{
	mm_begin();
	worker_start_on(0, fixup_user, 0, NULL);
	workers_join(1);
	report(!(workers[0].result & 1), "accesses outside of regions return -EFAULT");
	report(!(workers[0].result & 2), "the _nofault forms do not fault in");
	report(!(workers[0].result & 4), "accesses cross pages, at any alignment");
	mm_end();
}

static void test_mm(void)
{
	struct frame_stats before, after;
	u64 charged = machine_counter.usage;

	test_fixup(); /* what is allocated once is allocated now */
	frame_stats(&before);
	test_all_at_once();
	test_shootdown();
	frame_stats(&after);
	report(after.free == before.free, "every frame came back: %lu free before, %lu after",
	       before.free, after.free);
	report(machine_counter.usage == charged, "and every charge: %lu before, %lu after", charged,
	       machine_counter.usage);
	report(mm_audit(printk) + frame_audit(printk) == 0, "the audits are clean");
}
KERNEL_SUITE(mm, test_mm);
