/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's PCI bus 0: configuration by ports CF8 and CFC (mechanism 1), a host bridge in slot 0, and
 * functions that devices register in the slots behind it. An empty slot reads all ones.
 *
 * A function has one range of memory, BAR 0, anywhere in a fixed window of guest-physical addresses where
 * no RAM is. The bus is one range of the io bus, the whole window, and finds the function by the BARs as
 * they are now: a guest may move them. What it moves out of the window answers nowhere; of two that it
 * moves onto each other the one in the lower slot answers. The last page of BAR 0 is the table of MSI-X
 * interrupts, which is the bus's own business.
 *
 * Sources: PCI Local Bus Specification 3.0, "Configuration Space", "MSI-X Capability". */
#pragma once

#include "cpu/spinlock.h"
#include "vmm/devices/irq.h"
#include "vmm/io.h"

#define PCI_WINDOW_START 0xe0000000ul
#define PCI_WINDOW_END   0xf0000000ul
#define PCI_SLOTS        8  /* with the bridge's */
#define PCI_MSIX_MAX     4
#define PCI_NO_VECTOR    0xffff

struct pci_bus;
struct vm;

struct pci_msix_vector {
	u32 word[4]; /* as in the table: address, its upper half, data, control */
	bool pending;
};

/* [lock] the bus's  [o] set by who registers it, before pci_bus_add */
struct pci_function {
	struct pci_bus *bus;      /* [o] set by pci_bus_add */
	u8 slot;                  /* [o] set by pci_bus_add */
	u16 vendor, device, subsystem; /* [o] subsystem device id; its vendor is the same */
	u32 class_code;           /* [o] class, subclass, interface */
	u32 bar_bytes;            /* [o] of BAR 0, its last page the MSI-X table's: a power of two,
				   * 1 MiB at most */
	u32 nr_vectors;           /* [o] 1 to PCI_MSIX_MAX */
	const struct io_ops *ops; /* [o] who answers what begins in BAR 0 below the last page; gets this
				   * struct */
	const u8 *capabilities;   /* [o] vendor-specific ones, chained from 0x40 on as they stand in
				   * configuration space; the last one's link is to where they end: the
				   * bus puts MSI-X there */
	u32 capability_bytes;     /* [o] a multiple of 4 */
	u32 config[64];           /* [lock] as the guest reads it; status bit 3: INTA is asserted */
	struct pci_msix_vector vector[PCI_MSIX_MAX]; /* [lock] */
};

struct pci_bus {
	struct spinlock lock;     /* RANK_DEVICE_IRQ */
	struct vm *vm;            /* [o] */
	u32 address;              /* [lock] port CF8 */
	struct pci_function *slot[PCI_SLOTS]; /* [o] after the board is built */
	struct pci_function bridge;
};

/* pci_slot_irq - the ISA line that INTA of @slot reaches. */
static inline u32 pci_slot_irq(u32 slot)
{
	return IRQ_PCI + slot % IRQ_NR_PCI;
}

/* pci_bus_attach - reset *@b and put it on @vm's bus: ports CF8 to CFF but for the reset register at CF9,
 * which a byte access reaches, and the window. */
void pci_bus_attach(struct pci_bus *b, struct vm *vm);
/* pci_bus_add - @f comes into the next free slot, BAR 0 in the window, memory and interrupt as a firmware
 * would have set them. => while the board is built; CHECKs that there is a slot */
void pci_bus_add(struct pci_bus *b, struct pci_function *f);

/* pci_interrupt - if MSI-X is on, send the message @vector (PCI_NO_VECTOR: none); else do nothing.
 * Returns whether MSI-X is on. => any context but under the bus's lock
 * pci_set_line - INTA is asserted, or not, from now on; it reaches an ISA line, which functions may
 * share, unless the guest has disabled it. */
bool pci_interrupt(struct pci_function *f, u16 vector);
void pci_set_line(struct pci_function *f, bool level);
