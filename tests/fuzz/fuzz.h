/* SPDX-License-Identifier: BSD-2-Clause */
/* What fuzz targets share. A target is one file, fuzz_NAME.c, which names in comments at the start of a
 * line the sources that it is about, whose lines are counted, and those that it links beside them:
 *
 *	subject: kernel/vmm/devices/uart.c          (as one C comment)
 *	sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c      (as one C comment)
 *
 * and has one function, fuzz_one: a course of steps that the input's bytes choose, with a CHECK for what
 * must hold. A panic, a failed assertion and what the sanitizers find end the program, and libFuzzer
 * keeps the input. Two runs of one input do the same. */
#pragma once

#include "host.h"

/* The bytes that are left; behind the end come zeros. */
struct input {
	const u8 *at, *end;
};

/* fuzz_one - the target: one course from a fresh start to the end. */
void fuzz_one(struct input *in);

static inline size_t input_left(const struct input *in)
{
	return in->end - in->at;
}

/* take - the next @bytes as a number. take_below - a number below @n. take_bytes - to @to. */
static inline u64 take(struct input *in, unsigned int bytes)
{
	u64 value = 0;

	for (unsigned int i = 0; i < bytes && in->at < in->end; i++)
		value |= (u64)*in->at++ << (8 * i);
	return value;
}

static inline u32 take_below(struct input *in, u32 n)
{
	return take(in, n <= 0x100 ? 1 : n <= 0x10000 ? 2 : 4) % n;
}

static inline void take_bytes(struct input *in, void *to, size_t bytes)
{
	size_t have = MIN(bytes, input_left(in));

	memcpy(to, in->at, have);
	memset((u8 *)to + have, 0, bytes - have);
	in->at += have;
}
