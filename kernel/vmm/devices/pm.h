/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI's fixed registers: PM1 event and control blocks, by which a guest powers off, and the PM timer. ACPI
 * specification 6.5, section 4.8, "ACPI register model". */
#pragma once

#include "lib/types.h"

struct vm;

/* Where they are: the FADT says so. */
#define PM_EVENT_PORT   0x600 /* status and enable, 2 bytes each */
#define PM_CONTROL_PORT 0x604
#define PM_TIMER_PORT   0x608
#define PM_SLEEP_OFF    0     /* SLP_TYP of S5: the DSDT says so */
#define PM_IRQ          9

struct pm {
	u16 enable, control; /* [a] */
};

/* pm_attach - reset *@p and put it on @vm's bus. */
void pm_attach(struct pm *p, struct vm *vm);
