/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM on the host: what kernel/vmm/devices, io, msr and emulate use of everything else, in the
 * simplest form. */
#include "vmm_host.h"

#include "cpu/clock.h"
#include "cpu/features.h"
#include "mm/mm.h"
#include "mm/objcache.h"
#include "mm/uaccess.h"
#include "sched/timer.h"
#include "vmm/devices/lapic.h"
#include "vmm/exit.h"
#include "vmm/guest_mem.h"

struct vm *host_vm;
struct host_record host_record;
struct cpu_features features = {.nx = true};

static struct cpu cpu;
_Thread_local struct cpu *host_cpu = &cpu;
static struct host_processor processor[VMM_HOST_CPUS];
static unsigned int nr_objects;

struct vcpu *host_vcpu(u32 index)
{
	return host_vm->vcpus[index];
}

struct host_processor *host_processor(struct vcpu *v)
{
	return v->hw;
}

/* ---- locks ----------------------------------------------------------------------------------- */

void preempt_schedule(void)
{
}

void spin_debug_take(struct spinlock *l)
{
	if (l->rank == RANK_NONE)
		panic("a lock was never initialized");
	for (u8 i = 0; i < cpu.nr_ranks; i++)
		if (cpu.ranks[i] >= l->rank)
			panic("rank %u taken under rank %u", l->rank, cpu.ranks[i]);
	cpu.ranks[cpu.nr_ranks++] = l->rank;
}

void spin_debug_drop(struct spinlock *l)
{
	if (cpu.nr_ranks == 0 || cpu.ranks[cpu.nr_ranks - 1] != l->rank)
		panic("rank %u dropped, not the last taken", l->rank);
	cpu.nr_ranks--;
}

u64 spin_lock_irqsave(struct spinlock *l)
{
	spin_lock(l);
	return 0;
}

void spin_unlock_irqrestore(struct spinlock *l, unused u64 flags)
{
	spin_unlock(l);
}

/* ---- time ------------------------------------------------------------------------------------ */

static u64 now_ns;
static struct list timers = LIST_INIT(timers);

u64 clock_ns(void)
{
	return now_ns;
}

u64 clock_tsc_hz(void)
{
	return 1000000000;
}

u64 clock_tsc_to_ns(u64 tsc_delta)
{
	return tsc_delta * 1000000000 / clock_tsc_hz();
}

void timer_setup(struct timer *t, void (*fn)(struct timer *t))
{
	*t = (struct timer){.fn = fn};
	list_init(&t->link);
}

void timer_arm(struct timer *t, u64 deadline_ns)
{
	struct timer *after;

	list_del(&t->link);
	t->deadline_ns = deadline_ns;
	list_for_each(after, &timers, link)
		if (after->deadline_ns > deadline_ns)
			break;
	list_add_tail(&after->link, &t->link);
}

void timer_cancel(struct timer *t)
{
	list_del(&t->link);
}

void vmm_host_clock(u64 ns)
{
	u64 end = now_ns + ns;

	while (!list_empty(&timers)) {
		struct timer *t = list_first(&timers, struct timer, link);
		if (t->deadline_ns > end)
			break;
		now_ns = MAX(now_ns, t->deadline_ns);
		list_del(&t->link);
		t->fn(t);
	}
	now_ns = end;
}

/* ---- objects --------------------------------------------------------------------------------- */

void objcache_init(struct objcache *c, const char *name, u32 bytes)
{
	*c = (struct objcache){.name = name, .bytes = bytes};
}

void *objcache_alloc(struct objcache *c)
{
	if (host_should_fail())
		return NULL;
	nr_objects++;
	return calloc(1, c->bytes);
}

void objcache_free(unused struct objcache *c, void *object)
{
	nr_objects--;
	free(object);
}

/* ---- guest memory ---------------------------------------------------------------------------- */

static u8 *ram;
static int no_frame[VMM_HOST_PAGES];

u8 *host_ram(u64 at)
{
	assert_true(at < VMM_HOST_PAGES * PAGE_SIZE);
	return ram + at;
}

void vmm_host_no_frame(u32 page, int err)
{
	no_frame[page] = err;
}

int hva_fault_in(hva_t at, size_t bytes, unused unsigned int acc)
{
	u64 first = at.v - (u64)ram, last = first + bytes - 1;

	if (last >= VMM_HOST_PAGES * PAGE_SIZE)
		panic("hva %#lx is not the VM's", at.v);
	for (u64 page = first >> PAGE_SHIFT; page <= last >> PAGE_SHIFT; page++)
		if (no_frame[page])
			return no_frame[page];
	return 0;
}

int hva_read(void *to, hva_t from, size_t bytes)
{
	if (cpu.preempt_count)
		panic("guest memory read under a spinlock");
	if (hva_fault_in(from, bytes, ACC_R))
		return -EFAULT;
	memcpy(to, (void *)from.v, bytes);
	return 0;
}

void mm_forget_swapped(unused struct mm *mm, hva_t at)
{
	host_record.nr_forgotten++;
	host_record.forgotten = at.v - (u64)ram;
}

int hva_write(hva_t to, const void *from, size_t bytes)
{
	if (cpu.preempt_count)
		panic("guest memory written under a spinlock");
	if (hva_fault_in(to, bytes, ACC_W))
		return -EFAULT;
	memcpy((void *)to.v, from, bytes);
	return 0;
}

/* ---- the virtual processor ------------------------------------------------------------------- */

static void host_where(struct vcpu *v, struct vcpu_where *w)
{
	const struct host_processor *p = v->hw;

	*w = (struct vcpu_where){
		.linear_rip = p->segment[SEG_CS].base + v->rip,
		.cr3 = p->sregs.cr3,
		.mode = p->sregs.cr0 & CR0_PG,
	};
}

static void host_get_sregs(struct vcpu *v, struct vcpu_sregs *s)
{
	*s = host_processor(v)->sregs;
}

static void host_set_sregs(struct vcpu *v, const struct vcpu_sregs *s)
{
	host_processor(v)->sregs = *s;
}

static void host_get_segment(struct vcpu *v, int seg, struct segment *s)
{
	*s = host_processor(v)->segment[seg];
}

static void host_set_segment(struct vcpu *v, int seg, const struct segment *s)
{
	host_processor(v)->segment[seg] = *s;
}

static void host_inject_exception(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	struct host_processor *p = v->hw;

	p->event = true;
	p->nr_exceptions++;
	p->vector = vector;
	p->has_error = has_error;
	p->error = error;
}

static void host_inject_single_step(struct vcpu *v)
{
	host_processor(v)->nr_steps++;
}

static bool host_injection_pending(const struct vcpu *v)
{
	return ((struct host_processor *)v->hw)->event;
}

static void host_set_tpr(struct vcpu *v, u8 tpr)
{
	host_processor(v)->tpr = tpr & 0xf0; /* as CR8: the class alone */
}

static u8 host_get_tpr(const struct vcpu *v)
{
	return ((struct host_processor *)v->hw)->tpr;
}

static int host_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	if (msr != MSR_PAT)
		return -EINVAL;
	*value = host_processor(v)->pat;
	return 0;
}

static int host_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	if (msr != MSR_PAT)
		return -EINVAL;
	host_processor(v)->pat = value;
	return 0;
}

static void host_set_tsc_offset(struct vcpu *v, u64 offset)
{
	host_processor(v)->tsc_offset = offset;
}

static const struct hvm_ops host_hvm = {
	.name = "host",
	.tdp_name = "npt",
	.where = host_where,
	.get_sregs = host_get_sregs,
	.set_sregs = host_set_sregs,
	.get_segment = host_get_segment,
	.set_segment = host_set_segment,
	.inject_exception = host_inject_exception,
	.inject_single_step = host_inject_single_step,
	.injection_pending = host_injection_pending,
	.set_tpr = host_set_tpr,
	.get_tpr = host_get_tpr,
	.msr_read = host_msr_read,
	.msr_write = host_msr_write,
	.set_tsc_offset = host_set_tsc_offset,
};
const struct hvm_ops *hvm = &host_hvm;

/* ---- what vcpu.c and vm.c do in the kernel --------------------------------------------------- */

bool vcpu_must_leave(const struct vcpu *v)
{
	return (v->requests & VCPU_REQ_STOP) || v->vm->paused;
}

void vcpu_request(struct vcpu *v, u32 bits)
{
	atomic_or(&v->requests, bits);
	host_record.nr_requests++;
	host_record.requested |= bits;
}

void vcpu_step_ends(struct vcpu *v)
{
	if (v->rflags & RFLAGS_TF)
		hvm->inject_single_step(v);
	v->rflags &= ~(u64)RFLAGS_RF;
}

void vcpu_skip_wrapped(struct vcpu *v, u64 next)
{
	vcpu_advance(v, host_processor(v)->segment[SEG_CS].attr & SEG_ATTR_L ? next : (u32)next);
}

void vcpu_inject_pf(struct vcpu *v, u64 cr2, u32 error)
{
	host_processor(v)->sregs.cr2 = cr2;
	hvm->inject_exception(v, VEC_PF, true, error);
}

bool vm_end(unused struct vm *vm, enum vm_status status, u32 code, const char *reason)
{
	host_record.status = status;
	host_record.code = code;
	snprintf(host_record.reason, sizeof(host_record.reason), "%s", reason);
	return host_record.nr_ended++ == 0;
}

void vm_stop_guest(unused struct vcpu *v, const char *reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(host_record.text, sizeof(host_record.text), fmt, ap);
	va_end(ap);
	snprintf(host_record.reason, sizeof(host_record.reason), "%s", reason);
	host_record.nr_stopped++;
}

void vm_guest_reset(unused struct vcpu *v, const char *reason)
{
	snprintf(host_record.reason, sizeof(host_record.reason), "%s", reason);
	host_record.nr_reset++;
}

void vm_out_of_memory(unused struct vm *vm)
{
	host_record.nr_out_of_memory++;
}

/* ---- a VM ------------------------------------------------------------------------------------ */

void vmm_host_mode(struct vcpu *v, unsigned int bits)
{
	struct host_processor *p = v->hw;
	const u16 code = bits == 64 ? 0xa9b : bits == 32 ? 0xc9b : 0x9b;

	p->sregs = (struct vcpu_sregs){.cr0 = CR0_PE | CR0_ET};
	for (int seg = 0; seg < NR_SEGS; seg++)
		p->segment[seg] = (struct segment){.selector = 0x10, .attr = 0xc93, .limit = ~0u};
	p->segment[SEG_CS].attr = code;
}

void vmm_host_code(struct vcpu *v, u64 at, const void *code, size_t nr)
{
	memcpy(host_ram(at), code, nr);
	v->rip = at - host_processor(v)->segment[SEG_CS].base;
}

#define TABLE     ((VMM_HOST_PAGES - 1) * PAGE_SIZE)
#define DIRECTORY ((VMM_HOST_PAGES - 2) * PAGE_SIZE)

void vmm_host_map(u32 page, u32 pte)
{
	memcpy(host_ram(TABLE + page * 4), &pte, 4);
}

void vmm_host_paging(struct vcpu *v)
{
	const u32 pde = TABLE | 7;

	memcpy(host_ram(DIRECTORY), &pde, 4);
	for (u32 page = 0; page < VMM_HOST_PAGES; page++)
		vmm_host_map(page, page << PAGE_SHIFT | 7);
	host_processor(v)->sregs.cr0 |= CR0_PG | CR0_WP;
	host_processor(v)->sregs.cr3 = DIRECTORY;
}

int vmm_host_setup(void **state)
{
	host_reset(state);
	host_record = (struct host_record){0};
	memset(no_frame, 0, sizeof(no_frame));
	memset(processor, 0, sizeof(processor));
	memset(&cpu, 0, sizeof(cpu));
	now_ns = 1000000;
	nr_objects = 0;
	ram = aligned_alloc(PAGE_SIZE, VMM_HOST_PAGES * PAGE_SIZE);
	memset(ram, 0, VMM_HOST_PAGES * PAGE_SIZE);

	host_vm = calloc(1, sizeof(*host_vm));
	strcpy(host_vm->config.name, "guest");
	host_vm->config.mem_bytes = VMM_HOST_PAGES * PAGE_SIZE;
	host_vm->config.cpus = VMM_HOST_CPUS;
	host_vm->config.apic = true;
	host_vm->slots.slot[0] = (struct memslot){.nr_pages = VMM_HOST_PAGES, .hva = (u64)ram};
	host_vm->slots.nr = 1;
	io_bus_init(&host_vm->io);
	for (u32 i = 0; i < VMM_HOST_CPUS; i++) {
		struct vcpu *v = calloc(1, sizeof(*v));
		v->vm = host_vm;
		v->index = i;
		v->hw = &processor[i];
		v->rflags = RFLAGS_FIXED;
		v->activity = i ? VCPU_WAIT_SIPI : VCPU_RUNNING;
		host_vm->vcpus[i] = v;
		host_vm->nr_vcpus++;
		vmm_host_mode(v, 32);
	}
	return 0;
}

int vmm_host_teardown(unused void **state)
{
	for (u32 i = 0; i < VMM_HOST_CPUS; i++)
		free(host_vm->vcpus[i]);
	free(host_vm);
	free(ram);
	assert_true(list_empty(&timers));
	assert_int_equal(cpu.preempt_count, 0);
	assert_int_equal(nr_objects, 0);
	return 0;
}
