#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The table of function names that the kernel carries for its backtraces.

    nm neap.elf | mksyms.py > symbols.S      from a linked kernel
    mksyms.py < /dev/null > symbols.S        an empty table, for the first link

kernel/cpu/symbols.c describes the format and reads it.
"""
import sys
from collections import Counter

NR_TOKENS = 128
NAME_MAX = 63


def read_functions(lines):
    """Address and name of each function, sorted; of several names for one address the first."""
    base, found = None, {}
    for line in lines:
        words = line.split()
        if len(words) != 3:
            continue
        address, kind, name = int(words[0], 16), words[1], words[2]
        if name == "image_start":
            base = address
        elif kind in "tT" and not name.startswith("."):
            # What a compiler adds to the names of clones (".part.0") says nothing to a reader.
            found.setdefault(address, name.split(".")[0][:NAME_MAX])
    if base is None:
        return []
    return sorted((a - base, n) for a, n in found.items() if a >= base)


def shorten(names):
    """Replace the most frequent pair of symbols by a new one, again and again."""
    names = [list(n.encode("ascii")) for n in names]
    tokens = []
    for code in range(128, 128 + NR_TOKENS):
        pairs = Counter(p for n in names for p in zip(n, n[1:]))
        if not pairs:
            break
        best, count = max(pairs.items(), key=lambda item: (item[1], item[0]))
        if count < 3:
            break
        tokens.append(b"".join(tokens[c - 128] if c >= 128 else bytes([c]) for c in best))
        for n in names:
            i = 0
            while i < len(n) - 1:
                if (n[i], n[i + 1]) == best:
                    n[i:i + 2] = [code]
                i += 1
    return names, tokens + [b""] * (NR_TOKENS - len(tokens))


def digits(value):
    out = []
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return out + [value]


def table(functions):
    if not functions:
        return bytes(2)
    names, tokens = shorten([name for _, name in functions])
    out = bytearray(len(functions).to_bytes(2, "little"))
    out += bytes(len(t) for t in tokens) + b"".join(tokens)
    last = 0
    for (offset, _), name in zip(functions, names):
        out += bytes(digits(offset - last) + [len(name)] + name)
        last = offset
    return bytes(out)


def main():
    data = table(read_functions(sys.stdin))
    print('\t.section .symbols, "a"')
    for i in range(0, len(data), 16):
        print("\t.byte " + ", ".join(str(b) for b in data[i:i + 16]))
    print('\t.section .note.GNU-stack, "", @progbits')


if __name__ == "__main__":
    main()
