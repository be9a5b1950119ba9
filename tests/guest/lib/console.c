/* SPDX-License-Identifier: BSD-2-Clause */
/* COM1 as a driver uses it, print(), the way out, and the C functions that compilers call. Compiled
 * for 32 and for 64 bits. */
#include "guest.h"
#include "x86.h"

#define COM1      0x3f8
#define UART_THR  (COM1 + 0)
#define UART_IER  (COM1 + 1)
#define UART_FCR  (COM1 + 2)
#define UART_LCR  (COM1 + 3)
#define UART_MCR  (COM1 + 4)
#define UART_LSR  (COM1 + 5)
#define LSR_THRE  0x20
#define LCR_DLAB  0x80
#define LCR_8N1   0x03
#define EXIT_PORT 0xf4

/* More polls than any real transmitter needs: a board without UART must not hang its guest. */
#define THRE_POLLS 100000u

void console_init(void)
{
	out8(UART_IER, 0);
	out8(UART_LCR, LCR_DLAB | LCR_8N1);
	out8(UART_THR, 1); /* divisor 1: 115200 */
	out8(UART_IER, 0);
	out8(UART_LCR, LCR_8N1);
	out8(UART_FCR, 0x07);
	out8(UART_MCR, 0x03);
}

void put_char(char c)
{
	if (c == '\n')
		put_char('\r');
	for (unsigned int i = 0; i < THRE_POLLS && !(in8(UART_LSR) & LSR_THRE); i++)
		cpu_relax();
	out8(UART_THR, (u8)c);
}

void guest_exit(int code)
{
	out32(EXIT_PORT, (u32)code);
	for (;;) {
		irq_off();
		__asm__ volatile("hlt");
	}
}

static void put_number(unsigned long v, unsigned int base, unsigned int width, char pad)
{
	char digits[24];
	unsigned int nr = 0;

	do {
		digits[nr++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	for (; width > nr; width--)
		put_char(pad);
	while (nr)
		put_char(digits[--nr]);
}

static void put_signed(long v, unsigned int width, char pad)
{
	if (v < 0) {
		put_char('-');
		put_number(-(unsigned long)v, 10, width ? width - 1 : 0, pad);
	} else {
		put_number((unsigned long)v, 10, width, pad);
	}
}

static void put_text(const char *s)
{
	for (s = s ? s : "(null)"; *s; s++)
		put_char(*s);
}

void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned int width = 0;
		bool is_long = false, alternate = false;
		char pad = ' ';

		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		fmt++;
		for (; *fmt == '0' || *fmt == '#'; fmt++) {
			alternate |= *fmt == '#';
			pad = *fmt == '0' ? '0' : pad;
		}
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned int)(*fmt - '0');
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			is_long = true;
		switch (*fmt) {
		case 'd':
			put_signed(is_long ? va_arg(ap, long) : va_arg(ap, int), width, pad);
			break;
		case 'u':
			put_number(is_long ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int),
				   10, width, pad);
			break;
		case 'p':
		case 'x':
			if (alternate || *fmt == 'p')
				put_text("0x");
			is_long |= *fmt == 'p';
			put_number(is_long ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int),
				   16, width, pad);
			break;
		case 's':
			put_text(va_arg(ap, const char *));
			break;
		case 'c':
			put_char((char)va_arg(ap, int));
			break;
		case 0:
			return;
		default:
			put_char(*fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}
