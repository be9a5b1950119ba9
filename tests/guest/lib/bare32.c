/* SPDX-License-Identifier: BSD-2-Clause */
/* The first C of a 32-bit guest: no tables of its own, the multiboot magic not yet looked at. */
#include "guest.h"

#define MULTIBOOT_LOADED 0x2badb002u

extern u32 entry_eax;
void guest_init(unsigned long info);

void guest_init(unsigned long info)
{
	console_init();
	if (entry_eax != MULTIBOOT_LOADED) {
		print("no multiboot loader: eax=%#x\n", entry_eax);
		guest_exit(EXIT_FAIL);
	}
	boot_parse(info);
	guest_exit(guest_main());
}
