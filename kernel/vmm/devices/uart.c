/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A's registers. National Semiconductor's PC16550D data sheet, "Registers". */
#include "vmm/devices/uart.h"

#include "vmm/vm.h"

enum { UART_DATA, UART_IER, UART_IIR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCRATCH };
enum { LCR_DLAB = 0x80, MCR_LOOP = 0x10, LSR_DR = 1, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { FCR_ENABLE = 1, IIR_NONE = 1, IIR_FIFO = 0xc0 };

static u8 modem_status(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return 0xb0; /* DCD, DSR, CTS: somebody listens */
	/* In loopback DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD. */
	return (u8)((u->mcr & 1) << 5 | (u->mcr & 2) << 3 | (u->mcr & 4) << 4 | (u->mcr & 8) << 4);
}

static u8 register_read(struct uart *u, u32 reg)
{
	switch (reg) {
	case UART_DATA:
		if (u->lcr & LCR_DLAB)
			return (u8)u->divisor;
		u->has_rx = false;
		return u->rx;
	case UART_IER: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
	case UART_IIR: return IIR_NONE | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
	case UART_LCR: return u->lcr;
	case UART_MCR: return u->mcr;
	case UART_LSR: return LSR_THRE | LSR_TEMT | (u->has_rx ? LSR_DR : 0);
	case UART_MSR: return modem_status(u);
	default: return u->scratch;
	}
}

/* Returns true if @value goes out on the line. */
static bool register_write(struct uart *u, u32 reg, u8 value)
{
	switch (reg) {
	case UART_DATA:
		if (u->lcr & LCR_DLAB) {
			u->divisor = (u->divisor & 0xff00) | value;
		} else if (u->mcr & MCR_LOOP) {
			u->rx = value;
			u->has_rx = true;
		} else {
			return true;
		}
		break;
	case UART_IER:
		if (u->lcr & LCR_DLAB)
			u->divisor = (u->divisor & 0xff) | value << 8;
		else
			u->ier = value & 0x0f;
		break;
	case UART_IIR: u->fcr = value; break;
	case UART_LCR: u->lcr = value; break;
	case UART_MCR: u->mcr = value & 0x1f; break;
	case UART_SCRATCH: u->scratch = value; break;
	}
	return false;
}

static u64 uart_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	struct uart *u = dev;
	u64 value = 0;

	spin_lock(&u->lock);
	for (unsigned int i = 0; i < bytes; i++)
		value |= (u64)register_read(u, offset + i) << (8 * i);
	spin_unlock(&u->lock);
	return value;
}

static void uart_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	struct uart *u = dev;

	for (unsigned int i = 0; i < bytes; i++) {
		u8 byte = value >> (8 * i);
		spin_lock(&u->lock);
		bool out = register_write(u, offset + i, byte);
		spin_unlock(&u->lock);
		if (out)
			guest_console_put(&u->console, byte);
	}
}

static const struct io_ops uart_io = {"16550A", uart_read, uart_write};

void uart_attach(struct uart *u, struct vm *vm, u16 port)
{
	*u = (struct uart){.divisor = 12};
	spin_init(&u->lock, RANK_DEVICE);
	guest_console_init(&u->console, vm->config.name);
	io_add_ports(&vm->io, port, 8, &uart_io, u);
}
