/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks of file systems and the like. The list only has to be good enough to tell the operator what
 * was seen: what carries no mark of Neap's is left alone, whatever it is.
 *
 * Sources: each system's published on-disk format. */
#include "lib/disk_content.h"

#include "lib/blkdev.h"
#include "lib/format.h"
#include "lib/gpt.h"
#include "lib/string.h"

struct signature {
	u32 at;
	const char *mark;
	const char *name;
};

/* tools/neaplib/swapdisk.py has the same list. */
static const struct signature signatures[] = {
	{0, "LUKS\xba\xbe", "LUKS"}, {0, "XFSB", "XFS"}, {0, "QFI\xfb", "qcow2 image"},
	{0, "KDMV", "VMDK image"}, {0, "hsqs", "squashfs"}, {3, "NTFS    ", "NTFS"},
	{3, "EXFAT   ", "exFAT"}, {3, "-FVE-FS-", "BitLocker"},
	{54, "FAT12", "FAT"}, {54, "FAT16", "FAT"}, {82, "FAT32", "FAT"},
	{0, "LABELONE", "LVM"}, {512, "LABELONE", "LVM"}, {1024, "LABELONE", "LVM"},
	{1536, "LABELONE", "LVM"}, {1024, "\x10\x20\xf5\xf2", "F2FS"},
	{0, "\xfc\x4e\x2b\xa9", "Linux RAID"}, {4096, "\xfc\x4e\x2b\xa9", "Linux RAID"},
	{4086, "SWAPSPACE2", "Linux swap"}, {4086, "SWAP-SPACE", "Linux swap"},
	{4086, "S1SUSPEND", "Linux swap, suspended"}, {8182, "SWAPSPACE2", "Linux swap"},
	{16374, "SWAPSPACE2", "Linux swap"}, {65526, "SWAPSPACE2", "Linux swap"},
	{32768, "JFS1", "JFS"}, {32769, "CD001", "ISO 9660"}, {65588, "ReIsErFs", "ReiserFS"},
	{65588, "ReIsEr2Fs", "ReiserFS"}, {65600, "_BHRfS_M", "btrfs"},
};

static bool has(const struct disk_view *v, u32 at, const void *mark, u32 bytes)
{
	return at + bytes <= v->head_bytes && !memcmp(v->head + at, mark, bytes);
}

static const char *ext_name(const struct disk_view *v)
{
	enum { SUPER = 1024, COMPAT = SUPER + 92, INCOMPAT = SUPER + 96, RO_COMPAT = SUPER + 100 };
	u32 compat, incompat, ro_compat;

	if (!has(v, SUPER + 56, "\x53\xef", 2) || v->head_bytes < RO_COMPAT + 4)
		return NULL;
	memcpy(&compat, v->head + COMPAT, 4);
	memcpy(&incompat, v->head + INCOMPAT, 4);
	memcpy(&ro_compat, v->head + RO_COMPAT, 4);
	/* What ext3 did not have: beyond filetype, recover, journal_dev, meta_bg; beyond sparse_super,
	 * large_file, btree_dir. Of the rest, a journal makes ext3. */
	if ((incompat & ~0x1eu) || (ro_compat & ~0x7u))
		return "ext4";
	return compat & 4 ? "ext3" : "ext2";
}

/* An MBR's own mark stands in every boot sector: there must be a plausible partition as well. */
static const char *mbr_name(const struct disk_view *v)
{
	if (!has(v, 510, "\x55\xaa", 2))
		return NULL;
	for (u32 at = 446; at < 510; at += 16) {
		u8 status = v->head[at], type = v->head[at + 4];

		if (type == 0xee)
			return "protective MBR without a GPT";
		if (type && (status & 0x7f) == 0)
			return "MBR";
	}
	return "boot sector";
}

static const char *foreign_name(const struct disk_view *v)
{
	const char *name = ext_name(v);

	for (u32 i = 0; !name && i < ARRAY_SIZE(signatures); i++)
		if (has(v, signatures[i].at, signatures[i].mark, strlen(signatures[i].mark)))
			name = signatures[i].name;
	if (!name)
		name = mbr_name(v);
	if (!name && v->tail_bytes >= SECTOR_SIZE &&
	    !memcmp(v->tail + v->tail_bytes - SECTOR_SIZE, "EFI PART", 8))
		name = "GPT without its first header";
	return name;
}

static bool all_zero(const u8 *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i])
			return false;
	return true;
}

/* identify_swap - true if at least one header says that this is, or was, Neap's. */
static bool identify_swap(const struct disk_view *v, struct disk_content *out)
{
	bool whole = v->head_bytes >= SWAP_HEADER_BYTES && v->tail_bytes >= SWAP_HEADER_BYTES;

	if (!whole || (swap_header_judge(v->head, v->bytes) == SWAP_HEADER_NONE &&
		       swap_header_judge(v->tail, v->bytes) == SWAP_HEADER_NONE))
		return false;
	out->kind = DISK_SWAP_DAMAGED;
	out->what = swap_headers_mismatch(v->head, v->tail, v->bytes);
	if (out->what)
		return true;
	if (v->partition && !v->neap_type) {
		out->what = "in a partition that is not of Neap's type";
		return true;
	}
	out->kind = DISK_SWAP;
	memcpy(out->uuid, v->head + offsetof(struct swap_header, uuid), UUID_BYTES);
	return true;
}

/* A swap area that is good at both ends is one even if the pages in it hold the marks of something
 * else: a guest's page may. One that is not good is named after what is there now, if anything. */
void disk_identify(const struct disk_view *v, struct disk_content *out)
{
	struct disk_content swap = {.kind = DISK_UNKNOWN};
	bool was_swap = identify_swap(v, &swap);
	struct gpt gpt;
	int err;

	*out = swap;
	if (swap.kind == DISK_SWAP)
		return;
	err = v->partition ? -1 : gpt_open(v->head, v->head_bytes, v->bytes / SECTOR_SIZE, &gpt);
	out->kind = DISK_FOREIGN;
	if (err == 0)
		out->kind = DISK_GPT;
	else if (!v->partition && has(v, SECTOR_SIZE, "EFI PART", 8))
		out->what = "damaged GPT";
	else if (was_swap && !has(v, 0, "Neap swap area", 14) && foreign_name(v))
		out->what = foreign_name(v);
	else if (was_swap)
		*out = swap;
	else if (foreign_name(v))
		out->what = foreign_name(v);
	else if (all_zero(v->head, v->head_bytes) && all_zero(v->tail, v->tail_bytes))
		out->kind = DISK_EMPTY;
	else
		out->kind = DISK_UNKNOWN;
}

const char *disk_content_text(const struct disk_content *c, char *buf, size_t size)
{
	static const char *const texts[] = {
		[DISK_UNREADABLE] = "cannot be read",
		[DISK_SWAP] = "Neap swap area %s",
		[DISK_SWAP_DAMAGED] = "damaged Neap swap area (%s), not used",
		[DISK_GPT] = "GPT",
		[DISK_FOREIGN] = "%s, not Neap's",
		[DISK_EMPTY] = "empty, not Neap's",
		[DISK_UNKNOWN] = "unknown data, not Neap's",
	};
	char uuid[UUID_TEXT_BYTES];

	uuid_text(uuid, c->uuid);
	text_format(buf, size, texts[c->kind], c->kind == DISK_SWAP ? uuid : c->what);
	return buf;
}
