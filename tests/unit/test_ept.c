/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/ept.c
 * kernel/mm/[a-z]*.c kernel/block/disk.c kernel/notifier/notifier.c
 * kernel/lib/blkdev.c kernel/lib/crc32.c kernel/lib/disk_content.c kernel/lib/errno.c
 * kernel/lib/format.c kernel/lib/gpt.c kernel/lib/mutant.c kernel/lib/pt_format.c kernel/lib/pt_walk.c
 * kernel/lib/string.c kernel/lib/swap_header.c
 * tests/unit/softmmu.c tests/unit/mm_host.c tests/unit/mm_wait.c */
/* Two-dimensional paging, in both formats: what an spte says after map, zap, narrow and age,
 * where its dirty bit goes, and a long run of random changes against a plain array. */
#include "mm_host.h"

#include "lib/mutant.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

#define SPARES 8

static struct hvm_ops processor = {.name = "host"};
const struct hvm_ops *hvm = &processor;

static struct vm vm;
static u64 spare[SPARES];
static u32 nr_spares;
static u64 frames_before;

/* ---- tables come from a heap of spare ones, as from a vCPU ----------------------------------- */

static void top_up(void)
{
	while (nr_spares < SPARES) {
		struct page *p = frame_alloc(FRAME_SPTABLE, FRAME_ZERO);
		assert_non_null(p);
		spare[nr_spares++] = page_to_phys(p);
		assert_int_equal(mm_charge(vm.mm, 1), 0);
	}
}

static u64 spare_get(unused struct pt_pages *pages)
{
	if (nr_spares == 0)
		return 0;
	vm.nr_sptables++;
	return spare[--nr_spares];
}

static void spare_put(unused struct pt_pages *pages, u64 phys)
{
	vm.nr_sptables--;
	frame_free(phys_to_page(phys), 0);
	mm_uncharge(vm.mm, 1);
}

static int setup(void **state)
{
	mutant_select(NULL);
	processor.tdp_name = *state;
	frames_before = mm_host_free_frames();
	vm = (struct vm){.pt_pages = {.get = spare_get, .put = spare_put}};
	spin_init(&vm.mmu_lock, RANK_MMU);
	vm.mm = mm_create(&machine_counter);
	assert_non_null(vm.mm);
	assert_int_equal(ept_ops.create(&vm), 0);
	assert_int_equal(vm.nr_sptables, 1);
	top_up();
	return 0;
}

static int teardown(unused void **state)
{
	ept_ops.destroy(&vm);
	assert_int_equal(vm.nr_sptables, 0);
	while (nr_spares) {
		frame_free(phys_to_page(spare[--nr_spares]), 0);
		mm_uncharge(vm.mm, 1);
	}
	mm_exit(vm.mm);
	assert_int_equal(mm_host_free_frames(), frames_before);
	return 0;
}

/* ---- the ops, under the lock ----------------------------------------------------------------- */

static int map(u64 f, u64 p, unsigned int acc)
{
	spin_lock(&vm.mmu_lock);
	int err = ept_ops.map(&vm, gfn(f), pfn(p), acc);
	spin_unlock(&vm.mmu_lock);
	return err;
}

static bool zap(u64 start, u64 end)
{
	spin_lock(&vm.mmu_lock);
	bool found = ept_ops.zap(&vm, start, end);
	spin_unlock(&vm.mmu_lock);
	return found;
}

static bool young(u64 start, u64 end, bool clear)
{
	spin_lock(&vm.mmu_lock);
	bool found = ept_ops.young(&vm, start, end, clear);
	spin_unlock(&vm.mmu_lock);
	return found;
}

static bool protect(u64 start, u64 end)
{
	spin_lock(&vm.mmu_lock);
	bool found = ept_ops.protect(&vm, start, end);
	spin_unlock(&vm.mmu_lock);
	return found;
}

static u64 *spte(u64 f)
{
	u64 *entry = pt_lookup_leaf(&vm.pt, f << PAGE_SHIFT);

	assert_non_null(entry);
	return entry;
}

static void assert_maps(u64 f, u64 p, unsigned int acc)
{
	u64 entry = *spte(f);

	assert_true(pt_is_present(vm.pt.fmt, entry));
	assert_int_equal(entry & vm.pt.fmt->addr, p << PAGE_SHIFT);
	assert_int_equal(vm.pt.fmt->rights(entry) & (ACC_R | ACC_W | ACC_X), acc);
}

/* Frames that exist, so that they can be dirty. */
static struct page *frame(u32 i)
{
	return &page_array[page_array_nr - 1 - i];
}

static u64 number(u32 i)
{
	return page_to_pfn(frame(i)).v;
}

static bool was_dirty(u32 i)
{
	bool is = page_test(frame(i), PG_DIRTY);

	page_clear(frame(i), PG_DIRTY);
	return is;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void formats(void **state)
{
	assert_string_equal(vm.pt.fmt->name, *state);
}

static void mapped(unused void **state)
{
	const u64 places[] = {0, 5, 511, 512, 0x3ffff, 0x40000, 0xfffffffff};

	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		top_up();
		assert_int_equal(map(places[i], number(i), ACC_R | ACC_X), 0);
		assert_maps(places[i], number(i), ACC_R | ACC_X);
		assert_true(*spte(places[i]) & vm.pt.fmt->accessed); /* who faulted accesses it */
		assert_false(*spte(places[i]) & vm.pt.fmt->dirty);
	}
	for (u32 i = 0; i < ARRAY_SIZE(places); i++)
		assert_maps(places[i], number(i), ACC_R | ACC_X);
}

/* A second install only adds rights; what the processor has set stays. */
static void rights_are_added(unused void **state)
{
	assert_int_equal(map(7, number(0), ACC_R | ACC_X), 0);
	assert_int_equal(map(7, number(0), ACC_R | ACC_W | ACC_X), 0);
	assert_maps(7, number(0), ACC_R | ACC_W | ACC_X);
	*spte(7) |= vm.pt.fmt->dirty;
	assert_int_equal(map(7, number(0), ACC_R | ACC_X), 0);
	assert_maps(7, number(0), ACC_R | ACC_W | ACC_X);
	assert_true(*spte(7) & vm.pt.fmt->dirty);
}

static void map_another_frame(unused void *ctx)
{
	(void)ept_ops.map(&vm, gfn(7), pfn(number(1)), ACC_R);
}

static void another_frame_is_our_bug(unused void **state)
{
	assert_int_equal(map(7, number(0), ACC_R), 0);
	spin_lock(&vm.mmu_lock);
	expect_panic("N1", map_another_frame, NULL);
	spin_unlock(&vm.mmu_lock);
}

static void zapped(unused void **state)
{
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(map(508 + i, number(i), ACC_R | ACC_W), 0);
	*spte(509) |= vm.pt.fmt->dirty;
	*spte(514) |= vm.pt.fmt->dirty;
	assert_true(zap(509, 514)); /* half-open, over a table's end */
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(pt_is_present(vm.pt.fmt, *spte(508 + i)), i < 1 || i > 5);
	assert_true(was_dirty(1));
	for (u32 i = 0; i < 8; i++)
		assert_false(was_dirty(i));
	assert_false(zap(509, 514)); /* nothing there: no flush is owed */
	assert_false(zap(0x100000, 0x200000));
	assert_true(zap(0, 1ull << 36));
	assert_true(was_dirty(6));
	assert_int_equal(map(509, number(3), ACC_R), 0); /* another frame now, after a zap */
}

static void mutant_is_caught(unused void **state)
{
	assert_int_equal(map(3, number(0), ACC_R | ACC_W), 0);
	*spte(3) |= vm.pt.fmt->dirty;
	mutant_select("zap_drops_dirty");
	assert_true(zap(3, 4));
	mutant_select(NULL);
	assert_false(was_dirty(0)); /* N4 is broken, and seen */
}

static void narrowed(unused void **state)
{
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(map(i, number(i), i < 3 ? ACC_R | ACC_W | ACC_X : ACC_R), 0);
	*spte(1) |= vm.pt.fmt->dirty;
	*spte(2) &= ~vm.pt.fmt->accessed;
	assert_true(protect(1, 4));
	assert_maps(0, number(0), ACC_R | ACC_W | ACC_X);
	assert_maps(1, number(1), ACC_R | ACC_X);
	assert_maps(2, number(2), ACC_R | ACC_X);
	assert_maps(3, number(3), ACC_R);
	assert_true(was_dirty(1));
	assert_false(was_dirty(2));
	assert_false(*spte(1) & vm.pt.fmt->dirty);
	assert_true(*spte(1) & vm.pt.fmt->accessed); /* neither made young nor old */
	assert_false(*spte(2) & vm.pt.fmt->accessed);
	assert_false(protect(1, 4)); /* nothing to take: no flush is owed */
}

/* Processors without dirty bits: who could write is taken to have written, and nobody else. */
static void no_dirty_bits(unused void **state)
{
	static struct pt_format plain; /* outlives the test: the teardown walks */

	plain = *vm.pt.fmt;
	plain.dirty = 0;
	vm.pt.fmt = &plain;
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(map(i, number(i), i % 2 ? ACC_R | ACC_W : ACC_R | ACC_X), 0);
	assert_true(zap(0, 2));
	assert_false(was_dirty(0));
	assert_true(was_dirty(1));
	assert_true(protect(2, 4));
	assert_maps(3, number(3), ACC_R);
	assert_false(was_dirty(2));
	assert_true(was_dirty(3));
	assert_true(zap(2, 4)); /* read-only by now: nothing was written since */
	assert_false(was_dirty(2));
	assert_false(was_dirty(3));
}

static void aged(unused void **state)
{
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(map(i, number(i), ACC_R), 0);
	assert_true(young(0, 4, false));
	assert_true(young(0, 2, true));
	assert_false(young(0, 2, false));
	assert_true(young(1, 3, false));
	assert_maps(0, number(0), ACC_R); /* old, but there */
	*spte(1) |= vm.pt.fmt->accessed;
	assert_true(young(0, 2, true));
	assert_false(young(100, 0x100000, false));
}

/* Without spare tables nothing is half done. */
static void no_tables(unused void **state)
{
	while (nr_spares > 2) {
		frame_free(phys_to_page(spare[--nr_spares]), 0);
		mm_uncharge(vm.mm, 1);
	}
	assert_int_equal(map(0x12345678, number(0), ACC_R), -ENOMEM);
	assert_int_equal(vm.nr_sptables, 3); /* two levels were made, and stay */
	assert_false(zap(0, 1ull << 36));
	top_up();
	assert_int_equal(map(0x12345678, number(0), ACC_R), 0);
	assert_int_equal(vm.nr_sptables, 4);
	assert_maps(0x12345678, number(0), ACC_R);
}

static void limit_reached(void **state)
{
	struct vm small = {.pt_pages = {.get = spare_get, .put = spare_put}};

	(void)state;
	small.mm = mm_create(&machine_counter);
	small.mm->counter.limit = small.mm->counter.usage;
	assert_int_equal(ept_ops.create(&small), -ENOMEM);
	small.mm->counter.limit = RES_UNLIMITED;
	frame_fail_every(1);
	assert_int_equal(ept_ops.create(&small), -ENOMEM);
	frame_fail_every(0);
	mm_exit(small.mm);
}

/* ---- at random ------------------------------------------------------------------------------- */

#define NR_GFNS 3000 /* over several tables */

struct model {
	u32 frame;
	bool present, writable, dirty, young;
};

static struct model model[NR_GFNS];
static u32 nr_seen;

static void compare(unused void *ctx, gfn_t f, pfn_t p, unsigned int acc)
{
	const struct model *m = &model[f.v];

	assert_true(f.v < NR_GFNS && m->present);
	assert_int_equal(p.v, number(m->frame));
	assert_int_equal((acc & ACC_W) != 0, m->writable);
	assert_int_equal((*spte(f.v) & vm.pt.fmt->dirty) != 0, m->dirty);
	assert_int_equal((*spte(f.v) & vm.pt.fmt->accessed) != 0, m->young);
	nr_seen++;
}

static void step(struct rng *chance)
{
	u64 f = rng_below(chance, NR_GFNS), end = MIN(f + 1 + rng_below(chance, 40), (u64)NR_GFNS);
	struct model *m = &model[f];
	bool found = false, clear = rng_percent(chance, 50), write = rng_percent(chance, 50);

	switch (rng_below(chance, 8)) {
	case 0:
		for (u64 i = f; i < end; i++) {
			found |= model[i].present;
			if (model[i].present)
				assert_int_equal(was_dirty(model[i].frame), false);
		}
		assert_int_equal(zap(f, end), found);
		for (u64 i = f; i < end; i++) {
			if (model[i].present)
				assert_int_equal(was_dirty(model[i].frame), model[i].dirty);
			model[i] = (struct model){0};
		}
		break;
	case 1:
		for (u64 i = f; i < end; i++) {
			found |= model[i].young;
			model[i].young &= !clear;
		}
		assert_int_equal(young(f, end, clear), found);
		break;
	case 2:
		for (u64 i = f; i < end; i++) {
			found |= model[i].writable;
			model[i].writable = model[i].dirty = false;
		}
		assert_int_equal(protect(f, end), found);
		for (u64 i = 0; i < NR_GFNS; i++)
			was_dirty(i);
		break;
	case 3: /* the processor */
		if (!m->present)
			break;
		write &= m->writable;
		*spte(f) |= vm.pt.fmt->accessed | (write ? vm.pt.fmt->dirty : 0);
		m->young = true;
		m->dirty |= write;
		break;
	default:
		top_up();
		if (!m->present)
			*m = (struct model){.present = true, .young = true, .frame = f};
		assert_int_equal(map(f, number(f), ACC_R | (write ? ACC_W : 0)), 0);
		m->writable |= write;
	}
}

static void at_random(unused void **state)
{
	struct rng chance = rng_seeded(0xe97);

	memset(model, 0, sizeof(model));
	for (int i = 0; i < 20000; i++) {
		step(&chance);
		if (i % 500)
			continue;
		u32 want = 0;
		for (u32 f = 0; f < NR_GFNS; f++)
			want += model[f].present;
		nr_seen = 0;
		spin_lock(&vm.mmu_lock);
		ept_ops.for_each(&vm, compare, NULL);
		spin_unlock(&vm.mmu_lock);
		assert_int_equal(nr_seen, want);
	}
	zap(0, NR_GFNS);
	for (u32 i = 0; i < NR_GFNS; i++)
		was_dirty(i);
}

#define format_test(fn, format) {#fn "/" format, fn, setup, teardown, (void *)format}
#define both(fn) format_test(fn, "npt"), format_test(fn, "ept")

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(formats),
		both(mapped),
		both(rights_are_added),
		both(another_frame_is_our_bug),
		both(zapped),
		both(mutant_is_caught),
		both(narrowed),
		both(no_dirty_bits),
		both(aged),
		both(no_tables),
		both(limit_reached),
		both(at_random),
	};

	mm_host_start(MIB(32));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
