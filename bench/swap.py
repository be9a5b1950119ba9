# SPDX-License-Identifier: BSD-2-Clause
"""What swapping costs: a guest of 640 MiB that may hold 182 MiB, and the disk by itself.

The rows that count instructions are not quite the same in every run: a request ends when the host's
disk has done it, and now and then another page is on its way when the reclaimer looks. Two runs must
agree within MAY_DIFFER.
"""

import re
import statistics
import tempfile
from pathlib import Path

from measure import CPU, GUESTS, Trouble, neap, on_one_cpu

GUEST = f"{GUESTS}/bench_swap.elf,mem=640M,limit=182M"
RAM, SWAP = "768M", "2G"  # swap that is more than half full changes what is kept on it
SECONDS = 900
MAY_DIFFER = 0.02
KEYS = ("random", "sequential", "random_write", "sequential_write")

LINE = re.compile(r"BENCH key=(\w+) (.*?)\r?$", re.MULTILINE)
# A guest's line that was shown as far as it went: counted time may leap in its midst.
BROKEN = re.compile(r"\r?\n[\w.-]+\| (?!BENCH |SKIP|MISMATCH|bench_swap:)")


def bench_lines(out):
    """[(key, {field: value})] of what a guest or the kernel said."""
    out = BROKEN.sub("", out)
    return [(key, {name: int(value) if value.isdigit() else value for name, value in
                   (word.split("=") for word in rest.split())}) for key, rest in LINE.findall(out)]


def refault_run(more=""):
    # No --timeout: while all wait for the disk, counted time leaps to the next timer.
    out = neap("run", "--batch", "--icount", "--cpu", CPU, "--ram", RAM, "--swap", SWAP, "--guest",
               GUEST, *(["--append", more] if more else []), seconds=SECONDS, before=on_one_cpu())
    rows = dict(bench_lines(out))
    if "random" not in rows or "sequential" not in rows:
        raise Trouble(f"the guest does not say what it measured:\n{out[-1000:]}")
    return rows


def count_refaults(twice):
    """{key: what the guest says of it}. With @twice, those that write as well, and those that read in
    a second run, which must agree within MAY_DIFFER."""
    first = refault_run("" if twice else "reads")
    if twice:
        for key, row in refault_run("reads").items():
            a, b = sorted((first[key]["value"], row["value"]))
            if b > a * (1 + MAY_DIFFER):
                raise Trouble(f"two runs differ by more than {MAY_DIFFER:.0%}: {key} {a} and {b}")
            first[key]["other"] = row["value"]
    return first


def per_page(row):
    """Operations of each refault."""
    return {"flush": row["flushes"] / row["refaults"], "ipi": row["ipis"] / row["refaults"]}


def print_refaults(rows):
    print(f"\n{'per page that came back':<26}{'Neap':>8}{'again':>8}{'pages in':>10}{'reads':>8}"
          f"{'pages out':>11}{'flushes':>9}{'IPIs':>7}{'refaults':>10}")
    for key, row in rows.items():
        each = "".join(f"{row[name] / row['refaults']:>{width}.2f}" for name, width in
                       (("pages_in", 10), ("reads", 8), ("pages_out", 11), ("flushes", 9),
                        ("ipis", 7)))
        print(f"{key.replace('_', ', then '):<26}{row['value']:>8}{row.get('other', '-'):>8}{each}"
              f"{row['refaults']:>10}")


# ---- by the clock ------------------------------------------------------------------------------


def raw_reads(swap, times):
    """[(MiB/s one at a time, MiB/s eight at a time, the TSC's kHz)], by the kernel's diskbench."""
    out = neap("run", "--cpu", CPU, "--swap", swap, seconds=SECONDS,
               typed="diskbench vda\n" * times + "quit\n")
    rows = [row for key, row in bench_lines(out) if key == "raw"]
    if len(rows) != 2 * times:
        raise Trouble(f"diskbench did not run:\n{out[-1000:]}")
    return [(one["kib_s"] / 1024, eight["kib_s"] / 1024, one["tsc_khz"])
            for one, eight in zip(rows[::2], rows[1::2])]


def wall(times):
    """{"swap_in": %, and MiB/s: "one", "eight" raw, "sweep"}, each the median of @times."""
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as scratch:
        swap = Path(scratch) / "swap.img"
        neap("mkswap", swap, "--size", SWAP)
        out = neap("run", "--batch", "--cpu", CPU, "--ram", RAM, "--swap", swap, "--guest",
                   GUEST, "--append", f"sweeps={times}", seconds=SECONDS)
        sweeps = [row for key, row in bench_lines(out) if key == "sweep"]
        # After it, so that there is something on the disk to read.
        one, eight, khz = (statistics.median(column) for column in zip(*raw_reads(swap, times)))
    if len(sweeps) != times or not all(row["ticks"] for row in sweeps):
        raise Trouble(f"the guest did not make its sweeps:\n{out[-1000:]}")
    sweep = statistics.median(row["pages"] / 256 / (row["ticks"] / (khz * 1000)) for row in sweeps)
    return {"swap_in": 100 * sweep / one, "one": one, "eight": eight, "sweep": sweep}


def print_wall(found):
    print(f"\nBy the clock, medians: swap-in {found['sweep']:.0f} MiB/s; the same disk read raw, "
          f"128 KiB a request: {found['one']:.0f} MiB/s one at a time, {found['eight']:.0f} MiB/s "
          "eight at a time.")
