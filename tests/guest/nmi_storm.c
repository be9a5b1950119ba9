/* SPDX-License-Identifier: BSD-2-Clause */
/* Can a guest be stopped, and do others run, while each NMI handler sends itself the next NMI?
 * rounds=N exits with 0 after N of them; for ever otherwise. */
#include "apic.h"
#include "guest.h"
#include "trap.h"
#include "x86.h"

static u64 rounds, seen;

static void nmi_send(void)
{
	apic_write(APIC_ICR_HIGH, apic_id() << 24);
	apic_write(APIC_ICR_LOW, ICR_NMI | ICR_ASSERT);
}

static void nmi_again(struct trap_frame *f)
{
	(void)f;
	if (++seen == rounds) {
		print("%s: %lu seen, enough\n", guest_name, seen);
		guest_exit(EXIT_PASS);
	}
	nmi_send(); /* held back until our IRET, taken right behind it */
}

int guest_main(void)
{
	rounds = guest_arg_number("rounds", 0);
	print("%s: sending\n", guest_name);
	trap_handler_set(VEC_NMI, nmi_again);
	apic_on();
	nmi_send();
	for (;;)
		cpu_relax();
}
