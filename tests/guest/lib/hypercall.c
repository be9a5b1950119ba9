/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls: the number in RAX, arguments in RBX, RCX, RDX, RSI, RDI. See hypercall.h. */
#include "hypercall.h"

#include "pages.h"
#include "x86.h"

enum { CALL_PROGRESS = 1, CALL_WATCH = 2, CALL_WATCHED = 3 };

struct call {
	u64 rax, rbx, rcx, rdx, rsi, rdi;
};

bool hypercall_there(void)
{
	struct cpuid hypervisor;

	if (!(cpuid(1, 0).ecx >> 31))
		return false;
	hypervisor = cpuid(0x40000000, 0);
	return hypervisor.ebx == 0x7061654e; /* "Neap" */
}

static bool is_amd(void)
{
	return cpuid(0, 0).ebx == 0x68747541; /* "Auth" */
}

static void call(struct call *c)
{
	if (is_amd())
		__asm__ volatile("vmmcall"
				 : "+a"(c->rax), "+b"(c->rbx), "+c"(c->rcx), "+d"(c->rdx),
				   "+S"(c->rsi), "+D"(c->rdi)
				 :
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "+a"(c->rax), "+b"(c->rbx), "+c"(c->rcx), "+d"(c->rdx),
				   "+S"(c->rsi), "+D"(c->rdi)
				 :
				 : "memory");
}

void hypercall_progress(u64 done, u64 total)
{
	struct call c = {CALL_PROGRESS, done, total, pages_written, pages_verified,
			 pages_mismatches};

	if (hypercall_there())
		call(&c);
}

bool hypercall_watch(u64 start, u64 end, u64 stride)
{
	struct call c = {.rax = CALL_WATCH, .rbx = start, .rcx = end, .rdx = stride};

	if (!hypercall_there())
		return false;
	call(&c);
	return !c.rax;
}

bool hypercall_watched(u64 *watched, u64 *all)
{
	struct call c = {.rax = CALL_WATCHED};

	*watched = *all = 0;
	if (!hypercall_there())
		return false;
	call(&c);
	if (c.rax)
		return false;
	*watched = c.rbx;
	*all = c.rcx;
	return true;
}
