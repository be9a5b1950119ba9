/* SPDX-License-Identifier: BSD-2-Clause */
/* Object caches: each frame is cut into objects of one size, behind a header.
 *
 *	| slab header 64 | object | object | ... | object | rest |
 *
 * Free objects of a frame are chained through their first word; a frame whose last object is freed
 * goes back at once, so a leak check sees only what is in use. Debug builds fill free objects with
 * junk behind that word and look at it again (a write after free), and search the chain at free (a
 * double free). */
#include "cpu/memory.h"
#include "lib/check.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/objcache.h"
#include "mm/page.h"

#define JUNK 0x5a

struct slab {
	struct objcache *cache;
	struct list link; /* in cache->partial or cache->full */
	void *free;       /* first free object, or NULL */
	u32 nr_used;
};
#define SLAB_HEADER 64
static_assert(sizeof(struct slab) <= SLAB_HEADER, "objects begin behind the header");

static struct list caches = LIST_INIT(caches); /* [o] filled at boot, by one CPU */

void objcache_init(struct objcache *c, const char *name, u32 bytes)
{
	CHECK(bytes > 0 && bytes <= PAGE_SIZE - SLAB_HEADER, "%s: objects of %u bytes", name,
	      bytes);
	*c = (struct objcache){.name = name, .bytes = (bytes + 15) & ~15u};
	c->per_frame = (PAGE_SIZE - SLAB_HEADER) / c->bytes;
	spin_init(&c->lock, RANK_CACHE);
	list_init(&c->partial);
	list_init(&c->full);
	list_add_tail(&caches, &c->all);
}

static struct slab *slab_of(void *object)
{
	return (struct slab *)page_down((u64)object);
}

static void junk_fill(const struct objcache *c, void *object)
{
	if (NEAP_DEBUG)
		memset((char *)object + sizeof(void *), JUNK, c->bytes - sizeof(void *));
}

static void junk_check(const struct objcache *c, const void *object)
{
	const u8 *byte = object;

	for (u32 i = sizeof(void *); NEAP_DEBUG && i < c->bytes; i++)
		CHECK(byte[i] == JUNK, "%s: object %p was written after it was freed: %#x at %u",
		      c->name, object, byte[i], i);
}

/* slab_create - a frame cut up, in no list. => no lock held, so that others go on */
static struct slab *slab_create(struct objcache *c)
{
	/* Callers may hold spinlocks. */
	struct page *p = frame_alloc(FRAME_KERNEL, FRAME_NOWAIT);

	if (!p)
		return NULL;
	struct slab *s = page_to_virt(p);
	*s = (struct slab){.cache = c};
	for (u32 i = c->per_frame; i-- > 0;) {
		void **object = (void **)((char *)s + SLAB_HEADER + i * c->bytes);
		*object = s->free;
		s->free = object;
		junk_fill(c, object);
	}
	return s;
}

/* slab_take - an object of @s, which has one. => c->lock */
static void *slab_take(struct objcache *c, struct slab *s)
{
	void *object = s->free;

	s->free = *(void **)object;
	s->nr_used++;
	c->nr_used++;
	if (!s->free) {
		list_del(&s->link);
		list_add(&c->full, &s->link);
	}
	return object;
}

void *objcache_alloc(struct objcache *c)
{
	void *object = NULL;

	spin_lock(&c->lock);
	if (!list_empty(&c->partial))
		object = slab_take(c, list_first(&c->partial, struct slab, link));
	spin_unlock(&c->lock);

	if (!object) {
		struct slab *s = slab_create(c);
		if (!s)
			return NULL;
		spin_lock(&c->lock);
		c->nr_frames++;
		list_add(&c->partial, &s->link);
		object = slab_take(c, s);
		spin_unlock(&c->lock);
	}
	junk_check(c, object);
	memset(object, 0, c->bytes);
	return object;
}

/* double_free_check - @object is not in its slab's chain. => c->lock */
static void double_free_check(const struct objcache *c, const struct slab *s, const void *object)
{
	for (void *const *at = s->free; NEAP_DEBUG && at; at = *at)
		CHECK((const void *)at != object, "%s: object %p freed twice", c->name, object);
}

void objcache_free(struct objcache *c, void *object)
{
	struct slab *s = slab_of(object);
	bool was_full, empty;

	CHECK(s->cache == c, "%s: object %p freed that is not its own", c->name, object);
	spin_lock(&c->lock);
	double_free_check(c, s, object);
	junk_fill(c, object);
	was_full = !s->free;
	*(void **)object = s->free;
	s->free = object;
	c->nr_used--;
	empty = --s->nr_used == 0;
	if (was_full || empty)
		list_del(&s->link);
	if (empty)
		c->nr_frames--;
	else if (was_full)
		list_add(&c->partial, &s->link);
	spin_unlock(&c->lock);
	if (empty)
		frame_free(phys_to_page(virt_to_phys(s)), 0);
}

void objcache_for_each(void (*fn)(struct objcache *c, void *ctx), void *ctx)
{
	struct objcache *c;

	list_for_each(c, &caches, all)
		fn(c, ctx);
}
