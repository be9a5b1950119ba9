# SPDX-License-Identifier: BSD-2-Clause
"""What comes out of the serial line: to stdout, to the log, and to the verdict."""

import os
import re
import sys

# Firmware and GRUB write to the line as well, with escape codes and without a line's end.
FIRST_LINE = re.compile(rb"(?:^|[\r\n]|\x1b\[[0-9;?=]*[A-Za-z])(Neap[ :])")
ESCAPES = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Console:
    """@clean: begins with Neap's first line and has lines that end as Unix lines do. Without it,
    the bytes are what a terminal wants."""

    def __init__(self, report, log, clean):
        self.report = report
        self.log = log  # binary file or None
        self.clean = clean
        self.started = False  # Neap's first line was seen
        self.held = b""  # not written yet: before the start all, later at most a CR

    def feed(self, data):
        if not self.clean:
            self.started = True
            self.write(data)
            return
        data = self.held + data
        if not self.started:
            match = FIRST_LINE.search(data)
            if not match:
                self.held = data
                return
            self.started = True
            data = data[match.start(1):]
        data = data.replace(b"\r\n", b"\n")
        self.held = b"\r" if data.endswith(b"\r") else b""
        self.write(data[:len(data) - len(self.held)])

    def finish(self):
        """The line is silent for good. What came instead of Neap may tell the operator why."""
        if self.clean and not self.started:
            for line in ESCAPES.sub(b"\n", self.held).split(b"\n"):
                if line.strip():
                    self.write(line.strip() + b"\n")
        elif self.held:
            self.write(self.held)
        self.held = b""
        self.report.finish()

    def write(self, data):
        self.report.feed(data)
        if self.log:
            self.log.write(data)
            self.log.flush()
        while data:
            data = data[os.write(sys.stdout.fileno(), data):]
