/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/pic.c kernel/vmm/devices/irq.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The pair of 8259As. After each step the output is what the registers say by the data sheet's words, and
 * the acknowledge cycle gives that vector. */
#include "vm.h"

#include "vmm/devices/board.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/pic.h"

static const struct fuzz_range ports[] = {
	{.start = 0x20, .bytes = 2}, {.start = 0xa0, .bytes = 2}, {.start = 0x4d0, .bytes = 2},
};

static struct pic pic;
static struct ioapic ioapic;

struct ioapic *board_ioapic(unused struct vm *vm)
{
	return &ioapic;
}

void ioapic_set(unused struct ioapic *a, u32 pin, unused bool level)
{
	CHECK(pin < IOAPIC_INPUTS, "pin %u", pin);
}

struct pic *board_pic(unused struct vm *vm)
{
	return &pic;
}

/* The input for which @c asks, or -1: inputs in order of priority, until one that is in service. */
static int asks_for(const struct pic_chip *c)
{
	for (int i = 1; i <= 8 && !c->init; i++) {
		int input = (c->lowest + i) & 7;
		bool masked = c->imr >> input & 1, serving = c->isr >> input & 1;
		bool asked = (c->irr | (c->lines & c->elcr)) >> input & 1;

		if (c->special_mask && masked)
			continue;
		if (asked && !masked && (!serving || (c->special_fully_nested && input == 2)))
			return input;
		if (serving)
			return -1;
	}
	return -1;
}

static void check(void)
{
	int master = asks_for(&pic.chip[0]), slave = asks_for(&pic.chip[1]);

	CHECK(pic_pending(&pic) == (master >= 0), "the output is %u, the input %d", pic.output, master);
	CHECK((pic.chip[0].lines >> 2 & 1) == (slave >= 0), "the cascade is %x, the input %d",
	      pic.chip[0].lines, slave);
}

static void acknowledge(void)
{
	int master = asks_for(&pic.chip[0]), slave = asks_for(&pic.chip[1]);
	const struct pic_chip *c = &pic.chip[master == 2];
	int input = master == 2 ? slave : master;
	u8 base = c->base, vector = pic_ack(&pic);

	CHECK(vector == base + (input < 0 ? 7 : input), "vector %#x, the inputs %d and %d", vector, master,
	      slave);
	CHECK(input < 0 || c->auto_eoi || c->isr >> input & 1, "%d is not in service", input);
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(0);
	pic_attach(&pic, host_vm);
	while (input_left(in)) {
		u8 line;

		switch (take_below(in, 4)) {
		case 0:
			line = take(in, 1);
			if ((line & 15) != IRQ_CASCADE)
				irq_set(host_vm, line & 15, line & 16);
			break;
		case 1: acknowledge(); break;
		default: fuzz_access(in, ports, ARRAY_SIZE(ports), NULL);
		}
		fuzz_step_ended();
		check();
	}
	fuzz_vm_end();
}
