# SPDX-License-Identifier: BSD-2-Clause
"""How the guests fared, read from Neap's lines and the emulator's exit status.

Guests cannot forge these lines: what a guest prints has its name before it.
"""

import re

from neaplib.errors import (STATUS_GUEST_FAILED, STATUS_OK, STATUS_PANIC, STATUS_TIMEOUT)
from neaplib.qemu import EXIT_GUEST_FAILED, EXIT_OK, EXIT_PANIC

ENDED_WELL = ("exited", "reset", "poweroff")


class Report:
    """What Neap has said so far."""

    def __init__(self):
        self.panicked = False
        self.timed_out = False
        self.complete = False  # the machine's SUMMARY, the last of all, was seen
        self.failed = set()  # names of guests
        self.partial = b""

    def feed(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.read_line(line.rstrip(b"\r").decode("ascii", "replace"))

    def finish(self):
        self.feed(b"\n")

    def read_line(self, line):
        # While the operator types, Neap takes prompt and meter away before it prints (ESC [ K, J).
        line = re.split("\x1b\\[[KJ]", line)[-1]
        if line.startswith("PANIC"):
            self.panicked = True
        elif re.match(r"TIMEOUT after [0-9]", line):
            self.timed_out = True
        elif line.startswith("SUMMARY machine"):
            self.complete = True
        elif line.startswith("SUMMARY vm="):
            fields = dict(word.partition("=")[::2] for word in line.split()[1:])
            if fields.get("status") not in ENDED_WELL or fields.get("code") != "0":
                self.failed.add(fields["vm"])
        else:
            match = re.match(r"Neap: vm (\S+) refused:", line)
            if match:
                self.failed.add(match.group(1))


def judge(report, returncode, batch):
    """The run's exit status, and a line for the operator where Neap itself has said nothing.
    @returncode is the emulator's."""
    if report.panicked or returncode == EXIT_PANIC:
        return STATUS_PANIC, None
    if report.timed_out:
        return STATUS_TIMEOUT, None
    if report.failed or returncode == EXIT_GUEST_FAILED:
        return STATUS_GUEST_FAILED, None
    if returncode == EXIT_OK or report.complete or (returncode == 0 and not batch):
        return STATUS_OK, None
    how = f"by signal {-returncode}" if returncode < 0 else f"with status {returncode}"
    return STATUS_PANIC, f"the emulator ended {how} before Neap had said how its guests fared"
