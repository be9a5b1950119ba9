/* SPDX-License-Identifier: BSD-2-Clause */
/* subject: kernel/vmm/devices/pci_bus.c */
/* sources: kernel/vmm/io.c tests/unit/vmm_host.c tests/fuzz/vm.c */
/* The guest's PCI bus with three functions, beside a model of bytes: what each register of configuration
 * space holds and which of its bits a guest may change; who answers in the window; when a line is high, a
 * message waits or goes out, and what is in it. */
#include "vm.h"

#include "vmm/devices/lapic.h"
#include "vmm/devices/pci_bus.h"

#define NR_FUNCTIONS 3
#define MSIX_CAP     0x48u
#define WINDOW_BYTES (PCI_WINDOW_END - PCI_WINDOW_START)

static const u32 bar_bytes[NR_FUNCTIONS] = {0x8000, 0x1000, 0x100000};
static const u32 nr_vectors[NR_FUNCTIONS] = {3, 1, 4};
static const u8 vendor_capability[] = {0x09, MSIX_CAP, 8, 1, 2, 3, 4, 5};

static struct pci_bus bus;
static struct pci_function function[NR_FUNCTIONS]; /* in slots 1, 2, 3 */

/* Byte by byte, as PCI 3.0 has it. Slot 0 is the bridge, which has no BAR and no interrupt. */
static struct {
	u8 value[256], may[256];
	struct {
		u8 byte[16];
		bool waits;
	} vector[PCI_MSIX_MAX];
} model[1 + NR_FUNCTIONS];
static u32 model_address, model_messages, model_resets;
static u64 model_sum; /* of all messages */

static u32 lines_high, nr_messages;
static u64 sum;

/* ---- the board around it ------------------------------------------------------------------------------- */

void irq_set(struct vm *vm, u32 irq, bool level)
{
	CHECK(vm == host_vm && (irq == 10 || irq == 11), "line %u", irq);
	lines_high = level ? lines_high | 1u << irq : lines_high & ~(1u << irq);
}

static u64 mix(u64 was, u8 dest, u32 icr)
{
	return was * 0x9e3779b97f4a7c15ull + ((u64)dest << 32 | icr);
}

bool lapic_message(struct vm *vm, u8 dest, u32 icr)
{
	CHECK(vm == host_vm, "another VM");
	nr_messages++;
	sum = mix(sum, dest, icr);
	return true;
}

/* Who was accessed last. */
static struct {
	struct pci_function *who;
	u64 offset, value;
	unsigned int bytes;
	bool write;
} seen;

static u64 echo(u64 offset)
{
	return 0x0102030405060708ull * (offset + 1);
}

static u64 regs_read(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes)
{
	fuzz_step_ended(); /* it may sleep */
	seen = (typeof(seen)){dev, offset, 0, bytes, false};
	return echo(offset);
}

static void regs_write(unused struct vcpu *v, void *dev, u64 offset, unsigned int bytes, u64 value)
{
	fuzz_step_ended();
	seen = (typeof(seen)){dev, offset, value, bytes, true};
}

static const struct io_ops regs_io = {.name = "registers", .read = regs_read, .write = regs_write};

/* ---- the model ------------------------------------------------------------------------------------------- */

static u32 dword(const u8 *at)
{
	u32 d;

	memcpy(&d, at, 4);
	return d;
}

static u64 of_bytes(u64 value, unsigned int bytes)
{
	return bytes < 8 ? value & ((1ull << 8 * bytes) - 1) : value;
}

static void model_put(u32 slot, u32 reg, u32 value)
{
	memcpy(&model[slot].value[reg], &value, 4);
}

static void model_reset(void)
{
	memset(model, 0, sizeof(model));
	model_address = model_messages = model_resets = model_sum = 0;
	model_put(0, 0, 0x00081b36);
	model_put(0, 8, 0x06000001);
	model_put(0, 0x2c, 0x1b36);
	for (u32 slot = 0; slot <= NR_FUNCTIONS; slot++) {
		model[slot].may[4] = 6;
		model[slot].may[5] = 4;
		model[slot].may[0x3c] = 0xff;
	}
	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++) {
		const u32 table = bar_bytes[slot - 1] - 0x1000, size = -bar_bytes[slot - 1];
		u8 *may = model[slot].may;

		model_put(slot, 0x00, (0x1040 + slot) << 16 | 0x1af4);
		model_put(slot, 0x04, 0x00100006);
		model_put(slot, 0x08, (0x010002 + slot) << 8 | 1);
		model_put(slot, 0x10, 0xe0000000 + slot * 0x100000);
		model_put(slot, 0x2c, (0x40 + slot) << 16 | 0x1af4);
		model_put(slot, 0x34, 0x40);
		model_put(slot, 0x3c, 0x100 | (slot % 2 ? 11 : 10));
		memcpy(&model[slot].value[0x40], vendor_capability, 8);
		model_put(slot, MSIX_CAP, (nr_vectors[slot - 1] - 1) << 16 | 0x11);
		model_put(slot, MSIX_CAP + 4, table);
		model_put(slot, MSIX_CAP + 8, table + 0x800);
		memcpy(may + 0x10, &size, 4);
		may[MSIX_CAP + 3] = 0xc0;
		for (u32 k = 0; k < nr_vectors[slot - 1]; k++)
			model[slot].vector[k].byte[12] = 1;
	}
}

static bool model_on(u32 slot)
{
	return model[slot].value[MSIX_CAP + 3] & 0x80;
}

static void model_send(const u8 *vector)
{
	u32 at = dword(vector), data = dword(vector + 8);

	if (at >> 20 != 0xfee || dword(vector + 4))
		return;
	model_messages++;
	model_sum = mix(model_sum, at >> 12, (data & 0x87ff) | (at & 4 ? 0x800 : 0));
}

/* What waits goes out if it can; lines follow. */
static void settle(void)
{
	u32 high = 0;

	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++) {
		if ((model[slot].value[6] & 8) && !(model[slot].value[5] & 4) && !model_on(slot))
			high |= slot % 2 ? 1u << 11 : 1u << 10;
		for (u32 k = 0; k < nr_vectors[slot - 1]; k++) {
			if (!model[slot].vector[k].waits || model[slot].value[MSIX_CAP + 3] != 0x80 ||
			    model[slot].vector[k].byte[12])
				continue;
			model[slot].vector[k].waits = false;
			model_send(model[slot].vector[k].byte);
		}
	}
	CHECK(lines_high == high, "lines %#x, not %#x", lines_high, high);
	CHECK(nr_messages == model_messages && sum == model_sum, "%u messages, not %u, or others", nr_messages,
	      model_messages);
	CHECK(host_record.nr_reset == model_resets, "%u resets", host_record.nr_reset);
	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++)
		for (u32 k = 0; k < PCI_MSIX_MAX; k++)
			CHECK(function[slot - 1].vector[k].pending == model[slot].vector[k].waits,
			      "slot %u, vector %u", slot, k);
	fuzz_step_ended();
}

/* The slot that the address register names, or PCI_SLOTS. */
static u32 addressed(void)
{
	u32 slot = model_address >> 11 & 31;

	return model_address >> 31 && !(model_address & 0x00ff0700) && slot <= NR_FUNCTIONS ? slot : PCI_SLOTS;
}

/* Who answers at @at, at which *@offset of its BAR; or 0. */
static u32 answers(u64 at, u64 *offset)
{
	for (u32 slot = 1; slot <= NR_FUNCTIONS; slot++) {
		u64 start = dword(&model[slot].value[0x10]);

		*offset = at - start;
		if ((model[slot].value[4] & 2) && at >= start && at < start + bar_bytes[slot - 1])
			return slot;
	}
	return 0;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

static void address_set(u32 value)
{
	io_port_write(host_vcpu(0), 0xcf8, 4, value);
	model_address = value & 0x80fffffc;
	CHECK(io_port_read(host_vcpu(1), 0xcf8, 4) == model_address, "address %#x", value);
}

/* A register that has something to say, mostly of a slot that is there; or any. */
static void address_step(struct input *in)
{
	static const u8 regs[] = {
		0, 4, 8, 0x10, 0x14, 0x2c, 0x34, 0x3c, 0x40, MSIX_CAP, MSIX_CAP + 4, MSIX_CAP + 8,
	};
	static const u8 slots[] = {0, 1, 2, 3, 1, 3, PCI_SLOTS - 1, PCI_SLOTS};
	u8 how = take(in, 1);

	if (how >= 0xf0)
		address_set(take(in, 4));
	else
		address_set(0x80000000 | slots[how & 7] << 11 | regs[(how >> 3) % ARRAY_SIZE(regs)]);
}

static void data_step(struct input *in)
{
	u8 how = take(in, 1);
	unsigned int bytes = 1u << how % 4 % 3;
	u32 offset = (how >> 2 & 3) & ~(bytes - 1);
	u32 slot = addressed(), reg = (model_address & 0xfc) + offset;
	bool write = how & 0x80;
	u32 value = write ? take(in, bytes) : 0;

	if ((model_address & 0xfc) == 0x10 && bytes == 4 && (how & 0x40)) /* a BAR within the window */
		value = 0xe0000000 | (value & 0x3fffff);
	if (!write) {
		u32 want = slot < PCI_SLOTS ? dword(&model[slot].value[reg & ~3u]) >> 8 * offset : ~0u;

		value = io_port_read(host_vcpu(0), 0xcfc + offset, bytes);
		CHECK(value == of_bytes(want, bytes), "register %#x of slot %u is %#x", reg, slot, value);
		return;
	}
	io_port_write(host_vcpu(how >> 4 & 3), 0xcfc + offset, bytes, value);
	for (u32 i = 0; slot < PCI_SLOTS && i < bytes; i++) {
		u8 may = model[slot].may[reg + i], *at = &model[slot].value[reg + i];

		*at = (*at & ~may) | (value >> 8 * i & may);
	}
}

/* Ports in any width and place: what is not a register's own does nothing. */
static void port_step(struct input *in)
{
	u8 how = take(in, 1);
	unsigned int bytes = 1u << how % 4 % 3;
	u32 offset = how >> 2 & 3;

	if (offset + bytes > 4 || (offset == 0 && bytes == 4))
		return;
	if (how & 0x80) {
		u32 value = take(in, bytes);

		io_port_write(host_vcpu(0), 0xcf8 + offset, bytes, value);
		model_resets += offset == 1 && bytes == 1 && (value & 4);
	} else {
		u64 want = offset == 1 && bytes == 1 ? 0 : of_bytes(~0ull, bytes);
		CHECK(io_port_read(host_vcpu(0), 0xcf8 + offset, bytes) == want, "port %#x", 0xcf8 + offset);
	}
	CHECK(io_port_read(host_vcpu(0), 0xcf8, 4) == model_address, "the address changed");
}

static u64 table_value(u32 slot, u64 offset)
{
	u64 waits = 0;

	if (offset / 16 < nr_vectors[slot - 1])
		return dword(&model[slot].vector[offset / 16].byte[offset % 16]);
	for (u32 k = 0; k < nr_vectors[slot - 1]; k++)
		waits |= (u64)model[slot].vector[k].waits << k;
	return offset == 0x800 ? waits : 0;
}

/* An access to the table, at @offset in it: by aligned dwords and qwords. */
static void table_access(u32 slot, u64 offset, unsigned int bytes, bool write, u64 value)
{
	static const u8 may[16] = {0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
	bool whole = bytes >= 4 && offset % bytes == 0;

	if (!write) {
		u64 want = bytes == 8 && whole ? table_value(slot, offset + 4) << 32 : 0;

		want = whole ? want | table_value(slot, offset) : of_bytes(~0ull, bytes);
		CHECK(value == want, "the table at %#lx is %#lx, not %#lx", offset, value, want);
	} else if (whole && offset / 16 < nr_vectors[slot - 1]) {
		for (u32 i = 0; i < bytes; i++)
			model[slot].vector[offset / 16].byte[offset % 16 + i] =
				value >> 8 * i & may[offset % 16 + i];
	}
}

static void window_access(struct vcpu *v, u64 at, unsigned int bytes, bool write, u64 value)
{
	u64 offset;
	u32 slot = answers(at, &offset);
	const u64 wrote = value;

	seen.who = NULL;
	if (write)
		io_mmio_write(v, gpa(at), bytes, value);
	else
		value = io_mmio_read(v, gpa(at), bytes);
	if (at < PCI_WINDOW_START || at + bytes > PCI_WINDOW_END) {
		CHECK(bytes > 1 || !seen.who, "somebody answers outside of the window");
		return;
	}
	if (slot && offset >= bar_bytes[slot - 1] - 0x1000) {
		CHECK(!seen.who, "the table is the bus's");
		table_access(slot, offset & 0xfff, bytes, write, value);
	} else if (slot) {
		CHECK(seen.who == &function[slot - 1] && seen.offset == offset && seen.bytes == bytes &&
		      seen.write == write && (!write || seen.value == wrote), "at %#lx slot %u should answer",
		      at, slot);
		CHECK(write || value == of_bytes(echo(offset), bytes), "it read %#lx", value);
	} else {
		CHECK(!seen.who && (write || value == of_bytes(~0ull, bytes)), "at %#lx nobody is", at);
	}
}

static void window_step(struct input *in)
{
	u8 how = take(in, 1), where = take(in, 1);
	u32 slot = 1 + where % NR_FUNCTIONS;
	unsigned int bytes = 1u << (how & 3);
	u64 start = dword(&model[slot].value[0x10]), end = start + bar_bytes[slot - 1], at;

	switch (how >> 2 & 7) {
	case 0: at = PCI_WINDOW_START + take(in, 4) % WINDOW_BYTES; break;
	case 1: at = start - 8 + where % 16; break;
	case 2: at = end - 8 + where % 16; break;
	case 3: at = end - 0x1000 - 8 + where % 16; break;
	case 4: at = end - 0x1000 + 0x800 + where % 16; break;
	default: at = end - 0x1000 + where % 80;
	}
	if (how & 0x20)
		at &= ~(bytes - 1ull);
	if (at < PCI_WINDOW_START || at >= PCI_WINDOW_END) /* a BAR that is nowhere: the bus is not asked */
		at = PCI_WINDOW_END - 1 - where;
	if (at + bytes > PCI_WINDOW_END)
		bytes = 1;
	window_access(host_vcpu(where & 3), at, bytes, how & 0x80, how & 0x80 ? take(in, bytes) : 0);
}

static void interrupt_step(struct input *in)
{
	u8 how = take(in, 1);
	u32 slot = 1 + (how >> 4) % NR_FUNCTIONS, k = how & 7;

	if (how & 8) {
		pci_set_line(&function[slot - 1], how & 1);
		model[slot].value[6] = how & 1 ? 0x18 : 0x10;
		return;
	}
	u16 vector = k == 7 ? PCI_NO_VECTOR : k;
	if (model_on(slot) && k < nr_vectors[slot - 1])
		model[slot].vector[k].waits = true;
	CHECK(pci_interrupt(&function[slot - 1], vector) == model_on(slot), "slot %u's MSI-X", slot);
}

/* A vector with a good message, MSI-X on. */
static void message_step(struct input *in)
{
	u8 how = take(in, 1);
	u32 slot = 1 + (how & 3) % NR_FUNCTIONS, k = (how >> 2 & 3) % nr_vectors[slot - 1];
	u64 at = dword(&model[slot].value[0x10]) + bar_bytes[slot - 1] - 0x1000 + 16 * k;

	address_set(0x80000000 | slot << 11 | MSIX_CAP);
	io_port_write(host_vcpu(0), 0xcff, 1, how & 0xc0);
	model[slot].value[MSIX_CAP + 3] = how & 0xc0;
	settle();
	if (at < PCI_WINDOW_START || at >= PCI_WINDOW_END)
		return;
	window_access(host_vcpu(0), at, 4, true, 0xfee00000 | (take(in, 1) << 12) | (how & 0x20 ? 0xc : 0));
	settle();
	window_access(host_vcpu(0), at + 8, 8, true, (u64)(how >> 4 & 1) << 32 | take(in, 2));
}

static void begin(void)
{
	fuzz_vm_begin(1);
	lines_high = nr_messages = sum = 0;
	pci_bus_attach(&bus, host_vm);
	for (u32 i = 0; i < NR_FUNCTIONS; i++) {
		u32 slot = i + 1;

		function[i] = (struct pci_function){
			.vendor = 0x1af4, .device = 0x1040 + slot, .subsystem = 0x40 + slot,
			.class_code = 0x010002 + slot, .bar_bytes = bar_bytes[i], .nr_vectors = nr_vectors[i],
			.ops = &regs_io, .capabilities = vendor_capability,
			.capability_bytes = sizeof(vendor_capability),
		};
		pci_bus_add(&bus, &function[i]);
	}
	model_reset();
}

void fuzz_one(struct input *in)
{
	begin();
	while (input_left(in)) {
		switch (take(in, 1) & 7) {
		case 0: address_step(in); break;
		case 1:
		case 2: data_step(in); break;
		case 3: port_step(in); break;
		case 4: message_step(in); break;
		case 5: interrupt_step(in); break;
		default: window_step(in);
		}
		settle();
	}
	fuzz_vm_end();
}
