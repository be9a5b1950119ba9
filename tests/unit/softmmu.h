/* SPDX-License-Identifier: BSD-2-Clause */
/* A processor's memory management unit, in software, for tests: it walks the tables in the arena of
 * host.h as silicon does, sets accessed and dirty bits by compare-and-swap, and has a TLB.
 *
 * It shares no code with lib/pt_walk.c and was written from the manuals on its own, so that
 * comparing the two means something: Intel SDM vol. 3A, "Paging"; AMD APM vol. 2, "Page
 * Translation and Protection", "Nested Paging".
 *
 * The TLB is of the cruel kind: what it cached stays, for ever, until flushed; an emulator's or a
 * real processor's would forget by chance and hide a missing flush. Only these go by themselves, as
 * the architecture promises: a translation that does not allow the access is dropped and the tables
 * are asked again, and a write through one whose dirty bit was not yet set looks there too.
 *
 * One lock per MMU: a flush from another thread waits for the access under way, as the IPI of a
 * shoot-down does. softmmu_load and softmmu_store hold it over translation and memory access; with
 * softmmu_access alone a caller may use an address that was flushed meanwhile. */
#pragma once

#include "host.h"

enum softmmu_kind {
	SOFTMMU_HOST, /* 4-level, the primary table */
	SOFTMMU_NPT,  /* 4-level, every access is a user access */
	SOFTMMU_GUEST32,
	SOFTMMU_GUEST_PAE,
	SOFTMMU_GUEST64,
};

struct softmmu_tlb_entry {
	u64 va, pa, bytes; /* bytes 0: free slot */
	bool writable, user, no_exec, dirty;
};

struct softmmu {
	enum softmmu_kind kind;
	u64 root; /* CR3 */
	/* Physical memory: [mem_start, mem_end), byte p at p + virt_offset. Elsewhere reads give
	 * all ones, and writes are lost. */
	u64 virt_offset, mem_start, mem_end;
	unsigned int phys_bits;
	bool nx, wp, smep, smap, pse;
	u64 nr_hits, nr_walks;

	pthread_mutex_t lock;
	struct softmmu_tlb_entry *tlb; /* hashed, open addressing */
	size_t tlb_slots, tlb_used;
};

/* softmmu_init - an MMU on the table at @root in host.h's arena: 52 bits; NX, WP and PSE on, SMEP
 * and SMAP off. Change the fields before first use to have another. */
void softmmu_init(struct softmmu *m, enum softmmu_kind kind, u64 root);
void softmmu_destroy(struct softmmu *m);

/* softmmu_access - translate @va for an access of kind @access (ACC_R, ACC_W, ACC_X; ACC_U: user).
 * Return 0 with *@pa; -EFAULT with *@pfec, the page fault's error code. */
int softmmu_access(struct softmmu *m, u64 va, unsigned int access, u64 *pa, u32 *pfec);

/* softmmu_load, softmmu_store - the same for 8 aligned bytes, and do it. @mode: 0 or ACC_U. */
int softmmu_load(struct softmmu *m, u64 va, unsigned int mode, u64 *value, u32 *pfec);
int softmmu_store(struct softmmu *m, u64 va, unsigned int mode, u64 value, u32 *pfec);

void softmmu_flush(struct softmmu *m);
/* softmmu_flush_page - INVLPG: every translation that covers @va. */
void softmmu_flush_page(struct softmmu *m, u64 va);
/* softmmu_set_root - MOV to CR3: flushes. */
void softmmu_set_root(struct softmmu *m, u64 root);

/* softmmu_holds - does the TLB still translate @va? */
bool softmmu_holds(struct softmmu *m, u64 va);
/* softmmu_reaches - could any cached translation still reach the page at @pa? Then freeing it
 * breaks N3. */
bool softmmu_reaches(struct softmmu *m, u64 pa);
