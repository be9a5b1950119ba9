/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI by configuration mechanism 1, which every PC has: finding devices, their memory and their
 * interrupts. Sources: PCI Local Bus Specification 3.0, "Configuration Space" and "MSI Capability
 * Structures". */
#pragma once

#include "lib/types.h"

struct pci_device {
	u8 bus, slot, function;
	u16 vendor, device;
	u8 class, subclass;
};

/* Registers of configuration space; @reg is a multiple of the size. => any context */
u8 pci_read8(const struct pci_device *d, u8 reg);
u16 pci_read16(const struct pci_device *d, u8 reg);
u32 pci_read32(const struct pci_device *d, u8 reg);
void pci_write16(const struct pci_device *d, u8 reg, u16 value);
void pci_write32(const struct pci_device *d, u8 reg, u32 value);

/* pci_for_each - every function of every bus that can be reached from bus 0. => thread context */
void pci_for_each(void (*found)(const struct pci_device *d));

/* pci_capability - where the first capability @id behind the one at @after (0: from the start) is;
 * 0: there is none. Ends on any chain. */
u8 pci_capability(const struct pci_device *d, u8 id, u8 after);

/* pci_map_bar - map @bytes from @offset of memory BAR @index, uncached.
 * => thread context; the device is not in use: its memory is switched off for a moment
 * Return NULL if the BAR is not memory, has no address, is smaller, or tables run out. */
void *pci_map_bar(const struct pci_device *d, u8 index, u64 offset, u64 bytes);

/* pci_start - let the device be read and written, and reach memory; no interrupt line. */
void pci_start(const struct pci_device *d);
/* pci_stop_dma - it reaches memory no more. => any context */
void pci_stop_dma(const struct pci_device *d);

struct pci_msix {
	u8 capability;
	u32 nr; /* entries */
	volatile u32 *table;
};

/* pci_msix_open - map the table of MSI-X interrupts, mask them all and switch MSI-X on.
 * Return 0; -ENODEV if the device has none; -EINVAL if what it says is wrong. */
int must_check pci_msix_open(const struct pci_device *d, struct pci_msix *m);
/* pci_msix_route - entry @index becomes @vector on the CPU with @apic_id (0..254). */
void pci_msix_route(const struct pci_msix *m, u32 index, u8 vector, u8 apic_id);
