/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a guest that triple-faults, by an exception with an empty IDT? It never returns.
 */
#include "guest.h"
#include "trap.h"

int guest_main(void)
{
	print("%s: faulting with an empty IDT\n", guest_name);
	idt_load(NULL, 1);
	__asm__ volatile("ud2");
	return EXIT_FAIL;
}
