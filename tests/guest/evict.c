/* SPDX-License-Identifier: BSD-2-Clause */
/* Is a page the same when it comes back, whatever the guest is in the midst of? The test device (port E4)
 * sends pages to swap by name: data before each read, the page table under a walk, the stack under a
 * push, the code that runs next. */
#include "guest.h"
#include "x86.h"

#define PAGES 64
#define WORDS (PAGE_SIZE / sizeof(u64))
#define PTE_ADDRESS 0x000ffffffffff000ull

static u64 memory[PAGES][WORDS] aligned(PAGE_SIZE);

static void evict(const volatile void *at)
{
	out32(0xe4, (u32)(u64)at);
}

static u64 word_of(u64 page, u64 i)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull + i;
}

static u64 verify(void)
{
	u64 wrong = 0;

	for (u64 page = 0; page < PAGES; page++) {
		evict(memory[page]);
		for (u64 i = 0; i < WORDS; i++)
			wrong += ((volatile u64 *)memory[page])[i] != word_of(page, i);
	}
	return wrong;
}

/* next_page - a function in a page that was just sent away. */
static noinline u64 next_page(u64 depth)
{
	u64 here;

	evict(&here);                                     /* the stack */
	evict((const void *)(u64)next_page);              /* this code */
	for (u64 table = read_cr3() & PTE_ADDRESS, level = 4; level > 0; level--) {
		u64 index = ((u64)&here >> (12 + 9 * (level - 1))) & 511;
		u64 entry = ((volatile u64 *)table)[index];

		evict((const void *)table);               /* tables of the walk that comes next */
		if (level == 1 || !(entry & 1) || (entry & 0x80))
			break;
		table = entry & PTE_ADDRESS;
	}
	return depth ? next_page(depth - 1) + 1 : 0;
}

int guest_main(void)
{
	u64 wrong = 0;

	for (u64 page = 0; page < PAGES; page++)
		for (u64 i = 0; i < WORDS; i++)
			memory[page][i] = word_of(page, i);
	for (u32 round = 0; round < 3; round++)
		wrong += verify();
	u64 deep = next_page(50);
	evict((const void *)0x200000000ull); /* beyond memory: nothing happens */
	print("evict: %lu words wrong, %lu calls deep\n", wrong, deep);
	return wrong == 0 && deep == 50 ? EXIT_PASS : EXIT_FAIL;
}
