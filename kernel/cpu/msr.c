/* SPDX-License-Identifier: BSD-2-Clause */
/* Access to model-specific registers that may not exist. */
#include "cpu/trap.h"
#include "cpu/x86.h"
#include "lib/errno.h"

int rdmsr_safe(u32 msr, u64 *v)
{
	u32 lo = 0, hi;
	u64 err;

	__asm__ volatile("1:	rdmsr\n\t"
			 "movl %%eax, %1\n\t"
			 "xorl %%eax, %%eax\n"
			 "2:\n\t" EX_TABLE("1b", "2b")
			 : "=&a"(err), "+&r"(lo), "=&d"(hi)
			 : "c"(msr));
	if (err)
		return -EFAULT;
	*v = (u64)hi << 32 | lo;
	return 0;
}
