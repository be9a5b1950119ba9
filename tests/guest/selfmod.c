/* SPDX-License-Identifier: BSD-2-Clause */
/* Does an instruction that leaves the guest run as it is now, not as it was: changed between two
 * executions, with prefixes that come and go, lying across a page's end, or in a page that goes
 * away? A hypervisor that decodes instructions itself can trip over each. seed=N changes the order.
 */
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define RET    0xc3
#define CODE   (TEST_VA + PAGE_SIZE) /* two pages; the tests write around their border */
#define ALIAS  (TEST_VA + (1ul << 30))
#define BORDER (CODE + PAGE_SIZE)
#define ROUNDS 2000
#define PORT_A 0x88
#define PORT_B 0x84

static u64 frames;

/* code_put - @nr bytes at @at and a RET behind them, through the alias mapping if @by_alias. */
static void code_put(u64 at, const u8 *bytes, unsigned int nr, bool by_alias)
{
	u8 *to = (u8 *)(by_alias ? at - CODE + ALIAS : at);

	for (unsigned int i = 0; i < nr; i++)
		to[i] = bytes[i];
	to[nr] = RET;
}

/* code_run - run at @at with @a and @c in EAX and ECX, DX = PORT_A; what EAX is then. */
static u64 code_run(u64 at, u64 a, u64 c)
{
	u64 d = PORT_A;

	__asm__ volatile("sub $128, %%rsp; call *%3; add $128, %%rsp"
			 : "+a"(a), "+c"(c), "+d"(d)
			 : "r"(at)
			 : "rbx", "memory", "cc");
	return a;
}

static void moves(u64 *state)
{
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 r = random_next(state), at = BORDER - (r >> 40 & 7);
		u8 code[5] = {0xb8, (u8)r, (u8)(r >> 8), (u8)(r >> 16), (u8)(r >> 24)};

		code_put(at, code, sizeof(code), r >> 50 & 1);
		wrong += code_run(at, 0, 0) != (u32)r;
	}
	report(!wrong, "MOV with changing immediates (%u wrong)", wrong);
}

/* CPUID behind 0 to 4 prefixes that mean nothing to it, anywhere around a page's end. */
static void cpuids(u64 *state)
{
	static const u8 prefixes[] = {0x66, 0x67, 0x2e, 0x3e, 0x36, 0x64, 0x65, 0xf2, 0xf3};
	u32 want = cpuid(0, 0).eax;
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 r = random_next(state), at = BORDER - (r >> 40 & 7);
		unsigned int nr = r & 3;
		u8 code[8];

		for (unsigned int p = 0; p < nr; p++)
			code[p] = prefixes[(r >> (8 + 8 * p) & 0xff) % sizeof(prefixes)];
		if (r & 4) /* REX: last */
			code[nr++] = 0x40 | (r >> 56 & 15);
		code[nr++] = 0x0f;
		code[nr++] = 0xa2;
		code_put(at, code, nr, r >> 50 & 1);
		wrong += code_run(at, 0, 0) != want;
	}
	report(!wrong, "CPUID with changing prefixes (%u wrong)", wrong);
}

/* One place that is CPUID, then OUT, then RDTSC, ...: what the last exit was says nothing. */
static void changing(u64 *state)
{
	static const u8 kinds[][4] = {
	    {2, 0x0f, 0xa2},       {2, 0xe6, PORT_A}, {2, 0xe6, PORT_B}, {1, 0xee},
	    {2, 0x66, 0xef},       {2, 0xe4, PORT_B}, {1, 0xec},         {2, 0x0f, 0x31},
	    {3, 0x0f, 0x20, 0xd8}, {1, 0x90},
	};
	u32 max = cpuid(0, 0).eax;
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 r = random_next(state), at = BORDER - (r >> 40 & 3), a;
		const u8 *k = kinds[(r & 0xff) % ARRAY_SIZE(kinds)];

		code_put(at, k + 1, k[0], r >> 50 & 1);
		a = code_run(at, 0, 0);
		if (k == kinds[0])
			wrong += a != max;
		else if (k == kinds[8])
			wrong += a != read_cr3();
		else if (k[1] == 0xe6 || k[1] == 0xee || k[1] == 0x90 || k[1] == 0x66)
			wrong += a != 0;
	}
	report(!wrong, "one place that is many instructions (%u wrong)", wrong);
}

static void run_at(void *at)
{
	code_run((u64)at, 0, 0);
}

/* The instruction's end is in a page that is not there. */
static void cut(const u8 *code, unsigned int nr, const char *what)
{
	for (unsigned int in_first = 1; in_first < nr; in_first++) {
		u64 at = BORDER - in_first;
		struct trap t;

		page_map(BORDER, frames + PAGE_SIZE, PTE_P | PTE_W);
		code_put(at, code, nr, false);
		code_run(at, 0, 0);
		page_map(BORDER, 0, 0);
		*(volatile u8 *)at = code[0]; /* Bochs drops what it decoded for writes alone */
		t = try_call(run_at, (void *)at);
		if (!report(t.vector == VEC_PF && t.error == PF_I && t.cr2 == BORDER && t.rip == at,
			    "%s cut after %u bytes by a page not present: #PF", what, in_first))
			print("      came vector %ld error %#lx cr2 %#lx rip %#lx\n",
			      (long)t.vector, t.error, t.cr2, t.rip);
		page_map(BORDER, frames + PAGE_SIZE, PTE_P | PTE_W | PTE_NX);
		t = try_call(run_at, (void *)at);
		report(t.vector == VEC_PF && t.error == (PF_P | PF_I) && t.cr2 == BORDER,
		       "%s cut after %u bytes by an NX page: #PF", what, in_first);
	}
	page_map(BORDER, frames + PAGE_SIZE, PTE_P | PTE_W);
}

/* The instruction itself in a page mapped elsewhere meanwhile. */
static void remapped(void)
{
	static const u8 cpuid_code[] = {0x0f, 0xa2}, out_code[] = {0xe6, PORT_A};
	u64 other = (u64)ram_alloc(PAGE_SIZE, 0);
	unsigned int wrong = 0;
	u32 max = cpuid(0, 0).eax;

	code_put(CODE, cpuid_code, sizeof(cpuid_code), false);
	page_map(ALIAS, other, PTE_P | PTE_W);
	code_put(CODE, out_code, sizeof(out_code), true);
	for (unsigned int i = 0; i < 500; i++) {
		page_map(CODE, i & 1 ? other : frames, PTE_P | PTE_W);
		wrong += code_run(CODE, 0, 0) != (i & 1 ? 0 : max);
	}
	page_map(CODE, frames, PTE_P | PTE_W);
	page_map(ALIAS, frames, PTE_P | PTE_W);
	report(!wrong, "CPUID and OUT by turns, by remapping (%u wrong)", wrong);
}

int guest_main(void)
{
	static const u8 cpuid_code[] = {0x0f, 0xa2}, out_code[] = {0x66, 0xe7, PORT_A};
	static const u8 lock_cpuid[] = {0xf0, 0x0f, 0xa2};
	u64 state = guest_arg_number("seed", 1);
	struct trap t;

	frames = (u64)ram_alloc(2 * PAGE_SIZE, 0);
	for (unsigned int i = 0; i < 2; i++) {
		page_map(CODE + i * PAGE_SIZE, frames + i * PAGE_SIZE, PTE_P | PTE_W);
		page_map(ALIAS + i * PAGE_SIZE, frames + i * PAGE_SIZE, PTE_P | PTE_W);
	}
	moves(&state);
	cpuids(&state);
	changing(&state);
	remapped();
	cut(cpuid_code, sizeof(cpuid_code), "CPUID");
	cut(out_code, sizeof(out_code), "OUT");
	code_put(CODE, lock_cpuid, sizeof(lock_cpuid), false);
	t = try_call(run_at, (void *)CODE);
	if (t.vector == TRAP_NONE)
		report_skip("LOCK CPUID: QEMU's TCG lets it pass");
	else
		report_trap(&t, VEC_UD, 0, "LOCK CPUID: #UD");
	return report_summary();
}
