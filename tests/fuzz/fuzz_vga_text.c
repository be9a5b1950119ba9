/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/vga_text.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The VGA's registers, and the text that the operator sees of the memory at B8000. */
#include "vm.h"

#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/devices/vga_text.h"

static const struct fuzz_range ports[] = {{.start = 0x3b0, .bytes = 0x30}, {.start = 0x3c0, .bytes = 0x10}};

#define TEXT_PAGES 8

static struct vga_text vga;
static u8 text[TEXT_PAGES * PAGE_SIZE] aligned(PAGE_SIZE);
static struct page pages[TEXT_PAGES];
static int nr_held, refusal;

struct page *page_array = pages;
u64 host_direct_map;

int mm_gup(unused struct mm *mm, hva_t at, unsigned int acc, struct mm_page *out)
{
	u64 page = (at.v - (u64)text) / PAGE_SIZE;

	CHECK(page < TEXT_PAGES && acc == ACC_R, "page %lu of the text, rights %u", page, acc);
	nr_held += !refusal;
	out->page = &pages[page];
	return refusal;
}

void page_put(struct page *p)
{
	CHECK(p >= pages && p < pages + TEXT_PAGES, "a page that was not taken");
	nr_held--;
}

static void look(struct input *in)
{
	char row[VGA_COLUMNS + 1];

	take_bytes(in, text + take(in, 2) % (sizeof(text) - 64), 64);
	refusal = take_below(in, 16) ? 0 : -ENOMEM;
	int err = vga_text_row(&vga, take_below(in, 25), row);
	CHECK(err == refusal && nr_held == 0, "%d, and %d pages are held", err, nr_held);
	for (const char *c = row; !err && *c; c++)
		CHECK(*c >= ' ' && *c < 0x7f, "%x on the operator's screen", *c);
}

/* The cursor reads back. */
static void cursor(struct input *in)
{
	struct vcpu *v = host_vcpu(0);
	u8 reg = 14 + take_below(in, 2), value = take(in, 1);

	io_port_write(v, 0x3d4, 2, reg | value << 8);
	CHECK(io_port_read(v, 0x3d5, 1) == value, "register %u is not %u", reg, value);
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(0);
	vga_text_attach(&vga, host_vm);
	host_direct_map = (u64)text;
	memset(text, 0, sizeof(text));
	host_vm->slots.slot[1] = (struct memslot){.gfn = 0xb8, .nr_pages = TEXT_PAGES, .hva = (u64)text};
	host_vm->slots.nr = 2;
	while (input_left(in)) {
		u32 what = take_below(in, 8);

		if (what == 0)
			cursor(in);
		else if (what == 1)
			look(in);
		else
			fuzz_access(in, ports, ARRAY_SIZE(ports), NULL);
		fuzz_step_ended();
		CHECK(vga.dac_read < sizeof(vga.dac) && vga.dac_write < sizeof(vga.dac), "DAC at %u, %u",
		      vga.dac_read, vga.dac_write);
	}
	fuzz_vm_end();
}
