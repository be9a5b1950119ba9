/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual board: which devices a VM has. One device one file; board.c puts them on the bus. */
#pragma once

#include "lib/types.h"

struct board;
struct vm;

/* board_create - make @vm's devices and register them. 0 or -ENOMEM. */
int must_check board_create(struct vm *vm);
/* board_quiesce - the vCPUs have left: no timer of the board fires any more, output is flushed. */
void board_quiesce(struct vm *vm);
void board_destroy(struct vm *vm);
