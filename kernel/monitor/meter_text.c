/* SPDX-License-Identifier: BSD-2-Clause */
/* The meter's picture, from numbers alone:
 *
 *	guest         mem resident swapped   zero faults/s  in/s out/s  verified
 *	pattern     64.0M    18.2M   45.1M   0.4M     3402  1201  1180  ######....  57%
 *	RAM         80.0M #########.  free 1.9M (min 0.9M, low 1.4M, high 1.9M)
 *	swap       512.0M ####......  used 181.0M, disk queue 12
 *
 * A guest's own figures may be any numbers at all: nothing here may overflow or divide by zero. */
#include "monitor/meter.h"

#include "lib/console.h"
#include "lib/format.h"

#define BAR_CELLS  10
#define SIZE_BYTES 24
#define RATE_MAX   99999 /* more is cut, so that columns stay */
#define WRONG_MAX  999999

struct text {
	char *buf;
	size_t size, len;
};

static printf_like(2, 3) void add(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = text_vformat(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	t->len = MIN(t->len + (size_t)n, t->size - 1);
}

/* @pages in MiB, with a decimal while there is room. */
static const char *size_of(u64 pages, char *buf)
{
	u64 tenths = pages * 10 / 256;

	if (tenths < 10000)
		text_format(buf, SIZE_BYTES, "%lu.%luM", tenths / 10, tenths % 10);
	else
		text_format(buf, SIZE_BYTES, "%luM", tenths / 10);
	return buf;
}

static u64 percent_of(u64 part, u64 whole)
{
	if (part >= whole)
		return whole ? 100 : 0; /* what a guest says may be more than all of it */
	return whole > ~0ull / 100 ? part / (whole / 100) : part * 100 / whole;
}

static void add_bar(struct text *t, u64 percent)
{
	for (u64 i = 0; i < BAR_CELLS; i++)
		add(t, "%c", i < percent / (100 / BAR_CELLS) ? GLYPH_FULL : GLYPH_SHADE);
}

static u64 rate(u64 now, u64 before, u64 ns)
{
	u64 ms = MAX(ns / 1000000, 1ull);

	return MIN((now - before) * 1000 / ms, (u64)RATE_MAX);
}

static const struct meter_vm *find(const struct meter_sample *s, u64 serial)
{
	static const struct meter_vm just_born;

	for (u32 i = 0; i < MIN(s->nr_vms, (u32)METER_VMS); i++)
		if (s->vm[i].serial == serial)
			return &s->vm[i];
	return &just_born;
}

static void add_progress(struct text *t, const struct meter_vm *vm)
{
	if (vm->mismatches)
		add(t, "%lu WRONG", MIN(vm->mismatches, (u64)WRONG_MAX));
	else if (vm->paused)
		add(t, "paused");
	else if (!vm->total)
		add(t, "-");
	else {
		add_bar(t, percent_of(vm->done, vm->total));
		add(t, " %3lu%%", percent_of(vm->done, vm->total));
	}
	add(t, "\n");
}

static void add_vm(struct text *t, const struct meter_vm *vm, const struct meter_vm *was, u64 ns)
{
	char mem[SIZE_BYTES], resident[SIZE_BYTES], swapped[SIZE_BYTES], zero[SIZE_BYTES];

	add(t, "%-9.9s %7s %8s %7s %6s %8lu %5lu %5lu  ", vm->name, size_of(vm->mem, mem),
	    size_of(vm->resident, resident), size_of(vm->swapped, swapped),
	    size_of(vm->zero, zero), rate(vm->faults, was->faults, ns),
	    rate(vm->swapins, was->swapins, ns), rate(vm->swapouts, was->swapouts, ns));
	add_progress(t, vm);
}

static void add_machine(struct text *t, const struct meter_sample *s)
{
	char ram[SIZE_BYTES], free[SIZE_BYTES], min[SIZE_BYTES], low[SIZE_BYTES], high[SIZE_BYTES];

	add(t, "%-9s %7s ", "RAM", size_of(s->ram, ram));
	add_bar(t, percent_of(s->ram - MIN(s->free, s->ram), s->ram));
	add(t, "  free %s (min %s, low %s, high %s)\n", size_of(s->free, free),
	    size_of(s->min, min), size_of(s->low, low), size_of(s->high, high));
	add(t, "%-9s %7s ", "swap", size_of(s->swap, ram));
	add_bar(t, percent_of(s->swap_used, s->swap));
	add(t, "  used %s, disk queue %u\n", size_of(s->swap_used, free), s->in_flight);
}

size_t meter_picture(char *buf, size_t size, const struct meter_sample *now,
		     const struct meter_sample *before)
{
	struct text t = {.buf = buf, .size = size};
	u64 ns = now->at_ns - before->at_ns;

	if (!now->nr_vms)
		return 0;
	add(&t, "%-9s %7s %8s %7s %6s %8s %5s %5s  %s\n", "guest", "mem", "resident", "swapped",
	    "zero", "faults/s", "in/s", "out/s", "verified");
	for (u32 i = 0; i < MIN(now->nr_vms, (u32)METER_VMS); i++)
		add_vm(&t, &now->vm[i], find(before, now->vm[i].serial), ns);
	if (now->nr_vms > METER_VMS)
		add(&t, "and %u more\n", now->nr_vms - METER_VMS);
	add_machine(&t, now);
	return t.len;
}
