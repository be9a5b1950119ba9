# SPDX-License-Identifier: BSD-2-Clause
"""Operations that cost one instruction here and hundreds of cycles on silicon, counted per event.

QEMU runs the bench guest by single steps and logs each time one of these instructions of the kernel
is reached; their addresses are in build/neap.asm. What lies between two VMRUNs is one exit. printk
is logged as well: it shows where a line of the guest, and with it a row, is done. The commonest
exit of a row is the event's own, if there are as many as events; else the event makes none.
"""

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from measure import BENCH, GUESTS, MIB, ROOT, SECONDS, Trouble, machine, neap
from neaplib.qemu import qemu_command

ITERATIONS = 1000  # more than any row has exits for its line of output

KINDS = {  # what is counted: its instructions in objdump's words
    "vmload": r"vmload|vmsave",
    "wrmsr": r"wrmsr",
    "flush": r"invlpga?\b|mov +%r\w+,%cr3",
    "locked": r"lock |xchg.*\(",
    "vmrun": r"vmrun",
}
FUNCTIONS = {"printk": "printk",
             "slot_renew": "flush"}  # amd/svm_asid.c: the guest's translations are thrown away
TRACED = re.compile(r"^Trace \d+: .*?/([0-9a-f]{16})/", re.MULTILINE)


def instructions_of_kinds():
    """{address, as the listing writes it: kind}"""
    found = {}
    for line in (ROOT / "build/neap.asm").read_text().splitlines():
        address, colon, text = line.partition(":\t")
        for kind, pattern in KINDS.items():
            if colon and re.match(pattern, text):
                found[address] = kind
    return found


def interesting_addresses():
    """{address: kind}"""
    found = instructions_of_kinds()
    symbols = {name: address for address, _, name in (
        line.split()[:3] for line in (ROOT / "build/neap.sym").read_text().splitlines())}
    for name, kind in FUNCTIONS.items():
        if name not in symbols:
            raise Trouble(f"the kernel has no function {name} any more: see bench/operations.py")
        found[symbols[name]] = kind
    return found


def traced_run(addresses):
    """(what the serial line said, the addresses reached, in order)"""
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as scratch:
        iso, log = Path(scratch) / "neap.iso", Path(scratch) / "trace"
        neap("iso", "-o", iso, "--guest", f"{GUESTS}/bench_events.elf,mem=64M", "--append",
             f"iterations={ITERATIONS}", "--ram", "128M", "--kernel-args", "batch")
        options = machine(128 * MIB)
        options.icount = True
        ranges = ",".join(f"0x{address}+1" for address in addresses)
        command = qemu_command(options, iso) + ["-singlestep", "-d", "exec,nochain", "-dfilter",
                                                ranges, "-D", str(log)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                text=True, errors="replace", timeout=4 * SECONDS)
        return result.stdout, TRACED.findall(log.read_text())


def split_rows(kinds):
    """Counters of exits, (kind, number)... each, one Counter a line that the guest printed."""
    rows, exits, current, runs = [], Counter(), Counter(), 0
    for kind in kinds:
        if kind == "vmrun":
            exits[tuple(sorted(current.items()))] += 1
            current, runs = Counter(), runs + 1
        elif kind == "printk":
            if runs:
                rows.append(exits)
            exits, current, runs = Counter(), Counter(), 0
        else:
            current[kind] += 1
    return rows


def count_operations():
    """{key: {kind: number per event}}"""
    addresses = interesting_addresses()
    said, trace = traced_run(addresses)
    rows = split_rows(addresses[address] for address in trace)
    lines = re.findall(r"^bench_events\| .*?$", said.replace("\r", ""), re.MULTILINE)
    if len(rows) < len(lines):
        raise Trouble(f"{len(lines)} lines of the guest, but {len(rows)} in the trace")
    found = {}
    for line, exits in zip(lines, rows):
        match = BENCH.match(line)
        if match:
            window, number = exits.most_common(1)[0]
            found[match[1]] = Counter(dict(window) if number >= ITERATIONS else {})
    return found
