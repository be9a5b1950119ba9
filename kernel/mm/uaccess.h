/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and writing guest memory at hva, in the current thread's mm, with fault fix-up (N11).
 *
 * The plain forms may sleep: a page that is not there is faulted in like for any other access. The
 * _nofault forms never sleep: -EFAULT if the PTE does not allow the access now; the caller drops its
 * locks, uses hva_fault_in, and starts again. */
#pragma once

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
