/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that trap, at known places: each ends by a return for the case that nothing came. */

	.text
	/* int_on_stack(rsp) - INT 0x90 with RSP as given; whoever answers returns. */
	.globl int_on_stack
int_on_stack:
	push	%rbp
	mov	%rsp, %rbp
	mov	%rdi, %rsp
	int	$0x90
	mov	%rbp, %rsp
	pop	%rbp
	ret

	/* step_cpuid - single-step over a NOP, and over CPUID, which a hypervisor skips for us. The
	 * trap comes after the instruction behind POPF. */
	.globl step_nop, step_nop_end, step_cpuid, step_cpuid_end, step_out, step_out_end
step_nop:
	pushfq
	orl	$0x100, (%rsp)
	popfq
	nop
step_nop_end:
	ret
step_cpuid:
	push	%rbx
	pushfq
	orl	$0x100, (%rsp)
	popfq
	cpuid
step_cpuid_end:
	pop	%rbx
	ret
step_out:
	mov	$0x80, %edx
	pushfq
	orl	$0x100, (%rsp)
	popfq
	out	%al, (%dx)
step_out_end:
	ret

	/* INTO is no instruction of 64-bit mode: go to a 32-bit code segment for it. Only a trap
	 * comes back. */
	.globl into_overflow, into_overflow_end
into_overflow:
	pushq	$0x18
	lea	1f(%rip), %rax
	push	%rax
	lretq
	.code32
1:	mov	$0x7f, %al
	add	$1, %al
	into
into_overflow_end:
	ud2
	.code64

	/* compat_exits - CPUID, OUT and INT3 in a 32-bit code segment: exits taken there too. */
	.globl compat_exits, compat_exits_end
compat_exits:
	push	%rbx
	pushq	$0x18
	lea	2f(%rip), %rax
	push	%rax
	lretq
	.code32
2:	xor	%eax, %eax
	cpuid
	out	%al, $0x80
	mov	0xfee00030, %eax		/* an APIC register by its absolute address */
	int3
compat_exits_end:
	ud2
	.code64

	.globl int3_here, int3_end, icebp_here, icebp_end, int90_here, int90_end, halt_on
int3_here:
	int3
int3_end:
	ret
icebp_here:
	.byte	0xf1
icebp_end:
	ret
int90_here:
	int	$0x90
int90_end:
	ret
halt_on:
	sti
	hlt
	cli
	ret
	.section .note.GNU-stack, "", @progbits
