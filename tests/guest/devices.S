/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's TPR, at FEE00080, by many forms of MOV; and string I/O with the direction flag
 * set. */

	/* FORM - a function that starts with RCX = FEE00000, RDX = 0x20, RAX = all ones, the value
	 * to write in EDI, and returns what it read in RAX. */
	.macro	FORM name, insns
	.globl	\name
\name:	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r15
	mov	$0xfee00000, %ecx
	mov	$0x20, %edx
	mov	$-1, %rax
	\insns
	pop	%r15
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.endm

	.text
	FORM read_base, "add $0x80, %rcx; mov (%rcx), %eax"
	FORM read_disp8, "add $0x90, %rcx; mov -0x10(%rcx), %eax"
	FORM read_disp32, "sub $0x10000, %rcx; mov 0x10080(%rcx), %eax"
	FORM read_sib, "mov (%rcx,%rdx,4), %eax"
	FORM read_sib_disp, "mov 0x40(%rcx,%rdx,2), %eax"
	FORM read_no_base, "mov $0xfee00080 / 8, %ebx; mov (,%rbx,8), %eax"
	FORM read_r12, "mov %rcx, %r12; mov 0x80(%r12), %eax"
	FORM read_r13, "lea 0x80(%rcx), %r13; mov (%r13), %eax"
	FORM read_rbp, "lea 0x80(%rcx), %rbp; mov (%rbp), %eax"
	FORM read_to_r15, "mov $-1, %r15; mov 0x80(%rcx), %r15d; mov %r15, %rax"
	FORM read_moffs, "movabs 0xfee00080, %eax"
	FORM read_addr32, "bts $40, %rcx; mov 0x80(%ecx), %eax"
	FORM read_fs, "mov %fs:0x80, %eax"

	FORM write_base, "add $0x80, %rcx; mov %edi, (%rcx)"
	FORM write_disp32, "sub $0x10000, %rcx; mov %edi, 0x10080(%rcx)"
	FORM write_sib, "mov %edi, (%rcx,%rdx,4)"
	FORM write_no_base, "mov $0xfee00080 / 8, %ebx; mov %edi, (,%rbx,8)"
	FORM write_r12, "mov %rcx, %r12; mov %edi, 0x80(%r12)"
	FORM write_r13, "lea 0x80(%rcx), %r13; mov %edi, (%r13)"
	FORM write_from_r15, "mov %edi, %r15d; mov %r15d, 0x80(%rcx)"
	FORM write_moffs, "mov %edi, %eax; movabs %eax, 0xfee00080"
	FORM write_addr32, "bts $40, %rcx; mov %edi, 0x80(%ecx)"
	FORM write_fs, "mov %edi, %fs:0x80"
	FORM write_imm50, "movl $0x50, 0x80(%rcx)"
	FORM write_imm60, "movl $0x60, (%rcx,%rdx,4)"

	/* outs_down(from, bytes, port), ins_down(to, bytes, port) - REP with DF set. */
	.globl	outs_down, ins_down
outs_down:
	mov	%rsi, %rcx
	mov	%rdi, %rsi
	std
	rep outsb
	cld
	ret
ins_down:
	mov	%rsi, %rcx
	std
	rep insb
	cld
	ret
	.section .note.GNU-stack, "", @progbits
