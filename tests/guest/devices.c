/* SPDX-License-Identifier: BSD-2-Clause */
/* Do the board's ports and the local APIC's registers answer as drivers expect, by every kind of
 * instruction that drivers use? With board=qemu what a PC has and Neap's board has not, and the
 * other way round, is left out; `latch` there says that -device pc-testdev is present. */
#include "apic.h"
#include "guest.h"
#include "paging.h"
#include "trap.h"
#include "x86.h"

#define COM1       0x3f8
#define DLL        (COM1 + 0)
#define DLM        (COM1 + 1)
#define IER        (COM1 + 1)
#define IIR        (COM1 + 2)
#define LCR        (COM1 + 3)
#define MCR        (COM1 + 4)
#define LSR        (COM1 + 5)
#define MSR        (COM1 + 6)
#define SCR        (COM1 + 7)
#define LATCH      0xe0
#define UNCLAIMED  0x9998
#define FW_SELECT  0x510
#define FW_DATA    0x511
#define FW_UNKNOWN 0x7ff
#define APIC_VA    (TEST_VA + (1ul << 30))

void outs_down(const void *from, u64 bytes, u16 port);
void ins_down(void *to, u64 bytes, u16 port);

#define READS(f)                                                                                   \
	f(read_base) f(read_disp8) f(read_disp32) f(read_sib) f(read_sib_disp) f(read_no_base)     \
	    f(read_r12) f(read_r13) f(read_rbp) f(read_to_r15) f(read_moffs) f(read_addr32)        \
		f(read_fs)
#define WRITES(f)                                                                                  \
	f(write_base) f(write_disp32) f(write_sib) f(write_no_base) f(write_r12) f(write_r13)      \
	    f(write_from_r15) f(write_moffs) f(write_addr32) f(write_fs)
#define DECLARE_READ(name)  u64 name(void);
#define DECLARE_WRITE(name) void name(u32 v);
#define ENTRY(name)         {#name, name},

READS(DECLARE_READ)
WRITES(DECLARE_WRITE)
void write_imm50(void);
void write_imm60(void);

static void uart(void)
{
	static const u16 absent[] = {0x2f8, 0x3e8, 0x2e8};
	u8 lcr = in8(LCR), mcr = in8(MCR), dll, dlm, status;
	bool kept = true;

	for (unsigned int v = 0; v < 256; v++) {
		out8(SCR, (u8)v);
		kept &= in8(SCR) == v;
	}
	report(kept, "COM1: scratch register");
	out8(LCR, lcr | 0x80);
	dll = in8(DLL);
	dlm = in8(DLM);
	out8(DLL, 0x34);
	out8(DLM, 0x12);
	kept = in8(DLL) == 0x34 && in8(DLM) == 0x12;
	out8(DLL, dll);
	out8(DLM, dlm);
	out8(LCR, lcr);
	report(kept, "COM1: divisor behind DLAB");
	report(in8(LCR) == lcr, "COM1: LCR reads back");
	out8(IER, 0x0f);
	kept = (in8(IER) & 0x0f) == 0x0f;
	out8(IER, 0);
	report(kept && in8(IER) == 0, "COM1: IER reads back");
	report((in8(IIR) & 0xcf) == 0xc1, "COM1: IIR shows FIFOs and no interrupt (%#x)", in8(IIR));
	report((in8(LSR) & 0x60) == 0x60, "COM1: transmitter empty");
	out8(MCR, 0x1a); /* loopback, OUT2, RTS: the test that Linux makes */
	status = in8(MSR) & 0xf0;
	out8(MCR, mcr);
	report(status == 0x90, "COM1: loopback of modem lines (%#x)", status);
	out8(MCR, 0x10);
	out8(COM1, 0x5a);
	for (unsigned int i = 0; i < 100000 && !(in8(LSR) & 1); i++)
		cpu_relax();
	status = in8(LSR) & 1 ? in8(COM1) : 0;
	out8(MCR, mcr);
	report(status == 0x5a, "COM1: loopback of a byte (%#x)", status);
	for (unsigned int i = 0; i < ARRAY_SIZE(absent); i++)
		report(in8(absent[i] + 5) == 0xff && in8(absent[i] + 7) == 0xff,
		       "no UART at %#x: FF", absent[i]);
}

static void fw_cfg(void)
{
	u64 ram = fw_cfg_read(FW_CFG_RAM_BYTES, 8), cpus = fw_cfg_read(FW_CFG_CPUS, 2);

	report(fw_cfg_read(FW_CFG_SIGNATURE, 4) == 0x554d4551, "fw_cfg: signature");
	report(ram >= guest_ram_end() && ram < guest_ram_end() + (1u << 20) * 2,
	       "fw_cfg: %lu bytes of RAM", ram);
	report(cpus >= 1 && cpus <= 255, "fw_cfg: %lu CPUs", cpus);
	report(fw_cfg_read(FW_CFG_CPUS, 8) == cpus, "fw_cfg: zeros past an item's end");
	report(!fw_cfg_read(FW_UNKNOWN, 8), "fw_cfg: an unknown key reads zero");
	if (guest_on_qemu())
		report_skip("fw_cfg key 0x11: QEMU has something there");
	else
		report(!fw_cfg_read(FW_CFG_ZERO, 8), "fw_cfg: key 0x11 reads zero");
}

static void latch(void)
{
	bool kept;

	if (guest_on_qemu() && !guest_arg("latch")) {
		report_skip("latch: no pc-testdev");
		return;
	}
	out32(LATCH, 0x12345678);
	kept = in32(LATCH) == 0x12345678 && in16(LATCH) == 0x5678 && in16(LATCH + 2) == 0x1234;
	for (u16 i = 0; i < 4; i++)
		kept &= in8(LATCH + i) == (0x12345678 >> 8 * i & 0xff);
	report(kept, "latch: written as 4 bytes, read as 4, 2 and 1");
	out16(LATCH + 2, 0xabcd);
	report(in32(LATCH) == 0xabcd5678, "latch: 2 bytes written");
	out8(LATCH + 1, 0xef);
	report(in32(LATCH) == 0xabcdef78, "latch: 1 byte written");
}

static void other_ports(void)
{
	report(!(in8(0x64) & 1), "i8042: nothing to read");
	for (unsigned int i = 0; i < 256; i++)
		out8(0x80, (u8)i);
	report(true, "port 80 takes anything");
	report(in8(UNCLAIMED) == 0xff && in16(UNCLAIMED) == 0xffff && in32(UNCLAIMED) == 0xffffffff,
	       "unclaimed ports read all ones");
	out8(UNCLAIMED, 1);
	out16(UNCLAIMED, 1);
	out32(UNCLAIMED, 1);
	report(in8(UNCLAIMED) == 0xff, "and take writes");
}

static u64 ins8_rax(u64 rax)
{
	__asm__ volatile("inb %1, %b0" : "+a"(rax) : "d"((u16)UNCLAIMED));
	return rax;
}

static u64 ins16_rax(u64 rax)
{
	__asm__ volatile("inw %1, %w0" : "+a"(rax) : "d"((u16)UNCLAIMED));
	return rax;
}

static u64 ins32_rax(u64 rax)
{
	__asm__ volatile("inl %1, %k0" : "+a"(rax) : "d"((u16)UNCLAIMED));
	return rax;
}

static void in_registers(void)
{
	report(ins8_rax(0x1122334455667788) == 0x11223344556677ff, "INB changes AL alone");
	report(ins16_rax(0x1122334455667788) == 0x112233445566ffff, "INW changes AX alone");
	report(ins32_rax(0x1122334455667788) == 0xffffffff, "INL clears the upper half of RAX");
}

static void string_ports(void)
{
	static char text[] = "PASS: REP OUTSB to COM1 (this line)\n";
	/* Two pages of different frames, so that a copy by physical address would show. */
	u64 high = (u64)ram_alloc(2 * PAGE_SIZE, 0);
	u8 *across = (u8 *)(TEST_VA + PAGE_SIZE - 2);
	const void *from = text;
	void *to = across;
	u64 nr = sizeof(text) - 1;

	page_map(TEST_VA, high + PAGE_SIZE, PTE_P | PTE_W);
	page_map(TEST_VA + PAGE_SIZE, high, PTE_P | PTE_W);
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(nr) : "d"((u16)COM1) : "memory");
	report(!nr && from == text + sizeof(text) - 1,
	       "REP OUTSB leaves RCX 0, RSI behind the text");
	out16(FW_SELECT, FW_CFG_SIGNATURE);
	nr = 4;
	__asm__ volatile("rep insb" : "+D"(to), "+c"(nr) : "d"((u16)FW_DATA) : "memory");
	report(!nr && to == across + 4 && !memcmp(across, "QEMU", 4),
	       "REP INSB from fw_cfg across a page's end");
	out16(FW_SELECT, FW_CFG_SIGNATURE);
	ins_down(across + 3, 4, FW_DATA);
	report(!memcmp(across, "UMEQ", 4), "REP INSB with DF set");
	nr = 0;
	to = (void *)(TEST_VA + 2 * PAGE_SIZE);
	__asm__ volatile("rep insb" : "+D"(to), "+c"(nr) : "d"((u16)FW_DATA) : "memory");
	report(to == (void *)(TEST_VA + 2 * PAGE_SIZE), "REP INSB of nothing touches nothing");
}

static void ins_unmapped(void *arg)
{
	u64 nr = 8;

	out16(FW_SELECT, FW_CFG_SIGNATURE);
	__asm__ volatile("rep insb" : "+D"(arg), "+c"(nr) : "d"((u16)FW_DATA) : "memory");
}

static void outs_unmapped(void *arg)
{
	u64 nr = 8;

	__asm__ volatile("rep outsb" : "+S"(arg), "+c"(nr) : "d"((u16)UNCLAIMED) : "memory");
}

static void string_faults(void)
{
	u64 next = TEST_VA + 2 * PAGE_SIZE;
	struct trap t = try_call(ins_unmapped, (void *)(next - 2));

	report(t.vector == VEC_PF && t.error == PF_W && t.cr2 == next,
	       "REP INSB into a page not present: #PF at its start");
	report(!memcmp((void *)(next - 2), "QE", 2), "and what came before is stored");
	t = try_call(outs_unmapped, (void *)(next - 2));
	report(t.vector == VEC_PF && !t.error && t.cr2 == next,
	       "REP OUTSB out of one: #PF at its start");
	page_map(TEST_VA, (u64)ram_alloc(PAGE_SIZE, 0), PTE_P);
	t = try_call(ins_unmapped, (void *)TEST_VA);
	report(t.vector == VEC_PF && t.error == (PF_P | PF_W),
	       "REP INSB into a read-only page: #PF");
}

static void outs_lines(void)
{
	static const char line[] = "\n)enil siht( tes FD htiw BSTUO PER :SSAP";

	outs_down(line + sizeof(line) - 2, sizeof(line) - 1, COM1);
}

static void apic_registers(void)
{
	u32 version = apic_read(APIC_VERSION);

	apic_on();
	report(apic_id() == 0, "APIC: the boot CPU's ID is 0");
	report((version & 0xf0) == 0x10 && (version >> 16 & 0xff) >= 3, "APIC: version %#x",
	       version);
	report((apic_read(APIC_SPIV) & 0x1ff) == 0x1ff, "APIC: SPIV reads back");
	apic_write(APIC_LDR, 0x12000000);
	report(apic_read(APIC_LDR) == 0x12000000, "APIC: LDR reads back");
	apic_write(APIC_DFR, 0x0fffffff);
	report(apic_read(APIC_DFR) == 0x0fffffff, "APIC: DFR, cluster model");
	apic_write(APIC_DFR, 0xffffffff);
	report(apic_read(APIC_DFR) == 0xffffffff, "APIC: DFR, flat model");
	report(!(apic_read(APIC_ICR_LOW) & ICR_PENDING), "APIC: ICR idle");
	apic_write(APIC_ICR_HIGH, 0x05000000);
	report(apic_read(APIC_ICR_HIGH) == 0x05000000, "APIC: upper half of ICR reads back");
	apic_write(APIC_LVT_TIMER, 0x10040);
	report((apic_read(APIC_LVT_TIMER) & 0x100ff) == 0x10040, "APIC: LVT timer reads back");
}

static void apic_moves(void)
{
	static const struct {
		const char *name;
		u64 (*read)(void);
	} reads[] = {READS(ENTRY)};
	static const struct {
		const char *name;
		void (*write)(u32 v);
	} writes[] = {WRITES(ENTRY)};
	u32 v = 0x10;

	wrmsr(MSR_FS_BASE, APIC_BASE);
	for (unsigned int i = 0; i < ARRAY_SIZE(reads); i++, v += 0x10) {
		apic_write(APIC_TPR, v & 0xf0);
		report(reads[i].read() == (v & 0xf0), "MOV from the APIC: %s", reads[i].name);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++, v += 0x10) {
		writes[i].write(v & 0xf0);
		report(apic_read(APIC_TPR) == (v & 0xf0), "MOV to the APIC: %s", writes[i].name);
	}
	wrmsr(MSR_FS_BASE, 0);
	write_imm50();
	report(apic_read(APIC_TPR) == 0x50, "MOV to the APIC: immediate");
	write_imm60();
	report(apic_read(APIC_TPR) == 0x60, "MOV to the APIC: immediate, index");
	report(read_cr8() == 6, "CR8 is the TPR");
	write_cr8(3);
	report(apic_read(APIC_TPR) == 0x30, "and the other way round");
	page_map(APIC_VA, APIC_BASE, PTE_P | PTE_W | PTE_PCD);
	*(volatile u32 *)(APIC_VA + APIC_TPR) = 0x70;
	report(apic_read(APIC_TPR) == 0x70, "the APIC through another mapping");
	apic_write(APIC_TPR, 0);
}

int guest_main(void)
{
	uart();
	fw_cfg();
	latch();
	other_ports();
	in_registers();
	string_ports();
	string_faults();
	outs_lines();
	apic_registers();
	apic_moves();
	return report_summary();
}
