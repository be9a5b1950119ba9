/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a virtual machine. vm.h tells it; the end is here:
 *
 *	vm_end (anybody) --> every vCPU's loop ends --> the last one queues the VM --> reaper thread:
 *	join, show what is left on its console, SUMMARY, tables, mm, frames --> gone from the list
 *
 * The reaper is a thread of its own because a thread cannot free the stack it stands on. */
#include "vmm/vm.h"

#include "cpu/clock.h"
#include "cpu/features.h"
#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "mm/swap.h"
#include "sched/timer.h"
#include "vmm/devices/board.h"
#include "vmm/devices/lapic.h"
#include "vmm/mmu.h"

static struct list vms = LIST_INIT(vms);                /* [vm_list_lock] in order of serial */
static struct list to_reap = LIST_INIT(to_reap);            /* [vm_list_lock] */
static struct spinlock vm_list_lock = SPINLOCK_INIT(RANK_VM_LIST);
static struct vm_totals totals;               /* [vm_list_lock] */
static u64 next_serial;                       /* [vm_list_lock] */
static struct wait_queue list_changed;        /* a VM is to be reaped, or has gone */
static struct thread reaper;
static bool batch;
static u32 nr_ending;                         /* [a] told to end, frames not yet back */
static u32 nr_reaped;                         /* [a] frames are back; raised before nr_ending falls */

const char *vm_status_name(enum vm_status s)
{
	static const char *const names[] = {
		[VM_EXITED] = "exited", [VM_RESET] = "reset", [VM_POWEROFF] = "poweroff",
		[VM_STOPPED] = "stopped", [VM_KILLED] = "killed",
	};
	return names[s];
}

/* ---- the list ------------------------------------------------------------------------------------ */

static struct vm *find_locked(const char *name)
{
	struct vm *vm;

	list_for_each(vm, &vms, link)
		if (strcmp(vm->config.name, name) == 0)
			return vm;
	return NULL;
}

struct vm *vm_find(const char *name)
{
	spin_lock(&vm_list_lock);
	struct vm *vm = find_locked(name);
	if (vm)
		atomic_add(&vm->refs, 1);
	spin_unlock(&vm_list_lock);
	return vm;
}

void vm_put(struct vm *vm)
{
	u32 left = atomic_sub(&vm->refs, 1);

	if (left == 0)
		frame_free(phys_to_page(virt_to_phys(vm)), frame_order(sizeof(struct vm)));
	else if (left == 1)
		wait_wake_all(&list_changed); /* the reaper may wait for this */
}

static struct vm *next_after(u64 serial)
{
	struct vm *vm, *found = NULL;

	spin_lock(&vm_list_lock);
	list_for_each(vm, &vms, link) {
		if (vm->serial > serial) {
			found = vm;
			atomic_add(&vm->refs, 1);
			break;
		}
	}
	spin_unlock(&vm_list_lock);
	return found;
}

void vm_for_each(void (*fn)(struct vm *vm, void *ctx), void *ctx)
{
	struct vm *vm;

	for (u64 serial = 0; (vm = next_after(serial)); vm_put(vm)) {
		serial = vm->serial;
		fn(vm, ctx);
	}
}

void vm_totals(struct vm_totals *t)
{
	spin_lock(&vm_list_lock);
	*t = totals;
	spin_unlock(&vm_list_lock);
}

void vm_note_refused(void)
{
	spin_lock(&vm_list_lock);
	totals.refused++;
	spin_unlock(&vm_list_lock);
}

/* ---- birth ---------------------------------------------------------------------------------------- */

static int list_join(struct vm *vm)
{
	int err = 0;

	spin_lock(&vm_list_lock);
	if (find_locked(vm->config.name)) {
		err = -EEXIST;
	} else {
		vm->serial = ++next_serial;
		list_add_tail(&vms, &vm->link);
		totals.live++;
	}
	spin_unlock(&vm_list_lock);
	return err;
}

static struct cpuid_leaf host_cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r = cpuid(leaf, subleaf);

	return (struct cpuid_leaf){r.eax, r.ebx, r.ecx, r.edx};
}

#define PCI_HOLE 0xc0000000ul /* RAM below 3 GiB, the rest from 4 GiB on */

static int add_memory(struct vm *vm)
{
	u64 low = MIN(vm->config.mem_bytes, PCI_HOLE);
	int err = memslot_add(vm, gpa(0), low);

	if (!err && vm->config.mem_bytes > low)
		err = memslot_add(vm, gpa(GIB(4)), vm->config.mem_bytes - low);
	return err;
}

static void free_parts(struct vm *vm)
{
	if (vm->mmu)
		mmu_destroy(vm);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpus[i])
			vcpu_destroy(vm->vcpus[i]);
	if (vm->board)
		board_destroy(vm);
	if (vm->mm)
		mm_exit(vm->mm);
}

static int create_parts(struct vm *vm)
{
	const struct vm_config *config = &vm->config;

	vm->mm = mm_create(&machine_counter);
	if (!vm->mm)
		return -ENOMEM;
	if (config->limit_bytes)
		vm->mm->counter.limit = config->limit_bytes >> PAGE_SHIFT;
	memslots_init(&vm->slots);
	io_bus_init(&vm->io);
	int err = add_memory(vm);
	if (err)
		return err;
	vm->xcr0_allowed = fpu_xcr0_allowed() & XCR0_GUEST;
	const struct cpuid_policy policy = {
		.host = host_cpuid,
		.xcr0_allowed = vm->xcr0_allowed,
		.nr_vcpus = config->cpus,
		.apic = config->apic,
		.tsc_khz = clock_tsc_hz() / 1000,
	};
	cpuid_build(&vm->cpuid, &policy);
	err = mmu_create(vm);
	if (err) {
		vm->mmu = NULL;
		return err;
	}
	err = board_create(vm);
	for (u32 i = 0; !err && i < config->cpus; i++) {
		err = vcpu_create(vm, i);
		if (!err)
			vm->nr_vcpus++;
	}
	return err;
}

static int refuse(int err, char *why, size_t why_size, const char *text)
{
	text_format(why, why_size, "%s", text);
	return err;
}

int vm_create(const struct vm_config *config, struct vm **out, char *why, size_t why_size)
{
	if (!hvm)
		return refuse(-ENODEV, why, why_size, hvm_why_not);
	if (config->mmu == VM_MMU_SHADOW)
		return refuse(-ENODEV, why, why_size,
			      "mmu=shadow comes with version 0.4: use mmu=auto or mmu=tdp");
	if (config->pin != VM_PIN_OFF)
		return refuse(-EINVAL, why, why_size,
			      "pin=old and pin=notified come with version 0.4: leave pin= out");
	if (config->reset == VM_RESET_RESTART)
		return refuse(-EINVAL, why, why_size,
			      "reset=restart comes with version 0.3: use reset=ok or reset=stop");

	struct page *p = frame_alloc_order(FRAME_KERNEL, frame_order(sizeof(struct vm)), FRAME_ZERO);
	if (!p)
		return refuse(-ENOMEM, why, why_size, "no memory is left for another VM");
	struct vm *vm = page_to_virt(p);
	vm->config = *config;
	vm->state = VM_CREATED;
	vm->refs = 1; /* the list's, dropped by the reaper */
	spin_init(&vm->state_lock, RANK_VM);
	list_init(&vm->link);
	if (list_join(vm)) {
		vm_put(vm);
		return refuse(-EEXIST, why, why_size,
			      "a VM of this name exists: give another one with vm=NAME");
	}
	int err = create_parts(vm);
	if (err) {
		vm_discard(vm);
		return refuse(err, why, why_size,
			      err == -ENOMEM ? "not enough memory for its tables: give less mem= or more RAM"
					     : errno_name(err));
	}
	*out = vm;
	return 0;
}

/* ---- running -------------------------------------------------------------------------------------- */

static void start_threads(struct vm *vm)
{
	/* The last thread may end, and the VM be reaped, before thread_start returns. */
	atomic_add(&vm->refs, 1);
	atomic_store(&vm->live_vcpus, vm->nr_vcpus);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		thread_start(&vm->vcpus[i]->thread);
	vm_put(vm);
}

void vm_start(struct vm *vm)
{
	spin_lock(&vm->state_lock);
	CHECK(vm->state == VM_CREATED, "VM %s started in state %d", vm->config.name, vm->state);
	vm->state = VM_RUNNING;
	vm->started_ns = clock_ns();
	spin_unlock(&vm->state_lock);
	start_threads(vm);
}

static void queue_for_reaper(struct vm *vm)
{
	spin_lock(&vm_list_lock);
	list_del(&vm->link);
	list_add_tail(&to_reap, &vm->link);
	spin_unlock(&vm_list_lock);
	wait_wake_all(&list_changed);
}

void vm_vcpu_left(struct vm *vm)
{
	if (atomic_sub(&vm->live_vcpus, 1) == 0)
		queue_for_reaper(vm);
}

void vm_discard(struct vm *vm)
{
	vm->silent = true;
	vm_end(vm, VM_KILLED, 1, "discarded");
	if (vm->nr_vcpus)
		start_threads(vm); /* they see VCPU_REQ_STOP first */
	else
		queue_for_reaper(vm);
}

bool vm_end(struct vm *vm, enum vm_status status, u32 code, const char *reason)
{
	spin_lock(&vm->state_lock);
	bool first = vm->state < VM_ENDING;
	if (first) {
		vm->state = VM_ENDING;
		vm->status = status;
		vm->code = code;
		str_copy(vm->reason, reason, sizeof(vm->reason));
	}
	spin_unlock(&vm->state_lock);
	if (!first)
		return false;
	atomic_add(&nr_ending, 1);
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		thread_kill(&vm->vcpus[i]->thread);
		vcpu_request(vm->vcpus[i], VCPU_REQ_STOP);
	}
	return true;
}

void vm_stop_guest(struct vcpu *v, const char *reason, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (vm_end(v->vm, VM_STOPPED, 1, reason))
		printk("Neap: vm %s stopped: %s (vCPU %u at rip %#lx); other VMs go on. "
		       "README, \"When a guest stops\", says what to do.\n",
		       v->vm->config.name, text, v->index, v->rip);
}

void vm_guest_reset(struct vcpu *v, const char *reason)
{
	enum vm_reset what = v->vm->config.reset;

	if (what == VM_RESET_UNSET)
		what = v->vm->is_linux ? VM_RESET_OK : VM_RESET_STOP;
	if (what == VM_RESET_OK)
		vm_end(v->vm, VM_RESET, 0, reason);
	else
		vm_stop_guest(v, reason, "it reset itself (%s); reset=ok would count this as a good end",
			      reason);
}

/* The fields change one by one while @v wakes: if its activity is the same after the look as before, it
 * was so throughout, because a vCPU that wakes changes its activity first. */
static bool can_never_run(const struct vcpu *v)
{
	u32 activity = atomic_load(&v->activity);
	bool never = false;

	if (activity == VCPU_HALTED)
		never = !(v->rflags & RFLAGS_IF) && !atomic_load(&v->nmi_pending);
	else if (activity == VCPU_WAIT_SIPI)
		never = !atomic_load(&v->sipi_pending);
	return never && !(atomic_load(&v->requests) & VCPU_REQ_INIT) &&
	       atomic_load(&v->activity) == activity;
}

/* INIT, SIPI and NMI come only from a vCPU of the same VM that runs. */
void vm_check_stuck(struct vm *vm)
{
	if (atomic_load(&vm->paused))
		return;
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (!can_never_run(vm->vcpus[i]))
			return;
	vm_stop_guest(vm->vcpus[0], "halted",
		      "every vCPU has halted with interrupts off, so it can never go on");
}

void vm_pause(struct vm *vm)
{
	atomic_store(&vm->paused, true);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_PAUSE);
}

void vm_resume(struct vm *vm)
{
	atomic_store(&vm->paused, false);
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQ_EVENT);
}

void vm_wait_parked(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = vm->vcpus[i];
		wait_event(&v->wake, atomic_load(&v->parked) || !atomic_load(&vm->paused) ||
					     vm->state >= VM_ENDING);
	}
}

/* ---- no memory ---------------------------------------------------------------------------------------- */

static void find_largest(struct vm *vm, void *ctx)
{
	struct vm **largest = ctx;

	if (vm->state != VM_RUNNING) /* one that is being built is refused by its loader */
		return;
	if (*largest && (*largest)->mm->counter.usage >= vm->mm->counter.usage)
		return;
	if (*largest)
		vm_put(*largest);
	atomic_add(&vm->refs, 1);
	*largest = vm;
}

/* Shares are equal, so furthest above its share is who holds most. One at a time: who is ending gives
 * its frames first. */
static void kill_largest(void)
{
	static u32 choosing; /* [a] */
	struct vm *victim = NULL;

	if (atomic_xchg(&choosing, 1))
		return;
	if (!atomic_load(&nr_ending))
		vm_for_each(find_largest, &victim);
	if (victim && vm_end(victim, VM_KILLED, 1, "oom"))
		printk("Neap: vm %s killed: memory is used up and it holds most (%lu KiB)\n",
		       victim->config.name, victim->mm->counter.usage * 4);
	if (victim)
		vm_put(victim);
	atomic_store(&choosing, 0);
}

static void find_unpaused(struct vm *vm, void *ctx)
{
	*(bool *)ctx |= vm->state == VM_RUNNING && !atomic_load(&vm->paused);
}

void vm_out_of_memory(struct vm *vm)
{
	const struct res_counter *c = &vm->mm->counter;
	bool own_limit = c->usage + SPARE_TABLES >= c->limit;
	const char *what = own_limit ? "its limit" : "memory";
	struct swap_stats swap;

	swap_stats(&swap);
	const char *and_swap = swap.pages ? "swap is full" : "there is no swap";
	if (batch && own_limit) {
		if (vm_end(vm, VM_KILLED, 1, "oom"))
			printk("Neap: vm %s killed: it needs more than its limit of %lu KiB, and %s\n",
			       vm->config.name, c->limit * 4, and_swap);
	} else if (batch) {
		/* A shortage from before the last victim's frames came back is no new one. */
		u32 reaped = atomic_load(&nr_reaped);
		if (atomic_xchg(&vm->reaped_seen, reaped) == reaped)
			kill_largest();
		thread_sleep_ns(1000 * 1000); /* until the victim's frames are back */
	} else if (!atomic_load(&vm->paused)) {
		vm_pause(vm);
		printk("Neap: vm %s paused: %s is used up and %s; `swap add DISK`, `limit NAME SIZE` or "
		       "`vm NAME kill`, then `vm %s resume`\n",
		       vm->config.name, what, and_swap, vm->config.name);
		bool anybody_runs = false;
		vm_for_each(find_unpaused, &anybody_runs);
		if (!own_limit && !anybody_runs)
			kill_largest();
	}
}

/* ---- the end ------------------------------------------------------------------------------------------- */

void vm_print_summary(struct vm *vm, const char *status_word)
{
	const struct mm *mm = vm->mm;

	printk("SUMMARY vm=%s engine=%s status=%s code=%u reason=%s mem_kib=%lu resident_kib=%lu "
	       "resident_max_kib=%lu faults=%lu swapin=%lu swapout=%lu zero=%lu\n",
	       vm->config.name, hvm->tdp_name, status_word, vm->code, vm->reason,
	       vm->config.mem_bytes >> 10, mm->counter.usage * 4, res_counter_max(&mm->counter) * 4,
	       mm->faults, mm->swapins, mm->swapouts,
	       mm->nr_zero_mapped);
}

static void add_work(const struct vm *vm)
{
	const struct vm_progress *p = &vm->progress;

	if (!p->total)
		return;
	spin_lock(&vm_list_lock);
	totals.work.guests++;
	totals.work.mem_bytes += vm->config.mem_bytes;
	totals.work.written += p->written;
	totals.work.verified += p->verified;
	totals.work.mismatches += p->mismatches;
	spin_unlock(&vm_list_lock);
}

static void reap(struct vm *vm)
{
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		thread_join(&vm->vcpus[i]->thread);
	if (vm->board)
		board_quiesce(vm);
	if (!vm->silent) {
		if (NEAP_DEBUG) {
			int bad = mmu_audit(vm, printk);
			CHECK(bad == 0, "mmu_audit found %d differences in vm %s", bad, vm->config.name);
		}
		vm_print_summary(vm, vm_status_name(vm->status));
		add_work(vm);
	}
	/* Nobody can find it any more; who found it before may still look at its parts. */
	wait_event(&list_changed, atomic_load(&vm->refs) == 1);
	bool good = vm->code == 0 && vm->status <= VM_POWEROFF;
	bool silent = vm->silent;

	free_parts(vm);
	vm->state = VM_ENDED;
	atomic_add(&nr_reaped, 1);
	atomic_sub(&nr_ending, 1);
	vm_put(vm);
	spin_lock(&vm_list_lock);
	totals.live--;
	if (!silent) {
		totals.ended += good;
		totals.failed += !good;
	}
	spin_unlock(&vm_list_lock);
	wait_wake_all(&list_changed);
}

static struct vm *next_to_reap(void)
{
	spin_lock(&vm_list_lock);
	struct vm *vm = list_first(&to_reap, struct vm, link);
	list_del(&vm->link);
	spin_unlock(&vm_list_lock);
	return vm;
}

static void reaper_loop(unused void *arg)
{
	for (;;) {
		/* The reaper alone takes VMs off, so what it sees stays; the condition itself takes
		 * nothing, for it is evaluated more than once. */
		wait_event(&list_changed, !list_empty(&to_reap));
		reap(next_to_reap());
	}
}

static bool none_live(void)
{
	return atomic_load(&totals.live) == 0;
}

static void time_is_up(unused struct timer *t)
{
	wait_wake_all(&list_changed);
}

bool vm_wait_all_ended(u64 timeout_ns)
{
	u64 until = timeout_ns ? clock_ns() + timeout_ns : ~0ull;
	struct timer end;

	timer_setup(&end, time_is_up);
	if (timeout_ns)
		timer_arm(&end, until);
	wait_event(&list_changed, none_live() || clock_ns() >= until);
	timer_cancel(&end);
	return none_live();
}

void vm_wait_reaped(void)
{
	wait_event(&list_changed, atomic_load(&nr_ending) == 0);
}

void vmm_init(bool is_batch)
{
	batch = is_batch;
	wait_init(&list_changed);
	int err = thread_create(&reaper, "reaper", reaper_loop, NULL, NULL);
	CHECK(err == 0, "no memory for the reaper: %d", err);
	thread_start(&reaper);
}
