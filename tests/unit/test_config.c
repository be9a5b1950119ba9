/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/config.c kernel/lib/kv.c kernel/lib/format.c kernel/lib/string.c
 * kernel/lib/gpt.c kernel/lib/crc32.c */
/* Module lines become what they say; each wrong word is refused by its name. */
#include "host.h"

#include "vmm/config.h"

static int parse(const char *line, struct vm_config *out, char why[200])
{
	memset(why, 0, 200);
	return vm_config_parse(line, 3, GIB(2), out, why, 200);
}

static struct vm_config good(const char *line)
{
	struct vm_config config;
	char why[200];

	if (parse(line, &config, why) != 0)
		fail_msg("%s: %s", line, why);
	assert_string_equal(why, "");
	return config;
}

static void defaults(void **state)
{
	struct vm_config c = good("vm=debian");

	(void)state;
	assert_int_equal(c.role, VM_ROLE_KERNEL);
	assert_string_equal(c.name, "debian");
	assert_string_equal(c.of, "");
	assert_false(c.part.named);
	assert_string_equal(c.image, "");
	assert_int_equal(c.mem_bytes, MIB(64));
	assert_int_equal(c.cpus, 1);
	assert_int_equal(c.mmu, VM_MMU_AUTO);
	assert_int_equal(c.limit_bytes, 0);
	assert_int_equal(c.pin, VM_PIN_OFF);
	assert_int_equal(c.reset, VM_RESET_UNSET);
	assert_true(c.apic);
	assert_true(c.testdev);
	assert_false(c.msr_ignore);
	assert_string_equal(c.cmdline, "");
}

static const u8 neap_type[16] = {
	0x3e, 0x5c, 0x9d, 0x0a, 0x51, 0x7e, 0x6f, 0x4b, 0x9a, 0x37, 'N', 'e', 'a', 'p', 'S', 'W',
};

static void every_key(void **state)
{
	struct vm_config c = good("vm=a.B_9-x image=base mem=640M cpus=8 mmu=shadow limit=182M "
				  "pin=notified reset=restart apic=off testdev=off msr=ignore "
				  "part=0a9d5c3e-7e51-4b6f-9a37-4e6561705357:rw "
				  "-- console=ttyS0 mem=5 -- x");

	(void)state;
	assert_string_equal(c.name, "a.B_9-x");
	assert_string_equal(c.image, "base");
	assert_int_equal(c.mem_bytes, MIB(640));
	assert_int_equal(c.cpus, 8);
	assert_int_equal(c.mmu, VM_MMU_SHADOW);
	assert_int_equal(c.limit_bytes, MIB(182));
	assert_int_equal(c.pin, VM_PIN_NOTIFIED);
	assert_int_equal(c.reset, VM_RESET_RESTART);
	assert_false(c.apic);
	assert_false(c.testdev);
	assert_true(c.msr_ignore);
	assert_true(c.part.named);
	assert_true(c.part.rw);
	assert_memory_equal(c.part.guid, neap_type, 16);
	assert_string_equal(c.cmdline, "console=ttyS0 mem=5 -- x");
}

static void every_word(void **state)
{
	(void)state;
	assert_int_equal(good("mmu=auto").mmu, VM_MMU_AUTO);
	assert_int_equal(good("mmu=tdp").mmu, VM_MMU_TDP);
	assert_int_equal(good("pin=off").pin, VM_PIN_OFF);
	assert_int_equal(good("pin=old").pin, VM_PIN_OLD);
	assert_int_equal(good("reset=ok").reset, VM_RESET_OK);
	assert_int_equal(good("reset=stop").reset, VM_RESET_STOP);
	assert_true(good("apic=on").apic);
	assert_false(good("testdev=off").testdev);
	assert_false(good("msr=fault").msr_ignore);
	assert_int_equal(good("limit=none").limit_bytes, 0);
	assert_int_equal(good("mem=4K").mem_bytes, KIB(4));
	assert_int_equal(good("mem=2G").mem_bytes, GIB(2));
	assert_int_equal(good("mem=1048576").mem_bytes, MIB(1));
	struct vm_config c = good("part=0A9D5C3E-7E51-4B6F-9A37-4E6561705357 mem=8M");
	assert_true(c.part.named);
	assert_false(c.part.rw);
	assert_memory_equal(c.part.guid, neap_type, 16);
}

static void roles_and_names(void **state)
{
	struct vm_config c;

	(void)state;
	c = good("initrd=debian");
	assert_int_equal(c.role, VM_ROLE_INITRD);
	assert_string_equal(c.of, "debian");
	assert_string_equal(c.name, "");
	c = good("disk=debian -- root.img");
	assert_int_equal(c.role, VM_ROLE_DISK);
	assert_string_equal(c.of, "debian");
	assert_string_equal(c.name, "");
	assert_string_equal(c.cmdline, "root.img");
	assert_string_equal(good("").name, "vm3");
	assert_string_equal(good("  ").name, "vm3");
	assert_string_equal(good("mem=8M").name, "vm3");
	assert_string_equal(good("-- a=b").name, "vm3");
	assert_string_equal(good("-- a=b").cmdline, "a=b");
	assert_string_equal(good("vm=a --").cmdline, "");
	assert_string_equal(good("vm=a --  two").cmdline, " two");
	assert_string_equal(good("vm=abcdefghijklmnopqrstuvwxyz01234").name,
			    "abcdefghijklmnopqrstuvwxyz01234");
}

static const struct {
	const char *line, *why;
} refused[] = {
	{"vm=a memory=5M", "memory: no such key"},
	{"vm=a me=5M", "me: no such key"},
	{"quiet", "quiet: no such key"},
	{"=5", ": no such key"},
	{"vm=a mem", "mem: give it a value, as mem=..."},
	{"vm", "vm: give it a value"},
	{"vm=a mem=8M mem=8M", "mem=8M: mem was given before"},
	{"vm=a vm=b", "vm=b: vm was given before"},
	{"vm=", "vm=: give a name of 1 to 31"},
	{"vm=abcdefghijklmnopqrstuvwxyz012345", "give a name of 1 to 31"},
	{"vm=a,b", "vm=a,b: give a name of letters"},
	{"vm=a|b", "vm=a|b: give a name of letters"},
	{"vm=\"a\"", "give a name of letters"},
	{"vm=a=b", "vm=a=b: give a name of letters"},
	{"initrd=a/b", "initrd=a/b: give a name of letters"},
	{"image=", "image=: give a name of 1 to 31"},
	{"mem=", "mem=: give a size"},
	{"mem=64MB", "mem=64MB: give a size"},
	{"mem=-1", "mem=-1: give a size"},
	{"mem=99999999999999999999", "give a size"},
	{"mem=0", "mem=0: give more than nothing"},
	{"mem=0G", "mem=0G: give more than nothing"},
	{"mem=5000", "mem=5000: give a multiple of 4K"},
	{"mem=3G", "mem=3145728K: this machine allows a guest 2097152K at most"},
	{"cpus=0", "cpus=0: give 1 to 8"},
	{"cpus=9", "cpus=9: give 1 to 8"},
	{"cpus=two", "cpus=two: give 1 to 8"},
	{"mmu=ept", "mmu=ept: give one of auto,tdp,shadow"},
	{"mmu=", "mmu=: give one of auto,tdp,shadow"},
	{"mmu=auto,tdp", "give one of auto,tdp,shadow"},
	{"mmu=shado", "give one of auto,tdp,shadow"},
	{"limit=0", "limit=0: give more than nothing"},
	{"limit=1K", "limit=1K: give a multiple of 4K"},
	{"limit=all", "limit=all: give a size"},
	{"pin=new", "pin=new: give one of off,old,notified"},
	{"reset=unset", "reset=unset: give one of ok,stop,restart"},
	{"apic=yes", "apic=yes: give one of off,on"},
	{"testdev=1", "testdev=1: give one of off,on"},
	{"msr=off", "msr=off: give one of fault,ignore"},
	{"initrd=a vm=b", "initrd= takes no other key"},
	{"mem=8M initrd=a", "initrd= takes no other key"},
	{"disk=a vm=b", "disk= takes no other key"},
	{"mem=8M disk=a", "disk= takes no other key"},
	{"initrd=a disk=a", "disk= takes no other key"},
	{"disk=a part=0a9d5c3e-7e51-4b6f-9a37-4e6561705357", "disk= takes no other key"},
	{"disk=a/b", "disk=a/b: give a name of letters"},
	{"disk=", "disk=: give a name of 1 to 31"},
	{"part=", "part=: give a partition's own GUID"},
	{"part=:rw", "part=:rw: give a partition's own GUID"},
	{"part=rw", "part=rw: give a partition's own GUID"},
	{"part=vda1", "part=vda1: give a partition's own GUID"},
	{"part=0a9d5c3e-7e51-4b6f-9a37-4e6561705357:ro", ":ro: give a partition's own GUID"},
	{"part=0a9d5c3e-7e51-4b6f-9a37-4e6561705357rw", "give a partition's own GUID"},
	{"part=0a9d5c3e-7e51-4b6f-9a37-4e656170535:rw", "give a partition's own GUID"},
	{"part=0a9d5c3e-7e51-4b6f-9a37-4e6561705357:rw:rw", "give a partition's own GUID"},
};

static void wrong_words_are_named(void **state)
{
	struct vm_config config;
	char why[200];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		if (parse(refused[i].line, &config, why) != -EINVAL ||
		    !strstr(why, refused[i].why))
			fail_msg("%s: %s", refused[i].line, why);
		assert_int_equal(config.role, VM_ROLE_UNKNOWN);
		assert_null(strchr(why, '\n'));
	}
}

/* A small machine refuses the default too: nobody gets less than the line says. */
static void maximum_holds_for_the_default(void **state)
{
	struct vm_config config;
	char why[200];

	(void)state;
	assert_int_equal(vm_config_parse("vm=a", 0, MIB(64), &config, why, sizeof(why)), 0);
	assert_int_equal(vm_config_parse("vm=a", 0, MIB(64) - 1, &config, why, sizeof(why)),
			 -EINVAL);
	assert_int_equal(vm_config_parse("", 0, MIB(64) - 1, &config, why, sizeof(why)), -EINVAL);
	assert_int_equal(vm_config_parse("vm=a mem=8M", 0, MIB(8), &config, why, sizeof(why)), 0);
}

/* The name read before the fault tells the operator whose line it was. */
static void name_is_known_after_a_refusal(void **state)
{
	struct vm_config config;
	char why[8];

	(void)state;
	assert_int_equal(vm_config_parse("vm=web cpus=99", 0, GIB(1), &config, why, sizeof(why)),
			 -EINVAL);
	assert_string_equal(config.name, "web");
	assert_string_equal(why, "cpus=99"); /* cut, and ended */
}

static void random_lines_are_read_or_refused(void **state)
{
	static const char alphabet[] = "vminrdtagecpulofsk:=--  0123456789KMG,\"\xff";
	struct rng rng = rng_seeded(7);
	struct vm_config config;
	unsigned int round;

	(void)state;
	for (round = 0; round < 100000; round++) {
		size_t nr = rng_below(&rng, 60), i;
		char *line = malloc(nr + 1);
		char why[200];

		for (i = 0; i < nr; i++)
			line[i] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
		line[nr] = '\0';
		if (vm_config_parse(line, round, GIB(1), &config, why, sizeof(why)) == 0) {
			assert_in_range(config.mem_bytes, PAGE_SIZE, GIB(1));
			assert_in_range(config.cmdline - line, 0, nr);
		}
		free(line);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_key),
		cmocka_unit_test(every_word),
		cmocka_unit_test(roles_and_names),
		cmocka_unit_test(wrong_words_are_named),
		cmocka_unit_test(maximum_holds_for_the_default),
		cmocka_unit_test(name_is_known_after_a_refusal),
		cmocka_unit_test(random_lines_are_read_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
