/* SPDX-License-Identifier: BSD-2-Clause */
/* Five hundred lives (N10): VMs are made, limited, paused, resumed, looked into and killed, in any order,
 * while all of them write more memory than they may hold and threads of the kernel do the same beside
 * them. Most are killed where it hurts: one CPU is held at a race point, inside a fault, a swap-in, an
 * exchange, a bracket, the end of another mm, until the VM that it works for has been told to end; others
 * while a thread registers and unregisters a subscriber of its own. At the end every frame and every slot
 * is back.
 *
 * A guest is eight instructions: it counts one up in each of its pages, from the first to the last, and
 * again. So the pages' counts fall by one at most, once, from the first to the last: what was swapped
 * out wrongly, or not, shows. */
#include "cpu/clock.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/mutant.h"
#include "lib/string.h"
#include "mm/reclaim.h"
#include "mm/uaccess.h"
#include "tests/kernel/kernel_test.h"
#include "tests/kernel/sched_test.h"
#include "tests/kernel/swap_test.h"
#include "tests/kernel/vm_test.h"

#define NR_LIVES     500u
#define NR_LIVES_SMP 150u /* on more than two CPUs, which the host has not */
#define NR_ALIVE     5u
#define MEM_BYTES    MIB(2)
#define PROGRAM      PAGE_SIZE
#define FIRST        MIB(1)
#define NR_COUNTS    200u     /* pages that the guest counts in */
#define LIMIT        96u      /* pages, tables included; at least that many */
#define POINT_NS     (20 * MS) /* how long a race point is waited for */

/* next: mov edi, 1 MiB;  loop: inc dword [edi]; add edi, 4096; cmp edi, 1 MiB + 200 pages; jb loop; jmp next */
static const u8 program[] = {
	0xbf, 0x00, 0x00, 0x10, 0x00, 0xff, 0x07, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,
	0x81, 0xff, 0x00, 0x80, 0x1c, 0x00, 0x72, 0xf0, 0xeb, 0xe9,
};
static_assert(FIRST == 0x100000 && FIRST + NR_COUNTS * PAGE_SIZE == 0x1c8000, "the program says so");

static struct vm *alive[NR_ALIVE];
static u64 chance = 0x243f6a8885a308d3;
static u32 serial, nr_lived, nr_wrong, nr_looks, nr_paused, nr_limits, nr_oom;
static struct space load;
static bool over; /* [a] */

/* ---- where a CPU is held --------------------------------------------------------------------------- */

static struct point {
	const char *name;
	u32 kills;
} points[] = {
	{"fault.before_pte", 0}, {"swap.before_submit", 0}, {"reclaim.before_exchange", 0},
	{"reclaim.after_exchange", 0}, {"reclaim.before_flush", 0}, {"reclaim.frozen", 0},
	{"notifier.start", 0}, {"notifier.end", 0}, {"mmu.before_install", 0},
	{"fault.cow_before_exchange", 0}, {"gup.after_get", 0}, {"mm.last_put", 0},
};

static const struct mm *arrived_mm;
static bool arrived, go_on; /* [a] */

/* Locks may be held here, so that who arrives cannot end a VM himself. */
static void hold_here(unused void *ctx)
{
	u64 end = clock_ns() + 2 * MS;

	arrived_mm = thread_current()->mm;
	atomic_store(&arrived, true);
	while (!atomic_load(&go_on) && clock_ns() < end)
		cpu_relax();
}

/* ---- one life -------------------------------------------------------------------------------------- */

static void vm_set_up(struct vm *vm)
{
	const struct segment code = {0x08, 0xc9b, ~0u, 0}, data = {0x10, 0xc93, ~0u, 0};
	struct vcpu *v = vm->vcpus[0];
	struct vcpu_sregs s;

	thread_use_space(vm->mm, &vm->mm->space);
	int err = hva_write(hva(test_hva(vm, PROGRAM)), program, sizeof(program));
	thread_use_space(NULL, NULL);
	CHECK(err == 0, "no memory for a life's program: %d", err);
	hvm->get_sregs(v, &s);
	s.cr0 = CR0_PE | CR0_ET;
	hvm->set_sregs(v, &s);
	for (int seg = SEG_ES; seg <= SEG_GS; seg++)
		hvm->set_segment(v, seg, seg == SEG_CS ? &code : &data);
	v->rip = PROGRAM;
}

/* born - a VM that runs, with a reference that is ours. */
static struct vm *born(void)
{
	struct vm_config config = {
		.role = VM_ROLE_KERNEL, .mem_bytes = MEM_BYTES, .apic = true, .cmdline = "",
		.cpus = 1 + random_below(&chance, 2),
		.limit_bytes = (LIMIT + random_below(&chance, 100)) * PAGE_SIZE,
	};
	char why[100];
	struct vm *vm;

	(void)text_format(config.name, sizeof(config.name), "life%u", ++serial);
	int err = vm_create(&config, &vm, why, sizeof(why));
	CHECK(err == 0, "a life cannot begin: %s", why);
	atomic_add(&vm->refs, 1);
	vm_set_up(vm);
	if (random_below(&chance, 16) == 0) {
		vm_discard(vm); /* it is killed before it has run */
		return vm;
	}
	vm_start(vm);
	return vm;
}

static void buried(struct vm **vm)
{
	nr_oom += !strcmp((*vm)->reason, "oom");
	vm_put(*vm);
	*vm = NULL;
	nr_lived++;
}

/* look_into - the counts of a VM that stands still. */
static void look_into(struct vm *vm)
{
	u32 count[2], first = 0, falls = 0;

	vm_pause(vm);
	vm_wait_parked(vm);
	thread_use_space(vm->mm, &vm->mm->space);
	for (u32 i = 0; i < NR_COUNTS && vm->state == VM_RUNNING; i++) {
		if (hva_read(&count[1], hva(test_hva(vm, FIRST + i * PAGE_SIZE)), sizeof(count[1])))
			break;
		if (i == 0)
			count[0] = first = count[1];
		falls += count[1] != count[0];
		if (count[1] > count[0] || first - count[1] > 1 || falls > 1) {
			if (nr_wrong++ < 4)
				printk("%s: page %u has count %u behind %u, the first %u\n",
				       vm->config.name, i, count[1], count[0], first);
		}
		count[0] = count[1];
	}
	thread_use_space(NULL, NULL);
	vm_resume(vm);
	nr_looks++;
}

/* ---- who registers ---------------------------------------------------------------------------------- */

static int no_start(unused struct mm_notifier *n, unused const struct mm_event *ev)
{
	return 0;
}

static const struct mm_notifier_ops own_ops = {
	.name = "life",
	.invalidate_range_start = no_start,
};

static struct mm *register_mm; /* [a] where to; its VM is held by who gives it */
static u32 nr_registered, nr_refused;

static void registrar(unused void *arg)
{
	while (!atomic_load(&over)) {
		struct mm_notifier n = {.ops = &own_ops};
		struct mm *mm = atomic_load(&register_mm);

		if (!mm) {
			(void)thread_sleep_ns(MS / 10);
			continue;
		}
		if (mm_notifier_register(mm, &n) == 0) {
			mm_notifier_unregister(mm, &n);
			nr_registered++;
		} else {
			nr_refused++;
		}
		atomic_store(&register_mm, NULL);
	}
}

/* ---- deaths ------------------------------------------------------------------------------------------ */

static struct vm **any(void)
{
	return &alive[random_below(&chance, NR_ALIVE)];
}

static struct vm **place_of(const struct mm *mm)
{
	for (u32 i = 0; i < NR_ALIVE; i++)
		if (alive[i] && mm && alive[i]->mm == mm)
			return &alive[i];
	return NULL;
}

static void kill(struct vm **vm)
{
	if (random_below(&chance, 8) == 0)
		vm_pause(*vm);
	(void)vm_end(*vm, VM_KILLED, 1, "test");
	buried(vm);
}

/* kill_at_point - hold whoever comes by at a race point, and end the VM that it works for, or any. */
static void kill_at_point(void)
{
	struct point *p = &points[random_below(&chance, ARRAY_SIZE(points))];
	u64 end = clock_ns() + POINT_NS;

	atomic_store(&arrived, false);
	atomic_store(&go_on, false);
	race_arm(p->name, random_below(&chance, 8), hold_here, NULL);
	while (!atomic_load(&arrived) && clock_ns() < end)
		thread_yield();
	race_arm(NULL, 0, NULL, NULL);
	struct vm **vm = atomic_load(&arrived) ? place_of(arrived_mm) : NULL;
	p->kills += atomic_load(&arrived);
	kill(vm ? vm : any());
	atomic_store(&go_on, true);
}

static void kill_in_registration(void)
{
	struct vm **vm = any();

	atomic_store(&register_mm, (*vm)->mm);
	for (u32 i = random_below(&chance, 3); i; i--)
		thread_yield();
	(void)vm_end(*vm, VM_KILLED, 1, "test");
	/* Ours is the reference that keeps the mm. */
	while (atomic_load(&register_mm))
		thread_yield();
	buried(vm);
}

/* ---- everything at once ------------------------------------------------------------------------------ */

/* A thread of the kernel that thrashes beside the VMs, for its own limit. */
static void thrasher(unused void *arg)
{
	u64 mine = 17;

	thread_use_space(load.mm, &load.mm->space);
	while (!atomic_load(&over)) {
		u32 page = random_below(&mine, 400);

		if (lane_check(&load, page, 0) || (random_below(&mine, 2) && lane_write(&load, page, 0)))
			space_wrong(&load, "an access failed", page, 0);
	}
	thread_use_space(NULL, NULL);
}

static void act(void)
{
	struct vm **vm = any();

	if ((*vm)->state != VM_RUNNING) {
		buried(vm);
		return;
	}
	switch (random_below(&chance, 8)) {
	case 0:
		nr_paused++;
		vm_pause(*vm);
		(void)thread_sleep_ns(random_below(&chance, MS));
		vm_resume(*vm);
		break;
	case 1:
		nr_limits += mm_set_limit((*vm)->mm, LIMIT + random_below(&chance, 200)) == 0;
		break;
	case 2:
		look_into(*vm);
		break;
	case 3:
		kill_in_registration();
		break;
	case 4:
		kill(vm);
		break;
	default:
		kill_at_point();
	}
}

static void all_lives(u32 nr)
{
	while (nr_lived < nr) {
		watchdog_start("lives"); /* again: the host may be slow, but not that slow */
		for (u32 i = 0; i < NR_ALIVE; i++)
			if (!alive[i])
				alive[i] = born();
		(void)thread_sleep_ns(random_below(&chance, 3 * MS));
		act();
	}
	for (u32 i = 0; i < NR_ALIVE; i++)
		if (alive[i])
			kill(&alive[i]);
	vm_wait_all_ended(0);
}

/* Who is killed while it waits to register leaves nothing behind (rule 21). */
static void register_once(void *arg)
{
	static struct mm_notifier n = {.ops = &own_ops};
	struct worker *me = arg;

	atomic_store(&me->ready, true);
	me->result = mm_notifier_register(load.mm, &n);
}

static void test_killed_registration(void)
{
	rwsem_read_lock(&load.mm->mmap_lock);
	worker_start_on(0, register_once, 0, NULL);
	while (!atomic_load(&workers[0].ready))
		thread_yield();
	(void)thread_sleep_ns(MS);
	thread_kill(&workers[0].thread);
	workers_join(1);
	rwsem_read_unlock(&load.mm->mmap_lock);
	report(workers[0].result == -EINTR && !notifier_any(&load.mm->notifiers),
	       "who is killed while it registers leaves nothing behind: %d", workers[0].result);
}

static void test_lives(void)
{
	u32 nr = nr_cpus > 2 ? NR_LIVES_SMP : NR_LIVES, met = 0;
	u64 began = clock_ns();
	struct vm *vm = test_vm_create("lives", MEM_BYTES); /* what is allocated once is allocated now */

	if (!vm)
		return;
	test_vm_destroy(vm);
	space_begin(&load, 0);
	space_end(&load);
	swap_test_begin(MIB(8));
	space_begin(&load, 100);
	test_killed_registration();
	worker_start_on(0, thrasher, 0, NULL);
	worker_start_on(1, registrar, 0, NULL);
	all_lives(nr);
	atomic_store(&over, true);
	workers_join(2);
	report(nr_lived >= nr && nr_wrong == 0, "%u VMs lived, in %lu s; %u looks into them, %u wrong", nr_lived,
	       (u64)((clock_ns() - began) / (1000 * MS)), nr_looks, nr_wrong);
	for (u32 i = 0; i < ARRAY_SIZE(points); i++) {
		printk("killed at %s: %u\n", points[i].name, points[i].kills);
		met += points[i].kills != 0;
	}
	printk("%u registered, %u refused, %u paused, %u limited, %u ended for want of memory\n", nr_registered,
	       nr_refused, nr_paused, nr_limits, nr_oom);
	report(nr_cpus == 1 || met >= 8, "they were killed at %u race points", met);
	report(load.nr_wrong == 0, "who thrashed beside them lost nothing: %u wrong", load.nr_wrong);
	report(mm_audit(printk) == 0, "the audit is clean while pages are on swap");
	space_end(&load);
	swap_test_end("lives");
	watchdog_stop();
}
KERNEL_SUITE(lives, test_lives);
