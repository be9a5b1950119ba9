/* SPDX-License-Identifier: BSD-2-Clause */
/* VGA registers: a memory of what was written, so that a guest's console that saves, changes and
 * restores them, or looks for the cursor, finds sense instead of a floating bus. The text is memory like
 * any other; the operator may look at it, a page at a time by gup. Three groups are pairs of ports, index and data. The fourth, the attribute controller,
 * takes both at 3C0 in turn; reading the status at 3DA (3BA) makes the next write an index. Each
 * read of the status finds both retraces changed, so nobody waits for one. IBM, "VGA, XGA Technical
 * Reference" (1992), "Video Graphics Array". Locking: g->lock, RANK_DEVICE. */
#include "vmm/devices/vga_text.h"

#include "cpu/memory.h"
#include "lib/string.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "vmm/vm.h"

#define FIRST_PORT 0x3bau
#define END_PORT   0x3dbu

#define TEXT_MEMORY 0xb8000ul
#define TEXT_BYTES  KIB(32)
enum { CRTC_START_HIGH = 0xc, CRTC_START_LOW };

enum { ATTRIBUTE, SEQUENCER, GRAPHICS, CRTC, NR_GROUPS };

static const u16 index_port[NR_GROUPS] = {0x3c0, 0x3c4, 0x3ce, 0x3d4};

/* 80x25 characters of 9x16 dots, the cursor in the last two lines of its cell. */
static const u8 crtc_mode3[] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};

static u8 *indexed(struct vga_text *g, u32 group)
{
	return &g->group[group].value[g->group[group].index % 32];
}

static u8 *dac_next(struct vga_text *g, u16 *at)
{
	u8 *colour = &g->dac[*at];

	*at = (*at + 1) % sizeof(g->dac);
	return colour;
}

static u8 port_read(struct vga_text *g, u32 port)
{
	for (u32 i = 0; i < NR_GROUPS; i++)
		if (port - index_port[i] < 2)
			return port == index_port[i] ? g->group[i].index : *indexed(g, i);
	switch (port) {
	case 0x3c6: return g->dac_mask;
	case 0x3c8: return (u8)(g->dac_write / 3);
	case 0x3c9: return *dac_next(g, &g->dac_read);
	case 0x3ca: return g->feature;
	case 0x3cc: return g->misc;
	case 0x3ba:
	case 0x3da:
		g->attr_data = false;
		g->status ^= 0x09; /* vertical retrace, display not enabled */
		return g->status;
	case 0x3c2: /* input status 0: no interrupt, no switch */
	case 0x3c7: return 0; /* state of the DAC */
	default: return 0xff; /* not the VGA's, such as a printer port's */
	}
}

static void port_write(struct vga_text *g, u32 port, u8 value)
{
	u32 pair = port;

	if (port == 0x3c0) {
		pair += g->attr_data;
		g->attr_data = !g->attr_data;
	}
	for (u32 i = 0; i < NR_GROUPS && port != 0x3c1; i++) {
		if (pair == index_port[i])
			g->group[i].index = value;
		else if (pair == index_port[i] + 1u)
			*indexed(g, i) = value;
	}
	switch (port) {
	case 0x3c2: g->misc = value; break;
	case 0x3c6: g->dac_mask = value; break;
	case 0x3c7: g->dac_read = value * 3; break;
	case 0x3c8: g->dac_write = value * 3; break;
	case 0x3c9: *dac_next(g, &g->dac_write) = value & 0x3f; break;
	case 0x3ba:
	case 0x3da: g->feature = value; break;
	}
}

static u64 vga_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct vga_text *g = dev;

	spin_lock(&g->lock);
	u8 value = port_read(g, FIRST_PORT + offset);
	spin_unlock(&g->lock);
	return value;
}

static void vga_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	struct vga_text *g = dev;

	spin_lock(&g->lock);
	port_write(g, FIRST_PORT + offset, value);
	spin_unlock(&g->lock);
}

static const struct io_ops vga_io = {.name = "VGA text", .read = vga_read, .write = vga_write, .bytewise = true};

void vga_text_attach(struct vga_text *g, struct vm *vm)
{
	*g = (struct vga_text){.vm = vm, .misc = 0x67, .dac_mask = 0xff};
	memcpy(g->group[CRTC].value, crtc_mode3, sizeof(crtc_mode3));
	spin_init(&g->lock, RANK_DEVICE);
	io_add_ports(&vm->io, FIRST_PORT, END_PORT - FIRST_PORT, &vga_io, g);
}

/* ---- the operator looks ------------------------------------------------------------------------ */

/* Of code page 437, lines become lines. */
static char ascii(u8 c)
{
	if (c >= 0x20 && c < 0x7f)
		return (char)c;
	if (c < 0xb0 || c > 0xdf)
		return c == 0 || c == 0xff ? ' ' : '.';
	return c == 0xb3 || c == 0xba ? '|' : c == 0xc4 || c == 0xcd ? '-' : '+';
}

static int text_read(struct vm *vm, gpa_t at, u8 *character)
{
	const struct memslot *slot = memslot_find(&vm->slots, gpa_to_gfn(at));
	struct mm_page p;

	*character = 0;
	if (!slot)
		return 0; /* less memory than that */
	int err = mm_gup(vm->mm, hva(memslot_hva(slot, gpa_to_gfn(at))), ACC_R, &p);
	if (err)
		return err;
	*character = *((const u8 *)page_to_virt(p.page) + page_offset(at.v));
	page_put(p.page);
	return 0;
}

int vga_text_row(struct vga_text *g, u32 row, char text[VGA_COLUMNS + 1])
{
	u32 len = 0;

	spin_lock(&g->lock);
	u32 start = g->group[CRTC].value[CRTC_START_HIGH] << 8 | g->group[CRTC].value[CRTC_START_LOW];
	spin_unlock(&g->lock);
	for (u32 i = 0; i < VGA_COLUMNS; i++) {
		u32 offset = 2 * (start + row * VGA_COLUMNS + i) % TEXT_BYTES;
		u8 character;
		int err = text_read(g->vm, gpa(TEXT_MEMORY + offset), &character);

		if (err)
			return err;
		text[i] = ascii(character);
		if (text[i] != ' ')
			len = i + 1;
	}
	text[len] = '\0';
	return 0;
}
