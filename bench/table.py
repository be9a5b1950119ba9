# SPDX-License-Identifier: BSD-2-Clause
"""The table: what is allowed, and how a figure stands against it."""

from dataclasses import dataclass

WIDTH = 38


@dataclass
class Row:
    key: str
    event: str
    kvm: float
    must: float
    aim: float
    unit: str


def read_budget(path):
    rows = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            key, event, kvm, must, aim, unit = (word.strip() for word in line.split("|"))
            rows.append(Row(key, event, float(kvm), float(must), float(aim), unit))
    return rows


def verdict(row, value):
    return "aim met" if value <= row.aim else "met" if value <= row.must else "MISSED"


def figure(value, unit):
    if value is None:
        return "-"
    return f"{value:.0f}" if unit == "instructions" else f"{value:.2f}"


def print_title():
    print(f"{'event':<{WIDTH}}{'KVM':>7}{'must':>7}{'aim':>7}{'Neap':>8}  {'verdict':<13}"
          f"{'flushes':>8}{'IPIs':>6}{'VMLOAD':>8}{'WRMSR':>7}{'locked':>8}")


def print_row(row, value, judged, ipis, operations):
    """@operations per event, or None: not counted."""
    limits = "".join(f"{limit:>7g}" for limit in (row.kvm, row.must, row.aim))
    unit = "" if row.unit == "instructions" else f" {row.unit}"
    counts = [None if operations is None else operations[kind]
              for kind in ("flush", "vmload", "wrmsr", "locked")]
    counts.insert(1, ipis)
    cells = "".join(f"{'-' if count is None else count:>{width}}"
                    for count, width in zip(counts, (8, 6, 8, 7, 8)))
    print(f"{row.event:<{WIDTH}}{limits}{figure(value, row.unit):>8}"
          f"  {judged + unit if value is None else judged:<13}{cells}")
