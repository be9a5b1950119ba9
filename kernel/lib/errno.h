/* SPDX-License-Identifier: BSD-2-Clause */
/* Error numbers, returned negative. The values are those of POSIX systems on x86, so that host
 * builds, where <errno.h> may come in as well, agree. */
#pragma once

#define EPERM      1
#define ENOENT     2
#define EINTR      4
#define EIO        5
#define ENXIO      6
#define E2BIG      7
#define ENOEXEC    8
#define EAGAIN     11
#define ENOMEM     12
#define EFAULT     14
#define EBUSY      16
#define EEXIST     17
#define ENODEV     19
#define EINVAL     22
#define ENOSPC     28
#define ERANGE     34
#define ENOSYS     38
#define EOVERFLOW  75
#define EOPNOTSUPP 95
#define ENOBUFS    105
#define ETIMEDOUT  110

const char *errno_name(int err);
