#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Lines by folder against the budgets: a tree that a person can read stays one.

    size.py [--root DIR]

Counts physical lines of boot/, kernel/ and drivers/: what runs on the machine. Tests, tools, fonts
and what the build makes do not count.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

FOLDERS = ["boot", "kernel", "drivers"]
SUFFIXES = {".c", ".h", ".S", ".ld"}

# name, folders, the number of lines to stay below
BUDGETS = [("kernel/mm + kernel/notifier", ["kernel/mm", "kernel/notifier"], 5000),
           ("total", FOLDERS, 20000)]


def folder_of(path):
    """The row that @path counts in: boot, drivers, kernel, kernel/mm, ..."""
    parts = path.parent.parts
    return "/".join(parts[:2] if parts[0] == "kernel" else parts[:1])


def count(root):
    """(files, lines) by folder, as two Counters."""
    files, lines = Counter(), Counter()
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                row = folder_of(path.relative_to(root))
                files[row] += 1
                lines[row] += len(path.read_bytes().splitlines())
    return files, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    files, lines = count(parser.parse_args().root)

    print(f"{'folder':<28}{'files':>6}{'lines':>7}{'budget':>8}")
    for row in sorted(files):
        print(f"{row:<28}{files[row]:6}{lines[row]:7}")
    over = False
    for name, folders, budget in BUDGETS:
        rows = [row for row in files if row.startswith(tuple(folders))]
        used = sum(lines[row] for row in rows)
        over = over or used >= budget
        print(f"{name:<28}{sum(files[row] for row in rows):6}{used:7}{budget:8}"
              f"{'  OVER' if used >= budget else ''}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
