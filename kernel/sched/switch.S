/* SPDX-License-Identifier: BSD-2-Clause */
/* One thread leaves the CPU, another goes on. Only what the C calling convention preserves is saved
 * (System V ABI, "Registers"): to the compiler this is a function call that takes long. Flags need
 * no care: interrupts are off on both sides, and the direction flag is clear at every call. */

	.text
	.globl context_switch
	.type context_switch, @function

/* struct thread *context_switch(struct thread *prev: rdi, struct thread *next: rsi)
 * RDI survives the change of stacks, so `prev` means the same on both: who ran until now. A new
 * thread's stack holds six zeros and the address of thread_main(prev), whose argument RDI is. */
context_switch:
	.irp	reg, rbp, rbx, r12, r13, r14, r15
	pushq	%\reg
	.endr
	movq	%rsp, (%rdi)	/* thread->rsp is at offset 0 */
	movq	(%rsi), %rsp
	.irp	reg, r15, r14, r13, r12, rbx, rbp
	popq	%\reg
	.endr
	movq	%rdi, %rax
	ret
	.size context_switch, . - context_switch

	.section .note.GNU-stack, "", @progbits
