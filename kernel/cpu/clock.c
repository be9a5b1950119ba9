/* SPDX-License-Identifier: BSD-2-Clause */
/* Time from the TSC, and how fast it runs.
 *
 * Every reference is a counter that runs by itself at a known rate. All of them, the TSC and the APIC
 * timer are read at the begin and at the end of one common interval, so that the wait is paid once. A
 * reading stands between two readings of the TSC; of several attempts the one with the narrowest
 * bracket counts, so that an interrupt of the emulator, or of firmware, in the middle of one does not
 * matter. How long the interval really was does not matter either, unless a counter wraps, as the 8254
 * does after 55 ms: it then stands alone with its opinion, and the measurement is repeated.
 *
 * Sources: Intel 8254 data sheet; ACPI Specification, "Power Management Timer"; IA-PC HPET
 * Specification, "Register Overview". */
#include "cpu/clock.h"

#include "cpu/apic.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/printk.h"

#define INTERVAL_US 10000
#define ATTEMPTS    8
#define ROUNDS      3
#define PIT_HZ      1193182
#define PM_HZ       3579545
#define NS_PER_S    1000000000ull
/* Bounds of what a TSC may do, emulators included: a value outside is a broken reference. */
#define TSC_HZ_MIN 1000000ull
#define TSC_HZ_MAX 20000000000ull
/* Polls without any progress, of absent or stopped counters: each takes microseconds on a board. */
#define STILL_MAX 20000

/* A counter that counts up; those that count down are read negated. */
struct reference {
	const char *name;
	u32 (*read)(void);
	u64 hz; /* 0: what we look for (the APIC timer) */
	u32 mask;
	u64 tsc_start;
	u32 start;
	u64 tsc_ticks, ticks; /* of the interval */
};

enum { REF_HPET, REF_PM, REF_PIT, REF_APIC, NR_REFS }; /* the best first */

static u16 pm_port;
static volatile u8 *hpet;

static u64 tsc_hz, tsc_base;
static u64 ns_mult;  /* ns per TSC tick, times 2^32 */
static u64 tsc_mult; /* TSC ticks per ns, times 2^32 */

/* ---- the counters ---------------------------------------------------------------------------- */

#define PIT_CH2     0x42
#define PIT_COMMAND 0x43
#define PIT_GATE    0x61

/* Channel 2 counts down from FFFF, gate on, speaker off; it wraps after 55 ms. */
static void pit_start(void)
{
	outb(PIT_GATE, (inb(PIT_GATE) & ~2) | 1);
	outb(PIT_COMMAND, 0xb4); /* channel 2, low and high byte, mode 2 */
	outb(PIT_CH2, 0xff);
	outb(PIT_CH2, 0xff);
}

static u32 pit_read(void)
{
	u32 low;

	outb(PIT_COMMAND, 0x80); /* latch channel 2 */
	low = inb(PIT_CH2);
	return -(low | (u32)inb(PIT_CH2) << 8);
}

static u32 pm_read(void)
{
	return inl(pm_port);
}

#define HPET_PERIOD  0x04 /* upper half of the capabilities: femtoseconds */
#define HPET_CONFIG  0x10
#define HPET_COUNTER 0xf0

static u32 hpet_reg(u32 offset)
{
	return *(volatile u32 *)(hpet + offset);
}

static u32 hpet_read(void)
{
	return hpet_reg(HPET_COUNTER);
}

/* hpet_start - let it run. Returns its frequency; 0 if it cannot be what it says it is. */
static u64 hpet_start(void)
{
	u32 period = hpet_reg(HPET_PERIOD);

	if (period < 1000000 || period > 100000000) /* the specification's maximum is 100 ns */
		return 0;
	*(volatile u32 *)(hpet + HPET_CONFIG) = hpet_reg(HPET_CONFIG) | 1;
	return 1000000000000000ull / period;
}

static u32 apic_read(void)
{
	return -apic_timer_read_raw();
}

/* ---- the measurement --------------------------------------------------------------------------- */

/* sample - @r's value and the TSC at the same moment, as nearly as can be told. */
static u32 sample(const struct reference *r, u64 *tsc)
{
	u64 narrowest = ~0ull;
	u32 value = 0;

	for (u32 i = 0; i < ATTEMPTS; i++) {
		u64 before = rdtsc();
		u32 now = r->read();
		u64 after = rdtsc();

		if (after - before >= narrowest)
			continue;
		narrowest = after - before;
		*tsc = before + narrowest / 2;
		value = now;
	}
	return value;
}

/* wait_interval - until one of the references says that the interval is over, or none moves. */
static void wait_interval(const struct reference *refs)
{
	u64 last_sum = 0;

	for (u32 still = 0; still < STILL_MAX; still++) {
		u64 sum = 0;

		for (u32 i = 0; i < REF_APIC; i++) {
			const struct reference *r = &refs[i];
			u64 ticks;

			if (!r->read)
				continue;
			ticks = (r->read() - r->start) & r->mask;
			if (ticks >= r->hz * INTERVAL_US / 1000000)
				return;
			sum += ticks;
		}
		if (sum != last_sum)
			still = 0;
		last_sum = sum;
		cpu_relax();
	}
}

static void measure(struct reference *refs)
{
	pit_start();
	apic_timer_start_raw();
	for (u32 i = 0; i < NR_REFS; i++)
		if (refs[i].read)
			refs[i].start = sample(&refs[i], &refs[i].tsc_start);
	wait_interval(refs);
	for (u32 i = 0; i < NR_REFS; i++) {
		u64 tsc_end = 0;
		u32 end;

		if (!refs[i].read)
			continue;
		end = sample(&refs[i], &tsc_end);
		refs[i].ticks = (end - refs[i].start) & refs[i].mask;
		refs[i].tsc_ticks = tsc_end - refs[i].tsc_start;
	}
}

/* ---- the decision ------------------------------------------------------------------------------ */

struct opinion {
	const char *name;
	u64 hz;
};

static bool agree(u64 a, u64 b)
{
	return MAX(a, b) - MIN(a, b) <= MAX(a, b) / 100;
}

/* CPUID's own word: TSC to crystal ratio and crystal. Intel SDM vol. 2A, leaf 15h. */
static u64 cpuid_tsc_hz(void)
{
	struct cpuid_regs r;

	if (features.max_leaf < 0x15)
		return 0;
	r = cpuid(0x15, 0);
	return r.eax && r.ebx && r.ecx ? (u64)r.ecx * r.ebx / r.eax : 0;
}

#define OPINIONS_MAX (1 + ROUNDS * REF_APIC)

static void add_opinion(struct opinion *out, u32 *n, const char *name, u64 hz)
{
	if (hz >= TSC_HZ_MIN && hz <= TSC_HZ_MAX)
		out[(*n)++] = (struct opinion){name, hz};
}

static void collect(const struct reference *refs, struct opinion *out, u32 *n)
{
	for (u32 i = 0; i < REF_APIC; i++)
		if (refs[i].read && refs[i].ticks)
			add_opinion(out, n, refs[i].name,
				    refs[i].tsc_ticks * refs[i].hz / refs[i].ticks);
}

/* agreed - the first opinion, the best reference's if all is well, with which another agrees; 0: none. */
static u64 agreed(const struct opinion *o, u32 n)
{
	for (u32 i = 0; i < n; i++)
		for (u32 j = 0; j < n; j++)
			if (j != i && agree(o[i].hz, o[j].hz))
				return o[i].hz;
	return 0;
}

/* median - of opinions that all differ. */
static u64 median(const struct opinion *o, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		u32 smaller = 0;

		for (u32 j = 0; j < n; j++)
			smaller += o[j].hz < o[i].hz;
		if (smaller != n / 2)
			continue;
		printk("clock: no two references agree; %lu kHz by %s, of %u\n", o[i].hz / 1000, o[i].name,
		       n);
		return o[i].hz;
	}
	printk("clock: no reference runs; 1 GHz is assumed\n");
	return NS_PER_S;
}

/* find_tsc_hz - measure until two opinions agree, of one reference at two times if need be. */
static u64 find_tsc_hz(struct reference *refs)
{
	struct opinion opinions[OPINIONS_MAX];
	u32 n = 0;

	add_opinion(opinions, &n, "CPUID", cpuid_tsc_hz());
	for (u32 round = 0; round < ROUNDS; round++) {
		u64 hz;

		measure(refs);
		collect(refs, opinions, &n);
		hz = agreed(opinions, n);
		if (hz)
			return hz;
	}
	return median(opinions, n);
}

static void set_tsc_hz(u64 hz)
{
	ns_mult = (NS_PER_S << 32) / hz;
	tsc_mult = (hz / NS_PER_S << 32) + (hz % NS_PER_S << 32) / NS_PER_S;
	tsc_hz = hz;
}

void clock_calibrate(u16 pm, volatile void *hpet_base)
{
	struct reference refs[NR_REFS] = {
		[REF_HPET] = {.name = "HPET", .mask = 0xffffffff},
		[REF_PM] = {.name = "PM timer", .hz = PM_HZ, .mask = 0xffffff},
		[REF_PIT] = {.name = "8254", .read = pit_read, .hz = PIT_HZ, .mask = 0xffff},
		[REF_APIC] = {.name = "APIC", .read = apic_read, .mask = 0xffffffff},
	};
	u64 flags = irq_save(); /* a handler in the middle would only widen brackets */

	tsc_base = rdtsc();
	pm_port = pm;
	hpet = hpet_base;
	if (pm)
		refs[REF_PM].read = pm_read;
	if (hpet)
		refs[REF_HPET].hz = hpet_start();
	if (refs[REF_HPET].hz)
		refs[REF_HPET].read = hpet_read;
	set_tsc_hz(find_tsc_hz(refs));
	if (refs[REF_APIC].tsc_ticks)
		apic_timer_calibrated(refs[REF_APIC].ticks * tsc_hz / refs[REF_APIC].tsc_ticks);
	irq_restore(flags);
}

/* ---- time -------------------------------------------------------------------------------------- */

u64 clock_tsc_hz(void)
{
	return tsc_hz;
}

u64 clock_tsc_to_ns(u64 tsc_delta)
{
	return ((unsigned __int128)tsc_delta * ns_mult) >> 32;
}

u64 clock_ns_to_tsc(u64 ns)
{
	return (((unsigned __int128)ns * tsc_mult) >> 32) + 1;
}

u64 clock_ns(void)
{
	return clock_tsc_to_ns(rdtsc() - tsc_base);
}

void clock_spin_us(u32 us)
{
	u64 start = rdtsc(), ticks = clock_ns_to_tsc(us * 1000ull);

	if (!tsc_hz) { /* not yet calibrated: a read of this port takes a microsecond at least */
		while (us--)
			(void)inb(0x80);
		return;
	}
	while (rdtsc() - start < ticks)
		cpu_relax();
}
