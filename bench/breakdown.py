# SPDX-License-Identifier: BSD-2-Clause
"""Where the instructions of a refault go, function by function.

QEMU runs a small bench_swap guest, of the same proportions as the measured one, by single steps, and
logs each instruction of the kernel as it is reached. The guest's second and third hypercall
enclose the touches that count. An iteration of a REP instruction is one line, as it is one tick.
"""

import bisect
import os
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

from measure import GUESTS, MIB, ROOT, Trouble, machine, neap, on_one_cpu
from neaplib.qemu import qemu_command
from operations import KINDS, instructions_of_kinds
from swap import bench_lines

TOUCHES = 1500  # about twice as many as the guest holds pages
GUEST = f"{GUESTS}/bench_swap.elf,mem=12M,limit=3492K"
HYPERCALL = "hypercall"  # vmm/exit.c: each call enters it once
CALLS = 2  # for one look: hypercalls 3 and 4


def functions():
    """([address], [name]) of the kernel's functions, by address."""
    found = [(int(address, 16), name) for address, kind, name in
             (line.split()[:3] for line in (ROOT / "build/neap.sym").read_text().splitlines())
             if kind in "tT"]
    found.sort()
    return [address for address, _ in found], [name for _, name in found]


def count_between(lines, marker):
    """(calls of @marker, {address: how often}) with the latter between the second and the third of
    them. A line is `Trace 0: host [cs/address/flags/cflags] `."""
    counts, calls = Counter(), 0
    for line in lines:
        if marker in line and line.split(b"/", 2)[1] == marker:
            calls += 1
        if CALLS <= calls < 2 * CALLS - 1 and line.startswith(b"Trace"):
            counts[line.split(b"/", 2)[1]] += 1
    return calls, {int(address, 16): number for address, number in counts.items()}


def traced_run(key):
    """(what the guest says of its row, {address: instructions})"""
    starts, names = functions()
    if HYPERCALL not in names:
        raise Trouble(f"the kernel has no function {HYPERCALL} any more: see bench/breakdown.py")
    marker = b"%016x" % starts[names.index(HYPERCALL)]
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as scratch:
        iso, swap, log = (Path(scratch) / name for name in ("neap.iso", "swap.img", "trace"))
        neap("mkswap", swap, "--size", "32M")
        neap("iso", "-o", iso, "--guest", GUEST, "--append", f"only={key} touches={TOUCHES}",
             "--ram", "64M", "--kernel-args", "batch")
        os.mkfifo(log)
        options = machine(64 * MIB)
        options.icount = True
        command = qemu_command(options, iso, swap) + [
            "-singlestep", "-d", "exec,nochain", "-dfilter",
            f"0x{starts[0]:x}..0x{starts[-1] + 4095:x}", "-D", str(log)]
        said = []
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              preexec_fn=on_one_cpu()) as child:
            reader = threading.Thread(target=lambda: said.append(child.stdout.read()))
            reader.start()
            with open(log, "rb", buffering=1 << 20) as lines:
                calls, counts = count_between(lines, marker)
            reader.join()
    rows = dict(bench_lines(said[0].decode("ascii", "replace")))
    if key not in rows or calls != 2 * CALLS:
        raise Trouble(f"the traced guest says nothing of {key}: {said[0][-1000:]!r}")
    return rows[key], counts


def operations_per_refault(key):
    """{kind: number per refault}"""
    row, counts = traced_run(key)
    found = Counter()
    kinds = {int(address, 16): kind for address, kind in instructions_of_kinds().items()}
    for address, number in counts.items():
        found[kinds.get(address)] += number
    return {kind: found[kind] / row["refaults"] for kind in KINDS}


def print_functions(key, most):
    """The @most functions that take most of a refault."""
    row, counts = traced_run(key)
    starts, names = functions()
    found, calls = Counter(), Counter()
    for address, number in counts.items():
        place = bisect.bisect_right(starts, address) - 1
        found[names[place]] += number
        if address == starts[place]:
            calls[names[place]] += number
    total = sum(found.values())
    print(f"{key}: {total / row['refaults']:.0f} instructions of the kernel per refault in the"
          f" trace, {row['value']} by the guest's count; {row['refaults']} refaults, per refault"
          f" {row['pages_in'] / row['refaults']:.2f} pages in, {row['reads'] / row['refaults']:.2f}"
          f" reads, {row['pages_out'] / row['refaults']:.2f} pages out")
    print(f"{'function':<34}{'instructions':>13}{'calls':>9}{'share':>8}")
    for name, number in found.most_common(most):
        print(f"{name:<34}{number / row['refaults']:>13.1f}{calls[name] / row['refaults']:>9.2f}"
              f"{number / total:>8.1%}")
