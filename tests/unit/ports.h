/* SPDX-License-Identifier: BSD-2-Clause */
/* Port instructions of a driver under test go to functions of the test. Include this, then the
 * driver's .c file; define port_read and port_write. */
#pragma once

#include "host.h"

#include "cpu/x86.h"

static u32 port_read(u16 port, unsigned int bytes);
static void port_write(u16 port, u32 value, unsigned int bytes);

#define inb(port)     ((u8)port_read((port), 1))
#define inw(port)     ((u16)port_read((port), 2))
#define outb(port, v) port_write((port), (v), 1)
#define outw(port, v) port_write((port), (v), 2)
