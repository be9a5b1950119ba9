/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines: "key=value key=value -- rest". Values hold no space, comma or quote. Sizes take
 * K, M, G (binary) or are bytes. */
#pragma once

#include "lib/types.h"

struct kv {
	const char *key;   /* not terminated: key_len bytes */
	const char *value; /* NULL for a bare word */
	size_t key_len, value_len;
};

/* kv_next - read the next word at *@cursor and move it on.
 * Return true with *@out filled; false at the end of the text or at a word "--" (then *@cursor
 * stands behind "-- "). */
bool kv_next(const char **cursor, struct kv *out);
bool kv_key_is(const struct kv *kv, const char *key);
bool kv_value_is(const struct kv *kv, const char *value);

/* kv_size - the value as a size in bytes. Return 0; -EINVAL if it is none; -ERANGE past 2^63. */
int must_check kv_size(const struct kv *kv, u64 *bytes);
/* kv_uint - the value as a decimal or 0x number. Return 0; -EINVAL; -ERANGE past @max. */
int must_check kv_uint(const struct kv *kv, u64 max, u64 *out);
