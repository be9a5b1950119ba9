/* SPDX-License-Identifier: BSD-2-Clause */
/* Local APIC, other CPUs, fw_cfg. See apic.h. */
#include "apic.h"

#include "guest.h"
#include "trap.h"
#include "x86.h"

#define SPIV_ON     0x1ffu
#define AP_PAGE     0x7000ul /* where the trampoline goes: SIPI vector 7 */
#define AP_STACK    8192     /* ap_start.S shifts by 13 */
#define AP_SPINS    200000000u
#define SPACER      100000u /* INIT needs to arrive before the SIPI; emulators take their time */
#define FW_SELECTOR 0x510
#define FW_DATA     0x511

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1

u8 ap_stacks[AP_MAX * AP_STACK] aligned(16);
u32 ap_next = 1;

static void (*ap_fn)(unsigned int index);
static u32 ap_arrived;

extern char ap_trampoline[], ap_trampoline_end[];
void ap_entry(unsigned int index);

void apic_on(void)
{
	out8(PIC_MASTER_MASK, 0xff);
	out8(PIC_SLAVE_MASK, 0xff);
	apic_write(APIC_SPIV, SPIV_ON);
}

bool apic_send(u32 icr)
{
	apic_write(APIC_ICR_LOW, icr);
	for (unsigned int i = 0; i < SPACER; i++) {
		if (!(apic_read(APIC_ICR_LOW) & ICR_PENDING))
			return true;
		cpu_relax();
	}
	return false;
}

void ap_entry(unsigned int index)
{
	idt_load(guest_idt, sizeof(guest_idt));
	apic_on();
	__atomic_add_fetch(&ap_arrived, 1, __ATOMIC_SEQ_CST);
	ap_fn(index);
}

static void wait_for(const u32 *count, u32 expected, unsigned int spins)
{
	for (; spins && __atomic_load_n(count, __ATOMIC_ACQUIRE) < expected; spins--)
		cpu_relax();
}

unsigned int ap_start(void (*fn)(unsigned int index), unsigned int expected)
{
	static const u32 never;

	ap_fn = fn;
	memcpy((void *)AP_PAGE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	apic_on();
	apic_write(APIC_ICR_HIGH, 0);
	apic_send(ICR_TO_OTHERS | ICR_INIT | ICR_ASSERT);
	wait_for(&never, 1, SPACER);
	apic_send(ICR_TO_OTHERS | ICR_STARTUP | AP_PAGE >> 12);
	/* A second one, as the manuals have it; who runs already ignores it. */
	wait_for(&ap_arrived, expected, SPACER);
	if (__atomic_load_n(&ap_arrived, __ATOMIC_ACQUIRE) < expected)
		apic_send(ICR_TO_OTHERS | ICR_STARTUP | AP_PAGE >> 12);
	wait_for(&ap_arrived, expected, AP_SPINS);
	return __atomic_load_n(&ap_arrived, __ATOMIC_ACQUIRE);
}

u64 fw_cfg_read(u16 key, unsigned int bytes)
{
	u64 v = 0;

	out16(FW_SELECTOR, key);
	for (unsigned int i = 0; i < bytes; i++)
		v |= (u64)in8(FW_DATA) << (8 * i);
	return v;
}
