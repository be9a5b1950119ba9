/* SPDX-License-Identifier: BSD-2-Clause */
/* Is an instruction the same on a device's memory as on RAM? The test device has 64 KiB at FF000000 that keep
 * what is written. Each form runs there and in RAM, with the same registers and flags; string instructions go
 * to and fro, over page ends, and over pages, of data and of their own code, that have just been evicted. */
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define AREA       0xff000000ul
#define AREA_BYTES 0x10000ul
#define STATUS     0x8d5u /* OF SF ZF AF PF CF */
#define DF         0x400u
#define SPAN       0xb00ul /* what string instructions may touch, about two page ends */
#define SPAN_BYTES 0x1a00ul

struct regs {
	u64 rax, rcx, flags;
};

struct form {
	void (*run)(void *at, struct regs *r);
	const char *name;
};

extern const struct form mmio_forms[];
void mmio_copy(void *to, const void *from, u64 bytes);

static u64 seed = 1;
static u8 *ram;                     /* AREA_BYTES, aligned as the area is */
static u8 *const area = (u8 *)AREA;

static void evict(const void *at)
{
	out32(0xe4, (u32)(u64)at);
}

static void fill(u8 *at, u64 bytes)
{
	for (u64 i = 0; i < bytes; i++)
		at[i] = (u8)random_next(&seed);
}

/* Plain moves of 8 bytes, whatever the compiler would like better. */
static bool same(const void *a, const void *b, u64 bytes)
{
	for (u64 i = 0; i < bytes; i += 8)
		if (*(const volatile u64 *)(a + i) != *(const volatile u64 *)(b + i))
			return false;
	return true;
}

static void put(void *to, const void *from, u64 bytes)
{
	for (u64 i = 0; i < bytes; i += 8)
		*(volatile u64 *)(to + i) = *(const volatile u64 *)(from + i);
}

/* ---- each form ---------------------------------------------------------------------------------- */

static bool form_is_same(const struct form *f, u8 *device, u8 *memory)
{
	struct regs on_device = {random_next(&seed), random_next(&seed), 2 | (random_next(&seed) & STATUS)};
	struct regs in_ram;
	u8 window[24];

	/* TCG forgets these flags when an access that is locked, and not aligned, leaves the guest. */
	if (((u64)device & 7) && (!memcmp(f->name, "lock", 4) || !memcmp(f->name, "xchg", 4)))
		on_device.flags = 2;
	fill(window, sizeof(window));
	if (random_next(&seed) & 1)
		on_device.rax = *(u64 *)(window + 8); /* CMPXCHG finds it */
	in_ram = on_device;
	put(device - 8, window, sizeof(window));
	put(memory - 8, window, sizeof(window));
	f->run(device, &on_device);
	f->run(memory, &in_ram);
	return !memcmp(&on_device, &in_ram, sizeof(in_ram)) && same(device - 8, memory - 8, sizeof(window));
}

static void forms(u8 *device, u8 *memory, const char *where)
{
	u64 nr = 0, wrong = 0;

	for (const struct form *f = mmio_forms; f->run; f++, nr++) {
		bool good = true;

		for (u32 i = 0; i < 5; i++)
			good &= form_is_same(f, device, memory);
		wrong += !good;
		if (!good)
			print("mmio: %s differs %s\n", f->name, where);
	}
	report(!wrong && nr > 100, "%lu forms are as in RAM, %s", nr, where);
}

/* ---- strings ------------------------------------------------------------------------------------ */

#define STRING(name, insn, clobbers...)                                                            \
	static u64 name(void *to, const void *from, u64 count, u64 rax, u64 flags)                 \
	{                                                                                          \
		__asm__ volatile("push %5; popfq; " insn "; pushfq; pop %4; cld"                  \
				 : "+D"(to), "+S"(from), "+c"(count), "+a"(rax), "=&r"(flags)      \
				 : "4"(flags)                                                      \
				 : "memory", "cc");                                                \
		return ((u64)to & 0xffff) ^ ((u64)from & 0xffff) << 16 ^ count << 32 ^ rax ^       \
		       (flags & STATUS) << 48;                                                     \
	}
STRING(movsb, "rep movsb")
STRING(movsw, "rep movsw")
STRING(movsl, "rep movsl")
STRING(movsq, "rep movsq")
STRING(stosb, "rep stosb")
STRING(stosq, "rep stosq")
STRING(lodsl, "rep lodsl")
STRING(cmpsb, "repe cmpsb")
STRING(scasw, "repne scasw")
STRING(one_movsl, "movsl")

static void strings(void)
{
	static u64 (*const run[])(void *, const void *, u64, u64, u64) = {
		movsb, movsw, movsl, movsq, stosb, stosq, lodsl, cmpsb, scasw, one_movsl};
	u64 wrong = 0;

	for (u32 i = 0; i < ARRAY_SIZE(run); i++) {
		for (u32 k = 0; k < 3; k++) {
			u64 to = PAGE_SIZE - 0x100 + random_next(&seed) % 0x200, from = to + PAGE_SIZE;
			u64 count = random_next(&seed) % 100, rax = random_next(&seed);
			u64 flags = 2 | (random_next(&seed) & DF);

			fill(ram + SPAN, SPAN_BYTES);
			if (i % 2 == k % 2) /* comparisons have far to go */
				memset(ram + SPAN, (u8)rax, SPAN_BYTES);
			put(area + SPAN, ram + SPAN, SPAN_BYTES);
			/* In RAM, and with a device at one end or both. */
			u64 want = run[i](ram + to, ram + from, count, rax, flags);
			u64 got = run[i](area + to, (k ? area : ram) + from, count, rax, flags);

			wrong += want != got || !same(ram + SPAN, area + SPAN, SPAN_BYTES);
		}
	}
	report(!wrong, "string instructions are as in RAM");
	fill(ram, AREA_BYTES);
	put(area, ram, AREA_BYTES);
	memset(ram, 0, AREA_BYTES);
	movsq(ram, area, AREA_BYTES / 8, 0, 2);
	report(same(ram, area, AREA_BYTES), "REP MOVSQ of 8192 elements from the device");
}

/* Pages that are in swap when the copy comes to them. */
static void evicted(void)
{
	u64 from = PAGE_SIZE - 100, bytes = 2 * PAGE_SIZE;
	static u8 expected[2 * PAGE_SIZE];

	fill(ram, 4 * PAGE_SIZE);
	put(expected, ram + from, bytes);
	for (u32 page = 0; page < 4; page++)
		evict(ram + page * PAGE_SIZE);
	mmio_copy(area, ram + from, bytes);
	report(same(area, expected, bytes), "REP MOVSB to the device from pages that were evicted");
	memset(ram, 0, 4 * PAGE_SIZE);
	for (u32 page = 0; page < 4; page++)
		evict(ram + page * PAGE_SIZE);
	evict((const u8 *)mmio_copy);
	evict((const u8 *)mmio_copy + PAGE_SIZE);
	mmio_copy(ram + from, area, bytes);
	report(same(ram + from, expected, bytes),
	       "REP MOVSB from the device to evicted pages, by code in two evicted pages");
}

/* Two pages, the first RAM and the second the device's, or the other way round. */
static void across(void)
{
	u8 *memory = ram + 8 * PAGE_SIZE;

	page_map(TEST_VA, (u64)ram, PTE_P | PTE_W);
	page_map(TEST_VA + PAGE_SIZE, AREA, PTE_P | PTE_W);
	forms((u8 *)TEST_VA + PAGE_SIZE - 1, memory, "from RAM into the device");
	page_map(TEST_VA, AREA, PTE_P | PTE_W);
	page_map(TEST_VA + PAGE_SIZE, (u64)ram, PTE_P | PTE_W);
	forms((u8 *)TEST_VA + PAGE_SIZE - 1, memory, "from the device into RAM");
}

static void touch(void *at)
{
	mmio_copy(at, ram, 8);
}

static void fault_in_the_middle(void)
{
	u64 end = TEST_VA + 3 * PAGE_SIZE;

	page_map(end - PAGE_SIZE, AREA, PTE_P | PTE_W);
	put(area + PAGE_SIZE - 5, ram + 100, 5);
	struct trap t = try_call(touch, (void *)(end - 5));
	report(t.vector == VEC_PF && t.error == PF_W && t.cr2 == end, "REP MOVSB out of the mapped: #PF");
	report(same(area + PAGE_SIZE - 5, ram, 5), "and what came before is stored");
}

int guest_main(void)
{
	ram = ram_alloc(AREA_BYTES, AREA_BYTES);
	seed = guest_arg_number("seed", 1);
	*(volatile u32 *)area = 0x12345678;
	if (*(volatile u32 *)area != 0x12345678) {
		report(false, "the test device has memory at FF000000");
		return report_summary();
	}
	forms(area + 0x100, ram + 0x100, "aligned");
	forms(area + 0x103, ram + 0x103, "at an odd address");
	forms(area + PAGE_SIZE - 1, ram + PAGE_SIZE - 1, "over a page's end");
	across();
	strings();
	evicted();
	fault_in_the_middle();
	return report_summary();
}
