/* SPDX-License-Identifier: BSD-2-Clause */
/* Can a guest be stopped, and do others run, while it loops for ever with interrupts off? */
#include "guest.h"

int guest_main(void)
{
	print("%s: spinning\n", guest_name);
	__asm__ volatile("cli; 1: jmp 1b");
	return EXIT_FAIL;
}
