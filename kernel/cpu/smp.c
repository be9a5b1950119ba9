/* SPDX-License-Identifier: BSD-2-Clause */
/* Bringing up the other CPUs. All get INIT at once; after the pause it demands they are started one by
 * one, which takes a fraction of a millisecond each and makes CPU numbers follow the firmware's list
 * on every run. Source: Intel SDM vol. 3A, "Multiple-Processor (MP) Initialization". */
#include "cpu/smp.h"

#include "cpu/apic.h"
#include "cpu/clock.h"
#include "cpu/cpu_internal.h"
#include "cpu/features.h"
#include "cpu/fpu.h"
#include "cpu/memory.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/printk.h"
#include "lib/string.h"

#define INIT_PAUSE_US  10000
#define SIPI_PAUSE_US  200
#define ANSWER_US      1000000
#define POLL_US        10
#define STOP_POLLS     100000

/* As at ap_trampoline_data in boot/ap_trampoline.S. */
struct ap_data {
	u32 long_mode;
	u16 selector;
	u16 gdt_limit;
	u32 gdt;
	u32 cr3;
	u32 efer, unused_word;
	u64 start;
	u64 cpu;
	u64 stack;
} packed;

extern const u8 ap_trampoline[], ap_trampoline_long[], ap_trampoline_data[], ap_trampoline_end[];
void ap_start(void);
noreturn_fn void ap_entry(struct cpu *cpu); /* called by ap_start */

static noreturn_fn void (*cpu_main)(void);

u64 cpu_online_mask(void)
{
	u32 n = atomic_load(&nr_cpus);

	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* ---- on the CPU that starts ---------------------------------------------------------------------- */

void ap_entry(struct cpu *cpu)
{
	memory_init_ap();
	trap_init();
	fpu_init();
	apic_init();
	atomic_store(&cpu->online, true);
	/* Who is not counted was given up. */
	while (atomic_load(&nr_cpus) <= cpu->id)
		cpu_relax();
	cpu_main();
}

/* ---- on the boot CPU ------------------------------------------------------------------------------- */

static struct ap_data *copy_trampoline(u32 page)
{
	u8 *copy = phys_to_virt(page);
	struct ap_data *d = (struct ap_data *)(copy + (ap_trampoline_data - ap_trampoline));

	memcpy(copy, ap_trampoline, ap_trampoline_end - ap_trampoline);
	d->long_mode = page + (ap_trampoline_long - ap_trampoline);
	d->selector = SELECTOR_CODE;
	d->gdt_limit = 2 * 8 - 1;
	d->gdt = page + (ap_trampoline_data - ap_trampoline) - 2 * 8;
	d->cr3 = image_to_phys(boot_pml4);
	d->efer = EFER_LME | (features.nx ? EFER_NXE : 0);
	d->start = (u64)ap_start;
	return d;
}

static bool answers_within(const struct cpu *cpu, u32 us)
{
	for (u32 waited = 0; waited < us; waited += POLL_US) {
		if (atomic_load(&cpu->online))
			return true;
		clock_spin_us(POLL_US);
	}
	return atomic_load(&cpu->online);
}

/* start_one - Return false without memory or answer; then the processor waits again, as after INIT,
 * and the next one gets what was meant for it. */
static bool start_one(u32 id, u32 page, struct ap_data *data)
{
	static struct cpu *cpu;
	static void *stack;

	if (!cpu)
		cpu = cpu_area_create();
	if (!stack)
		stack = stack_alloc();
	if (!cpu || !stack)
		return false;
	cpu->id = nr_cpus;
	cpu->apic_id = id;
	data->cpu = (u64)cpu;
	data->stack = (u64)stack;
	smp_mb();
	apic_send(id, APIC_STARTUP | page >> PAGE_SHIFT);
	if (!answers_within(cpu, SIPI_PAUSE_US)) {
		apic_send(id, APIC_STARTUP | page >> PAGE_SHIFT);
		if (!answers_within(cpu, ANSWER_US)) {
			apic_send(id, APIC_INIT);
			clock_spin_us(INIT_PAUSE_US);
			return false;
		}
	}
	cpus[cpu->id] = cpu;
	atomic_store(&nr_cpus, nr_cpus + 1);
	cpu = NULL;
	stack = NULL;
	return true;
}

void smp_boot(const u32 *apic_ids, u32 nr, noreturn_fn void (*entry)(void))
{
	u32 me = apic_id(), page = memory_ap_page();
	struct ap_data *data;

	cpus[0]->apic_id = me;
	irq_set_handler(VECTOR_CALL, call_serve);
	if (!nr || (nr == 1 && apic_ids[0] == me))
		return;
	if (!page) {
		printk("smp: no free memory below 1 MiB: the other CPUs stay off\n");
		return;
	}
	cpu_main = entry;
	data = copy_trampoline(page);
	for (u32 i = 0; i < nr; i++)
		if (apic_ids[i] != me)
			apic_send(apic_ids[i], APIC_INIT);
	clock_spin_us(INIT_PAUSE_US);
	for (u32 i = 0; i < nr; i++) {
		if (apic_ids[i] == me)
			continue;
		if (nr_cpus == MAX_CPUS) {
			printk("smp: more than %u CPUs: the others stay off\n", MAX_CPUS);
			break;
		}
		if (!start_one(apic_ids[i], page, data))
			printk("smp: the CPU with APIC id %u does not start; going on without it\n",
			       apic_ids[i]);
	}
}

/* ---- signals ----------------------------------------------------------------------------------- */

void smp_kick(u32 cpu)
{
	if (cpu == cpu_id())
		return;
	apic_ipi(cpus[cpu]->apic_id, VECTOR_RESCHED);
	this_cpu()->ipis_sent++;
}

void smp_stop_others(void)
{
	u32 me = cpu_id();

	for (u32 i = 0; i < nr_cpus; i++)
		if (i != me)
			apic_send(cpus[i]->apic_id, APIC_NMI);
	/* So that they say nothing more; one in guest mode without NMI, say, is not waited for long. */
	for (u32 i = 0; i < nr_cpus; i++)
		for (u32 polls = 0; i != me && polls < STOP_POLLS; polls++) {
			if (READ_ONCE(cpus[i]->in_panic))
				break;
			cpu_relax();
		}
}
