/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's serial output on the operator's console: whole lines, "NAME| text". CR is dropped, other
 * control bytes show as '.'; a line that stays unfinished for 100 ms is shown as it is, and what
 * follows begins a new one. While the operator is attached the bytes go out as they come. */
#pragma once

#include "cpu/spinlock.h"
#include "sched/timer.h"

struct guest_console {
	const char *name;    /* [o] */
	struct spinlock lock; /* irq: the timer takes it */
	struct timer timer;
	bool attached;
	u32 len;
	char line[200];
};

void guest_console_init(struct guest_console *c, const char *name);
void guest_console_put(struct guest_console *c, u8 byte);
/* guest_console_attach - the operator sits at this guest's console, or no longer. */
void guest_console_attach(struct guest_console *c, bool on);
/* guest_console_end - stop the timer, show what is left. => thread context */
void guest_console_end(struct guest_console *c);
