# SPDX-License-Identifier: BSD-2-Clause
"""A person at Neap's monitor: tools/neap run on a pseudo-terminal."""

import os
import pty
import re
import select
import subprocess
import time

from harness import Failure
from machine import neap_command

PROMPT = "neap> "
ANSWER_SECONDS = 30  # on a machine that does much else

# A cursor that moves, a line that is cleared: what the line editor draws with.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07")

UP, DOWN, RIGHT, LEFT, HOME, END = ("\x1b[" + letter for letter in "ABCDHF")
TAB, BACKSPACE, CTRL_A = "\t", "\x7f", "\x01"


class Terminal:
    """`with Terminal(task, guests) as terminal:`; whatever happens, the machine is gone after."""

    def __init__(self, task, guests, **machine):
        self.task = task
        self.command = neap_command(guests, **machine)
        self.raw = ""  # all that came
        self.read_to = 0  # what expect() has looked at

    def __enter__(self):
        self.master, slave = pty.openpty()
        self.task.write(f"$ {' '.join(map(str, self.command))}\n")
        self.child = self.task.popen(self.command, stdin=slave, stdout=slave,
                                     stderr=subprocess.STDOUT, start_new_session=True)
        os.close(slave)
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.terminate()
        self.child.wait()
        os.close(self.master)
        self.task.write(ESCAPES.sub("", self.raw).replace("\r", "\n"))

    def receive(self, seconds):
        """Wait for more; False at the end of the line, or if nothing came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 4096)
        except OSError:  # the other side has closed it
            return False
        self.raw += data.decode("ascii", "replace")
        return bool(data)

    def expect(self, pattern, seconds=ANSWER_SECONDS):
        """Wait for text that matches @pattern, after what was expected before; returns the match.
        Escape codes are not in it, CRs are."""
        deadline = time.monotonic() + seconds
        while True:
            text = ESCAPES.sub("", self.raw)
            match = re.compile(pattern, re.MULTILINE).search(text, self.read_to)
            if match:
                self.read_to = match.end()
                return match
            if time.monotonic() > deadline or not self.receive(deadline - time.monotonic()):
                tail = text[self.read_to:][-400:]
                raise Failure(f"nothing like {pattern!r} came\nlast: {tail!r}")

    def send(self, text):
        os.write(self.master, text.encode())

    def command_says(self, line, *patterns):
        """Give the command @line and wait for each of @patterns in turn, and for the prompt."""
        self.send(line + "\r")
        found = [self.expect(pattern) for pattern in patterns]
        self.expect(PROMPT)
        return found

    def wait(self, seconds=ANSWER_SECONDS):
        """Wait for the end; returns the exit status."""
        deadline = time.monotonic() + seconds
        while self.receive(max(0, deadline - time.monotonic())):
            pass
        try:
            return self.child.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure("tools/neap did not end") from None
