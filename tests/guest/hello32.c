/* SPDX-License-Identifier: BSD-2-Clause */
/* Does a guest run that stays in 32-bit protected mode and never turns paging on? */
#include "guest.h"
#include "x86.h"

#define WORDS 4096

int guest_main(void)
{
	static u32 numbers[WORDS];
	struct cpuid basic = cpuid(0, 0);
	u32 text[4] = {basic.ebx, basic.edx, basic.ecx, 0};
	u32 sum = 0;

	print("hello from %s, 32 bits, paging %s\n", guest_name,
	      read_cr0() & CR0_PG ? "on" : "off");
	print("command line: %s\n", guest_cmdline);
	for (unsigned int i = 0; i < guest_ram_nr; i++)
		print("memory: %#lx-%#lx\n", (unsigned long)guest_ram[i].start,
		      (unsigned long)guest_ram[i].end);
	print("cpu vendor: \"%s\"\n", (const char *)text);

	for (u32 i = 0; i < WORDS; i++)
		numbers[i] = i;
	for (u32 i = 0; i < WORDS; i++)
		sum += numbers[i];
	if (read_cr0() & CR0_PG || !guest_ram_nr)
		return EXIT_FAIL;
	return sum == WORDS / 2 * (WORDS - 1) ? EXIT_PASS : EXIT_FAIL;
}
