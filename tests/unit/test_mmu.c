/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/ept.c kernel/vmm/memslot.c kernel/vmm/mmu_audit.c kernel/vmm/tlb_oracle.c
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* A VM's secondary MMU on a real mm: three vCPUs reach the guest's memory through the nested table,
 * each by a TLB that never forgets by itself; device models write by hva; mm takes pages away;
 * allocations fail. After each step what a guest reads is what was written last, and the audits are
 * clean. Without the kick of rule 18 they must not be. */
#include "mm_host.h"

#include "lib/mutant.h"

/* Who is made to leave guest mode must be known here, so mmu.c calls us for it. */
static void guest_kick(u64 mask, void (*fn)(void *arg), void *arg);
#define smp_call guest_kick
#include "vmm/mmu.c"

#define NR_VCPUS 3
#define LOW      48u /* pages from 0 on */
#define HIGH     16u /* pages from 4 GiB on */
#define PAGES    (LOW + HIGH)

static struct hvm_ops processor = {.name = "host", .tdp_name = "npt"};
const struct hvm_ops *hvm = &processor;

static struct vm vm;
static struct vcpu vcpus[NR_VCPUS];
static struct softmmu guest_mmu[NR_VCPUS];
static u64 seen_gen[NR_VCPUS]; /* up to which the TLB of a vCPU's ASID is true */
static unsigned int nr_kicks;
static u64 frames_before;

/* ---- what mmu.c needs besides ----------------------------------------------------------------- */

/* The interrupt makes who is in guest mode leave. */
static void guest_kick(u64 mask, void (*fn)(void *arg), void *arg)
{
	for (u32 i = 0; i < NR_VCPUS; i++)
		if (vcpus[i].mode == VCPU_IN_GUEST && (mask >> vcpus[i].cpu & 1))
			vcpus[i].mode = VCPU_OUTSIDE;
	nr_kicks++;
	fn(arg);
}

/* ---- the guest's processors ------------------------------------------------------------------ */

/* vCPU i runs on CPU i, and stays in guest mode until a fault or a kick. */
static void enter(u32 i)
{
	if (vcpus[i].mode == VCPU_IN_GUEST)
		return;
	vcpus[i].cpu = i;
	vcpus[i].mode = VCPU_IN_GUEST;
	if (seen_gen[i] != vm.tlb_gen) {
		softmmu_flush(&guest_mmu[i]);
		seen_gen[i] = vm.tlb_gen;
	}
}

static int guest_access(u32 i, u64 at, bool write, u64 *value)
{
	u32 was = mm_host_cpu(i), pfec;
	int err = 0;

	while (!err) {
		enter(i);
		if (write ? !softmmu_store(&guest_mmu[i], at, ACC_U, *value, &pfec)
			  : !softmmu_load(&guest_mmu[i], at, ACC_U, value, &pfec))
			break;
		vcpus[i].mode = VCPU_OUTSIDE;
		err = mmu_fault(&vcpus[i], gpa(at), pfec & PFEC_W ? ACC_W : ACC_R);
	}
	mm_host_cpu(was);
	return err;
}

static u64 place(u32 page)
{
	return page < LOW ? page * PAGE_SIZE : GIB(4) + (page - LOW) * PAGE_SIZE;
}

static u64 hva_of(u32 page)
{
	const struct memslot *slot = memslot_find(&vm.slots, gpa_to_gfn(gpa(place(page))));

	assert_non_null(slot);
	return memslot_hva(slot, gpa_to_gfn(gpa(place(page))));
}

static void zap_pages(u32 from, u32 to)
{
	rwsem_read_lock(&vm.mm->mmap_lock);
	for (u32 i = from; i < to; i++)
		mm_zap_range(vm.mm, hva_of(i), hva_of(i) + PAGE_SIZE);
	rwsem_read_unlock(&vm.mm->mmap_lock);
}

static int audits(void)
{
	return mmu_audit(&vm, mm_host_report) + mm_host_audit();
}

/* ---- a VM ------------------------------------------------------------------------------------ */

static int try_begin(void)
{
	vm = (struct vm){.state = VM_CREATED};
	strcpy(vm.config.name, "guest");
	memslots_init(&vm.slots);
	vm.mm = mm_create(&machine_counter);
	if (!vm.mm)
		return -ENOMEM;
	int err = memslot_add(&vm, gpa(0), LOW * PAGE_SIZE);
	if (!err)
		err = memslot_add(&vm, gpa(GIB(4)), HIGH * PAGE_SIZE);
	if (!err)
		err = mmu_create(&vm);
	if (err) {
		mm_exit(vm.mm);
		return err;
	}
	for (u32 i = 0; i < NR_VCPUS; i++) {
		vcpus[i] = (struct vcpu){.vm = &vm, .index = i};
		vm.vcpus[i] = &vcpus[i];
		vm.nr_vcpus++;
		softmmu_init(&guest_mmu[i], SOFTMMU_NPT, vm.pt.root);
		seen_gen[i] = vm.tlb_gen;
	}
	return 0;
}

static void end(void)
{
	for (u32 i = 0; i < MM_HOST_CPUS; i++) {
		u32 was = mm_host_cpu(i);
		mm_host_use(NULL);
		mm_host_cpu(was);
	}
	mmu_destroy(&vm);
	for (u32 i = 0; i < NR_VCPUS; i++)
		softmmu_destroy(&guest_mmu[i]);
	mm_exit(vm.mm);
}

static int setup(unused void **state)
{
	mutant_select(NULL);
	race_arm(NULL, 0, NULL, NULL);
	mm_host_cpu(0);
	nr_kicks = 0;
	frames_before = mm_host_free_frames();
	assert_int_equal(try_begin(), 0);
	return 0;
}

static int teardown(unused void **state)
{
	assert_int_equal(audits(), 0);
	end();
	assert_int_equal(mm_host_free_frames(), frames_before);
	assert_int_equal(mm_host_take(), 0);
	return 0;
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void first_touch(unused void **state)
{
	u64 value = 0xbad;

	assert_int_equal(guest_access(0, place(3) + 8, false, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(vm.mm->nr_zero_mapped, 1);
	value = 7;
	assert_int_equal(guest_access(1, place(3) + 8, true, &value), 0);
	assert_int_equal(vm.mm->nr_anon, 1);
	assert_int_equal(guest_access(0, place(3) + 8, false, &value), 0);
	assert_int_equal(value, 7);
	assert_int_equal(guest_access(2, place(PAGES - 1), true, &value), 0); /* behind 4 GiB */
	assert_int_equal(vm.mm->nr_anon, 2);
}

static void no_memory_there(unused void **state)
{
	const u64 holes[] = {LOW * PAGE_SIZE, 0xfee00000, GIB(4) - 1, GIB(4) + HIGH * PAGE_SIZE,
			     1ull << 47, 0xffffffffff000};

	for (u32 i = 0; i < ARRAY_SIZE(holes); i++)
		assert_int_equal(mmu_fault(&vcpus[0], gpa(holes[i]), ACC_R), -ENOENT);
	assert_int_equal(vm.nr_sptables, 1);
}

/* An access by hva and one by the guest meet in one frame. */
static void same_memory(unused void **state)
{
	u64 value = 0x1234;

	mm_host_use(vm.mm);
	assert_int_equal(guest_access(1, place(5), true, &value), 0);
	assert_int_equal(mm_host_load(hva_of(5), &value), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(mm_host_store(hva_of(5), 0x5678), 0);
	assert_int_equal(guest_access(2, place(5), false, &value), 0);
	assert_int_equal(value, 0x5678);
}

/* The zero page in a guest's TLB, and a device writes there. */
static void zero_page_is_replaced(unused void **state)
{
	u64 value;

	mm_host_use(vm.mm);
	assert_int_equal(guest_access(1, place(9), false, &value), 0);
	assert_true(softmmu_holds(&guest_mmu[1], place(9)));
	assert_int_equal(mm_host_store(hva_of(9), 99), 0);
	assert_int_equal(nr_kicks, 1);
	assert_int_equal(guest_access(1, place(9), false, &value), 0);
	assert_int_equal(value, 99);
}

static void idle_vcpus_are_not_kicked(unused void **state)
{
	u64 value = 1;

	assert_int_equal(guest_access(1, place(9), true, &value), 0);
	vcpus[1].mode = VCPU_OUTSIDE;
	zap_pages(9, 10);
	assert_int_equal(nr_kicks, 0);
	assert_int_equal(guest_access(1, place(9), false, &value), 0); /* its entry flushed */
	assert_int_equal(value, 0);
	zap_pages(30, 40); /* nobody maps those */
	assert_int_equal(nr_kicks, 0);
}

static void brackets_that_flush_later(unused void **state)
{
	struct mm_event ev = {.mm = vm.mm, .start = hva_of(9), .end = hva_of(9) + PAGE_SIZE,
			      .reason = MM_EVENT_RECLAIM, .flush_later = true};
	u64 value = 1;

	assert_int_equal(guest_access(1, place(9), true, &value), 0);
	rwsem_read_lock(&vm.mm->mmap_lock);
	assert_int_equal(notifier_range_start(&vm.mm->notifiers, &ev), 0);
	notifier_range_end(&vm.mm->notifiers, &ev);
	assert_int_equal(nr_kicks, 0);
	notifier_flush(&vm.mm->notifiers, vm.mm);
	rwsem_read_unlock(&vm.mm->mmap_lock);
	assert_int_equal(nr_kicks, 1);
	assert_int_equal(vcpus[1].mode, VCPU_OUTSIDE);
}

/* Is page @page in the nested table? Pages by hva alone are there when the guest faults near them, only. */
static bool is_installed(u32 page)
{
	const u64 *entry = pt_lookup_leaf(&vm.pt, place(page));

	return entry && pt_is_present(vm.pt.fmt, *entry);
}

static void pages_that_came_along(unused void **state)
{
	const struct memslot *slot = &vm.slots.slot[0];
	struct notifier_sample sample = notifier_sample(&vm.mm->notifiers, hva_of(5));
	struct mm_page p = {.refault = true, .before = 3, .after = 2};
	gfn_t five = gpa_to_gfn(gpa(place(5)));

	mm_host_use(vm.mm);
	for (u32 i = 0; i < LOW; i++)
		assert_int_equal(i == 6 ? 0 : mm_host_store(hva_of(i), i), 0);
	assert_int_equal(mmu_fault(&vcpus[0], gpa(place(20)), ACC_R), 0); /* tables */
	install_along(&vcpus[0], slot, five, &p, sample, vm.slots.generation);
	for (u32 i = 0; i < 10; i++) /* 5 is the fault's own, nothing is at 6 */
		assert_int_equal(is_installed(i), i == 2 || i == 3 || i == 4 || i == 7);
	assert_int_equal(vm.watch.all_refaults, 4);
	p.before = 5;
	install_along(&vcpus[0], slot, five, &p, sample, vm.slots.generation);
	assert_true(is_installed(0) && is_installed(1) && !is_installed(8));
	assert_int_equal(audits(), 0);

	/* What was learnt before a bracket is not written down. */
	zap_pages(30, 31);
	p = (struct mm_page){.after = 3};
	install_along(&vcpus[0], slot, gfn(31), &p, sample, vm.slots.generation);
	assert_false(is_installed(32) || is_installed(33));
	sample = notifier_sample(&vm.mm->notifiers, hva_of(31));
	install_along(&vcpus[0], slot, gfn(31), &p, sample, vm.slots.generation - 1);
	assert_false(is_installed(32) || is_installed(33));
	install_along(&vcpus[0], slot, gfn(31), &p, sample, vm.slots.generation);
	assert_true(is_installed(32) && is_installed(33));
}

static void kill_me(unused void *ctx)
{
	race_arm("mmu.before_install", 0, kill_me, NULL);
	thread_current()->kill = true;
	vm.slots.generation++; /* so that it would start again for ever */
}

static void killed_while_it_starts_again(unused void **state)
{
	race_arm("mmu.before_install", 0, kill_me, NULL);
	assert_int_equal(mmu_fault(&vcpus[0], gpa(0), ACC_W), -EINTR);
	race_arm(NULL, 0, NULL, NULL);
	thread_current()->kill = false;
}

static void mm_ends_first(unused void **state)
{
	u64 value = 1;

	for (u32 i = 0; i < PAGES; i += 5)
		assert_int_equal(guest_access(i % NR_VCPUS, place(i), true, &value), 0);
	rwsem_write_lock(&vm.mm->mmap_lock);
	notifier_release(&vm.mm->notifiers, vm.mm);
	rwsem_write_unlock(&vm.mm->mmap_lock);
	spin_lock(&vm.mmu_lock);
	assert_false(vm.mmu->zap(&vm, 0, 1ull << 36)); /* it has gone already */
	spin_unlock(&vm.mmu_lock);
	/* mmu_destroy unregisters once more: harmless. */
}

/* ---- memory slots ---------------------------------------------------------------------------- */

static void slots(unused void **state)
{
	u32 generation = vm.slots.generation;

	assert_int_equal(memslot_add(&vm, gpa((LOW - 1) * PAGE_SIZE), PAGE_SIZE), -EEXIST);
	assert_int_equal(memslot_add(&vm, gpa(GIB(4) - PAGE_SIZE), 2 * PAGE_SIZE), -EEXIST);
	assert_int_equal(memslot_add(&vm, gpa(0), GIB(8)), -EEXIST);
	assert_int_equal(vm.slots.generation, generation);
	assert_int_equal(memslot_add(&vm, gpa(MIB(1)), PAGE_SIZE), 0); /* between the two */
	assert_int_equal(vm.slots.generation, generation + 1);
	for (u32 i = 1; i < vm.slots.nr; i++)
		assert_true(vm.slots.slot[i - 1].gfn < vm.slots.slot[i].gfn);
	assert_null(memslot_find(&vm.slots, gfn(0x101)));
	assert_non_null(memslot_find(&vm.slots, gfn(0x100)));
	for (u64 at = MIB(2); vm.slots.nr < MAX_MEMSLOTS; at += MIB(2))
		assert_int_equal(memslot_add(&vm, gpa(at), PAGE_SIZE), 0);
	assert_int_equal(memslot_add(&vm, gpa(GIB(9)), PAGE_SIZE), -ENOSPC);
	assert_int_equal(vm.slots.slot[0].gfn, 0);
}

struct found {
	u64 start[4], end[4];
	u32 nr;
};

static void note_range(void *ctx, u64 start, u64 end_gfn)
{
	struct found *f = ctx;

	f->start[f->nr] = start;
	f->end[f->nr++] = end_gfn;
}

static void slots_by_hva(unused void **state)
{
	u64 low = hva_of(0), high = hva_of(LOW), first_high = GIB(4) >> PAGE_SHIFT;
	struct found f = {.nr = 0};

	memslots_overlap(&vm.slots, 0, ~0ull, note_range, &f);
	assert_int_equal(f.nr, 2);
	assert_int_equal(f.end[0] - f.start[0], LOW);
	assert_int_equal(f.start[1], first_high);
	f.nr = 0;
	memslots_overlap(&vm.slots, low + 3 * PAGE_SIZE, low + 5 * PAGE_SIZE, note_range, &f);
	assert_int_equal(f.nr, 1);
	assert_true(f.start[0] == 3 && f.end[0] == 5);
	f.nr = 0;
	memslots_overlap(&vm.slots, low + (LOW - 1) * PAGE_SIZE, high + PAGE_SIZE, note_range, &f);
	assert_int_equal(f.nr, 2);
	assert_true(f.start[0] == LOW - 1 && f.end[1] == first_high + 1);
	f.nr = 0;
	memslots_overlap(&vm.slots, low + LOW * PAGE_SIZE, high, note_range, &f);
	assert_int_equal(f.nr, 0);
}

/* ---- everything at once ---------------------------------------------------------------------- */

static u64 word[PAGES];
static unsigned int wrong;

static void expect(u64 got, u64 want)
{
	wrong += got != want;
}

static void step(struct rng *chance)
{
	u32 page = rng_below(chance, PAGES), i = rng_below(chance, NR_VCPUS);
	u64 value = rng_next(chance) | 1;

	switch (rng_below(chance, 10)) {
	case 0 ... 3:
		if (guest_access(i, place(page), false, &value) == 0)
			expect(value, word[page]);
		break;
	case 4 ... 5:
		if (guest_access(i, place(page), true, &value) == 0)
			word[page] = value;
		break;
	case 6: /* a device model, on the last CPU */
		mm_host_cpu(NR_VCPUS);
		if (rng_percent(chance, 50)) {
			if (mm_host_store(hva_of(page), value) == 0)
				word[page] = value;
		} else if (mm_host_load(hva_of(page), &value) == 0) {
			expect(value, word[page]);
		}
		mm_host_cpu(0);
		break;
	case 7: {
		u32 to = MIN(page + 1 + (u32)rng_below(chance, 6), page < LOW ? LOW : PAGES);
		mm_host_cpu(rng_below(chance, MM_HOST_CPUS));
		zap_pages(page, to);
		mm_host_cpu(0);
		memset(word + page, 0, (to - page) * sizeof(word[0]));
		break;
	}
	case 8:
		rwsem_read_lock(&vm.mm->mmap_lock);
		if (rng_below(chance, 3) == 0)
			notifier_clear_young(&vm.mm->notifiers, vm.mm, (u64[]){hva_of(page)}, 1);
		else
			notifier_young(&vm.mm->notifiers, vm.mm, hva_of(page),
				       hva_of(page) + PAGE_SIZE, rng_below(chance, 2));
		rwsem_read_unlock(&vm.mm->mmap_lock);
		break;
	default: /* the vCPU leaves for a reason of its own */
		vcpus[i].mode = VCPU_OUTSIDE;
	}
}

/* Returns how often something was not as it must be. */
static unsigned int run_at_random(struct rng chance, u32 steps)
{
	unsigned int bad = 0;

	memset(word, 0, sizeof(word));
	wrong = 0;
	mm_host_cpu(NR_VCPUS);
	mm_host_use(vm.mm);
	mm_host_cpu(0);
	for (u32 i = 0; i < steps && !bad; i++) {
		frame_fail_every(rng_percent(&chance, 30) ? 1 + rng_below(&chance, 4) : 0);
		step(&chance);
		frame_fail_every(0);
		bad = wrong + mm_host_take();
		if (i % 64 == 0)
			bad += audits();
	}
	return bad;
}

static void at_random(unused void **state)
{
	assert_int_equal(run_at_random(rng_seeded(0x3310), 40000), 0);
	assert_true(nr_kicks > 100);
}

/* One course of chance for all: with others, the first sign may be a frame that was written after it was
 * freed, and that is a panic. */
static void without_the_kick(unused void **state)
{
	const struct rng chance = {0x3310 * 0x9e3779b97f4a7c15ull + 1};

	mutant_select("flush_no_kick");
	assert_int_not_equal(run_at_random(chance, 40000), 0);
	mutant_select(NULL);
}

/* ---- allocations that fail while a VM is made ------------------------------------------------ */

static void made_with_failures(unused void **state)
{
	bool done = false;

	for (unsigned int k = 1; k < 40; k++) {
		u64 before = mm_host_free_frames();
		frame_fail_every(k);
		int err = try_begin();
		frame_fail_every(0);
		assert_true(err == 0 || err == -ENOMEM);
		if (!err)
			end();
		done |= !err;
		assert_int_equal(mm_host_free_frames(), before);
		assert_int_equal(machine_counter.usage, 0);
	}
	assert_true(done);
	thread_current()->kill = true;
	assert_int_equal(try_begin(), -EINTR);
	thread_current()->kill = false;
	assert_int_equal(machine_counter.usage, 0);
}

#define mmu_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		mmu_test(first_touch),
		mmu_test(no_memory_there),
		mmu_test(same_memory),
		mmu_test(zero_page_is_replaced),
		mmu_test(idle_vcpus_are_not_kicked),
		mmu_test(brackets_that_flush_later),
		mmu_test(pages_that_came_along),
		mmu_test(killed_while_it_starts_again),
		mmu_test(mm_ends_first),
		mmu_test(slots),
		mmu_test(slots_by_hva),
		mmu_test(at_random),
		mmu_test(without_the_kick),
		cmocka_unit_test(made_with_failures),
	};

	mm_host_start(MIB(32));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
