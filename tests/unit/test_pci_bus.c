/* SPDX-License-Identifier: BSD-2-Clause */
/* sources: kernel/vmm/devices/pci_bus.c kernel/vmm/io.c tests/unit/vmm_host.c */
/* The guest's PCI bus: configuration by ports, BARs that move, lines that are shared, messages that wait;
 * and random courses beside a model of bytes. */
#include "vmm_host.h"

#include "vmm/devices/lapic.h"
#include "vmm/devices/pci_bus.h"

#define NR_FUNCTIONS 3
#define MEMORY       2u
#define MASTER       4u
#define NO_INTX      0x400u
#define MSIX_ON      0x80000000u
#define MSIX_MASKED  0x40000000u

static struct pci_bus bus;
static struct pci_function function[NR_FUNCTIONS]; /* in slots 1, 2, 3 */
static const u32 bar_bytes[NR_FUNCTIONS] = {0x8000, 0x1000, 0x100000};
static const u32 nr_vectors[NR_FUNCTIONS] = {3, 1, 4};
static const u8 vendor_capability[] = {0x09, 0x48, 8, 1, 2, 3, 4, 5};
enum { MSIX_CAP = 0x48 };

/* ---- the board around it ----------------------------------------------------------------------------- */

static u32 lines_high, nr_messages, last_icr;
static u8 last_dest;

void irq_set(struct vm *vm, u32 line, bool level)
{
	assert_true(vm == host_vm && (line == 10 || line == 11));
	lines_high = level ? lines_high | 1u << line : lines_high & ~(1u << line);
}

bool lapic_message(struct vm *vm, u8 dest, u32 icr)
{
	assert_ptr_equal(vm, host_vm);
	nr_messages++;
	last_dest = dest;
	last_icr = icr;
	return true;
}

/* The registers of a function: what came to them last. */
static struct {
	struct pci_function *who;
	u64 offset, value;
	unsigned int bytes, nr;
} seen;

static void note(struct pci_function *f, u64 offset, unsigned int bytes, u64 value)
{
	assert_int_equal(preempt_count(), 0); /* it may sleep */
	assert_true(offset + bytes <= f->bar_bytes - PAGE_SIZE);
	seen.who = f;
	seen.offset = offset;
	seen.bytes = bytes;
	seen.value = value;
	seen.nr++;
}

static u64 echo(u64 offset)
{
	return 0x0102030405060708ull * (offset + 1);
}

static u64 regs_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	note(dev, offset, bytes, 0);
	return echo(offset);
}

static void regs_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	note(dev, offset, bytes, value);
}

static const struct io_ops regs_io = {.name = "registers", .read = regs_read, .write = regs_write};

static int setup(void **state)
{
	vmm_host_setup(state);
	lines_high = nr_messages = last_icr = 0;
	memset(&seen, 0, sizeof(seen));
	pci_bus_attach(&bus, host_vm);
	for (u32 i = 0; i < NR_FUNCTIONS; i++) {
		function[i] = (struct pci_function){
			.vendor = 0x1af4, .device = 0x1040 + i, .subsystem = 0x40 + i, .class_code = 0x010002 + i,
			.bar_bytes = bar_bytes[i], .nr_vectors = nr_vectors[i], .ops = &regs_io,
			.capabilities = vendor_capability, .capability_bytes = sizeof(vendor_capability),
		};
		pci_bus_add(&bus, &function[i]);
	}
	return 0;
}

/* ---- accesses ------------------------------------------------------------------------------------------ */

static u32 in(u16 port, unsigned int bytes)
{
	return io_port_read(host_vcpu(0), port, bytes);
}

static void out(u16 port, unsigned int bytes, u32 value)
{
	io_port_write(host_vcpu(0), port, bytes, value);
}

static void address(u32 slot, u32 reg)
{
	out(0xcf8, 4, 1u << 31 | slot << 11 | (reg & 0xfc));
}

static u32 config(u32 slot, u32 reg, unsigned int bytes)
{
	address(slot, reg);
	return in(0xcfc + reg % 4, bytes);
}

static void config_set(u32 slot, u32 reg, unsigned int bytes, u32 value)
{
	address(slot, reg);
	out(0xcfc + reg % 4, bytes, value);
}

static u64 mem(u64 at, unsigned int bytes)
{
	return io_mmio_read(host_vcpu(0), gpa(at), bytes);
}

static void mem_set(u64 at, unsigned int bytes, u64 value)
{
	io_mmio_write(host_vcpu(0), gpa(at), bytes, value);
}

static u32 bar(u32 slot)
{
	return config(slot, 0x10, 4);
}

static u64 table(u32 slot)
{
	return bar(slot) + bar_bytes[slot - 1] - PAGE_SIZE;
}

static void vector_set(u32 slot, u32 i, u64 to, u32 data, bool masked)
{
	mem_set(table(slot) + 16 * i, 4, (u32)to);
	mem_set(table(slot) + 16 * i + 4, 4, to >> 32);
	mem_set(table(slot) + 16 * i + 8, 4, data);
	mem_set(table(slot) + 16 * i + 12, 4, masked);
}

/* ---- configuration space ----------------------------------------------------------------------------- */

static void what_is_not_there(unused void **state)
{
	for (u32 slot = 1 + NR_FUNCTIONS; slot < 32; slot++) {
		assert_int_equal(config(slot, 0, 4), ~0u);
		config_set(slot, 0x3c, 1, 5);
		assert_int_equal(config(slot, 0x3c, 1), 0xff);
	}
	address(1, 0);
	assert_int_equal(in(0xcfc, 2), 0x1af4);
	static const u32 elsewhere[] = {0x80010800, 0x80000900, 0x80ff0800, 0x00000800};
	for (u32 i = 0; i < ARRAY_SIZE(elsewhere); i++) { /* a bus, a function, a bus, not enabled */
		out(0xcf8, 4, elsewhere[i]);
		assert_int_equal(in(0xcfc, 4), ~0u);
		out(0xcfc, 4, 0);
	}
	assert_int_equal(config(1, 0, 4), 0x10401af4);
}

/* As Linux probes for mechanism 1. */
static void address_register(unused void **state)
{
	out(0xcfb, 1, 1);
	out(0xcf8, 4, 0x80000000);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	out(0xcf8, 2, 0x1234);
	out(0xcfa, 1, 0x55);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	assert_int_equal(in(0xcf8, 1), 0xff);
	out(0xcf8, 4, ~0u);
	assert_int_equal(in(0xcf8, 4), 0x80fffffc);
	assert_int_equal(host_record.nr_reset, 0); /* nothing of that was the reset register */
	assert_int_equal(in(0xcf9, 1), 0);
	out(0xcf9, 1, 2);
	out(0xcf9, 2, 0x0606); /* a byte reaches it, nothing else */
	assert_int_equal(host_record.nr_reset, 0);
	out(0xcf9, 1, 6);
	assert_int_equal(host_record.nr_reset, 1);
	assert_string_equal(host_record.reason, "port-cf9");
	assert_int_equal(in(0xcf8, 4), 0x80fffffc);
}

static void bridge(unused void **state)
{
	assert_int_equal(config(0, 0, 4), 0x00081b36);
	assert_int_equal(config(0, 0x0a, 2), 0x0600);
	assert_int_equal(config(0, 0x0e, 1), 0); /* a header of type 0, one function */
	assert_int_equal(config(0, 6, 2), 0);
	assert_int_equal(config(0, 0x3d, 1), 0);
	config_set(0, 0x10, 4, ~0u);
	assert_int_equal(config(0, 0x10, 4), 0);
	for (u32 reg = 0x40; reg < 0x100; reg += 4) {
		config_set(0, reg, 4, ~0u);
		assert_int_equal(config(0, reg, 4), 0);
	}
}

static void headers(unused void **state)
{
	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++) {
		const struct pci_function *f = &function[slot - 1];

		assert_int_equal(f->slot, slot);
		assert_int_equal(config(slot, 0, 2), 0x1af4);
		assert_int_equal(config(slot, 2, 2), f->device);
		assert_int_equal(config(slot, 8, 4), f->class_code << 8 | 1);
		assert_int_equal(config(slot, 0x0c, 4), 0);
		assert_int_equal(config(slot, 0x2c, 4), f->subsystem << 16 | 0x1af4);
		assert_int_equal(config(slot, 4, 2), MEMORY | MASTER);
		assert_int_equal(config(slot, 6, 2), 0x10);
		assert_int_equal(config(slot, 0x3d, 1), 1);
		assert_int_equal(config(slot, 0x3c, 1), pci_slot_irq(slot));
		assert_int_equal(pci_slot_irq(slot), slot % 2 ? 11 : 10);
		/* The chain of capabilities: the vendor's, then MSI-X. */
		u32 cap = config(slot, 0x34, 1);
		assert_int_equal(cap, 0x40);
		assert_int_equal(config(slot, cap + 4, 4), 0x05040302);
		cap = config(slot, cap + 1, 1);
		assert_int_equal(cap, MSIX_CAP);
		assert_int_equal(config(slot, cap, 4), (nr_vectors[slot - 1] - 1) << 16 | 0x11);
		assert_int_equal(config(slot, cap + 4, 4), bar_bytes[slot - 1] - PAGE_SIZE);
		assert_int_equal(config(slot, cap + 8, 4), bar_bytes[slot - 1] - PAGE_SIZE + 0x800);
		/* BARs are aligned, in the window, and apart. */
		assert_int_equal(bar(slot) % bar_bytes[slot - 1], 0);
		assert_true(bar(slot) >= PCI_WINDOW_START && bar(slot) + bar_bytes[slot - 1] <= PCI_WINDOW_END);
		if (slot > 1)
			assert_true(bar(slot) >= bar(slot - 1) + bar_bytes[slot - 2]);
	}
}

static void add_more(unused void *ctx)
{
	static struct pci_function more[PCI_SLOTS];

	for (u32 i = 0; i < PCI_SLOTS; i++) {
		more[i] = function[0];
		pci_bus_add(&bus, &more[i]);
	}
}

static void slots_end(unused void **state)
{
	expect_panic("slot 8", add_more, NULL);
	assert_int_equal(config(7, 0, 2), 0x1af4);
}

/* ---- the window ---------------------------------------------------------------------------------------- */

static void bar_sizing(unused void **state)
{
	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++) {
		u32 was = bar(slot);

		config_set(slot, 4, 2, 0);
		config_set(slot, 0x10, 4, ~0u);
		assert_int_equal(bar(slot), -bar_bytes[slot - 1]);
		config_set(slot, 0x10, 4, was);
		assert_int_equal(bar(slot), was);
		for (u32 reg = 0x14; reg < 0x2c; reg += 4) { /* the other BARs, the ROM */
			config_set(slot, reg, 4, ~0u);
			assert_int_equal(config(slot, reg, 4), 0);
		}
		config_set(slot, 0x30, 4, ~0u);
		assert_int_equal(config(slot, 0x30, 4), 0);
	}
}

static void registers_answer(unused void **state)
{
	u64 at = bar(1);

	assert_true(mem(at + 0x18, 8) == echo(0x18));
	assert_true(seen.who == &function[0] && seen.offset == 0x18 && seen.bytes == 8);
	assert_int_equal(mem(at + 0x6fff, 1), (u8)echo(0x6fff));
	mem_set(at + 0x1002, 2, 0xabcd);
	assert_true(seen.offset == 0x1002 && seen.bytes == 2 && seen.value == 0xabcd);
	mem_set(bar(3) + 4, 4, 1);
	assert_true(seen.who == &function[2] && seen.offset == 4);
	seen.nr = 0;
	assert_int_equal(mem(PCI_WINDOW_START, 4), ~0u); /* nobody's */
	assert_int_equal(mem(at + 0x7fff, 2), 0xffff); /* over its end */
	assert_true(mem(PCI_WINDOW_END - 8, 8) == ~0ull);
	config_set(1, 4, 2, MASTER);
	assert_int_equal(mem(at, 4), ~0u);
	mem_set(at, 4, 1);
	assert_int_equal(seen.nr, 0);
	config_set(1, 4, 2, MEMORY);
	assert_int_equal(mem(at, 4), (u32)echo(0));
}

static void bars_move(unused void **state)
{
	u32 was = bar(1), to = PCI_WINDOW_END - 0x8000;

	config_set(1, 0x10, 4, to | 0xfff);
	assert_int_equal(bar(1), to);
	assert_int_equal(mem(was, 4), ~0u);
	assert_int_equal(mem(to + 8, 4), (u32)echo(8));
	static const u32 outside[] = {0, PCI_WINDOW_END, PCI_WINDOW_START - 0x8000, 0xffff8000};
	for (u32 i = 0; i < ARRAY_SIZE(outside); i++) {
		config_set(1, 0x10, 4, outside[i]);
		seen.nr = 0;
		assert_int_equal(mem(outside[i], 4), ~0u);
		assert_int_equal(mem(to, 4), ~0u);
		assert_int_equal(seen.nr, 0);
	}
	/* Onto another: the lower slot answers where it is, the other one beside it. */
	config_set(1, 0x10, 4, bar(3) + 0x8000);
	mem_set(bar(3) + 0x8004, 4, 1);
	assert_true(seen.who == &function[0] && seen.offset == 4);
	mem_set(bar(3) + 0x10000, 4, 1);
	assert_true(seen.who == &function[2] && seen.offset == 0x10000);
}

/* ---- interrupts ---------------------------------------------------------------------------------------- */

static void lines(unused void **state)
{
	pci_set_line(&function[0], true);
	assert_int_equal(lines_high, 1u << 11);
	assert_int_equal(config(1, 6, 2), 0x18);
	pci_set_line(&function[2], true); /* slot 3: the same line */
	pci_set_line(&function[1], true);
	assert_int_equal(lines_high, 3u << 10);
	pci_set_line(&function[0], false);
	assert_int_equal(lines_high, 3u << 10);
	assert_int_equal(config(1, 6, 2), 0x10);
	config_set(3, 4, 2, MEMORY | NO_INTX);
	assert_int_equal(lines_high, 1u << 10);
	assert_int_equal(config(3, 6, 2), 0x18); /* status shows it all the same */
	config_set(3, 4, 2, MEMORY);
	assert_int_equal(lines_high, 3u << 10);
	config_set(3, MSIX_CAP, 4, MSIX_ON);
	assert_int_equal(lines_high, 1u << 10);
	config_set(3, MSIX_CAP, 4, 0);
	pci_set_line(&function[1], false);
	assert_int_equal(lines_high, 1u << 11);
	config_set(3, 4, 4, 0); /* status is not to be written */
	assert_int_equal(config(3, 6, 2), 0x18);
}

static void messages(unused void **state)
{
	assert_false(pci_interrupt(&function[0], 0));
	vector_set(1, 0, 0xfee02000, 0x41, false);
	vector_set(1, 2, 0xfee03000 | 0xc, 0x4161, false); /* logical; lowest priority, assert */
	assert_false(pci_interrupt(&function[0], 0));
	assert_int_equal(nr_messages, 0);
	config_set(1, MSIX_CAP + 2, 2, 0x8000);
	assert_int_equal(nr_messages, 0); /* what was not sent while it was off is not kept */
	assert_true(pci_interrupt(&function[0], 0));
	assert_true(nr_messages == 1 && last_dest == 2 && last_icr == 0x41);
	assert_true(pci_interrupt(&function[0], 2));
	assert_true(nr_messages == 2 && last_dest == 3 && last_icr == (0x161 | 1u << 11));
	assert_true(pci_interrupt(&function[0], PCI_NO_VECTOR));
	assert_true(pci_interrupt(&function[0], 3)); /* there is none */
	assert_true(pci_interrupt(&function[0], 1)); /* masked since power-on */
	assert_int_equal(nr_messages, 2);
	assert_int_equal(lines_high, 0);
	/* A message that is no interrupt. */
	static const u64 elsewhere[] = {0, 0xfed02000, 0xfef00000, 0x1fee02000};
	for (u32 i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		vector_set(1, 0, elsewhere[i], 0x41, false);
		assert_true(pci_interrupt(&function[0], 0));
	}
	assert_int_equal(nr_messages, 2);
	vector_set(1, 0, 0xfee00000, 0xffff8731, false);
	pci_interrupt(&function[0], 0);
	assert_int_equal(last_icr, 0x8731);
}

static u32 pending(u32 slot)
{
	return mem(table(slot) + 0x800, 4);
}

static void masked_messages_wait(unused void **state)
{
	config_set(3, MSIX_CAP, 4, MSIX_ON);
	for (u32 i = 0; i < 4; i++)
		vector_set(3, i, 0xfee00000, 0x30 + i, true);
	for (u32 n = 0; n < 3; n++)
		pci_interrupt(&function[2], 1);
	pci_interrupt(&function[2], 3);
	assert_int_equal(pending(3), 0xa);
	assert_int_equal(nr_messages, 0);
	mem_set(table(3) + 16 + 12, 4, 0);
	assert_true(nr_messages == 1 && last_icr == 0x31); /* once */
	assert_int_equal(pending(3), 8);
	config_set(3, MSIX_CAP, 4, MSIX_ON | MSIX_MASKED);
	pci_interrupt(&function[2], 1);
	mem_set(table(3) + 48 + 8, 8, 0x37); /* data and control at once: not masked */
	assert_int_equal(pending(3), 0xa);
	mem_set(table(3) + 0x800, 4, 0); /* read-only */
	assert_int_equal(pending(3), 0xa);
	assert_int_equal(nr_messages, 1);
	config_set(3, MSIX_CAP, 4, MSIX_ON);
	assert_true(nr_messages == 3 && last_icr == 0x37);
	assert_int_equal(pending(3), 0);
}

static void table_registers(unused void **state)
{
	u64 t = table(1);

	for (u32 i = 0; i < 3; i++)
		assert_int_equal(mem(t + 16 * i + 12, 4), 1); /* masked */
	mem_set(t + 16, 8, 0x1122334455667788ull);
	assert_int_equal(mem(t + 16, 4), 0x55667788);
	assert_int_equal(mem(t + 20, 4), 0x11223344);
	mem_set(t + 24, 8, 0xfffffffe99aabbccull);
	assert_true(mem(t + 24, 8) == 0x99aabbccull);
	mem_set(t + 16, 4, ~0u);
	assert_int_equal(mem(t + 16, 4), ~3u);
	assert_int_equal(mem(t + 0, 4) | mem(t + 32, 4), 0);
	/* No fourth vector; narrow and crooked accesses do nothing. */
	mem_set(t + 48, 8, ~0ull);
	assert_true(mem(t + 48, 8) == 0);
	mem_set(t + 25, 1, 0);
	mem_set(t + 26, 4, 0);
	mem_set(t + 28, 8, 0);
	mem_set(t + 25, 2, 0);
	assert_int_equal(mem(t + 24, 4), 0x99aabbcc);
	assert_int_equal(mem(t + 26, 4), ~0u);
	assert_true(mem(t + 0xff8, 8) == 0);
	assert_int_equal(seen.nr, 0);
}

/* ---- beside a model ------------------------------------------------------------------------------------- */

/* Three functions by bytes: what they hold, which bits a guest may change. */
static struct {
	u8 value[256], may[256];
	struct { u8 byte[16]; bool waits; } vector[4];
} model[NR_FUNCTIONS];
static u32 model_address, model_messages;

static u32 dword(const u8 *at)
{
	u32 d;

	memcpy(&d, at, 4);
	return d;
}

static void model_reset(void)
{
	memset(model, 0, sizeof(model));
	model_address = model_messages = 0;
	for (u32 i = 0; i < NR_FUNCTIONS; i++) {
		u32 size = -bar_bytes[i];
		for (u32 reg = 0; reg < 256; reg += 4) {
			u32 d = config(i + 1, reg, 4); /* the headers test has looked at these */
			memcpy(model[i].value + reg, &d, 4);
		}
		model[i].may[0x04] = 0x06;
		model[i].may[0x05] = 0x04;
		memcpy(&model[i].may[0x10], &size, 4);
		model[i].may[0x3c] = 0xff;
		model[i].may[MSIX_CAP + 3] = 0xc0;
		for (u32 k = 0; k < nr_vectors[i]; k++)
			model[i].vector[k].byte[12] = 1;
	}
	out(0xcf8, 4, 0);
}

static bool model_on(u32 i)
{
	return model[i].value[MSIX_CAP + 3] & 0x80;
}

static void model_settle(void)
{
	u32 high = 0;

	for (u32 i = 0; i < NR_FUNCTIONS; i++) {
		if ((model[i].value[6] & 8) && !(model[i].value[5] & 4) && !model_on(i))
			high |= i == 1 ? 1u << 10 : 1u << 11;
		for (u32 k = 0; k < nr_vectors[i]; k++) {
			if (!model[i].vector[k].waits || model[i].value[MSIX_CAP + 3] >> 6 != 2 ||
			    model[i].vector[k].byte[12])
				continue;
			model[i].vector[k].waits = false;
			model_messages += dword(model[i].vector[k].byte) >> 20 == 0xfee &&
					  dword(model[i].vector[k].byte + 4) == 0;
		}
	}
	assert_int_equal(lines_high, high);
	assert_int_equal(nr_messages, model_messages);
}

/* The function that the address register names, or -1. */
static int model_function(void)
{
	u32 slot = model_address >> 11 & 0x1f;

	return model_address >> 31 && !(model_address >> 16 & 0xff) && !(model_address >> 8 & 7) &&
	       slot >= 1 && slot <= NR_FUNCTIONS ? (int)slot - 1 : -1;
}

static void step_ports(struct rng *r)
{
	unsigned int bytes = 1u << rng_below(r, 3);
	u32 offset = rng_below(r, 5 - bytes), reg = model_address & 0xfc;
	int i = model_function();
	u32 value = rng_next(r), want = ~0u;

	if (i < 0) {
		out(0xcfc + offset, bytes, value);
	} else if (rng_percent(r, 50)) {
		if (reg == 0x10 && rng_percent(r, 90)) /* mostly within the window */
			value = PCI_WINDOW_START + (value & 0x3fffff);
		out(0xcfc + offset, bytes, value);
		for (u32 k = 0; k < bytes; k++) {
			u8 *at = &model[i].value[reg + offset + k], may = model[i].may[reg + offset + k];
			*at = (*at & ~may) | (value >> 8 * k & may);
		}
		model_settle();
	}
	if (i >= 0)
		want = dword(&model[i].value[reg]) >> 8 * offset;
	if (bytes < 4)
		want &= (1u << 8 * bytes) - 1;
	assert_int_equal(in(0xcfc + offset, bytes), want);
}

static void step_window(struct rng *r)
{
	unsigned int bytes = 1u << rng_below(r, 4);
	u64 at = (PCI_WINDOW_START + rng_below(r, 0x480000)) & ~(bytes - 1ull);
	u32 who = NR_FUNCTIONS, offset = 0;

	if (rng_percent(r, 70)) { /* near somebody's vectors */
		u32 i = rng_below(r, NR_FUNCTIONS);
		u64 near = dword(&model[i].value[0x10]) + bar_bytes[i] - PAGE_SIZE;
		if (near >= PCI_WINDOW_START && near < PCI_WINDOW_END)
			at = near + (rng_below(r, 80) & ~(bytes - 1ull));
	}
	for (u32 i = NR_FUNCTIONS; i-- > 0;) {
		u64 start = dword(&model[i].value[0x10]);
		if ((model[i].value[4] & MEMORY) && at >= start && at + bytes <= start + bar_bytes[i]) {
			who = i;
			offset = at - start;
		}
	}
	u32 first = who < NR_FUNCTIONS ? bar_bytes[who] - PAGE_SIZE : 0;
	bool registers = who < NR_FUNCTIONS && offset < first;
	u32 k = (offset - first) / 16;
	u64 value = rng_next(r), want = ~0ull;
	if (rng_percent(r, 50))
		value = offset % 16 ? 0 : 0xfee00000 | (value & 0xff00c);

	seen.nr = 0;
	mem_set(at, bytes, value);
	if (!registers && who < NR_FUNCTIONS && k < nr_vectors[who] && bytes >= 4) {
		u8 *to = model[who].vector[k].byte;
		memcpy(to + offset % 16, &value, bytes);
		to[0] &= 0xfc;
		to[12] &= 1;
		to[13] = to[14] = to[15] = 0;
	}
	model_settle();
	if (registers)
		want = echo(offset);
	else if (who < NR_FUNCTIONS && bytes >= 4 && k < nr_vectors[who])
		memcpy(&want, model[who].vector[k].byte + offset % 16, bytes);
	else if (who < NR_FUNCTIONS && bytes >= 4)
		want = 0;
	assert_true(mem(at, bytes) == (bytes < 8 ? want & ((1ull << 8 * bytes) - 1) : want));
	assert_int_equal(seen.nr, registers ? 2 : 0);
	if (registers)
		assert_true(seen.who == &function[who] && seen.offset == offset);
}

static void step_interrupt(struct rng *r)
{
	u32 i = rng_below(r, NR_FUNCTIONS), k = rng_below(r, 5);

	if (rng_percent(r, 50)) {
		bool level = rng_percent(r, 50);
		pci_set_line(&function[i], level);
		model[i].value[6] = level ? 0x18 : 0x10;
	} else {
		if (model_on(i) && k < nr_vectors[i])
			model[i].vector[k].waits = true;
		assert_int_equal(pci_interrupt(&function[i], k), model_on(i));
	}
	model_settle();
	u32 waits = 0;
	for (k = 0; k < 4; k++)
		waits |= (u32)model[i].vector[k].waits << k;
	u64 start = dword(&model[i].value[0x10]);
	bool alone = i == 0 && (model[0].value[4] & MEMORY) && start >= PCI_WINDOW_START &&
		     start < PCI_WINDOW_END;
	if (alone) /* the lowest slot: nobody stands before it */
		assert_int_equal(mem(start + bar_bytes[0] - PAGE_SIZE + 0x800, 4), waits);
}

static void random_courses(unused void **state)
{
	struct rng r = rng_seeded(0x9c1);
	static const u8 regs[] = {0x00, 0x04, 0x04, 0x08, 0x10, 0x10, 0x3c, MSIX_CAP, MSIX_CAP, MSIX_CAP};

	model_reset();
	for (u32 n = 0; n < 300000; n++) {
		switch (rng_below(&r, 4)) {
		case 0:
			model_address = 1u << 31 | rng_below(&r, 5) << 11 |
					(rng_percent(&r, 80) ? regs[rng_below(&r, sizeof(regs))]
							     : rng_next(&r) & 0xfc);
			if (rng_percent(&r, 5))
				model_address = rng_next(&r) & 0x80fffffc;
			if (model_address >> 11 == 1u << 20) /* the bridge has its own test */
				model_address = 0;
			out(0xcf8, 4, model_address);
			assert_int_equal(in(0xcf8, 4), model_address);
			break;
		case 1: step_ports(&r); break;
		case 2: step_window(&r); break;
		default: step_interrupt(&r);
		}
	}
	assert_true(nr_messages > 500); /* it was not asleep */
	assert_int_equal(host_record.nr_reset, 0);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, vmm_host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_not_there), test(address_register), test(bridge), test(headers),
		test(slots_end), test(bar_sizing), test(registers_answer), test(bars_move), test(lines),
		test(messages), test(masked_messages_wait), test(table_registers), test(random_courses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
