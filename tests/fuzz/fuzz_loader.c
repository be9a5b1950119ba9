/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/loader/elf.c kernel/vmm/loader/elf64.c kernel/vmm/loader/loader.c
 * kernel/vmm/loader/bzimage.c kernel/vmm/loader/multiboot.c kernel/vmm/loader/place.c */
/* sources: kernel/lib/format.c kernel/lib/string.c kernel/lib/errno.c */
/* Guest images: a good one of each kind, spoiled in places that the input names, or bytes of the input with
 * a header planted. It is loaded inside the guest's memory (fake_at), or refused with one line and
 * nothing written. */
#include "fuzz.h"

#include "guest_load.h"
#include "vmm/loader/loader.h"

static struct image image;

static void images_begin(struct input *in)
{
	switch (take_below(in, 6)) {
	case 0: image_multiboot32(&image); break;
	case 1: image_kludge64(&image); break;
	case 2: image_raw64(&image); break;
	case 3: image_bzimage(&image); break;
	case 4:
		memset(&image, 0, sizeof(image));
		image.size = take_below(in, 0x9000);
		break;
	default:
		memset(&image, 0, sizeof(image));
		put(&image, take_below(in, 0x8000) & ~7ul, 4, 0xe85250d6); /* multiboot 2 */
	}
}

/* Fields of headers are mostly small, or the greatest there is. */
static u64 number(struct input *in, unsigned int bytes)
{
	switch (take_below(in, 4)) {
	case 0: return ~0ull >> take_below(in, 64);
	case 1: return take(in, 1);
	case 2: return take(in, 1) << 12;
	default: return take(in, bytes);
	}
}

static void spoil(struct input *in)
{
	u32 at = take_below(in, 4) ? take_below(in, 0x400) : take_below(in, IMAGE_MAX - 32);
	unsigned int bytes = 1u << take_below(in, 4);

	switch (take_below(in, 8)) {
	case 0: image.size = MIN(take(in, 2), (u64)IMAGE_MAX); break;
	case 1: image_multiboot(&image, at & ~3u, take(in, 4)); break;
	case 2: image_multiboot_addresses(&image, at & ~3u, number(in, 4), number(in, 4), number(in, 4),
					  number(in, 4), number(in, 4)); break;
	case 3: put(&image, 0x1f1 + take_below(in, 0x80), bytes, number(in, bytes)); break; /* bzImage */
	case 4: put(&image, 16 + take_below(in, 0x90), bytes, number(in, bytes)); break;    /* ELF */
	default: put(&image, at, bytes, number(in, bytes));
	}
}

void fuzz_one(struct input *in)
{
	static const char initrd[64] = "initrd";
	char cmdline[512] = "";
	struct fake_ram ram;
	bool with_initrd = take(in, 1) & 1;
	u64 initrd_size = with_initrd ? take_below(in, sizeof(initrd)) + 1 : 0;

	ram = fake_new((take_below(in, 64) + 1) * PAGE_SIZE << take_below(in, 7), take_below(in, 4) * PAGE_SIZE);
	ram.fail_at = take_below(in, 8) ? 0 : take_below(in, 16);
	memset(cmdline, 'c', take_below(in, sizeof(cmdline)));
	images_begin(in);
	while (input_left(in))
		spoil(in);
	struct attempt a = load_with(&image, &ram, cmdline, with_initrd ? initrd : NULL, initrd_size);
	CHECK(a.err <= 0, "it returns %d", a.err);
	CHECK((a.err != 0) == (a.why[0] != 0), "%d with the words \"%s\"", a.err, a.why);
	CHECK(!strchr(a.why, '\n') && strlen(a.why) < sizeof(a.why), "\"%s\"", a.why);
	CHECK(!a.err || !ram.nr_calls || ram.fail_at, "%d, and something was written", a.err);
	CHECK(a.err || a.entry.rip < GIB(4), "the entry is %#lx", a.entry.rip);
	CHECK(a.err || a.entry.kind, "of no kind");
	fake_free(&ram);
}
