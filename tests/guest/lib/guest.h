/* SPDX-License-Identifier: BSD-2-Clause */
/* The guests' runtime: what stands between the loader's entry and guest_main().
 *
 * Memory: 4 GiB mapped one to one with 2 MiB pages, supervisor, writable, executable; the last GiB,
 * where the APICs are, uncached. Interrupts off. Each vector has a gate; a trap that nobody
 * expected is printed and ends the guest. SSE is enabled but C does not use it.
 *
 * Exit codes: 0 all well, 1 something checked was wrong, 2 the guest could not run as asked (bad
 * argument, too little memory), 64 + vector: an unexpected trap. */
#pragma once

#include "types.h"

enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_TRAP = 64 };

/* guest_main - the guest; what it returns goes to guest_exit(). */
int guest_main(void);
/* guest_exit - end the VM with @code through the exit port, or stop for ever where there is none.
 */
noreturn_fn void guest_exit(int code);

/* --- boot.c: what the loader told --- */

struct ram_range {
	u64 start, end; /* usable, [start, end) */
};

#define RAM_RANGES_MAX 8
extern struct ram_range guest_ram[RAM_RANGES_MAX];
extern unsigned int guest_ram_nr;
extern const char *guest_name; /* the image's file name without folder and suffix */
extern char guest_cmdline[1024];

/* boot_parse - read multiboot 1 information at @info; called once, before anything else. */
void boot_parse(unsigned long info);
/* boot_page_is_taken - is the page at @pa the image, loader information, or page 0? */
bool boot_page_is_taken(u64 pa);
/* guest_ram_end - where the last usable RAM below 4 GiB ends. */
u64 guest_ram_end(void);

/* guest_arg - the value of `key=value` on the command line, "" for a bare `key`, NULL if absent. */
const char *guest_arg(const char *key);
bool guest_arg_is(const char *key, const char *value);
/* guest_arg_number - decimal or 0x..., with K, M or G behind it; @otherwise if absent. */
u64 guest_arg_number(const char *key, u64 otherwise);
/* text_number - the number that @text begins with; *@end is what follows it. */
u64 text_number(const char *text, const char **end);
/* guest_on_qemu - `board=qemu`: checks of what QEMU's TCG and its PC do otherwise are left out. */
bool guest_on_qemu(void);

/* --- console.c --- */

void console_init(void);
void put_char(char c);
/* print - printf of c s d u x p and %, with h- and l-less or l sizes, 0 padding and width. */
void print(const char *fmt, ...) printf_like(1, 2);
void vprint(const char *fmt, va_list ap);

/* --- report.c --- */

/* report - one thing checked; prints "PASS: what" or "FAIL: what". Returns @pass. */
bool report(bool pass, const char *fmt, ...) printf_like(2, 3);
/* report_skip - one thing that cannot be checked here; the text says why. */
void report_skip(const char *fmt, ...) printf_like(1, 2);
/* report_summary - print the counts; the code for guest_exit(): EXIT_PASS if nothing failed. */
int report_summary(void);

/* random_next - the next of a repeatable sequence that *@state carries; any seed will do. */
u64 random_next(u64 *state);

/* ram_alloc - RAM never touched since boot, beside the image; ends the guest if there is none. */
void *ram_alloc(u64 bytes, u64 align);
/* ram_left - what ram_alloc() can still give in one piece. */
u64 ram_left(void);
