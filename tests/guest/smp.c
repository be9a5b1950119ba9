/* SPDX-License-Identifier: BSD-2-Clause */
/* Do all vCPUs start, each with an APIC ID of its own, and do they share one coherent memory? */
#include "apic.h"
#include "guest.h"
#include "x86.h"

#define ADDS   100000u
#define ROUNDS 2000u

static u32 counter, done, ids_seen[8], ids_twice;
static u32 ball; /* whose turn it is, and the message that goes with it */
static u64 message;
static u32 wrong_messages;

static void id_check(void)
{
	u32 id = apic_id(), bit = 1u << (id & 31);

	if (__atomic_fetch_or(&ids_seen[id >> 5], bit, __ATOMIC_SEQ_CST) & bit)
		__atomic_add_fetch(&ids_twice, 1, __ATOMIC_SEQ_CST);
}

static void add(void)
{
	for (u32 i = 0; i < ADDS; i++)
		__atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
}

/* The ball goes between the boot CPU (even) and the first AP (odd); what is written before it is
 * passed must be seen by the other side. */
static void ping_pong(u32 side)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 turn = 2 * i + side;

		while (__atomic_load_n(&ball, __ATOMIC_ACQUIRE) != turn)
			cpu_relax();
		wrong_messages += *(volatile u64 *)&message != turn * 0x9e3779b97f4a7c15ull;
		message = (turn + 1) * 0x9e3779b97f4a7c15ull;
		__atomic_store_n(&ball, turn + 1, __ATOMIC_RELEASE);
	}
}

static void ap_main(unsigned int index)
{
	id_check();
	add();
	if (index == 1)
		ping_pong(1);
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

int guest_main(void)
{
	unsigned int cpus = (unsigned int)fw_cfg_read(FW_CFG_CPUS, 2), started;

	print("%s: %u CPU%s\n", guest_name, cpus, cpus == 1 ? "" : "s");
	if (!report(cpus >= 1 && cpus <= AP_MAX, "the board tells a number of CPUs"))
		return report_summary();
	id_check();
	started = cpus > 1 ? ap_start(ap_main, cpus - 1) : 0;
	if (!report(started == cpus - 1, "%u of %u others started", started, cpus - 1))
		return report_summary();
	add();
	if (cpus > 1)
		ping_pong(0);
	while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < started)
		cpu_relax();
	report(counter == cpus * ADDS, "the shared counter is %u of %u", counter, cpus * ADDS);
	report(!ids_twice, "APIC IDs differ");
	report(!wrong_messages, "%u messages passed to and fro", cpus > 1 ? 2 * ROUNDS : 0);
	return report_summary();
}
