/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ways to fill the page at RDI with zeros; see memory_clear_page. */

	.text
	.balign 16
	.globl clear_page_rep
clear_page_rep:
	xorl %eax, %eax
	movl $512, %ecx
	rep stosq
	ret

	/* Preemption is off: the register's owner must not be switched away, saved, or loaded meanwhile.
	 * An interrupt may come and clear a page of its own. */
	.balign 16
	.globl clear_page_xmm0
clear_page_xmm0:
	subq $24, %rsp
	movups %xmm0, (%rsp)
	xorps %xmm0, %xmm0
	movl $4, %ecx
1:
	.set at, 0
	.rept 64
	movaps %xmm0, at(%rdi)
	.set at, at + 16
	.endr
	addq $1024, %rdi
	decl %ecx
	jnz 1b
	movups (%rsp), %xmm0
	addq $24, %rsp
	ret

	.section .note.GNU-stack, "", @progbits
