/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of a command line, as key and value. */
#include "lib/errno.h"
#include "lib/kv.h"
#include "lib/string.h"

static inline bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

bool kv_next(const char **cursor, struct kv *out)
{
	const char *word = *cursor, *end, *equals = NULL;

	/* Behind the separator of "--" exactly one space is ours: what follows is the guest's text and
	 * stays as it is. */
	while (is_space(*word))
		word++;
	for (end = word; *end && !is_space(*end); end++) {
		if (*end == '=' && !equals)
			equals = end;
	}
	*cursor = end;
	if (end == word)
		return false;
	if (end - word == 2 && word[0] == '-' && word[1] == '-') {
		if (*end)
			*cursor = end + 1;
		return false;
	}

	out->key = word;
	out->key_len = (equals ? equals : end) - word;
	out->value = equals ? equals + 1 : NULL;
	out->value_len = equals ? end - (equals + 1) : 0;
	return true;
}

static bool text_is(const char *text, size_t len, const char *want)
{
	return strlen(want) == len && memcmp(text, want, len) == 0;
}

bool kv_key_is(const struct kv *kv, const char *key)
{
	return text_is(kv->key, kv->key_len, key);
}

bool kv_value_is(const struct kv *kv, const char *value)
{
	return kv->value && text_is(kv->value, kv->value_len, value);
}

/* digit_of - the value of @c as a digit, or a number that is no digit in any base. */
static unsigned int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20; /* a capital letter becomes a small one */
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 255;
}

/* number - the @len bytes at @s, decimal or 0x..., not above @max. */
static int number(const char *s, size_t len, u64 max, u64 *out)
{
	unsigned int base = 10;
	bool too_big = false;
	u64 sum = 0;

	if (len > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
		len -= 2;
	}
	if (len == 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned int digit = digit_of(s[i]);

		if (digit >= base)
			return -EINVAL; /* also when the digits before it are too many */
		if (sum > (~0ull - digit) / base)
			too_big = true;
		else
			sum = sum * base + digit;
	}
	if (too_big || sum > max)
		return -ERANGE;
	*out = sum;
	return 0;
}

int kv_uint(const struct kv *kv, u64 max, u64 *out)
{
	return kv->value ? number(kv->value, kv->value_len, max, out) : -EINVAL;
}

static unsigned int size_shift(char suffix)
{
	switch (suffix) {
	case 'K': case 'k': return 10;
	case 'M': case 'm': return 20;
	case 'G': case 'g': return 30;
	default: return 0;
	}
}

int kv_size(const struct kv *kv, u64 *bytes)
{
	const u64 max = 1ull << 63;
	unsigned int shift;
	u64 count;
	int err;

	if (!kv->value || kv->value_len == 0)
		return -EINVAL;
	shift = size_shift(kv->value[kv->value_len - 1]);
	err = number(kv->value, kv->value_len - (shift != 0), max >> shift, &count);
	if (err)
		return err;
	*bytes = count << shift;
	return 0;
}
