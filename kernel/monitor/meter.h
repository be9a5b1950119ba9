/* SPDX-License-Identifier: BSD-2-Clause */
/* The live meter: what guests and machine do, as a picture of a few lines above the prompt.
 *
 *	meter.c         figures of the moment into a struct, twice a second, from the idle loop
 *	meter_text.c    two such structs into text: knows no kernel, tested on the host
 *
 * Rates are differences of two samples; so nothing is counted for the meter's sake, and while it is
 * off it costs nothing. */
#pragma once

#include "lib/types.h"
#include "vmm/config.h"

#define METER_VMS   10 /* more are counted, but have no row */
#define METER_COLS  79 /* of a picture, at most */
#define METER_BYTES ((METER_VMS + 4) * (METER_COLS + 1) + 1)

struct meter_vm {
	char name[VM_NAME_SIZE];
	u64 serial; /* which VM: of one name there may be several, one after the other */
	bool paused;
	u64 mem, resident, swapped, zero; /* pages */
	u64 faults, swapins, swapouts;    /* since it began */
	u64 done, total, mismatches;      /* what the guest says, so any value; total 0: nothing */
};

struct meter_sample {
	u64 at_ns;
	u64 ram, free, min, low, high; /* pages */
	u64 swap, swap_used;           /* pages */
	u32 in_flight;                 /* requests on swap disks */
	u32 nr_vms;                    /* the first METER_VMS of them are in vm[] */
	struct meter_vm vm[METER_VMS];
};

/* meter_picture - @now as lines for the console's panel, with rates since @before; nothing if there
 * is no VM. Return the text's length. => @size >= METER_BYTES */
size_t meter_picture(char *buf, size_t size, const struct meter_sample *now,
		     const struct meter_sample *before);

/* meter_start - a picture every @ms from now on; 0: off. meter_tick - the next, if it is time.
 * => the monitor's thread */
#define METER_STANDARD_MS 500
void meter_start(u64 ms);
void meter_tick(void);
