/* SPDX-License-Identifier: BSD-2-Clause */
/* 256 trap entries, the frame that C sees, and the way back from code that trapped. */

	.text
	.balign 16
	.globl vector_entries			/* 16 bytes each; trap.c counts on it */
vector_entries:
	.set	vector, 0
	.rept	256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0				/* no error code from the processor */
	.endif
	pushq	$vector
	jmp	trap_common
	.set	vector, vector + 1
	.endr

	.globl trap_common			/* vector and error code pushed: to C and back */
trap_common:
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	call	trap_dispatch
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq

	/* try_enter(fn, arg) - call, keeping in try_rsp where try_resume finds our caller. */
	.globl try_enter
try_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, try_rsp(%rip)
	mov	%rdi, %rax
	mov	%rsi, %rdi
	sub	$8, %rsp
	call	*%rax
	add	$8, %rsp
	/* try_resume - trap_dispatch comes back here with RSP = try_rsp. */
	.globl try_resume
try_resume:
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	/* user_enter({rip, rsp, rdi, rsi}) - to ring 3; only a trap comes back. */
	.globl user_enter
user_enter:
	pushq	$0x23
	pushq	8(%rdi)
	pushq	user_rflags(%rip)
	pushq	$0x2b
	pushq	0(%rdi)
	mov	24(%rdi), %rsi
	mov	16(%rdi), %rdi
	iretq

	.section .data
	.globl user_rflags
user_rflags:
	.quad	0x2
	.section .note.GNU-stack, "", @progbits
