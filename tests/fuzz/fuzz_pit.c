/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/pit.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The 8254 and port 61. */
#include "vm.h"

#include "cpu/clock.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/pit.h"

static const struct fuzz_range ports[] = {{.start = 0x40, .bytes = 4}, {.start = 0x61, .bytes = 1}};

static struct pit pit;
static u32 nr_rises;
static bool line;

void irq_set(struct vm *vm, u32 irq, bool level)
{
	CHECK(vm == host_vm && irq == IRQ_TIMER, "line %u", irq);
	nr_rises += level && !line;
	line = level;
}

static void check(void)
{
	const struct pit_channel *c = pit.channel;

	CHECK(!pit.missed || (pit.pending && (c->mode == 2 || c->mode == 3)), "%u missed in mode %u",
	      pit.missed, c->mode); /* I1 */
	CHECK((u64)pit.missed * c->loaded <= 2 * PIT_HZ, "%u missed", pit.missed);
	for (u32 i = 0; i < ARRAY_SIZE(pit.channel); i++, c++) {
		CHECK(c->mode < 6 && c->count <= 0x10000 && c->loaded <= 0x10000 && c->nr_latched <= 2,
		      "channel %u: mode %u, count %u, loaded %u, latched %u", i, c->mode, c->count,
		      c->loaded, c->nr_latched);
		CHECK(!c->bcd || c->count <= 16665, "channel %u: BCD %u", i, c->count); /* digits to 15 */
	}
}

/* Interrupts come no faster than the chip's clock. */
static void let_go_on(struct input *in)
{
	u64 before = clock_ns();

	nr_rises = 0;
	fuzz_time(in);
	CHECK(nr_rises <= clock_ticks(clock_ns() - before, PIT_HZ) + 2, "%u interrupts in %lu ns", nr_rises,
	      clock_ns() - before);
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(20);
	line = false;
	pit_attach(&pit, host_vm);
	while (input_left(in)) {
		switch (take_below(in, 8)) {
		case 0:
		case 1: let_go_on(in); break;
		case 2: pit_irq_taken(&pit); break;
		default: fuzz_access(in, ports, ARRAY_SIZE(ports), NULL);
		}
		fuzz_step_ended();
		check();
	}
	pit_stop(&pit);
	fuzz_vm_end();
}
