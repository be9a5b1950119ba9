/* SPDX-License-Identifier: BSD-2-Clause */
/* What must panic. Each suite ends in the panic that it is about; who boots the kernel looks at what it
 * said: words, place, backtrace. A suite that goes on prints FAIL. */
#include "tests/kernel/kernel_test.h"

#include "cpu/smp.h"
#include "cpu/spinlock.h"
#include "lib/check.h"

extern const u8 text_end[]; /* from linker.ld: the first constant */

static noinline u64 overflow_stack(const volatile u64 *above)
{
	volatile u64 here[64];

	here[0] = *above;
	return here[0] ? overflow_stack(here) + here[0] : 0;
}

static void panic_guard(void)
{
	u64 one = 1;

	report(overflow_stack(&one) == 0, "a stack that overflows panics");
}
KERNEL_SUITE(panic_guard, panic_guard);

static void panic_exec(void)
{
	static u8 code[16] = {0xc3}; /* RET */
	void (*volatile fn)(void) = (void (*)(void))(u64)code;

	fn();
	report(false, "data is not executed");
}
KERNEL_SUITE(panic_exec, panic_exec);

static void panic_write(void)
{
	*(volatile u8 *)(u64)text_end = 0;
	report(false, "constants are not overwritten");
}
KERNEL_SUITE(panic_write, panic_write);

static void panic_null(void)
{
	u64 *volatile p = NULL;

	report(*p == 0, "a null pointer is not read");
}
KERNEL_SUITE(panic_null, panic_null);

static void panic_rank(void)
{
	static struct spinlock low = SPINLOCK_INIT(RANK_SWAP), high = SPINLOCK_INIT(RANK_FRAMES);

	spin_lock(&high);
	report(spin_trylock(&low), "a lock may be tried against the order");
	spin_unlock(&low);
	spin_lock(&low);
	report(false, "the order of locks is enforced");
}
KERNEL_SUITE(panic_rank, panic_rank);

static void panic_check(void)
{
	CHECK(nr_cpus == 0, "%u CPUs are up", nr_cpus);
}
KERNEL_SUITE(panic_check, panic_check);

static void panic_at_once(void *arg)
{
	atomic_add((u32 *)arg, 1);
	while (atomic_load((u32 *)arg) < nr_cpus)
		cpu_relax();
	panic("every CPU panics");
}

/* One report, from one of them, whole. */
static void panic_all(void)
{
	u32 arrived = 0;

	smp_call(cpu_online_mask(), panic_at_once, &arrived);
}
KERNEL_SUITE(panic_all, panic_all);
