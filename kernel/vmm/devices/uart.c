/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A. National Semiconductor's PC16550D data sheet, "Registers", "FIFO interrupt mode
 * operation".
 *
 * There is no baud clock. A byte that is sent is out before the write returns, so the transmitter
 * is always empty; fewer received bytes than the trigger level are a character timeout at once.
 *
 *	operator -> waiting (256) -> rx (16, or 1 without FIFO) -> guest
 *	loopback: transmitter -> rx
 *
 * Interrupts. "Transmitter empty" becomes pending with each byte sent and when IER enables it;
 * reading the IIR that reports it takes it back. While it is pending further bytes change nothing
 * but the edge: a driver that fills 16 bytes an interrupt takes one interrupt, and one read of IIR,
 * for 16 bytes. Reading a byte and sending one drop the line for a moment, as on silicon, where the
 * next byte takes its time: drivers behind an edge-triggered 8259 that serve one byte an interrupt
 * live on that edge.
 *
 * Invariants (at the lock's release):
 * I1  level == IIR reports something; irq_set was told so. (A PC's OUT2 gates the line; QEMU's does not, and
 *     guests that run there leave it off.)
 * I2  Bytes wait only while rx is full, or the receiver is cut off by loopback.
 *
 * Locking. u->lock (RANK_DEVICE); irq_set is called under it. Printing is slow: not under it.
 * Not here: breaks, parity and framing errors (the line has none); lines and prefixes:
 * guest_console.c. */
#include "vmm/devices/uart.h"

#include "vmm/devices/irq.h"
#include "vmm/vm.h"

enum { UART_DATA, UART_IER, UART_IIR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCRATCH };
enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum {
	IIR_MODEM = 0, IIR_NONE = 1, IIR_THRE = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 0xc,
	IIR_FIFO = 0xc0,
};
enum { FCR_ENABLE = 1, FCR_RX_RESET = 2, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80, MCR_LOOP = 0x10 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

/* ---- the receiver ---------------------------------------------------------------------------- */

static u32 nr_rx(const struct uart *u)
{
	return u->rx_in - u->rx_out;
}

static u32 rx_room(const struct uart *u)
{
	return (u->fcr & FCR_ENABLE ? UART_FIFO_BYTES : 1) - nr_rx(u);
}

static void overrun(struct uart *u)
{
	u->overrun = true;
	u->nr_overruns++;
}

static void receive(struct uart *u, u8 byte)
{
	if (!rx_room(u)) {
		overrun(u);
		if (u->fcr & FCR_ENABLE)
			return; /* a full FIFO keeps what it has; the single register does not */
		u->rx_out++;
	}
	u->rx[u->rx_in++ % UART_FIFO_BYTES] = byte;
}

static void refill(struct uart *u)
{
	while (!(u->mcr & MCR_LOOP) && u->waiting_in != u->waiting_out && rx_room(u))
		receive(u, u->waiting[u->waiting_out++ % UART_WAITING_BYTES]);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

/* What IIR reports: the pending interrupt of highest priority. */
static u8 interrupt_id(const struct uart *u)
{
	static const u8 trigger[] = {1, 4, 8, 14};

	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && nr_rx(u))
		return nr_rx(u) >= trigger[u->fcr >> 6] ? IIR_RX : IIR_TIMEOUT;
	if ((u->ier & IER_THRE) && u->thre)
		return IIR_THRE;
	return (u->ier & IER_MODEM) && u->modem_delta ? IIR_MODEM : IIR_NONE;
}

static void set_line(struct uart *u, bool level)
{
	if (level != u->level)
		irq_set(u->vm, u->irq, level);
	u->level = level;
}

/* Make I1 and I2 true. */
static void update(struct uart *u)
{
	refill(u);
	set_line(u, interrupt_id(u) != IIR_NONE);
}

/* ---- registers ------------------------------------------------------------------------------- */

static u8 modem_lines(const struct uart *u)
{
	u8 m = u->mcr;

	if (!(m & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS; /* somebody listens */
	/* In loopback DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD. */
	return (u8)((m & 1) << 5 | (m & 2) << 3 | (m & 4) << 4 | (m & 8) << 4);
}

static u8 data_read(struct uart *u)
{
	if (!nr_rx(u))
		return u->rx[(u->rx_out - 1) % UART_FIFO_BYTES]; /* the last one again */
	set_line(u, false);
	return u->rx[u->rx_out++ % UART_FIFO_BYTES];
}

static u8 iir_read(struct uart *u)
{
	u8 id = interrupt_id(u);

	if (id == IIR_THRE)
		u->thre = false;
	return id | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static u8 lsr_read(struct uart *u)
{
	u8 lsr = LSR_THRE | LSR_TEMT | (nr_rx(u) ? LSR_DR : 0) | (u->overrun ? LSR_OE : 0);

	u->overrun = false;
	return lsr;
}

static u8 msr_read(struct uart *u)
{
	u8 msr = modem_lines(u) | u->modem_delta;

	u->modem_delta = 0;
	return msr;
}

static u8 register_read(struct uart *u, u32 reg)
{
	switch (reg) {
	case UART_DATA: return u->lcr & LCR_DLAB ? (u8)u->divisor : data_read(u);
	case UART_IER: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
	case UART_IIR: return iir_read(u);
	case UART_LCR: return u->lcr;
	case UART_MCR: return u->mcr;
	case UART_LSR: return lsr_read(u);
	case UART_MSR: return msr_read(u);
	default: return u->scratch;
	}
}

static void ier_write(struct uart *u, u8 value)
{
	if (value & ~u->ier & IER_THRE)
		u->thre = true; /* it is empty, and who asks now has not been told */
	u->ier = value & 0x0f;
}

static void fcr_write(struct uart *u, u8 value)
{
	bool reset = (value & FCR_ENABLE) && (value & FCR_RX_RESET);

	if (reset || ((value ^ u->fcr) & FCR_ENABLE))
		u->rx_out = u->rx_in;
	u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void mcr_write(struct uart *u, u8 value)
{
	u8 was = modem_lines(u);

	u->mcr = value & 0x1f;
	u8 now = modem_lines(u);
	/* Each line's change is noted, but of RI only that it went. */
	u->modem_delta |= ((was ^ now) & ~(now & MSR_RI)) >> 4;
}

/* Returns true if @value goes out on the line. */
static bool data_write(struct uart *u, u8 value)
{
	set_line(u, false);
	u->thre = true;
	if (!(u->mcr & MCR_LOOP))
		return true;
	receive(u, value);
	return false;
}

/* Returns true if @value goes out on the line. */
static bool register_write(struct uart *u, u32 reg, u8 value)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case UART_DATA:
		if (!dlab)
			return data_write(u, value);
		u->divisor = (u->divisor & 0xff00) | value;
		break;
	case UART_IER:
		if (dlab)
			u->divisor = (u->divisor & 0xff) | value << 8;
		else
			ier_write(u, value);
		break;
	case UART_IIR: fcr_write(u, value); break;
	case UART_LCR: u->lcr = value; break;
	case UART_MCR: mcr_write(u, value); break;
	case UART_SCRATCH: u->scratch = value; break;
	}
	return false;
}

static u64 uart_read(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes)
{
	struct uart *u = dev;

	spin_lock(&u->lock);
	u8 value = register_read(u, offset);
	update(u);
	spin_unlock(&u->lock);
	return value;
}

static void uart_write(unused struct vcpu *v, void *dev, u64 offset, unused unsigned int bytes, u64 value)
{
	struct uart *u = dev;

	spin_lock(&u->lock);
	bool out = register_write(u, offset, value);
	update(u);
	spin_unlock(&u->lock);
	if (out)
		guest_console_put(&u->console, value);
}

void uart_input(struct uart *u, const u8 *bytes, u32 nr)
{
	spin_lock(&u->lock);
	for (u32 i = 0; i < nr; i++) {
		if (u->waiting_in - u->waiting_out == UART_WAITING_BYTES)
			overrun(u);
		else
			u->waiting[u->waiting_in++ % UART_WAITING_BYTES] = bytes[i];
		refill(u);
	}
	update(u);
	spin_unlock(&u->lock);
}

static const struct io_ops uart_io = {.name = "16550A", .read = uart_read, .write = uart_write, .bytewise = true};

void uart_attach(struct uart *u, struct vm *vm, u16 port, u32 irq)
{
	*u = (struct uart){.vm = vm, .irq = irq, .divisor = 12};
	spin_init(&u->lock, RANK_DEVICE);
	guest_console_init(&u->console, vm->config.name);
	io_add_ports(&vm->io, port, 8, &uart_io, u);
}
