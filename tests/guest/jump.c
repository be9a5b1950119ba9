/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a guest that runs into nowhere? It may fault, loop or be stopped, no more.
 *
 * to=beyond        the first page past the end of RAM (default)
 * to=noncanonical  an address that is none: #GP, exit code 77
 * to=mmio          the local APIC's registers
 * to=zero          untouched memory: zeros are instructions too
 * to=unmapped      an address without mapping: #PF, exit code 78
 * to=NUMBER        that guest-physical address */
#include "apic.h"
#include "guest.h"
#include "paging.h"

static u64 target(const char *to)
{
	const char *end;
	u64 at;

	if (!strcmp(to, "beyond"))
		return guest_ram_end() + BIG_PAGE_SIZE;
	if (!strcmp(to, "noncanonical"))
		return 1ull << 52;
	if (!strcmp(to, "mmio"))
		return APIC_BASE;
	if (!strcmp(to, "zero"))
		return (u64)ram_alloc(PAGE_SIZE, 0);
	if (!strcmp(to, "unmapped"))
		return TEST_VA;
	at = text_number(to, &end);
	if (*end) {
		print("%s: to=%s is no target\n", guest_name, to);
		guest_exit(EXIT_USAGE);
	}
	if (at >> 32) { /* not in the identity map */
		page_map(TEST_VA + (at & (PAGE_SIZE - 1)), at & PTE_ADDRESS, PTE_P | PTE_W);
		at = TEST_VA + (at & (PAGE_SIZE - 1));
	}
	return at;
}

int guest_main(void)
{
	const char *to = guest_arg("to");
	u64 at = target(to ? to : "beyond");

	print("%s: to %#lx\n", guest_name, at);
	/* RAX names the page itself, so that zeros, ADD [RAX], AL, do not fault at once. */
	__asm__ volatile("jmp *%0" : : "r"(at), "a"(at) : "memory");
	return EXIT_FAIL;
}
