/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping locks: a mutex and a readers-writer lock. The fast path of each is one atomic operation.
 * Writers of an rwsem are not starved: a waiting writer stops new readers, so a thread may not take
 * it for reading twice.
 *
 * => thread context, no spinlock held; trylocks and unlocks also under spinlocks of lower rank than
 * RANK_WAIT; not from interrupts. Who locks unlocks; a reader is not known by name. */
#pragma once

#include "sched/wait.h"

struct mutex {
	u32 state; /* [a] 0 free, 1 held, 2 held and somebody may wait */
	struct thread *holder; /* debug */
	struct wait_queue queue;
};

void mutex_init(struct mutex *m);
void mutex_lock(struct mutex *m);
int must_check mutex_lock_killable(struct mutex *m); /* 0 or -EINTR */
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

struct rwsem {
	u32 state; /* [a] readers | RWSEM_WRITER | RWSEM_QUEUED: see rwsem.c */
	struct thread *writer; /* debug */
	struct wait_queue queue;
};

void rwsem_init(struct rwsem *s);
void rwsem_read_lock(struct rwsem *s);
bool rwsem_read_trylock(struct rwsem *s);
void rwsem_read_unlock(struct rwsem *s);
void rwsem_write_lock(struct rwsem *s);
int must_check rwsem_write_lock_killable(struct rwsem *s); /* 0 or -EINTR */
void rwsem_write_unlock(struct rwsem *s);
bool rwsem_is_held(const struct rwsem *s); /* by anybody, in any way: for assertions */
