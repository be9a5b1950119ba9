/* SPDX-License-Identifier: BSD-2-Clause */
/* The Multiboot2 information structure: 8 bytes of header, then tags at 8-byte boundaries, each
 * with its type and size in front, the last one of type 0. A handler sees a tag of which all `size`
 * bytes lie inside the structure. */
#include "lib/check.h"
#include "lib/mb2.h"
#include "lib/string.h"

enum mb2_tag_type {
	TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MEMORY = 6, TAG_FRAMEBUFFER = 8,
	TAG_RSDP_OLD = 14, TAG_RSDP_NEW = 15,
};

struct mb2_header {
	u32 total_size, reserved;
};

struct mb2_tag {
	u32 type, size;
};

struct mb2_tag_module {
	struct mb2_tag tag;
	u32 start, end;
	char string[];
};

struct mb2_tag_memory {
	struct mb2_tag tag;
	u32 entry_bytes, entry_version;
};

struct mb2_memory_entry {
	u64 base, bytes;
	u32 type, reserved;
};

struct mb2_tag_framebuffer {
	struct mb2_tag tag;
	u64 addr;
	u32 pitch, width, height;
	u8 bpp, type;
	u16 reserved;
};

/* Behind the former where type is RGB. */
struct mb2_rgb {
	u8 red_shift, red_bits, green_shift, green_bits, blue_shift, blue_bits;
};

static_assert(sizeof(struct mb2_tag_module) == 16, "Multiboot2");
static_assert(sizeof(struct mb2_memory_entry) == 24, "Multiboot2");
static_assert(sizeof(struct mb2_tag_framebuffer) == 32, "Multiboot2");
static_assert(sizeof(struct mb2_rgb) == 6, "Multiboot2");

#define RSDP_OLD_BYTES 20
#define RSDP_NEW_BYTES 36

/* tag_string - the string from @offset to the tag's end; NULL if it does not end there. */
static const char *tag_string(const struct mb2_tag *tag, size_t offset)
{
	const char *s = (const char *)tag + offset;

	if (tag->size <= offset || strnlen(s, tag->size - offset) == tag->size - offset)
		return NULL;
	return s;
}

static int take_cmdline(const struct mb2_tag *tag, struct boot_info *out)
{
	out->cmdline = tag_string(tag, sizeof(*tag));
	return out->cmdline ? 0 : trace(-EINVAL);
}

static int take_module(const struct mb2_tag *tag, struct boot_info *out)
{
	const struct mb2_tag_module *m = (const struct mb2_tag_module *)tag;
	const char *string = tag_string(tag, sizeof(*m));

	if (!string || m->end < m->start)
		return trace(-EINVAL);
	if (out->nr_modules == MB2_MAX_MODULES) {
		out->nr_dropped++;
		return 0;
	}
	out->modules[out->nr_modules++] = (struct boot_module){m->start, m->end, string};
	return 0;
}

static int add_memory(const struct mb2_memory_entry *e, struct boot_info *out)
{
	struct boot_memory *last = out->nr_memory ? &out->memory[out->nr_memory - 1] : NULL;

	if (e->bytes == 0)
		return 0;
	if (e->base + e->bytes < e->base)
		return trace(-EINVAL);
	if (last && last->type == e->type && last->base + last->bytes == e->base) {
		last->bytes += e->bytes;
		return 0;
	}
	if (out->nr_memory == MB2_MAX_MAP) {
		out->nr_dropped++;
		return 0;
	}
	out->memory[out->nr_memory++] = (struct boot_memory){e->base, e->bytes, e->type};
	return 0;
}

static int take_memory(const struct mb2_tag *tag, struct boot_info *out)
{
	const struct mb2_tag_memory *m = (const struct mb2_tag_memory *)tag;

	/* Later versions may make entries longer, in steps that keep them aligned. */
	if (tag->size < sizeof(*m) || m->entry_bytes < sizeof(struct mb2_memory_entry) ||
	    m->entry_bytes % 8)
		return trace(-EINVAL);
	out->nr_memory = 0;
	for (u64 at = sizeof(*m); at + m->entry_bytes <= tag->size; at += m->entry_bytes) {
		int err = add_memory((const void *)((const char *)tag + at), out);
		if (err)
			return err;
	}
	return 0;
}

static int take_framebuffer(const struct mb2_tag *tag, struct boot_info *out)
{
	const struct mb2_tag_framebuffer *f = (const struct mb2_tag_framebuffer *)tag;
	const struct mb2_rgb *c = (const struct mb2_rgb *)(f + 1);

	if (tag->size < sizeof(*f))
		return trace(-EINVAL);
	if (f->type > BOOT_FB_TEXT)
		return 0; /* a kind that we cannot draw on is none */
	if (f->type == BOOT_FB_RGB && tag->size < sizeof(*f) + sizeof(*c))
		return trace(-EINVAL);
	out->fb = (struct boot_framebuffer){
		.type = (enum boot_fb_type)f->type, .addr = f->addr, .pitch = f->pitch,
		.width = f->width, .height = f->height, .bpp = f->bpp,
	};
	if (f->type == BOOT_FB_RGB) {
		out->fb.red = (struct boot_colour){c->red_shift, c->red_bits};
		out->fb.green = (struct boot_colour){c->green_shift, c->green_bits};
		out->fb.blue = (struct boot_colour){c->blue_shift, c->blue_bits};
	}
	return 0;
}

static int take_rsdp(const struct mb2_tag *tag, struct boot_info *out)
{
	u32 bytes = tag->size - sizeof(*tag);

	if (bytes < (tag->type == TAG_RSDP_NEW ? RSDP_NEW_BYTES : RSDP_OLD_BYTES))
		return trace(-EINVAL);
	if (tag->type == TAG_RSDP_OLD) {
		out->rsdp_old = tag + 1;
	} else {
		out->rsdp_new = tag + 1;
		out->rsdp_new_bytes = bytes;
	}
	return 0;
}

static int take_tag(const struct mb2_tag *tag, struct boot_info *out)
{
	switch (tag->type) {
	case TAG_CMDLINE: return take_cmdline(tag, out);
	case TAG_MODULE: return take_module(tag, out);
	case TAG_MEMORY: return take_memory(tag, out);
	case TAG_FRAMEBUFFER: return take_framebuffer(tag, out);
	case TAG_RSDP_OLD:
	case TAG_RSDP_NEW: return take_rsdp(tag, out);
	default: return 0;
	}
}

int mb2_parse(const void *info, size_t max_bytes, struct boot_info *out)
{
	const struct mb2_header *header = info;
	u64 at = sizeof(*header);

	memset(out, 0, sizeof(*out));
	out->cmdline = "";
	out->fb.type = BOOT_FB_NONE;
	if (max_bytes < sizeof(*header) || header->total_size > max_bytes)
		return trace(-EINVAL);

	/* at and sizes are below 2^33: sums of them do not wrap in 64 bits. */
	while (at + sizeof(struct mb2_tag) <= header->total_size) {
		const struct mb2_tag *tag = (const void *)((const char *)info + at);

		if (tag->size < sizeof(*tag) || at + tag->size > header->total_size)
			return trace(-EINVAL);
		if (tag->type == TAG_END)
			return 0;
		int err = take_tag(tag, out);
		if (err)
			return err;
		at = (at + tag->size + 7) & ~7ull;
	}
	return trace(-EINVAL); /* no end tag: cut off */
}

void mb2_unescape(char *string)
{
	char *to = string;

	for (const char *from = string; *from; from++) {
		if (*from == '\\' && (from[1] == '\\' || from[1] == '\'' || from[1] == '"'))
			from++;
		else if (*from == '"')
			continue;
		*to++ = *from;
	}
	if (*to)
		*to = 0; /* only what changed: an empty string may be a constant */
}
