/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM of the tests' own (vm_test.h), and what the audits said about it. */
#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/format.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/mm_internal.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/vm_test.h"
#include "vmm/mmu.h"

/* ---- the VM ---------------------------------------------------------------------------------- */

struct vm *test_vm_create_smp(const char *name, u64 mem_bytes, u32 nr_vcpus)
{
	static bool ready;
	struct vm_config config = {
		.role = VM_ROLE_KERNEL,
		.mem_bytes = mem_bytes,
		.cpus = nr_vcpus,
		.apic = true,
		.cmdline = "",
	};
	char why[200];
	struct vm *vm;

	if (!hvm) {
		report_skip(name, hvm_why_not);
		return NULL;
	}
	if (!ready)
		vmm_init(true);
	ready = true;
	(void)str_copy(config.name, name, sizeof(config.name));
	int err = vm_create(&config, &vm, why, sizeof(why));
	CHECK(err == 0, "no VM for the test: %s", why);
	thread_use_space(vm->mm, &vm->mm->space);
	return vm;
}

void test_vm_destroy(struct vm *vm)
{
	thread_use_space(NULL, NULL);
	if (vm->state == VM_CREATED)
		vm_discard(vm);
	else
		vm_end(vm, VM_KILLED, 1, "test");
	vm_wait_all_ended(0);
}

void test_vcpu_flat32(struct vcpu *v, u64 rip)
{
	const struct segment code = {0x08, 0xc9b, ~0u, 0}, data = {0x10, 0xc93, ~0u, 0};
	struct vcpu_sregs s;

	hvm->get_sregs(v, &s);
	s.cr0 = CR0_PE | CR0_ET;
	hvm->set_sregs(v, &s);
	for (int seg = SEG_ES; seg <= SEG_GS; seg++)
		hvm->set_segment(v, seg, seg == SEG_CS ? &code : &data);
	v->rip = rip;
	atomic_store(&v->activity, VCPU_RUNNING);
}

u64 test_hva(const struct vm *vm, u64 at)
{
	const struct memslot *slot = memslot_find(&vm->slots, gpa_to_gfn(gpa(at)));

	CHECK(slot, "no memory at %#lx", at);
	return memslot_hva(slot, gpa_to_gfn(gpa(at))) + page_offset(at);
}

u64 *test_pte(const struct vm *vm, u64 at)
{
	return mm_entry(vm->mm, test_hva(vm, at));
}

u64 *test_spte(const struct vm *vm, u64 at)
{
	return pt_lookup_leaf(&vm->pt, at);
}

struct page *test_page(const struct vm *vm, u64 at)
{
	pte_t pte = pte_read(test_pte(vm, at));

	CHECK(pte_present(pte), "nothing is mapped at %#lx", at);
	return pfn_to_page(pte_pfn(pte));
}

/* ---- what the audits say --------------------------------------------------------------------- */

static char text[4096], names[512];
static size_t text_len;

/* name_note - the word between "audit: " and the next colon, if it is new. */
static void name_note(const char *line)
{
	const char *from = line + strlen("audit: ");
	const char *colon = str_starts(line, "audit: ") ? strchr(from, ':') : NULL;
	size_t len = strlen(names);
	char name[40] = "?";

	if (colon)
		(void)text_format(name, sizeof(name), "%.*s", (int)(colon - from), from);
	for (const char *at = names; *at; at++) {
		char behind = str_starts(at, name) ? at[strlen(name)] : '?';
		if ((at == names || at[-1] == ' ') && (behind == ' ' || !behind))
			return;
	}
	(void)text_format(names + len, sizeof(names) - len, "%s%s", len ? " " : "", name);
}

static void note(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(line, sizeof(line), fmt, ap);
	va_end(ap);
	name_note(line);
	int len = text_format(text + text_len, sizeof(text) - text_len, "%s", line);
	text_len = MIN(text_len + len, sizeof(text) - 1);
}

const char *test_audits(struct vm *vm)
{
	text_len = 0;
	text[0] = names[0] = 0;
	int wrong = mmu_audit(vm, note) + mm_audit_quiet(note) + frame_audit(note);
	CHECK(!wrong == !names[0], "the audits count %d differences and name \"%s\"", wrong,
	      names);
	return names;
}

void test_audits_show(void)
{
	printk("%s", text);
}
