/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/notifier/notifier.c kernel/lib/mutant.c kernel/lib/string.c */
/* The notifier alone: counters, sequences, who is called and who is not. */
#include "host.h"

#include "lib/mutant.h"
#include "notifier/notifier.h"

#define BUCKET (1ul << NOTIFIER_BUCKET_SHIFT)

/* A subscriber that writes down what it is told, as letters. */
struct scribe {
	struct mm_notifier n;
	char heard[64];
	int answer; /* to range_start */
	int young;
	struct notifier_head *head;
	bool open_at_end; /* was the bracket's bucket still open when range_end came? */
};

static void hear(struct mm_notifier *n, char what)
{
	struct scribe *s = container_of(n, struct scribe, n);
	size_t len = strlen(s->heard);

	assert_true(len < sizeof(s->heard) - 1);
	s->heard[len] = what;
}

static int start(struct mm_notifier *n, const struct mm_event *ev)
{
	struct scribe *s = container_of(n, struct scribe, n);

	(void)ev;
	hear(n, s->answer ? 'r' : 's');
	return s->answer;
}

static void end(struct mm_notifier *n, const struct mm_event *ev)
{
	struct scribe *s = container_of(n, struct scribe, n);

	s->open_at_end = notifier_retry(s->head, notifier_sample(s->head, ev->start));
	hear(n, 'e');
}

static int flush_young(struct mm_notifier *n, struct mm *mm, u64 from, u64 to)
{
	(void)mm, (void)from, (void)to;
	hear(n, 'F');
	return container_of(n, struct scribe, n)->young;
}

static u32 clear_young(struct mm_notifier *n, struct mm *mm, const u64 *at, u32 nr)
{
	(void)mm, (void)at;
	hear(n, 'C');
	return container_of(n, struct scribe, n)->young ? 1u << (nr - 1) : 0;
}

static int test_young(struct mm_notifier *n, struct mm *mm, u64 from, u64 to)
{
	(void)mm, (void)from, (void)to;
	hear(n, 'T');
	return container_of(n, struct scribe, n)->young;
}

static void change(struct mm_notifier *n, struct mm *mm, u64 at, u64 pfn_now)
{
	(void)mm, (void)at, (void)pfn_now;
	hear(n, 'c');
}

static void page(struct mm_notifier *n, struct mm *mm, u64 at)
{
	(void)mm, (void)at;
	hear(n, 'p');
}

static void flush(struct mm_notifier *n, struct mm *mm)
{
	(void)mm;
	hear(n, 'f');
}

static void release(struct mm_notifier *n, struct mm *mm)
{
	(void)mm;
	hear(n, 'x');
}

static const struct mm_notifier_ops plain = {
	.name = "plain",
	.release = release,
	.clear_flush_young = flush_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.change_pte = change,
	.invalidate_range_start = start,
	.invalidate_range_end = end,
	.flush = flush,
};

static const struct mm_notifier_ops pinning = {
	.name = "pinning",
	.pinning = true,
	.invalidate_page = page,
};

static const struct mm_notifier_ops deaf = {.name = "deaf"};

static struct notifier_head head;
static struct scribe a, b, c;

static int setup(void **state)
{
	struct scribe *all[] = {&a, &b, &c};

	(void)state;
	notifier_head_init(&head);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i] = (struct scribe){.n.ops = &plain, .head = &head};
		list_init(&all[i]->n.link);
	}
	return 0;
}

static void add_three(void)
{
	assert_int_equal(notifier_add(&head, &a.n), 0);
	assert_int_equal(notifier_add(&head, &b.n), 0);
	assert_int_equal(notifier_add(&head, &c.n), 0);
}

static struct mm_event range(u64 from, u64 to)
{
	return (struct mm_event){.start = from, .end = to};
}

static u32 nr_open(void)
{
	u32 n = 0;

	for (u32 i = 0; i < NOTIFIER_BUCKETS; i++)
		n += head.bucket[i].open;
	return n;
}

static u32 nr_bumps(void)
{
	u32 n = 0;

	for (u32 i = 0; i < NOTIFIER_BUCKETS; i++)
		n += head.bucket[i].sequence;
	return n;
}

/* ---- who may subscribe ----------------------------------------------------------------------- */

static void kinds_do_not_mix(void **state)
{
	(void)state;
	a.n.ops = &deaf;
	assert_int_equal(notifier_add(&head, &a.n), -EINVAL);
	a.n.ops = &plain;
	b.n.ops = &pinning;
	assert_int_equal(notifier_add(&head, &a.n), 0);
	assert_int_equal(notifier_add(&head, &b.n), -EINVAL);
	notifier_remove(&head, &a.n);
	assert_false(head.any);
	assert_int_equal(notifier_add(&head, &b.n), 0);
	assert_true(head.any && head.any_pinning);
	assert_int_equal(notifier_add(&head, &a.n), -EINVAL);
	notifier_remove(&head, &b.n);
	notifier_remove(&head, &b.n);
	assert_false(head.any || head.any_pinning);
}

static void without_subscribers_nothing_is_counted(void **state)
{
	struct mm_event ev = range(0, BUCKET);

	(void)state;
	assert_int_equal(notifier_range_start(&head, &ev), 0);
	assert_int_equal(nr_open(), 0);
	notifier_range_end(&head, &ev);
	assert_int_equal(nr_bumps(), 0);
	assert_int_equal(notifier_young(&head, NULL, 0, 1, YOUNG_TEST), 0);
}

/* ---- brackets -------------------------------------------------------------------------------- */

static void each_bucket_of_a_range_is_opened_once(void **state)
{
	static const struct { u64 start, end; u32 buckets; } cases[] = {
		{0, 4096, 1},
		{BUCKET - 4096, BUCKET, 1},
		{BUCKET - 4096, BUCKET + 4096, 2},
		{5 * BUCKET, 5 * BUCKET + 1, 1},
		{14 * BUCKET, 18 * BUCKET, 4}, /* wraps round */
		{0, 15 * BUCKET, 15},
		{3 * BUCKET, 19 * BUCKET, 16},
		{0, 1000 * BUCKET, 16},
		{0, 1ul << 47, 16},
	};

	(void)state;
	add_three();
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mm_event ev = range(cases[i].start, cases[i].end);
		u32 bumps = nr_bumps();

		assert_int_equal(notifier_range_start(&head, &ev), 0);
		assert_int_equal(nr_open(), cases[i].buckets);
		for (u32 k = 0; k < NOTIFIER_BUCKETS; k++)
			assert_true(head.bucket[k].open <= 1);
		assert_true(notifier_retry(&head, notifier_sample(&head, cases[i].start)));
		assert_true(notifier_retry(&head, notifier_sample(&head, cases[i].end - 1)));
		assert_int_equal(nr_bumps(), bumps);
		notifier_range_end(&head, &ev);
		assert_int_equal(nr_open(), 0);
		assert_int_equal(nr_bumps(), bumps + cases[i].buckets);
		memset(a.heard, 0, sizeof(a.heard));
		memset(b.heard, 0, sizeof(b.heard));
		memset(c.heard, 0, sizeof(c.heard));
	}
}

static void brackets_elsewhere_restart_nobody(void **state)
{
	struct mm_event ev = range(BUCKET, 2 * BUCKET);

	(void)state;
	add_three();
	struct notifier_sample s = notifier_sample(&head, 0);
	assert_int_equal(notifier_range_start(&head, &ev), 0);
	assert_false(notifier_retry(&head, s));
	notifier_range_end(&head, &ev);
	assert_false(notifier_retry(&head, s));
}

/* Rule 4: a bracket that came and went leaves a trace. */
static bool past_bracket_is_seen(void)
{
	struct mm_event ev = range(0, 4096);
	struct notifier_sample s = notifier_sample(&head, 0);

	if (notifier_range_start(&head, &ev))
		return false;
	notifier_range_end(&head, &ev);
	return notifier_retry(&head, s);
}

static void sequence_tells_of_past_brackets(void **state)
{
	(void)state;
	add_three();
	assert_true(past_bracket_is_seen());
	mutant_select("no_seq_bump");
	assert_false(past_bracket_is_seen());
	mutant_select(NULL);
}

static bool open_bracket_is_seen(void)
{
	struct mm_event ev = range(0, 4096);

	if (notifier_range_start(&head, &ev))
		return false;
	bool seen = notifier_retry(&head, notifier_sample(&head, 0));
	notifier_range_end(&head, &ev);
	return seen;
}

static void counter_tells_of_open_brackets(void **state)
{
	(void)state;
	add_three();
	assert_true(open_bracket_is_seen());
	mutant_select("no_open_count");
	assert_false(open_bracket_is_seen());
	mutant_select(NULL);
}

static void nested_brackets_count(void **state)
{
	struct mm_event ev = range(0, 4096), inner = range(4096, 8192);

	(void)state;
	add_three();
	assert_int_equal(notifier_range_start(&head, &ev), 0);
	assert_int_equal(notifier_range_start(&head, &inner), 0);
	notifier_range_end(&head, &inner);
	assert_true(notifier_retry(&head, notifier_sample(&head, 0)));
	notifier_range_end(&head, &ev);
	assert_false(notifier_retry(&head, notifier_sample(&head, 0)));
	assert_string_equal(a.heard, "ssee");
}

static void who_is_woken_at_the_end_finds_it_closed(void **state)
{
	struct mm_event ev = range(0, 4096);

	(void)state;
	add_three();
	assert_int_equal(notifier_range_start(&head, &ev), 0);
	notifier_range_end(&head, &ev);
	assert_false(a.open_at_end);
}

/* Rule 20: b refuses; a, which had started, gets the end; b and c do not. */
static bool only_those_that_started_are_ended(void)
{
	struct mm_event ev = range(0, BUCKET * 3);

	a.heard[0] = b.heard[0] = c.heard[0] = '\0';
	memset(b.heard, 0, sizeof(b.heard));
	memset(c.heard, 0, sizeof(c.heard));
	memset(a.heard, 0, sizeof(a.heard));
	b.answer = -EAGAIN;
	int err = notifier_range_start(&head, &ev);
	return err == -EAGAIN && ev.refused_by == &b.n && nr_open() == 0 &&
	       !strcmp(a.heard, "se") && !strcmp(b.heard, "r") && !strcmp(c.heard, "");
}

static void refusal_ends_what_had_started(void **state)
{
	(void)state;
	add_three();
	struct notifier_sample s = notifier_sample(&head, 0);
	assert_true(only_those_that_started_are_ended());
	assert_true(notifier_retry(&head, s)); /* a was zapped: who asked before, asks again */
	mutant_select("refuser_gets_end");
	assert_false(only_those_that_started_are_ended());
	mutant_select(NULL);
}

static void start_sleeping(void *ctx)
{
	struct mm_event ev = range(0, 4096);

	(void)ctx;
	ev.may_sleep = true;
	(void)!notifier_range_start(&head, &ev);
}

static void refusing_to_sleep_where_it_is_allowed_panics(void **state)
{
	(void)state;
	add_three();
	b.answer = -EAGAIN;
	expect_panic("refused a bracket that may sleep", start_sleeping, NULL);
}

static void end_it(void *ctx)
{
	struct mm_event ev = range(0, 4096);

	(void)ctx;
	notifier_range_end(&head, &ev);
}

static void ending_what_was_not_begun_panics(void **state)
{
	(void)state;
	add_three();
	expect_panic("ended twice", end_it, NULL);
}

/* ---- the other calls ------------------------------------------------------------------------- */

static void young_asks_all_but_when_only_looking(void **state)
{
	(void)state;
	add_three();
	a.young = 1;
	assert_true(notifier_young(&head, NULL, 0, 4096, YOUNG_TEST));
	assert_int_equal(notifier_clear_young(&head, NULL, (u64[]){0, 4096}, 2), 2);
	assert_true(notifier_young(&head, NULL, 0, 4096, YOUNG_CLEAR_FLUSH));
	a.young = 0;
	assert_false(notifier_young(&head, NULL, 0, 4096, YOUNG_TEST));
	assert_string_equal(a.heard, "TCFT");
	assert_string_equal(b.heard, "CFT");
}

static void change_pte_bumps_the_sequence(void **state)
{
	static const struct mm_notifier_ops without = {
		.name = "without",
		.invalidate_range_start = start,
	};

	(void)state;
	assert_int_equal(notifier_add(&head, &a.n), 0);
	struct notifier_sample s = notifier_sample(&head, 8192);
	notifier_change_pte(&head, NULL, 8192, 1);
	assert_true(notifier_retry(&head, s));
	assert_string_equal(a.heard, "c");
	assert_true(notifier_can_change_pte(&head));
	b.n.ops = &without;
	assert_int_equal(notifier_add(&head, &b.n), 0);
	assert_false(notifier_can_change_pte(&head));
}

static void pages_are_told_to_who_pins(void **state)
{
	(void)state;
	a.n.ops = &pinning;
	assert_int_equal(notifier_add(&head, &a.n), 0);
	notifier_invalidate_page(&head, NULL, 4096);
	notifier_flush(&head, NULL);
	assert_string_equal(a.heard, "p");
}

static void release_tells_each_once_and_forgets(void **state)
{
	struct mm_event ev = range(0, 4096);

	(void)state;
	add_three();
	notifier_flush(&head, NULL);
	notifier_release(&head, NULL);
	assert_int_equal(notifier_range_start(&head, &ev), 0);
	notifier_range_end(&head, &ev);
	notifier_remove(&head, &b.n);
	assert_string_equal(a.heard, "fx");
	assert_string_equal(c.heard, "fx");
	assert_false(head.any);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(kinds_do_not_mix, setup),
		cmocka_unit_test_setup(without_subscribers_nothing_is_counted, setup),
		cmocka_unit_test_setup(each_bucket_of_a_range_is_opened_once, setup),
		cmocka_unit_test_setup(brackets_elsewhere_restart_nobody, setup),
		cmocka_unit_test_setup(sequence_tells_of_past_brackets, setup),
		cmocka_unit_test_setup(counter_tells_of_open_brackets, setup),
		cmocka_unit_test_setup(nested_brackets_count, setup),
		cmocka_unit_test_setup(who_is_woken_at_the_end_finds_it_closed, setup),
		cmocka_unit_test_setup(refusal_ends_what_had_started, setup),
		cmocka_unit_test_setup(refusing_to_sleep_where_it_is_allowed_panics, setup),
		cmocka_unit_test_setup(ending_what_was_not_begun_panics, setup),
		cmocka_unit_test_setup(young_asks_all_but_when_only_looking, setup),
		cmocka_unit_test_setup(change_pte_bumps_the_sequence, setup),
		cmocka_unit_test_setup(pages_are_told_to_who_pins, setup),
		cmocka_unit_test_setup(release_tells_each_once_and_forgets, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
