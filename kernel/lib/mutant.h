/* SPDX-License-Identifier: BSD-2-Clause */
/* Mutants and race points: how the tests prove that they test.
 *
 * A *mutant* breaks one rule of the protocol on purpose:
 *
 *	if (!mutant("no_seq_bump"))
 *		sequence++;
 *
 * Debug builds choose one by the boot option `mutant=NAME`; a test must then fail and name the
 * rule. A *race point* is a place where a test may hold one CPU while another acts:
 *
 *	race_point("mmu.before_install");
 *
 * Both cost one load and branch in debug builds and nothing in release builds. */
#pragma once

#include "lib/types.h"

bool mutant_is(const char *name);
void mutant_select(const char *name);
#define mutant(name) (NEAP_DEBUG && mutant_is(name))

/* race_arm - after @skip more arrivals at point @name have passed (0: none), the next one calls
 * @hook(@ctx) once, in the context of who arrives; by then nothing is armed, the hook may arm again.
 * NULL disarms. One point at a time; @name must live as long as it is armed. => tests only */
void race_arm(const char *name, unsigned int skip, void (*hook)(void *ctx), void *ctx);
void race_hit(const char *name);
#define race_point(name) \
	do { \
		if (NEAP_DEBUG) \
			race_hit(name); \
	} while (0)
