/* SPDX-License-Identifier: BSD-2-Clause */
/* Module lines: a table of keys, each with the function that reads its value. */
#include "vmm/config.h"

#include "lib/check.h"
#include "lib/format.h"
#include "lib/kv.h"
#include "lib/string.h"

struct parser {
	struct vm_config *out;
	u64 mem_max;
	unsigned int seen; /* a bit for each of keys[] */
	char *why;
	size_t why_size;
};

static printf_like(2, 3) int refuse(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vformat(p->why, p->why_size, fmt, ap);
	va_end(ap);
	return trace(-EINVAL);
}

static int refuse_value(struct parser *p, const struct kv *kv, const char *give)
{
	return refuse(p, "%.*s=%.*s: give %s", (int)kv->key_len, kv->key, (int)kv->value_len,
		      kv->value, give);
}

/* The value's place among the words in @words, which is separated by commas; -1 if it is none. */
static int word_index(const struct kv *kv, const char *words)
{
	for (int index = 0; words; index++) {
		const char *end = strchr(words, ',');
		if (kv->value_len == (end ? (size_t)(end - words) : strlen(words)) &&
		    memcmp(kv->value, words, kv->value_len) == 0)
			return index;
		words = end ? end + 1 : NULL;
	}
	return -1;
}

/* Each reads a value to @out: a field of struct vm_config of the kind that keys[] says. */
static int parse_choice(struct parser *p, const struct kv *kv, const char *words, void *out)
{
	int index = word_index(kv, words);

	if (index < 0)
		return refuse(p, "%.*s=%.*s: give one of %s", (int)kv->key_len, kv->key,
			      (int)kv->value_len, kv->value, words);
	*(unsigned int *)out = (unsigned int)index;
	return 0;
}

static int parse_switch(struct parser *p, const struct kv *kv, const char *words, void *out)
{
	unsigned int choice;
	int err = parse_choice(p, kv, words, &choice);

	if (!err)
		*(bool *)out = choice == 1;
	return err;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

/* Names begin console lines and stand in SUMMARY lines, which scripts split. */
static int parse_name(struct parser *p, const struct kv *kv, unused const char *words, void *out)
{
	for (size_t i = 0; i < kv->value_len; i++)
		if (!is_name_char(kv->value[i]))
			return refuse_value(p, kv, "a name of letters, digits, '.', '_' and '-'");
	if (kv->value_len == 0 || kv->value_len >= VM_NAME_SIZE)
		return refuse_value(p, kv, "a name of 1 to 31 characters");
	memcpy(out, kv->value, kv->value_len);
	((char *)out)[kv->value_len] = '\0';
	return 0;
}

/* @words: "none" where that is a size, too. */
static int parse_pages(struct parser *p, const struct kv *kv, const char *words, void *out)
{
	u64 bytes;

	if (words && kv_value_is(kv, words))
		return 0;
	if (kv_size(kv, &bytes))
		return refuse_value(p, kv, "a size, as 64M");
	if (bytes == 0)
		return refuse_value(p, kv, "more than nothing");
	if (page_offset(bytes))
		return refuse_value(p, kv, "a multiple of 4K");
	*(u64 *)out = bytes;
	return 0;
}

static int parse_cpus(struct parser *p, const struct kv *kv, unused const char *words, void *out)
{
	u64 nr;

	if (kv_uint(kv, VM_CPUS_MAX, &nr) || nr == 0)
		return refuse_value(p, kv, "1 to 8");
	*(unsigned int *)out = (unsigned int)nr;
	return 0;
}
static_assert(VM_CPUS_MAX == 8, "the line above tells the operator");

static int parse_reset(struct parser *p, const struct kv *kv, const char *words, void *out)
{
	unsigned int choice;
	int err = parse_choice(p, kv, words, &choice);

	if (!err)
		*(enum vm_reset *)out = (enum vm_reset)(VM_RESET_OK + choice);
	return err;
}

static int parse_part(struct parser *p, const struct kv *kv, unused const char *words, void *out)
{
	struct vm_part *part = out;
	size_t nr = kv->value_len;

	part->named = true;
	part->rw = nr > 3 && memcmp(kv->value + nr - 3, ":rw", 3) == 0;
	if (guid_parse(kv->value, part->rw ? nr - 3 : nr, part->guid))
		return refuse_value(p, kv, "a partition's own GUID (PARTUUID), or it and :rw");
	return 0;
}

enum { KEY_VM, KEY_INITRD, KEY_DISK }; /* the first of keys[] */

#define FIELD(name) offsetof(struct vm_config, name)

static const struct {
	const char *name;
	int (*parse)(struct parser *p, const struct kv *kv, const char *words, void *out);
	size_t field;
	const char *words;
} keys[] = {
	[KEY_VM] = {"vm", parse_name, FIELD(name), NULL},
	[KEY_INITRD] = {"initrd", parse_name, FIELD(of), NULL},
	[KEY_DISK] = {"disk", parse_name, FIELD(of), NULL},
	{"image", parse_name, FIELD(image), NULL},
	{"mem", parse_pages, FIELD(mem_bytes), NULL},
	{"cpus", parse_cpus, FIELD(cpus), NULL},
	{"mmu", parse_choice, FIELD(mmu), "auto,tdp,shadow"},
	{"limit", parse_pages, FIELD(limit_bytes), "none"},
	{"pin", parse_choice, FIELD(pin), "off,old,notified"},
	{"reset", parse_reset, FIELD(reset), "ok,stop,restart"},
	{"part", parse_part, FIELD(part), NULL},
	{"apic", parse_switch, FIELD(apic), "off,on"},
	{"testdev", parse_switch, FIELD(testdev), "off,on"},
	{"msr", parse_switch, FIELD(msr_ignore), "fault,ignore"},
};

static int parse_word(struct parser *p, const struct kv *kv)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (kv_key_is(kv, keys[i].name))
			break;
	if (i == ARRAY_SIZE(keys))
		return refuse(p, "%.*s: no such key: give vm initrd disk image mem cpus mmu limit "
			      "pin reset part apic testdev or msr", (int)kv->key_len, kv->key);
	if (!kv->value)
		return refuse(p, "%s: give it a value, as %s=...", keys[i].name, keys[i].name);
	if (p->seen & 1u << i)
		return refuse(p, "%s=%.*s: %s was given before: give it once", keys[i].name,
			      (int)kv->value_len, kv->value, keys[i].name);
	p->seen |= 1u << i;
	return keys[i].parse(p, kv, keys[i].words, (char *)p->out + keys[i].field);
}

/* What no single word can tell. */
static int check_whole(struct parser *p, unsigned int index)
{
	struct vm_config *c = p->out;

	if (p->seen & (1u << KEY_INITRD | 1u << KEY_DISK)) {
		bool disk = p->seen & 1u << KEY_DISK;
		if (p->seen & (p->seen - 1))
			return refuse(p, "%s= takes no other key: give them to the guest's kernel",
				      disk ? "disk" : "initrd");
		c->role = disk ? VM_ROLE_DISK : VM_ROLE_INITRD;
		return 0;
	}
	if (c->mem_bytes > p->mem_max)
		return refuse(p, "mem=%luK: this machine allows a guest %luK at most",
			      c->mem_bytes >> 10, p->mem_max >> 10);
	if (!(p->seen & 1u << KEY_VM))
		text_format(c->name, sizeof(c->name), "vm%u", index);
	c->role = VM_ROLE_KERNEL;
	return 0;
}

int vm_config_parse(const char *line, unsigned int index, u64 mem_max, struct vm_config *out,
		    char *why, size_t why_size)
{
	struct parser p = {.out = out, .mem_max = mem_max, .why = why, .why_size = why_size};
	struct kv kv;
	int err;

	*out = (struct vm_config){.mem_bytes = VM_MEM_DEFAULT, .cpus = 1, .apic = true,
				  .testdev = true};
	while (kv_next(&line, &kv)) {
		err = parse_word(&p, &kv);
		if (err)
			return err;
	}
	out->cmdline = line;
	return check_whole(&p, index);
}
