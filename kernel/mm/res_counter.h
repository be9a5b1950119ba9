/* SPDX-License-Identifier: BSD-2-Clause */
/* Accounting of frames: usage against a limit, hierarchical. Charging a counter charges its
 * parents; if one refuses, none is charged. */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define RES_UNLIMITED (~0ull)

struct res_counter {
	u64 usage;   /* [a] pages */
	u64 limit;   /* [a] pages */
	u64 max;     /* [a] highest usage before it last fell: read it by res_counter_max */
	u64 failcnt; /* [a] refusals */
	struct res_counter *parent; /* [o] */
};

void res_counter_init(struct res_counter *c, struct res_counter *parent);
/* res_counter_charge - Return 0; -ENOMEM with *@refused (may be NULL) telling which one. */
int must_check res_counter_charge(struct res_counter *c, u64 pages, struct res_counter **refused);
void res_counter_uncharge(struct res_counter *c, u64 pages);
/* res_counter_max - the highest usage there has been. */
u64 res_counter_max(const struct res_counter *c);
