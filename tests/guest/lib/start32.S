/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot 1 entry: 32-bit protected mode, paging off, EBX = information; on to long mode. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x3 /* modules page-aligned, memory information wanted */

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
	mov	%ebx, %edi
	lgdt	guest_gdtr
	mov	%cr4, %eax
	or	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$guest_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER: LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax		/* PG */
	mov	%eax, %cr0
	ljmp	$0x08, $start64
	.section .note.GNU-stack, "", @progbits
