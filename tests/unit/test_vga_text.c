/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/io.c kernel/vmm/devices/vga_text.c tests/unit/vmm_host.c */
/* VGA registers read back what was written, and nothing floats; the operator sees the text. */
#include "vmm_host.h"

#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/devices/vga_text.h"

static struct vga_text vga;

/* The text memory: eight pages, of which gup may refuse one. */
#define TEXT_PAGES 8
static u8 text[TEXT_PAGES * PAGE_SIZE] aligned(PAGE_SIZE);
static struct page pages[TEXT_PAGES];
static int nr_held;
static u64 refused_page;

struct page *page_array = pages;
u64 host_direct_map;

int mm_gup(unused struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out)
{
	u64 page = (at.v - (u64)text) / PAGE_SIZE;

	assert_int_equal(acc, ACC_R);
	assert_true(page < TEXT_PAGES);
	if (page == refused_page)
		return -ENOMEM;
	nr_held++;
	out->page = &pages[page];
	return 0;
}

void page_put(struct page *p)
{
	assert_true(p >= pages && p < pages + TEXT_PAGES);
	nr_held--;
}

static void out(u16 port, u8 value)
{
	io_port_write(host_vcpu(0), port, 1, value);
}

static u8 in(u16 port)
{
	return io_port_read(host_vcpu(0), port, 1);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	vga_text_attach(&vga, host_vm);
	host_direct_map = (u64)text;
	refused_page = TEXT_PAGES;
	memset(text, 0, sizeof(text));
	return 0;
}

/* Each group keeps its registers apart from the others'. */
static void pairs(unused void **state)
{
	static const u16 ports[] = {0x3c4, 0x3ce, 0x3d4};

	for (u32 p = 0; p < 3; p++)
		for (u32 i = 0; i < 25; i++) {
			out(ports[p], i);
			out(ports[p] + 1, i * 7 + p * 50);
			assert_int_equal(in(ports[p]), i);
		}
	for (u32 p = 0; p < 3; p++)
		for (u32 i = 0; i < 25; i++) {
			out(ports[p], i);
			assert_int_equal(in(ports[p] + 1), (u8)(i * 7 + p * 50));
		}
}

/* How every text console moves the cursor; also with one word. */
static void cursor(unused void **state)
{
	out(0x3d4, 0x0e);
	assert_int_equal(in(0x3d5), 0);
	out(0x3d5, 0x07);
	io_port_write(host_vcpu(0), 0x3d4, 2, 0xcf0f);
	assert_int_equal(in(0x3d4), 0x0f);
	assert_int_equal(in(0x3d5), 0xcf);
	out(0x3d4, 0x0e);
	assert_int_equal(io_port_read(host_vcpu(0), 0x3d4, 2), 0x070e);
	out(0x3d4, 0x01); /* the mode's: 80 columns, the last is 79 */
	assert_int_equal(in(0x3d5), 79);
	out(0x3d4, 0xff); /* an index far out stays within the group */
	out(0x3d5, 0x11);
	assert_int_equal(in(0x3d5), 0x11);
	assert_int_equal(in(0x3d4), 0xff);
}

static void attributes(unused void **state)
{
	for (u32 i = 0; i < 0x15; i++) {
		in(0x3da);
		out(0x3c0, i);
		out(0x3c0, i + 0x20);
	}
	for (u32 i = 0; i < 0x15; i++) {
		in(i & 1 ? 0x3ba : 0x3da);
		out(0x3c0, i);
		assert_int_equal(in(0x3c0), i);
		assert_int_equal(in(0x3c1), i + 0x20);
	}
	/* Half a pair, then the status: what follows is an index. */
	in(0x3da);
	out(0x3c0, 3);
	in(0x3da);
	out(0x3c0, 5);
	assert_int_equal(in(0x3c1), 0x25);
	out(0x3c1, 0x55); /* read-only */
	assert_int_equal(in(0x3c1), 0x25);
	out(0x3c0, 0x66);
	assert_int_equal(in(0x3c1), 0x66);
}

static void single_registers(unused void **state)
{
	assert_int_equal(in(0x3cc) & 1, 1); /* colour: the CRTC is at 3D4 */
	out(0x3c2, 0xe3);
	assert_int_equal(in(0x3cc), 0xe3);
	assert_int_equal(in(0x3c2), 0);
	out(0x3da, 2);
	assert_int_equal(in(0x3ca), 2);
	assert_int_equal(in(0x3c6), 0xff);
	out(0x3c6, 0x0f);
	assert_int_equal(in(0x3c6), 0x0f);
}

static void colours(unused void **state)
{
	out(0x3c8, 0);
	for (u32 i = 0; i < 768; i++)
		out(0x3c9, i);
	assert_int_equal(in(0x3c8), 0); /* once round */
	assert_int_equal(in(0x3c7), 0);
	out(0x3c7, 10);
	for (u32 i = 30; i < 768; i++)
		assert_int_equal(in(0x3c9), i & 0x3f);
	assert_int_equal(in(0x3c9), 0);
	out(0x3c8, 255);
	out(0x3c9, 0x3f);
	out(0x3c7, 255);
	assert_int_equal(in(0x3c9), 0x3f);
}

/* Who waits for a retrace, or its end, sees it with the next read. */
static void retrace(unused void **state)
{
	for (int i = 0; i < 10; i++) {
		u8 first = in(0x3da);
		assert_int_equal((first ^ in(0x3da)) & 9, 9);
	}
}

static void what_is_not_ours_floats(unused void **state)
{
	out(0x3bc, 0x55); /* a printer port, which would read back */
	assert_int_equal(in(0x3bc), 0xff);
	assert_int_equal(in(0x3b9), 0xff);
	assert_int_equal(in(0x3db), 0xff);
	assert_int_equal(in(0x3b4), 0xff);
}

static void garbage(unused void **state)
{
	struct rng chance = rng_seeded(0x76a);

	for (int i = 0; i < 100000; i++) {
		u16 port = 0x3b0 + rng_below(&chance, 0x30);
		unsigned int bytes = 1u << rng_below(&chance, 3);
		if (rng_percent(&chance, 50))
			io_port_write(host_vcpu(0), port, bytes, rng_next(&chance));
		else
			io_port_read(host_vcpu(0), port, bytes);
	}
	out(0x3d4, 0x0e);
	out(0x3d5, 0x12);
	assert_int_equal(in(0x3d5), 0x12);
}

static void show(u32 cell, const char *what)
{
	for (; *what; what++, cell++) {
		text[2 * cell % sizeof(text)] = (u8)*what;
		text[2 * cell % sizeof(text) + 1] = 'X'; /* a colour, which is no character */
	}
}

static void expect_row(u32 row, const char *want)
{
	char got[VGA_COLUMNS + 1];

	assert_int_equal(vga_text_row(&vga, row, got), 0);
	assert_string_equal(got, want);
	assert_int_equal(nr_held, 0);
}

static void screen(unused void **state)
{
	char got[VGA_COLUMNS + 1], full[VGA_COLUMNS + 1];

	expect_row(0, ""); /* this VM has no memory there */
	host_vm->slots.slot[1] = (struct memslot){.gfn = 0xb8, .nr_pages = TEXT_PAGES, .hva = (u64)text};
	host_vm->slots.nr = 2;
	memset(full, '#', VGA_COLUMNS);
	full[VGA_COLUMNS] = '\0';
	show(0, "first");
	show(VGA_COLUMNS, full);
	show(24 * VGA_COLUMNS + 3, "last \xb3\xcd\xc9\x01\xff ~  ");
	expect_row(0, "first");
	expect_row(1, full);
	expect_row(2, "");
	expect_row(24, "   last |-+.  ~");
	/* The guest scrolls by moving the start; the text goes round at the end of its memory. */
	out(0x3d4, 0xc);
	out(0x3d5, (sizeof(text) / 2 - VGA_COLUMNS - 8) >> 8);
	out(0x3d4, 0xd);
	out(0x3d5, (sizeof(text) / 2 - VGA_COLUMNS - 8) & 0xff);
	expect_row(1, "        first");
	out(0x3d5, 0);
	out(0x3d4, 0xc);
	out(0x3d5, 0);
	refused_page = 0;
	assert_int_equal(vga_text_row(&vga, 0, got), -ENOMEM);
	assert_int_equal(nr_held, 0);
}

#define vga_test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vga_test(pairs),
		vga_test(cursor),
		vga_test(attributes),
		vga_test(single_registers),
		vga_test(colours),
		vga_test(retrace),
		vga_test(what_is_not_ours_floats),
		vga_test(screen),
		vga_test(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
