# SPDX-License-Identifier: BSD-2-Clause
"""Disks of other people, made byte by byte, and Neap's own with one thing wrong."""

import random
import struct
import sys
import uuid
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from neaplib import swapdisk  # noqa: E402  (the path must be set first)

SIZE = 4 << 20
LINUX_TYPE = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def put(image, at, data):
    image[at:at + len(data)] = data


def noise(image, start, end):
    """Somebody's data."""
    put(image, start, random.Random(start).randbytes(end - start))


def ext4(size=SIZE):
    image = bytearray(size)
    put(image, 1024 + 56, b"\x53\xef")
    put(image, 1024 + 92, struct.pack("<III", 0x3c, 0x2c2, 0x46b))  # features of mke2fs
    noise(image, 128 << 10, size // 2)
    return image


def with_mark(at, mark, size=SIZE):
    image = bytearray(size)
    noise(image, 128 << 10, size // 2)
    put(image, at, mark)
    return image


def ntfs():
    image = with_mark(3, b"NTFS    ")
    put(image, 510, b"\x55\xaa")
    return image


def mbr():
    image = with_mark(510, b"\x55\xaa")
    put(image, 446, struct.pack("<B3sB3sII", 0x80, b"", 0x83, b"", 2048, 4096))
    return image


def gpt(*partitions, size=SIZE):
    """@partitions: (type, first sector, contents)."""
    image, last = bytearray(size), size // 512 - 1
    entries = bytearray(128 * 128)
    for number, (kind, first, contents) in enumerate(partitions):
        put(entries, number * 128, kind.bytes_le + uuid.UUID(int=number + 1).bytes_le +
            struct.pack("<QQQ", first, first + len(contents) // 512 - 1, 0) +
            f"part {number}".encode("utf-16-le"))
        put(image, first * 512, contents)

    def header(own, other, table):
        head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, own, other, 34,
                           last - 33, uuid.UUID(int=99).bytes_le, table, 128, 128,
                           zlib.crc32(entries))
        return head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]

    put(image, 446, struct.pack("<B3sB3sII", 0, b"", 0xee, b"", 1, last))
    put(image, 510, b"\x55\xaa")
    put(image, 512, header(1, last, 2))
    put(image, 1024, entries)
    put(image, (last - 32) * 512, entries)
    put(image, last * 512, header(last, 1, last - 32))
    return image


def neap(size=SIZE, made_for=None):
    """A swap area that is as it should be, with a guest's old pages in it."""
    image = bytearray(size)
    header = swapdisk.make_header(uuid.UUID(int=0x4e656170), swapdisk.area_bytes(made_for or size))
    noise(image, 64 << 10, size // 2)
    put(image, 0, header)
    put(image, swapdisk.area_bytes(size) - len(header), header)
    return image


def neap_without(end):
    image = neap()
    at = 0 if end == "start" else SIZE - 4096
    put(image, at, bytes(4096))
    return image


def neap_flipped(at):
    image = neap()
    image[at] ^= 1
    return image


def neap_version_2():
    image = neap()
    for at in (0, SIZE - 4096):
        put(image, at + 16, struct.pack("<I", 2))
        put(image, at + 4092, struct.pack("<I", zlib.crc32(image[at:at + 4092])))
    return image


# name: (what Neap must call it, image). A GPT has its partitions in lines of their own.
FOREIGN = {
    "gpt_ext4": ("GPT", lambda: gpt((LINUX_TYPE, 2048, ext4(2 << 20)))),
    "ext4": ("ext4, not Neap's", ext4),
    "linux_swap": ("Linux swap, not Neap's", lambda: with_mark(4086, b"SWAPSPACE2")),
    "lvm": ("LVM, not Neap's", lambda: with_mark(512, b"LABELONE")),
    "ntfs": ("NTFS, not Neap's", ntfs),
    "mbr": ("MBR, not Neap's", mbr),
    "zeros": ("empty, not Neap's", lambda: bytearray(SIZE)),
    "unknown": ("unknown data, not Neap's", lambda: with_mark(100, b"?")),
    "no_first_header": ("damaged Neap swap area (no header at its start), not used",
                        lambda: neap_without("start")),
    "no_last_header": ("damaged Neap swap area (no header at its end), not used",
                       lambda: neap_without("end")),
    "bad_crc": ("damaged Neap swap area (wrong CRC in its first header), not used",
                lambda: neap_flipped(100)),
    "wrong_length": ("damaged Neap swap area (made for another size), not used",
                     lambda: neap(made_for=SIZE * 2)),
    "later_version": ("damaged Neap swap area (version unknown), not used", neap_version_2),
}

# Second boot: what does not fit on one bus beside the others, and partitions that may be used.
PARTITIONED = {
    "gpt_neap": ("GPT", lambda: gpt((LINUX_TYPE, 2048, ext4(1 << 20)),
                                    (swapdisk.NEAP_TYPE, 4096, neap(1 << 20)))),
    "gpt_wrong_type": ("GPT", lambda: gpt((LINUX_TYPE, 2048, neap(2 << 20)))),
    "xfs": ("XFS, not Neap's", lambda: with_mark(0, b"XFSB")),
    "btrfs": ("btrfs, not Neap's", lambda: with_mark(65600, b"_BHRfS_M")),
}
