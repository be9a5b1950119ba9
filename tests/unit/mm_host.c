/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine on the host: what mm uses of cpu and sched, in the simplest form that still notices
 * when it is used against its contract. */
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mm_host.h"

#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/trap.h"
#include "mm/mm_internal.h"
#include "mm/uaccess.h"

/* ---- the processors -------------------------------------------------------------------------- */

_Thread_local struct cpu *host_cpu;
struct cpu *cpus[MAX_CPUS];
u32 nr_cpus;
bool mm_host_threads;

static struct host_processor {
	struct cpu cpu;
	struct thread thread;
	struct softmmu mmu;
	const struct rwsem *reading; /* a reader may not read twice */
} processor[MM_HOST_CPUS];

static struct host_processor *here(void)
{
	return &processor[cpu_id()];
}

u32 mm_host_cpu(u32 id)
{
	u32 was = host_cpu ? host_cpu->id : id;

	assert_true(id < MM_HOST_CPUS);
	host_cpu = &processor[id].cpu;
	return was;
}

void preempt_schedule(void)
{
}

void might_sleep(void)
{
	if (preempt_count() || host_cpu->nr_ranks)
		panic("sleeping with preempt_count %u, %u spinlocks", preempt_count(),
		      host_cpu->nr_ranks);
}

void spin_debug_take(struct spinlock *l)
{
	struct cpu *c = host_cpu;

	for (u8 i = 0; i < c->nr_ranks; i++)
		if (c->ranks[i] >= l->rank)
			panic("rank %u taken under rank %u", l->rank, c->ranks[i]);
	c->ranks[c->nr_ranks++] = l->rank;
}

void spin_debug_drop(struct spinlock *l)
{
	struct cpu *c = host_cpu;
	u8 i = c->nr_ranks;

	while (i > 0 && c->ranks[i - 1] != l->rank)
		i--;
	if (i == 0)
		panic("rank %u dropped, not held", l->rank);
	memmove(&c->ranks[i - 1], &c->ranks[i], c->nr_ranks - i);
	c->nr_ranks--;
}

/* ---- sleeping locks -------------------------------------------------------------------------- */

#define WRITER 0x80000000u

static void wait_a_little(const char *what)
{
	if (!mm_host_threads)
		panic("%s: would wait for ever", what);
	sched_yield();
}

void rwsem_init(struct rwsem *s)
{
	s->state = 0;
}

void rwsem_read_lock(struct rwsem *s)
{
	might_sleep();
	if (here()->reading == s)
		panic("rwsem read twice");
	while (!rwsem_read_trylock(s))
		wait_a_little("rwsem_read_lock");
	here()->reading = s;
}

bool rwsem_read_trylock(struct rwsem *s)
{
	u32 state = atomic_load(&s->state);

	while (!(state & WRITER))
		if (atomic_cas(&s->state, &state, state + 1))
			return true;
	return false;
}

void rwsem_read_unlock(struct rwsem *s)
{
	here()->reading = NULL;
	if (atomic_sub(&s->state, 1) >= WRITER)
		panic("rwsem: read_unlock without a reader");
}

void rwsem_write_lock(struct rwsem *s)
{
	u32 none = 0;

	might_sleep();
	while (!atomic_cas(&s->state, &none, WRITER)) {
		none = 0;
		wait_a_little("rwsem_write_lock");
	}
}

int rwsem_write_lock_killable(struct rwsem *s)
{
	if (thread_killed())
		return -EINTR;
	rwsem_write_lock(s);
	return 0;
}

void rwsem_write_unlock(struct rwsem *s)
{
	if (atomic_xchg(&s->state, 0) != WRITER)
		panic("rwsem: write_unlock without the writer");
}

bool rwsem_is_held(const struct rwsem *s)
{
	return atomic_load(&s->state) != 0;
}

/* ---- address spaces and the other processors ------------------------------------------------- */

void smp_call(u64 mask, void (*fn)(void *arg), void *arg)
{
	for (; mask; mask &= mask - 1) {
		u32 was = mm_host_cpu(__builtin_ctzll(mask));
		fn(arg);
		mm_host_cpu(was);
	}
}

void space_switch(struct cpu_space *s)
{
	struct cpu_space *old = host_cpu->space;

	if (old == s)
		return;
	if (s)
		atomic_or(&s->active, 1ull << cpu_id());
	softmmu_set_root(&here()->mmu, s ? s->cr3 : kernel_pt.root);
	host_cpu->space = s;
	if (old)
		atomic_and(&old->active, ~(1ull << cpu_id()));
}

void space_flush(struct cpu_space *s, u64 start, u64 end)
{
	host_cpu->tlb_flushes++;
	for (u64 mask = atomic_load(&s->active); mask; mask &= mask - 1) {
		struct softmmu *m = &processor[__builtin_ctzll(mask)].mmu;

		if (end - start > 32 * PAGE_SIZE)
			softmmu_flush(m);
		else
			for (u64 va = start; va < end; va += PAGE_SIZE)
				softmmu_flush_page(m, va);
	}
}

void thread_use_space(struct mm *mm, struct cpu_space *space)
{
	thread_current()->mm = mm;
	thread_current()->space = space;
	space_switch(space);
}

void mm_host_use(struct mm *mm)
{
	thread_use_space(mm, mm ? &mm->space : NULL);
}

static int (*fault_handler)(u64 va, u32 pfec);

void trap_set_fault_handler(int (*fn)(u64 va, u32 pfec))
{
	fault_handler = fn;
}

/* ---- accesses to hva ------------------------------------------------------------------------- */

/* serve - what the trap code does. */
static int serve(u64 va, u32 pfec)
{
	if (!thread_current()->mm)
		return -EFAULT;
	return fault_handler(va, pfec);
}

int mm_host_load(u64 at, u64 *value)
{
	u32 pfec;

	while (softmmu_load(&here()->mmu, at, 0, value, &pfec))
		if (serve(at, pfec))
			return -EFAULT;
	return 0;
}

int mm_host_store(u64 at, u64 value)
{
	u32 pfec;

	while (softmmu_store(&here()->mmu, at, 0, value, &pfec))
		if (serve(at, pfec))
			return -EFAULT;
	return 0;
}

/* piece - where the bytes at hva @at are, for @acc; *@bytes is cut at the page's end. */
static void *piece(u64 at, unsigned int acc, size_t *bytes)
{
	u64 pa;
	u32 pfec;

	while (softmmu_access(&here()->mmu, at, acc, &pa, &pfec))
		if (serve(at, pfec))
			return NULL;
	*bytes = MIN(*bytes, PAGE_SIZE - page_offset(at));
	return host_virt(pa);
}

int uaccess_copy_from(void *to, u64 from, size_t bytes)
{
	for (size_t n; bytes; bytes -= n, from += n, to = (char *)to + n) {
		n = bytes;
		void *p = piece(from, ACC_R, &n);
		if (!p)
			return -EFAULT;
		memcpy(to, p, n);
	}
	return 0;
}

int uaccess_copy_to(u64 to, const void *from, size_t bytes)
{
	for (size_t n; bytes; bytes -= n, to += n, from = (const char *)from + n) {
		n = bytes;
		void *p = piece(to, ACC_W, &n);
		if (!p)
			return -EFAULT;
		memcpy(p, from, n);
	}
	return 0;
}

int uaccess_clear(u64 to, size_t bytes)
{
	for (size_t n; bytes; bytes -= n, to += n) {
		n = bytes;
		void *p = piece(to, ACC_W, &n);
		if (!p)
			return -EFAULT;
		memset(p, 0, n);
	}
	return 0;
}

/* ---- physical memory ------------------------------------------------------------------------- */

u64 host_direct_map;
struct pt kernel_pt = {.fmt = &pt_format_host};

static u64 ram_start, ram_end, boot_next;

u64 memory_boot_pages(u64 n)
{
	u64 at = boot_next;

	boot_next += n << PAGE_SHIFT;
	assert_true(boot_next <= ram_end);
	return at;
}

void memory_boot_ranges(void (*add)(u64 start, u64 end))
{
	add(boot_next, ram_end);
}

u64 memory_ram_top(void)
{
	return ram_end;
}

u64 memory_ram_bytes(void)
{
	return ram_end - ram_start;
}

void kernel_pages_set(struct pt_pages *pages)
{
	kernel_pt.pages = pages;
}

/* clear_page - and the place to notice N3: no TLB reaches what is made ready for another. */
static void clear_page(void *page)
{
	for (u32 i = 0; i < MM_HOST_CPUS; i++)
		if (softmmu_reaches(&processor[i].mmu, virt_to_phys(page)))
			mm_host_violation("N3: frame %#lx reused while CPU %u reaches it",
					  virt_to_phys(page) >> PAGE_SHIFT, i);
	memset(page, 0, PAGE_SIZE);
}

void (*memory_clear_page)(void *page) = clear_page;

u64 mm_host_free_frames(void)
{
	struct frame_stats s;

	frame_stats(&s);
	return s.free;
}

void mm_host_start(u64 bytes)
{
	host_direct_map = host_virt_offset();
	ram_start = boot_next = host_run_get(bytes >> PAGE_SHIFT);
	ram_end = ram_start + bytes;
	assert_true(ram_start);
	kernel_pt.root = memory_boot_pages(1);
	kernel_pt.virt_offset = host_direct_map;
	for (u32 i = 0; i < MM_HOST_CPUS; i++) {
		struct host_processor *p = &processor[i];

		p->cpu = (struct cpu){.self = &p->cpu, .current = &p->thread, .id = i};
		softmmu_init(&p->mmu, SOFTMMU_HOST, kernel_pt.root);
		cpus[i] = &p->cpu;
	}
	nr_cpus = MM_HOST_CPUS;
	mm_host_cpu(0);
	frame_init();
	mm_subsystem_init();

	/* The kernel's half has small pages too: nothing of mm may take one for its own. */
	u64 *entry;
	assert_int_equal(pt_ensure(&kernel_pt, KERNEL_IMAGE, 1, &entry), 0);
	*entry = page_to_phys(frame_alloc(FRAME_KERNEL, 0)) | PTE_P | PTE_W | PTE_A | PTE_D;
}

/* ---- what was noticed ------------------------------------------------------------------------ */

static unsigned int violations; /* [a] */
static char first_violation[256];

void mm_host_violation(const char *fmt, ...)
{
	unsigned int nth = atomic_add(&violations, 1);
	va_list ap;

	if (nth == 1) {
		va_start(ap, fmt);
		vsnprintf(first_violation, sizeof(first_violation), fmt, ap);
		va_end(ap);
	}
	if (nth > 3)
		return;
	va_start(ap, fmt);
	vprintk(fmt, ap);
	va_end(ap);
	printk("\n");
}

unsigned int mm_host_take(void)
{
	return atomic_xchg(&violations, 0);
}

/* What the child process says to its parent. */
static char *mishap; /* shared memory */
#define MISHAP_BYTES 512

struct scenario {
	bool (*fn)(void);
	const char *wrong;
};

static void scenario_run(const struct scenario *s)
{
	bool right = s->fn();

	if (mm_host_take())
		snprintf(mishap, MISHAP_BYTES, "%s", first_violation);
	else if (!right)
		snprintf(mishap, MISHAP_BYTES, "%s", s->wrong);
}

const char *mm_host_mishap(bool (*scenario)(void), const char *wrong)
{
	struct scenario s = {scenario, wrong};
	static bool is_child;
	int status;

	if (is_child) { /* a failed assertion has led on to the next test */
		if (!mishap[0])
			snprintf(mishap, MISHAP_BYTES, "an assertion failed");
		_exit(1);
	}
	if (!mishap)
		mishap = mmap(NULL, MISHAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mishap[0] = '\0';
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		is_child = true;
		host_panics_are_told(mishap, MISHAP_BYTES);
		scenario_run(&s);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!mishap[0] && status)
		snprintf(mishap, MISHAP_BYTES, "the process ended with status %#x", status);
	return mishap[0] ? mishap : NULL;
}

void mm_host_report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintk(fmt, ap);
	va_end(ap);
}

bool mm_host_holds(u32 cpu, u64 at)
{
	return softmmu_holds(&processor[cpu].mmu, at);
}

static void tlb_check(u32 cpu, const struct softmmu_tlb_entry *e, struct mm *mm)
{
	const u64 *entry = e->va < MM_HVA_END ? mm_entry(mm, e->va) : NULL;
	pte_t pte = {entry ? atomic_load(entry) : 0};

	if (e->va >= MM_HVA_END)
		return;
	if (!pte_present(pte) || (pte.v & PTE_ADDR) != e->pa)
		mm_host_violation("N3: CPU %u still reaches frame %#lx at hva %#lx, pte is %#lx", cpu,
				  e->pa >> PAGE_SHIFT, e->va, pte.v);
	else if (e->writable && !pte_writable(pte))
		mm_host_violation("N2: CPU %u may write hva %#lx, pte is %#lx", cpu, e->va, pte.v);
	else if (e->dirty && !(pte.v & PTE_D))
		mm_host_violation("N4: CPU %u writes hva %#lx without setting D, pte is %#lx", cpu,
				  e->va, pte.v);
}

void mm_host_check_tlbs(struct mm *mm)
{
	for (u32 i = 0; i < MM_HOST_CPUS; i++) {
		const struct softmmu *m = &processor[i].mmu;

		for (size_t n = 0; processor[i].cpu.space == &mm->space && n < m->tlb_slots; n++)
			if (m->tlb[n].bytes == PAGE_SIZE)
				tlb_check(i, &m->tlb[n], mm);
	}
}

int mm_host_audit(void)
{
	return mm_audit(mm_host_report) + frame_audit(mm_host_report);
}
