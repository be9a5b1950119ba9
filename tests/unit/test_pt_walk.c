/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/pt_walk.c kernel/lib/pt_format.c tests/unit/softmmu.c */
/* Trees of ours: random steps on a tree and on a plain array of what is mapped agree, in every
 * format, with table pages failing at every k-th request, and no page is left at the end. */
#include "host.h"

#include "lib/atomic.h"
#include "softmmu.h"

/* The universe: addresses whose index at each level is one of a few, so that tables are shared, at
 * their edges too, and trees stay small. A large leaf covers a group of them. */
static const unsigned int indices[] = {0, 1, 255, 511};
#define NR     ARRAY_SIZE(indices)
#define NR_VAS (NR * NR * NR * NR)

static u64 va_of(unsigned int i)
{
	u64 va = 0;

	for (int level = 1; level <= 4; level++, i /= NR)
		va |= (u64)indices[i % NR] << (PAGE_SHIFT + 9 * (level - 1));
	return va;
}

/* What a slot of the universe at level 1, 2 or 3 holds. */
struct model {
	const struct pt_format *fmt;
	u64 leaf[4][NR_VAS]; /* [level][va / what one entry covers]; 0: nothing */
	bool table[4][NR_VAS]; /* a table of that level - 1 hangs here */
};

static unsigned int slot(unsigned int i, int level)
{
	for (; level > 1; level--)
		i /= NR;
	return i;
}

/* covering - the level of the leaf that covers universe address @i; 0 if there is none. */
static int covering(const struct model *m, unsigned int i)
{
	for (int level = 3; level >= 1; level--) {
		if (m->leaf[level][slot(i, level)])
			return level;
	}
	return 0;
}

static u64 random_leaf(struct rng *rng, const struct pt_format *fmt, int level)
{
	u64 pa = rng_next(rng) & fmt->addr & ~(pt_level_size(level) - 1);

	return pa | fmt->leaf_bits(ACC_R | (unsigned int)rng_below(rng, 16), level);
}

/* learn_tables - after -ENOMEM: those above @level that were made stay. */
static void learn_tables(const struct pt *pt, struct model *m, unsigned int i, int level)
{
	int at;

	for (int l = 3; l > level; l--) {
		u64 entry = *pt_lookup(pt, va_of(i), l, &at);
		if (at > l || !pt_is_present(m->fmt, entry))
			return;
		m->table[l][slot(i, l)] = true;
	}
}

/* map - pt_ensure at @level, and a leaf where it may stand; the model tells what must come. */
static void map(struct pt *pt, struct model *m, struct rng *rng, unsigned int i, int level)
{
	u64 *entry = NULL;
	int err = pt_ensure(pt, va_of(i) + rng_below(rng, PAGE_SIZE), level, &entry);
	int above = 0;

	for (int l = 3; l > level; l--) {
		if (m->leaf[l][slot(i, l)])
			above = l;
	}
	if (above) {
		assert_int_equal(err, -EEXIST);
		return;
	}
	if (err) {
		assert_int_equal(err, -ENOMEM);
		learn_tables(pt, m, i, level);
		return;
	}
	for (int l = level + 1; l <= 3; l++)
		m->table[l][slot(i, l)] = true;
	if (level > 1 && m->table[level][slot(i, level)]) {
		assert_true(pt_is_present(m->fmt, *entry));
		assert_false(pt_is_leaf(m->fmt, *entry, level));
		return;
	}
	assert_true(*entry == m->leaf[level][slot(i, level)]);
	u64 leaf = rng_percent(rng, 30) ? 0 : random_leaf(rng, m->fmt, level);
	atomic_store(entry, leaf);
	m->leaf[level][slot(i, level)] = leaf;
}

/* look - both lookups find what the model has. */
static void look(const struct pt *pt, const struct model *m, unsigned int i, int level)
{
	int at, leaf_level = covering(m, i);
	u64 *entry = pt_lookup(pt, va_of(i) + 123, level, &at);
	u64 *leaf = pt_lookup_leaf(pt, va_of(i));

	assert_true(at >= level && at <= 4);
	if (leaf_level >= level) {
		assert_int_equal(at, leaf_level);
		assert_true(*entry == m->leaf[leaf_level][slot(i, leaf_level)]);
	} else if (at > level) {
		/* it ended at a missing table */
		assert_int_equal(leaf_level, 0);
		assert_false(pt_is_present(m->fmt, *entry));
	}
	if (leaf) {
		assert_true(leaf_level <= 1);
		assert_true(*leaf == m->leaf[1][i]);
	} else {
		assert_int_not_equal(leaf_level, 1);
	}
}

struct visit {
	const struct model *m;
	const struct pt *pt;
	unsigned int seen, stop_after;
	u64 last_va;
	u64 start, end;
	bool mapped[NR_VAS]; /* universe addresses whose leaf was shown */
};

static int visit(void *ctx, u64 va, int level, u64 *entry)
{
	struct visit *v = ctx;
	bool known = false;

	assert_true(pt_is_present(v->m->fmt, *entry));
	assert_true(pt_is_leaf(v->m->fmt, *entry, level));
	assert_int_equal(va & (pt_level_size(level) - 1), 0);
	assert_true(v->seen == 0 || va > v->last_va);
	assert_true(va < v->end && va + pt_level_size(level) > v->start);
	v->last_va = va;
	for (unsigned int i = 0; i < NR_VAS; i++) {
		if (covering(v->m, i) == level && (va_of(i) & ~(pt_level_size(level) - 1)) == va) {
			assert_true(*entry == v->m->leaf[level][slot(i, level)]);
			v->mapped[i] = known = true;
		}
	}
	assert_true(known);
	return ++v->seen == v->stop_after ? 77 : 0;
}

/* enumerate - pt_for_each shows every leaf in the range once, in order, and nothing else. */
static void enumerate(const struct pt *pt, const struct model *m, struct rng *rng)
{
	struct visit v = {.m = m, .pt = pt};
	unsigned int from = (unsigned int)rng_below(rng, NR_VAS);
	unsigned int to = (unsigned int)rng_below(rng, NR_VAS);
	int err;

	v.start = va_of(from);
	v.end = va_of(to) + (rng_percent(rng, 50) ? PAGE_SIZE : 1);
	if (rng_percent(rng, 20)) {
		v.start = 0;
		v.end = 1ull << 48;
	}
	if (rng_percent(rng, 20))
		v.stop_after = 1 + (unsigned int)rng_below(rng, 5);
	err = pt_for_each(pt, v.start, v.end, visit, &v);
	if (err) {
		assert_int_equal(err, 77);
		assert_int_equal(v.seen, v.stop_after);
		return;
	}
	for (unsigned int i = 0; i < NR_VAS; i++) {
		int level = covering(m, i);
		u64 first = level ? va_of(i) & ~(pt_level_size(level) - 1) : 0;
		bool inside = level && first < v.end && first + pt_level_size(level) > v.start;
		if (v.start < v.end)
			assert_int_equal(v.mapped[i], inside);
		else
			assert_false(v.mapped[i]);
	}
}

/* hardware - the soft MMU translates as the model says. EPT is none of its formats. */
static void hardware(const struct pt *pt, const struct model *m, struct rng *rng, unsigned int i)
{
	struct softmmu mmu;
	unsigned int access = 1u << rng_below(rng, 3);
	int level = covering(m, i);
	u64 pa, leaf = level ? m->leaf[level][slot(i, level)] : 0;
	u32 pfec;

	if (m->fmt == &pt_format_ept)
		return;
	softmmu_init(&mmu, m->fmt == &pt_format_npt ? SOFTMMU_NPT : SOFTMMU_HOST, pt->root);
	int err = softmmu_access(&mmu, va_of(i) + 5, access, &pa, &pfec);
	if (!level) {
		assert_int_equal(err, -EFAULT);
		assert_false(pfec & PFEC_P);
	} else if (access & m->fmt->rights(leaf)) {
		assert_int_equal(err, 0);
		u64 in_leaf = (va_of(i) + 5) & (pt_level_size(level) - 1);
		assert_true(pa == (leaf & m->fmt->addr & ~(pt_level_size(level) - 1)) + in_leaf);
		/* The model learns the A and D bits. */
		((struct model *)m)->leaf[level][slot(i, level)] |=
			m->fmt->accessed | (access == ACC_W ? m->fmt->dirty : 0);
	} else {
		assert_int_equal(err, -EFAULT);
		assert_true((pfec & (PFEC_P | PFEC_RSVD)) == PFEC_P);
	}
	softmmu_destroy(&mmu);
}

static void random_steps(const struct pt_format *fmt, unsigned int fail_every, struct rng *rng)
{
	struct model *m = calloc(1, sizeof(*m));
	struct pt pt = {
		.fmt = fmt,
		.root = host_page_get(),
		.virt_offset = host_virt_offset(),
		.pages = &host_pages,
	};

	m->fmt = fmt;
	host_fail_every(fail_every);
	for (int step = 0; step < 600; step++) {
		unsigned int i = (unsigned int)rng_below(rng, NR_VAS);
		/* mostly small leaves, or large ones take all the room */
		int level = rng_percent(rng, 85) ? 1 : 2 + (int)rng_below(rng, 2);

		if (step < 20)
			level = 1;
		switch (rng_below(rng, 8)) {
		case 0: enumerate(&pt, m, rng); break;
		case 1: look(&pt, m, i, 1 + (int)rng_below(rng, 4)); break;
		case 2: hardware(&pt, m, rng, i); break;
		default: map(&pt, m, rng, i, level);
		}
	}
	for (unsigned int i = 0; i < NR_VAS; i++)
		look(&pt, m, i, 1);
	host_fail_every(0);
	pt_destroy(&pt, 0, PT_ENTRIES);
	assert_int_equal(host_pages_in_use(), 0);
	free(m);
}

static void steps_match_model(void **state)
{
	static const struct pt_format *const formats[] = {
		&pt_format_host, &pt_format_npt, &pt_format_ept,
	};
	struct rng rng = rng_seeded(1);

	(void)state;
	for (int round = 0; round < 8; round++) {
		for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
			for (unsigned int k = 0; k < 8; k++) {
				if (k != 1) /* every one failing builds no tree */
					random_steps(formats[f], k, &rng);
			}
		}
	}
}

/* A tree that runs out of pages halfway keeps what it linked and needs only the rest next time. */
static void out_of_pages_loses_nothing(void **state)
{
	u64 *entry;

	(void)state;
	for (unsigned int n = 1; n <= 3; n++) {
		struct pt pt = {&pt_format_host, host_page_get(), host_virt_offset(), &host_pages};
		host_fail_nth(n);
		assert_int_equal(pt_ensure(&pt, 0x123456789000, 1, &entry), -ENOMEM);
		assert_int_equal(host_last_error(), -ENOMEM);
		assert_int_equal(host_pages_in_use(), n);
		assert_int_equal(pt_ensure(&pt, 0x123456789000, 1, &entry), 0);
		assert_int_equal(host_pages_in_use(), 4);
		assert_ptr_equal(entry, pt_lookup_leaf(&pt, 0x123456789000));
		pt_destroy(&pt, 0, PT_ENTRIES);
		assert_int_equal(host_pages_in_use(), 0);
	}
}

/* Two trees share the upper half: destroying one leaves the other's tables alone. */
static void destroy_spares_what_is_shared(void **state)
{
	struct pt kernel = {&pt_format_host, host_page_get(), host_virt_offset(), &host_pages};
	struct pt mm = {&pt_format_host, host_page_get(), host_virt_offset(), &host_pages};
	u64 *entry, *shared;

	(void)state;
	assert_int_equal(pt_ensure(&kernel, 0xffff800000000000, 1, &shared), 0);
	*shared = 0x1000 | pt_format_host.leaf_bits(ACC_R, 1);
	memcpy(host_virt(mm.root + 2048), host_virt(kernel.root + 2048), 2048);
	assert_int_equal(pt_ensure(&mm, 0x7fffffffe000, 1, &entry), 0);
	assert_ptr_equal(pt_lookup_leaf(&mm, 0xffff800000000000), shared);
	pt_destroy(&mm, 0, 256);
	assert_int_equal(host_pages_in_use(), 4);
	assert_ptr_equal(pt_lookup_leaf(&kernel, 0xffff800000000000), shared);
	pt_destroy(&kernel, 256, 512);
	assert_int_equal(host_pages_in_use(), 0);
}

static int collect(void *ctx, u64 va, int level, u64 *entry)
{
	u64 **out = ctx;

	(void)level;
	*(*out)++ = va;
	*entry = 0; /* allowed */
	return 0;
}

/* The upper half's addresses come out in canonical form, up to the last page but one. */
static void for_each_in_the_upper_half(void **state)
{
	struct pt pt = {&pt_format_host, host_page_get(), host_virt_offset(), &host_pages};
	static const u64 vas[] = {0xffff800000000000, 0xffffffff80000000, 0xffffffffffffe000};
	u64 found[4], *out = found, *entry;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vas); i++) {
		assert_int_equal(pt_ensure(&pt, vas[i], 1, &entry), 0);
		*entry = pt_format_host.leaf_bits(ACC_R, 1);
	}
	assert_int_equal(pt_for_each(&pt, vas[0], ~0ull, collect, &out), 0);
	assert_int_equal(out - found, 3);
	assert_memory_equal(found, vas, sizeof(vas));
	assert_int_equal(pt_for_each(&pt, vas[0], ~0ull, collect, &out), 0);
	assert_int_equal(out - found, 3); /* collect had removed them */
	assert_int_equal(pt_for_each(&pt, 0x1000, 0x1000, collect, &out), 0);
	pt_destroy(&pt, 0, PT_ENTRIES);
	assert_int_equal(host_pages_in_use(), 0);
}

/* What is not present but not empty either is shown at level 1 (a swap entry), and not above. */
static void for_each_shows_what_is_not_empty(void **state)
{
	struct pt pt = {&pt_format_host, host_page_get(), host_virt_offset(), &host_pages};
	u64 found[4], *out = found, *entry;

	(void)state;
	assert_int_equal(pt_ensure(&pt, 0x200000, 1, &entry), 0);
	entry[1] = 0x5000; /* not present */
	entry[3] = 0x3000 | pt_format_host.leaf_bits(ACC_R, 1);
	assert_int_equal(pt_ensure(&pt, 0x40000000, 2, &entry), 0);
	*entry = 0x7000;
	assert_int_equal(pt_for_each(&pt, 0, 1ull << 47, collect, &out), 0);
	assert_int_equal(out - found, 2);
	assert_int_equal(found[0], 0x201000);
	assert_int_equal(found[1], 0x203000);
	assert_int_equal(*entry, 0x7000);
	pt_destroy(&pt, 0, PT_ENTRIES);
	assert_int_equal(host_pages_in_use(), 0);
}

static void rights_and_bits_are_inverse(void **state)
{
	(void)state;
	for (unsigned int acc = 0; acc < 16; acc++) {
		for (int level = 1; level <= 3; level++) {
			u64 host = pt_format_host.leaf_bits(acc | ACC_R, level);
			u64 npt = pt_format_npt.leaf_bits(acc | ACC_R, level);
			u64 ept = pt_format_ept.leaf_bits(acc | ACC_R, level);
			assert_int_equal(pt_format_host.rights(host), acc | ACC_R);
			assert_int_equal(pt_format_npt.rights(npt), acc | ACC_R | ACC_U);
			assert_int_equal(pt_format_ept.rights(ept), acc | ACC_R | ACC_U);
			/* Memory type write-back; without it EPT memory is uncached. */
			assert_int_equal(ept >> 3 & 7, 6);
			assert_int_equal((host & npt & ept) >> 7 & 1, level > 1);
		}
	}
	assert_int_equal(pt_format_ept.leaf_bits(ACC_W, 1) & 3, 3);
	assert_false(pt_is_present(&pt_format_host, pt_format_host.leaf_bits(0, 1)));
	assert_false(pt_is_present(&pt_format_ept, pt_format_ept.leaf_bits(0, 1)));
	assert_int_equal(pt_format_host.leaf_bits(ACC_R | ACC_W | ACC_X, 1), 3);
	assert_true(pt_format_npt.leaf_bits(ACC_R, 2) == (1ull << 63 | 0x85));
	assert_int_equal(pt_format_ept.leaf_bits(ACC_R | ACC_W | ACC_X, 2), 0xb7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(steps_match_model, host_reset),
		cmocka_unit_test_setup(out_of_pages_loses_nothing, host_reset),
		cmocka_unit_test_setup(destroy_spares_what_is_shared, host_reset),
		cmocka_unit_test_setup(for_each_in_the_upper_half, host_reset),
		cmocka_unit_test_setup(for_each_shows_what_is_not_empty, host_reset),
		cmocka_unit_test_setup(rights_and_bits_are_inverse, host_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
