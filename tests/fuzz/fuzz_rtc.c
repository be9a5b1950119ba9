/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/rtc.c */
/* sources: kernel/cpu/cmos.c kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The real-time clock. */
#include "vm.h"

#include "vmm/devices/irq.h"
#include "vmm/devices/rtc.h"

#define START 951782399ull /* 28 February 2000, 23:59:59 */

static const struct fuzz_range ports[] = {{.start = 0x70, .bytes = 2}};

static struct rtc rtc;
static bool line;

void irq_set(struct vm *vm, u32 irq, bool level)
{
	CHECK(vm == host_vm && irq == IRQ_RTC, "line %u", irq);
	line = level;
}

static u8 get(u8 reg)
{
	io_port_write(host_vcpu(0), 0x70, 1, reg);
	return io_port_read(host_vcpu(0), 0x71, 1);
}

static void set(u8 reg, u8 value)
{
	io_port_write(host_vcpu(0), 0x70, 1, reg);
	io_port_write(host_vcpu(0), 0x71, 1, value);
}

static void check(void)
{
	u8 b = rtc.reg[CMOS_B], c = rtc.reg[CMOS_C];

	CHECK(line == !!(c & 0x80), "the line is %u, C is %x", line, c);
	CHECK(!(c & 0x80) || (b & c & 0x70), "B is %x, C is %x", b, c);
	CHECK(rtc.reg[CMOS_D] == 0x80, "D is %x", rtc.reg[CMOS_D]);
}

void fuzz_one(struct input *in)
{
	fuzz_vm_begin(10 * 86400);
	host_vm->config.mem_bytes = take(in, 1) << take_below(in, 30);
	line = false;
	rtc_attach(&rtc, host_vm, START);
	while (input_left(in)) {
		u8 reg;

		switch (take_below(in, 8)) {
		case 0:
		case 1: fuzz_time(in); break;
		case 2: get(take(in, 1)); break;
		case 3:
		case 4:
		case 5:
			reg = take(in, 1) & 0xf;
			set(reg == 0xf ? CMOS_CENTURY : reg, take(in, 1));
			break;
		case 6: get(CMOS_C); break;
		default: fuzz_access(in, ports, 1, NULL);
		}
		fuzz_step_ended();
		check();
	}
	rtc_stop(&rtc);
	fuzz_vm_end();
}
