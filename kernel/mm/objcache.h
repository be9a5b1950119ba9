/* SPDX-License-Identifier: BSD-2-Clause */
/* Object caches: objects of one size, cut from single frames. Objects come zeroed. */
#pragma once

#include "cpu/spinlock.h"
#include "lib/compiler.h"
#include "lib/list.h"
#include "lib/types.h"

struct objcache {
	const char *name;
	u32 bytes;           /* of an object, rounded up to 16 */
	u32 per_frame;
	struct spinlock lock;
	struct list partial, full; /* frames */
	u64 nr_used, nr_frames;
	struct list all;
};

/* objcache_init - => @bytes at most PAGE_SIZE - 64 */
void objcache_init(struct objcache *c, const char *name, u32 bytes);
void *objcache_alloc(struct objcache *c); /* NULL without memory */
void objcache_free(struct objcache *c, void *object);
/* objcache_for_each - visit all caches, for the monitor and the leak check. */
void objcache_for_each(void (*fn)(struct objcache *c, void *ctx), void *ctx);
