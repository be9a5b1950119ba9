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
	const char *end;
	int index;

	for (index = 0; words; index++) {
		end = strchr(words, ',');
		if (kv->value_len == (end ? (size_t)(end - words) : strlen(words)) &&
		    memcmp(kv->value, words, kv->value_len) == 0)
			return index;
		words = end ? end + 1 : NULL;
	}
	return -1;
}

static int parse_choice(struct parser *p, const struct kv *kv, const char *words, int *out)
{
	*out = word_index(kv, words);
	return *out < 0 ? refuse(p, "%.*s=%.*s: give one of %s", (int)kv->key_len, kv->key,
				 (int)kv->value_len, kv->value, words)
			: 0;
}

static int parse_switch(struct parser *p, const struct kv *kv, const char *words, bool *out)
{
	int choice;
	int err;

	err = parse_choice(p, kv, words, &choice);
	if (!err)
		*out = choice == 1;
	return err;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

/* Names begin console lines and stand in SUMMARY lines, which scripts split. */
static int parse_name(struct parser *p, const struct kv *kv, char out[VM_NAME_SIZE])
{
	size_t i;

	for (i = 0; i < kv->value_len; i++)
		if (!is_name_char(kv->value[i]))
			return refuse_value(p, kv, "a name of letters, digits, '.', '_' and '-'");
	if (kv->value_len == 0 || kv->value_len >= VM_NAME_SIZE)
		return refuse_value(p, kv, "a name of 1 to 31 characters");
	memcpy(out, kv->value, kv->value_len);
	out[kv->value_len] = '\0';
	return 0;
}

static int parse_pages(struct parser *p, const struct kv *kv, u64 *out)
{
	if (kv_size(kv, out))
		return refuse_value(p, kv, "a size, as 64M");
	if (*out == 0)
		return refuse_value(p, kv, "more than nothing");
	if (page_offset(*out))
		return refuse_value(p, kv, "a multiple of 4K");
	return 0;
}

static int parse_vm(struct parser *p, const struct kv *kv)
{
	return parse_name(p, kv, p->out->name);
}

static int parse_initrd(struct parser *p, const struct kv *kv)
{
	return parse_name(p, kv, p->out->initrd_of);
}

static int parse_image(struct parser *p, const struct kv *kv)
{
	return parse_name(p, kv, p->out->image);
}

static int parse_mem(struct parser *p, const struct kv *kv)
{
	return parse_pages(p, kv, &p->out->mem_bytes);
}

static int parse_cpus(struct parser *p, const struct kv *kv)
{
	u64 nr;

	if (kv_uint(kv, VM_CPUS_MAX, &nr) || nr == 0)
		return refuse_value(p, kv, "1 to 8");
	p->out->cpus = (unsigned int)nr;
	return 0;
}
static_assert(VM_CPUS_MAX == 8, "the line above tells the operator");

static int parse_mmu(struct parser *p, const struct kv *kv)
{
	int choice;
	int err;

	err = parse_choice(p, kv, "auto,tdp,shadow", &choice);
	if (!err)
		p->out->mmu = (enum vm_mmu)choice;
	return err;
}

static int parse_limit(struct parser *p, const struct kv *kv)
{
	if (kv_value_is(kv, "none"))
		return 0;
	return parse_pages(p, kv, &p->out->limit_bytes);
}

static int parse_pin(struct parser *p, const struct kv *kv)
{
	int choice;
	int err;

	err = parse_choice(p, kv, "off,old,notified", &choice);
	if (!err)
		p->out->pin = (enum vm_pin)choice;
	return err;
}

static int parse_reset(struct parser *p, const struct kv *kv)
{
	int choice;
	int err;

	err = parse_choice(p, kv, "ok,stop,restart", &choice);
	if (!err)
		p->out->reset = (enum vm_reset)(VM_RESET_OK + choice);
	return err;
}

static int parse_apic(struct parser *p, const struct kv *kv)
{
	return parse_switch(p, kv, "off,on", &p->out->apic);
}

static int parse_testdev(struct parser *p, const struct kv *kv)
{
	return parse_switch(p, kv, "off,on", &p->out->testdev);
}

static int parse_msr(struct parser *p, const struct kv *kv)
{
	return parse_switch(p, kv, "fault,ignore", &p->out->msr_ignore);
}

enum { KEY_VM, KEY_INITRD }; /* the first two of keys[] */

static const struct {
	const char *name;
	int (*parse)(struct parser *p, const struct kv *kv);
} keys[] = {
	[KEY_VM] = {"vm", parse_vm},
	[KEY_INITRD] = {"initrd", parse_initrd},
	{"image", parse_image},
	{"mem", parse_mem},
	{"cpus", parse_cpus},
	{"mmu", parse_mmu},
	{"limit", parse_limit},
	{"pin", parse_pin},
	{"reset", parse_reset},
	{"apic", parse_apic},
	{"testdev", parse_testdev},
	{"msr", parse_msr},
};

static int parse_word(struct parser *p, const struct kv *kv)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (kv_key_is(kv, keys[i].name))
			break;
	if (i == ARRAY_SIZE(keys))
		return refuse(p, "%.*s: no such key: give vm initrd image mem cpus mmu limit pin "
			      "reset apic testdev or msr", (int)kv->key_len, kv->key);
	if (!kv->value)
		return refuse(p, "%s: give it a value, as %s=...", keys[i].name, keys[i].name);
	if (p->seen & 1u << i)
		return refuse(p, "%s=%.*s: %s was given before: give it once", keys[i].name,
			      (int)kv->value_len, kv->value, keys[i].name);
	p->seen |= 1u << i;
	return keys[i].parse(p, kv);
}

/* What no single word can tell. */
static int check_whole(struct parser *p, unsigned int index)
{
	struct vm_config *c = p->out;

	if (p->seen & 1u << KEY_INITRD) {
		if (p->seen & ~(1u << KEY_INITRD))
			return refuse(p, "initrd=%s: takes no other key: give them to the guest's "
				      "kernel", c->initrd_of);
		c->role = VM_ROLE_INITRD;
		return 0;
	}
	if (c->mem_bytes > p->mem_max)
		return refuse(p, "mem=%lluK: this machine allows a guest %lluK at most",
			      (unsigned long long)(c->mem_bytes >> 10),
			      (unsigned long long)(p->mem_max >> 10));
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
