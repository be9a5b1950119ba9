/* SPDX-License-Identifier: BSD-2-Clause */
/* What brings an event about, right after the pages that its delivery needs have been evicted; and gates'
 * entries that run wherever they are copied. See events.c. */

	/* EVENT - send RCX gpas at RSI to port RDX = E4; let the other vCPU shoot what R9 says; then
	 * @prepare; @insn, which the event comes at or behind; and INT 80. No flag changes, and no stack is
	 * used, but by @prepare and @insn. */
	.macro	EVENT name, prepare, insn
	.globl	\name, \name\()_at, \name\()_after
\name:
1:	jrcxz	2f
	mov	(%rsi), %eax
	out	%eax, (%dx)
	lea	4(%rsi), %rsi
	lea	-1(%rcx), %rcx
	jmp	1b
2:	mov	%r9d, (%r11)
	\prepare
\name\()_at:
	\insn
\name\()_after:
	int	$0x80
	.endm

	.section .text.events, "ax"
	.balign	4096
	.globl	event_code			/* one page, and it runs at any address */
event_code:
	EVENT	on_write, "", "mov %r8d, (%rdi)"
	EVENT	on_window, "mov %r8d, (%rdi)", "sti; nop"
	EVENT	on_halt, "mov %r8d, (%rdi)", "sti; hlt"
	EVENT	on_spin, "mov %r8d, (%rdi)", "3: pause; jmp 3b"
	EVENT	on_out, "mov %r8d, %edx; mov $1, %eax", "out %al, (%dx)"
	EVENT	on_int, "", "int $0x93"
	EVENT	on_int3, "", "int3"
	EVENT	on_divide, "", "div %ecx"
	EVENT	on_ud, "", "ud2"
	EVENT	on_load, "", "mov %r8d, %es"
	EVENT	on_read, "", "mov (%rdi), %eax"
	EVENT	on_jump, "", "jmp *%rdi"
	/* RFLAGS with TF from (RDI): what follows POPF is stepped over. */
	EVENT	on_step, "mov %rsp, %rax; mov %rdi, %rsp; popfq", "mov %rax, %rsp"
	EVENT	on_step_write, "mov %rdi, %rsp; popfq", "mov %r8d, (%r10)"
	EVENT	on_step_cpuid, "mov %rdi, %rsp; popfq", "cpuid"
	.org	event_code + 4096		/* an error if they are more */

	.globl	event_entries			/* one page: an entry for each vector, 16 bytes */
event_entries:
	.set	vector, 0
	.rept	256
	.balign	16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	pushq	$trap_common
	ret
	.set	vector, vector + 1
	.endr

	/* event_enter(struct start) - IRET to where it says; only a trap comes back. */
	.text
	.globl	event_enter
event_enter:
	pushq	88(%rdi)			/* SS, RSP, RFLAGS, CS, RIP */
	pushq	80(%rdi)
	pushq	72(%rdi)
	pushq	64(%rdi)
	pushq	56(%rdi)
	mov	8(%rdi), %rsi
	mov	16(%rdi), %rcx
	mov	24(%rdi), %r8
	mov	32(%rdi), %r9
	mov	40(%rdi), %r10
	mov	48(%rdi), %r11
	mov	0(%rdi), %rdi
	mov	$0xe4, %edx
	iretq
	.section .note.GNU-stack, "", @progbits
