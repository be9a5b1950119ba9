/* SPDX-License-Identifier: BSD-2-Clause */
/* The accesses to hva that may fault. Each instruction that does has an entry in the exception
 * table; the trap code continues there with -EFAULT in RAX (cpu/trap.h). An access that is repeated
 * after its fault was served goes on where it was: string instructions keep their place in RSI, RDI
 * and RCX. */

/* may_fault - the next instruction may; then go on at the function's return. */
.macro may_fault insn:vararg
.Lfault\@:
	\insn
	.pushsection __ex_table, "a"
	.balign 4
	.long .Lfault\@ - .
	.long 9f - .
	.popsection
.endm

	.text

/* int uaccess_copy_from(void *to, u64 from, size_t bytes)
 * int uaccess_copy_to(u64 to, const void *from, size_t bytes)
 * RDI to, RSI from, RDX bytes. One body: either side may fault. */
	.globl uaccess_copy_from, uaccess_copy_to
	.type uaccess_copy_from, @function
	.type uaccess_copy_to, @function
	.balign 16
uaccess_copy_from:
uaccess_copy_to:
	cmpq	$8, %rdx
	jne	1f
	may_fault movq	(%rsi), %rax
	may_fault movq	%rax, (%rdi)
	xorl	%eax, %eax
	ret
1:	cmpq	$4, %rdx
	jne	2f
	may_fault movl	(%rsi), %eax
	may_fault movl	%eax, (%rdi)
	xorl	%eax, %eax
	ret
2:	cmpq	$2, %rdx
	jne	3f
	may_fault movzwl	(%rsi), %eax
	may_fault movw	%ax, (%rdi)
	xorl	%eax, %eax
	ret
3:	movq	%rdx, %rcx
	shrq	$3, %rcx
	may_fault rep movsq
	movl	%edx, %ecx
	andl	$7, %ecx
	may_fault rep movsb
	xorl	%eax, %eax
9:	ret
	.size uaccess_copy_from, . - uaccess_copy_from
	.size uaccess_copy_to, . - uaccess_copy_to

/* int uaccess_clear(u64 to, size_t bytes): RDI to, RSI bytes. */
	.globl uaccess_clear
	.type uaccess_clear, @function
	.balign 16
uaccess_clear:
	xorl	%eax, %eax
	movq	%rsi, %rcx
	shrq	$3, %rcx
	may_fault rep stosq
	movl	%esi, %ecx
	andl	$7, %ecx
	may_fault rep stosb
9:	ret
	.size uaccess_clear, . - uaccess_clear

	.section .note.GNU-stack, "", @progbits
