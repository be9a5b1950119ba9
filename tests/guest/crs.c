/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the hypervisor survive any value in CR0, CR3, CR4 and EFER?
 *
 * kind=survivable  values that the guest survives, refused or not (default); exit 0
 * kind=wild        any value at all, until it dies or count=N are done
 * seed=N count=N   which, and how many (4000)
 * verbose          name each before it is tried */
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

struct setting {
	unsigned int which; /* 0, 3, 4, or 5 for EFER */
	u64 value;
};

static u64 cr_read(unsigned int which)
{
	switch (which) {
	case 0:
		return read_cr0();
	case 3:
		return read_cr3();
	case 4:
		return read_cr4();
	}
	return rdmsr(MSR_EFER);
}

static void cr_write(void *arg)
{
	const struct setting *s = arg;

	switch (s->which) {
	case 0:
		write_cr0(s->value);
		break;
	case 3:
		write_cr3(s->value);
		break;
	case 4:
		write_cr4(s->value);
		break;
	default:
		wrmsr(MSR_EFER, s->value);
	}
}

/* cr4_free - the bits of CR4 that may be anything here: VME to OSXMMEXCPT but PAE, and those of the
 * others that this processor has (QEMU's TCG, where a reserved one should be #GP, hangs). */
static u64 cr4_free(void)
{
	u64 bits = 0x7df;

	if (cpuid(1, 0).ecx >> 26 & 1)
		bits |= CR4_OSXSAVE;
	if (cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ecx >> 2 & 1))
		bits |= CR4_UMIP;
	return bits;
}

/* survivable - what leaves paging, long mode and our one address space as they are. */
static struct setting survivable(u64 *state)
{
	static const unsigned int registers[] = {0, 3, 4, 5};
	struct setting s = {registers[random_next(state) & 3], random_next(state)};
	u64 now = cr_read(s.which);

	switch (s.which) {
	case 0: /* PE and PG stay; NW without CD is #GP, but QEMU's TCG takes it and then refuses
		   VMRUN */
		s.value = (s.value & 0x7ffffffe) | CR0_PE | CR0_PG;
		if (s.value & CR0_NW)
			s.value |= CR0_CD;
		break;
	case 3: /* PWT, PCD and the ignored bits below 12 */
		s.value = now | (s.value & 0xff8 & ~7ull);
		break;
	case 4:
		s.value = (s.value & cr4_free()) | CR4_PAE;
		break;
	default: /* SCE and NXE; LMA as it is */
		s.value = (now & ~(u64)(EFER_SCE | EFER_NXE)) | (s.value & (EFER_SCE | EFER_NXE));
	}
	return s;
}

static struct setting wild(u64 *state)
{
	static const unsigned int registers[] = {0, 3, 4, 5};
	struct setting s = {registers[random_next(state) & 3], 0};
	u64 r = random_next(state), now = cr_read(s.which);

	/* One bit changed is more telling than noise, which is refused at once. */
	switch (r >> 62) {
	case 0:
		s.value = random_next(state);
		break;
	case 1:
		s.value = now ^ 1ull << (r & 63);
		break;
	case 2:
		s.value = now ^ 1ull << (r & 31) ^ 1ull << (r >> 5 & 31);
		break;
	default:
		s.value = s.which == 3 ? r & PTE_ADDRESS & 0xffffffffff : r & 0xffffffff;
	}
	return s;
}

static volatile u64 witness;

int guest_main(void)
{
	bool is_wild = guest_arg_is("kind", "wild"), verbose = guest_arg("verbose");
	u64 state = guest_arg_number("seed", 1), count = guest_arg_number("count", 4000);
	unsigned int refused = 0, wrong = 0;

	if (guest_arg("kind") && !is_wild && !guest_arg_is("kind", "survivable")) {
		print("%s: kind= is survivable or wild\n", guest_name);
		return EXIT_USAGE;
	}
	print("%s: seed %lu\n", guest_name, state);
	for (u64 i = 0; i < count; i++) {
		struct setting s = is_wild ? wild(&state) : survivable(&state);
		struct setting old = {s.which, cr_read(s.which)};
		struct trap t;

		if (verbose)
			print("%s: %lu: %s%u <- %#lx\n", guest_name, i,
			      s.which == 5 ? "efer " : "cr", s.which, s.value);
		t = try_call(cr_write, &s);
		refused += t.vector != TRAP_NONE;
		wrong += t.vector != TRAP_NONE && t.vector != VEC_GP;
		witness = i;
		cpuid(0, 0);
		wrong += witness != i;
		/* Two at a time may contradict each other: this one must be undone first. */
		try_call(cr_write, &old);
		wrong += !is_wild && cr_read(s.which) != old.value;
	}
	report(!wrong, "%lu control register writes, %u refused", count, refused);
	return report_summary();
}
