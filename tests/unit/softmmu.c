/* SPDX-License-Identifier: BSD-2-Clause */
/* A memory management unit in software. */
#include "softmmu.h"

#include "lib/atomic.h"

/* ---- the walk -------------------------------------------------------------------------------- */

/* A walk under way: the entries that it used (they get A, the last one D), and what they allow. */
struct walk {
	struct {
		void *at; /* NULL: outside of memory */
		u64 seen;
	} entries[4];
	int nr_entries;
	int entry_bytes;
	bool writable, user, no_exec;
	u64 pa, page_bytes;
	u32 error; /* of a walk that failed: P and RSVD */
};

/* fetch - entry @index of the table at @table. */
static u64 fetch(const struct softmmu *m, struct walk *w, u64 table, u64 index, bool has_accessed)
{
	u64 at = table + index * w->entry_bytes;
	void *p = NULL;
	u64 entry = w->entry_bytes == 8 ? ~0ull : 0xffffffff;

	if (at >= m->mem_start && at < m->mem_end && m->mem_end - at >= (u64)w->entry_bytes) {
		p = (void *)(at + m->virt_offset);
		entry = w->entry_bytes == 8 ? atomic_load((u64 *)p) : atomic_load((u32 *)p);
	}
	if (has_accessed) {
		w->entries[w->nr_entries].at = p;
		w->entries[w->nr_entries++].seen = entry;
	}
	return entry;
}

static bool not_present(struct walk *w)
{
	w->error = 0;
	return false;
}

static bool reserved(struct walk *w)
{
	w->error = PFEC_P | PFEC_RSVD;
	return false;
}

/* combine - the rights of one more level. */
static void combine(struct walk *w, u64 entry)
{
	w->writable = w->writable && (entry >> 1 & 1);
	w->user = w->user && (entry >> 2 & 1);
	w->no_exec = w->no_exec || entry >> 63;
}

static bool leaf(struct walk *w, u64 base, u64 page_bytes, u64 va)
{
	w->pa = base + va % page_bytes;
	w->page_bytes = page_bytes;
	return true;
}

/* "32-Bit Paging": PDE and PTE of four bytes; with CR4.PSE, PDE.PS maps 4 MiB. */
static bool walk_32(const struct softmmu *m, u64 va, struct walk *w)
{
	u64 pde = fetch(m, w, m->root & 0xfffff000, va >> 22 & 0x3ff, true);
	if (!(pde & 1))
		return not_present(w);
	combine(w, pde);
	if (m->pse && (pde & 0x80)) {
		/* Bits 20:13 are address bits 39:32; those at and above MAXPHYADDR and bit 21 must
		 * be 0. */
		u64 high = pde >> 13 & 0x1ff;
		if (high >> 8)
			return reserved(w);
		if (m->phys_bits < 40 && high >> (m->phys_bits > 32 ? m->phys_bits - 32 : 0))
			return reserved(w);
		return leaf(w, (pde & 0xffc00000) + (high << 32), 4 << 20, va);
	}

	u64 pte = fetch(m, w, pde & 0xfffff000, va >> 12 & 0x3ff, true);
	if (!(pte & 1))
		return not_present(w);
	combine(w, pte);
	return leaf(w, pte & 0xfffff000, 4096, va);
}

/* pae_reserved_bits - what PDEs and PTEs of PAE paging have in common: bits 62 down to MAXPHYADDR,
 * and XD unless EFER.NXE. */
static bool pae_reserved_bits(const struct softmmu *m, u64 entry)
{
	if ((entry << 1 >> 1) >> m->phys_bits)
		return true;
	return entry >> 63 && !m->nx;
}

/* "PAE Paging": four PDPTEs, without rights and accessed bit. */
static bool walk_pae(const struct softmmu *m, u64 va, struct walk *w)
{
	u64 pdpte = fetch(m, w, m->root & 0xffffffe0, va >> 30 & 3, false);
	if (!(pdpte & 1))
		return not_present(w);
	if (pdpte >> m->phys_bits || (pdpte & 0x1e6))
		return reserved(w);

	u64 pde = fetch(m, w, pdpte & 0x000ffffffffff000, va >> 21 & 0x1ff, true);
	if (!(pde & 1))
		return not_present(w);
	if (pae_reserved_bits(m, pde))
		return reserved(w);
	combine(w, pde);
	if (pde & 0x80) {
		if (pde & 0x001fe000)
			return reserved(w);
		return leaf(w, pde & 0x000fffffffe00000, 2 << 20, va);
	}

	u64 pte = fetch(m, w, pde & 0x000ffffffffff000, va >> 12 & 0x1ff, true);
	if (!(pte & 1))
		return not_present(w);
	if (pae_reserved_bits(m, pte))
		return reserved(w);
	combine(w, pte);
	return leaf(w, pte & 0x000ffffffffff000, 4096, va);
}

/* long_reserved_bits - of any entry of 4-level paging: bits 51 down to MAXPHYADDR, and XD unless
 * EFER.NXE. Bits 62:52 are ignored. */
static bool long_reserved_bits(const struct softmmu *m, u64 entry)
{
	if ((entry & 0x000fffffffffffff) >> m->phys_bits)
		return true;
	return entry >> 63 && !m->nx;
}

/* "4-Level Paging". */
static bool walk_64(const struct softmmu *m, u64 va, struct walk *w)
{
	u64 pml4e = fetch(m, w, m->root & 0x000ffffffffff000, va >> 39 & 0x1ff, true);
	if (!(pml4e & 1))
		return not_present(w);
	if (long_reserved_bits(m, pml4e) || (pml4e & 0x80))
		return reserved(w);
	combine(w, pml4e);

	u64 pdpte = fetch(m, w, pml4e & 0x000ffffffffff000, va >> 30 & 0x1ff, true);
	if (!(pdpte & 1))
		return not_present(w);
	if (long_reserved_bits(m, pdpte))
		return reserved(w);
	combine(w, pdpte);
	if (pdpte & 0x80) {
		if (pdpte & 0x3fffe000)
			return reserved(w);
		return leaf(w, pdpte & 0x000fffffc0000000, 1 << 30, va);
	}

	u64 pde = fetch(m, w, pdpte & 0x000ffffffffff000, va >> 21 & 0x1ff, true);
	if (!(pde & 1))
		return not_present(w);
	if (long_reserved_bits(m, pde))
		return reserved(w);
	combine(w, pde);
	if (pde & 0x80) {
		if (pde & 0x001fe000)
			return reserved(w);
		return leaf(w, pde & 0x000fffffffe00000, 2 << 20, va);
	}

	u64 pte = fetch(m, w, pde & 0x000ffffffffff000, va >> 12 & 0x1ff, true);
	if (!(pte & 1))
		return not_present(w);
	if (long_reserved_bits(m, pte))
		return reserved(w);
	combine(w, pte);
	return leaf(w, pte & 0x000ffffffffff000, 4096, va);
}

static bool walk(const struct softmmu *m, u64 va, struct walk *w)
{
	*w = (struct walk){.entry_bytes = 8, .writable = true, .user = true};
	switch (m->kind) {
	case SOFTMMU_GUEST32:
		w->entry_bytes = 4;
		return walk_32(m, va, w);
	case SOFTMMU_GUEST_PAE:
		return walk_pae(m, va, w);
	default:
		return walk_64(m, va, w);
	}
}

/* ---- rights, accessed and dirty ------------------------------------------------------------- */

/* allowed - "Determination of Access Rights", case by case. */
static bool allowed(const struct softmmu *m, unsigned int access, bool writable, bool user,
		    bool no_exec)
{
	bool user_mode = access & ACC_U;

	if (user_mode && !user)
		return false;
	if (access & ACC_X) {
		if (no_exec)
			return false;
		if (!user_mode && user && m->smep)
			return false;
	}
	if (access & (ACC_R | ACC_W)) {
		if (!user_mode && user && m->smap)
			return false;
	}
	if (access & ACC_W) {
		if (!writable && (user_mode || m->wp))
			return false;
	}
	return true;
}

static u32 error_code(const struct softmmu *m, unsigned int access, u32 error)
{
	bool nx_works = m->nx && m->kind != SOFTMMU_GUEST32;

	if (access & ACC_W)
		error |= PFEC_W;
	if (access & ACC_U)
		error |= PFEC_U;
	if ((access & ACC_X) && (nx_works || m->smep))
		error |= PFEC_I;
	return error;
}

/* set_bits - in the entry at @at, if it still is @seen. */
static bool set_bits(void *at, int bytes, u64 seen, u64 bits)
{
	u32 seen32 = (u32)seen;

	return bytes == 8 ? atomic_cas((u64 *)at, &seen, seen | bits) :
			    atomic_cas((u32 *)at, &seen32, seen32 | (u32)bits);
}

/* mark - set A in what the walk used and D in the leaf of a write; false if an entry is no longer
 * what the walk saw: walk again. */
static bool mark(const struct walk *w, bool write)
{
	for (int i = 0; i < w->nr_entries; i++) {
		u64 bits = 0x20 | (write && i == w->nr_entries - 1 ? 0x40 : 0);
		u64 seen = w->entries[i].seen;
		void *at = w->entries[i].at;

		if (at && (seen & bits) != bits && !set_bits(at, w->entry_bytes, seen, bits))
			return false;
	}
	return true;
}

/* ---- the TLB -------------------------------------------------------------------------------- */

static const u64 page_sizes[] = {4096, 2 << 20, 4 << 20, 1 << 30};

/* slot_of - where the entry for the page of @bytes at @va is, or the free slot where it would go.
 * An entry that is dropped gets `bytes = DROPPED`, so that probing goes on behind it. */
#define DROPPED 1

static struct softmmu_tlb_entry *slot_of(struct softmmu *m, u64 va, u64 bytes)
{
	size_t i = ((va + bytes) * 0x9e3779b97f4a7c15ull) >> 20;

	for (;; i++) {
		struct softmmu_tlb_entry *e = &m->tlb[i & (m->tlb_slots - 1)];
		if (e->bytes == 0 || (e->va == va && e->bytes == bytes))
			return e;
	}
}

static struct softmmu_tlb_entry *tlb_find(struct softmmu *m, u64 va)
{
	for (size_t i = 0; i < ARRAY_SIZE(page_sizes); i++) {
		struct softmmu_tlb_entry *e = slot_of(m, va & ~(page_sizes[i] - 1), page_sizes[i]);
		if (e->bytes)
			return e;
	}
	return NULL;
}

/* tlb_rehash - without what was dropped; larger if the rest needs it. */
static void tlb_rehash(struct softmmu *m)
{
	struct softmmu_tlb_entry *old = m->tlb;
	size_t nr = m->tlb_slots, live = 0;

	for (size_t i = 0; i < nr; i++)
		live += old[i].bytes > DROPPED;
	m->tlb_slots = MAX(nr, 64ul) << (live * 4 > nr);
	m->tlb_used = 0;
	m->tlb = calloc(m->tlb_slots, sizeof(*m->tlb));
	assert_non_null(m->tlb);
	for (size_t i = 0; i < nr; i++) {
		if (old[i].bytes > DROPPED) {
			*slot_of(m, old[i].va, old[i].bytes) = old[i];
			m->tlb_used++;
		}
	}
	free(old);
}

static void tlb_fill(struct softmmu *m, u64 va, const struct walk *w, bool dirty)
{
	u64 in_page = w->page_bytes - 1;

	if (m->tlb_used * 2 >= m->tlb_slots)
		tlb_rehash(m);
	struct softmmu_tlb_entry *e = slot_of(m, va & ~in_page, w->page_bytes);
	m->tlb_used += e->bytes == 0;
	*e = (struct softmmu_tlb_entry){
		.va = va & ~in_page,
		.pa = w->pa & ~in_page,
		.bytes = w->page_bytes,
		.writable = w->writable,
		.user = w->user,
		.no_exec = w->no_exec,
		.dirty = dirty,
	};
}

/* ---- accesses ------------------------------------------------------------------------------- */

static int translate(struct softmmu *m, u64 va, unsigned int access, u64 *pa, u32 *pfec)
{
	struct softmmu_tlb_entry *e;
	struct walk w;
	bool write = access & ACC_W;

	if (m->kind == SOFTMMU_NPT)
		access |= ACC_U;
	if (m->kind == SOFTMMU_GUEST32 || m->kind == SOFTMMU_GUEST_PAE)
		va = (u32)va;
	e = tlb_find(m, va);
	if (e && allowed(m, access, e->writable, e->user, e->no_exec) && (e->dirty || !write)) {
		m->nr_hits++;
		*pa = e->pa + (va - e->va);
		return 0;
	}
	if (e)
		e->bytes = DROPPED;

	do {
		m->nr_walks++;
		if (!walk(m, va, &w)) {
			*pfec = error_code(m, access, w.error);
			return -EFAULT;
		}
		if (!allowed(m, access, w.writable, w.user, w.no_exec)) {
			*pfec = error_code(m, access, PFEC_P);
			return -EFAULT;
		}
	} while (!mark(&w, write));
	tlb_fill(m, va, &w, write || (w.entries[w.nr_entries - 1].seen & 0x40));
	*pa = w.pa;
	return 0;
}

int softmmu_access(struct softmmu *m, u64 va, unsigned int access, u64 *pa, u32 *pfec)
{
	pthread_mutex_lock(&m->lock);
	int err = translate(m, va, access, pa, pfec);
	pthread_mutex_unlock(&m->lock);
	return err;
}

int softmmu_load(struct softmmu *m, u64 va, unsigned int mode, u64 *value, u32 *pfec)
{
	u64 pa;

	pthread_mutex_lock(&m->lock);
	int err = translate(m, va, ACC_R | mode, &pa, pfec);
	if (!err) {
		*value = ~0ull;
		if (pa >= m->mem_start && pa < m->mem_end)
			*value = atomic_load((u64 *)(pa + m->virt_offset));
	}
	pthread_mutex_unlock(&m->lock);
	return err;
}

int softmmu_store(struct softmmu *m, u64 va, unsigned int mode, u64 value, u32 *pfec)
{
	u64 pa;

	pthread_mutex_lock(&m->lock);
	int err = translate(m, va, ACC_W | mode, &pa, pfec);
	if (!err && pa >= m->mem_start && pa < m->mem_end)
		atomic_store((u64 *)(pa + m->virt_offset), value);
	pthread_mutex_unlock(&m->lock);
	return err;
}

static void flush(struct softmmu *m)
{
	memset(m->tlb, 0, m->tlb_slots * sizeof(*m->tlb));
	m->tlb_used = 0;
}

void softmmu_flush(struct softmmu *m)
{
	pthread_mutex_lock(&m->lock);
	flush(m);
	pthread_mutex_unlock(&m->lock);
}

void softmmu_flush_page(struct softmmu *m, u64 va)
{
	struct softmmu_tlb_entry *e;

	pthread_mutex_lock(&m->lock);
	while ((e = tlb_find(m, va)))
		e->bytes = DROPPED;
	pthread_mutex_unlock(&m->lock);
}

void softmmu_set_root(struct softmmu *m, u64 root)
{
	pthread_mutex_lock(&m->lock);
	m->root = root;
	flush(m);
	pthread_mutex_unlock(&m->lock);
}

bool softmmu_holds(struct softmmu *m, u64 va)
{
	pthread_mutex_lock(&m->lock);
	bool found = tlb_find(m, va) != NULL;
	pthread_mutex_unlock(&m->lock);
	return found;
}

bool softmmu_reaches(struct softmmu *m, u64 pa)
{
	bool found = false;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->tlb_slots && !found; i++) {
		const struct softmmu_tlb_entry *e = &m->tlb[i];
		found = e->bytes > DROPPED && pa - e->pa < e->bytes;
	}
	pthread_mutex_unlock(&m->lock);
	return found;
}

void softmmu_init(struct softmmu *m, enum softmmu_kind kind, u64 root)
{
	*m = (struct softmmu){
		.kind = kind,
		.root = root,
		.virt_offset = host_virt_offset(),
		.mem_start = HOST_MEM_START,
		.mem_end = HOST_MEM_START + HOST_MEM_BYTES,
		.phys_bits = 52,
		.nx = true,
		.wp = true,
		.pse = true,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	tlb_rehash(m);
}

void softmmu_destroy(struct softmmu *m)
{
	free(m->tlb);
	m->tlb = NULL;
}
