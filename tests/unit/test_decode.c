/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/decode.c kernel/vmm/decode_tables.c */
/* The decoder finds the end of every kind of instruction, and its operands. The lengths were
 * compared with a disassembler's over whole programs and random bytes; what is here holds one case
 * of each kind, and all the special ones. */
#include "host.h"

#include "vmm/decode.h"

static size_t parse_hex(const char *hex, u8 *out)
{
	size_t nr = 0;
	char *end;

	for (; *hex; hex = end) {
		out[nr++] = (u8)strtoul(hex, &end, 16);
		assert_ptr_not_equal(hex, end);
	}
	return nr;
}

/* ---- lengths -------------------------------------------------------------------------------- */

/* One instruction each. Bytes of every kind may follow it, and each beginning is too short. */
static const char *const complete_64[] = {
	/* the one-byte map: arithmetic, stack, moves */
	"00 00", "01 d8", "04 12", "05 78 56 34 12", "66 05 34 12", "48 05 78 56 34 12",
	"0d 78 56 34 12", "3c 0a", "50", "41 57", "66 50", "63 c1", "48 63 04 24",
	"68 78 56 34 12", "66 68 34 12", "6a ff", "69 c0 78 56 34 12", "66 69 c0 34 12",
	"6b c0 08", "80 38 01", "81 38 78 56 34 12", "66 81 38 34 12",
	"48 81 3c 25 00 10 00 00 78 56 34 12",
	"83 e4 f0", "84 c0", "87 03", "88 07", "8b 07", "8c d8", "8d 05 00 00 00 00", "8e d8",
	"8f 00", "8f 44 24 08", "8f c0", "90", "f3 90", "98", "48 99", "9b", "9c", "9d", "9e",
	"a8 01", "a9 78 56 34 12", "66 a9 34 12", "48 a9 78 56 34 12",
	"b0 01", "b8 78 56 34 12", "66 b8 34 12", "48 b8 88 77 66 55 44 33 22 11",
	"66 48 b8 88 77 66 55 44 33 22 11", "49 bf 88 77 66 55 44 33 22 11",
	"c0 e0 04", "c1 38 04", "c6 00 12", "c7 00 78 56 34 12", "66 c7 00 34 12",
	"48 c7 c0 78 56 34 12", "c6 f8 12", "c7 f8 78 56 34 12", "d0 e0", "d3 38", "d7",
	/* moffs follow the address size, the operand size notwithstanding */
	"a0 88 77 66 55 44 33 22 11", "a1 88 77 66 55 44 33 22 11", "67 a1 78 56 34 12",
	"66 a3 88 77 66 55 44 33 22 11", "48 a3 88 77 66 55 44 33 22 11", "67 48 a3 78 56 34 12",
	/* strings */
	"a4", "f3 a4", "f3 48 a5", "67 f3 a5", "aa", "ab", "ac", "ae", "f2 ae", "66 a7",
	/* branches: prefix 66 does not shorten a distance */
	"70 05", "66 74 05", "eb fe", "e8 78 56 34 12", "66 e8 78 56 34 12", "48 e8 78 56 34 12",
	"e9 78 56 34 12", "66 e9 78 56 34 12", "0f 84 78 56 34 12", "66 0f 84 78 56 34 12",
	"e0 fe", "e3 fe", "67 e3 fe", "c2 08 00", "c3", "66 c3", "f3 c3", "ca 08 00", "cb", "48 cb",
	"cc", "cd 80", "cf", "48 cf", "c8 10 00 01", "c9", "f1", "ff 10", "ff d0", "ff 18", "48 ff 28",
	"ff 25 00 00 00 00", "ff 30", "fe 00", "ff 00",
	/* the groups F6 and F7: TEST alone has an immediate */
	"f6 00 01", "f6 c8 01", "f6 10", "f6 d8", "f6 20", "f7 00 78 56 34 12", "66 f7 00 34 12",
	"48 f7 c0 78 56 34 12", "f7 c8 78 56 34 12", "f7 10", "f7 e1", "f7 38", "f7 40 08 78 56 34 12",
	/* ports and flags */
	"e4 60", "e5 60", "e6 60", "66 e7 60", "ec", "ed", "66 ed", "ee", "ef", "6c", "66 6d", "f3 6d",
	"6e", "f3 66 6f", "f4", "f5", "f8", "fa", "fb", "fc", "fd",
	/* floating point */
	"d8 00", "d9 6c 24 06", "db e3", "dd 05 00 00 00 00", "df e0",
	/* addressing */
	"8b 00", "8b 04 24", "8b 45 00", "8b 80 00 01 00 00", "8b 04 25 00 10 00 00",
	"8b 44 88 10", "8b 84 88 00 01 00 00", "41 8b 04 24", "41 8b 45 00", "41 8b 05 00 00 00 00",
	"8b 05 00 00 00 00", "67 8b 05 00 00 00 00", "67 8b 04 24", "8b 04 65 00 00 00 00",
	"43 8b 04 a5 00 00 00 00", "42 8b 04 20", "66 67 8b 84 88 00 01 00 00",
	/* prefixes in any order; a REX before another prefix is void */
	"f0 01 00", "64 48 8b 04 25 00 00 00 00", "65 8b 04 25 10 00 00 00", "2e 74 05",
	"48 66 b8 34 12", "48 f3 b8 78 56 34 12", "40 48 b8 88 77 66 55 44 33 22 11",
	"48 40 b8 78 56 34 12", "66 66 66 90", "67 66 f2 f0 48 01 00",
	"66 2e 0f 1f 84 00 00 00 00 00", "66 66 2e 0f 1f 84 00 00 00 00 00",
	/* the 0F map: system */
	"0f 00 d8", "0f 01 15 00 00 00 00", "0f 01 c1", "0f 01 d8", "0f 01 d9", "0f 01 e0",
	"0f 01 38", "0f 01 f8", "0f 01 f9", "0f 02 c0", "0f 05", "0f 06", "0f 07", "48 0f 07", "0f 08",
	"0f 09", "f3 0f 09", "0f 0b", "0f 0d 08", "0f 0e", "0f 18 00", "f3 0f 1e fa", "0f 1f 40 00",
	"0f 30", "0f 31", "0f 32", "0f 33", "0f 34", "0f 35", "0f 37", "0f 77", "0f 78 c0", "0f 79 00",
	"0f a2", "0f aa", "0f ae 00", "0f ae f0", "f3 0f ae c0", "0f c7 08", "48 0f c7 08", "0f c7 f0",
	"0f ff c0", "0f b9 c0",
	/* MOV CR, DR: register form whatever mod says, no SIB, no displacement */
	"0f 20 c0", "0f 20 00", "0f 20 04", "0f 20 05", "0f 22 84", "0f 22 d8", "44 0f 20 c0",
	"66 0f 22 45", "0f 21 3c", "0f 23 f8", "f0 0f 20 c0",
	/* the 0F map: integers */
	"0f 40 c1", "0f 90 c0", "0f 95 45 00", "0f a0", "0f a1", "0f a3 c8", "0f a4 c8 05", "0f a5 c8",
	"0f ac 00 05", "0f ad 00", "0f af c1", "0f b0 0f", "0f b1 0f", "f0 0f b1 0f", "0f b6 00",
	"0f b7 04 88", "f3 0f b8 c1", "0f ba 20 05", "0f ba e0 05", "0f bc c1", "0f be 00", "0f c0 c1",
	"0f c3 00", "0f c8", "48 0f cf",
	/* vectors with immediate bytes, and without */
	"0f 10 00", "66 0f 6f 00", "f3 0f 7f 00", "f2 0f 10 05 00 00 00 00", "66 0f 70 c0 01",
	"0f 71 d0 04", "66 0f 73 d8 08", "0f c2 c1 02", "66 0f c4 c0 01", "0f c5 c0 01", "0f c6 c1 01",
	"66 0f 78 c0 01 02", "f2 0f 78 c1 01 02", "66 0f 79 c1", "f2 0f 79 c1",
	"0f 0f c1 b4", "0f 0f 05 00 00 00 00 9e", "0f 0f 44 24 08 0d",
	"66 0f 38 00 c1", "0f 38 f0 00", "f2 0f 38 f1 c1", "66 0f 38 82 00", "0f 38 c8 04 24",
	"66 0f 3a 0f c1 08", "0f 3a cc c1 03", "66 0f 3a 22 44 24 08 01",
	"66 48 0f 3a 16 05 00 00 00 00 01",
};

static const char *const complete_32[] = {
	"06", "07", "0e", "16", "17", "1e", "1f", "27", "2f", "37", "3f", "40", "48", "4f", "60", "61",
	"62 00", "63 c1", "82 c0 01", "9a 78 56 34 12 08 00", "66 9a 34 12 08 00", "ea 78 56 34 12 08 00",
	"66 ea 34 12 08 00", "c4 00", "c5 04 24", "ce", "d4 0a", "d5 0a", "d6", "e8 78 56 34 12",
	"66 e8 34 12", "66 e9 34 12", "0f 84 78 56 34 12", "66 0f 84 34 12", "a1 78 56 34 12",
	"67 a1 34 12", "66 a1 78 56 34 12", "b8 78 56 34 12", "66 b8 34 12", "68 78 56 34 12",
	"c7 00 78 56 34 12", "8b 05 78 56 34 12", "8b 04 25 78 56 34 12", "8b 44 24 04",
	"67 8b 06 34 12", "67 8b 00", "67 8b 40 10", "67 8b 80 34 12", "67 8b 05", "8f 00",
	"f7 00 78 56 34 12", "66 f7 00 34 12", "0f 20 84", "0f 01 d9", "c8 10 00 00", "c2 04 00",
};

static const char *const complete_16[] = {
	"8b 00", "8b 06 34 12", "8b 46 00", "8b 86 34 12", "8b 07", "8b 04", "67 8b 04 24",
	"67 8b 05 78 56 34 12", "67 66 8b 44 88 10", "b8 34 12", "66 b8 78 56 34 12", "05 34 12",
	"66 05 78 56 34 12", "81 06 00 10 34 12", "66 81 06 00 10 78 56 34 12", "a1 34 12",
	"67 a1 78 56 34 12", "66 a1 34 12", "9a 34 12 00 f0", "66 9a 78 56 34 12 00 f0",
	"ea 34 12 00 f0", "66 67 ea 78 56 34 12 08 00", "e8 34 12", "66 e8 78 56 34 12", "0f 84 34 12",
	"66 0f 84 78 56 34 12", "68 34 12", "c4 1e 34 12", "c5 00", "62 06 34 12", "cd 10", "c8 10 00 00",
	"0f 01 16 34 12", "66 0f 01 16 34 12", "0f 22 c0", "0f 22 06", "0f 20 46", "2e 8b 07", "f3 a4",
	"f6 06 34 12 01", "f7 06 34 12 78 56", "f7 16 34 12", "48", "40", "ff 2e 34 12", "d6",
};

static void check_complete(enum insn_mode mode, const char *hex)
{
	static const u8 fillers[] = {0x00, 0x90, 0xff, 0x66};
	u8 bytes[32];
	struct insn in;
	size_t i, f;

	for (f = 0; f < ARRAY_SIZE(fillers); f++) {
		memset(bytes, fillers[f], sizeof(bytes));
		size_t nr = parse_hex(hex, bytes);

		if (insn_decode(bytes, sizeof(bytes), mode, &in) != 0 || in.length != nr)
			fail_msg("mode %d: %s: length %u", mode, hex, in.length);
		assert_int_equal(insn_decode(bytes, nr, mode, &in), 0);
		for (i = 0; i < nr; i++)
			if (insn_decode(bytes, i, mode, &in) != -EAGAIN)
				fail_msg("mode %d: %s: cut to %zu bytes", mode, hex, i);
	}
}

static void lengths_are_right_and_beginnings_ask_for_more(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(complete_64); i++)
		check_complete(INSN_64, complete_64[i]);
	for (i = 0; i < ARRAY_SIZE(complete_32); i++)
		check_complete(INSN_32, complete_32[i]);
	for (i = 0; i < ARRAY_SIZE(complete_16); i++)
		check_complete(INSN_16, complete_16[i]);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void check_refused(enum insn_mode mode, const char *hex)
{
	u8 bytes[INSN_MAX_BYTES] = {0};
	struct insn in;

	parse_hex(hex, bytes);
	if (insn_decode(bytes, sizeof(bytes), mode, &in) != -EINVAL)
		fail_msg("mode %d: %s: accepted", mode, hex);
}

static void undefined_and_vex_are_refused(void **state)
{
	static const char *const everywhere[] = {
		"0f 04", "0f 0a", "0f 0c", "0f 24 c0", "0f 26 c0", "0f 36", "0f 39", "0f 3b", "0f 3f",
		"0f 7a c0", "0f 7b c0", "0f a6 c0", "0f a7 c0",
		"c5 f8 77", "c4 e2 79 00 c1", "62 f1 7c 48 28 c1", /* VEX, VEX, EVEX */
		"8f e9 78 c1", "8f e8 00 00", "8f 48", /* XOP, and holes of the group */
	};
	static const char *const in_64[] = {
		"06", "07", "0e", "16", "17", "1e", "1f", "27", "2f", "37", "3f", "60", "61", "62 00",
		"82 c0 01", "9a", "ea", "c4 00", "c5 00", "ce", "d4 0a", "d5 0a", "d6",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(everywhere); i++) {
		check_refused(INSN_16, everywhere[i]);
		check_refused(INSN_32, everywhere[i]);
		check_refused(INSN_64, everywhere[i]);
	}
	for (i = 0; i < ARRAY_SIZE(in_64); i++)
		check_refused(INSN_64, in_64[i]);
}

/* Fifteen bytes are the most, and no further byte is asked for then. */
static void sixteenth_byte_is_refused(void **state)
{
	u8 bytes[32];
	struct insn in;
	size_t nr;

	(void)state;
	memset(bytes, 0x66, sizeof(bytes));
	bytes[14] = 0x90;
	assert_int_equal(insn_decode(bytes, 14, INSN_64, &in), -EAGAIN);
	assert_int_equal(insn_decode(bytes, 15, INSN_64, &in), 0);
	assert_int_equal(in.length, 15);
	bytes[14] = 0x66;
	assert_int_equal(insn_decode(bytes, 15, INSN_64, &in), -EINVAL);
	assert_int_equal(insn_decode(bytes, 32, INSN_64, &in), -EINVAL);

	/* the four bytes of the immediate would be the 13th to the 16th */
	memset(bytes, 0x2e, sizeof(bytes));
	bytes[11] = 0xb8;
	for (nr = 0; nr < 12; nr++)
		assert_int_equal(insn_decode(bytes, nr, INSN_64, &in), -EAGAIN);
	assert_int_equal(insn_decode(bytes, 12, INSN_64, &in), -EINVAL);
	assert_int_equal(insn_decode(bytes, 32, INSN_64, &in), -EINVAL);
}

/* ---- operands ------------------------------------------------------------------------------- */

/* Everything in a line: map:opcode, prefixes and segment, sizes, registers, memory, immediate. */
static void describe(const struct insn *in, char *out, size_t size)
{
	static const char *const maps[] = {"1", "0f", "0f38", "0f3a"};
	static const char *const segments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
	char base[8] = "", index[16] = "";
	int at;

	at = snprintf(out, size, "%s:%02x p%x%s%s op%u ad%u", maps[in->map], in->opcode,
			in->prefixes, in->segment < 0 ? "" : " ",
			in->segment < 0 ? "" : segments[in->segment], in->op_bytes, in->addr_bytes);
	if (in->has_modrm)
		at += snprintf(out + at, size - at, " r%u", in->reg);
	if (in->has_modrm && !in->is_mem)
		at += snprintf(out + at, size - at, " r%u", in->rm);
	if (in->base >= 0)
		snprintf(base, sizeof(base), "b%d", in->base);
	if (in->index >= 0)
		snprintf(index, sizeof(index), "+i%d*%u", in->index, in->scale);
	if (in->is_mem)
		at += snprintf(out + at, size - at, " [%s%s%+lld]", base, index,
				 (long long)in->disp);
	if (in->imm_bytes)
		snprintf(out + at, size - at, " i%u=%llx", in->imm_bytes,
			 (unsigned long long)in->imm);
}

static const struct {
	enum insn_mode mode;
	const char *hex, *fields;
} operands[] = {
	{INSN_64, "8b 45 f8", "1:8b p0 op4 ad8 r0 [b5-8]"},
	{INSN_64, "4c 8b 64 24 08", "1:8b p0 op8 ad8 r12 [b4+8]"},
	{INSN_64, "4d 8b 24 24", "1:8b p0 op8 ad8 r12 [b12+0]"},
	{INSN_64, "8b 04 88", "1:8b p0 op4 ad8 r0 [b0+i1*4+0]"},
	{INSN_64, "42 8b 04 e0", "1:8b p0 op4 ad8 r0 [b0+i12*8+0]"}, /* r12 may be an index */
	{INSN_64, "8b 04 e0", "1:8b p0 op4 ad8 r0 [b0+0]"},          /* rsp may not */
	{INSN_64, "8b 04 25 00 00 00 80", "1:8b p0 op4 ad8 r0 [-2147483648]"},
	{INSN_64, "41 8b 04 0d 10 00 00 00", "1:8b p0 op4 ad8 r0 [+i1*1+16]"},
	{INSN_64, "41 8b 44 0d 10", "1:8b p0 op4 ad8 r0 [b13+i1*1+16]"},
	{INSN_64, "8b 05 fc ff ff ff", "1:8b p0 op4 ad8 r0 [b16-4]"},
	{INSN_64, "41 8b 05 10 00 00 00", "1:8b p0 op4 ad8 r0 [b16+16]"}, /* not r13 */
	{INSN_32, "8b 05 00 00 e0 fe", "1:8b p0 op4 ad4 r0 [-18874368]"},
	{INSN_16, "8b 00", "1:8b p0 op2 ad2 r0 [b3+i6*1+0]"},
	{INSN_16, "8b 41 ff", "1:8b p0 op2 ad2 r0 [b3+i7*1-1]"},
	{INSN_16, "8b 82 00 80", "1:8b p0 op2 ad2 r0 [b5+i6*1-32768]"},
	{INSN_16, "8b 03", "1:8b p0 op2 ad2 r0 [b5+i7*1+0]"},
	{INSN_16, "8b 0c", "1:8b p0 op2 ad2 r1 [b6+0]"},
	{INSN_16, "8b 0d", "1:8b p0 op2 ad2 r1 [b7+0]"},
	{INSN_16, "8b 4e 02", "1:8b p0 op2 ad2 r1 [b5+2]"},
	{INSN_16, "8b 0f", "1:8b p0 op2 ad2 r1 [b3+0]"},
	{INSN_16, "8b 0e 34 12", "1:8b p0 op2 ad2 r1 [+4660]"},
	{INSN_16, "67 8b 44 98 04", "1:8b p10 op2 ad4 r0 [b0+i3*4+4]"},
	{INSN_64, "67 44 89 0c 24", "1:89 p10 op4 ad4 r9 [b4+0]"},
	{INSN_64, "a1 88 77 66 55 44 33 22 11", "1:a1 p0 op4 ad8 [+1234605616436508552]"},
	{INSN_32, "a2 00 00 e0 fe", "1:a2 p0 op4 ad4 [-18874368]"},

	/* prefixes */
	{INSN_64, "f0 f3 f2 66 67 48 01 c3", "1:01 p1b op8 ad4 r0 r3"},
	{INSN_64, "f2 f3 a4", "1:a4 p4 op4 ad8"},
	{INSN_64, "48 66 01 c3", "1:01 p8 op2 ad8 r0 r3"},
	{INSN_64, "64 2e 8b 00", "1:8b p0 fs op4 ad8 r0 [b0+0]"}, /* CS has no effect */
	{INSN_64, "36 8b 00", "1:8b p0 op4 ad8 r0 [b0+0]"},
	{INSN_64, "64 65 8b 00", "1:8b p0 gs op4 ad8 r0 [b0+0]"},
	{INSN_32, "26 8b 00", "1:8b p0 es op4 ad4 r0 [b0+0]"},
	{INSN_32, "64 2e 8b 00", "1:8b p0 cs op4 ad4 r0 [b0+0]"},
	{INSN_16, "36 8b 07", "1:8b p0 ss op2 ad2 r0 [b3+0]"},
	{INSN_16, "3e 8b 07", "1:8b p0 ds op2 ad2 r0 [b3+0]"},

	/* operand sizes that do not follow the rule */
	{INSN_64, "50", "1:50 p0 op8 ad8"},
	{INSN_64, "66 50", "1:50 p8 op2 ad8"},
	{INSN_64, "66 c3", "1:c3 p8 op8 ad8"},
	{INSN_64, "ff 10", "1:ff p0 op8 ad8 r2 [b0+0]"},
	{INSN_64, "66 ff 20", "1:ff p8 op8 ad8 r4 [b0+0]"},
	{INSN_64, "ff 18", "1:ff p0 op4 ad8 r3 [b0+0]"},
	{INSN_64, "ff 30", "1:ff p0 op8 ad8 r6 [b0+0]"},
	{INSN_64, "66 ff 30", "1:ff p8 op2 ad8 r6 [b0+0]"},
	{INSN_64, "ff 00", "1:ff p0 op4 ad8 r0 [b0+0]"},
	{INSN_64, "8f 00", "1:8f p0 op8 ad8 r0 [b0+0]"},
	{INSN_64, "48 ed", "1:ed p0 op4 ad8"},
	{INSN_64, "66 ed", "1:ed p8 op2 ad8"},
	{INSN_64, "f3 48 6d", "1:6d p4 op4 ad8"},
	{INSN_64, "0f 22 00", "0f:22 p0 op8 ad8 r0 r0"},
	{INSN_64, "66 44 0f 20 c1", "0f:20 p8 op8 ad8 r8 r1"},
	{INSN_16, "0f 22 d8", "0f:22 p0 op4 ad2 r3 r0"},
	{INSN_64, "0f 78 c1", "0f:78 p0 op8 ad8 r0 r1"},
	{INSN_64, "0f 38 f0 00", "0f38:f0 p0 op4 ad8 r0 [b0+0]"},

	/* immediates: to the operand size, branches to 64 bits */
	{INSN_64, "83 c0 ff", "1:83 p0 op4 ad8 r0 r0 i1=ffffffff"},
	{INSN_64, "66 83 c0 ff", "1:83 p8 op2 ad8 r0 r0 i1=ffff"},
	{INSN_64, "48 83 c0 80", "1:83 p0 op8 ad8 r0 r0 i1=ffffffffffffff80"},
	{INSN_64, "c6 00 ff", "1:c6 p0 op4 ad8 r0 [b0+0] i1=ff"},
	{INSN_64, "c7 00 00 00 00 80", "1:c7 p0 op4 ad8 r0 [b0+0] i4=80000000"},
	{INSN_64, "48 c7 00 00 00 00 80", "1:c7 p0 op8 ad8 r0 [b0+0] i4=ffffffff80000000"},
	{INSN_64, "66 c7 00 00 80", "1:c7 p8 op2 ad8 r0 [b0+0] i2=8000"},
	{INSN_64, "48 b8 88 77 66 55 44 33 22 81", "1:b8 p0 op8 ad8 i8=8122334455667788"},
	{INSN_64, "b8 00 00 00 80", "1:b8 p0 op4 ad8 i4=80000000"},
	{INSN_64, "6a ff", "1:6a p0 op8 ad8 i1=ffffffffffffffff"},
	{INSN_32, "6a ff", "1:6a p0 op4 ad4 i1=ffffffff"},
	{INSN_64, "68 00 00 00 80", "1:68 p0 op8 ad8 i4=ffffffff80000000"},
	{INSN_64, "f7 40 08 01 00 00 80", "1:f7 p0 op4 ad8 r0 [b0+8] i4=80000001"},
	{INSN_64, "e4 80", "1:e4 p0 op4 ad8 i1=80"},
	{INSN_64, "cd 80", "1:cd p0 op4 ad8 i1=80"},
	{INSN_64, "c1 e0 84", "1:c1 p0 op4 ad8 r4 r0 i1=84"},
	{INSN_64, "74 fe", "1:74 p0 op8 ad8 i1=fffffffffffffffe"},
	{INSN_32, "e8 fe ff ff ff", "1:e8 p0 op4 ad4 i4=fffffffffffffffe"},
	{INSN_16, "e9 fe ff", "1:e9 p0 op2 ad2 i2=fffffffffffffffe"},
	{INSN_64, "c2 f0 ff", "1:c2 p0 op8 ad8 i2=fff0"},
	{INSN_64, "c8 10 80 03", "1:c8 p0 op8 ad8 i3=38010"},
	{INSN_32, "ea 78 56 34 12 08 80", "1:ea p0 op4 ad4 i6=800812345678"},
	{INSN_16, "9a 34 12 00 f0", "1:9a p0 op2 ad2 i4=f0001234"},
	{INSN_64, "0f 0f c1 b4", "0f:0f p0 op4 ad8 r0 r1 i1=b4"},
	{INSN_64, "66 0f 78 c1 05 06", "0f:78 p8 op2 ad8 r0 r1 i2=605"},
};

static void operands_are_told(void **state)
{
	u8 bytes[32] = {0};
	char fields[160];
	struct insn in;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(operands); i++) {
		size_t nr = parse_hex(operands[i].hex, bytes);

		assert_int_equal(insn_decode(bytes, nr, operands[i].mode, &in), 0);
		describe(&in, fields, sizeof(fields));
		assert_string_equal(fields, operands[i].fields);
		assert_int_equal(in.length, nr);
		check_complete(operands[i].mode, operands[i].hex);
	}
}

static u64 effective(enum insn_mode mode, const char *hex, const u64 regs[16])
{
	u8 bytes[16];
	size_t nr = parse_hex(hex, bytes);
	struct insn in;

	assert_int_equal(insn_decode(bytes, nr, mode, &in), 0);
	return insn_effective_address(&in, regs, 0xffffffff80001000);
}

static void effective_addresses_wrap_to_their_size(void **state)
{
	u64 regs[16];
	int i;

	(void)state;
	for (i = 0; i < 16; i++)
		regs[i] = 0x100000000ull * (i + 1) + 0xfff0 + i;

	assert_int_equal(effective(INSN_64, "8b 44 88 10", regs), regs[0] + 4 * regs[1] + 16);
	assert_int_equal(effective(INSN_64, "4f 8b 44 d1 80", regs), regs[9] + 8 * regs[10] - 128);
	assert_int_equal(effective(INSN_64, "8b 05 00 f0 ff ff", regs), 0xffffffff80000000);
	assert_int_equal(effective(INSN_64, "67 8b 05 00 f0 ff ff", regs), 0x80000000);
	assert_int_equal(effective(INSN_64, "67 8b 40 10", regs), 0x10000);
	assert_int_equal(effective(INSN_64, "8b 04 25 00 00 e0 fe", regs), 0xfffffffffee00000);
	assert_int_equal(effective(INSN_64, "a1 00 00 e0 fe 00 00 00 00", regs), 0xfee00000);
	assert_int_equal(effective(INSN_32, "8b 05 00 00 e0 fe", regs), 0xfee00000);
	assert_int_equal(effective(INSN_32, "a1 00 00 e0 fe", regs), 0xfee00000);
	assert_int_equal(effective(INSN_32, "8b 40 f0", regs), 0xffe0);
	assert_int_equal(effective(INSN_16, "8b 40 20", regs), (u16)(0xfff3 + 0xfff6 + 0x20));
	assert_int_equal(effective(INSN_16, "8b 06 fe ff", regs), 0xfffe);
}

/* ---- the cheap form ------------------------------------------------------------------------- */

static unsigned int matches(enum insn_mode mode, const char *hex, const char *opcode)
{
	u8 bytes[32], want[4];
	size_t nr = parse_hex(hex, bytes);
	size_t want_nr = parse_hex(opcode, want);

	return insn_matches(bytes, nr, mode, want, want_nr);
}

static void matching_skips_prefixes_only(void **state)
{
	(void)state;
	assert_int_equal(matches(INSN_64, "0f a2", "0f a2"), 2);
	assert_int_equal(matches(INSN_64, "0f a2 90 90", "0f a2"), 2);
	assert_int_equal(matches(INSN_64, "f4", "f4"), 1);
	assert_int_equal(matches(INSN_64, "0f 01 d9", "0f 01 d9"), 3);
	assert_int_equal(matches(INSN_64, "66 f3 48 0f a2", "0f a2"), 5);
	assert_int_equal(matches(INSN_64, "48 66 0f a2", "0f a2"), 4);
	assert_int_equal(matches(INSN_64, "f3 90", "90"), 2);
	assert_int_equal(matches(INSN_16, "2e 67 f4", "f4"), 3);

	assert_int_equal(matches(INSN_64, "0f a3 c0", "0f a2"), 0);
	assert_int_equal(matches(INSN_64, "90 0f a2", "0f a2"), 0);
	assert_int_equal(matches(INSN_64, "f4 0f a2", "0f a2"), 0);
	assert_int_equal(matches(INSN_32, "48 0f a2", "0f a2"), 0); /* DEC EAX */
	assert_int_equal(matches(INSN_16, "40 f4", "f4"), 0);

	assert_int_equal(matches(INSN_64, "", "f4"), 0);
	assert_int_equal(matches(INSN_64, "0f", "0f a2"), 0);
	assert_int_equal(matches(INSN_64, "66 66", "f4"), 0);
	assert_int_equal(matches(INSN_64, "66 0f 01", "0f 01 d9"), 0);
}

static void matching_ends_at_fifteen_bytes(void **state)
{
	static const u8 cpuid[] = {0x0f, 0xa2};
	u8 bytes[20];

	(void)state;
	memset(bytes, 0x66, sizeof(bytes));
	memcpy(bytes + 13, cpuid, 2);
	assert_int_equal(insn_matches(bytes, sizeof(bytes), INSN_64, cpuid, 2), 15);
	memset(bytes, 0x66, sizeof(bytes));
	memcpy(bytes + 14, cpuid, 2);
	assert_int_equal(insn_matches(bytes, sizeof(bytes), INSN_64, cpuid, 2), 0);
}

/* ---- everything ----------------------------------------------------------------------------- */

/* No bytes make it read further than it may (the sanitizer watches), and a decoded length never
 * changes with what follows. */
static void random_bytes_are_decoded_or_refused(void **state)
{
	struct rng rng = rng_seeded(11);
	unsigned int round;

	(void)state;
	for (round = 0; round < 300000; round++) {
		size_t nr = rng_below(&rng, 17);
		u8 *bytes = malloc(nr ? nr : 1);
		enum insn_mode mode = (enum insn_mode)rng_below(&rng, 3);
		struct insn in;
		size_t i;
		int err;

		for (i = 0; i < nr; i++)
			bytes[i] = (u8)rng_next(&rng);
		if (nr && rng_percent(&rng, 30))
			bytes[0] = 0x0f;
		err = insn_decode(bytes, nr, mode, &in);
		if (err == 0) {
			assert_in_range(in.length, 1, nr);
			assert_int_equal(insn_decode(bytes, in.length, mode, &in), 0);
			assert_int_equal(insn_decode(bytes, in.length - 1u, mode, &in), -EAGAIN);
		} else if (err == -EAGAIN) {
			assert_in_range(nr, 0, INSN_MAX_BYTES - 1);
		} else {
			assert_int_equal(err, -EINVAL);
		}
		free(bytes);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths_are_right_and_beginnings_ask_for_more),
		cmocka_unit_test(undefined_and_vex_are_refused),
		cmocka_unit_test(sixteenth_byte_is_refused),
		cmocka_unit_test(operands_are_told),
		cmocka_unit_test(effective_addresses_wrap_to_their_size),
		cmocka_unit_test(matching_skips_prefixes_only),
		cmocka_unit_test(matching_ends_at_fifteen_bytes),
		cmocka_unit_test(random_bytes_are_decoded_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
