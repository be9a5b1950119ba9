/* SPDX-License-Identifier: BSD-2-Clause */
/* Does memory keep what is written to it, in whatever order it is read back?
 *
 * seed=N    contents, courses of chance, and which pages are rewritten
 * mem=SIZE  use that much RAM at most
 * rounds=N  verify everything N times (3); between two rounds a quarter of the pages is rewritten
 * order=O   how a round reads: seq, reverse, random, or all three, one after the other (all) */
#include "guest.h"
#include "hypercall.h"
#include "pages.h"

#define REWRITE_ONE_IN 4
#define TELL_EVERY     256

static u64 nr_pages, done, total;

static void tell(void)
{
	if (++done % TELL_EVERY == 0)
		hypercall_progress(done, total);
}

static bool is_rewritten(u64 index, u32 round)
{
	return pages_mix(index, round) % REWRITE_ONE_IN == 0;
}

/* version_of - the last round up to @round whose contents page @index has. */
static u32 version_of(u64 index, u32 round)
{
	while (round && !is_rewritten(index, round))
		round--;
	return round;
}

static void verify(u64 index, u32 round)
{
	page_verify(index, version_of(index, round));
	tell();
}

static void verify_seq(u32 round)
{
	for (u64 i = 0; i < nr_pages; i++)
		verify(i, round);
}

static void verify_reverse(u32 round)
{
	for (u64 i = nr_pages; i-- > 0;)
		verify(i, round);
}

static void verify_random(u32 round)
{
	u64 end = pages_shuffle_end(nr_pages);

	for (u64 i = 0; i < end; i++) {
		u64 index = pages_shuffle(i, nr_pages, round);

		if (index < nr_pages)
			verify(index, round);
	}
}

static const struct order {
	const char *name;
	void (*verify)(u32 round);
} orders[] = {
    {"seq", verify_seq},
    {"reverse", verify_reverse},
    {"random", verify_random},
};

/* order_is_chosen - one of @order's by order=, or all. */
static bool order_is_chosen(const struct order *order)
{
	return !guest_arg("order") || guest_arg_is("order", "all") ||
	       guest_arg_is("order", order->name);
}

static unsigned int orders_chosen(void)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)
		nr += order_is_chosen(&orders[i]);
	return nr;
}

static void round_verify(u32 round)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)
		if (order_is_chosen(&orders[i]))
			orders[i].verify(round);
}

static void round_rewrite(u32 round)
{
	for (u64 i = 0; i < nr_pages; i++)
		if (is_rewritten(i, round))
			page_write(i, round);
}

int guest_main(void)
{
	u32 rounds = (u32)guest_arg_number("rounds", 3);

	if (!rounds || !orders_chosen()) {
		print("%s: rounds= is 1 or more, order= one of seq, reverse, random, all\n",
		      guest_name);
		return EXIT_USAGE;
	}
	nr_pages = pages_init(1);
	total = nr_pages * (1 + (u64)rounds * orders_chosen());
	print("%s: %lu pages, seed %lu\n", guest_name, nr_pages, guest_arg_number("seed", 1));
	for (u64 i = 0; i < nr_pages; i++) {
		page_write(i, 0);
		tell();
	}
	for (u32 round = 0; round < rounds && !pages_mismatches; round++) {
		if (round)
			round_rewrite(round);
		round_verify(round);
	}
	hypercall_progress(done, total);
	return pages_summary();
}
