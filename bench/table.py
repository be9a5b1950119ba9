# SPDX-License-Identifier: BSD-2-Clause
"""The table: what is allowed, and how a figure stands against it."""

from dataclasses import dataclass
from typing import Optional

WIDTH = 40


@dataclass
class Row:
    key: str
    part: str
    event: str
    kvm: Optional[float]  # None: not measured
    must: float
    aim: float
    unit: str


def read_budget(path):
    rows = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            key, part, event, kvm, must, aim, unit = (word.strip() for word in line.split("|"))
            rows.append(Row(key, part, event, None if kvm == "-" else float(kvm), float(must),
                            float(aim), unit))
    return rows


def verdict(row, value):
    sign = -1 if row.unit == "%" else 1
    if sign * value <= sign * row.aim:
        return "aim met"
    return "met" if sign * value <= sign * row.must else "MISSED"


def figure(value, unit):
    if value is None:
        return "-"
    return f"{value:.0f}" if unit == "instructions" else f"{value:.2f}"


def count(value):
    """A number of operations per event."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else f"{value}"


def print_title():
    print(f"{'event':<{WIDTH}}{'KVM':>8}{'must':>8}{'aim':>8}{'Neap':>8}  {'verdict':<13}"
          f"{'flushes':>8}{'IPIs':>6}{'VMLOAD':>8}{'WRMSR':>7}{'locked':>8}")


def print_row(row, value, judged, operations):
    """@operations per event, as far as they were counted."""
    limits = "".join(f"{'-' if limit is None else f'{limit:.7g}':>8}"
                     for limit in (row.kvm, row.must, row.aim))
    unit = "" if row.unit == "instructions" else f" {row.unit}"
    cells = "".join(f"{count(operations.get(kind)):>{width}}" for kind, width in
                    zip(("flush", "ipi", "vmload", "wrmsr", "locked"), (8, 6, 8, 7, 8)))
    print(f"{row.event:<{WIDTH}}{limits}{figure(value, row.unit):>8}"
          f"  {judged + unit if value is None else judged:<13}{cells}")
