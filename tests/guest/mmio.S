/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions with a memory operand, each a function of its address and of registers and flags, and a
 * table of them all; and a string instruction whose bytes lie in two pages. */

	/* FORM - run(at, regs): RDI is @at; RAX, RCX and the flags are taken from @regs (three words) and put
	 * back there. */
	.macro	FORM insn:vararg
	.text
1:	mov	%rsi, %r8
	mov	(%r8), %rax
	mov	8(%r8), %rcx
	push	16(%r8)
	popfq
	\insn
	pushfq
	pop	16(%r8)
	mov	%rax, (%r8)
	mov	%rcx, 8(%r8)
	ret
	.section .rodata.text, "aMS", @progbits, 1
2:	.asciz	"\insn"
	.section .rodata.forms, "a", @progbits
	.quad	1b, 2b
	.endm

	.section .rodata.forms, "a", @progbits
	.balign	8
	.globl	mmio_forms
mmio_forms:
	.irp	op, add, or, adc, sbb, and, sub, xor, cmp
	FORM	\op\()b %cl, (%rdi)
	FORM	\op\()w %cx, (%rdi)
	FORM	\op\()l %ecx, (%rdi)
	FORM	\op\()q %rcx, (%rdi)
	FORM	\op\()b (%rdi), %ah
	FORM	\op\()w (%rdi), %ax
	FORM	\op\()l (%rdi), %eax
	FORM	\op\()q (%rdi), %rax
	FORM	\op\()b $0x9c, (%rdi)
	FORM	\op\()w $0x1234, (%rdi)
	FORM	\op\()l $-3, (%rdi)
	FORM	\op\()q $0x12345678, (%rdi)
	.endr
	.irp	op, add, or, adc, sbb, and, sub, xor
	FORM	lock \op\()l %ecx, (%rdi)
	.endr
	.irp	op, not, neg, inc, dec
	FORM	\op\()b (%rdi)
	FORM	\op\()w (%rdi)
	FORM	lock \op\()l (%rdi)
	FORM	\op\()q (%rdi)
	.endr
	.irp	op, mov, xchg, xadd, cmpxchg, test
	FORM	\op\()b %cl, (%rdi)
	FORM	\op\()b %ch, (%rdi)
	FORM	\op\()w %cx, (%rdi)
	FORM	\op\()l %ecx, (%rdi)
	FORM	\op\()q %rcx, (%rdi)
	.endr
	FORM	lock cmpxchgl %ecx, (%rdi)
	FORM	lock xaddl %ecx, (%rdi)
	FORM	testb $0x81, (%rdi)
	FORM	testw $0x8001, (%rdi)
	FORM	testl $0x80000001, (%rdi)
	FORM	testq $-2, (%rdi)
	FORM	movb $0x5a, (%rdi)
	FORM	movw $0x5a5b, (%rdi)
	FORM	movl $0x5a5b5c5d, (%rdi)
	FORM	movq $-5, (%rdi)
	FORM	movb (%rdi), %ch
	FORM	movw (%rdi), %cx
	FORM	movl (%rdi), %ecx
	FORM	movq (%rdi), %rcx
	FORM	movzbw (%rdi), %cx
	FORM	movzbl (%rdi), %ecx
	FORM	movzwq (%rdi), %rcx
	FORM	movsbw (%rdi), %cx
	FORM	movsbl (%rdi), %ecx
	FORM	movswq (%rdi), %rcx
	FORM	movslq (%rdi), %rcx
	.section .rodata.forms, "a", @progbits
	.quad	0, 0

	/* mmio_copy(to, from, bytes) - REP MOVSB, whose first byte is the last one of a page. */
	.text
	.balign	4096
	.skip	4096 - 4
	.globl	mmio_copy
mmio_copy:
	mov	%rdx, %rcx
	rep movsb
	ret
	.section .note.GNU-stack, "", @progbits
