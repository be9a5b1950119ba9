/* SPDX-License-Identifier: BSD-2-Clause */
/* The world switch. What VMRUN itself swaps: CS SS DS ES, GDTR, IDTR, CR0 CR3 CR4 EFER, RFLAGS, RIP,
 * RSP, RAX. What VMLOAD/VMSAVE swap: FS GS TR LDTR, KernelGSBase, STAR..SFMASK, SYSENTER. The rest is
 * ours to do here. GIF is clear from before the first VMLOAD until the caller's STGI, so nothing runs
 * with the guest's GS or TR. */

	.text
	.globl	svm_enter
	.type	svm_enter, @function
svm_enter:			/* rdi: u64 regs[16], rsi: vmcb_pa, rdx: host_pa */
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdx
	pushq	%rdi
	movq	%rsi, %rax
	vmload	%rax
	movq	1*8(%rdi), %rcx
	movq	2*8(%rdi), %rdx
	movq	3*8(%rdi), %rbx
	movq	5*8(%rdi), %rbp
	movq	6*8(%rdi), %rsi
	movq	8*8(%rdi), %r8
	movq	9*8(%rdi), %r9
	movq	10*8(%rdi), %r10
	movq	11*8(%rdi), %r11
	movq	12*8(%rdi), %r12
	movq	13*8(%rdi), %r13
	movq	14*8(%rdi), %r14
	movq	15*8(%rdi), %r15
	movq	7*8(%rdi), %rdi
	vmrun	%rax
	vmsave	%rax		/* rax and rsp are the host's again */
	xchgq	%rdi, (%rsp)
	movq	%rcx, 1*8(%rdi)
	movq	%rdx, 2*8(%rdi)
	movq	%rbx, 3*8(%rdi)
	movq	%rbp, 5*8(%rdi)
	movq	%rsi, 6*8(%rdi)
	movq	%r8, 8*8(%rdi)
	movq	%r9, 9*8(%rdi)
	movq	%r10, 10*8(%rdi)
	movq	%r11, 11*8(%rdi)
	movq	%r12, 12*8(%rdi)
	movq	%r13, 13*8(%rdi)
	movq	%r14, 14*8(%rdi)
	movq	%r15, 15*8(%rdi)
	popq	7*8(%rdi)
	popq	%rax
	vmload	%rax
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
	.size	svm_enter, . - svm_enter

	.section .note.GNU-stack, "", @progbits
