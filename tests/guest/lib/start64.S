/* SPDX-License-Identifier: BSD-2-Clause */
/* What every 64-bit guest goes through: segments, stack, empty bss, control registers; then C. The
 * page tables are written by the assembler, so that no code runs without them. */

	.section .text.start, "ax"
	.code64
	/* start64 - on our page tables and GDT; EDI = multiboot information. */
	.globl start64
start64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	lea	boot_stack_top(%rip), %rsp
	mov	%edi, %ebx

	lea	guest_bss_start(%rip), %rdi
	lea	guest_bss_end(%rip), %rcx
	sub	%rdi, %rcx
	xor	%eax, %eax
	rep stosb

	call	cpu_features_on
	mov	%ebx, %edi
	call	guest_init
	ud2

	/* cpu_features_on - NX, SSE and write protection, on whichever CPU this is. */
	.globl cpu_features_on
cpu_features_on:
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x800, %eax			/* EFER.NXE */
	wrmsr
	mov	%cr4, %rax
	or	$0x600, %eax			/* OSFXSR, OSXMMEXCPT */
	mov	%rax, %cr4
	mov	%cr0, %rax
	and	$~0x6000000c, %eax		/* not CD, NW, TS, EM */
	or	$0x10022, %eax			/* WP, NE, MP */
	mov	%rax, %cr0
	fninit
	ret

	.section .data
	.balign 16
	.globl guest_gdt
guest_gdt:
	.quad	0
	.quad	0x00af9b000000ffff		/* 08: code, 64-bit */
	.quad	0x00cf93000000ffff		/* 10: data */
	.quad	0x00cf9b000000ffff		/* 18: code, 32-bit */
	.quad	0x00cff3000000ffff		/* 20: user data */
	.quad	0x00affb000000ffff		/* 28: user code, 64-bit */
	.quad	0, 0				/* 30: TSS, trap.c fills it in */
	.globl guest_gdtr
guest_gdtr:
	.word	guest_gdtr - guest_gdt - 1
	.quad	guest_gdt

	/* 4 GiB one to one. The upper levels carry the user bit: single pages may have it. */
	.balign 4096
	.globl guest_pml4
guest_pml4:
	.quad	guest_pdpt + 0x7
	.fill	511, 8, 0
guest_pdpt:
	.quad	guest_pd + 0x0007
	.quad	guest_pd + 0x1007
	.quad	guest_pd + 0x2007
	.quad	guest_pd + 0x3007
	.fill	508, 8, 0
guest_pd:
	.set	address, 0
	.rept	3 * 512
	.quad	address + 0x83			/* 2 MiB, writable */
	.set	address, address + 0x200000
	.endr
	.rept	512
	.quad	address + 0x9b			/* the same, uncached */
	.set	address, address + 0x200000
	.endr

	/* Before the bss: it is in use while that is cleared. */
	.balign 16
	.fill	16384, 1, 0
	.globl boot_stack_top
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
