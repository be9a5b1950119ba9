/* SPDX-License-Identifier: BSD-2-Clause */
/* Neap's hypercalls, as any program of a guest may make them. Elsewhere they answer 0. */
#pragma once

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

enum { HYPERCALL_PROGRESS = 1, HYPERCALL_WORK = 4, HYPERCALL_EXITS };

static bool neap_is_here(void)
{
	unsigned int a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c >> 31))
		return false;
	__cpuid(0x40000000, a, b, c, d);
	return b == 0x7061654e && c == b && d == b; /* "Neap", three times */
}

/* neap_call - @args go to rbx, rcx, rdx, rsi, rdi, and come back as it left them. Returns rax. */
static uint64_t neap_call(uint64_t number, uint64_t args[5])
{
	if (!neap_is_here())
		return 0;
	__asm__ volatile("vmmcall"
			 : "+a"(number), "+b"(args[0]), "+c"(args[1]), "+d"(args[2]), "+S"(args[3]),
			   "+D"(args[4])
			 :
			 : "memory");
	return number;
}
