/* SPDX-License-Identifier: BSD-2-Clause */
/* What the paging guest runs in ring 3, in a page of its own: each does one access and leaves by
 * INT 0x80 if that did not fault. */
	.text
	.balign 4096
	.globl user_page, user_read, user_write, user_fetch
user_page:
user_read:
	mov	(%rdi), %rax
	int	$0x80
user_write:
	mov	%rsi, (%rdi)
	int	$0x80
user_fetch:
	jmp	*%rdi
	.balign 4096
	.section .note.GNU-stack, "", @progbits
