/* SPDX-License-Identifier: BSD-2-Clause */
/* From a guest's bytes to the operator's lines. */
#include "vmm/devices/guest_console.h"

#include "cpu/clock.h"
#include "lib/printk.h"

#define PARTIAL_NS (100 * 1000 * 1000ull)

static void show_locked(struct guest_console *c)
{
	c->line[c->len] = 0;
	printk("%s| %s\n", c->name, c->line);
	c->len = 0;
}

static void partial_is_old(struct timer *t)
{
	struct guest_console *c = container_of(t, struct guest_console, timer);
	u64 flags = spin_lock_irqsave(&c->lock);

	if (c->len)
		show_locked(c);
	spin_unlock_irqrestore(&c->lock, flags);
}

void guest_console_init(struct guest_console *c, const char *name)
{
	*c = (struct guest_console){.name = name};
	spin_init(&c->lock, RANK_GUEST_CONSOLE);
	timer_setup(&c->timer, partial_is_old);
}

void guest_console_attach(struct guest_console *c, bool on)
{
	u64 flags = spin_lock_irqsave(&c->lock);

	if (c->len)
		show_locked(c);
	c->attached = on;
	spin_unlock_irqrestore(&c->lock, flags);
}

void guest_console_put(struct guest_console *c, u8 byte)
{
	u64 flags = spin_lock_irqsave(&c->lock);
	bool first = c->len == 0;

	if (c->attached) {
		printk("%c", byte);
	} else if (byte == '\n') {
		show_locked(c);
	} else if (byte != '\r') {
		bool shown = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
		c->line[c->len++] = shown ? byte : '.';
		if (c->len == sizeof(c->line) - 1)
			show_locked(c);
	}
	bool begun = first && c->len != 0;
	spin_unlock_irqrestore(&c->lock, flags);
	/* One timer a line, not one a byte. */
	if (begun)
		timer_arm(&c->timer, clock_ns() + PARTIAL_NS);
}

void guest_console_end(struct guest_console *c)
{
	timer_cancel(&c->timer);
	partial_is_old(&c->timer);
}
