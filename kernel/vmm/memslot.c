/* SPDX-License-Identifier: BSD-2-Clause */
/* Adding memory slots: the array is kept sorted by gfn. */
#include "vmm/memslot.h"

#include "lib/atomic.h"
#include "lib/check.h"
#include "lib/errno.h"
#include "lib/pt_walk.h"
#include "mm/mm.h"
#include "vmm/vm.h"

void memslots_init(struct memslots *s)
{
	*s = (struct memslots){.generation = 1};
	mutex_init(&s->lock);
}

static int insert(struct memslots *s, const struct memslot *new)
{
	u32 at = 0;

	if (s->nr == MAX_MEMSLOTS)
		return trace(-ENOSPC);
	for (u32 i = 0; i < s->nr; i++) {
		const struct memslot *old = &s->slot[i];
		if (new->gfn < old->gfn + old->nr_pages && old->gfn < new->gfn + new->nr_pages)
			return trace(-EEXIST);
		if (old->gfn < new->gfn)
			at = i + 1;
	}
	for (u32 i = s->nr; i > at; i--)
		s->slot[i] = s->slot[i - 1];
	s->slot[at] = *new;
	atomic_store(&s->nr, s->nr + 1);
	atomic_add(&s->generation, 1);
	return 0;
}

int memslot_add(struct vm *vm, gpa_t at, u64 bytes)
{
	struct memslots *s = &vm->slots;
	hva_t start;

	ASSERT(vm->state == VM_CREATED, "slot added to a VM in state %d", vm->state);
	int err = mm_region_add(vm->mm, bytes, ACC_R | ACC_W, &start);
	if (err)
		return err;
	struct memslot new = {
		.gfn = gpa_to_gfn(at).v,
		.nr_pages = bytes >> PAGE_SHIFT,
		.hva = start.v,
	};
	mutex_lock(&s->lock);
	err = insert(s, &new);
	mutex_unlock(&s->lock);
	if (err) {
		int gone = mm_region_remove(vm->mm, start);
		CHECK(gone == 0, "region just added is not there: %d", gone);
	}
	return err;
}

void memslots_overlap(const struct memslots *s, u64 start, u64 end,
		      void (*fn)(void *ctx, u64 gfn_start, u64 gfn_end), void *ctx)
{
	u32 nr = atomic_load(&s->nr);

	for (u32 i = 0; i < nr; i++) {
		const struct memslot *slot = &s->slot[i];
		u64 slot_end = slot->hva + (slot->nr_pages << PAGE_SHIFT);
		if (end <= slot->hva || start >= slot_end)
			continue;
		fn(ctx, slot->gfn + ((MAX(start, slot->hva) - slot->hva) >> PAGE_SHIFT),
		   slot->gfn + ((MIN(end, slot_end) - slot->hva) >> PAGE_SHIFT));
	}
}
