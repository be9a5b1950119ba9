/* SPDX-License-Identifier: BSD-2-Clause */
/* Vector registers filled, exits taken, vector registers stored. */

	.macro	EXITS			/* RDX of them; CPUID changes EAX to EDX */
	mov	%rdx, %r8
1:	xor	%eax, %eax
	xor	%ecx, %ecx
	cpuid
	dec	%r8
	jnz	1b
	.endm

	/* LOAD_EACH, STORE_EACH - \op for registers 0 to 15 at \base, \step bytes apart. */
	.macro	LOAD_EACH op, reg, base, step
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	\op	\n * \step(\base), %\reg\n
	.endr
	.endm

	.macro	STORE_EACH op, reg, base, step
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	\op	%\reg\n, \n * \step(\base)
	.endr
	.endm

	.text
	/* xmm_over_exits(in, out, nr) - 16 registers of 16 bytes. */
	.globl xmm_over_exits
xmm_over_exits:
	push	%rbx
	LOAD_EACH movups, xmm, %rdi, 16
	EXITS
	STORE_EACH movups, xmm, %rsi, 16
	pop	%rbx
	ret

	/* ymm_over_exits(in, out, nr) - 16 registers of 32 bytes. */
	.globl ymm_over_exits
ymm_over_exits:
	push	%rbx
	LOAD_EACH vmovups, ymm, %rdi, 32
	EXITS
	STORE_EACH vmovups, ymm, %rsi, 32
	vzeroupper
	pop	%rbx
	ret

	/* x87_over_exits(in, out, nr) - in: control word (u16 at 0), MXCSR (u32 at 4), a double
	 * at 8; out: the same, stored. */
	.globl x87_over_exits
x87_over_exits:
	push	%rbx
	fninit
	fldcw	(%rdi)
	ldmxcsr	4(%rdi)
	fldl	8(%rdi)
	EXITS
	fnstcw	(%rsi)
	stmxcsr	4(%rsi)
	fstpl	8(%rsi)
	fninit
	pushq	$0x1f80				/* MXCSR as after reset */
	ldmxcsr	(%rsp)
	pop	%rax
	pop	%rbx
	ret
	.section .note.GNU-stack, "", @progbits
