/* SPDX-License-Identifier: BSD-2-Clause */
/* The end: who, where, why, and how it came there. The first CPU that panics reports; others halt,
 * told by NMI, so that a CPU which spins with interrupts off obeys as well. A panic within the report
 * ends it with one more line. Nothing here takes a lock, allocates or sleeps. */
#include "cpu/cpu_internal.h"
#include "cpu/memory.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/console.h"
#include "lib/printk.h"

#define LINES_MAX  32
#define FRAMES_MAX 4096

static u32 panicking; /* [a] CPU id + 1 of who panics */
static void (*exit_hook)(void);

/* Debug builds remember the last error of each CPU that passed trace(). */
static struct last_error {
	const char *file;
	int line, err;
} last_error[NEAP_DEBUG ? MAX_CPUS : 1];
static bool print_errors;

void panic_set_exit(void (*fn)(void))
{
	exit_hook = fn;
}

static noreturn_fn void halt(void)
{
	for (;;) {
		irq_disable();
		cpu_halt();
	}
}

/* ---- the report -------------------------------------------------------------------------------- */

static bool is_text(u64 rip)
{
	return rip >= (u64)image_start && rip < (u64)text_end;
}

/* A return address belongs to the call before it: behind a call that does not return another
 * function may begin. */
enum place { PLACE_EXACT = 0, PLACE_RETURN = 1 };

static void print_place(u64 rip, enum place kind)
{
	u64 offset;
	const char *name = is_text(rip - kind) ? symbol_find(rip - kind, &offset) : NULL;

	if (name)
		printk("  %#lx %s+%#lx\n", rip, name, offset + kind);
	else
		printk("  %#lx\n", rip);
}

/* A frame pointer may be anything: it is followed only into memory that the kernel has mapped, and
 * device registers are not for reading. */
static bool frame_readable(u64 rbp)
{
	return !(rbp & 7) && rbp < DEVICE_AREA && memory_is_mapped(rbp) &&
	       memory_is_mapped(rbp + 15);
}

/* The callers' part. What calls itself is shown once, with how often: a stack overflows that way. */
static void print_callers(u64 rbp)
{
	u64 last = 0;
	u32 lines = 0, repeated = 0;

	for (u32 depth = 0; depth < FRAMES_MAX && lines < LINES_MAX && frame_readable(rbp); depth++) {
		const u64 *frame = (const u64 *)rbp;

		if (!is_text(frame[1]) || frame[0] == rbp)
			break;
		if (frame[1] == last) {
			repeated++;
		} else {
			if (repeated)
				printk("  ... %u times more\n", repeated);
			repeated = 0;
			print_place(frame[1], PLACE_RETURN);
			lines++;
		}
		last = frame[1];
		rbp = frame[0];
	}
}

/* Is there a call right before @rip? E8 rel32, or FF /2 in one of its lengths. */
static bool is_behind_call(u64 rip)
{
	const u8 *at = (const u8 *)rip;
	static const u8 lengths[] = {2, 3, 4, 6, 7};

	if (!is_text(rip - 7) || !is_text(rip))
		return false;
	if (at[-5] == 0xe8)
		return true;
	for (u32 i = 0; i < ARRAY_SIZE(lengths); i++)
		if (at[-lengths[i]] == 0xff && (at[1 - lengths[i]] & 0x38) == 0x10)
			return true;
	return false;
}

/* Release builds have no frame pointers: what looks like a return address on the stack is shown, be it
 * one of a call that has returned long ago. */
static void print_candidates(u64 rsp)
{
	u32 lines = 0;

	for (u32 i = 0; i < STACK_BYTES / 8 && lines < LINES_MAX; i++, rsp += 8) {
		if (!frame_readable(rsp))
			break;
		u64 word = *(const u64 *)rsp;
		if (is_behind_call(word)) {
			print_place(word, PLACE_RETURN);
			lines++;
		}
	}
}

#define BACKTRACE_TITLE (NEAP_DEBUG ? "Backtrace:\n" : "Backtrace (some lines may be old):\n")

static void print_stack(u64 rbp, u64 rsp)
{
	if (NEAP_DEBUG)
		print_callers(rbp);
	else
		print_candidates(rsp);
}

static void print_registers(const struct trap_frame *f)
{
	printk("rip %016lx rsp %016lx rflags %lx cs %lx ss %lx\n", f->rip, f->rsp, f->rflags, f->cs,
	       f->ss);
	printk("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	printk("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
	printk("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", f->r9, f->r10, f->r11, f->r12);
	printk("r13 %016lx r14 %016lx r15 %016lx\n", f->r13, f->r14, f->r15);
}

static void print_state(void)
{
	u32 cpu = cpu_id();

	printk("CPU %u, thread %s, preempt_count %u\n", cpu, trap_thread_name(), preempt_count());
	printk("cr0 %lx cr2 %lx cr3 %lx cr4 %lx\n", read_cr0(), read_cr2(), read_cr3(), read_cr4());
	if (NEAP_DEBUG && last_error[cpu].file)
		printk("last error here: %s at %s:%d\n", errno_name(last_error[cpu].err),
		       last_error[cpu].file, last_error[cpu].line);
}

/* panic_begin - become the one who reports, and say why; or never return. */
static void panic_begin(const char *fmt, va_list ap)
{
	u32 me = cpu_id() + 1, was = 0;

	irq_disable();
	if (atomic_cas(&panicking, &was, me)) {
		this_cpu()->in_panic = true;
		console_panic();
		smp_stop_others();
		/* The cursor may stand anywhere: an empty line is better than "PANIC:" behind another. */
		printk("\nPANIC: ");
		vprintk(fmt, ap);
		printk("\n");
		return;
	}
	if (was == me) {
		static u32 depth;

		if (depth++ == 0)
			printk("\nPANIC: again, while reporting the first\n");
		if (depth == 1 && exit_hook)
			exit_hook();
	}
	halt();
}

static noreturn_fn void panic_end(void)
{
	if (exit_hook)
		exit_hook();
	halt();
}

/* Where the function that expands this was called from. */
#define BACKTRACE_HERE() \
	do { \
		const u64 *frame_ = __builtin_frame_address(0); \
		printk(BACKTRACE_TITLE); \
		print_place((u64)__builtin_return_address(0), PLACE_RETURN); \
		print_stack(frame_[0], (u64)&frame_[2]); \
	} while (0)

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_begin(fmt, ap);
	va_end(ap);
	print_state();
	BACKTRACE_HERE();
	panic_end();
}

void panic_at(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_begin(fmt, ap);
	va_end(ap);
	printk("at %s:%d: %s\n", file, line, cond);
	print_state();
	BACKTRACE_HERE();
	panic_end();
}

void panic_trap(const struct trap_frame *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_begin(fmt, ap);
	va_end(ap);
	print_state();
	print_registers(f);
	printk(BACKTRACE_TITLE);
	print_place(f->rip, PLACE_EXACT);
	/* After a call to a wrong address the way back is on top of the stack, in no frame yet. */
	if (!is_text(f->rip) && frame_readable(f->rsp))
		print_place(*(const u64 *)f->rsp, PLACE_RETURN);
	print_stack(f->rbp, f->rsp);
	panic_end();
}

void panic_stop_here(void)
{
	u32 who = atomic_load(&panicking);

	if (!who || who == cpu_id() + 1)
		return;
	WRITE_ONCE(this_cpu()->in_panic, true);
	halt();
}

/* ---- errors on their way ------------------------------------------------------------------------ */

void trace_errors_print(bool on)
{
	print_errors = on;
}

int trace_error(int err, const char *file, int line)
{
	if (NEAP_DEBUG)
		last_error[cpu_id()] = (struct last_error){file, line, err};
	if (READ_ONCE(print_errors))
		printk("trace: %s at %s:%d\n", errno_name(err), file, line);
	return err;
}
