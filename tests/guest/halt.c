/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a guest that halts with interrupts off, so that nothing can wake it? */
#include "guest.h"

int guest_main(void)
{
	print("%s: halting for good\n", guest_name);
	for (;;)
		__asm__ volatile("cli; hlt");
}
