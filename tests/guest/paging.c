/* SPDX-License-Identifier: BSD-2-Clause */
/* Do the guest's own page tables mean what they mean on hardware: rights, #PF error codes and CR2,
 * accessed and dirty bits, INVLPG, CR3 and CR0.WP; and do a thousand random changes to them follow
 * a model? seed=N changes the random part. */
#include "paging.h"

#include "guest.h"
#include "trap.h"
#include "x86.h"

#define RW   (PTE_P | PTE_W)
#define RET  0xc3
#define VA   TEST_VA
#define VA2M (TEST_VA + (1ul << 30))
#define USER (TEST_VA + (2ul << 30))
#define MANY (TEST_VA + (3ul << 30))

extern char user_page[], user_read[], user_write[], user_fetch[];

static u64 frame_a, frame_b; /* two pages to map */

static void read_try(void *va)
{
	(void)*(volatile u64 *)va;
}

static void write_try(void *va)
{
	*(volatile u64 *)va = 0x5555;
}

static void fetch_try(void *va)
{
	((void (*)(void))va)();
}

/* expect - access @va by @fn; the trap must be a #PF with @error and CR2 = @va, or none at all. */
static void expect(void (*fn)(void *), u64 va, u64 vector, u64 error, const char *what)
{
	struct trap t = try_call(fn, (void *)va);

	if (report_trap(&t, vector, error, what) && vector == VEC_PF)
		report(t.cr2 == va, "%s: CR2", what);
}

/* The manuals want P in the error code with RSVD; QEMU's TCG leaves it out, also below a
 * hypervisor. */
static void expect_reserved(void (*fn)(void *), u64 error, const char *what)
{
	struct trap t = try_call(fn, (void *)VA);

	t.error |= PF_P;
	report_trap(&t, VEC_PF, PF_P | PF_RSV | error, what);
}

static void rights(void)
{
	volatile u64 *pte = page_map(VA, frame_a, 0);

	*(u8 *)frame_a = RET;
	expect(read_try, VA, VEC_PF, 0, "read of a page not present");
	expect(write_try, VA, VEC_PF, PF_W, "write to a page not present");
	expect(fetch_try, VA, VEC_PF, PF_I, "fetch from a page not present");
	*pte = frame_a | RW; /* from not present no flush is needed */
	expect(read_try, VA, TRAP_NONE, 0, "read after making it present");
	expect(fetch_try, VA, TRAP_NONE, 0, "fetch from it");
	pte_write(pte, frame_a | PTE_P, VA);
	expect(write_try, VA, VEC_PF, PF_P | PF_W, "write to a read-only page");
	expect(read_try, VA, TRAP_NONE, 0, "read of a read-only page");
	write_cr0(read_cr0() & ~(unsigned long)CR0_WP);
	expect(write_try, VA, TRAP_NONE, 0, "the same write with CR0.WP off");
	write_cr0(read_cr0() | CR0_WP);
	expect(write_try, VA, VEC_PF, PF_P | PF_W, "and with CR0.WP on again");
	*(u8 *)frame_a = RET;
	pte_write(pte, frame_a | RW | PTE_NX, VA);
	expect(write_try, VA, TRAP_NONE, 0, "write to an NX page");
	*(u8 *)frame_a = RET;
	expect(fetch_try, VA, VEC_PF, PF_P | PF_I, "fetch from an NX page");
	pte_write(pte, frame_a | RW | PTE_U, VA);
	expect(fetch_try, VA, TRAP_NONE, 0, "supervisor fetch from a user page");
	if ((cpuid(0x80000008, 0).eax & 0xff) < 52) {
		pte_write(pte, frame_a | RW | 1ull << 51, VA);
		expect_reserved(read_try, 0, "read through a reserved bit");
		expect_reserved(write_try, PF_W, "write through it");
	} else {
		report_skip("reserved address bits: all 52 are implemented");
	}
	pte_write(pte, 0, VA);
}

static void crossing(void)
{
	struct trap t;

	page_map(VA, frame_a, RW);
	page_map(VA + PAGE_SIZE, frame_b, 0);
	t = try_call(write_try, (void *)(VA + PAGE_SIZE - 4));
	report_trap(&t, VEC_PF, PF_W, "write across into a page not present");
	report(t.cr2 == VA + PAGE_SIZE, "CR2 is the second page");
	page_map(VA + PAGE_SIZE, frame_b, RW);
	*(volatile u64 *)(VA + PAGE_SIZE - 4) = 0x1122334455667788;
	report(*(u32 *)(frame_a + PAGE_SIZE - 4) == 0x55667788 && *(u32 *)frame_b == 0x11223344,
	       "a write across two pages lands in both");
	page_map(VA, 0, 0);
	page_map(VA + PAGE_SIZE, 0, 0);
}

static void user_expect(const char *entry, u64 va, u64 vector, u64 error, const char *what)
{
	struct trap t = try_user(USER + (u64)(entry - user_page), USER + 2 * PAGE_SIZE, va, 1);

	report_trap(&t, vector, error, what);
}

static void user(void)
{
	page_map(USER, (u64)user_page, PTE_P | PTE_U);
	page_map(USER + PAGE_SIZE, (u64)ram_alloc(PAGE_SIZE, 0), RW | PTE_U);
	page_map(VA, frame_a, RW);
	user_expect(user_read, VA, VEC_PF, PF_P | PF_U, "ring 3 reads a supervisor page");
	user_expect(user_write, VA, VEC_PF, PF_P | PF_U | PF_W, "ring 3 writes one");
	page_map(VA, frame_a, PTE_P | PTE_U);
	user_expect(user_read, VA, 0x80, 0, "ring 3 reads a user page");
	user_expect(user_write, VA, VEC_PF, PF_P | PF_U | PF_W, "ring 3 writes a read-only one");
	write_cr0(read_cr0() & ~(unsigned long)CR0_WP);
	user_expect(user_write, VA, VEC_PF, PF_P | PF_U | PF_W, "the same with CR0.WP off");
	expect(write_try, VA, TRAP_NONE, 0, "ring 0 may then write it");
	user_expect(user_write, VA, VEC_PF, PF_P | PF_U | PF_W, "and ring 3 still not");
	user_expect(user_read, VA, 0x80, 0, "but read it");
	write_cr0(read_cr0() | CR0_WP);
	page_map(VA, frame_a, RW | PTE_U | PTE_NX);
	user_expect(user_write, VA, 0x80, 0, "ring 3 writes a writable page");
	user_expect(user_fetch, VA, VEC_PF, PF_P | PF_U | PF_I, "ring 3 runs an NX page");
	user_expect(user_read, 0x200000, VEC_PF, PF_P | PF_U, "ring 3 reads the identity map");
	user_expect(user_read, VA + PAGE_SIZE, VEC_PF, PF_U, "ring 3 reads a page not present");
	page_map(VA, 0, 0);
}

static void accessed_dirty(void)
{
	volatile u64 *pte = page_map(VA, frame_a, RW), *pde = pte_of(guest_pml4, VA, 2);

	*pde &= ~PTE_A;
	pte_write(pte, frame_a | RW, VA);
	report(!(*pte & (PTE_A | PTE_D)), "A and D stay clear without access");
	read_try((void *)VA);
	report((*pte & (PTE_A | PTE_D)) == PTE_A, "a read sets A alone");
	report(*pde & PTE_A, "and A in the entry above");
	report(!(*pde & PTE_D), "and no D there");
	write_try((void *)VA);
	report((*pte & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "a write sets D");
	pte_write(pte, *pte & ~(PTE_A | PTE_D), VA);
	read_try((void *)VA);
	report((*pte & (PTE_A | PTE_D)) == PTE_A, "cleared and flushed, a read sets A again");
	write_try((void *)VA);
	report(*pte & PTE_D, "and a write sets D again");
	pte_write(pte, frame_a | RW | PTE_A, VA);
	write_try((void *)VA);
	report(*pte == (frame_a | RW | PTE_A | PTE_D), "nothing else in the entry changes");
	pte_write(pte, frame_a | PTE_P, VA);
	try_call(write_try, (void *)VA);
	report(!(*pte & PTE_D), "a refused write sets no D");
	pte_write(pte, 0, VA);
}

static void big_pages(void)
{
	u64 big = (u64)ram_alloc(BIG_PAGE_SIZE, BIG_PAGE_SIZE);
	volatile u64 *pde = pte_of(guest_pml4, VA2M, 2);

	*(volatile u64 *)(big + 0x12340) = 77;
	pte_write(pde, big | RW | PTE_PS, VA2M);
	report(*(volatile u64 *)(VA2M + 0x12340) == 77, "2 MiB page reads the memory behind it");
	report((*pde & (PTE_A | PTE_D)) == PTE_A, "its A bit");
	*(volatile u64 *)(VA2M + 0x1ff000) = 78;
	report(*(volatile u64 *)(big + 0x1ff000) == 78, "and writes it");
	report(*pde & PTE_D, "its D bit");
	pte_write(pde, big | PTE_P | PTE_PS, VA2M);
	expect(write_try, VA2M + 0x3000, VEC_PF, PF_P | PF_W, "read-only 2 MiB page");
	/* The same 2 MiB by 4 KiB pages, in reverse order. */
	*pde = 0;
	invlpg((void *)VA2M);
	for (unsigned int i = 0; i < 512; i++)
		page_map(VA2M + i * PAGE_SIZE, big + (511 - i) * PAGE_SIZE, RW);
	report(*(volatile u64 *)VA2M == 78, "split into 4 KiB pages");
	report(*(volatile u64 *)(VA2M + (511 - 0x12) * PAGE_SIZE + 0x340) == 77,
	       "each of them elsewhere");
}

static void flushes(void)
{
	volatile u64 *pte = page_map(VA, frame_a, RW);
	unsigned int wrong = 0;

	*(volatile u64 *)frame_a = 1;
	*(volatile u64 *)frame_b = 2;
	for (unsigned int i = 0; i < 1000; i++) {
		u64 frame = i & 1 ? frame_b : frame_a;

		*pte = frame | RW;
		if (i & 2)
			invlpg((void *)VA);
		else
			write_cr3(read_cr3());
		wrong += *(volatile u64 *)VA != (i & 1 ? 2 : 1);
	}
	report(!wrong, "1000 remaps, flushed by INVLPG or CR3 (%u wrong)", wrong);
	page_map(VA + PAGE_SIZE, frame_a, RW);
	pte_write(pte, frame_a | RW, VA);
	*(volatile u64 *)VA = 0x1234;
	report(*(volatile u64 *)(VA + PAGE_SIZE) == 0x1234, "two addresses of one page agree");
	pte_write(pte, 0, VA);
	page_map(VA + PAGE_SIZE, 0, 0);
}

/* A table that is written through another mapping of it, and one replaced as a whole. */
static void tables(void)
{
	volatile u64 *pte = page_map(VA, frame_a, RW), *pde = pte_of(guest_pml4, VA, 2);
	u64 table = *pde & PTE_ADDRESS, *other = table_alloc(), old = *pde;
	volatile u64 *window = (volatile u64 *)VA2M;

	*(volatile u64 *)frame_a = 1;
	*(volatile u64 *)frame_b = 2;
	page_map(VA2M, table, RW);
	window[VA >> 12 & 511] = frame_b | RW;
	invlpg((void *)VA);
	report(*(volatile u64 *)VA == 2, "an entry written through a mapping of its table");
	report(*pte & PTE_A, "A is seen at the table's other address");
	report(window[VA >> 12 & 511] & PTE_A, "and through the mapping");
	other[VA >> 12 & 511] = frame_a | RW;
	*pde = (u64)other | RW | PTE_U;
	write_cr3(read_cr3());
	report(*(volatile u64 *)VA == 1, "another table hung in");
	*pde = old & ~PTE_W;
	write_cr3(read_cr3());
	expect(write_try, VA, VEC_PF, PF_P | PF_W, "read-only by the entry above");
	*pde = old | PTE_NX;
	write_cr3(read_cr3());
	expect(fetch_try, VA, VEC_PF, PF_P | PF_I, "NX by the entry above");
	*pde = old;
	write_cr3(read_cr3());
	pte_write(pte, 0, VA);
	page_map(VA2M, 0, 0);
}

/* Two address spaces, each changed while the other is in use. */
static void spaces(void)
{
	const u64 va = 1ull << 39; /* an entry of its own at the top level */
	u64 *root = table_alloc(), here = read_cr3(), seen[2] = {frame_a, frame_b};
	volatile u64 *pte[2];
	unsigned int wrong = 0;

	root[0] = guest_pml4[0];
	pte[0] = pte_of(guest_pml4, va, 1);
	pte[1] = pte_of(root, va, 1);
	*pte[0] = frame_a | RW;
	*pte[1] = frame_b | RW;
	*(volatile u64 *)frame_a = frame_a;
	*(volatile u64 *)frame_b = frame_b;
	for (unsigned int i = 0; i < 1000; i++) {
		unsigned int in = i & 1, out = !in;

		write_cr3(in ? (u64)root : here);
		wrong += *(volatile u64 *)va != seen[in];
		seen[out] = i % 3 ? frame_a : frame_b;
		*pte[out] = seen[out] | RW;
	}
	write_cr3(here);
	report(!wrong, "1000 switches between two address spaces (%u wrong)", wrong);
	guest_pml4[1] = 0;
	write_cr3(here);
}

#define PAGES  16
#define FRAMES 8

/* Random remaps, unmaps, protections and accesses against a model. */
static void random_changes(u64 seed)
{
	u64 frames = (u64)ram_alloc(FRAMES * PAGE_SIZE, 0), entry[PAGES] = {0}, value[FRAMES] = {0};
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < FRAMES; i++)
		*(volatile u64 *)(frames + i * PAGE_SIZE) = 0;
	for (unsigned int i = 0; i < 5000; i++) {
		u64 r = random_next(&seed), bits = r >> 8 & 3 ? PTE_P : 0;
		unsigned int page = r & (PAGES - 1), frame = r >> 16 & (FRAMES - 1);
		unsigned int mapped = entry[page] >> 12 & (FRAMES - 1);
		u64 va = MANY + page * PAGE_SIZE;
		struct trap t;

		switch (r >> 24 & 3) {
		case 0:
			bits |= r & 1 << 10 ? PTE_W : 0;
			page_map(va, frames + frame * PAGE_SIZE, bits);
			entry[page] = (u64)frame << 12 | bits;
			break;
		case 1:
			t = try_call(write_try, (void *)va);
			if ((entry[page] & RW) == RW)
				value[mapped] = 0x5555;
			wrong += (t.vector == TRAP_NONE) != ((entry[page] & RW) == RW);
			break;
		case 2: /* behind the mapping's back */
			*(volatile u64 *)(frames + frame * PAGE_SIZE) = value[frame] = r;
			break;
		default:
			t = try_call(read_try, (void *)va);
			wrong += (t.vector == TRAP_NONE) != (entry[page] & PTE_P);
			if (entry[page] & PTE_P)
				wrong += *(volatile u64 *)va != value[mapped];
		}
	}
	report(!wrong, "5000 random changes and accesses follow the model (%u wrong)", wrong);
}

int guest_main(void)
{
	frame_a = (u64)ram_alloc(PAGE_SIZE, 0);
	frame_b = (u64)ram_alloc(PAGE_SIZE, 0);
	rights();
	crossing();
	user();
	accessed_dirty();
	big_pages();
	flushes();
	tables();
	spaces();
	random_changes(guest_arg_number("seed", 1));
	return report_summary();
}
