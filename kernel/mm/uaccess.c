/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory by plain loads and stores at hva, and what happens when they fault.
 *
 * An access that faults comes to hva_fault_handler by way of the trap code; if it says 0 the access
 * is repeated, else it ends at its entry of the exception table with -EFAULT. The _nofault forms
 * say by thread->pagefault_disabled that they want no more than that. */
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"
#include "sched/thread.h"

/* range_ok - the kernel's half is not reachable by hva, whatever a caller computed. */
static inline bool range_ok(u64 at, size_t bytes)
{
	return at < MM_HVA_END && bytes <= MM_HVA_END - at;
}

static inline void assert_may_fault(void)
{
	if (NEAP_DEBUG)
		might_sleep();
}

static inline void fault_disable(void)
{
	thread_current()->pagefault_disabled++;
	compiler_barrier();
}

static inline void fault_enable(void)
{
	compiler_barrier();
	thread_current()->pagefault_disabled--;
}

int hva_read(void *to, hva_t from, size_t bytes)
{
	assert_may_fault();
	return range_ok(from.v, bytes) ? uaccess_copy_from(to, from.v, bytes) : trace(-EFAULT);
}

int hva_write(hva_t to, const void *from, size_t bytes)
{
	assert_may_fault();
	return range_ok(to.v, bytes) ? uaccess_copy_to(to.v, from, bytes) : trace(-EFAULT);
}

int hva_zero(hva_t to, size_t bytes)
{
	assert_may_fault();
	return range_ok(to.v, bytes) ? uaccess_clear(to.v, bytes) : trace(-EFAULT);
}

int hva_read_nofault(void *to, hva_t from, size_t bytes)
{
	if (!range_ok(from.v, bytes))
		return trace(-EFAULT);
	fault_disable();
	int err = uaccess_copy_from(to, from.v, bytes);
	fault_enable();
	return err;
}

int hva_write_nofault(hva_t to, const void *from, size_t bytes)
{
	if (!range_ok(to.v, bytes))
		return trace(-EFAULT);
	fault_disable();
	int err = uaccess_copy_to(to.v, from, bytes);
	fault_enable();
	return err;
}

int hva_fault_in(hva_t at, size_t bytes, unsigned int acc)
{
	struct mm *mm = thread_current()->mm;
	int err = 0;

	assert_may_fault();
	if (!mm || !range_ok(at.v, bytes))
		return trace(-EFAULT);
	for (u64 page = page_down(at.v); page < at.v + bytes && !err; page += PAGE_SIZE)
		err = mm_fault(mm, hva(page), acc);
	return err;
}

int hva_fault_handler(u64 va, u32 pfec)
{
	struct thread *t = thread_current();

	/* Under a spinlock nobody may sleep, and nothing is ever executed at hva. */
	if (!t->mm || t->pagefault_disabled || preempt_count() || (pfec & (PFEC_I | PFEC_RSVD)))
		return -EFAULT;
	return mm_fault(t->mm, hva(va), pfec & PFEC_W ? ACC_W : ACC_R);
}
