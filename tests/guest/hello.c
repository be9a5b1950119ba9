/* SPDX-License-Identifier: BSD-2-Clause */
/* Does a guest start, and is it told its command line, its memory and its processor? Also linked
 * as hello_raw64 (raw ELF64) and hello_low (at 32 KiB). */
#include "guest.h"
#include "x86.h"

/* print_text - the twelve or so characters that CPUID packs into registers. */
static void print_text(const char *what, u32 a, u32 b, u32 c)
{
	u32 words[4] = {a, b, c, 0};

	print("%s \"%s\"\n", what, (const char *)words);
}

int guest_main(void)
{
	struct cpuid basic = cpuid(0, 0), features = cpuid(1, 0), hypervisor = cpuid(0x40000000, 0);

	print("hello from %s\n", guest_name);
	print("command line: %s\n", guest_cmdline);
	for (unsigned int i = 0; i < guest_ram_nr; i++)
		print("memory: %#lx-%#lx\n", guest_ram[i].start, guest_ram[i].end);
	print_text("cpu vendor:", basic.ebx, basic.edx, basic.ecx);
	if (features.ecx >> 31)
		print_text("hypervisor:", hypervisor.ebx, hypervisor.ecx, hypervisor.edx);
	else
		print("hypervisor: none shown\n");
	return guest_ram_nr ? EXIT_PASS : EXIT_FAIL;
}
