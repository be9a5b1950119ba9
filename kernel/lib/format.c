/* SPDX-License-Identifier: BSD-2-Clause */
/* Formatted text. One conversion is parsed to a struct spec, then laid out as
 *
 *	spaces | sign or 0x | zeroes | digits or text | spaces */
#include "lib/format.h"
#include "lib/string.h"

/* Where text goes: bytes past @size are counted, not stored. */
struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool left, zero, alt;
	int width;
	int precision; /* -1: none given */
	int bytes;     /* of the argument: sizeof(int) by default */
	char conversion;
};

static void put(struct out *o, char c)
{
	if (o->len < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void put_many(struct out *o, char c, int n)
{
	for (; n > 0; n--)
		put(o, c);
}

static void put_text(struct out *o, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put(o, s[i]);
}

/* put_field - @body with @prefix and @zeroes in front, padded to the width. */
static void put_field(struct out *o, const struct spec *s, const char *prefix, int zeroes,
		      const char *body, size_t body_len)
{
	int pad = s->width - (int)(strlen(prefix) + body_len) - zeroes;

	if (!s->left)
		put_many(o, ' ', pad);
	put_text(o, prefix, strlen(prefix));
	put_many(o, '0', zeroes);
	put_text(o, body, body_len);
	if (s->left)
		put_many(o, ' ', pad);
}

static void put_number(struct out *o, const struct spec *s, u64 value, bool negative)
{
	unsigned int base = s->conversion == 'x' ? 16 : 10;
	const char *prefix = negative ? "-" : s->alt && base == 16 && value ? "0x" : "";
	char body[20]; /* 2^64 in decimal */
	int len = 0, zeroes;

	for (; value; value /= base)
		body[sizeof(body) - ++len] = "0123456789abcdef"[value % base];
	/* A precision is the least number of digits, 1 if none is given; then flag 0 counts. */
	zeroes = (s->precision < 0 ? 1 : s->precision) - len;
	if (s->zero && !s->left && s->precision < 0)
		zeroes = MAX(zeroes, s->width - (int)strlen(prefix) - len);
	put_field(o, s, prefix, MAX(zeroes, 0), body + sizeof(body) - len, len);
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
	if (!text)
		text = "(null)";
	put_field(o, s, "", 0, text, s->precision < 0 ? strlen(text) : strnlen(text, s->precision));
}

/* parse_int - digits at *@fmt, or an argument for '*'. Values that no layout needs are cut. */
static int parse_int(const char **fmt, va_list *ap)
{
	int n = 0;

	if (**fmt == '*') {
		++*fmt;
		return va_arg(*ap, int);
	}
	for (; **fmt >= '0' && **fmt <= '9'; ++*fmt)
		n = MIN(n * 10 + (**fmt - '0'), 1 << 20);
	return n;
}

static int parse_bytes(const char **fmt)
{
	static const struct {
		char name[3];
		u8 bytes;
	} sizes[] = {
		{"hh", sizeof(char)},  {"h", sizeof(short)},  {"ll", sizeof(long long)},
		{"l", sizeof(long)},   {"z", sizeof(size_t)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (str_starts(*fmt, sizes[i].name)) {
			*fmt += strlen(sizes[i].name);
			return sizes[i].bytes;
		}
	}
	return sizeof(int);
}

/* parse_spec - the conversion at *@fmt, behind its '%'. */
static void parse_spec(const char **fmt, va_list *ap, struct spec *s)
{
	*s = (struct spec){.precision = -1};
	for (; **fmt == '-' || **fmt == '0' || **fmt == '#'; ++*fmt)
		*(**fmt == '-' ? &s->left : **fmt == '0' ? &s->zero : &s->alt) = true;
	s->width = parse_int(fmt, ap);
	if (s->width < 0) { /* only by '*': C says this is the flag '-' */
		s->left = true;
		s->width = s->width < -(1 << 20) ? 1 << 20 : -s->width;
	}
	if (**fmt == '.') {
		++*fmt;
		s->precision = MAX(parse_int(fmt, ap), -1);
	}
	s->bytes = parse_bytes(fmt);
	s->conversion = **fmt;
	if (s->conversion)
		++*fmt;
}

/* next_integer - an argument is at least an int; the spec says how much counts. In the upper bits of
 * a u64, so that a shift back extends it. */
static u64 next_integer(const struct spec *s, va_list *ap)
{
	return (s->bytes == 8 ? va_arg(*ap, u64) : va_arg(*ap, unsigned int)) << (64 - 8 * s->bytes);
}

static void convert(struct out *o, struct spec *s, va_list *ap)
{
	int unused_bits = 64 - 8 * s->bytes;
	s64 value;
	char c;

	switch (s->conversion) {
	case 'd':
		value = (s64)next_integer(s, ap) >> unused_bits;
		put_number(o, s, value < 0 ? -(u64)value : (u64)value, value < 0);
		break;
	case 'u':
	case 'x':
		put_number(o, s, next_integer(s, ap) >> unused_bits, false);
		break;
	case 'p':
		s->conversion = 'x';
		s->alt = true;
		put_number(o, s, (uintptr_t)va_arg(*ap, void *), false);
		break;
	case 'c':
		c = (char)va_arg(*ap, int);
		put_field(o, s, "", 0, &c, 1);
		break;
	case 's':
		put_string(o, s, va_arg(*ap, const char *));
		break;
	case '%':
		put(o, '%');
		break;
	default: /* unknown: show it, take no argument */
		put(o, '%');
		if (s->conversion)
			put(o, s->conversion);
	}
}

int text_vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = {.buf = buf, .size = size};
	struct spec s;
	va_list args;

	va_copy(args, ap); /* a va_list of our own: only such a one has an address to hand on */
	while (*fmt) {
		if (*fmt != '%') {
			put(&o, *fmt++);
			continue;
		}
		fmt++;
		parse_spec(&fmt, &args, &s);
		convert(&o, &s, &args);
	}
	va_end(args);
	if (size)
		buf[MIN(o.len, size - 1)] = '\0';
	return (int)o.len;
}

int text_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int len = text_vformat(buf, size, fmt, ap);
	va_end(ap);
	return len;
}
