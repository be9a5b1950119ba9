/* SPDX-License-Identifier: BSD-2-Clause */
/* Does all of the guest's RAM read as zero before it is written, and keep what is written?
 *
 * seed=N    the pattern, and which pages are read first and which written first
 * mem=SIZE  touch that much RAM at most
 * loops=N   write a new pattern and verify it N times (2)
 * evict=N   ask the test device to evict one page in N while verifying (0: none) */
#include "guest.h"
#include "x86.h"

#define WORDS       (PAGE_SIZE / sizeof(u64))
#define EVICT_PORT  0xe4
#define SHOWN_MAX   8
#define LOW_RAM_END 0x100000ul

static u64 seed, limit_pages, evict_every;
static unsigned long wrong;

static u64 page_random(u64 page, unsigned int round)
{
	u64 state = seed ^ page << 8 ^ round;

	return random_next(&state);
}

static u64 word_of(u64 random, unsigned int i)
{
	return random + i * 0x100000001b3ull;
}

static void mismatch(u64 page, unsigned int i, u64 want, u64 got)
{
	if (wrong++ < SHOWN_MAX)
		print("MISMATCH gpa=%#lx want=%#lx got=%#lx\n", page + i * sizeof(u64), want, got);
}

static void page_evict(u64 page)
{
	static u64 nr;

	if (evict_every && nr++ % evict_every == 0)
		out32(EVICT_PORT, (u32)page);
}

static void page_write(u64 page, unsigned int round)
{
	volatile u64 *words = (volatile u64 *)page;
	u64 random = page_random(page, round);

	for (unsigned int i = 0; i < WORDS; i++)
		words[i] = word_of(random, i);
}

static void page_verify(u64 page, unsigned int round)
{
	volatile u64 *words = (volatile u64 *)page;
	u64 random = page_random(page, round);

	for (unsigned int i = 0; i < WORDS; i++) {
		u64 got = words[i];

		if (got != word_of(random, i))
			mismatch(page, i, word_of(random, i), got);
	}
	page_evict(page);
}

/* page_first - the page's first touch: for one half of the pages a read of all of it, for the other
 * a write to one word, after which the rest must still be zero. */
static void page_first(u64 page)
{
	volatile u64 *words = (volatile u64 *)page;
	u64 random = page_random(page, 0);
	unsigned int written = WORDS;

	if (random & 1) {
		written = random >> 8 & (WORDS - 1);
		words[written] = random;
	}
	/* Firmware that ran before us, as QEMU's does, leaves traces everywhere. */
	for (unsigned int i = 0; i < WORDS && !guest_on_qemu(); i++) {
		u64 want = i == written ? random : 0, got = words[i];

		if (got != want)
			mismatch(page, i, want, got);
	}
	page_write(page, 0);
}

/* pages_each - @fn(page, round) for every page we may use, by address upward or downward. */
static u64 pages_each(bool upward, unsigned int round, void (*fn)(u64 page, unsigned int round))
{
	u64 nr = 0, end = guest_ram_end();

	for (u64 at = 0; at < end; at += PAGE_SIZE) {
		u64 page = upward ? at : end - PAGE_SIZE - at;
		bool is_ram = false;

		for (unsigned int i = 0; i < guest_ram_nr; i++)
			is_ram |= page >= guest_ram[i].start && page < guest_ram[i].end;
		if (!is_ram || boot_page_is_taken(page) || page / PAGE_SIZE >= limit_pages)
			continue;
		if (guest_on_qemu() && page < LOW_RAM_END)
			continue;
		fn(page, round);
		nr++;
	}
	return nr;
}

static void first(u64 page, unsigned int round)
{
	(void)round;
	page_first(page);
}

static void verify_and_rewrite(u64 page, unsigned int round)
{
	page_verify(page, round);
	page_write(page, round + 1);
}

int guest_main(void)
{
	unsigned int loops = (unsigned int)guest_arg_number("loops", 2), round = 0;
	u64 nr;

	seed = guest_arg_number("seed", 1);
	limit_pages = guest_arg_number("mem", ~0ull) / PAGE_SIZE;
	evict_every = guest_arg_number("evict", 0);

	nr = pages_each(true, 0, first);
	print("%s: %lu pages, seed %lu\n", guest_name, nr, seed);
	if (guest_on_qemu())
		report_skip("untouched memory is zero: QEMU's firmware used it");
	else
		report(!wrong, "untouched memory is zero");
	for (; round < loops && !wrong; round++) {
		pages_each(true, round, page_verify);
		report(!wrong, "round %u: forward", round);
		pages_each(false, round, verify_and_rewrite);
		report(!wrong, "round %u: backward", round);
	}
	pages_each(false, round, page_verify);
	report(!wrong, "the last pattern, backward");
	if (wrong)
		print("%s: %lu words wrong\n", guest_name, wrong);
	return report_summary();
}
