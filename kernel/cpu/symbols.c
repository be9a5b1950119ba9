/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of functions, for backtraces. tools/mksyms.py makes the table from the linked kernel:
 *
 *	u16 number of functions
 *	u8  length of each of the 128 tokens, then their text
 *	per function, by address: distance from the one before (the first: from image_start) as
 *	    base-128 digits, low first, top bit set on all but the last; length of the name; name
 *
 * In a name a byte of 128 and above stands for a token: frequent pieces of names, chosen so that all
 * names together become short. A table without functions (first link) is two zero bytes. */
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "lib/string.h"

#define NR_TOKENS 128
#define NAME_MAX  64

static void expand(const u8 *name, u8 len, const u8 *token_len, char *out)
{
	const u8 *token_text = token_len + NR_TOKENS;
	size_t n = 0;

	for (u8 i = 0; i < len; i++) {
		const u8 *text = &name[i];
		size_t bytes = 1;

		if (name[i] >= 128) {
			u8 token = name[i] - 128;

			text = token_text;
			for (u8 t = 0; t < token; t++)
				text += token_len[t];
			bytes = token_len[token];
		}
		bytes = MIN(bytes, NAME_MAX - 1 - n);
		memcpy(out + n, text, bytes);
		n += bytes;
	}
	out[n] = '\0';
}

const char *symbol_find(u64 addr, u64 *offset)
{
	static char text[NAME_MAX];
	const u8 *token_len = symbols_start + 2, *at, *name = NULL;
	u32 left = symbols_start[0] | symbols_start[1] << 8;
	u64 start = (u64)image_start, found = 0;

	if (!left)
		return NULL;
	at = token_len + NR_TOKENS;
	for (u32 t = 0; t < NR_TOKENS; t++)
		at += token_len[t];
	for (; left; left--) {
		u64 distance = 0;
		u32 shift = 0;
		u8 digit;

		do {
			digit = *at++;
			distance |= (u64)(digit & 127) << shift;
			shift += 7;
		} while (digit & 128);
		start += distance;
		if (start > addr)
			break;
		found = start;
		name = at;
		at += 1 + *at;
	}
	if (!name)
		return NULL;
	*offset = addr - found;
	expand(name + 1, *name, token_len, text);
	return text;
}
