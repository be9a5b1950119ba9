/* SPDX-License-Identifier: BSD-2-Clause */
/* Does what is used often stay in memory? One page in ten is hot: nine touches in ten go there, in an
 * order of chance. A touch verifies the page; one in eight rewrites it as well. Prints what share of
 * the pages that came back from the swap disk were hot ones:
 *
 *	hotcold: hot H of R refaults
 *
 * seed=N     contents and order
 * mem=SIZE   use that much RAM at most
 * touches=N  so many (100000), after a quarter of them that is not counted: by then the hot pages
 *            have come in */
#include "guest.h"
#include "hypercall.h"
#include "pages.h"

#define HOT_STRIDE   10
#define HOT_OF_TEN   9
#define WRITE_ONE_IN 8
#define WARM_UP      4
#define TELL_EVERY   256

static u64 first, nr_pages, done, total;
static u32 *versions;

/* A page that is hot with nine chances in ten; a cold one otherwise. */
static u64 choose(u64 chance)
{
	u64 hot = (chance >> 40) % (nr_pages / HOT_STRIDE) * HOT_STRIDE;

	if (chance % 10 < HOT_OF_TEN)
		return hot;
	return hot + 1 + (chance >> 24) % (HOT_STRIDE - 1);
}

static void touch(u64 *state)
{
	u64 chance = random_next(state), at = choose(chance);

	page_verify(first + at, versions[at]);
	if ((chance >> 16) % WRITE_ONE_IN == 0)
		page_write(first + at, ++versions[at]);
	if (++done % TELL_EVERY == 0)
		hypercall_progress(done, total);
}

static void touch_many(u64 nr, u64 *state)
{
	for (u64 i = 0; i < nr && !pages_mismatches; i++)
		touch(state);
}

int guest_main(void)
{
	u64 touches = guest_arg_number("touches", 100000), state = guest_arg_number("seed", 1);
	u64 hot, all, bytes = guest_ram_end() / PAGE_SIZE * sizeof(*versions);
	bool counted;

	versions = ram_alloc(bytes, PAGE_SIZE);
	memset(versions, 0, bytes);
	pages_init(HOT_STRIDE);
	first = pages_longest(&nr_pages);
	nr_pages -= nr_pages % HOT_STRIDE;
	total = touches + touches / WARM_UP;
	print("%s: %lu pages, %lu of them hot\n", guest_name, nr_pages, nr_pages / HOT_STRIDE);
	for (u64 i = 0; i < nr_pages; i++)
		page_write(first + i, 0);
	touch_many(touches / WARM_UP, &state);
	counted = hypercall_watch(page_at(first), page_at(first) + nr_pages * PAGE_SIZE, HOT_STRIDE);
	touch_many(touches, &state);
	hypercall_progress(done, total);
	if (counted && hypercall_watched(&hot, &all))
		print("%s: hot %lu of %lu refaults\n", guest_name, hot, all);
	return pages_summary();
}
