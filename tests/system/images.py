# SPDX-License-Identifier: BSD-2-Clause
"""Guest images with one thing wrong, made byte by byte."""

import struct
from dataclasses import dataclass

LOAD = 1
CODE = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt


@dataclass
class Segment:
    """One program header; its file_bytes begin behind all headers unless @offset says otherwise."""
    paddr: int
    mem_bytes: int = 0x1000
    file_bytes: int = len(CODE)
    offset: int = -1


def multiboot_header(flags=0):
    magic = 0x1BADB002
    return struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFFFFFF)


def elf32(*segments, entry=None, machine=3, kind=2, version=1, code=CODE):
    """A multiboot ELF32 kernel that halts, or does what @code does."""
    data_at = (52 + 32 * len(segments) + 3) & ~3
    headers = b"".join(
        struct.pack("<8I", LOAD, one.offset if one.offset >= 0 else data_at + 12, one.paddr,
                    one.paddr, one.file_bytes, one.mem_bytes, 5, 1) for one in segments)
    head = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01" + bytes([version]), kind, machine,
                       version, segments[0].paddr if entry is None else entry, 52, 0, 0, 52, 32,
                       len(segments), 40, 0, 0)
    return (head + headers).ljust(data_at, b"\0") + multiboot_header() + code.ljust(4096, b"\x90")


def elf64(*segments, entry=None):
    """A raw ELF64 kernel that halts."""
    data_at = 64 + 56 * len(segments)
    headers = b"".join(
        struct.pack("<IIQQQQQQ", LOAD, 5, one.offset if one.offset >= 0 else data_at, one.paddr,
                    one.paddr, one.file_bytes, one.mem_bytes, 1) for one in segments)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1,
                       segments[0].paddr if entry is None else entry, 64, 0, 0, 64, 56,
                       len(segments), 64, 0, 0)
    return head + headers + CODE.ljust(4096, b"\x90")
