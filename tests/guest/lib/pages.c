/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that tell which they are. See pages.h. */
#include "pages.h"

#include "guest.h"
#include "x86.h"

#define WORDS      (PAGE_SIZE / sizeof(u64))
#define MULTIPLIER 0x5851f42d4c957f2dull
#define SHOWN_MAX  8
#define RUNS_MAX   16

struct run {
	u64 start, nr; /* address, pages */
};

/* The first word that is wrong, and how many are. */
struct difference {
	unsigned int nr, word;
	u64 want, got;
};

u64 pages_written, pages_verified, pages_mismatches;

static u64 seed;
static struct run runs[RUNS_MAX];
static unsigned int runs_nr;
static u32 console_taken;

u64 pages_mix(u64 a, u64 b)
{
	u64 state = seed ^ a << 20 ^ b;

	random_next(&state);
	return random_next(&state);
}

static bool run_grow(u64 page)
{
	struct run *last = &runs[runs_nr - 1];

	if (runs_nr && last->start + last->nr * PAGE_SIZE == page) {
		last->nr++;
		return true;
	}
	if (runs_nr == RUNS_MAX)
		return false;
	runs[runs_nr++] = (struct run){page, 1};
	return true;
}

u64 pages_init(u64 least)
{
	u64 wanted = guest_arg_number("mem", ~0ull) / PAGE_SIZE, nr = 0;
	u64 first = (u64)ram_alloc(PAGE_SIZE, PAGE_SIZE);

	seed = guest_arg_number("seed", 1);
	for (unsigned int i = 0; i < guest_ram_nr; i++) {
		u64 page = guest_ram[i].start;

		for (; page < guest_ram[i].end && nr < wanted; page += PAGE_SIZE) {
			if (page < first || boot_page_is_taken(page))
				continue;
			if (!run_grow(page))
				break;
			nr++;
		}
	}
	if (nr < least) {
		print("%s: %lu pages of memory are too few: %lu are needed\n", guest_name, nr, least);
		guest_exit(EXIT_USAGE);
	}
	return nr;
}

u64 page_at(u64 index)
{
	const struct run *r = runs;

	for (; index >= r->nr; r++)
		index -= r->nr;
	return r->start + index * PAGE_SIZE;
}

u64 pages_longest(u64 *nr)
{
	u64 index = 0, longest = 0;

	*nr = 0;
	for (unsigned int i = 0; i < runs_nr; index += runs[i++].nr) {
		if (runs[i].nr > *nr) {
			*nr = runs[i].nr;
			longest = index;
		}
	}
	return longest;
}

static u64 first_word(u64 page, u32 version)
{
	return pages_mix(page, version);
}

/* The addend is odd, so that no word stays as it is. */
static u64 next_word(u64 word)
{
	return word * MULTIPLIER + 0x14057b7ef767814full;
}

static void count(u64 *total, u64 nr)
{
	__atomic_add_fetch(total, nr, __ATOMIC_RELAXED);
}

void page_write(u64 index, u32 version)
{
	u64 page = page_at(index), word = first_word(page, version);
	volatile u64 *words = (volatile u64 *)page;

	for (unsigned int i = 0; i < WORDS; i++, word = next_word(word))
		words[i] = word;
	count(&pages_written, 1);
}

static struct difference page_compare(u64 page, u32 version)
{
	const volatile u64 *words = (const volatile u64 *)page;
	struct difference d = {0};
	u64 want = first_word(page, version);

	for (unsigned int i = 0; i < WORDS; i++, want = next_word(want)) {
		u64 got = words[i];

		if (got != want && !d.nr++) {
			d.word = i;
			d.want = want;
			d.got = got;
		}
	}
	return d;
}

bool page_is(u64 index, u32 version)
{
	return !page_compare(page_at(index), version).nr;
}

static void mismatch(u64 page, u32 version, const struct difference *d)
{
	static unsigned int shown;

	while (__atomic_exchange_n(&console_taken, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
	if (shown++ < SHOWN_MAX)
		print("MISMATCH gpa=%#lx want=%#lx got=%#lx (%u words of the page, version %u)\n",
		      page + d->word * sizeof(u64), d->want, d->got, d->nr, version);
	__atomic_store_n(&console_taken, 0, __ATOMIC_RELEASE);
}

bool page_verify(u64 index, u32 version)
{
	u64 page = page_at(index);
	struct difference d = page_compare(page, version);

	count(&pages_verified, 1);
	if (d.nr) {
		count(&pages_mismatches, d.nr);
		mismatch(page, version, &d);
	}
	return !d.nr;
}

static unsigned int shuffle_bits(u64 nr)
{
	unsigned int bits = 2;

	while (1ull << bits < nr)
		bits++;
	return bits;
}

u64 pages_shuffle_end(u64 nr)
{
	return 1ull << shuffle_bits(nr);
}

/* Each step can be undone within as many bits, so that no two of i lead to the same. */
u64 pages_shuffle(u64 i, u64 nr, u64 which)
{
	unsigned int bits = shuffle_bits(nr);
	u64 mask = (1ull << bits) - 1, key = pages_mix(~0ull, which);

	for (unsigned int round = 0; round < 3; round++, key >>= 16) {
		i = ((i ^ key) & mask) * MULTIPLIER & mask;
		i ^= i >> bits / 2;
	}
	return i;
}

int pages_summary(void)
{
	print("%s: %lu pages written, %lu verified, mismatches=%lu\n", guest_name, pages_written,
	      pages_verified, pages_mismatches);
	return pages_mismatches ? EXIT_FAIL : EXIT_PASS;
}
