/* SPDX-License-Identifier: BSD-2-Clause */
/* Can a guest be stopped, and do others run, while exceptions follow each other without end?
 *
 * kind=ud    a #UD handler that begins with UD2, on a stack that starts anew each time (default)
 * kind=db    a single step that begins anew at each return from #DB
 * kind=watch a watchpoint on the #DB handler's own stack (QEMU's TCG aborts on it)
 * kind=ac    #AC of misaligned accesses in ring 3, run again for ever; 0 where there is no #AC
 * kind=pf    a #PF handler that returns without mapping anything
 * rounds=N   exit with 0 after N of them; for ever otherwise */
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define USER_VA (TEST_VA + (1ul << 30))

static u64 rounds, seen;

static void count(void)
{
	if (++seen == rounds) {
		print("%s: %lu seen, enough\n", guest_name, seen);
		guest_exit(EXIT_PASS);
	}
}

static void again(struct trap_frame *f)
{
	(void)f;
	count();
}

static void ud_again(struct trap_frame *f)
{
	(void)f;
	count();
	__asm__ volatile("ud2");
}

static void db_again(struct trap_frame *f)
{
	f->rflags |= RFLAGS_TF;
	count();
}

static void ud_storm(void)
{
	guest_tss.ist[1] = (u64)ram_alloc(2 * PAGE_SIZE, 0) + 2 * PAGE_SIZE;
	guest_idt[VEC_UD].ist = 2;
	trap_handler_set(VEC_UD, ud_again);
	__asm__ volatile("ud2");
}

static void db_storm(void)
{
	trap_handler_set(VEC_DB, db_again);
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; 1: nop; jmp 1b" : : : "memory", "cc");
}

/* Delivering #DB writes to the watched stack, which makes the next #DB before the handler's first
 * instruction: the loop without end that real processors had. */
static void watch_storm(void)
{
	guest_tss.ist[1] = (u64)ram_alloc(2 * PAGE_SIZE, 0) + 2 * PAGE_SIZE;
	guest_idt[VEC_DB].ist = 2;
	write_dr0(guest_tss.ist[1] - 8);
	write_dr7(0x402 | 0x90000); /* DR0, 8 bytes written */
	db_storm();
}

static void ac_storm(void)
{
	/* mov 1(%rdi),%rax; int $0x80; and behind it the same in a loop */
	static const u8 once[] = {0x48, 0x8b, 0x47, 0x01, 0xcd, 0x80};
	static const u8 loop[] = {0x48, 0x8b, 0x47, 0x01, 0xeb, 0xfa};
	extern u64 user_rflags;
	u64 page = (u64)ram_alloc(PAGE_SIZE, 0);
	struct trap t;

	memcpy((void *)page, once, sizeof(once));
	memcpy((void *)(page + sizeof(once)), loop, sizeof(loop));
	page_map(USER_VA, page, PTE_P | PTE_W | PTE_U);
	write_cr0(read_cr0() | CR0_AM);
	user_rflags |= RFLAGS_AC;
	t = try_user(USER_VA, USER_VA + PAGE_SIZE, USER_VA, 0);
	if (t.vector != VEC_AC) {
		print("%s: this processor has no #AC, as QEMU's TCG\n", guest_name);
		guest_exit(EXIT_PASS);
	}
	trap_handler_set(VEC_AC, again);
	try_user(USER_VA + sizeof(once), USER_VA + PAGE_SIZE, USER_VA, 0);
}

static void pf_storm(void)
{
	trap_handler_set(VEC_PF, again);
	(void)*(volatile u8 *)TEST_VA;
}

int guest_main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} kinds[] = {
	    {"ud", ud_storm}, {"db", db_storm}, {"watch", watch_storm},
	    {"ac", ac_storm}, {"pf", pf_storm},
	};
	const char *kind = guest_arg("kind");

	rounds = guest_arg_number("rounds", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kind ? kind : "ud", kinds[i].name)) {
			print("%s: kind=%s\n", guest_name, kinds[i].name);
			kinds[i].run();
			return EXIT_FAIL;
		}
	}
	print("%s: kind= is ud, db, watch, ac or pf\n", guest_name);
	return EXIT_USAGE;
}
