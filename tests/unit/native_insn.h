/* SPDX-License-Identifier: BSD-2-Clause */
/* The oracle for emulated instructions: the test's own processor. One instruction is put into a page of
 * its own and run with all sixteen registers and the flags as given, in 64-bit user mode. Included by one
 * file of a program; no signal may come meanwhile, as RSP is the instruction's. */
#pragma once

#include "host.h"

#include <sys/mman.h>

struct native {
	u64 regs[16]; /* in encoding order */
	u64 flags;
};

void native_enter(struct native *n, const void *code);
void native_back(void);

__asm__(".pushsection .text\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, native_now(%rip)\n"
	"	mov %rsi, native_code(%rip)\n"
	"	mov %rsp, native_stack(%rip)\n"
	"	push 128(%rdi); popfq\n"
	"	mov (%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
	"	mov 32(%rdi), %rsp; mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
	"	mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
	"	mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
	"	mov 56(%rdi), %rdi\n"
	"	jmp *native_code(%rip)\n"
	"native_back:\n" /* flags stay as they are until PUSHF */
	"	mov %rdi, native_rdi(%rip)\n"
	"	mov native_now(%rip), %rdi\n"
	"	mov %rsp, 32(%rdi)\n"
	"	mov native_stack(%rip), %rsp\n"
	"	pushfq; pop 128(%rdi); cld\n"
	"	mov %rax, (%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi); mov %rsi, 48(%rdi); mov native_rdi(%rip), %rax; mov %rax, 56(%rdi)\n"
	"	mov %r8, 64(%rdi); mov %r9, 72(%rdi); mov %r10, 80(%rdi); mov %r11, 88(%rdi)\n"
	"	mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".popsection\n"
	".local native_now, native_code, native_stack, native_rdi\n"
	".comm native_now, 8, 8\n.comm native_code, 8, 8\n.comm native_stack, 8, 8\n.comm native_rdi, 8, 8\n");

/* native_run - run the instruction of @nr bytes with @n's registers; they become those after it. */
static void native_run(struct native *n, const u8 *code, size_t nr)
{
	static u8 *page;
	const void *back = (const void *)native_back;

	if (!page)
		page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(page != MAP_FAILED);
	memcpy(page, code, nr);
	memcpy(page + nr, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip) */
	memcpy(page + nr + 6, &back, 8);
	native_enter(n, page);
}

/* native_memory - @bytes of plain memory at the very address @at, so that registers need no translation. */
static u8 *native_memory(u64 at, size_t bytes)
{
	u8 *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at)
		fail_msg("no memory at %#lx", at);
	return p;
}
