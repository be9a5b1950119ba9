#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Turn drivers/font.txt into a C table, or into a picture to look at.

    mkfont.py drivers/font.txt -o build/gen/font_data.h
    mkfont.py drivers/font.txt --png sheet.png [--scale 4]

A glyph is a line "glyph NAME" and sixteen rows of eight '.' or '#'. NAME is a
character, or one of: space, box, full, shade. Lines that begin with ';' are
remarks.
"""
import argparse
import struct
import sys
import zlib

WIDTH, HEIGHT = 8, 16
ORDER = ["box", "full", "shade", "space"] + [chr(c) for c in range(33, 127)]


def read_font(path):
    glyphs, name = {}, None
    with open(path, encoding="ascii") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line or line.startswith(";"):
                continue
            if line.startswith("glyph "):
                name = line[6:]
                if name in glyphs or name not in ORDER:
                    sys.exit(f"{path}:{number}: glyph {name!r} is unknown or drawn twice")
                glyphs[name] = []
            elif name is None or len(line) != WIDTH or set(line) - set(".#"):
                sys.exit(f"{path}:{number}: a row is {WIDTH} of '.' and '#'")
            else:
                glyphs[name].append(int(line.replace(".", "0").replace("#", "1"), 2))
    for name in ORDER:
        if len(glyphs.get(name, [])) != HEIGHT:
            sys.exit(f"{path}: glyph {name!r} needs {HEIGHT} rows")
    return [glyphs[name] for name in ORDER]


def write_c(rows, path):
    with open(path, "w", encoding="ascii") as f:
        f.write("/* SPDX-License-Identifier: BSD-2-Clause */\n")
        f.write("/* Made by tools/mkfont.py from drivers/font.txt; for drivers/font.c alone. */\n")
        f.write('#pragma once\n\n#include "drivers/font.h"\n\n')
        f.write(f"static const u8 font_data[{len(rows)}][FONT_HEIGHT] = {{\n")
        for name, glyph in zip(ORDER, rows):
            shown = name.replace("\\", "backslash").replace("*", "star").replace("/", "slash")
            f.write("\t{" + ", ".join(f"0x{row:02x}" for row in glyph) + f"}}, /* {shown} */\n")
        f.write("};\n")


SAMPLE = [
    "The tide that moves least water. 0123456789 (a[0] + b[1]) * c->d != 0xdeadbeef;",
    "SUMMARY vm=linux engine=shadow status=exited code=0 mem_kib=262144 faults=81920",
    "neap> vm linux regs   sphinx of black quartz, judge my vow: \"quick\" jumps {~`@#$%^&|\\}",
]


def write_png(rows, path, scale):
    by_name = dict(zip(ORDER, rows))
    lines = [[ORDER[i] for i in range(start, min(start + 16, len(ORDER)))]
             for start in range(0, len(ORDER), 16)]
    lines += [["space" if c == " " else c for c in text] for text in SAMPLE]
    columns = max(len(line) for line in lines)
    pixels = bytearray()
    for line in lines:
        for y in range(HEIGHT):
            row = bytearray([0])
            for x in range(columns):
                bits = by_name[line[x]][y] if x < len(line) else 0
                for bit in range(7, -1, -1):
                    row += bytes([0xdd if bits >> bit & 1 else 0x18]) * scale
            pixels += bytes(row) * scale

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = (columns * WIDTH * scale, len(lines) * HEIGHT * scale)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        f.write(chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(bytes(pixels), 9)))
        f.write(chunk(b"IEND", b""))


def main():
    p = argparse.ArgumentParser(description="font.txt to C or PNG")
    p.add_argument("font")
    p.add_argument("-o", metavar="FILE.h")
    p.add_argument("--png", metavar="FILE.png")
    p.add_argument("--scale", type=int, default=3)
    a = p.parse_args()
    rows = read_font(a.font)
    if a.o:
        write_c(rows, a.o)
    if a.png:
        write_png(rows, a.png, a.scale)


main()
