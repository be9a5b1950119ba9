/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw ELF64 entry: long mode already, RDI = multiboot 1 information, the loader's own descriptor
 * and page tables, which we leave at once. */

	.section .text.start, "ax"
	.code64
	.globl guest_start
guest_start:
	cli
	cld
	lea	boot_stack_top(%rip), %rsp
	mov	$guest_pml4, %eax
	mov	%rax, %cr3
	lgdt	guest_gdtr(%rip)
	pushq	$0x08
	lea	start64(%rip), %rax
	push	%rax
	lretq
	.section .note.GNU-stack, "", @progbits
