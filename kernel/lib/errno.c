/* SPDX-License-Identifier: BSD-2-Clause */
/* Error numbers by name, for lines that the operator reads. */
#include "lib/errno.h"

#include "lib/types.h"

const char *errno_name(int err)
{
	static const char *const names[] = {
		[0] = "OK", [EPERM] = "EPERM", [ENOENT] = "ENOENT", [EINTR] = "EINTR", [EIO] = "EIO", [ENXIO] = "ENXIO",
		[E2BIG] = "E2BIG", [ENOEXEC] = "ENOEXEC", [EAGAIN] = "EAGAIN", [ENOMEM] = "ENOMEM",
		[EFAULT] = "EFAULT", [EBUSY] = "EBUSY", [EEXIST] = "EEXIST", [ENODEV] = "ENODEV",
		[EINVAL] = "EINVAL", [ENOSPC] = "ENOSPC", [ERANGE] = "ERANGE", [ENOSYS] = "ENOSYS",
		[EOVERFLOW] = "EOVERFLOW", [EOPNOTSUPP] = "EOPNOTSUPP", [ENOBUFS] = "ENOBUFS",
		[ETIMEDOUT] = "ETIMEDOUT",
	};
	unsigned int n = err < 0 ? -(unsigned int)err : (unsigned int)err;

	return n < ARRAY_SIZE(names) && names[n] ? names[n] : "E?";
}
