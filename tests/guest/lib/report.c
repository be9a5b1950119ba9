/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting what was checked, repeatable random numbers, and RAM to work with. */
#include "guest.h"

static unsigned int passed, failed, skipped;
static u64 ram_next;

bool report(bool pass, const char *fmt, ...)
{
	va_list ap;

	if (pass)
		passed++;
	else
		failed++;
	print(pass ? "PASS: " : "FAIL: ");
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
	return pass;
}

void report_skip(const char *fmt, ...)
{
	va_list ap;

	skipped++;
	print("SKIP: ");
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
}

int report_summary(void)
{
	print("REPORT %s: %u passed, %u failed", guest_name, passed, failed);
	if (skipped)
		print(", %u skipped", skipped);
	print("\n");
	return failed ? EXIT_FAIL : EXIT_PASS;
}

/* A counter and a mixer: every seed, 0 too, starts a different sequence. */
u64 random_next(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93ull;
	z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93ull;
	return z ^ (z >> 32);
}

static const struct ram_range *range_of(u64 pa)
{
	for (unsigned int i = 0; i < guest_ram_nr; i++)
		if (pa >= guest_ram[i].start && pa < guest_ram[i].end)
			return &guest_ram[i];
	return NULL;
}

/* The first page of [at, at + bytes) that is taken or no RAM; 0 if all may be used. */
static u64 obstacle(u64 at, u64 bytes)
{
	const struct ram_range *r = range_of(at);

	for (u64 page = at; page < at + bytes; page += PAGE_SIZE)
		if (!r || page >= r->end || boot_page_is_taken(page))
			return page;
	return 0;
}

void *ram_alloc(u64 bytes, u64 align)
{
	extern char guest_image_end[];
	u64 at, blocked;

	bytes = page_up(bytes);
	if (align < PAGE_SIZE)
		align = PAGE_SIZE;
	if (!ram_next) {
		ram_next = (u64)guest_image_end;
		if (ram_next < 0x100000) /* a low image: the first MiB holds the board's things */
			ram_next = 0x100000;
	}
	at = (ram_next + align - 1) & ~(align - 1);
	while ((blocked = obstacle(at, bytes))) {
		at = (blocked + PAGE_SIZE + align - 1) & ~(align - 1);
		if (at + bytes > guest_ram_end()) {
			print("%s: too little memory for %lu KiB more\n", guest_name, bytes >> 10);
			guest_exit(EXIT_USAGE);
		}
	}
	ram_next = at + bytes;
	return (void *)at;
}

u64 ram_left(void)
{
	const struct ram_range *r;
	u64 at = (u64)ram_alloc(PAGE_SIZE, PAGE_SIZE);

	r = range_of(at);
	return r->end - at - PAGE_SIZE;
}
