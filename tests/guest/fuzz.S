/* SPDX-License-Identifier: BSD-2-Clause */
/* How the second vCPU starts in fuzz.c. From fuzz_ap_start on this is copied to a page below 1 MiB, which
 * ends with a number that tells this start from the others. An NMI finds a gate at any moment: the tables
 * of real mode, of protected mode and of long mode all begin at address 0 (fuzz.c). */

	.section .data.fuzz_ap, "aw"
	.code16
	.globl fuzz_ap_start, fuzz_ap_token, fuzz_ap_end
fuzz_ap_start:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	mov	fuzz_ap_token - fuzz_ap_start, %ebx
	lgdtl	fuzz_gdtr - fuzz_ap_start
	mov	%cr0, %eax
	and	$~0x60000000, %eax		/* INIT leaves CD and NW set */
	or	$1, %eax			/* PE */
	mov	%eax, %cr0
	ljmpl	$0x18, $fuzz_prot32
fuzz_gdtr:
	.word	6 * 8 - 1			/* all but the TSS */
	.long	guest_gdt
fuzz_ap_token:
	.long	0
fuzz_ap_end:

	.section .text.fuzz_ap, "ax"
	.code32
fuzz_prot32:
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
	ljmp	$0x08, $fuzz_long64

	.code64
fuzz_long64:
	lea	fuzz_ap_stack_end(%rip), %rsp
	call	cpu_features_on
	mov	%ebx, %edi
	call	fuzz_ap_main			/* does not return */

	.section .bss
	.balign	16
	.skip	8192
fuzz_ap_stack_end:
	.section .note.GNU-stack, "", @progbits
