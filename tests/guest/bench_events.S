/* SPDX-License-Identifier: BSD-2-Clause */
/* The measured events, one function each: the TSC before, the event, the TSC after, and nothing
 * that a compiler could arrange differently. u64 event(rdi, rsi, rdx), the third moved to R9 since
 * RDTSC takes RDX; event_empty is the harness alone. */

	.macro	EVENT name, insns
	.globl	\name
	.balign 64
\name:	push	%rbx
	mov	%rdx, %r9
	rdtsc
	mov	%eax, %r8d
	mov	%edx, %r10d
	\insns
	rdtsc
	sub	%r8d, %eax
	sbb	%r10d, %edx
	shl	$32, %rdx
	or	%rdx, %rax
	pop	%rbx
	ret
	.endm

	.text
	EVENT event_empty, ""
	EVENT event_cpuid, "xor %eax, %eax; cpuid"
	EVENT event_out, "mov %edi, %edx; out %al, (%dx)"
	EVENT event_vmmcall, "mov %edi, %eax; vmmcall"
	EVENT event_vmcall, "mov %edi, %eax; vmcall"
	EVENT event_touch, "movq $1, (%rdi)"
	EVENT event_cr3, "mov %cr3, %rax; mov %rax, %cr3"
	EVENT event_invlpg, "invlpg (%rdi); mov (%rdi), %rax"
	EVENT event_newpte, "mov %rsi, (%r9); mov (%rdi), %rax"
	EVENT event_clearpte, "movq $0, (%r9); invlpg (%rdi)"
	EVENT event_demand, "mov (%rdi), %rax"

	/* demand_fault - a #PF handler that saves what a kernel's would, enters what is wanted for
	 * the address, and returns. */
	.globl	demand_fault
	.balign 64
demand_fault:
	.irp	reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	push	%\reg
	.endr
	cld
	mov	%cr2, %rax
	shr	$12, %rax
	and	$511, %eax
	mov	demand_table(%rip), %rcx
	mov	demand_entry(%rip), %rdx
	mov	%rdx, (%rcx,%rax,8)
	.irp	reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
	pop	%\reg
	.endr
	add	$8, %rsp			/* the error code */
	iretq
	.section .note.GNU-stack, "", @progbits
