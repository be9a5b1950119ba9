/* SPDX-License-Identifier: BSD-2-Clause */
/* From the boot loader to C. Multiboot2 enters in 32-bit protected mode, paging off, flat segments,
 * EAX = magic, EBX = physical address of the information structure; on UEFI boards, too, after boot
 * services have ended. Source: Multiboot2 Specification, "I386 machine state".
 *
 * The boot page tables, of 2 MiB pages only, show the first 4 GiB three times:
 *
 *	0			until memory_init
 *	DIRECT_MAP		as later: so pointers made by phys_to_virt outlive memory_init
 *	KERNEL_IMAGE		the first GiB of it
 *
 * They are in use again while other CPUs start (ap_trampoline.S), then their frames are given away. */

#define KERNEL_IMAGE 0xffffffff80000000
#define PHYS(symbol) (symbol - KERNEL_IMAGE)

#define PAGE      4096
#define TABLE     0x003 /* present, writable */
#define LEAF_2M   0x083
#define GIB_SHOWN 4

#define MSR_EFER    0xc0000080
#define MSR_GS_BASE 0xc0000101
#define EFER_LME    0x100
#define EFER_NXE    0x800
#define CR0_BITS    0x80010033 /* PG WP NE ET MP PE */
#define CR4_PAE     0x20

	.section .multiboot, "a"
	.balign 8
header:
	.long 0xe85250d6, 0, header_end - header
	.long -(0xe85250d6 + (header_end - header))
	/* Framebuffer, optional, of any size: GRUB then honours `gfxpayload`, text included. */
	.balign 8
	.short 5, 1
	.long 20, 0, 0, 0
	/* Modules begin on pages. */
	.balign 8
	.short 6, 0
	.long 8
	.balign 8
	.short 0, 0
	.long 8
header_end:

	.text
	.code32
	.globl start
start:
	cli
	cld
	movl %eax, %edi		/* magic and information stay here till C */
	movl %ebx, %esi
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb not_64bit
	movl $0x80000001, %eax
	cpuid
	testl $1 << 29, %edx
	jz not_64bit
	movl %edx, %ebp		/* bit 20: NX */

	/* The four page directories, then what points to them. */
	movl $PHYS(boot_pd), %ebx
	movl $LEAF_2M, %eax
	movl $(GIB_SHOWN * 512), %ecx
	xorl %edx, %edx
1:	movl %eax, (%ebx)
	movl %edx, 4(%ebx)
	addl $8, %ebx
	addl $0x200000, %eax	/* the last addition wraps, unused */
	decl %ecx
	jnz 1b

	movl $PHYS(boot_pdpt), %ebx
	movl $(PHYS(boot_pd) + TABLE), %eax
	movl $GIB_SHOWN, %ecx
2:	movl %eax, (%ebx)
	addl $8, %ebx
	addl $PAGE, %eax
	decl %ecx
	jnz 2b

	movl $(PHYS(boot_pd) + TABLE), PHYS(boot_pdpt_image) + 510 * 8
	movl $(PHYS(boot_pdpt) + TABLE), PHYS(boot_pml4)
	movl $(PHYS(boot_pdpt) + TABLE), PHYS(boot_pml4) + 256 * 8
	movl $(PHYS(boot_pdpt_image) + TABLE), PHYS(boot_pml4) + 511 * 8

	movl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $PHYS(boot_pml4), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	btl $20, %ebp
	jnc 3f
	orl $EFER_NXE, %eax
3:	wrmsr
	movl $CR0_BITS, %eax
	movl %eax, %cr0
	lgdt PHYS(boot_gdt_pointer32)
	ljmp $8, $PHYS(start64)

	/* One line by each way that needs no set-up, then the end. */
not_64bit:
	movl $PHYS(text_not_64bit), %esi
	movl $0xb8000, %ebx
	movb $0x07, %ah
	movw $0x3f8, %dx
4:	lodsb
	testb %al, %al
	jz 5f
	movw %ax, (%ebx)
	addl $2, %ebx
	outb %al, %dx
	jmp 4b
5:	hlt
	jmp 5b

	.code64
start64:
	movabsq $start_high, %rax
	jmp *%rax
start_high:
	lgdt boot_gdt_pointer64(%rip)
	xorl %eax, %eax
	.irp reg, ss, ds, es, fs, gs
	movl %eax, %\reg
	.endr
	leaq boot_cpu_area(%rip), %rax
	movq %rax, (%rax)	/* cpu->self */
	movq %rax, %rdx
	shrq $32, %rdx
	movl $MSR_GS_BASE, %ecx
	wrmsr
	leaq boot_stack_top(%rip), %rsp
	xorl %ebp, %ebp		/* backtraces end here */
	movl %edi, %edi		/* u32 magic, u64 info */
	movl %esi, %esi
	call kernel_entry
6:	cli
	hlt
	jmp 6b

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 64-bit code */
boot_gdt_end:
boot_gdt_pointer32:
	.short boot_gdt_end - boot_gdt - 1
	.long PHYS(boot_gdt)
boot_gdt_pointer64:
	.short boot_gdt_end - boot_gdt - 1
	.quad boot_gdt
text_not_64bit:
	.asciz "Neap needs a 64-bit processor."

	.section .boot_tables, "aw", @nobits
	.balign PAGE
	.globl boot_pml4
boot_pml4:	.skip PAGE
boot_pdpt:	.skip PAGE
boot_pdpt_image: .skip PAGE
boot_pd:	.skip GIB_SHOWN * PAGE

	.section .boot_stack, "aw", @nobits
	.balign PAGE
	.skip 4 * PAGE
	.globl boot_stack_top
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
