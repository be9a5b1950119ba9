/* SPDX-License-Identifier: BSD-2-Clause */
/* The MC146818 real-time clock: its registers' numbers and formats, both ways, and the host's own
 * clock. Motorola MC146818 data sheet, "Address map", "Time, calendar, and alarm locations",
 * "Registers". */
#pragma once

#include "lib/types.h"

#define CMOS_INDEX_PORT 0x70
#define CMOS_DATA_PORT  0x71

enum {
	CMOS_SECOND = 0, CMOS_SECOND_ALARM = 1, CMOS_MINUTE = 2, CMOS_MINUTE_ALARM = 3,
	CMOS_HOUR = 4, CMOS_HOUR_ALARM = 5, CMOS_WEEKDAY = 6, CMOS_DAY = 7, CMOS_MONTH = 8,
	CMOS_YEAR = 9,
	CMOS_A = 0xa, CMOS_B = 0xb, CMOS_C = 0xc, CMOS_D = 0xd,
	CMOS_CENTURY = 0x32, /* where PCs have it */
	CMOS_BYTES = 128,
};
enum { CMOS_A_UIP = 0x80, CMOS_B_24H = 2, CMOS_B_BINARY = 4 };

/* cmos_number, cmos_hour - @n, or the hour @h of 0 to 23, as a register in the format that @b,
 * register B, asks for. */
u8 cmos_number(u8 b, u32 n);
u8 cmos_hour(u8 b, u32 h);
/* cmos_encode - write time and date of @seconds since 1970 (UTC) to the registers @reg. Years to
 * 2499. */
void cmos_encode(u8 reg[CMOS_BYTES], u64 seconds);
/* cmos_decode - the way back; false if the registers make no sense. A century that does not give a
 * year from 1970 to 2499 is taken for something else: years from 70 on are then of the 20th, others
 * of the 21st. */
bool must_check cmos_decode(const u8 reg[CMOS_BYTES], u64 *seconds);

/* cmos_wall_seconds - what the host's clock says, in seconds since 1970; 0 if that makes no sense.
 * => at boot, one CPU; waits for an update to end, 2 ms; some 20 ms if there is no clock */
u64 cmos_wall_seconds(void);
