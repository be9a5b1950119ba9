#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Lines by folder against the budgets: a tree that a person can read stays one.

    size.py [--root DIR]

Counts the lines of code of boot/, kernel/ and drivers/: what runs on the machine. Blank lines and
lines of comment alone are shown beside but count against no budget: an essay is no weight. Tests,
tools, fonts and what the build makes do not count.
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

FOLDERS = ["boot", "kernel", "drivers"]
SUFFIXES = {".c", ".h", ".S", ".ld"}

# name, folders, the number of lines to stay below
BUDGETS = [("kernel/mm + kernel/notifier", ["kernel/mm", "kernel/notifier"], 5000),
           ("total", FOLDERS, 25500)]


def folder_of(path):
    """The row that @path counts in: boot, drivers, kernel, kernel/mm, ..."""
    parts = path.parent.parts
    return "/".join(parts[:2] if parts[0] == "kernel" else parts[:1])


COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def code_lines(text):
    """How many lines of @text hold something that is no comment."""
    def blank(match):
        piece = match.group(0)
        return piece if piece.startswith('"') else "\n" * piece.count("\n")

    return sum(1 for line in COMMENT_OR_STRING.sub(blank, text).splitlines() if line.strip())


def count(root):
    """(files, lines of code, all lines) by folder, as Counters."""
    files, lines, physical = Counter(), Counter(), Counter()
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                row = folder_of(path.relative_to(root))
                files[row] += 1
                text = path.read_text(encoding="utf-8")
                lines[row] += code_lines(text)
                physical[row] += len(text.splitlines())
    return files, lines, physical


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    files, lines, physical = count(parser.parse_args().root)

    print(f"{'folder':<28}{'files':>6}{'code':>7}{'budget':>8}{'all lines':>11}")
    for row in sorted(files):
        print(f"{row:<28}{files[row]:6}{lines[row]:7}{'':8}{physical[row]:11}")
    over = False
    for name, folders, budget in BUDGETS:
        rows = [row for row in files if row.startswith(tuple(folders))]
        used = sum(lines[row] for row in rows)
        over = over or used >= budget
        print(f"{name:<28}{sum(files[row] for row in rows):6}{used:7}{budget:8}"
              f"{sum(physical[row] for row in rows):11}{'  OVER' if used >= budget else ''}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
