/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory by address, and the instruction bytes of the current exit.
 *
 * Fetching is on the path of every exit whose instruction's length the processor does not tell, and a
 * full walk of the guest's tables costs more than the rest of such an exit. So the last translation
 * of rip's page is kept per vCPU, together with the leaf entry that it came from: it is used while
 * CR3, the mode and that entry are what they were. The bytes themselves are read anew each time. What
 * is not looked at again are the upper levels; a guest that swaps whole subtrees under its running
 * code without touching CR3 can only find that its instruction "is another one now" and is entered
 * again, or get the length of what stands at the old place; it harms nobody else. */
#include "vmm/guest_mem.h"

#include "cpu/x86.h"
#include "lib/check.h"
#include "lib/pt_walk.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "vmm/decode.h"
#include "vmm/vm.h"

#define GPTE_AD 0x60ul /* the processor sets these at will */

/* ---- by guest-physical address ----------------------------------------------------------------- */

/* The hva of @at, or 0 if it is no memory. */
static u64 gpa_to_hva(struct vm *vm, gpa_t at)
{
	const struct memslot *slot = memslot_find(&vm->slots, gpa_to_gfn(at));

	return slot ? memslot_hva(slot, gpa_to_gfn(at)) + page_offset(at.v) : 0;
}

static always_inline int access(struct vcpu *v, gpa_t gpa, char *buf, size_t bytes, bool write)
{
	while (bytes) {
		size_t n = MIN(bytes, PAGE_SIZE - page_offset(gpa.v));
		u64 at = gpa_to_hva(v->vm, gpa);
		if (!at)
			return -EFAULT;
		if (write && n == PAGE_SIZE)
			mm_forget_swapped(v->vm->mm, hva(at));
		if (unlikely(write ? hva_write(hva(at), buf, n) : hva_read(buf, hva(at), n))) {
			/* No frame (-ENOMEM), or the VM ends (-EINTR); else again. */
			int err = hva_fault_in(hva(at), n, write ? ACC_W : ACC_R);
			if (err)
				return err;
			continue;
		}
		buf += n;
		gpa.v += n;
		bytes -= n;
	}
	return 0;
}

int guest_read(struct vcpu *v, void *to, gpa_t from, size_t bytes)
{
	return access(v, from, to, bytes, false);
}

int guest_write(struct vcpu *v, gpa_t to, const void *from, size_t bytes)
{
	return access(v, to, (void *)(u64)from, bytes, true);
}

int guest_reserve(struct vcpu *v, gpa_t at, size_t bytes)
{
	u64 hva_at = gpa_to_hva(v->vm, at);

	return hva_at ? hva_fault_in(hva(hva_at), bytes, ACC_W) : -EFAULT;
}

/* ---- by guest-virtual address --------------------------------------------------------------------- */

static int walk_read(void *ctx, gpa_t at, void *to, unsigned int bytes)
{
	int err = guest_read(ctx, to, at, bytes);

	return err == -EFAULT ? -ENXIO : err; /* -EFAULT would be the guest's own #PF */
}

static const struct pt_format *guest_format(const struct vcpu_sregs *s)
{
	if (s->efer & EFER_LMA)
		return &pt_format_guest64;
	return s->cr4 & CR4_PAE ? &pt_format_guest_pae : &pt_format_guest32;
}

static int walk(struct vcpu *v, const struct vcpu_sregs *s, u64 va, unsigned int acc,
		struct pt_guest_result *res)
{
	if (!(s->cr0 & CR0_PG)) {
		*res = (struct pt_guest_result){.gpa = gpa((u32)va), .rights = ~0u};
		return 0;
	}
	struct pt_guest g = {
		.fmt = guest_format(s),
		.phys_bits = 52,
		.nx = s->efer & EFER_NXE,
		.wp = s->cr0 & CR0_WP,
		.smep = s->cr4 & CR4_SMEP,
		.smap = (s->cr4 & CR4_SMAP) && !(v->rflags & RFLAGS_AC),
		.pse = s->cr4 & CR4_PSE,
		.read = walk_read,
		.ctx = v,
	};
	g.root = g.fmt == &pt_format_guest_pae ? s->cr3 & 0xffffffe0 : s->cr3 & 0x000ffffffffff000ul;
	return pt_walk_guest(&g, va, acc, res);
}

int guest_translate(struct vcpu *v, u64 va, unsigned int acc, gpa_t *at, u32 *pfec)
{
	struct vcpu_sregs s;
	struct pt_guest_result res;

	hvm->get_sregs(v, &s);
	int err = walk(v, &s, va, acc | (s.cpl == 3 ? ACC_U : 0), &res);
	*at = res.gpa;
	*pfec = res.pfec;
	return err;
}

/* ---- instruction bytes ------------------------------------------------------------------------------- */

/* The hva of the page of code at linear @w->linear_rip's page @page, by a walk; 0 if it is not there. */
static noinline u64 fetch_page_walk(struct vcpu *v, const struct vcpu_where *w, u64 page)
{
	struct pt_guest_result res;
	struct vcpu_sregs s;

	v->fetch.hva = 0;
	hvm->get_sregs(v, &s);
	if (walk(v, &s, page, ACC_X | (s.cpl == 3 ? ACC_U : 0), &res))
		return 0;
	u64 at = gpa_to_hva(v->vm, gpa(page_down(res.gpa.v)));
	if (!at)
		return 0;
	v->fetch.page = page;
	v->fetch.cr3 = w->cr3;
	v->fetch.mode = w->mode;
	/* Without paging there is no entry to look at again. */
	v->fetch.gpte_hva = 0;
	if (s.cr0 & CR0_PG) {
		v->fetch.gpte_hva = gpa_to_hva(v->vm, res.entry_at);
		v->fetch.gpte = res.entry & ~GPTE_AD;
		/* 32-bit tables have entries of 4 bytes: not kept, they are rare. */
		if (!v->fetch.gpte_hva || !(s.cr4 & CR4_PAE))
			return at;
	}
	v->fetch.hva = at;
	return at;
}

static inline u64 fetch_page(struct vcpu *v, const struct vcpu_where *w, u64 page)
{
	u64 gpte;

	if (unlikely(!v->fetch.hva || v->fetch.page != page || v->fetch.cr3 != w->cr3 ||
		     v->fetch.mode != w->mode))
		return fetch_page_walk(v, w, page);
	if (v->fetch.gpte_hva && (uaccess_load8(v->fetch.gpte_hva, &gpte) ||
				  (gpte & ~GPTE_AD) != v->fetch.gpte))
		return fetch_page_walk(v, w, page);
	return v->fetch.hva;
}

unsigned int guest_fetch(struct vcpu *v, u8 to[16])
{
	struct vcpu_where w;
	unsigned int have = 0;

	hvm->where(v, &w);
	for (u64 at = w.linear_rip; have < 15;) {
		u64 page = fetch_page(v, &w, page_down(at));
		unsigned int n = MIN(15 - have, (unsigned int)(PAGE_SIZE - page_offset(at)));
		if (!page || hva_read(to + have, hva(page + page_offset(at)), n))
			break;
		have += n;
		at += n;
	}
	return have;
}

bool guest_fetch8(struct vcpu *v, u64 *bytes)
{
	struct vcpu_where w;

	hvm->where(v, &w);
	if (unlikely(page_offset(w.linear_rip) > PAGE_SIZE - 8))
		return false;
	u64 page = fetch_page(v, &w, page_down(w.linear_rip));
	return page && uaccess_load8(page + page_offset(w.linear_rip), bytes) == 0;
}

unsigned int guest_insn_mode(struct vcpu *v)
{
	struct segment cs;

	hvm->get_segment(v, SEG_CS, &cs);
	if (cs.attr & SEG_ATTR_L)
		return INSN_64;
	return cs.attr & SEG_ATTR_DB ? INSN_32 : INSN_16;
}
