/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual board: which devices a VM has. One device one file; board.c puts them on the bus. */
#pragma once

#include "lib/types.h"

struct board;
struct guest_disk;
struct vcpu;
struct vga_text;
struct vm;

/* board_create - make @vm's devices and register them. 0 or -ENOMEM. */
int must_check board_create(struct vm *vm);
/* board_add_disk - the open @disk is on @vm's bus, and is closed with the board. => before vm_start, once
 * Return 0; -ENOMEM: it is the caller's still. */
int must_check board_add_disk(struct vm *vm, const struct guest_disk *disk);
/* board_quiesce - the vCPUs have left: no timer of the board fires any more, output is flushed. */
void board_quiesce(struct vm *vm);
void board_destroy(struct vm *vm);

/* board_interrupt_ended - a local APIC has ended @vector, which came level-triggered or from the timer. */
void board_interrupt_ended(struct vm *vm, u8 vector);
/* board_timer_rerouted - the I/O APIC's entry for the timer was written. => no lock of the chip held */
void board_timer_rerouted(struct vm *vm);
struct ioapic *board_ioapic(struct vm *vm); /* NULL: this board has none */
/* board_attach - the operator sits at @vm's console, or no longer. board_type - he typed @bytes there.
 * => no lock held. Return false if @vm runs no more. */
bool board_attach(struct vm *vm, bool on);
bool board_type(struct vm *vm, const u8 *bytes, u32 nr);
struct vga_text *board_screen(struct vm *vm);
struct pic *board_pic(struct vm *vm);
/* board_serve - go on with what devices left for later (VCPU_REQ_BOARD).
 * => v's thread, no lock held; may sleep */
void board_serve(struct vcpu *v);
/* board_pic_ack - the processor takes what the 8259s ask for. Returns the vector. => vCPU 0's thread */
u8 board_pic_ack(struct vm *vm);
