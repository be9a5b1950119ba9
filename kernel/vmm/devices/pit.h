/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254 interval timer: ports 40 to 43, and 61, which has channel 2's gate and output. Channel 0 drives
 * IRQ 0, channel 2 is polled for calibration, channel 1 counts. Intel 8254 data sheet. */
#pragma once

#include "cpu/spinlock.h"
#include "sched/timer.h"

#define PIT_HZ 1193182u

struct vm;

/* All of it: [lock] of struct pit. Ticks are those of the chip's clock, counted from boot. */
struct pit_channel {
	u8 mode;         /* 0 to 5 */
	u8 access;       /* 1 low byte, 2 high byte, 3 low then high */
	bool bcd;
	bool gate;
	bool write_high, read_high; /* the next byte of a pair is the high one */
	u8 low;          /* the low byte of a pair that is being written */
	u8 nr_latched;   /* bytes of the latched count not read yet */
	u16 latch;
	bool status_latched;
	u8 status;
	bool null_count; /* written, and loaded only by the gate's next rise */
	bool running;
	u32 count;       /* as written, 1 to 65536 (BCD: 10000); 0: none since the control word */
	u32 loaded;      /* what it counts down from since `start` */
	u32 prior;       /* modes 2 and 3: what it counted down from before `start`; 0: nothing */
	u64 start;       /* running: the tick at which `loaded` is loaded, perhaps a later one */
	u64 elapsed;     /* not running: ticks counted until it stopped */
	u64 edges;       /* channel 0: rising edges since `start` that were delivered or missed */
};

/* [lock] ->lock  [o] set once */
struct pit {
	struct spinlock lock; /* RANK_DEVICE_IRQ */
	struct vm *vm;        /* [o] */
	struct timer timer;   /* channel 0's next edge */
	struct pit_channel channel[3];
	bool pending;         /* [lock] the guest did not acknowledge the last edge yet */
	u32 missed;           /* [lock] edges of channel 0 that the guest could not see yet: it slept */
	bool speaker;         /* [lock] port 61 bit 1 */
};

/* pit_attach - reset *@p and put it on @vm's bus. */
void pit_attach(struct pit *p, struct vm *vm);
/* pit_irq_taken - IRQ 0 was acknowledged at the 8259s, or ended as a message of the I/O APIC: if edges were
 * missed meanwhile, the next one follows at once, so that a guest that counts ticks keeps time.
 * => any context, no lock of the irq chip held */
void pit_irq_taken(struct pit *p);
/* pit_forget - IRQ 0 leads elsewhere from now on: what was owed to whom it led to is void. => as above */
void pit_forget(struct pit *p);
/* pit_stop - the timer fires no more. => thread context; the vCPUs have left */
void pit_stop(struct pit *p);
