/* SPDX-License-Identifier: BSD-2-Clause */
/* All 256 gates, and the one way in and out behind them. Each stub has STUB_BYTES and pushes its
 * vector, as the signed byte that one instruction can push; trap_handle takes it modulo 256.
 * GS is the kernel's in every context that can be interrupted, so nothing is swapped. */

#define STUB_BYTES 8

	.text
	.balign STUB_BYTES
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 256
	.balign STUB_BYTES
	pushq $(vector - (vector & 128) * 2)
	/* #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX: the processor has pushed an error code. */
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || \
	    vector == 29 || vector == 30
	jmp.d32 trap_common
	.else
	jmp.d32 trap_no_error
	.endif
	.set vector, vector + 1
	.endr

	.balign 16
trap_no_error:
	pushq (%rsp)		/* the vector again, below; its old place becomes the error code */
	movq $0, 8(%rsp)
trap_common:
	.irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	pushq %\reg
	.endr
	movq %rsp, %rdi
	/* What looks like a call from the interrupted instruction: backtraces walk through. */
	pushq 17 * 8(%rsp)
	pushq %rbp
	movq %rsp, %rbp
	cld
	call trap_handle
	addq $16, %rsp
	.irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
	popq %\reg
	.endr
	addq $16, %rsp		/* vector and error code */
	iretq

	.section .note.GNU-stack, "", @progbits
