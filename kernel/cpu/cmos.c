/* SPDX-License-Identifier: BSD-2-Clause */
/* The real-time clock's format, and the host's clock, read once at boot.
 *
 * An update may begin while the registers are read. UIP tells that one is near; two readings that
 * are equal tell that none came between. A clock that is not there reads 0xff: UIP for ever. */
#include "cpu/cmos.h"

#include "cpu/x86.h"
#include "lib/string.h"

#define DAY_SECONDS 86400
#define HOUR_PM     0x80
#define FIRST_YEAR  1970
#define END_YEAR    2500

static u32 month_days(u32 month, u32 year)
{
	static const u8 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static u32 year_days(u32 year)
{
	return 337 + month_days(2, year);
}

u8 cmos_number(u8 b, u32 n)
{
	return b & CMOS_B_BINARY ? n : n / 10 << 4 | n % 10;
}

u8 cmos_hour(u8 b, u32 h)
{
	if (b & CMOS_B_24H)
		return cmos_number(b, h);
	return cmos_number(b, (h + 11) % 12 + 1) | (h >= 12 ? HOUR_PM : 0);
}

static u32 number(u8 b, u8 value)
{
	return b & CMOS_B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

void cmos_encode(u8 reg[CMOS_BYTES], u64 seconds)
{
	u32 days = seconds / DAY_SECONDS, of_day = seconds % DAY_SECONDS;
	u32 year = FIRST_YEAR, month = 1;
	u8 b = reg[CMOS_B];

	reg[CMOS_WEEKDAY] = cmos_number(b, (days + 4) % 7 + 1); /* 1: Sunday; 1970: Thursday */
	for (; days >= year_days(year); year++)
		days -= year_days(year);
	for (; days >= month_days(month, year); month++)
		days -= month_days(month, year);
	reg[CMOS_SECOND] = cmos_number(b, of_day % 60);
	reg[CMOS_MINUTE] = cmos_number(b, of_day / 60 % 60);
	reg[CMOS_HOUR] = cmos_hour(b, of_day / 3600);
	reg[CMOS_DAY] = cmos_number(b, days + 1);
	reg[CMOS_MONTH] = cmos_number(b, month);
	reg[CMOS_YEAR] = cmos_number(b, year % 100);
	reg[CMOS_CENTURY] = cmos_number(b, year / 100);
}

bool cmos_decode(const u8 reg[CMOS_BYTES], u64 *seconds)
{
	u8 b = reg[CMOS_B], pm = b & CMOS_B_24H ? 0 : reg[CMOS_HOUR] & HOUR_PM;
	u32 second = number(b, reg[CMOS_SECOND]), minute = number(b, reg[CMOS_MINUTE]);
	u32 hour = number(b, reg[CMOS_HOUR] & ~pm), day = number(b, reg[CMOS_DAY]);
	u32 month = number(b, reg[CMOS_MONTH]), short_year = number(b, reg[CMOS_YEAR]);
	u32 year = number(b, reg[CMOS_CENTURY]) * 100 + short_year;

	if (!(b & CMOS_B_24H)) {
		if (hour < 1 || hour > 12)
			return false;
		hour = hour % 12 + (pm ? 12 : 0);
	}
	if (second > 59 || minute > 59 || hour > 23 || month < 1 || month > 12 || short_year > 99)
		return false;
	if (year < FIRST_YEAR || year >= END_YEAR)
		year = short_year + (short_year < 70 ? 2000 : 1900);
	if (day < 1 || day > month_days(month, year))
		return false;
	u64 days = day - 1;
	for (u32 y = FIRST_YEAR; y < year; y++)
		days += year_days(y);
	for (u32 m = 1; m < month; m++)
		days += month_days(m, year);
	*seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
	return true;
}

static u8 cmos_read(u8 index)
{
	outb(CMOS_INDEX_PORT, index);
	return inb(CMOS_DATA_PORT);
}

/* Read what cmos_decode looks at. False if the clock is updating itself all the time. */
static bool snapshot(u8 reg[CMOS_BYTES])
{
	static const u8 wanted[] = {CMOS_SECOND, CMOS_MINUTE, CMOS_HOUR, CMOS_DAY,
				    CMOS_MONTH, CMOS_YEAR, CMOS_B, CMOS_CENTURY};
	u32 tries = 10000; /* an update takes 2 ms, the two accesses about 1 us */

	while (cmos_read(CMOS_A) & CMOS_A_UIP)
		if (--tries == 0)
			return false;
	for (u32 i = 0; i < ARRAY_SIZE(wanted); i++)
		reg[wanted[i]] = cmos_read(wanted[i]);
	return true;
}

u64 cmos_wall_seconds(void)
{
	u8 reg[CMOS_BYTES] = {0}, again[CMOS_BYTES] = {0};
	u64 seconds;

	for (int tries = 0; tries < 5; tries++) {
		if (!snapshot(reg) || !snapshot(again))
			return 0;
		if (memcmp(reg, again, sizeof(reg)) == 0)
			return cmos_decode(reg, &seconds) ? seconds : 0;
	}
	return 0;
}
