/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32 as Ethernet, zip and GPT use it. Source: ISO 3309, "Frame check sequence". */
#pragma once

#include "lib/types.h"

/* crc32 - of @bytes at @data; @crc is 0, or the result for what stands before, to go on. */
u32 crc32(u32 crc, const void *data, size_t bytes);
