/* SPDX-License-Identifier: BSD-2-Clause */
/* How another processor reaches C. The first part is copied to a page below 1 MiB, where a startup
 * IPI makes a processor begin in real mode with CS:IP = page:0. It goes to long mode in one step, on
 * the boot page tables (which show that page at its own address), and on to ap_start in the kernel's
 * text, which both these and the kernel's tables show at one address.
 *
 * kernel/cpu/smp.c fills in the words at ap_trampoline_data; struct ap_data there is their layout. */

#define OFFSET(symbol) (symbol - ap_trampoline)

#define MSR_EFER    0xc0000080
#define MSR_GS_BASE 0xc0000101
#define CR0_BITS    0x80010033 /* PG WP NE ET MP PE; caches on */
#define CR4_PAE     0x20

	.section .rodata
	.balign 16
	.globl ap_trampoline
ap_trampoline:
	.code16
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl OFFSET(data_cr3), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	xorl %edx, %edx
	movl OFFSET(data_efer), %eax
	wrmsr
	lgdtl OFFSET(data_gdt_pointer)
	movl $CR0_BITS, %eax
	movl %eax, %cr0
	ljmpl *OFFSET(data_far)

	.code64
	.globl ap_trampoline_long
ap_trampoline_long:
	movq data_start(%rip), %rax
	movq data_cpu(%rip), %rdi
	movq data_stack(%rip), %rsp
	jmp *%rax

	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code */
	.globl ap_trampoline_data
ap_trampoline_data:
data_far:
	.long 0				/* address of ap_trampoline_long in the copy */
	.short 8
data_gdt_pointer:
	.short 15
	.long 0				/* address of gdt in the copy: data - 16 */
data_cr3:
	.long 0
data_efer:
	.long 0
	.long 0
data_start:
	.quad 0
data_cpu:
	.quad 0
data_stack:
	.quad 0
	.globl ap_trampoline_end
ap_trampoline_end:

	/* ap_start - RDI = struct cpu, RSP = its stack, still on the boot page tables. */
	.text
	.code64
	.globl ap_start
ap_start:
	movq kernel_cr3(%rip), %rax
	movq %rax, %cr3
	xorl %eax, %eax
	.irp reg, ss, ds, es, fs, gs
	movl %eax, %\reg
	.endr
	movq %rdi, %rax
	movq %rdi, %rdx
	shrq $32, %rdx
	movl $MSR_GS_BASE, %ecx
	wrmsr
	xorl %ebp, %ebp
	call ap_entry
	ud2

	.section .note.GNU-stack, "", @progbits
