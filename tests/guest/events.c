/* SPDX-License-Identifier: BSD-2-Clause */
/* Does an event arrive exactly once, and exactly as it was, when the pages that its delivery needs
 * are in swap?
 *
 * Delivery reads the IDT, the GDT, the TSS and the handler's code, pushes a frame, and walks page
 * tables to each. Here each of these is a page of its own, with tables of its own, that no other
 * thing uses; two for the IDT and for each stack, and many frames lie across the end of a page. The
 * code that brings the event about (events.S) first sends some of them to swap by port E4: each one
 * alone, all, and any choice.
 *
 * A handler writes down every frame that arrives. It must be one, and each word of it is known
 * beforehand. The hypervisor counts how many pages came back: as many as were sent away, or nothing
 * was tested.
 *
 * Then events that meet: NMI and interrupt that wait behind a #DB; an NMI behind an NMI's handler;
 * a #PF in a delivery; and a second vCPU that shoots NMIs and interrupts while the first waits for
 * its pages. Not #DF: TCG tells of the exception that came first, when the second one's delivery
 * needs help. */
#include "apic.h"
#include "guest.h"
#include "hypercall.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define LINE        5u /* an ISA line that no device of the board has */
#define LINE_PORT   (0x2000 + LINE)
#define IOAPIC      0xfec00000ul
#define IPI         0x91
#define TIMER       0x92
#define SOFT        0x93
#define IOAPIC_LINE 0x94
#define PIC_BASE    0x98
#define SHOT        0xe1 /* above all others */
#define TIMER_TICKS 50000u
#define STATUS      0x8d5u
#define DF          0x400u
#define IOPL3       0x3000u
#define RF          0x10000u
#define STI_BYTES   1
#define SPREAD      16 /* pages between two pages of ours: none comes back in the wake of another */

enum piece {
	IDT,
	ENTRIES,
	GDT,
	TSS,
	STACK,
	STACK0,
	STACK_IST,
	STACK_NMI,
	SCRATCH,
	CODE,
	NR_PIECES
};
enum { IST_EVENT = 2, IST_NMI = 3 };

/* An address at which a piece begins: each has an entry of the uppermost table. */
#define PIECE(i)  (((u64)(i) + 1) << 39)
#define NOWHERE   (PIECE(NR_PIECES) + 0x123456000)
#define APIC_VA   (PIECE(SCRATCH) + 2 * PAGE_SIZE)
#define IDT_VA    (PIECE(IDT) + PAGE_SIZE / 2) /* a half in either page */
#define FLAGS_AT  (PIECE(SCRATCH) + PAGE_SIZE / 2)
#define SHOT_AT   (FLAGS_AT + 64)
#define GDT_WORDS 8

extern char event_code[], event_entries[];
#define CODE_LABELS(name) extern char name[], name##_at[], name##_after[]
CODE_LABELS(on_write);
CODE_LABELS(on_window);
CODE_LABELS(on_halt);
CODE_LABELS(on_spin);
CODE_LABELS(on_out);
CODE_LABELS(on_int);
CODE_LABELS(on_int3);
CODE_LABELS(on_divide);
CODE_LABELS(on_ud);
CODE_LABELS(on_load);
CODE_LABELS(on_read);
CODE_LABELS(on_jump);
CODE_LABELS(on_step);
CODE_LABELS(on_step_write);
CODE_LABELS(on_step_cpuid);

struct start { /* events.S counts on it */
	u64 rdi, rsi, rcx, r8, r9, r10, r11;
	u64 rip, cs, rflags, rsp, ss;
};
void event_enter(struct start *s);

enum kind {
	FAULT = 1,     /* the frame's RIP is at the instruction, not behind it */
	RING0 = 2,     /* only there */
	WINDOW = 4,    /* IF is set by the code itself */
	SPIN = 8,      /* the frame's RIP is somewhere in a loop */
	TARGET = 16,   /* RDI is the address of a #PF, another one each time */
	JUMP = 32,     /* the frame's RIP is that address */
	SELECTOR = 64, /* R8 is one past the GDT, and the error code */
	STEP = 128,    /* TF comes from the scratch page, */
	STAYS = 256,   /* which is the stack as well: not in ring 0 without IST */
	RF_SET = 512,  /* see event_is */
};

struct test {
	const char *name, *code, *at, *after;
	u8 vector;
	u32 kind;
	u64 rdi, r8;
	u64 error;
	void (*before)(bool on);
};

/* How a test is run: where it comes from, and on which stack it arrives. */
struct way {
	bool user, ist;
	const char *name;
};

struct event {
	u64 vector, error, rip, cs, rflags, rsp, ss, cr2, top; /* where the frame ends */
};

static const struct way ways[] = {{false, false, "ring 0"},
				  {false, true, "ring 0, IST"},
				  {true, false, "ring 3"},
				  {true, true, "ring 3, IST"}};

static u64 seed = 1, pages_back;
static u64 *gdt;
static struct tss *tss;
static struct idt_gate *gates[2]; /* the halves, by physical address */
static u32 *list;                 /* gpas to evict, in the scratch page */
static u64 *step_flags;

static struct event events[8];
static volatile u32 nr_events;
static u32 early;
static u64 resume; /* where a fault's handler returns to */
static void (*in_handler)(const struct event *e);
static u32 *shot;     /* what the other vCPU shall send now; in the scratch page */
static u32 shot_next; /* and what once a run has sent its pages away */

/* ---- the pieces ----------------------------------------------------------------------------- */

static u64 physical(u64 va)
{
	return *pte_of(guest_pml4, va, 1) & PTE_ADDRESS;
}

/* A page for us alone, far from the next one. */
static u64 page_apart(void)
{
	u64 *page = ram_alloc(PAGE_SIZE, 0);

	ram_alloc((SPREAD - 1) * PAGE_SIZE, 0);
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		page[i] = random_next(&seed); /* a page of zeros would not go to the disk */
	return (u64)page;
}

static void tables_make(u64 va)
{
	u64 *table = guest_pml4;

	for (u32 level = 4; level > 1; level--) {
		u64 *entry = &table[va >> (12 + 9 * (level - 1)) & 511];

		if (!(*entry & PTE_P)) {
			u64 page = page_apart();

			memset((void *)page, 0, PAGE_SIZE);
			*entry = page | PTE_P | PTE_W | PTE_U;
		}
		table = (u64 *)(*entry & PTE_ADDRESS);
	}
}

static struct idt_gate *gate(u32 vector)
{
	return &gates[vector / 128][vector % 128];
}

static void idt_make(void)
{
	gates[0] = (struct idt_gate *)(physical(PIECE(IDT)) + PAGE_SIZE / 2);
	gates[1] = (struct idt_gate *)physical(PIECE(IDT) + PAGE_SIZE);
	for (u32 v = 0; v < 256; v++) {
		u64 entry = PIECE(ENTRIES) + v * 16;
		bool user = v == SOFT || v == VEC_BP || v == 0x80;

		*gate(v) = (struct idt_gate){.offset_low = (u16)entry,
					     .selector = SEL_CODE64,
					     .type = user ? GATE_USER : GATE_INTERRUPT,
					     .offset_mid = (u16)(entry >> 16),
					     .offset_high = (u32)(entry >> 32)};
	}
	gate(VEC_NMI)->ist = IST_NMI;
	gate(VEC_DF)->ist = 1;
	idt_load((void *)IDT_VA, 256 * sizeof(struct idt_gate));
}

static void gdt_make(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) at = {GDT_WORDS * 8 - 1, PIECE(GDT) + 64};
	u64 base = PIECE(TSS) + 128;

	gdt = (u64 *)(physical(PIECE(GDT)) + 64);
	tss = (struct tss *)(physical(PIECE(TSS)) + 128);
	for (u32 i = 0; i < GDT_WORDS; i++)
		gdt[i] = guest_gdt[i];
	*tss = guest_tss;
	gdt[SEL_TSS / 8] = (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
			   (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(at), "r"(SEL_TSS));
}

static void pieces_make(void)
{
	for (u32 i = 0; i < NR_PIECES; i++) {
		tables_make(PIECE(i));
		for (u32 p = 0; p < 2; p++)
			page_map(PIECE(i) + p * PAGE_SIZE,
				 i == CODE ? (u64)event_code : page_apart(),
				 PTE_P | PTE_W | (i == CODE || i == SCRATCH ? PTE_U : 0));
	}
	page_map(APIC_VA, APIC_BASE, PTE_P | PTE_W | PTE_U | PTE_PCD);
	memcpy((void *)PIECE(ENTRIES), event_entries, PAGE_SIZE);
	list = (u32 *)physical(PIECE(SCRATCH));
	step_flags = (u64 *)(list + PAGE_SIZE / 2 / sizeof(u32));
	shot = (u32 *)(step_flags + 8);
	*shot = 0;
	idt_make();
	gdt_make();
}

/* ---- what the delivery needs, and what of it goes ------------------------------------------- */

static u64 needed[64];
static u32 nr_needed, nr_leaves;

static void need_page(u64 page)
{
	for (u32 i = 0; i < nr_needed; i++)
		if (needed[i] == page)
			return;
	needed[nr_needed++] = page;
}

static void need_tables(u64 va)
{
	for (u32 level = 1; level <= 3; level++)
		need_page((u64)pte_of(guest_pml4, va, level) & ~(PAGE_SIZE - 1));
}

/* The delivery of @vector with the frame below @top: first the pages, then the tables to each. */
static void need(u32 vector, u64 top, bool with_tss)
{
	const u64 at[] = {IDT_VA + vector * 16,
			  PIECE(ENTRIES) + vector * 16,
			  PIECE(GDT),
			  top - 8,
			  top - 40,
			  PIECE(TSS)};
	u32 nr = with_tss ? 6 : 5;

	for (u32 i = 0; i < nr; i++)
		need_page(physical(at[i]));
	nr_leaves = nr_needed;
	for (u32 i = 0; i < nr; i++)
		need_tables(at[i]);
}

static bool goes(u32 round, u32 i)
{
	if (round < nr_needed)
		return i == round;
	switch (round - nr_needed) {
	case 0:
		return true;
	case 1:
		return i < nr_leaves;
	case 2:
		return i >= nr_leaves;
	default:
		return random_next(&seed) & 1;
	}
}

#define ROUNDS_MORE 6
#define TRIES       400u

/* Make the list of round @round; all that is needed is here until then. Returns how many. */
static u32 list_make(u32 round)
{
	u32 nr = 0;

	for (u32 i = 0; i < nr_needed; i++) {
		(void)*(volatile u64 *)needed[i];
		if (goes(round, i))
			list[nr++] = (u32)needed[i];
	}
	return nr;
}

static u64 came_back(void)
{
	u64 watched, all;

	hypercall_watched(&watched, &all);
	return all;
}

/* ---- the handler ---------------------------------------------------------------------------- */

static void note(struct trap_frame *f)
{
	u32 i = __atomic_fetch_add(&nr_events, 1, __ATOMIC_SEQ_CST);
	struct event e = {f->vector, f->error, f->rip,     f->cs,       f->rflags,
			  f->rsp,    f->ss,    read_cr2(), (u64)(f + 1)};

	if (i < ARRAY_SIZE(events))
		events[i] = e;
	if (in_handler)
		in_handler(&e);
	if (f->vector == VEC_DB)
		f->rflags &= ~(u64)RFLAGS_TF;
	else if (f->vector < 32 && f->vector != VEC_NMI && f->vector != VEC_BP && resume)
		f->rip = resume;
	else if (f->vector == TIMER && resume)
		f->rip = resume; /* out of the loop */
	else if (f->vector == PIC_BASE + LINE)
		out8(0x20, 0x20);
	if (f->vector >= 32 && f->vector != SOFT && f->vector != PIC_BASE + LINE)
		apic_write(APIC_EOI, 0);
}

static void handlers_set(void)
{
	static const u8 vectors[] = {VEC_DE, VEC_DB,      VEC_NMI,         VEC_BP, VEC_UD,
				     VEC_GP, VEC_PF,      VEC_DF,          IPI,    TIMER,
				     SOFT,   IOAPIC_LINE, PIC_BASE + LINE, SHOT};

	for (u32 i = 0; i < ARRAY_SIZE(vectors); i++)
		trap_handler_set(vectors[i], note);
}

/* ---- one event ------------------------------------------------------------------------------ */

static u64 in_code(const char *label)
{
	return PIECE(CODE) + (u64)(label - event_code);
}

/* Where a frame on two pages of stack ends: somewhere at the end of the second, or across the
 * first's. */
static u64 some_top(enum piece stack)
{
	u64 across = random_next(&seed) & 1;

	return PIECE(stack) + (across ? PAGE_SIZE + 16 + 8 * (random_next(&seed) % 3)
				      : 2 * PAGE_SIZE - 8 * (random_next(&seed) % 16));
}

static u64 aligned_top(u64 top)
{
	return top & ~15ull;
}

/* What is known beforehand of a run. */
struct run {
	struct start start;
	struct event event;
};

static void run_make(struct run *r, const struct test *t, const struct way *w)
{
	u64 flags =
	    2 | IOPL3 | (random_next(&seed) & (STATUS | DF)) | (t->kind & WINDOW ? 0 : RFLAGS_IF);
	u64 top = some_top(STACK), rdi = t->rdi, r8 = t->r8, error = t->error;

	if (t->kind & TARGET) {
		rdi = NOWHERE + (random_next(&seed) & 0x3fffffff);
		error |= w->user ? PF_U : 0;
	}
	if (t->kind & SELECTOR)
		error = r8 = 0x7f8 - 8 * (random_next(&seed) & 15) + 4 * (random_next(&seed) & 1);
	if (t->kind & STEP) {
		rdi = FLAGS_AT;
		*step_flags = flags | RFLAGS_TF;
	}
	r->start = (struct start){rdi,
				  PIECE(SCRATCH),
				  0,
				  r8,
				  shot_next,
				  APIC_VA + APIC_ICR_LOW,
				  SHOT_AT,
				  in_code(t->code),
				  w->user ? SEL_USER_CODE : SEL_CODE64,
				  flags,
				  top,
				  w->user ? SEL_USER_DATA : SEL_DATA};
	r->event = (struct event){
	    .vector = t->vector,
	    .error = error,
	    .rip = t->kind & JUMP ? rdi : in_code(t->kind & FAULT ? t->at : t->after),
	    .cs = r->start.cs,
	    .rflags = flags | (t->kind & STEP ? RFLAGS_TF : 0) |
		      (t->kind & WINDOW ? RFLAGS_IF : 0) | (t->kind & RF_SET ? RF : 0),
	    .rsp = t->kind & STAYS ? FLAGS_AT + 8 : top,
	    .ss = r->start.ss,
	    .cr2 = t->kind & TARGET ? rdi : 0,
	    .top = top,
	};
	tss->rsp[0] = aligned_top(some_top(STACK0));
	tss->ist[IST_EVENT - 1] = aligned_top(some_top(STACK_IST));
	tss->ist[IST_NMI - 1] = aligned_top(some_top(STACK_NMI));
	if (t->vector == VEC_NMI)
		r->event.top = tss->ist[IST_NMI - 1];
	else if (w->ist)
		r->event.top = tss->ist[IST_EVENT - 1];
	else if (w->user)
		r->event.top = tss->rsp[0];
	r->event.top = aligned_top(r->event.top);
	resume = in_code(t->after);
}

/* Run it, with @nr pages of the list sent away; @all: have they come back? A page that is just
 * being written to disk does not go; that is no failure. Returns whether the run came to its end.
 */
static bool run_start(struct run *r, u32 nr, bool *all)
{
	u64 had = came_back();

	r->start.rcx = nr;
	nr_events = 0;
	write_cr2(0);
	struct trap t = try_call((void (*)(void *))event_enter, &r->start);
	u64 back = came_back() - had;
	resume = 0;
	pages_back += back;
	*all = back >= nr || guest_on_qemu();
	if (t.vector != 0x80 || t.cs != r->start.cs) {
		print("      it ended by vector %#lx error %#lx rip %#lx cr2 %#lx\n", t.vector,
		      t.error, t.rip, t.cr2);
		return false;
	}
	return true;
}

static void event_print(const char *what, const struct event *e)
{
	print("      %s vector %#lx error %#lx rip %#lx cs %#lx rflags %#lx rsp %#lx ss %#lx", what,
	      e->vector, e->error, e->rip, e->cs, e->rflags, e->rsp, e->ss);
	print(" cr2 %#lx top %#lx\n", e->cr2, e->top);
}

/* event_is - TCG forgets the shadow of STI when an exit falls into it: the event may come `early`,
 * but not often. RF in a fault's frame is Neap's for what it injects, #UD; TCG does not set it. */
static bool event_is(const struct event *e, const struct event *want, const struct test *t)
{
	struct event seen = *e, wanted = *want;

	if (t && (t->kind & SPIN) && seen.rip >= in_code(t->at) && seen.rip < in_code(t->after))
		seen.rip = wanted.rip;
	if (t && (t->kind & WINDOW) && seen.rip == in_code(t->at) + STI_BYTES) {
		seen.rip = wanted.rip;
		early++;
	}
	if (t && (t->kind & FAULT) && (!(t->kind & RF_SET) || guest_on_qemu())) {
		seen.rflags &= ~(u64)RF;
		wanted.rflags &= ~(u64)RF;
	}
	if (!memcmp(&seen, &wanted, sizeof(seen)))
		return true;
	event_print("came  ", e);
	event_print("wanted", want);
	return false;
}

static bool is_alone(const struct run *r, const struct test *t)
{
	if (nr_events != 1) {
		print("      it arrived %u times\n", nr_events);
		return false;
	}
	return event_is(&events[0], &r->event, t);
}

static void gate_setup(const struct test *t, const struct way *w)
{
	if (t->vector != VEC_NMI)
		gate(t->vector)->ist = w->ist ? IST_EVENT : 0;
}

static void gate_reset(const struct test *t)
{
	if (t->vector != VEC_NMI)
		gate(t->vector)->ist = 0;
}

static void needs_of(const struct test *t, const struct way *w, const struct run *r)
{
	nr_needed = 0;
	need(t->vector, r->event.top, w->user || w->ist || t->vector == VEC_NMI);
}

static bool runs_this_way(const struct test *t, const struct way *w)
{
	if ((t->kind & RING0) && w->user)
		return false;
	if (t->vector == VEC_NMI && w->ist) /* it has its own always */
		return false;
	return !(t->kind & STAYS) || w->user || w->ist;
}

static void pause(void)
{
	for (u32 i = 0; i < 2000; i++)
		cpu_relax();
}

static void test_run(const struct test *t, const struct way *w)
{
	u32 rounds = 1, round = 0, tries = 0;
	bool fine = true;

	early = 0;
	gate_setup(t, w);
	for (; round < rounds && fine && tries < TRIES; tries++) {
		struct run r;
		bool all;

		if (t->before)
			t->before(true);
		run_make(&r, t, w);
		needs_of(t, w, &r);
		rounds = nr_needed + ROUNDS_MORE;
		fine = run_start(&r, list_make(round), &all) && is_alone(&r, t);
		if (t->before)
			t->before(false);
		if (all)
			round++;
		else
			pause();
	}
	gate_reset(t);
	report(fine && round >= rounds && early <= tries / 4,
	       "%s, %s: %u choices of pages, %u runs", t->name, w->name, round, tries);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void ioapic_entry(u32 low)
{
	*(volatile u32 *)IOAPIC = 0x10 + 2 * LINE;
	*(volatile u32 *)(IOAPIC + 0x10) = low;
}

static void ioapic_line(bool on)
{
	out8(LINE_PORT, 0);
	ioapic_entry(on ? IOAPIC_LINE : LVT_MASKED);
}

static void pic_line(bool on)
{
	out8(LINE_PORT, 0);
	out8(0x21, on ? (u8) ~(1u << LINE) : 0xff);
	apic_write(APIC_LVT_LINT0, on ? LVT_EXTINT : LVT_EXTINT | LVT_MASKED);
}

static void timer(bool on)
{
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, on ? TIMER : LVT_MASKED);
}

#define ICR_VA        (APIC_VA + APIC_ICR_LOW)
#define TIMER_VA      (APIC_VA + APIC_TIMER_INIT)
#define SELF          (ICR_TO_SELF | ICR_ASSERT)
#define CODE_OF(name) name, name##_at, name##_after

static const struct test tests[] = {
    {"IPI to itself", CODE_OF(on_write), IPI, 0, ICR_VA, SELF | IPI, 0, NULL},
    {"IPI after STI", CODE_OF(on_window), IPI, WINDOW, ICR_VA, SELF | IPI, 0, NULL},
    {"timer ends HLT", CODE_OF(on_halt), TIMER, WINDOW | RING0, TIMER_VA, TIMER_TICKS, 0, timer},
    {"timer in a loop", CODE_OF(on_spin), TIMER, SPIN, TIMER_VA, TIMER_TICKS, 0, timer},
    {"line of the I/O APIC", CODE_OF(on_out), IOAPIC_LINE, 0, 0, LINE_PORT, 0, ioapic_line},
    {"line of the 8259", CODE_OF(on_out), PIC_BASE + LINE, 0, 0, LINE_PORT, 0, pic_line},
    {"NMI to itself", CODE_OF(on_write), VEC_NMI, 0, ICR_VA, ICR_NMI | ICR_ASSERT, 0, NULL},
    {"INT 93", CODE_OF(on_int), SOFT, 0, 0, 0, 0, NULL},
    {"INT3", CODE_OF(on_int3), VEC_BP, 0, 0, 0, 0, NULL},
    {"#DE", CODE_OF(on_divide), VEC_DE, FAULT, 0, 0, 0, NULL},
    {"#UD", CODE_OF(on_ud), VEC_UD, FAULT | RF_SET, 0, 0, 0, NULL},
    {"#GP", CODE_OF(on_load), VEC_GP, FAULT | SELECTOR, 0, 0, 0, NULL},
    {"#PF by a read", CODE_OF(on_read), VEC_PF, FAULT | TARGET, 0, 0, 0, NULL},
    {"#PF by a write", CODE_OF(on_write), VEC_PF, FAULT | TARGET, 0, 0, PF_W, NULL},
    {"#PF by a jump", CODE_OF(on_jump), VEC_PF, FAULT | TARGET | JUMP, 0, 0, PF_I, NULL},
    {"#DB by TF", CODE_OF(on_step), VEC_DB, STEP, 0, 0, 0, NULL},
    {"#DB by TF over CPUID", CODE_OF(on_step_cpuid), VEC_DB, STEP | STAYS, 0, 0, 0, NULL},
};

#define ROUNDS 50u

static const struct test *test_named(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(tests[i].name, name))
			return &tests[i];
	return NULL;
}

static void alone(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(tests); i++)
		for (u32 w = 0; w < ARRAY_SIZE(ways); w++)
			if (runs_this_way(&tests[i], &ways[w]))
				test_run(&tests[i], &ways[w]);
}

/* ---- events that meet ----------------------------------------------------------------------- */

/* A step over the write that sends an NMI: #DB goes first, and the NMI strikes before the handler's
 * first instruction. */
static void behind_a_step(const struct way *w)
{
	static const struct test step = {"", CODE_OF(on_step_write), VEC_DB, STEP | STAYS,
					 0,  ICR_NMI | ICR_ASSERT,   0,      NULL};
	u32 round = 0, tries = 0;
	bool fine = true;

	gate_setup(&step, w);
	for (; round < ROUNDS && fine && tries < TRIES; tries++) {
		struct run r;
		bool all;

		run_make(&r, &step, w);
		nr_needed = 0;
		need(VEC_DB, r.event.top, true);
		need(VEC_NMI, tss->ist[IST_NMI - 1], true);
		fine = run_start(&r, list_make(round), &all) && nr_events == 2;
		struct event nmi = {VEC_NMI,
				    0,
				    PIECE(ENTRIES) + VEC_DB * 16,
				    SEL_CODE64,
				    r.event.rflags & ~(u64)(RFLAGS_TF | RFLAGS_IF),
				    r.event.top - 40,
				    events[0].ss,
				    0,
				    tss->ist[IST_NMI - 1]};

		fine = fine && event_is(&events[0], &nmi, NULL) &&
		       event_is(&events[1], &r.event, &step);
		round += all;
	}
	gate_reset(&step);
	report(fine && round == ROUNDS, "an NMI behind a #DB, %s: %u of %u runs", w->name, round,
	       tries);
}

/* The handler of an NMI sends the next one, and all goes that its IRET and the next delivery need.
 */
static void nmi_again(const struct event *e)
{
	if (nr_events != 1 || e->vector != VEC_NMI)
		return;
	apic_send(ICR_NMI | ICR_ASSERT);
	for (u32 i = 0, nr = list_make(nr_needed + 3); i < nr; i++)
		out32(0xe4, list[i]);
}

static void behind_an_nmi(const struct way *w)
{
	const struct test *nmi = test_named("NMI to itself");
	u64 had = pages_back;
	u32 good = 0;
	bool all;

	in_handler = nmi_again;
	for (u32 round = 0; round < ROUNDS; round++, pause()) {
		struct run r;

		run_make(&r, nmi, w);
		needs_of(nmi, w, &r);
		need_tables(PIECE(CODE));
		need_page(physical(PIECE(CODE)));
		good += run_start(&r, 0, &all) && nr_events == 2 &&
			event_is(&events[0], &r.event, nmi) && event_is(&events[1], &r.event, nmi);
	}
	in_handler = NULL;
	report(good == ROUNDS && pages_back - had > 3 * ROUNDS,
	       "an NMI behind an NMI, %s: %u of %u, %lu pages", w->name, good, ROUNDS,
	       pages_back - had);
}

static void stack_map(const struct event *e)
{
	if (e->vector == VEC_PF)
		page_map(page_down(e->cr2), physical(PIECE(STACK)), PTE_P | PTE_W);
}

/* INT to a stack that the guest's tables do not map: #PF, and then INT once more. */
static void page_fault_in_delivery(void)
{
	const struct test *soft = test_named("INT 93");
	u64 stack = PIECE(STACK) + 5 * PAGE_SIZE, top = stack + PAGE_SIZE - 24;
	u32 round = 0, tries = 0;
	bool fine = true, all;

	in_handler = stack_map;
	gate(VEC_PF)->ist = IST_EVENT;
	for (; round < ROUNDS && fine && tries < TRIES; tries++) {
		struct run r;

		run_make(&r, soft, &ways[0]);
		r.start.rsp = r.event.rsp = top;
		r.event.top = aligned_top(top);
		r.event.cr2 = r.event.top - 8;
		resume = 0;
		page_map(stack, 0, 0);
		struct event fault = r.event;

		fault.vector = VEC_PF;
		fault.error = PF_W;
		fault.rip = in_code(soft->at);
		fault.top = tss->ist[IST_EVENT - 1];
		nr_needed = 0;
		need(VEC_PF, fault.top, true);
		need_page(physical(PIECE(IDT) + PAGE_SIZE));
		need_tables(stack);
		fine = run_start(&r, list_make(round), &all) && nr_events == 2;
		events[0].rflags &= ~(u64)RF;
		fine = fine && event_is(&events[0], &fault, NULL) &&
		       event_is(&events[1], &r.event, soft);
		round += all;
	}
	in_handler = NULL;
	gate(VEC_PF)->ist = 0;
	report(fine && round == ROUNDS, "a #PF in the delivery of INT: %u of %u runs", round,
	       tries);
}

/* ---- and a second vCPU that shoots ---------------------------------------------------------- */

#define NOBODY    (~0u)
#define DELAY_MAX 30000u
#define HITS      8u
#define SHOTS_MAX 400u

static u32 shot_delay;

static void shooter(unsigned int index)
{
	(void)index;
	for (;;) {
		u32 icr = __atomic_load_n(shot, __ATOMIC_ACQUIRE);

		if (icr == NOBODY)
			return;
		cpu_relax();
		if (!icr)
			continue;
		for (u32 i = 0; i < shot_delay; i++)
			__asm__ volatile("");
		apic_write(APIC_ICR_HIGH, 0);
		apic_send(icr);
		__atomic_store_n(shot, 0, __ATOMIC_RELEASE);
	}
}

static void shot_wait(void)
{
	irq_on();
	while (__atomic_load_n(shot, __ATOMIC_ACQUIRE)) /* as long as the other one takes */
		cpu_relax();
	for (u32 i = 0; i < 300000 && nr_events < 2; i++)
		cpu_relax();
	for (u32 i = 0; i < 100; i++) /* one too many would come here */
		cpu_relax();
	irq_off();
}

/* Did the shot wait for the end of the delivery? INT is carried out once more, so that it comes
 * before. */
static bool waited(const struct test *t, const struct event *e)
{
	return e->rip == (t->vector == SOFT ? in_code(t->at) : PIECE(ENTRIES) + t->vector * 16);
}

static bool shot_at(const struct test *t, const struct way *w, u32 vector)
{
	u32 round, hits = 0;
	bool fine = true, all;

	gate_setup(t, w);
	gate(t->vector)->type |= 1; /* the handler can be interrupted */
	for (round = 0; round < SHOTS_MAX && hits < HITS && fine; round++) {
		struct run r;

		if (t->before)
			t->before(true);
		shot_delay = (u32)random_next(&seed) % (round & 1 ? DELAY_MAX : DELAY_MAX / 20);
		shot_next = vector == VEC_NMI ? ICR_NMI | ICR_ASSERT : ICR_ASSERT | SHOT;
		run_make(&r, t, w);
		needs_of(t, w, &r);
		u32 nr = list_make(round % 3 ? nr_needed : nr_needed + 3);
		fine = run_start(&r, nr, &all);
		shot_next = 0;
		shot_wait();
		const struct event *shot_came = &events[events[0].vector != vector];
		const struct event *other = &events[events[0].vector == vector];

		if (nr_events != 2)
			print("      %u events, the first is %#lx\n", nr_events, events[0].vector);
		fine = fine && nr_events == 2 && shot_came->vector == vector && !shot_came->error &&
		       !(shot_came->rflags & RFLAGS_TF) && event_is(other, &r.event, t);
		hits += waited(t, shot_came);
	}
	if (t->before)
		t->before(false);
	gate(t->vector)->type &= (u8)~1;
	gate_reset(t);
	return report(fine && hits >= HITS, "%s and %s, %s: %u of %u shots met it", t->name,
		      vector == VEC_NMI ? "an NMI" : "an interrupt", w->name, hits, round);
}

static void shots(void)
{
	static const char *const names[] = {"IPI to itself", "line of the 8259", "INT 93", "#UD",
					    "#GP",           "#PF by a write"};
	bool good = true;

	if (fw_cfg_read(FW_CFG_CPUS, 2) < 2) {
		report_skip("shots of a second vCPU: there is none");
		return;
	}
	if (!report(ap_start(shooter, 1) == 1, "a second vCPU"))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(names) && good; i++)
		for (u32 w = 0; w < ARRAY_SIZE(ways) && good; w++)
			good = shot_at(test_named(names[i]), &ways[w], VEC_NMI) &&
			       shot_at(test_named(names[i]), &ways[w], SHOT);
	__atomic_store_n(shot, NOBODY, __ATOMIC_RELEASE);
}

/* Nothing is left over. */
static void nothing_more(void)
{
	u32 left = 0;

	nr_events = 0;
	irq_on();
	for (u32 i = 0; i < 1000; i++)
		cpu_relax();
	irq_off();
	for (u32 i = 0; i < 8; i++)
		left |= apic_read(APIC_ISR + 16 * i) | apic_read(APIC_IRR + 16 * i);
	report(!nr_events && !left, "no event is left over");
}

int guest_main(void)
{
	seed = guest_arg_number("seed", 1);
	pieces_make();
	handlers_set();
	apic_on();
	out8(0x20, 0x11);
	out8(0x21, PIC_BASE);
	out8(0x21, 4);
	out8(0x21, 1);
	out8(0x21, 0xff);
	hypercall_watch(0, guest_ram_end(), 1);
	alone();
	for (u32 w = 0; w < ARRAY_SIZE(ways); w++) {
		if (ways[w].user || ways[w].ist)
			behind_a_step(&ways[w]);
		if (!ways[w].ist)
			behind_an_nmi(&ways[w]);
	}
	page_fault_in_delivery();
	shots();
	nothing_more();
	print("events: %lu pages came back\n", pages_back);
	return report_summary();
}
