/* SPDX-License-Identifier: BSD-2-Clause */
/* The pair of 8259As. Intel 8259A data sheet (231468), "Interrupt Sequence", "Initialization Command
 * Words", "Operation Command Words"; Intel 82371AB (PIIX4), "ELCR1", "ELCR2".
 *
 *	lines --edge--> irr --+
 *	lines --level (elcr)--+--> not masked? above all that is in service? --> INT --> ack --> isr
 *
 * What a chip asks for is computed anew from its registers after every change (update). The slave's INT
 * is line 2 of the master, the master's INT is `output`, which the vCPU looks at without the lock.
 *
 * Invariants
 *	I1  a device's edge is requested only while the line stays high: `irr` is within `lines`, but for
 *	    the cascade. A line that falls before the acknowledge takes its request, and the output, with it;
 *	    a processor that acknowledges all the same gets the master's spurious vector.
 *	I2  the master remembers that the slave's INT rose until it acknowledges input 2 or the slave is
 *	    polled. So a slave's request that has gone ends as the slave's spurious vector, and the master's
 *	    ISR bit 2 stays set until the guest ends it.
 *	I3  INT falls with every acknowledge and rises again if there is more to take: input 2 sees a new
 *	    edge, and vCPU 0 is told again.
 *
 * ICW1's trigger bit has no effect, as in the PIIX: ELCR decides. Neither have ICW3's contents and the
 * single mode, which only leaves ICW3 out: the board's wiring stays as it is. Vectors are those of 8086
 * mode always.
 *
 * Locking: pic.lock for all but `output`. vcpu_request comes after it is dropped.
 *
 * Not here: how LINT0 passes INT on, and when a vCPU takes it. */
#include "vmm/devices/pic.h"

#include "vmm/devices/irq.h"
#include "vmm/vm.h"

enum { PIC_COMMAND, PIC_DATA }; /* the two ports of a chip */
enum { ICW1_IC4 = 0x01, ICW1_SINGLE = 0x02, ICW1 = 0x10 };
enum { ICW4_AUTO_EOI = 0x02, ICW4_SPECIAL_NESTED = 0x10 };
enum { OCW2_EOI = 0x20, OCW2_SPECIFIC = 0x40, OCW2_ROTATE = 0x80 };
enum { OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_POLL = 0x04, OCW3 = 0x08 };
enum { OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum { POLL_REQUEST = 0x80, CASCADE = 1u << IRQ_CASCADE };

static bool is_master(const struct pic_chip *c)
{
	return c == &c->pic->chip[0];
}

/* ---- who is next ----------------------------------------------------------------------------- */

/* The input of @set that is first in priority, or -1. */
static int highest(const struct pic_chip *c, u8 set)
{
	int first = c->lowest + 1;

	return set ? (first + __builtin_ctz((set | set << 8) >> first)) & 7 : -1;
}

static u8 requested(const struct pic_chip *c)
{
	return c->irr | (c->lines & c->elcr);
}

/* What holds others back: in special mask mode not what is masked. */
static u8 in_service(const struct pic_chip *c)
{
	return c->special_mask ? c->isr & ~c->imr : c->isr;
}

/* The input for which this chip asserts INT, or -1: also while it is being initialized. */
static int candidate(const struct pic_chip *c)
{
	u8 requests = requested(c) & ~c->imr, service = in_service(c);
	int line = highest(c, requests | service);

	if (c->special_fully_nested) /* the slave may have something more urgent */
		service &= ~CASCADE;
	return !c->init && line >= 0 && ((requests & ~service) >> line & 1) ? line : -1;
}

static void line_set(struct pic_chip *c, u8 bit, bool level)
{
	if (!level)
		c->irr &= ~bit;
	else if (!(c->lines & bit))
		c->irr |= bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
}

/* Registers or lines changed. Returns true if the output rose. */
static bool update(struct pic *p)
{
	struct pic_chip *master = &p->chip[0];

	if (candidate(&p->chip[1]) >= 0)
		line_set(master, CASCADE, true);
	else
		master->lines &= ~CASCADE; /* I2 */
	u32 output = candidate(master) >= 0;
	bool rose = output > p->output;
	atomic_store(&p->output, output);
	return rose;
}

static void update_and_unlock(struct pic *p, u64 flags)
{
	bool rose = update(p);

	spin_unlock_irqrestore(&p->lock, flags);
	if (rose)
		vcpu_request(p->vm->vcpus[0], VCPU_REQ_EVENT);
}

/* By the processor or by a poll. Returns the input that is in service now, or -1. */
static int acknowledge(struct pic_chip *c)
{
	int line = candidate(c);

	if (is_master(c))
		atomic_store(&c->pic->output, 0);
	else
		line_set(&c->pic->chip[0], CASCADE, false);
	if (line < 0)
		return -1;
	c->irr &= ~(1u << line);
	if (!c->auto_eoi)
		c->isr |= 1u << line;
	else if (c->rotate_auto_eoi)
		c->lowest = line;
	return line;
}

/* ---- registers ------------------------------------------------------------------------------- */

/* The data sheet does not tell what becomes of ISR; who initializes anew expects that nothing blocks. */
static void icw1_write(struct pic_chip *c, u8 value)
{
	*c = (struct pic_chip){.pic = c->pic, .lines = c->lines, .elcr = c->elcr, .base = c->base,
			       .lowest = 7, .init = 2, .icw1 = value};
}

static void ocw2_write(struct pic_chip *c, u8 value)
{
	int line = value & OCW2_SPECIFIC ? value & 7 : highest(c, in_service(c));

	if (!(value & (OCW2_EOI | OCW2_SPECIFIC))) {
		c->rotate_auto_eoi = value & OCW2_ROTATE;
		return;
	}
	if (line < 0)
		return;
	if (value & OCW2_EOI)
		c->isr &= ~(1u << line);
	if (value & OCW2_ROTATE)
		c->lowest = line;
}

static void ocw3_write(struct pic_chip *c, u8 value)
{
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	c->poll = value & OCW3_POLL;
}

static void command_write(struct pic_chip *c, u8 value)
{
	if (value & ICW1)
		icw1_write(c, value);
	else if (value & OCW3)
		ocw3_write(c, value);
	else
		ocw2_write(c, value);
}

static void data_write(struct pic_chip *c, u8 value)
{
	u8 last = c->icw1 & ICW1_IC4 ? 4 : 0;

	switch (c->init) {
	case 2:
		c->base = value & 0xf8;
		c->init = c->icw1 & ICW1_SINGLE ? last : 3;
		break;
	case 3: c->init = last; break;
	case 4:
		c->auto_eoi = value & ICW4_AUTO_EOI;
		c->special_fully_nested = is_master(c) && (value & ICW4_SPECIAL_NESTED);
		c->init = 0;
		break;
	default: c->imr = value; break;
	}
}

static u8 register_read(struct pic_chip *c, u32 reg)
{
	if (c->poll) { /* answered at either port */
		c->poll = false;
		int line = acknowledge(c);
		return line < 0 ? 0 : POLL_REQUEST | line;
	}
	if (reg == PIC_DATA)
		return c->imr;
	return c->read_isr ? c->isr : requested(c);
}

static u64 chip_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct pic_chip *c = dev;
	u64 flags = spin_lock_irqsave(&c->pic->lock);
	u8 value = register_read(c, offset);

	update_and_unlock(c->pic, flags);
	return value;
}

static void chip_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	struct pic_chip *c = dev;
	u64 flags = spin_lock_irqsave(&c->pic->lock);

	if (offset == PIC_DATA)
		data_write(c, value);
	else
		command_write(c, value);
	update_and_unlock(c->pic, flags);
}

static u64 elcr_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct pic *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);
	u8 elcr = p->chip[offset].elcr;

	spin_unlock_irqrestore(&p->lock, flags);
	return elcr;
}

static void elcr_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	static const u8 may_set[2] = {0xf8, 0xde}; /* timer, keyboard, cascade, RTC, FPU: edges always */
	struct pic *p = dev;
	u64 flags = spin_lock_irqsave(&p->lock);

	p->chip[offset].elcr = value & may_set[offset];
	update_and_unlock(p, flags);
}

static const struct io_ops pic_io = {.name = "8259A", .read = chip_read, .write = chip_write, .bytewise = true};
static const struct io_ops elcr_io = {.name = "ELCR", .read = elcr_read, .write = elcr_write, .bytewise = true};

/* ---- to the board ------------------------------------------------------------------------------ */

void pic_attach(struct pic *p, struct vm *vm)
{
	const u8 pci = ((1u << IRQ_NR_PCI) - 1) << (IRQ_PCI - 8);

	*p = (struct pic){
		.vm = vm,
		.chip = {{.pic = p, .imr = (u8)~CASCADE, .base = 0x08, .lowest = 7},
			 {.pic = p, .imr = 0xff, .elcr = pci, .base = 0x70, .lowest = 7}},
	};
	spin_init(&p->lock, RANK_IRQ_CHIP);
	io_add_ports(&vm->io, 0x20, 2, &pic_io, &p->chip[0]);
	io_add_ports(&vm->io, 0xa0, 2, &pic_io, &p->chip[1]);
	io_add_ports(&vm->io, 0x4d0, 2, &elcr_io, p);
}

void pic_set(struct pic *p, u32 line, bool level)
{
	ASSERT(line < 16 && line != IRQ_CASCADE, "line %u", line);
	u64 flags = spin_lock_irqsave(&p->lock);
	line_set(&p->chip[line / 8], 1u << line % 8, level);
	update_and_unlock(p, flags);
}

bool pic_pending(const struct pic *p)
{
	return atomic_load(&p->output);
}

u8 pic_ack(struct pic *p)
{
	u64 flags = spin_lock_irqsave(&p->lock);
	struct pic_chip *c = &p->chip[0];
	int line = acknowledge(c);

	if (line == IRQ_CASCADE) {
		c = &p->chip[1];
		line = acknowledge(c);
	}
	u8 vector = c->base + (line < 0 ? 7 : line);
	update_and_unlock(p, flags);
	return vector;
}
