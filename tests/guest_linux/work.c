/* SPDX-License-Identifier: BSD-2-Clause */
/* The workload of the Linux guest: does an unmodified Linux keep its memory?
 *
 * `tools/neap debian` compiles this with the host's compiler and puts it into an initramfs beside
 * a busybox; init.in starts it. It is an ordinary program and runs on any Linux.
 *
 * The idea. Some processes share most of the memory that the kernel calls available. Each fills
 * its part, and then, round by round, verifies all of it, gives half of its pages back to the
 * kernel (one of each two neighbours, chosen by chance) and fills these anew; last, it verifies all
 * once more. What the guest believes to be its RAM is then in use to the last pages, pages wander
 * between the processes, and a hypervisor that has less must swap.
 *
 *     fill N | verify N, refill N/2 | verify N, refill N/2 | ... | verify N      (N pages a child)
 *
 * A page's words are a generator's, begun by seed, child, page and version: no two pages are alike,
 * in this guest or in another with its own seed, none compresses, and a page that comes back in
 * another's place or in an older version differs in every word. Each page has a note of its version
 * and of its checksum: when all words are right and the checksum is not, the note has changed.
 *
 * Invariants: W1 the amount of work follows from the arguments and MemAvailable alone, never from
 * the clock. W2 the verdict is ok only if every child ended well and did its whole share.
 *
 * Locking: none. A child alone writes its tally; the parent reads it. Not here: files, sockets,
 * huge pages (the area refuses them: a half-freed one gives nothing back before memory is short).
 *
 * Arguments, each `key=value`; sizes may end in K, M or G:
 *     share=90     percent of MemAvailable to use, of all children together
 *     mem=SIZE     use that much at most
 *     children=3   processes
 *     rounds=2     how often to verify and refill, before the last verification
 *     seed=1       contents, and which pages are given back
 *     flip=N       flip a bit of the first child's page N - 1 after the fill: must end in bad
 *
 * Exit code: 0 verdict ok, 1 verdict bad, 2 it could not run as asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "neap.h"

typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE    4096
#define WORDS        (PAGE_SIZE / sizeof(u64))
#define PTE_BYTES    8 /* what the kernel's page tables take for a page */
#define CHILDREN_MAX 64
#define SHOWN_MAX    8 /* mismatches that a child shows */

enum { OK, BAD, USAGE };
enum { SHARE, MEM, CHILDREN, ROUNDS, SEED, FLIP, NR_OPTIONS };

static struct option {
	const char *key;
	u64 value, least, most;
} options[NR_OPTIONS] = {
    [SHARE] = {"share", 90, 1, 100},
    [MEM] = {"mem", UINT64_MAX, 1, UINT64_MAX},
    [CHILDREN] = {"children", 3, 1, CHILDREN_MAX},
    [ROUNDS] = {"rounds", 2, 1, 1000000},
    [SEED] = {"seed", 1, 0, UINT64_MAX},
    [FLIP] = {"flip", 0, 0, UINT64_MAX},
};

/* What a child has done: pages, pages, words. */
struct tally {
	_Atomic u64 written, verified, mismatches;
};

struct note {
	u32 version, checksum;
};

/* One child's memory. */
struct area {
	u64 (*pages)[WORDS];
	struct note *notes;
	u64 nr_pages, seed;
	unsigned int child, shown;
	struct tally *tally;
};

static struct tally *tallies; /* shared memory, one a child */

/* say - one line, in one write: children and parent do not mix theirs. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(STDOUT_FILENO, line, (size_t)length) < 0)
		exit(USAGE);
}

/* ---- contents ------------------------------------------------------------------------------- */

/* The output function of SplitMix64: a bijection that turns every bit over. */
static u64 mix(u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static u64 first_state(const struct area *a, u64 index, u32 version)
{
	return mix(mix(a->seed + index) + version);
}

static u64 next_word(u64 *state)
{
	return mix(*state += 0x9e3779b97f4a7c15);
}

static u64 checksum_add(u64 sum, u64 word)
{
	return (sum << 7 | sum >> 57) ^ word;
}

static u32 checksum_fold(u64 sum)
{
	return (u32)(sum ^ sum >> 32);
}

static void page_fill(struct area *a, u64 index, u32 version)
{
	u64 state = first_state(a, index, version), sum = 0;

	for (unsigned int i = 0; i < WORDS; i++) {
		a->pages[index][i] = next_word(&state);
		sum = checksum_add(sum, a->pages[index][i]);
	}
	a->notes[index] = (struct note){version, checksum_fold(sum)};
	a->tally->written++;
}

static void mismatch(struct area *a, u64 index, const char *what, u64 want, u64 got)
{
	a->tally->mismatches++;
	if (a->shown++ < SHOWN_MAX)
		say("work: MISMATCH child=%u page=%lu version=%u %s want=%016lx got=%016lx\n", a->child,
		    index, a->notes[index].version, what, want, got);
}

static void page_verify(struct area *a, u64 index)
{
	const struct note *note = &a->notes[index];
	u64 state = first_state(a, index, note->version), sum = 0;
	bool differs = false;

	for (unsigned int i = 0; i < WORDS; i++) {
		u64 want = next_word(&state), got = a->pages[index][i];

		sum = checksum_add(sum, got);
		if (got != want) {
			mismatch(a, index, "word", want, got);
			differs = true;
		}
	}
	if (!differs && checksum_fold(sum) != note->checksum)
		mismatch(a, index, "checksum", checksum_fold(sum), note->checksum);
	a->tally->verified++;
}

/* ---- a child -------------------------------------------------------------------------------- */

static void *map(u64 bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		say("work: cannot map %lu KiB: %s\n", bytes >> 10, strerror(errno));
		exit(USAGE);
	}
	return p;
}

/* verify_all - forwards and backwards by turns: no one order is right for what evicts. */
static void verify_all(struct area *a, u32 round)
{
	for (u64 i = 0; i < a->nr_pages; i++)
		page_verify(a, round % 2 ? a->nr_pages - 1 - i : i);
}

/* chosen - which of the two pages of @pair is given back before it is filled as @version. */
static u64 chosen(const struct area *a, u64 pair, u32 version)
{
	return 2 * pair + (mix(a->seed ^ mix(pair << 32 | version)) & 1);
}

/* refill_half - all are given back before the first is filled: they come back in disorder. */
static void refill_half(struct area *a, u32 version)
{
	for (u64 pair = 0; pair < a->nr_pages / 2; pair++)
		if (madvise(a->pages[chosen(a, pair, version)], PAGE_SIZE, MADV_DONTNEED)) {
			say("work: child %u cannot give pages back: %s\n", a->child, strerror(errno));
			exit(USAGE);
		}
	for (u64 pair = 0; pair < a->nr_pages / 2; pair++)
		page_fill(a, chosen(a, pair, version), version);
}

static int child_main(unsigned int child, u64 nr_pages)
{
	u32 rounds = (u32)options[ROUNDS].value;
	struct area a = {
	    .pages = map(nr_pages * PAGE_SIZE, MAP_PRIVATE | MAP_NORESERVE),
	    .notes = map(nr_pages * sizeof(struct note), MAP_PRIVATE),
	    .nr_pages = nr_pages,
	    .seed = mix(mix(options[SEED].value) + child),
	    .child = child,
	    .tally = &tallies[child],
	};

	madvise(a.pages, nr_pages * PAGE_SIZE, MADV_NOHUGEPAGE); /* a kernel without them refuses */
	for (u64 i = 0; i < nr_pages; i++)
		page_fill(&a, i, 0);
	if (options[FLIP].value && child == 0)
		a.pages[(options[FLIP].value - 1) % nr_pages][WORDS / 2] ^= 1ull << 17;
	for (u32 round = 0; round < rounds; round++) {
		verify_all(&a, round);
		refill_half(&a, round + 1);
	}
	verify_all(&a, rounds);
	return a.tally->mismatches ? BAD : OK;
}

/* ---- the parent ----------------------------------------------------------------------------- */

static struct tally total(void)
{
	struct tally sum = {0};

	for (u64 i = 0; i < options[CHILDREN].value; i++) {
		sum.written += tallies[i].written;
		sum.verified += tallies[i].verified;
		sum.mismatches += tallies[i].mismatches;
	}
	return sum;
}

static void start_children(u64 nr_pages)
{
	pid_t parent = getpid();

	for (unsigned int i = 0; i < options[CHILDREN].value; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			say("work: cannot fork: %s\n", strerror(errno));
			exit(USAGE);
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			exit(getppid() == parent ? child_main(i, nr_pages) : USAGE);
		}
	}
}

/* reap - collect who has ended; true while some have not. Counts in *@failed who ended badly. */
static bool reap(unsigned int *failed)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		*failed += status != 0;
		if (WIFSIGNALED(status))
			say("work: process %d was killed by signal %d\n", pid, WTERMSIG(status));
	}
	return pid == 0;
}

/* show - let Neap's meter show how far it is. */
static void show(const struct tally *t, u64 all_work)
{
	neap_call(HYPERCALL_PROGRESS, (u64[5]){t->written + t->verified, all_work, t->written,
					       t->verified, t->mismatches});
}

/* watch - tell of the progress once a second, until the last child has ended. Returns how many of
 * them failed. => SIGCHLD is blocked */
static unsigned int watch(const sigset_t *child_ends, u64 all_work)
{
	const struct timespec second = {.tv_sec = 1};
	unsigned int failed = 0;

	while (reap(&failed)) {
		if (sigtimedwait(child_ends, NULL, &second) >= 0 || errno != EAGAIN)
			continue;
		struct tally t = total();

		say("work: %lu %%, %lu MiB written, %lu MiB verified, mismatches=%lu\n",
		    (t.written + t.verified) * 100 / all_work, t.written * PAGE_SIZE >> 20,
		    t.verified * PAGE_SIZE >> 20, t.mismatches);
		show(&t, all_work);
	}
	struct tally t = total();

	show(&t, all_work);
	return failed;
}

static int verdict(u64 to_write, u64 to_verify, unsigned int failed)
{
	struct tally t = total();
	bool ok = !failed && !t.mismatches && t.written == to_write && t.verified == to_verify;

	say("VERDICT %s bytes_written=%lu bytes_verified=%lu mismatches=%lu\n", ok ? "ok" : "bad",
	    t.written * PAGE_SIZE, t.verified * PAGE_SIZE, t.mismatches);
	return ok ? OK : BAD;
}

static u64 available_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	u64 kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib << 10;
}

static bool parse(const char *word)
{
	for (struct option *o = options; o < options + NR_OPTIONS; o++) {
		size_t length = strlen(o->key);

		if (strncmp(word, o->key, length) || word[length] != '=')
			continue;
		const char *digits = word + length + 1, units[] = "KMG", *unit;
		char *end;

		errno = 0;
		o->value = strtoull(digits, &end, 10);
		if (*end && (unit = strchr(units, *end))) {
			unsigned int shift = 10 * (unsigned int)(unit - units + 1);

			if (o->value > UINT64_MAX >> shift)
				return false;
			o->value <<= shift;
			end++;
		}
		return *digits >= '0' && *digits <= '9' && !*end && !errno && o->value >= o->least &&
		       o->value <= o->most;
	}
	return false;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!parse(argv[i])) {
			say("work: %s: not an argument, or out of range (see work.c)\n", argv[i]);
			return USAGE;
		}
	u64 available = available_bytes(), children = options[CHILDREN].value;
	u64 rounds = options[ROUNDS].value, bytes = available / 100 * options[SHARE].value;

	if (bytes > options[MEM].value)
		bytes = options[MEM].value;
	/* An even number: pages are given back by pairs. */
	u64 nr_pages = bytes / children / (PAGE_SIZE + PTE_BYTES + sizeof(struct note)) & ~1ull;

	if (!nr_pages) {
		say("work: %lu KiB of memory are too few\n", bytes >> 10);
		return USAGE;
	}
	say("work: %lu of %lu MiB available, in %lu processes; rounds=%lu seed=%lu\n", bytes >> 20,
	    available >> 20, children, rounds, options[SEED].value);
	tallies = map(sizeof(struct tally) * CHILDREN_MAX, MAP_SHARED);

	u64 to_write = children * (nr_pages + rounds * nr_pages / 2);
	u64 to_verify = children * nr_pages * (rounds + 1);
	sigset_t child_ends;

	sigemptyset(&child_ends);
	sigaddset(&child_ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_ends, NULL);
	start_children(nr_pages);
	return verdict(to_write, to_verify, watch(&child_ends, to_write + to_verify));
}
