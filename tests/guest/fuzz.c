/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the hypervisor survive a guest that does anything at all, in any order, on two vCPUs?
 *
 * seed=N    which course (1)
 * steps=N   how long it is (100000)
 * halts=N   HLT so often at most: each is a wait
 * tell=N    say which step comes, each from the N-th on: where did it end?
 *
 * Each step is one thing out of the table at the end: ports and addresses of every device and of none,
 * registers of the processor, messages between the vCPUs, evictions, PCI configuration. The second vCPU is
 * started, stopped by INIT and interrupted in whatever state it is.
 *
 * The guest itself must last to the end, so a few things are kept from it: what ends a VM (F4, CF9, 92, 64,
 * the power-off of PM1), what would turn off long mode, INIT for the first vCPU, interrupts at vectors that
 * are exceptions, and NMIs for a vCPU that has no stack yet. Interrupts are counted and ended by every way
 * that there is; those that do not stop are stopped at their devices.
 *
 * Memory that no step names must keep what it held: a pattern says so at the end. */
#include "apic.h"
#include "guest.h"
#include "hypercall.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define VECTOR_TIMER 0x40
#define STORM        64     /* so many interrupts in one step, and their devices are made quiet */
#define IOAPIC_BASE  0xfec00000ul
#define TEST_MMIO    0xff000000ul
#define START_PAGES  64     /* where the second vCPU may start: 0x10000 and on */
#define START_FIRST  0x10
#define KEPT_WORDS   (256 << 10 >> 3)
#define AP_ID        1u

extern char fuzz_ap_start[], fuzz_ap_token[], fuzz_ap_end[];
void fuzz_ap_main(u32 token);

static u64 chance; /* the course */
static u64 *kept;
static u8 buffer[PAGE_SIZE] aligned(4096);

/* ---- what came, of both vCPUs --------------------------------------------------------------------- */

static u32 nr_interrupts, nr_nmis, nr_faults, nr_starts, in_step;
static u32 ap_token;  /* which start is the last that was asked for */
static u32 ap_alive;  /* which has come as far as its loop */
static u32 ap_beats;
static u64 halts_left;
static bool halting; /* the timer is to wake us */

static u32 below(u32 n)
{
	return (u32)(random_next(&chance) >> 33) % n;
}

static u64 any(void)
{
	return random_next(&chance);
}

/* A number as programs use them, or any. */
static u32 value(void)
{
	switch (below(4)) {
	case 0: return below(256);
	case 1: return 1u << below(32);
	case 2: return below(2) - 1;
	default: return (u32)any();
	}
}

/* Interrupts 16 to 31 are exceptions, some of which have an error code; below 16 an APIC sends none. */
static u32 with_safe_vector(u32 v)
{
	return (v & 0xf0) == 0x10 ? v | 0x20 : v;
}

static void quiet(void)
{
	for (u16 line = 0; line < 16; line++)
		out8(0x2000 + line, 0);
	out8(0x3f9, 0); /* serial port: IER (or half a divisor) */
	out8(0x70, 0xc);
	in8(0x71); /* clock: what happened */
	if (!halting)
		apic_write(0x380, 0); /* local APIC's timer */
	out8(0x43, 0x30); /* 8254: one-shot, not loaded */
	in_step = 0;
}

static void interrupt(struct trap_frame *f)
{
	(void)f;
	__atomic_add_fetch(&nr_interrupts, 1, __ATOMIC_RELAXED);
	if (++in_step >= STORM)
		quiet();
	out8(0xa0, 0x20);
	out8(0x20, 0x20);
	apic_write(APIC_EOI, 0);
}

static void nmi(struct trap_frame *f)
{
	(void)f;
	__atomic_add_fetch(&nr_nmis, 1, __ATOMIC_RELAXED);
}

/* ---- the second vCPU -------------------------------------------------------------------------------- */

void fuzz_ap_main(u32 token)
{
	idt_load(guest_idt, 4096);
	apic_write(APIC_SPIV, 0x1ff);
	__atomic_store_n(&ap_alive, token, __ATOMIC_RELEASE);
	if (token & 1)
		irq_on();
	for (u32 i = 0;; i++) {
		__atomic_add_fetch(&ap_beats, 1, __ATOMIC_RELAXED);
		switch (token >> 1 & 7) {
		case 0: cpu_relax(); break;
		case 1: __asm__ volatile("hlt"); break;
		case 2: cpuid(i, 0); break;
		case 3: out8(0x80, (u8)i); break;
		case 4: (void)*(volatile u64 *)&kept[i % KEPT_WORDS]; break;
		case 5: apic_write(APIC_ICR_LOW, ICR_TO_SELF | (VECTOR_TIMER + 1)); break;
		case 6: write_cr3(read_cr3()); break;
		default: (void)*(volatile u32 *)(TEST_MMIO + i % 4096 * 4); break;
		}
		cpu_relax();
	}
}

static void ap_prepare(void)
{
	volatile u32 *vectors = (volatile u32 *)0;
	u8 *iret = (u8 *)0x6000;
	u32 stub = 0x6000;

	*iret = 0xcf; /* iret of 16 and of 32 bits */
	iret[0x10] = 0x48; /* iretq */
	iret[0x11] = 0xcf;
	__asm__ volatile("" : "+r"(vectors)); /* address 0 is an address here */
	for (unsigned int v = 0; v < 256; v++)
		vectors[v] = stub;
	/* The NMI's gates of protected mode (vector 2, 8 bytes each) and of long mode (16). */
	vectors[4] = SEL_CODE32 << 16 | stub;
	vectors[5] = GATE_INTERRUPT << 8;
	vectors[8] = SEL_CODE64 << 16 | (stub + 0x10);
	vectors[9] = GATE_INTERRUPT << 8;
	vectors[10] = vectors[11] = 0;
	for (u32 page = 0; page < START_PAGES; page++)
		memcpy((void *)(u64)((START_FIRST + page) << 12), fuzz_ap_start,
		       (size_t)(fuzz_ap_end - fuzz_ap_start));
}

static void icr_write(u32 dest, u32 icr)
{
	apic_write(APIC_ICR_HIGH, dest << 24);
	apic_write(APIC_ICR_LOW, icr);
}

/* A start that no earlier one can be taken for: each has its page. */
static u32 start_page(u32 token)
{
	u32 page = START_FIRST + token % START_PAGES;

	*(volatile u32 *)(u64)((page << 12) + (u32)(fuzz_ap_token - fuzz_ap_start)) = token;
	return page;
}

static void step_init(void)
{
	__atomic_add_fetch(&ap_token, 1, __ATOMIC_SEQ_CST);
	icr_write(AP_ID, ICR_INIT | ICR_ASSERT | (below(2) ? 1u << 15 : 0));
	if (below(2))
		icr_write(AP_ID, ICR_INIT | 1u << 15); /* the level goes: nothing */
	if (below(4) == 0)
		icr_write(0, ICR_INIT | ICR_ASSERT | ICR_TO_OTHERS);
	for (u32 i = below(2) ? below(200) : 0; i; i--)
		cpu_relax();
}

static void step_sipi(void)
{
	u32 nr = 1 + below(2);

	if (below(8) == 0)
		icr_write(0, ICR_STARTUP | (u8)any() | ICR_TO_SELF); /* who runs takes none */
	while (nr--) {
		icr_write(AP_ID, ICR_STARTUP | start_page(ap_token));
		nr_starts++;
	}
}

static void step_start(void)
{
	step_init();
	step_sipi();
	for (u32 i = below(2) ? below(5000) : 0; i; i--)
		cpu_relax();
}

/* Fixed, lowest priority, SMI, reserved, ExtINT; to anybody, by any name. */
static void step_message(void)
{
	static const u32 modes[] = {0, 0, 0, 1, 2, 3, 7};
	u32 icr = with_safe_vector((u8)any()) | modes[below(sizeof(modes) / sizeof(modes[0]))] << 8 |
		  ((u32)any() & 0xfffcf800); /* destination mode, level, shorthand */

	icr_write(below(2) ? below(4) : (u8)any(), icr);
}

static void step_nmi(void)
{
	u32 token = __atomic_load_n(&ap_token, __ATOMIC_ACQUIRE);

	if (below(2))
		icr_write(0, ICR_NMI);
	else if (__atomic_load_n(&ap_alive, __ATOMIC_ACQUIRE) == token)
		icr_write(AP_ID, ICR_NMI);
}

/* ---- ports ------------------------------------------------------------------------------------------- */

static const struct {
	u16 start, nr;
} port_ranges[] = {
	{0x20, 2}, {0xa0, 2}, {0x4d0, 2}, {0x40, 4}, {0x61, 1}, {0x70, 2}, {0x3f8, 8}, {0x3b0, 0x30},
	{0x510, 2}, {0x600, 12}, {0xe0, 4}, {0x2000, 16}, {0xcf8, 8}, {0x60, 6}, {0x80, 1}, {0x2f8, 8},
};

static const u16 deadly[] = {0xf4, 0xf5, 0xf6, 0xf7, 0xcf9, 0x64, 0x92, 0x604, 0x605};

static bool is_deadly(u16 port, unsigned int bytes)
{
	if (port == 0xcf8 && bytes == 4)
		return false; /* a dword there is a PCI address, not a reset */
	for (unsigned int i = 0; i < ARRAY_SIZE(deadly); i++)
		if (port <= deadly[i] && port + bytes > deadly[i])
			return true;
	return false;
}

static u32 port_read(u16 port, unsigned int bytes)
{
	return bytes == 1 ? in8(port) : bytes == 2 ? in16(port) : in32(port);
}

/* Vectors of the 8259s are 20 and above: bit 5 is on in all that reaches their data ports. */
static void port_write(u16 port, unsigned int bytes, u32 v)
{
	if (is_deadly(port, bytes))
		return;
	for (unsigned int i = 0; i < bytes; i++)
		if (port + i == 0x21 || port + i == 0xa1)
			v |= 0x20u << (8 * i);
	if (bytes == 1)
		out8(port, (u8)v);
	else if (bytes == 2)
		out16(port, (u16)v);
	else
		out32(port, v);
}

static void step_port(void)
{
	unsigned int r = below(ARRAY_SIZE(port_ranges)), bytes = 1u << below(3);
	u16 port = port_ranges[r].start + below(port_ranges[r].nr);

	if (below(8) == 0)
		port = (u16)any();
	if (below(3) == 0)
		port_read(port, bytes);
	else if (port < 0xe4 || port >= 0xe8) /* an eviction is a step of its own */
		port_write(port, bytes, value());
}

static void step_string(void)
{
	static const u16 ports[] = {0x3ff, 0xe0, 0x80, 0x511, 0xcfc, 0x71, 0x2f8};
	u16 port = ports[below(ARRAY_SIZE(ports))];
	u64 at = (u64)buffer + below(2048), nr = below(below(4) ? 16 : 1000);

	if (below(2))
		__asm__ volatile("rep insb" : "+D"(at), "+c"(nr) : "d"(port) : "memory");
	else if (port != 0xcfc) /* it may be a command register by now: any byte, but by step_pci */
		__asm__ volatile("rep outsb" : "+S"(at), "+c"(nr) : "d"(port) : "memory");
}

static void step_evict(void)
{
	u32 own = 0x100000 + below(0x100000); /* code, stack, tables, the pattern */

	out32(0xe4, below(4) ? own : below(4) ? below((u32)guest_ram_end()) : value());
}

/* Any register of any function; a BAR goes anywhere, onto RAM as well. */
static void step_pci(void)
{
	u32 slot = below(8), reg = below(2) ? 0x10 + below(6) * 4 : below(64) * 4;

	out32(0xcf8, 1u << 31 | (below(16) ? 0 : (u32)any()) | slot << 11 | reg);
	if (below(2))
		port_read((u16)(0xcfc + below(4)), 1u << below(3));
	else
		port_write(0xcfc, 4, below(2) ? below((u32)guest_ram_end()) : value());
}

/* ---- addresses --------------------------------------------------------------------------------------- */

static void memory_access(u64 at, u64 v, unsigned int bytes, bool write)
{
	switch (bytes | (write ? 16 : 0)) {
	case 1: (void)*(volatile u8 *)at; break;
	case 2: (void)*(volatile u16 *)at; break;
	case 4: (void)*(volatile u32 *)at; break;
	case 8: (void)*(volatile u64 *)at; break;
	case 17: *(volatile u8 *)at = (u8)v; break;
	case 18: *(volatile u16 *)at = (u16)v; break;
	case 20: *(volatile u32 *)at = (u32)v; break;
	default: *(volatile u64 *)at = v;
	}
}

static void step_local_apic(void)
{
	u32 reg = below(4) ? below(64) << 4 : below(4096), v = value();

	if (reg == APIC_ICR_LOW) {
		step_message();
		return;
	}
	if (reg >= APIC_LVT_TIMER && reg <= 0x370)
		v = with_safe_vector(v);
	memory_access(APIC_BASE + reg, v, reg & 15 ? 1u << below(3) : 4u << below(2), below(2));
}

/* Modes NMI, INIT and ExtINT are those with bit 10. */
static void step_io_apic(void)
{
	u32 v = with_safe_vector(value()) & ~(1u << 10);

	if (below(4)) {
		*(volatile u32 *)IOAPIC_BASE = below(4) ? 0x10 + below(48) : (u8)v;
		*(volatile u32 *)(IOAPIC_BASE + 0x10) = v;
	} else {
		memory_access(IOAPIC_BASE + below(0x30), v, 1u << below(3), below(2));
	}
}

static void step_test_memory(void)
{
	memory_access(TEST_MMIO + below(0x10010) - 8, any(), 1u << below(4), below(2));
}

/* Where nothing is: below 4 GiB but in the pages of the APICs, and far above. */
static void step_nothing(void)
{
	u64 at = guest_ram_end() + any() % (IOAPIC_BASE - guest_ram_end() - 16);
	u64 far = 1ull << 32, end = 1ull << (cpuid(0x80000008, 0).eax & 0xff);

	if (below(2)) {
		page_map(TEST_VA, page_down(far + any() % (end - far)), PTE_P | PTE_W);
		at = TEST_VA + below(PAGE_SIZE - 8);
	}
	memory_access(at, any(), 1u << below(4), below(2));
}

/* ---- the processor ------------------------------------------------------------------------------------- */

static void step_msr(void)
{
	static const u32 known[] = {MSR_TSC, MSR_APIC_BASE, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_PAT, MSR_STAR,
				    MSR_LSTAR, MSR_SFMASK, MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
				    0x6e0, 0x1d9, 0x2ff, 0x200, 0x8b, 0xfe, 0x3a, 0xc0010114, 0xc0010117};
	u32 msr = below(4) ? known[below(ARRAY_SIZE(known))] : below(2) ? below(0x2000) : 0xc0000000 + below(0x20000);
	u64 v;

	if (msr == MSR_EFER)
		return;
	if (msr == MSR_APIC_BASE)
		v = APIC_BASE | (any() & 0xb00); /* no x2APIC: there is no way back without a reset */
	else
		v = below(2) ? value() : any();
	if (below(2) ? !rdmsr_safe(msr, &v) : !wrmsr_safe(msr, v))
		nr_faults++;
}

static void step_cpuid(void)
{
	static const u32 bases[] = {0, 0x40000000, 0x80000000, 0xc0000000};

	cpuid(below(8) ? bases[below(4)] + below(32) : (u32)any(), below(4) ? below(8) : (u32)any());
}

static void step_translations(void)
{
	switch (below(4)) {
	case 0: write_cr3(read_cr3()); break;
	case 1: invlpg((void *)(below(2) ? any() : (u64)kept)); break;
	case 2: write_cr8(below(16)); write_cr8(0); break;
	default: write_cr4(read_cr4() ^ CR4_PGE); break;
	}
}

/* The timer is periodic: an emulator may lose the shadow of an STI when the guest is left right behind it, and
 * what is taken between it and HLT wakes nobody. */
static void step_halt(void)
{
	u64 apic_base;

	if (!halts_left)
		return;
	halts_left--;
	irq_off();
	if (rdmsr_safe(MSR_APIC_BASE, &apic_base))
		(void)wrmsr_safe(MSR_APIC_BASE, APIC_BASE | 0x900);
	apic_write(APIC_SPIV, 0x1ff);
	apic_write(APIC_TPR, 0);
	for (u32 reg = 0x100; reg < 0x180; reg += 0x10) /* what was left in service */
		while (apic_read(reg))
			apic_write(APIC_EOI, 0);
	apic_write(APIC_LVT_TIMER, 1u << 17 | VECTOR_TIMER);
	apic_write(0x3e0, 0xb);
	apic_write(0x380, 1 + below(20000));
	halting = true;
	__asm__ volatile("sti; hlt" : : : "memory");
	halting = false;
	apic_write(0x380, 0);
}

/* Its numbers are few: the others do nothing. What of memory it is told are gfns to watch, no more. */
static void step_hypercall(void)
{
	if (below(2))
		hypercall_progress(any(), any());
	else
		hypercall_watch(below(2) ? any() : below(4096), below(2) ? any() : below(4096), value());
}

/* ---- the course ---------------------------------------------------------------------------------------- */

static const struct {
	void (*step)(void);
	u32 weight;
} steps[] = {
	{step_port, 30}, {step_string, 3}, {step_evict, 2}, {step_pci, 8}, {step_local_apic, 12},
	{step_io_apic, 10}, {step_test_memory, 5}, {step_nothing, 6}, {step_msr, 6}, {step_cpuid, 4},
	{step_translations, 5}, {step_halt, 1}, {step_hypercall, 2}, {step_message, 6}, {step_nmi, 2},
	{step_init, 1}, {step_sipi, 2}, {step_start, 2},
};

static void one_step(u32 weights, bool tell)
{
	u32 at = below(weights), i;

	for (i = 0; at >= steps[i].weight; i++)
		at -= steps[i].weight;
	in_step = 0;
	if (tell) {
		console_init();
		print("step %u\n", i);
	}
	irq_on();
	steps[i].step();
	irq_off();
}

static void prepare(void)
{
	kept = ram_alloc(KEPT_WORDS * sizeof(*kept), PAGE_SIZE);
	for (u64 i = 0; i < KEPT_WORDS; i++)
		kept[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	for (unsigned int v = 32; v < 256; v++)
		trap_handler_set(v, interrupt);
	trap_handler_set(VEC_NMI, nmi);
	ap_prepare();
	apic_on();
	for (u16 port = 0x20; port <= 0xa0; port += 0x80) { /* the 8259s: vectors 20 to 2f */
		out8(port, 0x11);
		out8(port + 1, port == 0x20 ? 0x20 : 0x28);
		out8(port + 1, port == 0x20 ? 4 : 2);
		out8(port + 1, 1);
		out8(port + 1, 0);
	}
}

int guest_main(void)
{
	u64 nr = guest_arg_number("steps", 100000), wrong = 0;
	u64 tell = guest_arg_number("tell", ~0ull);
	u32 weights = 0;

	halts_left = guest_arg_number("halts", ~0ull);
	chance = guest_arg_number("seed", 1) * 0x9e3779b97f4a7c15ull | 1;
	prepare();
	for (u32 i = 0; i < ARRAY_SIZE(steps); i++)
		weights += steps[i].weight;
	for (u64 i = 0; i < nr; i++)
		one_step(weights, i >= tell);
	irq_off();
	icr_write(AP_ID, ICR_INIT | ICR_ASSERT);
	console_init();
	for (u64 i = 0; i < KEPT_WORDS; i++)
		wrong += kept[i] != (i + 1) * 0x9e3779b97f4a7c15ull;
	print("%s: %lu steps, %u interrupts, %u NMIs, %u faults, %u starts, %u beats\n", guest_name, nr,
	      nr_interrupts, nr_nmis, nr_faults, nr_starts, ap_beats);
	report(!wrong, "%lu words of memory that nothing named have changed", wrong);
	report(nr_interrupts && nr_starts && ap_beats, "interrupts came, and the second vCPU ran");
	return report_summary();
}
