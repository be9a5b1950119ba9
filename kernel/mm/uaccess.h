/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and writing guest memory at hva, in the current thread's mm, with fault fix-up (N11).
 *
 * The plain forms may sleep: a page that is not there is faulted in like for any other access. The
 * _nofault forms never sleep: -EFAULT if the PTE does not allow the access now; the caller drops
 * its locks, uses hva_fault_in, and starts again. */
#pragma once

#include "cpu/trap.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* => thread context with an mm, no spinlock, interrupts on. Return 0 or -EFAULT (also: -ENOMEM in
 * disguise; mm_fault tells more). */
int must_check hva_read(void *to, hva_t from, size_t bytes);
int must_check hva_write(hva_t to, const void *from, size_t bytes);
int must_check hva_zero(hva_t to, size_t bytes);

/* => any thread context with an mm */
int must_check hva_read_nofault(void *to, hva_t from, size_t bytes);
int must_check hva_write_nofault(hva_t to, const void *from, size_t bytes);
/* hva_fault_in - make [@at, @at + @bytes) allow @acc, for the moment: what to do after a _nofault
 * form failed. => as the plain forms. Errors as mm_fault */
int must_check hva_fault_in(hva_t at, size_t bytes, unsigned int acc);

/* uaccess_load8 - the 8 bytes at @from, which was checked to lie in the lower half; may sleep
 * unless page faults are disabled. Inline: it stands on the exit path. Return 0 or -EFAULT. */
static inline int uaccess_load8(u64 from, u64 *value)
{
	s64 err;

	__asm__ volatile("1: movq (%2), %1\n\t"
			 "xorl %%eax, %%eax\n"
			 "2:" EX_TABLE("1b", "2b")
			 : "=&a"(err), "=&r"(*value)
			 : "r"(from)
			 : "memory");
	return (int)err;
}

/* The bare accesses, in uaccess.S: [hva, hva + bytes) was checked to lie in the lower half. Aligned
 * pieces of 8 bytes are read and written in one access each; so are 4, 2 and 1 alone.
 * Return 0 or -EFAULT. */
int uaccess_copy_from(void *to, u64 from, size_t bytes);
int uaccess_copy_to(u64 to, const void *from, size_t bytes);
int uaccess_clear(u64 to, size_t bytes);
