/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/pic.c kernel/vmm/devices/irq.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* The pair of 8259As: as guests set it up and use it, each rule by itself, and long random courses
 * beside a model that is written from the data sheet's words. */
#include "vmm_host.h"

#include "vmm/devices/board.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/irq.h"
#include "vmm/devices/pic.h"

enum { MASTER = 0x20, SLAVE = 0xa0, ELCR = 0x4d0 };
enum { EOI = 0x20, SPECIFIC = 0x60, ROTATE = 0xa0, ROTATE_SPECIFIC = 0xe0, SET_PRIORITY = 0xc0,
       NOTHING = 0x40, ROTATE_AEOI = 0x80, ROTATE_AEOI_OFF = 0x00 };
enum { READ_IRR = 0x0a, READ_ISR = 0x0b, POLL = 0x0c, SPECIAL_MASK = 0x68, SPECIAL_MASK_OFF = 0x48 };
enum { BASE = 0x30, SPURIOUS = BASE + 7, SLAVE_SPURIOUS = BASE + 15 };

static struct pic pic;

struct ioapic *board_ioapic(unused struct vm *vm)
{
	return NULL;
}

void ioapic_set(unused struct ioapic *a, unused u32 pin, unused bool level)
{
}

struct pic *board_pic(unused struct vm *vm)
{
	return &pic;
}

static void out(u16 port, u8 value)
{
	io_port_write(host_vcpu(0), port, 1, value);
}

static u8 in(u16 port)
{
	return io_port_read(host_vcpu(0), port, 1);
}

static u8 irr(u16 chip)
{
	out(chip, READ_IRR);
	return in(chip);
}

static u8 isr(u16 chip)
{
	out(chip, READ_ISR);
	return in(chip);
}

static void high(u32 line)
{
	irq_set(host_vm, line, true);
}

static void low(u32 line)
{
	irq_set(host_vm, line, false);
}

static void pulse(u32 line)
{
	low(line);
	high(line);
}

/* The vector that the processor takes; 0 if INT is not asserted. */
static u8 take(void)
{
	return pic_pending(&pic) ? pic_ack(&pic) : 0;
}

static void expect(u32 line)
{
	assert_int_equal(take(), BASE + line);
}

static void expect_none(void)
{
	assert_false(pic_pending(&pic));
}

static void end(u32 line)
{
	if (line >= 8)
		out(SLAVE, EOI);
	out(MASTER, EOI);
}

static void initialize(u16 chip, u8 icw2, u8 icw4)
{
	out(chip, 0x11);
	out(chip + 1, icw2);
	out(chip + 1, chip == MASTER ? 4 : 2);
	out(chip + 1, icw4);
}

static int setup(void **state)
{
	vmm_host_setup(state);
	pic_attach(&pic, host_vm);
	return 0;
}

static int setup_ready(void **state)
{
	setup(state);
	initialize(MASTER, BASE, 1);
	initialize(SLAVE, BASE + 8, 1);
	out(ELCR + 1, 0); /* most tests are of edges */
	return 0;
}

/* ---- initialisation -------------------------------------------------------------------------- */

static void after_reset(unused void **state)
{
	assert_int_equal(in(MASTER + 1), 0xfb);
	assert_int_equal(in(SLAVE + 1), 0xff);
	assert_int_equal(in(ELCR) | in(ELCR + 1) << 8, 0x0c00); /* PCI's lines */
	assert_int_equal(irr(MASTER) | irr(SLAVE) | isr(MASTER) | isr(SLAVE), 0);
	for (u32 line = 0; line < 16; line++)
		if (line != IRQ_CASCADE)
			high(line);
	expect_none();
	assert_int_equal(host_record.nr_requests, 0);
	out(MASTER + 1, 0xef);
	assert_int_equal(take(), 8 + 4);
	out(MASTER, EOI);
	out(MASTER + 1, 0xfb);
	out(SLAVE + 1, 0xfe);
	assert_int_equal(take(), 0x70);
}

static void linux_setup(unused void **state)
{
	/* probe_8259A */
	out(SLAVE + 1, 0xff);
	out(MASTER + 1, 0xfb);
	assert_int_equal(in(MASTER + 1), 0xfb);
	/* init_8259A(0) */
	out(MASTER + 1, 0xff);
	out(MASTER, 0x11);
	out(MASTER + 1, 0x30);
	out(MASTER + 1, 0x04);
	out(MASTER + 1, 0x01);
	out(SLAVE, 0x11);
	out(SLAVE + 1, 0x38);
	out(SLAVE + 1, 0x02);
	out(SLAVE + 1, 0x01);
	assert_int_equal(in(MASTER + 1) | in(SLAVE + 1), 0);
	out(MASTER + 1, 0xfb);
	out(SLAVE + 1, 0xff);
	assert_int_equal(in(MASTER + 1), 0xfb);
	assert_int_equal(in(SLAVE + 1), 0xff);

	/* A timer tick: mask_and_ack_8259A, then unmask. */
	out(MASTER + 1, 0xfa);
	high(IRQ_TIMER);
	assert_int_equal(take(), 0x30);
	in(MASTER + 1);
	out(MASTER + 1, 0xfb);
	out(MASTER, 0x60);
	low(IRQ_TIMER);
	out(MASTER + 1, 0xfa);
	expect_none();
	/* The clock, behind the slave. */
	out(SLAVE + 1, 0xfe);
	high(IRQ_RTC);
	assert_int_equal(take(), 0x38);
	in(SLAVE + 1);
	out(SLAVE + 1, 0xff);
	out(SLAVE, 0x60);
	out(MASTER, 0x62);
	assert_int_equal(isr(MASTER) | isr(SLAVE), 0);
	/* i8259A_irq_pending of nothing; spurious_8259A_irq's question: is it really in service? */
	out(MASTER, 0x0b);
	assert_int_equal(in(MASTER) & 0x80, 0);
	out(MASTER, 0x0a);
	/* init_8259A(1) */
	initialize(MASTER, 0x30, 3);
	initialize(SLAVE, 0x38, 1);
	pulse(IRQ_TIMER);
	assert_int_equal(take(), 0x30);
	assert_int_equal(isr(MASTER), 0);
}

static void bios_setup(unused void **state)
{
	out(MASTER, 0x11);
	out(SLAVE, 0x11); /* both at once */
	out(MASTER + 1, 0x08);
	out(SLAVE + 1, 0x70);
	out(MASTER + 1, 0x04);
	out(SLAVE + 1, 0x02);
	out(MASTER + 1, 0x01);
	out(SLAVE + 1, 0x01);
	out(MASTER + 1, 0xb8);
	out(SLAVE + 1, 0x8f);
	high(IRQ_TIMER);
	high(14);
	assert_int_equal(take(), 0x08);
	out(MASTER, EOI);
	assert_int_equal(take(), 0x76);
}

static void icw1_resets(unused void **state)
{
	out(ELCR, 0xff);
	out(MASTER + 1, 0x55);
	out(MASTER, SPECIAL_MASK);
	out(MASTER, READ_ISR);
	out(MASTER, SET_PRIORITY | 3);
	for (u32 line = 3; line <= 6; line++)
		high(line);
	high(1);
	expect(5); /* 4 and 6 are masked, 3 is the lowest */
	out(MASTER, 0x11);
	expect_none();
	out(MASTER + 1, BASE);
	high(7);
	out(MASTER + 1, 4);
	expect_none(); /* not ready yet */
	out(MASTER + 1, 1);
	assert_int_equal(in(MASTER + 1), 0);
	assert_int_equal(in(MASTER), 0xf8); /* IRR: levels stay, the edge on 1 is forgotten */
	assert_int_equal(isr(MASTER), 0);
	expect(3); /* the order is 0 to 7 again */
	out(MASTER + 1, 8);
	expect_none(); /* and what is masked holds others back again */
}

static void icw_lengths(unused void **state)
{
	static const struct {
		u8 icw1, nr;
	} forms[] = {{0x10, 2}, {0x11, 3}, {0x12, 1}, {0x13, 2}};

	for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
		out(MASTER + 1, 0x5a);
		out(MASTER, forms[i].icw1);
		for (u32 j = 0; j < forms[i].nr; j++) {
			out(MASTER + 1, j ? 0 : 0x47); /* the lowest bits of a vector are the input's */
			assert_int_equal(in(MASTER + 1), 0);
		}
		out(MASTER + 1, 0xef);
		assert_int_equal(in(MASTER + 1), 0xef);
		pulse(4);
		assert_int_equal(take(), 0x44);
	}
	/* Without ICW4 its modes are off. */
	initialize(MASTER, BASE, 0x13);
	out(MASTER, 0x10);
	out(MASTER + 1, BASE);
	out(MASTER + 1, 4);
	pulse(4);
	expect(4);
	assert_int_equal(isr(MASTER), 0x10);
}

static void edges_before_icw1(unused void **state)
{
	high(4);
	high(12);
	initialize(MASTER, BASE, 1);
	initialize(SLAVE, BASE + 8, 1);
	expect_none();
	assert_int_equal(irr(MASTER) | irr(SLAVE), 0);
	high(4); /* it is high already: no edge */
	expect_none();
	pulse(4);
	expect(4);
}

/* ---- masks and lines ------------------------------------------------------------------------- */

static void masks(unused void **state)
{
	for (u32 value = 0; value < 0x100; value++) {
		out(MASTER + 1, value);
		out(SLAVE + 1, (u8)~value);
		assert_int_equal(in(MASTER + 1), value);
		assert_int_equal(in(SLAVE + 1), (u8)~value);
	}
	for (u32 line = 0; line < 8; line++) {
		if (line == IRQ_CASCADE)
			continue;
		out(MASTER + 1, 1u << line);
		high(line);
		expect_none();
		assert_int_equal(irr(MASTER), 1u << line); /* requested all the same */
		out(MASTER + 1, 0);
		expect(line);
		end(line);
		low(line);
	}
	out(MASTER + 1, 4);
	high(12);
	expect_none();
	assert_int_equal(irr(SLAVE), 0x10);
	assert_int_equal(irr(MASTER), 4);
	out(MASTER + 1, 0);
	expect(12);
}

static void edge_is_one_request(unused void **state)
{
	high(4);
	assert_int_equal(irr(MASTER), 0x10);
	expect(4);
	assert_int_equal(irr(MASTER), 0);
	assert_int_equal(isr(MASTER), 0x10);
	high(4);
	end(4);
	expect_none();
	low(4);
	expect_none();
	high(4);
	expect(4);
	pulse(4); /* while it is in service: waits for its end */
	expect_none();
	end(4);
	expect(4);
}

static void edge_lost(unused void **state)
{
	high(4);
	assert_true(pic_pending(&pic));
	low(4);
	expect_none();
	assert_int_equal(irr(MASTER), 0);
	/* The processor had begun its cycle. */
	assert_int_equal(pic_ack(&pic), SPURIOUS);
	assert_int_equal(isr(MASTER), 0);
	expect_none();
	/* A true 7 is in service: so software tells them apart. */
	high(7);
	assert_int_equal(take(), SPURIOUS);
	assert_int_equal(isr(MASTER), 0x80);
}

static void spurious_of_the_slave(unused void **state)
{
	high(11);
	low(11);
	assert_int_equal(irr(SLAVE), 0);
	assert_int_equal(take(), SLAVE_SPURIOUS);
	assert_int_equal(isr(SLAVE), 0);
	assert_int_equal(isr(MASTER), 4);
	high(4);
	expect_none();
	out(MASTER, EOI); /* as drivers do: to the master alone */
	expect(4);
	out(MASTER, EOI);
	high(15);
	assert_int_equal(take(), SLAVE_SPURIOUS);
	assert_int_equal(isr(SLAVE), 0x80);
	end(15);
	/* Masked after it was requested. */
	pulse(11);
	out(SLAVE + 1, 0xff);
	assert_int_equal(take(), SLAVE_SPURIOUS);
	out(MASTER, EOI);
	out(SLAVE + 1, 0);
	expect(11);
}

static void level(unused void **state)
{
	out(ELCR, 0x20);
	out(ELCR + 1, 0x02);
	for (u32 line = 5; line <= 9; line += 4) {
		u16 chip = line < 8 ? MASTER : SLAVE;
		high(line);
		for (int i = 0; i < 3; i++) {
			expect(line);
			assert_int_equal(irr(chip), 1u << line % 8); /* still high */
			expect_none();
			end(line);
		}
		assert_true(pic_pending(&pic));
		expect(line);
		low(line);
		assert_int_equal(irr(chip), 0);
		end(line);
		expect_none();
	}
	high(5);
	low(5);
	expect_none();
}

static void elcr(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	assert_int_equal(io_port_read(v, ELCR, 2), 0);
	out(ELCR, 0xff);
	out(ELCR + 1, 0xff);
	assert_int_equal(in(ELCR), 0xf8);
	assert_int_equal(in(ELCR + 1), 0xde);
	io_port_write(v, ELCR, 2, 0x3519);
	assert_int_equal(io_port_read(v, ELCR, 2), 0x1418);
	high(0); /* an edge always */
	expect(0);
	end(0);
	expect_none();
	/* A line that is high becomes a request when it becomes level-triggered. */
	out(ELCR, 0);
	high(6);
	expect(6);
	end(6);
	expect_none();
	out(ELCR, 0x40);
	expect(6);
	end(6);
	out(ELCR, 0);
	expect_none(); /* its edge was taken long ago */
	/* Initialisation leaves it alone. */
	out(ELCR, 0x40);
	initialize(MASTER, BASE, 1);
	assert_int_equal(in(ELCR), 0x40);
	expect(6);
}

/* ---- priorities ------------------------------------------------------------------------------ */

static const u8 in_order[] = {0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7};

static void order(unused void **state)
{
	for (u32 line = 16; line-- > 0;)
		if (line != IRQ_CASCADE)
			high(line);
	for (u32 i = 0; i < ARRAY_SIZE(in_order); i++) {
		expect(in_order[i]);
		expect_none();
		end(in_order[i]);
	}
	expect_none();
}

static void nesting(unused void **state)
{
	static const u8 rising[] = {7, 6, 5, 4, 3, 14, 1, 0};

	for (u32 i = 0; i < ARRAY_SIZE(rising); i++) {
		high(rising[i]);
		expect(rising[i]);
		if (rising[i] < 7) {
			pulse(7);
			expect_none(); /* lower ones wait */
		}
	}
	assert_int_equal(isr(MASTER), 0xff);
	assert_int_equal(isr(SLAVE), 0x40);
	out(MASTER, EOI);
	pulse(1);
	expect_none(); /* nor does one interrupt itself */
	out(MASTER, EOI);
	expect(1);
}

static void slave_waits_for_its_master(unused void **state)
{
	high(12);
	expect(12);
	high(9);
	expect_none(); /* more urgent at the slave, but input 2 is in service */
	assert_int_equal(irr(MASTER), 4);
	out(MASTER, EOI);
	expect(9);
	assert_int_equal(isr(SLAVE), 0x12);
}

static void special_fully_nested(unused void **state)
{
	initialize(MASTER, BASE, 0x11);
	high(12);
	expect(12);
	high(3);
	expect_none(); /* others nest as always */
	high(14);
	expect_none();
	high(9);
	expect(9);
	assert_int_equal(isr(SLAVE), 0x12);
	/* Its software ends the slave's, and the master's once the slave has no more. */
	out(SLAVE, EOI);
	assert_int_equal(isr(SLAVE), 0x10);
	out(SLAVE, EOI);
	assert_int_equal(isr(SLAVE), 0);
	expect(14);
	out(SLAVE, EOI);
	expect_none();
	out(MASTER, EOI);
	expect(3);
	/* The slave has no slave. */
	initialize(MASTER, BASE, 1);
	initialize(SLAVE, BASE + 8, 0x11);
	pulse(10);
	expect(10);
	out(MASTER, EOI);
	pulse(10);
	expect_none();
}

static void special_mask(unused void **state)
{
	high(1);
	expect(1);
	high(4);
	expect_none();
	out(MASTER + 1, 2);
	expect_none(); /* in service, if masked: holds back */
	out(MASTER, SPECIAL_MASK);
	expect(4);
	pulse(1);
	expect_none(); /* its own level is inhibited */
	high(5);
	expect_none(); /* what is in service and not masked holds back as ever */
	out(MASTER, 0x28); /* without ESMM: no change */
	out(MASTER, EOI);  /* does not end what is masked */
	assert_int_equal(isr(MASTER), 2);
	expect(5);
	out(MASTER, EOI);
	out(MASTER, EOI);
	assert_int_equal(isr(MASTER), 2);
	high(6);
	assert_true(pic_pending(&pic));
	out(MASTER, SPECIAL_MASK_OFF);
	expect_none();
	out(MASTER, SPECIAL_MASK);
	out(MASTER, SPECIFIC | 1);
	assert_int_equal(isr(MASTER), 0);
	expect(6);
}

/* ---- end of interrupt ------------------------------------------------------------------------ */

/* Inputs 6, 3, 1 in service. */
static void three_in_service(void)
{
	initialize(MASTER, BASE, 1);
	for (u32 i = 0; i < 3; i++) {
		pulse((const u8[]){6, 3, 1}[i]);
		assert_int_not_equal(take(), 0);
	}
	assert_int_equal(isr(MASTER), 0x4a);
}

/* The master's priorities from the highest, as eight digits. Nothing may be in service. */
static u32 order_of_master(void)
{
	u32 digits = 0;

	high(8);
	for (u32 line = 0; line < 8; line++)
		if (line != IRQ_CASCADE)
			pulse(line);
	out(MASTER, READ_ISR);
	for (u32 i = 0; i < 8; i++) {
		assert_int_not_equal(take(), 0);
		u8 line = __builtin_ctz(in(MASTER));
		digits = digits << 4 | line;
		out(MASTER, SPECIFIC | line);
	}
	low(8);
	out(SLAVE, SPECIFIC);
	assert_int_equal(isr(MASTER), 0);
	return digits;
}

static void eoi_forms(unused void **state)
{
	static const struct {
		u8 command, left;
		u32 order; /* after the rest has been ended */
	} forms[] = {
		{EOI, 0x48, 0x01234567}, {EOI | 6, 0x48, 0x01234567},
		{SPECIFIC | 3, 0x42, 0x01234567}, {SPECIFIC | 6, 0x0a, 0x01234567},
		{SPECIFIC | 5, 0x4a, 0x01234567}, {ROTATE, 0x48, 0x23456701},
		{ROTATE_SPECIFIC | 3, 0x42, 0x45670123}, {ROTATE_SPECIFIC | 5, 0x4a, 0x67012345},
		{SET_PRIORITY | 0, 0x4a, 0x12345670}, {SET_PRIORITY | 7, 0x4a, 0x01234567},
		{NOTHING | 1, 0x4a, 0x01234567}, {ROTATE_AEOI, 0x4a, 0x01234567},
		{ROTATE_AEOI_OFF, 0x4a, 0x01234567},
	};

	for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
		three_in_service();
		out(MASTER, forms[i].command);
		assert_int_equal(isr(MASTER), forms[i].left);
		for (u32 line = 0; line < 8; line++)
			out(MASTER, SPECIFIC | line);
		assert_int_equal(order_of_master(), forms[i].order);
	}
}

static void rotation(unused void **state)
{
	/* Equal treatment: who was served waits longest. */
	high(3);
	high(5);
	for (int i = 0; i < 4; i++) {
		expect(3);
		pulse(3);
		out(MASTER, ROTATE);
		expect(5);
		pulse(5);
		out(MASTER, ROTATE);
	}
	low(3);
	low(5);
	out(MASTER, SET_PRIORITY | 4);
	assert_int_equal(order_of_master(), 0x56701234);
	/* The highest in service is by that order, too. */
	pulse(0);
	expect(0);
	pulse(6);
	expect(6);
	out(MASTER, EOI);
	assert_int_equal(isr(MASTER), 1);
	out(MASTER, EOI);
	out(MASTER, ROTATE); /* nothing is in service */
	assert_int_equal(order_of_master(), 0x56701234);
}

static void automatic_eoi(unused void **state)
{
	initialize(MASTER, BASE, 3);
	initialize(SLAVE, BASE + 8, 3);
	high(3);
	high(4);
	high(9);
	high(14);
	const u8 want[] = {9, 14, 3, 4};
	for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
		expect(want[i]);
		assert_int_equal(isr(MASTER) | isr(SLAVE), 0);
	}
	expect_none();
	out(ELCR, 0x20);
	high(5);
	expect(5);
	expect(5); /* a level is requested at once */
	low(5);
	expect_none();
}

static void rotation_in_automatic_eoi(unused void **state)
{
	initialize(MASTER, BASE, 3);
	out(MASTER, ROTATE_AEOI);
	high(3);
	high(5);
	for (int i = 0; i < 3; i++) {
		expect(3);
		pulse(3);
		expect(5);
		pulse(5);
	}
	out(MASTER, ROTATE_AEOI_OFF);
	expect(3);
	pulse(3);
	expect(3); /* 5 stays the lowest */
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_register(unused void **state)
{
	high(3);
	expect(3);
	high(4);
	assert_int_equal(in(MASTER), 0x10); /* IRR after initialisation */
	out(MASTER, READ_ISR);
	assert_int_equal(in(MASTER), 0x08);
	assert_int_equal(in(MASTER), 0x08); /* it stays selected */
	out(MASTER, 0x09); /* without RR: no change */
	out(MASTER, 0x08);
	assert_int_equal(in(MASTER), 0x08);
	out(MASTER, READ_IRR);
	assert_int_equal(in(MASTER), 0x10);
}

static void poll(unused void **state)
{
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0);
	assert_int_equal(in(MASTER), 0); /* IRR again */
	high(4);
	high(6);
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0x84);
	assert_int_equal(in(MASTER), 0x40); /* one read alone */
	assert_int_equal(isr(MASTER), 0x10);
	expect_none();
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0); /* 6 is held back */
	out(MASTER, EOI);
	out(MASTER, POLL);
	assert_int_equal(in(MASTER + 1), 0x86); /* at either port */
	out(MASTER, EOI);
	out(MASTER, POLL);
	out(MASTER, READ_ISR); /* taken back */
	high(5);
	assert_int_equal(in(MASTER), 0);
	expect(5);
	out(MASTER, EOI);
	/* The slave by itself: the master is not asked, its request goes. */
	high(12);
	out(SLAVE, POLL);
	assert_int_equal(in(SLAVE), 0x84);
	expect_none();
	assert_int_equal(irr(MASTER), 0);
	out(SLAVE, EOI);
	/* Both, as who has no vectors does. */
	high(13);
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0x82);
	out(SLAVE, POLL);
	assert_int_equal(in(SLAVE), 0x85);
	end(13);
	expect_none();
}

static void wide_accesses(unused void **state)
{
	struct vcpu *v = host_vcpu(0);

	high(4);
	io_port_write(v, MASTER, 2, 0x5a00 | READ_IRR);
	assert_int_equal(io_port_read(v, MASTER, 2), 0x5a10);
	assert_int_equal(io_port_read(v, MASTER, 4), 0xffff5a10); /* over the edge */
	io_port_write(v, MASTER, 4, 0xffffa500 | READ_ISR);
	assert_int_equal(io_port_read(v, MASTER, 2), 0xa500);
	assert_int_equal(io_port_read(v, MASTER - 1, 2), 0x00ff);
	assert_int_equal(io_port_read(v, ELCR + 1, 2), 0xff00);
	expect(4);
}

/* ---- the output ------------------------------------------------------------------------------ */

static void expect_told(u32 times)
{
	assert_int_equal(host_record.nr_requests, times);
	host_record.nr_requests = 0;
}

static void vcpu_is_told(unused void **state)
{
	expect_told(0);
	high(4);
	expect_told(1);
	assert_int_equal(host_record.requested, VCPU_REQ_EVENT);
	assert_int_equal(host_vcpu(0)->requests, VCPU_REQ_EVENT);
	assert_int_equal(host_vcpu(1)->requests, 0);
	high(3); /* it is up already */
	high(9);
	low(9);
	expect_told(0);
	assert_int_equal(take(), SLAVE_SPURIOUS);
	out(MASTER, EOI);
	expect_told(1);
	expect(3);
	expect_told(0);
	out(MASTER, EOI); /* 4 is next */
	expect_told(1);
	out(MASTER + 1, 0xff);
	expect_told(0);
	expect_none();
	out(MASTER + 1, 0);
	expect_told(1);
	high(0);
	expect(0);
	expect_told(0);
	out(MASTER, SPECIAL_MASK);
	out(MASTER + 1, 1); /* unblocks */
	expect_told(1);
	/* Two that need no end: after the first the output rises again. */
	initialize(MASTER, BASE, 3);
	pulse(4);
	pulse(3);
	host_record.nr_requests = 0;
	expect(3);
	expect_told(1);
	expect(4);
	expect_told(0);
}

/* ---- the data sheet's words ------------------------------------------------------------------ */

/* One 8259A, told as slowly as possible: a flag for each input and property, and the order of
 * priorities as a list of inputs. */
struct sheet {
	bool master;
	bool line[8], edge[8], service[8], mask[8], is_level[8];
	u8 rank[8]; /* the inputs, from the highest priority */
	bool wants[5]; /* ICWn is expected */
	u8 vector;
	bool aeoi, rotates, smm, sfnm, shows_isr, polled;
};

static struct sheet sheet[2];
static bool sheet_int;
static u32 sheet_told;

static void sheet_lowest(struct sheet *s, u32 input)
{
	while (s->rank[7] != input) {
		u8 first = s->rank[0];
		memmove(&s->rank[0], &s->rank[1], 7);
		s->rank[7] = first;
	}
}

static bool sheet_asks(const struct sheet *s, u32 input)
{
	return s->edge[input] || (s->is_level[input] && s->line[input]);
}

static bool sheet_holds(const struct sheet *s, u32 input)
{
	return s->service[input] && !(s->smm && s->mask[input]);
}

/* Who gets through the priority resolver; 8: nobody. */
static u32 sheet_next(const struct sheet *s)
{
	if (s->wants[2] || s->wants[3] || s->wants[4])
		return 8;
	for (u32 i = 0; i < 8; i++) {
		u32 input = s->rank[i];
		bool may = sheet_asks(s, input) && !s->mask[input];
		if (sheet_holds(s, input))
			return may && s->master && s->sfnm && input == 2 ? 2 : 8;
		if (may)
			return input;
	}
	return 8;
}

static void sheet_line(struct sheet *s, u32 input, bool is_high)
{
	if (is_high && !s->line[input])
		s->edge[input] = true;
	if (!is_high)
		s->edge[input] = false;
	s->line[input] = is_high;
}

/* The wires between the chips and to the processor. */
static void sheet_settle(void)
{
	if (sheet_next(&sheet[1]) < 8)
		sheet_line(&sheet[0], 2, true);
	else
		sheet[0].line[2] = false; /* the master keeps what it has seen */
	bool was = sheet_int;
	sheet_int = sheet_next(&sheet[0]) < 8;
	if (sheet_int && !was)
		sheet_told++;
}

static u32 sheet_inta(struct sheet *s)
{
	u32 input = sheet_next(s);

	if (s->master)
		sheet_int = false;
	else
		sheet_line(&sheet[0], 2, false);
	if (input == 8)
		return 8;
	s->edge[input] = false;
	s->service[input] = !s->aeoi || s->service[input];
	if (s->aeoi && s->rotates)
		sheet_lowest(s, input);
	return input;
}

static u8 sheet_ack(void)
{
	struct sheet *s = &sheet[0];
	u32 input = sheet_inta(s);

	if (input == 2) {
		s = &sheet[1];
		input = sheet_inta(s);
	}
	u8 vector = s->vector + (input == 8 ? 7 : input);
	sheet_settle();
	return vector;
}

static void sheet_ocw2(struct sheet *s, u8 value)
{
	u32 top = 8; /* the highest in service, as EOI sees it */

	for (u32 i = 8; i-- > 0;)
		if (sheet_holds(s, s->rank[i]))
			top = s->rank[i];
	switch (value >> 5) {
	case 0: s->rotates = false; break;
	case 4: s->rotates = true; break;
	case 1:
	case 5:
		if (top < 8) {
			s->service[top] = false;
			if (value >> 5 == 5)
				sheet_lowest(s, top);
		}
		break;
	case 2: break;
	case 3: s->service[value & 7] = false; break;
	case 7:
		s->service[value & 7] = false;
		sheet_lowest(s, value & 7);
		break;
	case 6: sheet_lowest(s, value & 7); break;
	}
}

static void sheet_command(struct sheet *s, u8 value)
{
	if (value & 0x10) {
		for (u32 i = 0; i < 8; i++)
			s->edge[i] = s->service[i] = s->mask[i] = false;
		sheet_lowest(s, 7);
		s->wants[2] = true;
		s->wants[3] = !(value & 2);
		s->wants[4] = value & 1;
		s->aeoi = s->rotates = s->smm = s->sfnm = s->shows_isr = s->polled = false;
	} else if (value & 8) {
		s->polled = value & 4;
		if ((value & 3) == 2)
			s->shows_isr = false;
		if ((value & 3) == 3)
			s->shows_isr = true;
		if ((value & 0x60) == 0x40)
			s->smm = false;
		if ((value & 0x60) == 0x60)
			s->smm = true;
	} else {
		sheet_ocw2(s, value);
	}
}

static void sheet_write(struct sheet *s, u32 port, u8 value)
{
	if (port == 0) {
		sheet_command(s, value);
	} else if (s->wants[2]) {
		s->wants[2] = false;
		s->vector = value / 8 * 8;
	} else if (s->wants[3]) {
		s->wants[3] = false;
	} else if (s->wants[4]) {
		s->wants[4] = false;
		s->aeoi = value & 2;
		s->sfnm = value & 0x10;
	} else {
		for (u32 i = 0; i < 8; i++)
			s->mask[i] = value >> i & 1;
	}
	sheet_settle();
}

static u8 sheet_read(struct sheet *s, u32 port)
{
	u8 value = 0;

	if (s->polled) {
		s->polled = false;
		u32 input = sheet_inta(s);
		sheet_settle();
		return input == 8 ? 0 : 0x80 + input;
	}
	for (u32 i = 0; i < 8; i++)
		if (port ? s->mask[i] : s->shows_isr ? s->service[i] : sheet_asks(s, i))
			value |= 1u << i;
	return value;
}

static void sheet_elcr(u32 chip, u8 value)
{
	for (u32 i = 0; i < 8; i++)
		sheet[chip].is_level[i] = value >> i & 1 && (chip ? i != 0 && i != 5 : i > 2);
	sheet_settle();
}

static void sheet_reset(void)
{
	memset(sheet, 0, sizeof(sheet));
	sheet_int = false;
	sheet_told = 0;
	sheet[0].master = true;
	for (u32 chip = 0; chip < 2; chip++)
		for (u32 i = 0; i < 8; i++) {
			sheet[chip].rank[i] = i;
			sheet[chip].mask[i] = chip == 1 || i != 2;
		}
	sheet[1].is_level[2] = sheet[1].is_level[3] = true;
	sheet[0].vector = 0x08;
	sheet[1].vector = 0x70;
}

/* A command of the kinds that guests use, or any. ICW1 is rare: it makes all forget. */
static u8 some_command(struct rng *chance)
{
	u8 any = rng_next(chance);

	switch (rng_below(chance, 16)) {
	case 0: return rng_percent(chance, 10) ? any | 0x10 : EOI;
	case 1: return 0x08 | (any & 0x67);
	case 2: return POLL;
	case 3: return any & 0xe7;
	case 4: return READ_IRR;
	case 5: return READ_ISR;
	case 6: return ROTATE;
	case 7:
	case 8: return SPECIFIC | (any & 7);
	default: return EOI;
	}
}

static void write_both(u32 chip, u32 port, unsigned int bytes, u16 value)
{
	io_port_write(host_vcpu(0), (chip ? SLAVE : MASTER) + port, bytes, value);
	for (unsigned int i = 0; i < bytes; i++)
		sheet_write(&sheet[chip], port + i, value >> (8 * i));
}

static void read_both(u32 chip, u32 port, unsigned int bytes)
{
	u16 want = 0;

	for (unsigned int i = 0; i < bytes; i++)
		want |= sheet_read(&sheet[chip], port + i) << (8 * i);
	assert_int_equal(io_port_read(host_vcpu(0), (chip ? SLAVE : MASTER) + port, bytes), want);
}

static void random_step(struct rng *chance)
{
	u32 chip = rng_below(chance, 2), line = rng_below(chance, 16), what = rng_below(chance, 100);
	u8 value = rng_next(chance);

	if (what < 35) {
		if (line == IRQ_CASCADE)
			return;
		bool is_high = rng_percent(chance, 60);
		pic_set(&pic, line, is_high);
		sheet_line(&sheet[line / 8], line % 8, is_high);
		sheet_settle();
	} else if (what < 55) {
		if (pic_pending(&pic) || rng_percent(chance, 5))
			assert_int_equal(pic_ack(&pic), sheet_ack());
	} else if (what < 75) {
		write_both(chip, 0, 1, some_command(chance));
	} else if (what < 85) {
		write_both(chip, 1, 1, value & rng_next(chance) & rng_next(chance));
	} else if (what < 87) {
		write_both(chip, 0, 2, some_command(chance) | (value & rng_next(chance)) << 8);
	} else if (what < 88) {
		out(ELCR + chip, value);
		sheet_elcr(chip, value);
	} else {
		read_both(chip, what & 1, what < 90 ? 2 - (what & 1) : 1);
	}
}

static void as_the_data_sheet_says(unused void **state)
{
	struct rng chance = rng_seeded(0x8259a);
	u32 nr_acks = 0;

	sheet_reset();
	for (int i = 0; i < 200000; i++) {
		nr_acks += sheet_int;
		random_step(&chance);
		assert_int_equal(pic_pending(&pic), sheet_int);
		assert_int_equal(host_record.nr_requests, sheet_told);
	}
	assert_true(nr_acks > 20000); /* it was not asleep */
	assert_true(sheet_told > 10000);
}

#define reset_test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)
#define pic_test(fn) cmocka_unit_test_setup_teardown(fn, setup_ready, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		reset_test(after_reset),
		reset_test(linux_setup),
		reset_test(bios_setup),
		pic_test(icw1_resets),
		pic_test(icw_lengths),
		reset_test(edges_before_icw1),
		pic_test(masks),
		pic_test(edge_is_one_request),
		pic_test(edge_lost),
		pic_test(spurious_of_the_slave),
		pic_test(level),
		pic_test(elcr),
		pic_test(order),
		pic_test(nesting),
		pic_test(slave_waits_for_its_master),
		pic_test(special_fully_nested),
		pic_test(special_mask),
		pic_test(eoi_forms),
		pic_test(rotation),
		pic_test(automatic_eoi),
		pic_test(rotation_in_automatic_eoi),
		pic_test(read_register),
		pic_test(poll),
		pic_test(wide_accesses),
		pic_test(vcpu_is_told),
		reset_test(as_the_data_sheet_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
