/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/config.c kernel/lib/kv.c */
/* sources: kernel/lib/gpt.c kernel/lib/crc32.c kernel/lib/format.c kernel/lib/errno.c kernel/lib/string.c */
/* Module lines: any text, made of keys and values that there are and of bytes of the input. A line is taken
 * with values that make sense, or refused with one line. */
#include "fuzz.h"

#include "lib/kv.h"
#include "vmm/config.h"

static const char *const words[] = {
	"vm=", "initrd=", "disk=", "part=", "rw", "ro", "0a9d5c3e-7e51-4b6f-9a37-4e6561705357", "image=", "mem=", "cpus=", "mmu=", "limit=", "pin=", "reset=", "apic=", "testdev=",
	"msr=", "auto", "tdp", "shadow", "off", "old", "notified", "ok", "stop", "restart", "on", "fault",
	"ignore", "64M", "1", "0x", "18446744073709551615", "99999999999999999999", "K", "G", " ", " ", "=",
	" -- ", "--", "a", "name", "4096", "8",
};

static void check_taken(const struct vm_config *c, u64 mem_max)
{
	CHECK(c->role > VM_ROLE_UNKNOWN && c->role <= VM_ROLE_DISK, "role %d", c->role);
	CHECK(memchr(c->name, 0, VM_NAME_SIZE) && memchr(c->of, 0, VM_NAME_SIZE) &&
	      memchr(c->image, 0, VM_NAME_SIZE), "a name without an end");
	CHECK(c->role == VM_ROLE_KERNEL || c->of[0], "an initrd or a disk of nobody");
	if (c->role != VM_ROLE_KERNEL)
		return;
	CHECK(c->name[0], "no name");
	CHECK(c->mem_bytes && c->mem_bytes <= mem_max && page_offset(c->mem_bytes) == 0, "mem %#lx",
	      c->mem_bytes);
	CHECK(c->cpus >= 1 && c->cpus <= VM_CPUS_MAX, "%u CPUs", c->cpus);
	CHECK(page_offset(c->limit_bytes) == 0, "limit %#lx", c->limit_bytes);
}

/* Words fall apart so that each lies in the text, behind the one before. */
static void check_words(const char *line)
{
	const char *cursor = line, *end = line + strlen(line), *last = line;
	struct kv kv;

	while (kv_next(&cursor, &kv)) {
		u64 value;

		CHECK(kv.key >= last && kv.key + kv.key_len <= end && cursor <= end, "a key outside");
		CHECK(!kv.value || (kv.value > kv.key && kv.value + kv.value_len <= cursor), "a value outside");
		if (kv_uint(&kv, 1000, &value) == 0)
			CHECK(value <= 1000, "%lu", value);
		if (kv_size(&kv, &value) == 0)
			CHECK(value <= 1ull << 63, "%lu", value);
		last = cursor;
	}
}

void fuzz_one(struct input *in)
{
	u64 mem_max = (u64)PAGE_SIZE << take_below(in, 40);
	unsigned int index = take(in, 1);
	char text[600], why[200] = "";
	size_t len = 0;

	while (input_left(in) && len < 560) {
		u32 word = take(in, 1);
		const char *s = words[word % ARRAY_SIZE(words)];

		if (word < 4 * ARRAY_SIZE(words))
			len += snprintf(text + len, sizeof(text) - len, "%s", s);
		else
			text[len++] = (char)(' ' + take_below(in, 95)); /* the operator's terminal shows it */
	}
	char *line = strndup(text, len); /* of its exact size */
	struct vm_config c = {0};
	text[len] = '\0';
	int err = vm_config_parse(line, index, mem_max, &c, why, sizeof(why));
	CHECK(err == 0 || err == -EINVAL, "it returns %d", err);
	CHECK(err || !why[0], "taken, and \"%s\"", why);
	CHECK(!err || (why[0] && !strchr(why, '\n')), "refused with \"%s\"", why);
	if (!err)
		check_taken(&c, mem_max);
	CHECK(!err || c.role == VM_ROLE_UNKNOWN, "refused, and a role of %d", c.role);
	check_words(line);
	free(line);
}
