/* SPDX-License-Identifier: BSD-2-Clause */
/* What the loader told: command line, usable RAM, and which pages hold that information. All is
 * copied at once, since a guest goes on to use the memory it lies in. 32 and 64 bits. */
#include "guest.h"

#define INFO_MEM     (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODS    (1u << 3)
#define INFO_MMAP    (1u << 6)
#define INFO_LOADER  (1u << 9)

#define MMAP_RAM 1u
#define MIB      0x100000ul
#define GIB4     0x100000000ull

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	u32 mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
};

struct multiboot_module {
	u32 start, end, text, reserved;
};

struct multiboot_mmap {
	u32 size; /* of what follows it */
	u64 base, bytes;
	u32 type;
} __attribute__((packed));

extern char guest_image_start[], guest_image_end[];

struct ram_range guest_ram[RAM_RANGES_MAX];
unsigned int guest_ram_nr;
char guest_cmdline[1024];
const char *guest_name = "guest";

/* Pages that hold what the loader handed over. */
static struct ram_range taken[16];
static unsigned int taken_nr;

/* The command line once more, each word ended by NUL, two NULs at the end. */
static char words[sizeof(guest_cmdline) + 2];

static void take(unsigned long start, unsigned long bytes)
{
	if (bytes && taken_nr < ARRAY_SIZE(taken))
		taken[taken_nr++] = (struct ram_range){page_down(start), page_up(start + bytes)};
}

bool boot_page_is_taken(u64 pa)
{
	u64 page = pa & ~(u64)(PAGE_SIZE - 1);

	if (!page || (page >= page_down((unsigned long)guest_image_start) &&
		      page < (unsigned long)guest_image_end))
		return true;
	for (unsigned int i = 0; i < taken_nr; i++)
		if (page >= taken[i].start && page < taken[i].end)
			return true;
	return false;
}

static void ram_add(u64 start, u64 end)
{
	start = (start + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	end &= ~(u64)(PAGE_SIZE - 1);
	if (end > GIB4) /* our tables map no more */
		end = GIB4;
	if (start < end && guest_ram_nr < RAM_RANGES_MAX)
		guest_ram[guest_ram_nr++] = (struct ram_range){start, end};
}

u64 guest_ram_end(void)
{
	u64 end = 0;

	for (unsigned int i = 0; i < guest_ram_nr; i++)
		if (guest_ram[i].end > end)
			end = guest_ram[i].end;
	return end;
}

static void ram_parse(const struct multiboot_info *info)
{
	if (!(info->flags & INFO_MMAP)) {
		if (info->flags & INFO_MEM) {
			ram_add(0, (u64)info->mem_lower * 1024);
			ram_add(MIB, MIB + (u64)info->mem_upper * 1024);
		}
		return;
	}
	take(info->mmap_addr, info->mmap_length);
	for (u32 at = 0; at + sizeof(struct multiboot_mmap) <= info->mmap_length;) {
		const struct multiboot_mmap *m =
		    (const void *)((unsigned long)info->mmap_addr + at);

		if (m->type == MMAP_RAM)
			ram_add(m->base, m->base + m->bytes);
		at += m->size + (u32)sizeof(m->size);
	}
}

static void modules_take(const struct multiboot_info *info)
{
	const struct multiboot_module *m = (const void *)(unsigned long)info->mods_addr;

	if (!(info->flags & INFO_MODS))
		return;
	take(info->mods_addr, info->mods_count * sizeof(*m));
	for (u32 i = 0; i < info->mods_count; i++, m++) {
		take(m->start, m->end - m->start);
		if (m->text)
			take(m->text, strlen((const char *)(unsigned long)m->text) + 1);
	}
}

/* The first word, less folder and suffix. */
static void name_parse(void)
{
	static char name[64];
	const char *stem = words;
	size_t n = 0;

	for (const char *p = words; *p; p++)
		if (*p == '/')
			stem = p + 1;
	for (; stem[n] && stem[n] != '.' && n < sizeof(name) - 1; n++)
		name[n] = stem[n];
	if (n)
		guest_name = name;
}

void boot_parse(unsigned long at)
{
	const struct multiboot_info *info = (const void *)at;

	take(at, sizeof(*info));
	if (info->flags & INFO_CMDLINE) {
		const char *text = (const char *)(unsigned long)info->cmdline;
		size_t bytes = strlen(text);

		take(info->cmdline, bytes + 1);
		bytes = bytes < sizeof(guest_cmdline) ? bytes : sizeof(guest_cmdline) - 1;
		memcpy(guest_cmdline, text, bytes);
	}
	if (info->flags & INFO_LOADER)
		take(info->loader_name, strlen((const char *)(unsigned long)info->loader_name) + 1);
	ram_parse(info);
	modules_take(info);

	for (size_t i = 0, to = 0; guest_cmdline[i]; i++) {
		if (guest_cmdline[i] != ' ')
			words[to++] = guest_cmdline[i];
		else if (to && words[to - 1])
			words[to++] = 0;
	}
	name_parse();
}

const char *guest_arg(const char *key)
{
	size_t n = strlen(key);

	for (const char *w = words; *w; w += strlen(w) + 1)
		if (!memcmp(w, key, n) && (w[n] == '=' || !w[n]))
			return w[n] ? w + n + 1 : w + n;
	return NULL;
}

bool guest_arg_is(const char *key, const char *value)
{
	const char *is = guest_arg(key);

	return is && !strcmp(is, value);
}

u64 text_number(const char *text, const char **end)
{
	unsigned int base = 10;
	u64 v = 0;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	for (;; text++) {
		unsigned int c = (u8)*text;
		unsigned int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		if (digit >= base)
			break;
		v = v * base + digit;
	}
	switch (*text) {
	case 'G':
		v <<= 10;
		__attribute__((fallthrough));
	case 'M':
		v <<= 10;
		__attribute__((fallthrough));
	case 'K':
		v <<= 10;
		text++;
	}
	*end = text;
	return v;
}

u64 guest_arg_number(const char *key, u64 otherwise)
{
	const char *text = guest_arg(key), *end;
	u64 v;

	if (!text)
		return otherwise;
	v = text_number(text, &end);
	if (!*text || *end) {
		print("%s: %s=%s is no number\n", guest_name, key, text);
		guest_exit(EXIT_USAGE);
	}
	return v;
}

bool guest_on_qemu(void)
{
	return guest_arg_is("board", "qemu");
}
