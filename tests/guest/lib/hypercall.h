/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest may tell Neap and ask it. Without Neap below, nothing happens. */
#pragma once

#include "types.h"

/* hypercall_there - is Neap below? Its CPUID leaf says so. */
bool hypercall_there(void);

/* hypercall_progress - @done of @total, in whatever unit, for the operator's meter, and the totals
 * of pages.h. */
void hypercall_progress(u64 done, u64 total);

/* hypercall_watch - count from now on how often pages come back from the swap disk, and how often
 * it is every @stride-th page of [start, end). Returns false if nobody counts. */
bool hypercall_watch(u64 start, u64 end, u64 stride);
/* hypercall_watched - what was counted since; false and zeros if nobody did. */
bool hypercall_watched(u64 *watched, u64 *all);
