/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the hypervisor survive a guest that reads and writes every port in every width?
 *
 * seed=N          what is written
 * skip=A+B+C      ports to leave alone besides those that end or reset the VM by design
 * rounds=N        so many times (1) */
#include "guest.h"
#include "x86.h"

#define SKIP_MAX   32
#define BUILTIN_NR 8

/* Exit (QEMU's is four ports wide), reset control, i8042 commands, fast A20 and reset, ACPI
 * power-off. */
static u16 skipped[SKIP_MAX] = {0xf4, 0xf5, 0xf6, 0xf7, 0xcf9, 0x64, 0x92, 0x604};
static unsigned int skipped_nr = BUILTIN_NR;

static u64 read_sum;

static void skip_parse(void)
{
	const char *at = guest_arg("skip");

	while (at && *at && skipped_nr < SKIP_MAX) {
		skipped[skipped_nr++] = (u16)text_number(at, &at);
		if (*at == '+')
			at++;
		else
			break;
	}
	if (at && *at) {
		print("%s: skip= wants ports joined by +, %u at most\n", guest_name,
		      SKIP_MAX - BUILTIN_NR);
		guest_exit(EXIT_USAGE);
	}
}

/* By design only writes end a VM; what the caller skips is not read either. */
static bool is_skipped(u32 port, unsigned int bytes, bool is_read)
{
	for (unsigned int i = is_read ? BUILTIN_NR : 0; i < skipped_nr; i++)
		if (port <= skipped[i] && port + bytes > skipped[i])
			return true;
	return false;
}

static void port_access(u16 port, unsigned int bytes, u32 v)
{
	if (!is_skipped(port, bytes, false)) {
		if (bytes == 1)
			out8(port, (u8)v);
		else if (bytes == 2)
			out16(port, (u16)v);
		else
			out32(port, v);
	}
	if (!is_skipped(port, bytes, true)) {
		if (bytes == 1)
			read_sum += in8(port);
		else if (bytes == 2)
			read_sum += in16(port);
		else
			read_sum += in32(port);
	}
}

int guest_main(void)
{
	u64 state = guest_arg_number("seed", 1), rounds = guest_arg_number("rounds", 1);

	skip_parse();
	print("%s: writing and reading 65536 ports\n", guest_name);
	for (u64 round = 0; round < rounds; round++)
		for (u32 port = 0; port < 65536; port++)
			for (unsigned int bytes = 1; bytes <= 4; bytes *= 2)
				port_access((u16)port, bytes, (u32)random_next(&state));
	console_init(); /* COM1 was among them */
	print("%s: done, sum %#lx\n", guest_name, read_sum);
	return EXIT_PASS;
}
