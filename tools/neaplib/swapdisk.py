# SPDX-License-Identifier: BSD-2-Clause
"""Neap's mark on a swap area, and the marks of everybody else.

kernel/lib/swap_header.h describes the header, kernel/lib/disk_content.c decides the same for the
kernel; what is written here it must read. tests/host/test_mkswap.py compares the two.
"""

import struct
import uuid
import zlib

HEADER_BYTES = 4096
MIN_BYTES = 1 << 20
VERSION = 1
MAGIC = b"Neap swap area\n\x1a"
FIELDS = struct.Struct("<16sII16sQ")  # magic, version, bytes of a header, UUID, length
CRC = struct.Struct("<I")
NEAP_TYPE = uuid.UUID("0a9d5c3e-7e51-4b6f-9a37-4e6561705357")  # of a GPT partition

# Where the head that decides ends: btrfs has its mark at 64 KiB.
HEAD_BYTES = 68 << 10

# What an area may be, beside the name of somebody else's mark.
SWAP, EMPTY, UNKNOWN = "Neap swap area", "empty", "unknown data"

MARKS = [
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"XFSB", "XFS"),
    (0, b"QFI\xfb", "qcow2 image"),
    (0, b"KDMV", "VMDK image"),
    (0, b"hsqs", "squashfs"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"-FVE-FS-", "BitLocker"),
    (54, b"FAT12", "FAT"),
    (54, b"FAT16", "FAT"),
    (82, b"FAT32", "FAT"),
    (0, b"LABELONE", "LVM"),
    (512, b"LABELONE", "LVM"),
    (1024, b"LABELONE", "LVM"),
    (1536, b"LABELONE", "LVM"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (0, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (4096, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (4086, b"SWAPSPACE2", "Linux swap"),
    (4086, b"SWAP-SPACE", "Linux swap"),
    (4086, b"S1SUSPEND", "Linux swap, suspended"),
    (8182, b"SWAPSPACE2", "Linux swap"),
    (16374, b"SWAPSPACE2", "Linux swap"),
    (65526, b"SWAPSPACE2", "Linux swap"),
    (32768, b"JFS1", "JFS"),
    (32769, b"CD001", "ISO 9660"),
    (65588, b"ReIsErFs", "ReiserFS"),
    (65588, b"ReIsEr2Fs", "ReiserFS"),
    (65600, b"_BHRfS_M", "btrfs"),
]


def area_bytes(size):
    """The length of an area that fills @size bytes of disk."""
    return size & -HEADER_BYTES


def make_header(name, length):
    """The header of an area of @length bytes with the UUID @name."""
    block = FIELDS.pack(MAGIC, VERSION, HEADER_BYTES, name.bytes, length)
    block = block.ljust(HEADER_BYTES - CRC.size, b"\0")
    return block + CRC.pack(zlib.crc32(block))


def judge_header(block, size):
    """What is wrong with the header @block on a disk of @size bytes; "" if nothing is, None if it
    is no header at all."""
    if len(block) < HEADER_BYTES or block[:len(MAGIC)] != MAGIC:
        return None
    _, version, header_bytes, _, length = FIELDS.unpack_from(block)
    if version != VERSION:
        return "version unknown"
    crc, = CRC.unpack_from(block, HEADER_BYTES - CRC.size)
    if zlib.crc32(block[:HEADER_BYTES - CRC.size]) != crc or header_bytes != HEADER_BYTES:
        return "wrong CRC"
    if length < MIN_BYTES or length != area_bytes(size):
        return "made for another size"
    return ""


def ext_name(head):
    if head[1080:1082] != b"\x53\xef":
        return None
    compat, incompat, ro_compat = struct.unpack_from("<III", head, 1024 + 92)
    if incompat & ~0x1e or ro_compat & ~0x7:
        return "ext4"
    return "ext3" if compat & 4 else "ext2"


def mbr_name(head):
    if head[510:512] != b"\x55\xaa":
        return None
    for at in range(446, 510, 16):
        if head[at + 4] == 0xee:
            return "protective MBR without a GPT"
        if head[at + 4] and not head[at] & 0x7f:
            return "MBR"
    return "boot sector"


def foreign_name(head, tail):
    """The name of somebody else's mark, or None."""
    name = ext_name(head) or next((name for at, mark, name in MARKS
                                   if head[at:at + len(mark)] == mark), None) or mbr_name(head)
    if not name and tail[-512:-504] == b"EFI PART":
        name = "GPT without its first header"
    return name


def identify(head, tail, size):
    """What is on a disk of @size bytes: SWAP, EMPTY, UNKNOWN, "damaged Neap swap area (...)", or
    the name of somebody else's mark.

    @head is its first HEAD_BYTES, @tail begins with the last header."""
    first, last = judge_header(head[:HEADER_BYTES], size), judge_header(tail[:HEADER_BYTES], size)
    was_swap = first is not None or last is not None
    if first == last == "" and head[:HEADER_BYTES] == tail[:HEADER_BYTES]:
        return SWAP
    if head[512:520] == b"EFI PART":
        return "GPT"
    name = foreign_name(head, tail)
    if name and first is None:
        return name
    if was_swap:
        why = first or last or ("its headers differ" if first == last else "one header is missing")
        return f"damaged Neap swap area ({why})"
    if name:
        return name
    return UNKNOWN if any(head) or any(tail) else EMPTY


def look(file):
    """(identify() of it, its size) for the open binary @file or device."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(min(size, HEAD_BYTES))
    file.seek(max(0, area_bytes(size) - HEADER_BYTES))
    return identify(head, file.read(), size), size


def write_headers(file, size):
    """Mark all of the open @file, @size bytes, as Neap's; returns the UUID."""
    name, length = uuid.uuid4(), area_bytes(size)
    header = make_header(name, length)
    for at in (length - HEADER_BYTES, 0):
        file.seek(at)
        file.write(header)
    file.flush()
    return name


def partition_type(head, number):
    """The type of partition @number (from 1) in the GPT that @head begins with, or None."""
    if head[512:520] != b"EFI PART":
        return None
    sector, nr, entry_bytes = struct.unpack_from("<QII", head, 512 + 72)
    at = sector * 512 + (number - 1) * entry_bytes
    if number > nr or at + 16 > len(head):
        return None
    return uuid.UUID(bytes_le=bytes(head[at:at + 16]))
