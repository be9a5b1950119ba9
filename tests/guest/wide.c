/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the hypervisor survive accesses past the end of RAM and across it?
 *
 * kind=beyond  plain moves past the end: reads give anything, writes go nowhere (default)
 * kind=cross   plain moves that begin in the last page of RAM and end past it;
 *              `strict`: and the part in RAM must be right
 * kind=wild    every other way to touch memory, there and across: the guest may be stopped;
 *              only=NAME: one of them */
#include "guest.h"
#include "trap.h"
#include "x86.h"

#define FAR (64ul << 20)

static u64 end; /* of RAM */

static void beyond(void)
{
	static const u64 offsets[] = {0,         8,        0x10, PAGE_SIZE - 8,
				      PAGE_SIZE, 0x123450, FAR,  FAR + 0x1000};
	u64 sum = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(offsets); i++) {
		volatile u8 *at = (volatile u8 *)(end + offsets[i]);

		sum += *at + *(volatile u16 *)at + *(volatile u32 *)at + *(volatile u64 *)at;
		*at = 1;
		*(volatile u16 *)at = 2;
		*(volatile u32 *)at = 3;
		*(volatile u64 *)at = 4;
	}
	print("%s: first word past the end: %#lx, sum %#lx\n", guest_name, *(volatile u64 *)end,
	      sum);
}

/* kept - what lies in RAM was read or written as on hardware; a failure only if `strict`. */
static void kept(bool good, const char *what, unsigned int in)
{
	if (guest_arg("strict"))
		report(good, "%s with %u in RAM", what, in);
	else if (!good)
		print("%s: %s with %u in RAM: not as on hardware\n", guest_name, what, in);
}

static void cross(void)
{
	const u64 old = 0x1122334455667788;
	volatile u64 *last = (volatile u64 *)(end - 8);
	u64 got;

	for (unsigned int in = 1; in < 8; in++) {
		volatile u64 *at = (volatile u64 *)(end - in);
		u64 mask = ~0ull << (8 * (8 - in));

		*last = old;
		got = *at;
		kept((got & ~(~0ull << (8 * in))) == old >> (8 * (8 - in)), "8 bytes read", in);
		*at = ~0ull;
		kept((*last & mask) == mask && (*last | mask) == (old | mask), "8 bytes written",
		     in);
	}
	*(volatile u32 *)(end - 2) = 0x55667788;
	kept(*(volatile u16 *)(end - 2) == 0x7788, "4 bytes written", 2);
	*(volatile u16 *)(end - 1) = 0x99aa;
	kept(*(volatile u8 *)(end - 1) == 0xaa, "2 bytes written", 1);
}

#define ACCESS(name, insn)                                                                         \
	static void name(void *at)                                                                 \
	{                                                                                          \
		u64 a = 0, c = 16, si = (u64)at, di = (u64)at;                                     \
		__asm__ volatile(insn                                                              \
				 : "+a"(a), "+c"(c), "+S"(si), "+D"(di)                            \
				 :                                                                 \
				 : "memory", "cc", "rbx", "rdx");                                  \
	}
ACCESS(movs, "rep movsq")
ACCESS(stos, "rep stosb")
ACCESS(lods, "rep lodsl")
ACCESS(cmps, "repe cmpsb")
ACCESS(scas, "repne scasw")
ACCESS(xchg, "xchg %%rax, (%%rdi)")
ACCESS(xadd, "lock xadd %%eax, (%%rdi)")
ACCESS(cmpxchg, "lock cmpxchg %%rcx, (%%rdi)")
ACCESS(cmpxchg8, "cmpxchg8b (%%rdi)")
ACCESS(rmw, "orl $1, (%%rdi); notq (%%rdi); incb (%%rdi); shll $3, (%%rdi)")
ACCESS(bits, "btsq $5, (%%rdi); bsfq (%%rdi), %%rax")
ACCESS(signs, "movsbl (%%rdi), %%eax; movzwl (%%rdi), %%eax; cmpl $0, (%%rdi); testb $1, (%%rdi)")
ACCESS(sse, "movups (%%rdi), %%xmm0; movups %%xmm0, (%%rdi); movntdq %%xmm0, 16(%%rsi)")
ACCESS(x87, "fldl (%%rdi); fstpl (%%rdi); fnstenv (%%rdi)")
ACCESS(stack, "mov %%rsp, %%rbx; lea 64(%%rdi), %%rsp; push %%rax; pop %%rax; mov %%rbx, %%rsp")
ACCESS(push_mem, "pushq (%%rdi); popq (%%rdi)")
ACCESS(tables, "sgdt (%%rdi); sidt (%%rdi); lidt (%%rdi)")
ACCESS(ports, "mov $0x80, %%edx; rep outsb; mov $0x99, %%edx; mov $16, %%ecx; rep insb")
ACCESS(prefetch, "prefetcht0 (%%rdi); clflush (%%rdi); invlpg (%%rdi)")
ACCESS(jump, "call *(%%rdi)")

static void wild(void)
{
	static const struct {
		const char *name;
		void (*run)(void *at);
	} kinds[] = {
	    {"movs", movs},
	    {"stos", stos},
	    {"lods", lods},
	    {"cmps", cmps},
	    {"scas", scas},
	    {"xchg", xchg},
	    {"xadd", xadd},
	    {"cmpxchg", cmpxchg},
	    {"cmpxchg8b", cmpxchg8},
	    {"read-modify-write", rmw},
	    {"bits", bits},
	    {"signs", signs},
	    {"sse", sse},
	    {"x87", x87},
	    {"stack", stack},
	    {"push", push_mem},
	    {"ports", ports},
	    {"prefetch", prefetch},
	    {"tables", tables},
	    {"jump", jump},
	};
	const char *only = guest_arg("only");

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct trap across, past;

		if (only && strcmp(only, kinds[i].name))
			continue;
		print("%s: %s\n", guest_name, kinds[i].name);
		past = try_call(kinds[i].run, (void *)(end + FAR));
		idt_load(guest_idt, sizeof(guest_idt));
		across = try_call(kinds[i].run, (void *)(end - 3));
		idt_load(guest_idt, sizeof(guest_idt));
		print("%s: %s: vectors %ld, %ld\n", guest_name, kinds[i].name, (long)past.vector,
		      (long)across.vector);
	}
}

int guest_main(void)
{
	const char *kind = guest_arg("kind");

	end = guest_ram_end();
	if (guest_on_qemu()) /* its firmware keeps the last pages for ACPI tables */
		end = (end + (1u << 20) - 1) & ~((1ull << 20) - 1);
	print("%s: RAM ends at %#lx\n", guest_name, end);
	if (!kind || !strcmp(kind, "beyond"))
		beyond();
	else if (!strcmp(kind, "cross"))
		cross();
	else if (!strcmp(kind, "wild"))
		wild();
	else
		return EXIT_USAGE;
	report(true, "still here");
	return report_summary();
}
