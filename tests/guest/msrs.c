/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the hypervisor survive a guest that reads and writes MSRs of all kinds, and do other guests?
 * Four ranges of 8192: each MSR is read, written with its own value, with random ones, and put
 * back. seed=N changes the random ones. */
#include "guest.h"
#include "trap.h"
#include "x86.h"

#define RANGE  0x2000u
#define VALUES 3

/* What random values would take away from ourselves for good: the APIC (it can be turned off but
 * not on again) and long mode. */
static bool is_own_ruin(u32 msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_EFER;
}

static u64 random_value(u64 *state)
{
	u64 r = random_next(state), kind = r >> 60;

	if (kind < 4)
		return 1ull << (r & 63);
	if (kind < 6)
		return r & 0xffff;
	if (kind < 8)
		return (u64)((s64)(r << 17) >> 17); /* canonical */
	return random_next(state);
}

int guest_main(void)
{
	static const u32 ranges[] = {0, 0x40000000, 0xc0000000, 0xc0010000};
	u64 state = guest_arg_number("seed", 1);
	unsigned int reads = 0, writes = 0;

	for (unsigned int r = 0; r < ARRAY_SIZE(ranges); r++) {
		for (u32 msr = ranges[r]; msr < ranges[r] + RANGE; msr++) {
			u64 old = 0;
			bool known = rdmsr_safe(msr, &old);

			reads += known;
			if (known)
				writes += wrmsr_safe(msr, old);
			for (unsigned int i = 0; i < VALUES && !is_own_ruin(msr); i++)
				writes += wrmsr_safe(msr, random_value(&state));
			if (known)
				wrmsr_safe(msr, old);
		}
		print("%s: from %#x: %u reads and %u writes went through so far\n", guest_name,
		      ranges[r], reads, writes);
	}
	report(rdmsr(MSR_EFER) & EFER_LMA, "EFER is readable and in long mode");
	wrmsr(MSR_LSTAR, 0x1234);
	report(rdmsr(MSR_LSTAR) == 0x1234, "LSTAR still keeps its value");
	return report_summary();
}
