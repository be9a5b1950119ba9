/* SPDX-License-Identifier: BSD-2-Clause */
/* What does a page cost that was swapped out and is touched again?
 *
 * The guest fills all of its memory, and then touches pages of it, one word each. Between two calls
 * that tell what the machine has done (hypercall 4) lies nothing but the touches; of the TSC ticks
 * outside of idle, whoever's they were, the guest's own are taken off: those of the same touches on
 * pages that stay. What is left is divided by the number of pages that had to come back
 * (hypercall 3). Under QEMU's -icount shift=0 a tick is an instruction.
 *
 * A page's words are its own: none is same-filled, and a touch finds out whether it is the right page.
 *
 * only=KEY      that row alone: random sequential random_write sequential_write
 * reads         not the rows that write
 * touches=N     of each row (32768); before them go as many as there are pages, so that what was
 *               before is forgotten and the row is measured in its own steady state
 * sweeps=N      instead: N times through all memory, upward, by the clock; key=sweep
 * fill=N        instead: one word of each of the first N pages, then
 * refault=N     touch N of them at random; key=end, and a sleep for ever: bench/scale compares how
 *               much work there was until the last of several guests had done its part */
#include "guest.h"
#include "x86.h"

#define WORDS     (PAGE_SIZE / sizeof(u64))
#define RESIDENT  64 /* pages that stay where they are while nothing else is touched */

enum hypercall { REFAULTS = 3, WORK = 4 };

/* What the machine has done so far: hypercalls 3 and 4. */
struct work {
	u64 busy, refaults, pages_in, reads, pages_out, flushes, ipis;
};

struct touch {
	bool random, write;
};

static volatile u64 *memory;
static u64 nr_pages, wrong;

static void hypercall(enum hypercall number, u64 *a, u64 *b, u64 *c, u64 *d, u64 *s, u64 *di)
{
	u64 nr = number;

	if (cpuid(0, 0).ebx == 0x68747541) /* "Auth" */
		__asm__ volatile("vmmcall" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d), "=S"(*s),
				 "=D"(*di) : "a"(nr) : "memory");
	else
		__asm__ volatile("vmcall" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d), "=S"(*s),
				 "=D"(*di) : "a"(nr) : "memory");
}

static struct work work_now(void)
{
	struct work w;
	u64 unused[4];

	hypercall(REFAULTS, &unused[0], &unused[1], &w.refaults, &unused[2], &unused[3], &unused[3]);
	hypercall(WORK, &w.busy, &w.pages_in, &w.reads, &w.pages_out, &w.flushes, &w.ipis);
	return w;
}

/* ---- pages ---------------------------------------------------------------------------------- */

static u64 word_of(u64 page, u64 i)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull + i;
}

static void fill(u64 nr)
{
	for (u64 page = 0; page < nr; page++)
		for (u64 i = 0; i < WORDS; i++)
			memory[page * WORDS + i] = word_of(page, i);
}

/* touch_pages - @count pages of the first @nr: by chance, or upward from @at and round again. */
static noinline void touch_pages(struct touch t, u64 nr, u64 count, u64 at)
{
	u64 state = at;

	for (u64 n = 0; n < count; n++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		u64 page = t.random ? (state >> 32) * nr >> 32 : (at + n) % nr;
		u64 i = page % WORDS, want = word_of(page, i);
		volatile u64 *word = &memory[page * WORDS + i];

		wrong += *word != want;
		if (t.write)
			*word = want;
	}
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* own_cost - ticks of @count touches that find their pages present. */
static u64 own_cost(struct touch t, u64 count)
{
	touch_pages((struct touch){.write = t.write}, RESIDENT, RESIDENT, 0);
	u64 start = rdtsc();
	touch_pages(t, RESIDENT, count, 1);
	return rdtsc() - start;
}

static void row(const char *key, struct touch t, u64 touches)
{
	touch_pages(t, nr_pages, nr_pages, 1);
	struct work a = work_now();
	u64 start = rdtsc();
	touch_pages(t, nr_pages, touches, 1 + nr_pages);
	u64 ticks = rdtsc() - start;
	struct work b = work_now();
	u64 own = own_cost(t, touches), refaults = b.refaults - a.refaults;

	if (!refaults) {
		print("SKIP: %s: all %lu pages are present\n", key, nr_pages);
		return;
	}
	print("BENCH key=%s value=%lu refaults=%lu touches=%lu busy=%lu own=%lu ticks=%lu"
	      " pages_in=%lu reads=%lu pages_out=%lu flushes=%lu ipis=%lu\n",
	      key, (b.busy - a.busy - own + refaults / 2) / refaults, refaults, touches,
	      b.busy - a.busy, own, ticks, b.pages_in - a.pages_in, b.reads - a.reads,
	      b.pages_out - a.pages_out, b.flushes - a.flushes, b.ipis - a.ipis);
}

static void rows(const char *only, u64 touches)
{
	static const struct {
		const char *key;
		struct touch touch;
	} all[] = {
	    {"random", {.random = true}},
	    {"sequential", {.random = false}},
	    {"random_write", {.random = true, .write = true}},
	    {"sequential_write", {.write = true}},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		if (only ? !strcmp(only, all[i].key) : !all[i].touch.write || !guest_arg("reads"))
			row(all[i].key, all[i].touch, touches);
}

/* The first sweep makes the state that the others begin in. */
static void sweeps(u64 nr)
{
	struct touch t = {.random = false};

	touch_pages(t, nr_pages, nr_pages, 0);
	for (; nr > 0; nr--) {
		u64 refaults = work_now().refaults, start = rdtsc();

		touch_pages(t, nr_pages, nr_pages, 0);
		u64 ticks = rdtsc() - start;
		print("BENCH key=sweep pages=%lu ticks=%lu\n", work_now().refaults - refaults, ticks);
	}
}

/* The line has one length, so that to print it costs the same in every run. */
static noreturn_fn void end(u64 filled, u64 refault)
{
	if (filled > nr_pages) {
		print("%s: fill=%lu, but there are %lu pages\n", guest_name, filled, nr_pages);
		guest_exit(EXIT_USAGE);
	}
	for (u64 page = 0; page < filled; page++)
		memory[page * WORDS + page % WORDS] = word_of(page, page % WORDS);
	touch_pages((struct touch){.random = true}, filled, refault, 1);
	struct work w = work_now();
	print("BENCH key=end busy=%016lu refaults=%08lu pages_out=%08lu wrong=%08lu\n", w.busy,
	      w.refaults, w.pages_out, wrong);
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

int guest_main(void)
{
	u64 touches = guest_arg_number("touches", 32768), nr_sweeps = guest_arg_number("sweeps", 0);

	nr_pages = ram_left() / PAGE_SIZE;
	memory = ram_alloc(nr_pages * PAGE_SIZE, PAGE_SIZE);
	if (nr_pages < RESIDENT || !touches) {
		print("%s: needs %u pages and touches= above 0\n", guest_name, RESIDENT);
		return EXIT_USAGE;
	}
	if (guest_arg("fill"))
		end(guest_arg_number("fill", 0), guest_arg_number("refault", 0));
	fill(nr_pages);
	if (nr_sweeps)
		sweeps(nr_sweeps);
	else
		rows(guest_arg("only"), touches);
	if (wrong)
		print("MISMATCH: %lu touches found another page's word\n", wrong);
	return wrong ? EXIT_FAIL : EXIT_PASS;
}
