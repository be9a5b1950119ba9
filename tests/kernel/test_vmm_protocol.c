/* SPDX-License-Identifier: BSD-2-Clause */
/* The protocol between mm and the secondary MMU, in the live kernel: a fault is held just before
 * it installs, and mm acts on another CPU; then a guest that runs is robbed of its pages. Every
 * rule is also broken on purpose by its mutant, and must be seen to break. */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/mutant.h"
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/vm_test.h"
#include "vmm/mmu.h"
#include "vmm/tlb_oracle.h"

#define PLACE    MIB(1) /* the page that the tests fight for; the guest's first one */
#define NR_PAGES 64u
#define MS       1000000ull

static struct vm *vm;

static void zap(u64 at, u64 bytes)
{
	rwsem_read_lock(&vm->mm->mmap_lock);
	mm_zap_range(vm->mm, test_hva(vm, at), test_hva(vm, at) + bytes);
	rwsem_read_unlock(&vm->mm->mmap_lock);
}

static void write_place(void)
{
	u64 one = 1;

	if (hva_write(hva(test_hva(vm, PLACE)), &one, sizeof(one)))
		panic("no memory for the test of the protocol");
}

static bool place_is_mapped(void)
{
	const u64 *spte = test_spte(vm, PLACE);

	return spte && pt_is_present(vm->pt.fmt, *spte);
}

/* ---- mm acts between the question and the install (rules 1, 4) ------------------------------- */

/* Run by a worker, on another CPU if there is one. */
static void act_write(unused void *arg)
{
	thread_use_space(vm->mm, &vm->mm->space);
	write_place();
	thread_use_space(NULL, NULL);
}

static void act_zap(unused void *arg)
{
	zap(PLACE, PAGE_SIZE);
}

static void act_add_slot(unused void *arg)
{
	static u64 at = MIB(64);

	if (memslot_add(vm, gpa(at), PAGE_SIZE))
		panic("no memory slot for the test of the protocol");
	at += PAGE_SIZE;
}

static const struct race {
	const char *what;
	const char *mutant; /* NULL: there is none */
	const char *names;  /* what the audits say of it */
	bool written;       /* is the page a frame of its own before? else untouched */
	void (*act)(void *arg);
} races[] = {
	{"the zero page is replaced", "install_no_retry", "spte_frame", false, act_write},
	{"the zero page is replaced", "no_seq_bump", "spte_frame", false, act_write},
	{"the page is taken away", "install_no_retry", "spte_frame", true, act_zap},
	{"a memory slot is added", NULL, "", true, act_add_slot},
};

static u32 arrivals;

static void before_install(void *ctx)
{
	const struct race *r = ctx;

	race_arm("mmu.before_install", 0, before_install, ctx);
	if (arrivals++ > 0)
		return;
	worker_start_on(0, r->act, 0, NULL);
	workers_join(1);
}

/* One race, with or without its mutant. Returns the names of the differences. */
static const char *race_run(const struct race *r, const char *mutant)
{
	if (r->written)
		write_place();
	arrivals = 0;
	mutant_select(mutant);
	race_arm("mmu.before_install", 0, before_install, (void *)r);
	int err = mmu_fault(vm->vcpus[0], gpa(PLACE), ACC_R);
	race_arm(NULL, 0, NULL, NULL);
	mutant_select(NULL);
	if (err)
		panic("a fault of the test failed: %d", err);
	return test_audits(vm);
}

static void test_races(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(races); i++) {
		const struct race *r = &races[i];

		const char *names = race_run(r, NULL);
		report(arrivals == 2 && place_is_mapped() && !names[0],
		       "a fault starts again when meanwhile %s: %u rounds %s", r->what, arrivals,
		       names);
		zap(PLACE, PAGE_SIZE);
		if (!r->mutant)
			continue;
		names = race_run(r, r->mutant);
		report(arrivals == 1 && !strcmp(names, r->names),
		       "mutant %s is caught when %s: %u rounds, %s", r->mutant, r->what, arrivals,
		       names);
		zap(PLACE, PAGE_SIZE);
	}
}

/* ---- an open bracket keeps everybody out ----------------------------------------------------- */

#define ROUNDS_OPEN 3u

static struct mm_event event;
static bool is_open;

static void bracket_open(void)
{
	event = (struct mm_event){
		.mm = vm->mm,
		.start = test_hva(vm, PLACE),
		.end = test_hva(vm, PLACE) + PAGE_SIZE,
		.reason = MM_EVENT_UNMAP,
		.may_sleep = true,
	};
	rwsem_read_lock(&vm->mm->mmap_lock);
	int err = notifier_range_start(&vm->mm->notifiers, &event);
	CHECK(err == 0, "a bracket that may sleep was refused: %d", err);
	is_open = true;
}

static void bracket_close(void)
{
	notifier_range_end(&vm->mm->notifiers, &event);
	rwsem_read_unlock(&vm->mm->mmap_lock);
	is_open = false;
}

static void around_bracket(void *ctx)
{
	race_arm("mmu.before_install", 0, around_bracket, ctx);
	if (arrivals++ == 0)
		bracket_open();
	else if (arrivals == ROUNDS_OPEN + 1)
		bracket_close();
}

/* Returns true if a translation was made while the bracket was open. */
static bool installed_inside(const char *mutant)
{
	write_place();
	arrivals = 0;
	mutant_select(mutant);
	race_arm("mmu.before_install", 0, around_bracket, NULL);
	int err = mmu_fault(vm->vcpus[0], gpa(PLACE), ACC_W);
	race_arm(NULL, 0, NULL, NULL);
	CHECK(err == 0, "a fault of the test failed: %d", err);
	bool inside = is_open;
	if (inside)
		bracket_close();
	mutant_select(NULL);
	return inside;
}

static void test_bracket(void)
{
	bool inside = installed_inside(NULL);

	report(!inside && arrivals == ROUNDS_OPEN + 2 && place_is_mapped(),
	       "nothing is installed while a bracket is open: %u rounds", arrivals);
	zap(PLACE, PAGE_SIZE);
	report(installed_inside("no_open_count"), "mutant no_open_count is caught");
	zap(PLACE, PAGE_SIZE);
}

/* ---- rights, zap, dirty, young --------------------------------------------------------------- */

static void fault_place(unsigned int acc)
{
	int err = mmu_fault(vm->vcpus[0], gpa(PLACE), acc);

	CHECK(err == 0, "a fault of the test failed: %d", err);
}

static void test_rights(void)
{
	fault_place(ACC_R);
	const char *names = test_audits(vm);
	report(!names[0] && place_is_mapped(), "a read maps the zero page read-only %s", names);
	fault_place(ACC_W);
	names = test_audits(vm);
	report(!names[0] && place_is_mapped(), "a write then maps a frame of its own %s", names);
	zap(PLACE, PAGE_SIZE);

	mutant_select("install_writable");
	fault_place(ACC_R);
	mutant_select(NULL);
	names = test_audits(vm);
	report(!strcmp(names, "spte_writable"), "mutant install_writable is caught: %s", names);
	zap(PLACE, PAGE_SIZE);
}

static void test_zap(void)
{
	fault_place(ACC_W);
	u64 gen = vm->tlb_gen;
	zap(PLACE, PAGE_SIZE);
	report(!place_is_mapped() && vm->tlb_gen > gen,
	       "a zap takes the spte away and owes a flush");
	gen = vm->tlb_gen;
	zap(PLACE, PAGE_SIZE);
	report(vm->tlb_gen == gen, "where there was no spte no flush is owed");

	fault_place(ACC_W);
	mutant_select("zap_forgotten");
	zap(PLACE, PAGE_SIZE);
	mutant_select(NULL);
	const char *names = test_audits(vm);
	report(!strcmp(names, "spte_frame"), "mutant zap_forgotten is caught: %s", names);
	zap(PLACE, PAGE_SIZE);
}

/* The processor wrote through the spte; does mm hear of it? */
static bool dirty_arrives(const char *mutant, bool (*take)(void))
{
	fault_place(ACC_W);
	struct page *p = test_page(vm, PLACE);
	page_get(p);
	page_clear(p, PG_DIRTY);
	atomic_or(test_spte(vm, PLACE), vm->pt.fmt->dirty);
	mutant_select(mutant);
	bool found = take();
	mutant_select(NULL);
	bool dirty = page_test(p, PG_DIRTY);
	zap(PLACE, PAGE_SIZE);
	page_put(p);
	return found && dirty;
}

static bool take_by_bracket(void)
{
	bracket_open();
	bool gone = !place_is_mapped();
	bracket_close();
	return gone;
}

static bool take_write_right(void)
{
	u64 f = PLACE >> PAGE_SHIFT;

	spin_lock(&vm->mmu_lock);
	bool found = vm->mmu->protect(vm, f, f + 1);
	spin_unlock(&vm->mmu_lock);
	return found && place_is_mapped() && !(vm->pt.fmt->rights(*test_spte(vm, PLACE)) & ACC_W);
}

static void test_dirty(void)
{
	report(dirty_arrives(NULL, take_by_bracket),
	       "an spte that a bracket takes hands its dirty bit over");
	report(dirty_arrives(NULL, take_write_right),
	       "an spte that is narrowed hands its dirty bit over");
	report(!dirty_arrives("zap_drops_dirty", take_by_bracket),
	       "mutant zap_drops_dirty is caught");
}

static bool young(int kind)
{
	u64 at = test_hva(vm, PLACE);

	rwsem_read_lock(&vm->mm->mmap_lock);
	bool is = notifier_young(&vm->mm->notifiers, vm->mm, at, at + PAGE_SIZE, kind);
	rwsem_read_unlock(&vm->mm->mmap_lock);
	return is;
}

/* clear_young - of the place, asked for behind one that is no memory. */
static bool clear_young(void)
{
	const u64 at[] = {MM_HVA_END - PAGE_SIZE, test_hva(vm, PLACE)};

	rwsem_read_lock(&vm->mm->mmap_lock);
	u32 set = notifier_clear_young(&vm->mm->notifiers, vm->mm, at, ARRAY_SIZE(at));
	rwsem_read_unlock(&vm->mm->mmap_lock);
	return set == 2;
}

static void test_young(void)
{
	fault_place(ACC_W);
	report(young(YOUNG_TEST) && clear_young() && !young(YOUNG_TEST) && !clear_young(),
	       "an spte is young until its accessed bit is cleared");
	zap(PLACE, PAGE_SIZE);
	fault_place(ACC_W);
	bool before = young(YOUNG_TEST);
	int err = mmu_fault(vm->vcpus[0], gpa(PLACE + KIB(512)), ACC_R);
	report(before && err == 0 && !young(YOUNG_TEST),
	       "what a fault was for is old when its vCPU faults again");
	zap(PLACE + KIB(512), PAGE_SIZE);
	u64 gen = vm->tlb_gen;
	atomic_or(test_spte(vm, PLACE), vm->pt.fmt->accessed);
	report(young(YOUNG_CLEAR_FLUSH) && !young(YOUNG_CLEAR_FLUSH) && vm->tlb_gen == gen + 1,
	       "clear_flush_young flushes where it cleared, and only there");
	zap(PLACE, PAGE_SIZE);
}

/* ---- a guest that runs ----------------------------------------------------------------------- */

/* start: mov eax, [2 MiB]; mov [2 MiB + 4096], eax; mov edi, 1 MiB
 * next:  inc dword [edi]; add edi, 4096; cmp edi, 1 MiB + 64 pages; jb next; jmp start */
static const u8 program[] = {
	0xa1, 0x00, 0x00, 0x20, 0x00, 0xa3, 0x00, 0x10, 0x20, 0x00, 0xbf, 0x00, 0x00, 0x10, 0x00,
	0xff, 0x07, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0x81, 0xff, 0x00, 0x00, 0x14, 0x00, 0x72,
	0xf0, 0xeb, 0xdf,
};
static_assert(PLACE == 0x100000 && PLACE + NR_PAGES * PAGE_SIZE == 0x140000, "the program says so");
#define READ_BY_GUEST  MIB(2)
#define GUEST_HAS_READ (MIB(2) + PAGE_SIZE)
#define PROGRAM PAGE_SIZE

static void guest_start(void)
{
	struct vcpu *v = vm->vcpus[0];

	if (hva_write(hva(test_hva(vm, PROGRAM)), program, sizeof(program)))
		panic("no memory for the test's guest");
	test_vcpu_flat32(v, PROGRAM);
	if (nr_cpus > 1) {
		/* The other CPUs may still be on their way to the scheduler. */
		(void)thread_sleep_ns(50 * MS);
		thread_set_affinity(&v->thread, ~1ull);
	}
	vm_start(vm);
}

/* The page at PLACE, once the guest has made one there. */
static struct page *wait_for_guest(void)
{
	const u64 *pte = test_pte(vm, PLACE);

	while (!pte_allows(pte_read(pte), ACC_W) || !place_is_mapped())
		thread_yield();
	return test_page(vm, PLACE);
}

/* How many pages of @nr were still written after they had been taken away. */
static u32 written_behind_us(u32 nr)
{
	u32 bad = 0;

	for (u32 i = 0; i < nr; i++) {
		struct page *p = wait_for_guest();
		const u32 *word = page_to_virt(p);

		page_get(p); /* so that it is nobody else's when it is written */
		zap(PLACE, PAGE_SIZE);
		u32 before = READ_ONCE(*word);
		busy_wait(MS / 5);
		bad += READ_ONCE(*word) != before;
		page_put(p);
	}
	return bad;
}

static u32 guest_has_read(void)
{
	u32 value;

	if (hva_read(&value, hva(test_hva(vm, GUEST_HAS_READ)), sizeof(value)))
		panic("memory of the test's guest cannot be read");
	return value;
}

/* In how many cases of @nr the guest goes on reading the zero page although another frame is
 * there. Its primary PTE was never used by a processor, so that only the subscriber's flush
 * tells the guest. */
static u32 read_behind_us(const char *mutant, u32 nr)
{
	hva_t at = hva(test_hva(vm, READ_BY_GUEST));
	u32 bad = 0;

	for (u32 value = 1; value <= nr; value++) {
		zap(READ_BY_GUEST, PAGE_SIZE);
		while (guest_has_read() != 0)
			thread_yield();
		mutant_select(mutant);
		int err = mm_fault(vm->mm, at, ACC_W);
		mutant_select(NULL);
		if (err || hva_write(at, &value, sizeof(value)))
			panic("memory of the test's guest cannot be written");
		/* On a loaded emulator a processor may not run for long. */
		u64 end = clock_ns() + 1000 * MS;
		while (guest_has_read() != value && clock_ns() < end)
			thread_yield();
		bad += guest_has_read() != value;
	}
	return bad;
}

static void storm(void)
{
	u64 end = clock_ns() + 500 * MS, chance = 12345, v;

	while (clock_ns() < end) {
		chance = chance * 6364136223846793005 + 1442695040888963407;
		u64 page = chance >> 40 & (NR_PAGES - 1), n = chance >> 50 & 7;

		if (hva_read(&v, hva(test_hva(vm, PLACE + page * PAGE_SIZE)), 4))
			panic("memory of the test's guest cannot be read");
		if (n)
			zap(PLACE + page * PAGE_SIZE, MIN(n, NR_PAGES - page) * PAGE_SIZE);
	}
}

static void test_running(void)
{
	watchdog_start("vmm_protocol");
	guest_start();
	u32 bad = written_behind_us(100);
	report(bad == 0, "a guest writes to no page that was taken from it: %u of 100", bad);
	bad = read_behind_us(NULL, 20);
	report(bad == 0, "a guest reads no zero page that was replaced: %u of 20", bad);
	if (nr_cpus > 1) {
		tlb_oracle_catch(); /* else it stops us; here the guest itself shall tell */
		bad = read_behind_us("flush_no_kick", 2);
		report(bad > 0, "mutant flush_no_kick is caught: %u of 2; %s", bad,
		       tlb_oracle_caught());
	} else {
		report_skip("mutant flush_no_kick is caught", "one CPU");
	}
	storm();
	vm_pause(vm);
	vm_wait_parked(vm);
	const char *names = test_audits(vm);
	report(!names[0],
	       "a guest that is robbed all the time stays sound: %s%lu faults, %lu copies", names,
	       vm->mm->faults, vm->mm->cow_faults);
	vm_resume(vm);
	watchdog_stop();
}

static void test_protocol(void)
{
	struct frame_stats before, after;

	thread_set_affinity(thread_current(), 1);
	vm = test_vm_create("protocol", MIB(8)); /* what is allocated once is allocated now */
	if (vm) {
		test_races();
		test_bracket();
		test_rights();
		test_zap();
		test_dirty();
		test_young();
		test_vm_destroy(vm);
		frame_stats(&before);
		vm = test_vm_create("running", MIB(8));
		test_running();
		test_vm_destroy(vm);
		frame_stats(&after);
		report(before.free == after.free && machine_counter.usage == 0,
		       "the VMs have gone: %lu frames free before, %lu after; %lu charged",
		       before.free, after.free, machine_counter.usage);
		report(mm_audit_quiet(printk) + frame_audit(printk) == 0, "the audits are clean");
	}
	thread_set_affinity(thread_current(), ~0ull);
}
KERNEL_SUITE(vmm_protocol, test_protocol);
