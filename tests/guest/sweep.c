/* SPDX-License-Identifier: BSD-2-Clause */
/* Does memory that is only read keep its contents? Written once, then read from first to last again
 * and again: after the first time that a page went to the disk there is nothing more to write.
 *
 * seed=N    contents
 * mem=SIZE  use that much RAM at most
 * sweeps=N  read everything N times (4) */
#include "guest.h"
#include "hypercall.h"
#include "pages.h"

#define TELL_EVERY 256

int guest_main(void)
{
	u64 sweeps = guest_arg_number("sweeps", 4), nr = pages_init(1), total = nr * sweeps;

	print("%s: %lu pages, %lu sweeps\n", guest_name, nr, sweeps);
	for (u64 i = 0; i < nr; i++)
		page_write(i, 0);
	for (u64 done = 0; done < total && !pages_mismatches; done++) {
		page_verify(done % nr, 0);
		if (done % TELL_EVERY == 0)
			hypercall_progress(done, total);
	}
	hypercall_progress(total, total);
	return pages_summary();
}
