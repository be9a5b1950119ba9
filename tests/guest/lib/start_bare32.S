/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 entry of a guest that stays in 32-bit protected mode without paging. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x3

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.section .text.start, "ax"
	.code32
	.globl guest_start
guest_start:
	cli
	cld
	mov	%eax, entry_eax			/* .data: the bss is cleared below */
	mov	$boot_stack_top, %esp
	mov	$guest_bss_start, %edi
	mov	$guest_bss_end, %ecx
	sub	%edi, %ecx
	xor	%eax, %eax
	rep stosb
	push	%ebx
	call	guest_init
	ud2

	.section .data
	.globl entry_eax
entry_eax:
	.long	0
	.balign 16
	.fill	16384, 1, 0
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
