/* SPDX-License-Identifier: BSD-2-Clause */
/* Is a guest's exit code told as it was written? This one's is 3, or code=N. */
#include "guest.h"

int guest_main(void)
{
	return (int)guest_arg_number("code", 3);
}
