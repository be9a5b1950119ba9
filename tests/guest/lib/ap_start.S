/* SPDX-License-Identifier: BSD-2-Clause */
/* An application processor's way from the SIPI's real mode to ap_entry(). The first part is copied
 * to a page below 1 MiB; it goes by offsets from its own start. */

	.section .data.ap_trampoline, "aw"
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdtr - ap_trampoline
	mov	%cr0, %eax
	and	$~0x60000000, %eax		/* INIT leaves CD and NW set */
	or	$1, %eax			/* PE */
	mov	%eax, %cr0
	ljmpl	$0x18, $ap_prot32
ap_gdtr:
	.word	6 * 8 - 1			/* all but the TSS */
	.long	guest_gdt
ap_trampoline_end:

	.section .text.ap, "ax"
	.code32
ap_prot32:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
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
	ljmp	$0x08, $ap_long64

	.code64
ap_long64:
	mov	$1, %ebx
	lock xadd %ebx, ap_next(%rip)		/* this AP's index */
	cmp	$31, %ebx			/* AP_MAX */
	ja	ap_halt
	mov	%ebx, %eax
	shl	$13, %rax			/* 8 KiB of stack each, index 1 the first */
	lea	ap_stacks(%rip), %rsp
	add	%rax, %rsp
	call	cpu_features_on
	mov	%ebx, %edi
	call	ap_entry
ap_halt:
	cli
	hlt
	jmp	ap_halt
	.section .note.GNU-stack, "", @progbits
