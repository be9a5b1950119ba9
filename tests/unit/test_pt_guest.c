/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/lib/pt_walk.c kernel/lib/pt_format.c tests/unit/softmmu.c */
/* Trees of a guest: pt_walk_guest gives the answer of the processor that the manuals describe, for
 * random tables full of everything, against the soft MMU, and for cases worked out by hand. */
#include "host.h"

#include "softmmu.h"

#define GUEST_PAGES 32

/* A guest's memory: GUEST_PAGES pages from guest-physical 0, of which all may be tables. */
struct guest {
	struct pt_guest g;
	struct softmmu mmu;
	u8 *mem;
	unsigned int nr_reads;
	int read_error; /* injected */
};

static int guest_read(void *ctx, gpa_t at, void *to, unsigned int bytes)
{
	struct guest *guest = ctx;

	guest->nr_reads++;
	if (guest->read_error)
		return guest->read_error;
	if (at.v + bytes <= GUEST_PAGES * PAGE_SIZE)
		memcpy(to, guest->mem + at.v, bytes);
	else
		memset(to, 0xff, bytes); /* nothing there: a bus reads ones */
	return 0;
}

static const struct {
	const struct pt_format *fmt;
	enum softmmu_kind kind;
} formats[] = {
	{&pt_format_guest32, SOFTMMU_GUEST32},
	{&pt_format_guest_pae, SOFTMMU_GUEST_PAE},
	{&pt_format_guest64, SOFTMMU_GUEST64},
};

static void guest_init(struct guest *guest, size_t format)
{
	memset(guest, 0, sizeof(*guest));
	guest->mem = calloc(GUEST_PAGES, PAGE_SIZE);
	guest->g = (struct pt_guest){
		.fmt = formats[format].fmt,
		.phys_bits = 40,
		.nx = true,
		.wp = true,
		.pse = true,
		.read = guest_read,
		.ctx = guest,
	};
	softmmu_init(&guest->mmu, formats[format].kind, 0);
	guest->mmu.virt_offset = (u64)guest->mem;
	guest->mmu.mem_start = 0;
	guest->mmu.mem_end = GUEST_PAGES * PAGE_SIZE;
}

static void guest_destroy(struct guest *guest)
{
	softmmu_destroy(&guest->mmu);
	free(guest->mem);
}

/* same_controls - the MMU's control registers are the guest's. */
static void same_controls(struct guest *guest)
{
	guest->mmu.root = guest->g.root;
	guest->mmu.phys_bits = guest->g.phys_bits;
	guest->mmu.nx = guest->g.nx;
	guest->mmu.wp = guest->g.wp;
	guest->mmu.smep = guest->g.smep;
	guest->mmu.smap = guest->g.smap;
	guest->mmu.pse = guest->g.pse;
}

/* random_entry - mostly a good link to another page of the guest, sometimes damaged. */
static u64 random_entry(struct rng *rng)
{
	u64 entry = rng_below(rng, GUEST_PAGES) << PAGE_SHIFT;

	entry |= rng_percent(rng, 92) ? 1 : 0;
	entry |= rng_percent(rng, 80) ? 2 : 0;
	entry |= rng_percent(rng, 75) ? 4 : 0;
	entry |= rng_next(rng) & 0xe78; /* what no walk looks at, in most places */
	if (rng_percent(rng, 15)) {
		entry |= 0x80;
		if (rng_percent(rng, 80)) /* aligned, as a large leaf must be */
			entry = (entry & 0xfff) | (rng_below(rng, 4096) << 22);
		if (rng_percent(rng, 50)) /* for 1 GiB and PSE-36 */
			entry = (entry & 0xfff) | rng_below(rng, 256) << 32 |
				rng_below(rng, 512) << 13;
	}
	if (rng_percent(rng, 12))
		entry |= 1ull << 63;
	if (rng_percent(rng, 3))
		entry |= 1ull << rng_below(rng, 64);
	if (rng_percent(rng, 1))
		entry = rng_next(rng);
	return entry;
}

static void random_tables(struct guest *guest, struct rng *rng)
{
	bool has_pdpt = guest->g.fmt == &pt_format_guest_pae;

	for (size_t i = 0; i < GUEST_PAGES * PAGE_SIZE; i += guest->g.fmt->entry_bytes) {
		u64 entry = random_entry(rng);
		/* A PDPT worth its name: no rights, A, D bits. The root is page 1 of the guest. */
		if (has_pdpt && i >> PAGE_SHIFT == 1 && rng_percent(rng, 85))
			entry &= 0x000000fffffff001;
		memcpy(guest->mem + i, &entry, guest->g.fmt->entry_bytes);
	}
	guest->g.root = PAGE_SIZE;
	if (has_pdpt)
		guest->g.root += rng_below(rng, 128) * 32;
}

static void random_controls(struct guest *guest, struct rng *rng)
{
	static const unsigned int widths[] = {32, 36, 36, 39, 40, 46, 52};

	guest->g.phys_bits = widths[rng_below(rng, ARRAY_SIZE(widths))];
	guest->g.nx = rng_percent(rng, 70);
	guest->g.wp = rng_percent(rng, 60);
	guest->g.smep = rng_percent(rng, 30);
	guest->g.smap = rng_percent(rng, 30);
	guest->g.pse = rng_percent(rng, 80);
	same_controls(guest);
}

struct tally {
	unsigned int ok, absent, reserved, denied, large;
};

/* compare - one access by both. */
static void compare(struct guest *guest, u64 va, unsigned int access, struct tally *tally)
{
	struct pt_guest_result res;
	u64 pa = 0;
	u32 pfec = 0;
	int ours = pt_walk_guest(&guest->g, va, access, &res);
	int theirs = softmmu_access(&guest->mmu, va, access, &pa, &pfec);

	if (ours != theirs || (ours ? res.pfec != pfec : res.gpa.v != pa))
		fail_msg("%s va %#lx access %u level %d entry %#lx: %d gpa %#lx pfec %#x, "
			 "expected %d %#lx %#x; bits %u nx %d wp %d smep %d smap %d pse %d",
			 guest->g.fmt->name, va, access, res.level, res.entry, ours, res.gpa.v,
			 res.pfec, theirs, pa, pfec, guest->g.phys_bits, guest->g.nx, guest->g.wp,
			 guest->g.smep, guest->g.smap, guest->g.pse);
	if (!ours) {
		tally->ok++;
		tally->large += res.level > 1;
	} else if (res.pfec & PFEC_RSVD) {
		tally->reserved++;
	} else if (res.pfec & PFEC_P) {
		tally->denied++;
	} else {
		tally->absent++;
	}
}

static void random_tables_like_hardware(void **state)
{
	static const unsigned int accesses[] = {
		ACC_R,	       ACC_W,	      ACC_X,	     ACC_R | ACC_W,
		ACC_R | ACC_U, ACC_W | ACC_U, ACC_X | ACC_U, ACC_R | ACC_W | ACC_U,
	};
	struct rng rng = rng_seeded(1);

	(void)state;
	for (size_t format = 0; format < ARRAY_SIZE(formats); format++) {
		struct tally tally = {0};
		struct guest guest;
		u8 *before = malloc(GUEST_PAGES * PAGE_SIZE);

		guest_init(&guest, format);
		for (int round = 0; round < 40; round++) {
			random_tables(&guest, &rng);
			for (int step = 0; step < 1000; step++) {
				u64 va = rng_next(&rng);
				random_controls(&guest, &rng);
				for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
					softmmu_flush(&guest.mmu);
					compare(&guest, va, accesses[i], &tally);
				}
			}
			/* What the processor wrote are A and D bits; ours writes nothing. */
			memcpy(before, guest.mem, GUEST_PAGES * PAGE_SIZE);
			for (int step = 0; step < 100; step++) {
				struct pt_guest_result res;
				(void)!pt_walk_guest(&guest.g, rng_next(&rng), ACC_W, &res);
			}
			assert_memory_equal(before, guest.mem, GUEST_PAGES * PAGE_SIZE);
		}
		/* The comparison is worth little unless every outcome is common. */
		printf("%s: ok %u (large %u) absent %u reserved %u denied %u\n", guest.g.fmt->name,
		       tally.ok, tally.large, tally.absent, tally.reserved, tally.denied);
		assert_true(tally.ok > 10000 && tally.large > 1000 && tally.absent > 10000);
		assert_true(tally.reserved > 1000 && tally.denied > 10000);
		guest_destroy(&guest);
		free(before);
	}
}

/* ---- by hand -------------------------------------------------------------------------------- */

static void put64(struct guest *guest, u64 at, u64 entry)
{
	memcpy(guest->mem + at, &entry, 8);
}

static void put32(struct guest *guest, u64 at, u32 entry)
{
	memcpy(guest->mem + at, &entry, 4);
}

static u32 fault(struct guest *guest, u64 va, unsigned int access)
{
	struct pt_guest_result res;

	assert_int_equal(pt_walk_guest(&guest->g, va, access, &res), -EFAULT);
	return res.pfec;
}

static u64 reach(struct guest *guest, u64 va, unsigned int access)
{
	struct pt_guest_result res;

	assert_int_equal(pt_walk_guest(&guest->g, va, access, &res), 0);
	return res.gpa.v;
}

/* 4-level: page 1 -> 2 -> 3 -> 4; va 0x8080604567 has index 1, 2, 3, 4. */
#define VA64 0x8080604567ull

static void four_level_tree(struct guest *guest, u64 leaf)
{
	put64(guest, 0x1000 + 8 * 1, 0x2007);
	put64(guest, 0x2000 + 8 * 2, 0x3007);
	put64(guest, 0x3000 + 8 * 3, 0x4007);
	put64(guest, 0x4000 + 8 * 4, leaf);
	guest->g.root = 0x1000;
}

static void rights_in_long_mode(void **state)
{
	struct guest guest;
	struct pt_guest_result res;

	(void)state;
	guest_init(&guest, 2);
	four_level_tree(&guest, 0xabcd000 | 7);
	assert_int_equal(pt_walk_guest(&guest.g, VA64, ACC_W | ACC_U, &res), 0);
	assert_int_equal(res.gpa.v, 0xabcd567);
	assert_int_equal(res.rights, ACC_R | ACC_W | ACC_X | ACC_U);
	assert_int_equal(res.level, 1);
	assert_int_equal(res.entry, 0xabcd007);
	assert_int_equal(res.entry_at.v, 0x4000 + 8 * 4);
	assert_int_equal(guest.nr_reads, 4);

	/* One read-only level is enough; WP decides for the kernel. */
	put64(&guest, 0x2000 + 8 * 2, 0x3005);
	assert_int_equal(fault(&guest, VA64, ACC_W | ACC_U), PFEC_P | PFEC_W | PFEC_U);
	assert_int_equal(fault(&guest, VA64, ACC_W), PFEC_P | PFEC_W);
	guest.g.wp = false;
	assert_int_equal(reach(&guest, VA64, ACC_W), 0xabcd567);
	assert_int_equal(fault(&guest, VA64, ACC_W | ACC_U), PFEC_P | PFEC_W | PFEC_U);
	guest.g.wp = true;

	/* A supervisor page; NX at one level. */
	put64(&guest, 0x2000 + 8 * 2, 1ull << 63 | 0x3003);
	assert_int_equal(fault(&guest, VA64, ACC_R | ACC_U), PFEC_P | PFEC_U);
	assert_int_equal(fault(&guest, VA64, ACC_X), PFEC_P | PFEC_I);
	assert_int_equal(reach(&guest, VA64, ACC_W), 0xabcd567);
	guest.g.nx = false; /* then bit 63 is reserved, and fetches are not told apart */
	assert_int_equal(fault(&guest, VA64, ACC_X), PFEC_P | PFEC_RSVD);
	assert_int_equal(fault(&guest, VA64, ACC_R | ACC_U), PFEC_P | PFEC_RSVD | PFEC_U);
	guest_destroy(&guest);
}

static void smep_and_smap(void **state)
{
	struct guest guest;

	(void)state;
	guest_init(&guest, 2);
	four_level_tree(&guest, 0xabcd000 | 7);
	guest.g.smep = true;
	assert_int_equal(fault(&guest, VA64, ACC_X), PFEC_P | PFEC_I);
	assert_int_equal(reach(&guest, VA64, ACC_X | ACC_U), 0xabcd567);
	assert_int_equal(reach(&guest, VA64, ACC_R), 0xabcd567);
	guest.g.smep = false;
	guest.g.smap = true;
	assert_int_equal(fault(&guest, VA64, ACC_R), PFEC_P);
	assert_int_equal(fault(&guest, VA64, ACC_W), PFEC_P | PFEC_W);
	guest.g.wp = false; /* no way around SMAP */
	assert_int_equal(fault(&guest, VA64, ACC_W), PFEC_P | PFEC_W);
	assert_int_equal(reach(&guest, VA64, ACC_X), 0xabcd567);
	assert_int_equal(reach(&guest, VA64, ACC_W | ACC_U), 0xabcd567);
	put64(&guest, 0x4000 + 8 * 4, 0xabcd003); /* a supervisor page */
	assert_int_equal(reach(&guest, VA64, ACC_W), 0xabcd567);
	/* SMEP alone makes fetches visible in the code. */
	guest.g.nx = false;
	guest.g.smep = true;
	assert_int_equal(fault(&guest, VA64, ACC_X | ACC_U), PFEC_P | PFEC_U | PFEC_I);
	guest_destroy(&guest);
}

static void large_leaves_in_long_mode(void **state)
{
	struct guest guest;

	(void)state;
	guest_init(&guest, 2);
	four_level_tree(&guest, 0);
	assert_int_equal(fault(&guest, VA64, ACC_R), 0);
	put64(&guest, 0x3000 + 8 * 3, 0x12200000 | 0x1087); /* bit 12 is PAT, not address */
	assert_int_equal(reach(&guest, VA64, ACC_R), 0x12200000 + (VA64 & 0x1fffff));
	put64(&guest, 0x3000 + 8 * 3, 0x12200000 | 0x2087);
	assert_int_equal(fault(&guest, VA64, ACC_R), PFEC_P | PFEC_RSVD);
	put64(&guest, 0x2000 + 8 * 2, 0x1c0000000 | 0x1087);
	assert_int_equal(reach(&guest, VA64, ACC_R), 0x1c0000000 + (VA64 & 0x3fffffff));
	put64(&guest, 0x2000 + 8 * 2, 0x1c0000000 | 0x20000087);
	assert_int_equal(fault(&guest, VA64, ACC_R), PFEC_P | PFEC_RSVD);
	/* There is no leaf of 512 GiB. */
	put64(&guest, 0x1000 + 8 * 1, 0x2087);
	assert_int_equal(fault(&guest, VA64, ACC_R), PFEC_P | PFEC_RSVD);
	/* At and above the physical width is reserved, bits 62:52 are ignored. */
	put64(&guest, 0x1000 + 8 * 1, 1ull << 40 | 0x2007);
	assert_int_equal(fault(&guest, VA64, ACC_W), PFEC_P | PFEC_RSVD | PFEC_W);
	put64(&guest, 0x1000 + 8 * 1, 0x7ffull << 52 | 0x2007);
	put64(&guest, 0x2000 + 8 * 2, 0x40000087);
	assert_int_equal(reach(&guest, VA64, ACC_R), 0x40000000 + (VA64 & 0x3fffffff));
	guest_destroy(&guest);
}

static void legacy_32_bit(void **state)
{
	struct guest guest;
	const u64 va = 0x00c04567; /* PDE 3, PTE 4 */

	(void)state;
	guest_init(&guest, 0);
	guest.g.root = 0x1000;
	put32(&guest, 0x1000 + 4 * 3, 0x2007);
	put32(&guest, 0x2000 + 4 * 4, 0xfedcb000 | 3);
	assert_int_equal(reach(&guest, va, ACC_W | ACC_X), 0xfedcb567);
	/* No I: nothing forbids fetches. */
	assert_int_equal(fault(&guest, va, ACC_X | ACC_U), PFEC_P | PFEC_U);
	guest.g.smep = true;
	assert_int_equal(fault(&guest, va, ACC_X | ACC_U), PFEC_P | PFEC_U | PFEC_I);

	/* PSE-36: bits 20:13 are bits 39:32. */
	put32(&guest, 0x1000 + 4 * 3, 0xffc00000 | 0xab << 13 | 0x87);
	assert_true(reach(&guest, va, ACC_R) == 0xabffc00000 + (va & 0x3fffff));
	guest.g.phys_bits = 36;
	assert_int_equal(fault(&guest, va, ACC_R), PFEC_P | PFEC_RSVD);
	put32(&guest, 0x1000 + 4 * 3, 0xffc00000 | 0xb << 13 | 0x87);
	assert_true(reach(&guest, va, ACC_R) == 0xbffc00000 + (va & 0x3fffff));
	guest.g.phys_bits = 32;
	assert_int_equal(fault(&guest, va, ACC_R), PFEC_P | PFEC_RSVD);
	put32(&guest, 0x1000 + 4 * 3, 0x00400000 | 1 << 21 | 0x87);
	guest.g.phys_bits = 52;
	assert_int_equal(fault(&guest, va, ACC_R), PFEC_P | PFEC_RSVD);

	/* Without CR4.PSE it is a table, whatever bit 7 says. */
	guest.g.pse = false;
	put32(&guest, 0x1000 + 4 * 3, 0x2087);
	assert_int_equal(reach(&guest, va, ACC_W), 0xfedcb567);
	guest_destroy(&guest);
}

static void pae(void **state)
{
	struct guest guest;
	const u64 va = 0xc0604567; /* PDPTE 3, PDE 3, PTE 4 */

	(void)state;
	guest_init(&guest, 1);
	guest.g.root = 0x1fe0 | 0x18; /* 32-byte aligned: PWT and PCD are not address */
	put64(&guest, 0x1fe0 + 8 * 3, 0x2001);
	put64(&guest, 0x2000 + 8 * 3, 0x3007);
	put64(&guest, 0x3000 + 8 * 4, 0x3456789000 | 7);
	/* The PDPTE's missing R/W and U/S take nothing away. */
	assert_true(reach(&guest, va, ACC_W | ACC_U) == 0x3456789567);
	assert_int_equal(fault(&guest, 0x40000000, ACC_R), 0);
	/* Reserved in a PDPTE: 2:1, 8:5, from the width up, NX included. */
	static const u64 bad[] = {2,	 4,	     0x20,	 0x40,	   0x80,
				  0x100, 1ull << 40, 1ull << 52, 1ull << 63};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put64(&guest, 0x1fe0 + 8 * 3, 0x2001 | bad[i]);
		assert_int_equal(fault(&guest, va, ACC_R), PFEC_P | PFEC_RSVD);
	}
	put64(&guest, 0x1fe0 + 8 * 3, 0x2001 | 0xe18); /* PWT, PCD and bits 11:9 are not */
	assert_true(reach(&guest, va, ACC_R) == 0x3456789567);
	/* Below, bits 62:52 are reserved too, unlike in long mode. */
	put64(&guest, 0x2000 + 8 * 3, 1ull << 52 | 0x3007);
	assert_int_equal(fault(&guest, va, ACC_R), PFEC_P | PFEC_RSVD);
	put64(&guest, 0x2000 + 8 * 3, 0x40000087);
	assert_int_equal(reach(&guest, va, ACC_R), 0x40000000 + (va & 0x1fffff));
	put64(&guest, 0x2000 + 8 * 3, 1ull << 63 | 0x40000087);
	assert_int_equal(fault(&guest, va, ACC_X | ACC_U), PFEC_P | PFEC_U | PFEC_I);
	guest_destroy(&guest);
}

static void read_errors_pass_through(void **state)
{
	struct guest guest;
	struct pt_guest_result res;

	(void)state;
	guest_init(&guest, 2);
	four_level_tree(&guest, 7);
	guest.read_error = -EINTR;
	assert_int_equal(pt_walk_guest(&guest.g, VA64, ACC_R, &res), -EINTR);
	/* -EFAULT is the guest's own page fault and nothing else. */
	guest.read_error = -EFAULT;
	assert_int_equal(pt_walk_guest(&guest.g, VA64, ACC_R, &res), -EAGAIN);
	assert_int_equal(res.entry_at.v, 0x1000 + 8 * 1);
	assert_int_equal(res.level, 4);
	guest_destroy(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_tables_like_hardware),
		cmocka_unit_test(rights_in_long_mode),
		cmocka_unit_test(smep_and_smap),
		cmocka_unit_test(large_leaves_in_long_mode),
		cmocka_unit_test(legacy_32_bit),
		cmocka_unit_test(pae),
		cmocka_unit_test(read_errors_pass_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
