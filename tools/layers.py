#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`make lint`: knowledge runs one way through the tree.

    lib <- cpu <- sched <- block <- notifier <- mm <- vmm <- monitor <- main.c

    layers.py [--root DIR] [BUILD]

A folder includes its own headers and those left of it. Beside that: vmm's vendor folders know vmm
but not each other, and vmm knows them only where it chooses one at boot; block and
the drivers know mm/frame.h, too; drivers know nothing above sched, and are known to main.c alone. Headers stand alone, each file names its
licence, .c files have no #if. With BUILD, the objects below it are asked as well: what includes
hide, an `extern` in a .c file, shows in nm. $CC is the compiler (gcc).
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ORDER = ["lib", "cpu", "sched", "block", "notifier", "mm", "vmm", "monitor"]
SOURCE_FOLDERS = ["boot", "kernel", "drivers"]
ALL_FOLDERS = SOURCE_FOLDERS + ["iso", "tests", "tools", "bench"]

# Whose headers may be included by drivers, and by the code that runs before C does.
KNOWN_TO_DRIVERS = ["lib/", "cpu/", "sched/", "mm/frame.h", "drivers/", "gen/"]
KNOWN_TO_BOOT = ["lib/", "cpu/", "boot/"]

VENDORS = ["vmm/amd/", "vmm/intel/"]
VENDOR_CHOICE = "kernel/vmm/hvm.c"

# The compiler's own headers, which need no library.
FREESTANDING = ["float.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h",
                "stddef.h", "stdint.h", "stdnoreturn.h"]

CFLAGS = ("-std=gnu11 -ffreestanding -Wall -Wextra -Werror -Wshadow -Wundef -Wvla"
          " -Wmissing-prototypes -Wstrict-prototypes -O2 -mno-red-zone -mgeneral-regs-only"
          " -mcmodel=kernel -fno-pic -DNEAP_DEBUG=1 -Ikernel -I.").split()


def files_of(root, folders, suffixes):
    """Paths relative to @root, sorted."""
    return sorted(path.relative_to(root) for folder in folders
                  for path in (root / folder).rglob("*")
                  if path.suffix in suffixes and path.is_file())


def layer_of(header):
    """Where @header, as an #include names it, stands in ORDER; None if it is in no layer."""
    folder = header.split("/")[0]
    return ORDER.index(folder) if folder in ORDER else None


def judge_include(path, header):
    """Why the file at @path (relative, with slashes) may not include @header; None if it may."""
    if "/" not in header:
        return "an include names its folder"
    if path == "kernel/main.c":
        return None
    if path.startswith("drivers/"):
        return None if header.startswith(tuple(KNOWN_TO_DRIVERS)) else \
            "drivers know lib, cpu, sched and mm/frame.h only"
    if header.startswith("drivers/"):
        return "only main.c knows drivers"
    if path.startswith("boot/"):
        return None if header.startswith(tuple(KNOWN_TO_BOOT)) else "boot knows lib and cpu only"
    if header.startswith(tuple(VENDORS)):
        vendor = next(vendor for vendor in VENDORS if header.startswith(vendor))
        if path.startswith("kernel/vmm/") and path != VENDOR_CHOICE \
                and not path.startswith("kernel/" + vendor):
            return f"only {vendor} and {VENDOR_CHOICE} know {vendor}"
    if path.startswith("kernel/block/") and header == "mm/frame.h":
        return None
    mine, its = layer_of(path[len("kernel/"):]), layer_of(header)
    if mine is not None and its is not None and its > mine:
        return f"{ORDER[mine]} stands below {ORDER[its]}"
    return None


def check_includes(root):
    files = files_of(root, SOURCE_FOLDERS, {".c", ".h", ".S"})
    problems = []
    for path in files:
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not match:
                continue
            header = match.group(2)
            if match.group(1) == '"':
                why = judge_include(path.as_posix(), header)
            else:
                why = None if header in FREESTANDING else "the kernel has no such library"
            if why:
                problems.append(f"{path}:{number}: includes {header}: {why}")
    return len(files), problems


def check_headers(root, build):
    """Every header compiles as the first line of an empty file."""
    headers = files_of(root, SOURCE_FOLDERS, {".h"})
    compiler = os.environ.get("CC", "gcc").split()
    generated = [f"-I{build}"] if build else []

    def compile_alone(header):
        name = header.as_posix()
        text = f'#include "{name[len("kernel/"):] if name.startswith("kernel/") else name}"\n'
        result = subprocess.run([*compiler, *CFLAGS, *generated, "-fsyntax-only", "-x", "c", "-"],
                                input=text, text=True, cwd=root, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        if result.returncode == 0:
            return None
        errors = [line for line in result.stdout.splitlines() if "error:" in line]
        return f"{header}: does not compile alone: {(errors or [result.stdout.strip()])[0]}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return len(headers), [problem for problem in pool.map(compile_alone, headers) if problem]


def is_script(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def check_licence(root):
    files = files_of(root, ALL_FOLDERS, {".c", ".h", ".S", ".py", ".sh"})
    files += [path for path in files_of(root, ALL_FOLDERS, {""}) if is_script(root / path)]
    problems = []
    for path in files:
        lines = (root / path).read_text(errors="replace").splitlines()[:2]
        line = 2 if lines and lines[0].startswith("#!") else 1
        if len(lines) < line or "SPDX-License-Identifier: BSD-2-Clause" not in lines[line - 1]:
            problems.append(f"{path}:{line}: no SPDX line")
    return len(files), problems


def check_conditionals(root):
    files = files_of(root, SOURCE_FOLDERS, {".c"})
    problems = []
    for path in files:
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line):
                problems.append(f"{path}:{number}: #if in a .c file")
    return len(files), problems


def symbols(objects):
    """(defined, undefined) global symbols of @objects; undefined as (symbol, object)."""
    defined, undefined = set(), set()
    if objects:
        out = subprocess.run(["nm", "-A", "-g", *map(str, objects)], text=True, check=True,
                             stdout=subprocess.PIPE).stdout
        for line in out.splitlines():
            name, _, rest = line.partition(":")
            kind, symbol = rest.split()[-2:]
            if kind in "Uw":
                undefined.add((symbol, name))
            else:
                defined.add(symbol)
    return defined, undefined


def check_objects(build):
    """mm and notifier name nothing that vmm defines."""
    objects = [path for path in sorted(build.rglob("*.o")) if "unit" not in path.parts]
    lower = [path for path in objects if re.search(r"/kernel/(mm|notifier)/", path.as_posix())]
    upper = [path for path in objects if "/kernel/vmm/" in path.as_posix()]
    if not lower or not upper:
        return 0, [f"{build}: no objects of kernel/mm and kernel/vmm below it"]
    below, uses = symbols(lower)
    above, _ = symbols(upper)
    return len(lower), [f"{name}: uses {symbol}, which vmm defines"
                        for symbol, name in sorted(uses) if symbol in above - below]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("build", type=Path, nargs="?")
    options = parser.parse_args()
    build = options.build.resolve() if options.build else None

    results = [("includes run one way", *check_includes(options.root)),
               ("headers stand alone", *check_headers(options.root, build)),
               ("files name their licence", *check_licence(options.root)),
               (".c files have no #if", *check_conditionals(options.root))]
    if build:
        results.append(("mm names nothing of vmm", *check_objects(build)))
    for _, _, problems in results:
        for problem in problems:
            print(problem)
    for what, count, problems in results:
        print(f"{what:<26}{count:5} files{len(problems):5} problems")
    if not build:
        print("mm names nothing of vmm    SKIP: no build directory given")
    return 1 if any(problems for _, _, problems in results) else 0


if __name__ == "__main__":
    sys.exit(main())
