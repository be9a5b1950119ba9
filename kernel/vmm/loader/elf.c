/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF: the file header, the program headers, and what may be wrong with them. Both classes are
 * turned into the 64-bit form at once; fields are copied out, as a file's need not be aligned. */
#include "vmm/loader/elf.h"

#include "lib/check.h"
#include "lib/string.h"
#include "vmm/loader/loader_internal.h"

enum { ELF_LITTLE_ENDIAN = 1, ELF_VERSION = 1 };
enum { MACHINE_386 = 3, MACHINE_X86_64 = 62 };
/* Shared are also position-independent kernels, which relocate themselves. */
enum { TYPE_EXECUTABLE = 2, TYPE_SHARED = 3 };
enum { SEGMENT_LOAD = 1, SEGMENT_INTERPRETER = 3 };
enum { SEGMENT_EXECUTABLE = 1 };

struct ident {
	u8 magic[4];
	u8 class, data, version;
	u8 padding[9];
};

struct header32 {
	struct ident ident;
	u16 type, machine;
	u32 version, entry, phoff, shoff, flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(struct header32) == 52, "ELF32 file header");

struct header64 {
	struct ident ident;
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(struct header64) == 64, "ELF64 file header");

struct program_header32 {
	u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
};
static_assert(sizeof(struct program_header32) == 32, "ELF32 program header");

struct program_header64 {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};
static_assert(sizeof(struct program_header64) == 56, "ELF64 program header");

struct elf_reader {
	struct load *l;
	const u8 *data;
	u64 size;
	struct elf_image *out;
	struct header64 header;
};

enum elf_class elf_class_of(const void *data, u64 size)
{
	struct ident ident;

	if (size < sizeof(ident))
		return ELF_NONE;
	memcpy(&ident, data, sizeof(ident));
	if (memcmp(ident.magic, "\177ELF", 4) != 0)
		return ELF_NONE;
	return ident.class == ELF_32 || ident.class == ELF_64 ? ident.class : ELF_NONE;
}

static int read_header(struct elf_reader *r)
{
	bool wide = r->out->class == ELF_64;
	size_t bytes = wide ? sizeof(struct header64) : sizeof(struct header32);
	struct header64 *h = &r->header;
	struct header32 narrow;

	if (r->size < bytes)
		return load_fail(r->l, trace(-EINVAL),
				 "truncated: the ELF header has %zu bytes, the file %lu", bytes, r->size);
	if (wide) {
		memcpy(h, r->data, sizeof(*h));
		return 0;
	}
	memcpy(&narrow, r->data, sizeof(narrow));
	*h = (struct header64){
		.ident = narrow.ident, .type = narrow.type, .machine = narrow.machine,
		.version = narrow.version, .entry = narrow.entry, .phoff = narrow.phoff,
		.phentsize = narrow.phentsize, .phnum = narrow.phnum,
	};
	return 0;
}

static int check_header(struct elf_reader *r)
{
	const struct header64 *h = &r->header;
	bool wide = r->out->class == ELF_64;
	size_t entry_bytes = wide ? sizeof(struct program_header64)
				  : sizeof(struct program_header32);
	u64 table_bytes = (u64)h->phnum * h->phentsize;

	if (h->ident.data != ELF_LITTLE_ENDIAN ||
	    !(h->machine == MACHINE_X86_64 || (h->machine == MACHINE_386 && !wide)))
		return load_fail(r->l, trace(-ENOEXEC),
				 "an ELF file for another processor (machine %u): build it for x86",
				 h->machine);
	if (h->ident.version != ELF_VERSION || h->version != ELF_VERSION)
		return load_fail(r->l, trace(-EINVAL), "ELF version %u is unknown", h->version);
	if (h->type != TYPE_EXECUTABLE && h->type != TYPE_SHARED)
		return load_fail(r->l, trace(-ENOEXEC),
				 "an ELF file, but no executable (type %u): link it", h->type);
	if (h->phnum == 0)
		return load_fail(r->l, trace(-EINVAL), "no program headers: nothing says where it goes");
	if (h->phentsize != entry_bytes)
		return load_fail(r->l, trace(-EINVAL), "program headers of %u bytes instead of %zu",
				 h->phentsize, entry_bytes);
	if (h->phoff > r->size || table_bytes > r->size - h->phoff)
		return load_fail(r->l, trace(-EINVAL), "truncated: program headers of %lu bytes at "
				 "byte %lu, the file has %lu", table_bytes, h->phoff, r->size);
	return 0;
}

/* => @index is in the table, which check_header() found in the file */
static void read_program_header(const struct elf_reader *r, unsigned int index,
				struct program_header64 *out)
{
	const u8 *at = r->data + r->header.phoff + (u64)index * r->header.phentsize;
	struct program_header32 narrow;

	if (r->out->class == ELF_64) {
		memcpy(out, at, sizeof(*out));
		return;
	}
	memcpy(&narrow, at, sizeof(narrow));
	*out = (struct program_header64){
		narrow.type, narrow.flags, narrow.offset, narrow.vaddr, narrow.paddr, narrow.filesz,
		narrow.memsz, narrow.align,
	};
}

static int check_segment(struct elf_reader *r, unsigned int index,
			 const struct program_header64 *ph)
{
	u64 top = r->out->class == ELF_64 ? ~0ull : GIB(4);
	u64 end;

	if (ph->filesz > ph->memsz)
		return load_fail(r->l, trace(-EINVAL),
				 "segment %u has %lu bytes in the file, but %lu in memory", index,
				 ph->filesz, ph->memsz);
	if (__builtin_add_overflow(ph->offset, ph->filesz, &end))
		return load_fail(r->l, trace(-EINVAL), "segment %u ends beyond any file", index);
	if (ph->filesz > 0 && end > r->size)
		return load_fail(r->l, trace(-EINVAL),
				 "truncated: segment %u ends at byte %lu, the file has %lu", index, end,
				 r->size);
	if (ph->memsz > top || ph->paddr > top - ph->memsz)
		return load_fail(r->l, trace(-EINVAL), "segment %u wraps around the end of memory", index);
	for (unsigned int i = 0; i < r->out->nr; i++) {
		const struct elf_segment *other = &r->out->segment[i];

		if (ph->paddr < other->paddr + other->mem_bytes && other->paddr < ph->paddr + ph->memsz)
			return load_fail(r->l, trace(-EINVAL),
					 "segments %u and %u overlap in memory at %#lx", other->index,
					 index, MAX(ph->paddr, other->paddr));
	}
	return 0;
}

/* The entry is an address of the running kernel. If that lies in a segment loaded elsewhere, we
 * need the place where the byte is now. A physical entry lies in no such segment. */
static void translate_entry(struct elf_reader *r, const struct program_header64 *ph)
{
	u64 into = r->header.entry - ph->vaddr;

	if ((ph->flags & SEGMENT_EXECUTABLE) && r->header.entry >= ph->vaddr && into < ph->memsz)
		r->out->entry = ph->paddr + into;
}

static int read_segment(struct elf_reader *r, unsigned int index)
{
	struct program_header64 ph;
	int err;

	read_program_header(r, index, &ph);
	if (ph.type == SEGMENT_INTERPRETER)
		return load_fail(r->l, trace(-ENOEXEC), "a program for an operating system: give a kernel");
	if (ph.type != SEGMENT_LOAD || (ph.memsz == 0 && ph.filesz == 0))
		return 0;
	if (r->out->nr == ELF_SEGMENTS_MAX)
		return load_fail(r->l, trace(-EINVAL), "more than %u segments: link it with fewer",
				 ELF_SEGMENTS_MAX);
	err = check_segment(r, index, &ph);
	if (err)
		return err;
	r->out->segment[r->out->nr++] = (struct elf_segment){
		.paddr = ph.paddr, .mem_bytes = ph.memsz, .offset = ph.offset, .file_bytes = ph.filesz,
		.index = index,
	};
	translate_entry(r, &ph);
	return 0;
}

int elf_read(struct load *l, struct elf_image *out)
{
	struct elf_reader r = {.l = l, .data = l->img->data, .size = l->img->size, .out = out};
	int err;

	out->nr = 0;
	out->class = elf_class_of(r.data, r.size);
	if (out->class == ELF_NONE)
		return load_fail(l, trace(-ENOEXEC), "no ELF file");
	err = read_header(&r) ?: check_header(&r);
	out->entry = r.header.entry;
	for (unsigned int i = 0; !err && i < r.header.phnum; i++)
		err = read_segment(&r, i);
	if (!err && out->nr == 0)
		return load_fail(l, trace(-EINVAL), "no segment to load: link it as an executable");
	return err;
}
