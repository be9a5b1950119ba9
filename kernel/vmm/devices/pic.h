/* SPDX-License-Identifier: BSD-2-Clause */
/* Two 8259A interrupt controllers, the second behind input 2 of the first, as in every PC: ports 20, 21,
 * A0, A1, and the edge/level registers 4D0, 4D1. Intel 8259A data sheet; for ELCR, Intel 82371AB (PIIX4). */
#pragma once

#include "cpu/spinlock.h"

struct pic;
struct vm;

struct pic_chip {
	struct pic *pic; /* [o] */
	u8 lines;    /* as the devices drive them now; bit 2 of the master: the slave's INT */
	u8 irr;      /* edges that were not acknowledged yet */
	u8 isr, imr;
	u8 elcr;     /* a bit for each line: level-triggered */
	u8 base;     /* vector of input 0 (ICW2) */
	u8 lowest;   /* the input of lowest priority: 7 until rotated */
	u8 init;     /* which ICW is expected: 0 none, 2, 3, 4 */
	u8 icw1;     /* says whether ICW3 and ICW4 follow */
	bool auto_eoi, rotate_auto_eoi, special_mask, special_fully_nested;
	bool read_isr, poll;
};

struct pic {
	struct spinlock lock; /* RANK_IRQ_CHIP */
	struct vm *vm;
	struct pic_chip chip[2]; /* [lock] 0: master */
	u32 output;              /* [a] 1: INT is asserted */
};

/* pic_attach - reset *@p and put it on @vm's bus: vectors 8 and 70, all but the cascade masked, PCI's lines
 * level-triggered, as a BIOS leaves it. When the output rises vCPU 0 gets VCPU_REQ_EVENT. */
void pic_attach(struct pic *p, struct vm *vm);
/* pic_set - input @line (0 to 15, not 2) is high or low. => any context */
void pic_set(struct pic *p, u32 line, bool level);
/* pic_pending - is INT asserted? => no lock, a hint: pic_ack tells */
bool pic_pending(const struct pic *p);
/* pic_ack - the processor's acknowledge cycle: the vector of the highest request, which is in service now;
 * the spurious one (input 7) if the request has gone. If INT stays asserted, that is a rise again. */
u8 pic_ack(struct pic *p);
