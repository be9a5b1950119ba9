/* SPDX-License-Identifier: BSD-2-Clause */
/* The host side of unit tests: log, panics, chance, physical memory. */
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

/* The address sanitizer's, where the build has it. */
weak void __asan_poison_memory_region(void const volatile *addr, size_t size);
weak void __asan_unpoison_memory_region(void const volatile *addr, size_t size);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* everything below that is not __thread */

/* ---- the log -------------------------------------------------------------------------------- */

static char log_text[64 << 10];
static size_t log_len;

static void log_append(const char *text, size_t len)
{
	pthread_mutex_lock(&lock);
	if (len >= sizeof(log_text)) {
		text += len - sizeof(log_text) + 1;
		len = sizeof(log_text) - 1;
	}
	if (log_len + len >= sizeof(log_text)) {
		size_t keep = MIN(log_len, sizeof(log_text) - 1 - len);
		memmove(log_text, log_text + log_len - keep, keep);
		log_len = keep;
	}
	memcpy(log_text + log_len, text, len);
	log_len += len;
	log_text[log_len] = '\0';
	pthread_mutex_unlock(&lock);
}

void vprintk(const char *fmt, va_list ap)
{
	char line[1024];
	int len = vsnprintf(line, sizeof(line), fmt, ap);

	log_append(line, MIN((size_t)len, sizeof(line) - 1));
	if (getenv("UNIT_LOG"))
		fputs(line, stderr);
}

void printk(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintk(fmt, ap);
	va_end(ap);
}

size_t printk_log(char *buf, size_t size)
{
	pthread_mutex_lock(&lock);
	size_t len = size ? MIN(log_len, size - 1) : 0;
	memcpy(buf, log_text + log_len - len, len);
	if (size)
		buf[len] = '\0';
	pthread_mutex_unlock(&lock);
	return len;
}

bool host_log_contains(const char *text)
{
	pthread_mutex_lock(&lock);
	bool found = strstr(log_text, text) != NULL;
	pthread_mutex_unlock(&lock);
	return found;
}

const char *host_log(void)
{
	return log_text;
}

void host_log_clear(void)
{
	pthread_mutex_lock(&lock);
	log_len = 0;
	log_text[0] = '\0';
	pthread_mutex_unlock(&lock);
}

/* ---- panics --------------------------------------------------------------------------------- */

static __thread jmp_buf *panic_target; /* set while a panic is expected in this thread */
static char panic_text[1024];
static pthread_t test_thread;

__attribute__((constructor)) static void remember_test_thread(void)
{
	test_thread = pthread_self();
}

static char *panic_report; /* where a process that is to end with its panic says so */
static size_t panic_report_bytes;

void host_panics_are_told(char *report, size_t bytes)
{
	panic_report = report;
	panic_report_bytes = bytes;
}

noreturn_fn static void panic_end(void)
{
	if (panic_report) {
		snprintf(panic_report, panic_report_bytes, "%s", panic_text);
		_exit(1);
	}
	if (panic_target)
		longjmp(*panic_target, 1);
	if (!pthread_equal(pthread_self(), test_thread)) {
		fprintf(stderr, "panic in a thread: %s\n", panic_text);
		abort();
	}
	fail_msg("unexpected panic: %s", panic_text);
	abort(); /* not reached: fail_msg leaves the test */
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(panic_text, sizeof(panic_text), fmt, ap);
	va_end(ap);
	panic_end();
}

void panic_at(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;
	int len = snprintf(panic_text, sizeof(panic_text), "%s:%d: %s: ", file, line, cond);

	va_start(ap, fmt);
	vsnprintf(panic_text + len, sizeof(panic_text) - len, fmt, ap);
	va_end(ap);
	panic_end();
}

void expect_panic(const char *text, void (*fn)(void *ctx), void *ctx)
{
	jmp_buf here;

	panic_target = &here;
	if (setjmp(here) == 0) {
		fn(ctx);
		panic_target = NULL;
		fail_msg("no panic, expected: %s", text);
	}
	panic_target = NULL;
	if (!strstr(panic_text, text))
		fail_msg("panic says \"%s\", expected: %s", panic_text, text);
}

static __thread int last_error;
static __thread unsigned int nr_errors;

int trace_error(int err, const char *file, int line)
{
	last_error = err;
	nr_errors++;
	if (getenv("UNIT_LOG"))
		fprintf(stderr, "%s:%d: error %d\n", file, line, err);
	return err;
}

int host_last_error(void)
{
	return last_error;
}

unsigned int host_nr_errors(void)
{
	return nr_errors;
}

/* ---- chance --------------------------------------------------------------------------------- */

struct rng rng_seeded(u64 fallback)
{
	const char *text = getenv("SEED");
	u64 seed = text ? strtoull(text, NULL, 0) : fallback;

	printf("seed %#lx\n", seed);
	return (struct rng){seed * 0x9e3779b97f4a7c15ull + 1};
}

u64 rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dull;
}

/* ---- physical memory ------------------------------------------------------------------------ */

#define FIRST_PFN (HOST_MEM_START / PAGE_SIZE)
#define NR_PAGES  (HOST_MEM_BYTES / PAGE_SIZE)

static char *arena; /* where physical HOST_MEM_START is */
static u8 page_used[NR_PAGES];
static size_t nr_used, next_fit;
static unsigned int fail_every, fail_nth, fail_count;

__attribute__((constructor)) static void arena_init(void)
{
	arena = mmap(NULL, HOST_MEM_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		abort();
	if (__asan_poison_memory_region)
		__asan_poison_memory_region(arena, HOST_MEM_BYTES);
}

u64 host_virt_offset(void)
{
	return (u64)arena - HOST_MEM_START;
}

void *host_virt(u64 phys)
{
	return (void *)(phys + host_virt_offset());
}

void host_fail_every(unsigned int k)
{
	pthread_mutex_lock(&lock);
	fail_every = k;
	fail_nth = fail_count = 0;
	pthread_mutex_unlock(&lock);
}

void host_fail_nth(unsigned int n)
{
	pthread_mutex_lock(&lock);
	fail_nth = n;
	fail_every = fail_count = 0;
	pthread_mutex_unlock(&lock);
}

static bool should_fail_locked(void)
{
	fail_count++;
	if (fail_every)
		return fail_count % fail_every == 0;
	return fail_nth && fail_count == fail_nth;
}

bool host_should_fail(void)
{
	pthread_mutex_lock(&lock);
	bool now = should_fail_locked();
	pthread_mutex_unlock(&lock);
	return now;
}

/* run_at - are @nr pages free from index @at? */
static bool run_at(size_t at, size_t nr)
{
	if (at + nr > NR_PAGES)
		return false;
	for (size_t i = 0; i < nr; i++) {
		if (page_used[at + i])
			return false;
	}
	return true;
}

/* run_take_locked - next fit, so that a freed page is not reused at once and stale use shows. */
static u64 run_take_locked(size_t nr)
{
	for (size_t tries = 0; tries < NR_PAGES; tries++) {
		size_t at = (next_fit + tries) % NR_PAGES;
		if (!run_at(at, nr))
			continue;
		memset(page_used + at, 1, nr);
		nr_used += nr;
		next_fit = at + nr;
		if (__asan_unpoison_memory_region)
			__asan_unpoison_memory_region(arena + at * PAGE_SIZE, nr * PAGE_SIZE);
		memset(arena + at * PAGE_SIZE, 0, nr * PAGE_SIZE);
		return (FIRST_PFN + at) * PAGE_SIZE;
	}
	return 0;
}

u64 host_page_get(void)
{
	pthread_mutex_lock(&lock);
	u64 phys = should_fail_locked() ? 0 : run_take_locked(1);
	pthread_mutex_unlock(&lock);
	return phys;
}

u64 host_run_get(size_t nr)
{
	pthread_mutex_lock(&lock);
	u64 phys = run_take_locked(nr);
	pthread_mutex_unlock(&lock);
	return phys;
}

void host_run_put(u64 phys, size_t nr)
{
	size_t at = phys / PAGE_SIZE - FIRST_PFN;

	pthread_mutex_lock(&lock);
	bool ours = phys % PAGE_SIZE == 0 && at < NR_PAGES && nr <= NR_PAGES - at;
	for (size_t i = 0; ours && i < nr; i++)
		ours = page_used[at + i];
	if (ours) {
		memset(arena + at * PAGE_SIZE, 0x6b, nr * PAGE_SIZE);
		memset(page_used + at, 0, nr);
		nr_used -= nr;
		if (__asan_poison_memory_region)
			__asan_poison_memory_region(arena + at * PAGE_SIZE, nr * PAGE_SIZE);
	}
	pthread_mutex_unlock(&lock);
	if (!ours)
		panic("pages freed that are not in use: %#lx, %zu", phys, nr);
}

void host_page_put(u64 phys)
{
	host_run_put(phys, 1);
}

size_t host_pages_in_use(void)
{
	pthread_mutex_lock(&lock);
	size_t n = nr_used;
	pthread_mutex_unlock(&lock);
	return n;
}

static u64 pages_get(struct pt_pages *p)
{
	(void)p;
	return host_page_get();
}

static void pages_put(struct pt_pages *p, u64 phys)
{
	(void)p;
	host_page_put(phys);
}

struct pt_pages host_pages = {.get = pages_get, .put = pages_put};

int host_reset(void **state)
{
	(void)state;
	host_log_clear();
	last_error = 0;
	nr_errors = 0;
	host_fail_every(0);
	for (size_t at = 0; nr_used && at < NR_PAGES; at++) {
		if (page_used[at])
			host_page_put((FIRST_PFN + at) * PAGE_SIZE);
	}
	return 0;
}
